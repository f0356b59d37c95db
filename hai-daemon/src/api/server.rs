//! The routes, and the server that listens.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Uri;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use super::problem::{ApiError, Kind};
use super::stall::Stalling;
use super::{ApiState, dialect, layers, openapi, root};
use crate::web;

/// How long requests that are under way may go on once the server stops.
const GOODBYE_MAX: Duration = Duration::from_secs(10);

/// The whole API as one service.
pub fn router(state: ApiState) -> Router {
    let (routes, document) = openapi::routes().split_for_parts();
    routes
        .merge(root::routes(&document))
        .merge(dialect::routes())
        .merge(web::routes())
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(state.clone(), layers::while_the_store_is_away))
        .layer(from_fn(layers::answer_in_time))
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(from_fn(dialect::in_the_dialect))
        .layer(from_fn_with_state(state.clone(), layers::observe))
        .with_state(state)
}

/// Serves the API until `stop`, and learns meanwhile from the tasks that come and end; then no new connection is taken,
/// event streams and followed logs end, and what is under way has ten seconds.
///
/// # Errors
/// What the listener says.
pub async fn serve(listener: TcpListener, state: ApiState, stop: CancellationToken) -> io::Result<()> {
    let closing = state.closing.clone();
    let listener = listener.tap_io(|stream| {
        // Answers are small and somebody waits for each; without this they are held back for up to 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection can not be told to send at once");
        }
    });
    let listener = Stalling::new(listener, state.stall);
    let learning = state.learned.clone().learn(state.scheduler.clone(), state.reader.clone(), stop.clone());
    tokio::spawn(learning);
    tokio::spawn(state.occupied.clone().watch(state.scheduler.clone(), state.reader.clone(), stop.clone()));
    let stopping = stop.clone();
    let server = axum::serve(listener, router(state)).with_graceful_shutdown(async move {
        stopping.cancelled().await;
        closing.cancel();
    });
    let too_late = async {
        stop.cancelled().await;
        tokio::time::sleep(GOODBYE_MAX).await;
    };
    tokio::select! {
        served = server => served,
        () = too_late => {
            tracing::warn!("some requests did not end in time and are cut off");
            Ok(())
        }
    }
}

async fn no_such_path(State(state): State<ApiState>, request: Request) -> Response {
    let path = request.uri().path();
    if dialect::is_ours(path) {
        return dialect::answer(State(state), request).await;
    }
    let detail = format!("there is no path {path}; GET /openapi.json lists those that are");
    ApiError::new(Kind::NotFound, detail).into_response()
}

async fn no_such_method(method: axum::http::Method, uri: Uri) -> ApiError {
    ApiError::new(Kind::MethodNotAllowed, format!("{} does not have the method {method}", uri.path()))
}
