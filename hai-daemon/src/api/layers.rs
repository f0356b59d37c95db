//! What is done around every request: counting, a bound on time, and an answer even where a handler panics.

use std::any::Any;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Response, header};
use axum::middleware::Next;
use axum::response::IntoResponse as _;

use super::ApiState;
use super::dialect;
use super::problem::{ApiError, Kind};

/// How long the beginning of an answer may take. What follows it, as in an event stream, has no bound.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Counts the request, and says that answers are for now and are what they say they are.
pub(super) async fn observe(State(state): State<ApiState>, request: Request, next: Next) -> Response<axum::body::Body> {
    let since = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let mut response = next.run(request).await;
    let status = response.status().as_u16();
    tracing::debug!(%method, route, status, took = ?since.elapsed(), "answered");
    state.metrics.answered(&method, &route, status, since.elapsed());
    let headers = response.headers_mut();
    // What never changes says so itself, with a tag.
    if !headers.contains_key(header::ETAG) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// How long a change waits for a database that has just gone away.
const AWAY_MAX: Duration = Duration::from_secs(2);
/// These tell how the server is also when it is not well.
const TELLING: [&str; 4] = ["/healthz", "/readyz", "/metrics", "/openapi.json"];

/// Takes no change while the database is away, since nothing could be promised; what waits for it already is told soon. Who
/// only reads is answered as far as that goes without the scheduler, which waits too.
pub(super) async fn while_the_store_is_away(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response<axum::body::Body> {
    if let Some(leader) = &state.leader {
        return leader.answer(request, next, state.closing.clone()).await;
    }
    let path = request.uri().path();
    // What workers say goes to the cluster, which keeps it until the scheduler asks.
    if TELLING.contains(&path) || path.starts_with("/v1/worker/") {
        return next.run(request).await;
    }
    if changes(&request) && state.store.away_since().is_some() {
        return ApiError::away("nothing was done").into_response();
    }
    tokio::select! {
        biased;
        response = next.run(request) => response,
        () = state.store.away_for(AWAY_MAX) => {
            ApiError::away("what was asked for may have been done, so look before you ask again").into_response()
        }
    }
}

/// Whether it may change something. What hai-platform's client asks is always posted.
pub(super) fn changes(request: &Request) -> bool {
    !request.method().is_safe() && !dialect::only_reads(request.uri().path())
}

/// Gives up on answers that do not begin in time.
pub(super) async fn answer_in_time(request: Request, next: Next) -> Response<axum::body::Body> {
    answer_within(ANSWER_MAX, request, next).await
}

async fn answer_within(bound: Duration, request: Request, next: Next) -> Response<axum::body::Body> {
    match tokio::time::timeout(bound, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!(
                "no answer within {bound:?}; what was asked for may have been done, so look before you ask again"
            );
            ApiError::new(Kind::Unavailable, detail).into_response()
        }
    }
}

/// The answer where a handler panicked. The panic itself is in the log.
pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response<axum::body::Body> {
    ApiError::new(Kind::Internal, "the request ran into a fault of the server's; its log says more").into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use axum::middleware::from_fn;
    use axum::{Router, routing::get};
    use tower::ServiceExt as _;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;

    async fn status(path: &str) -> (StatusCode, String) {
        let router: Router = Router::new()
            .route(
                "/panic",
                get(|| async {
                    if true {
                        panic!("on purpose")
                    }
                }),
            )
            .route("/hang", get(std::future::pending::<()>))
            .layer(from_fn(|request, next| answer_within(Duration::from_millis(10), request, next)))
            .layer(CatchPanicLayer::custom(panicked));
        let request = Request::builder().uri(path).body(Body::empty()).expect("a request");
        let response = router.oneshot(request).await.expect("infallible");
        let kind = response.headers()[header::CONTENT_TYPE].to_str().expect("text").to_owned();
        (response.status(), kind)
    }

    #[tokio::test]
    async fn a_handler_that_fails_is_still_answered() {
        let problem = "application/problem+json".to_owned();
        assert_eq!(status("/panic").await, (StatusCode::INTERNAL_SERVER_ERROR, problem.clone()));
        assert_eq!(status("/hang").await, (StatusCode::SERVICE_UNAVAILABLE, problem));
    }
}
