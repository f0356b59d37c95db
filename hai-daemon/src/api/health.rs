//! Whether the server is well, and its numbers.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::ApiState;
use super::problem::{ApiError, Kind};

/// How long the scheduler may take between two steps and still be called ready.
const STEP_MAX: Duration = Duration::from_secs(5);

/// Whether the server answers
#[utoipa::path(get, path = "/healthz", tag = "server",
    responses((status = 200, description = "It does.", body = String, content_type = "text/plain")))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the scheduler and the store answer
///
/// One that stands by has no scheduler of its own: it is ready if its store answers, since it passes on what it is asked, and says
/// who leads.
#[utoipa::path(get, path = "/readyz", tag = "server",
    responses((status = 200, description = "They do.", body = String, content_type = "text/plain")))]
pub(super) async fn readyz(State(state): State<ApiState>) -> Result<String, ApiError> {
    if let Some(since) = state.store.away_since() {
        let detail = format!("the database has not worked for {:.0} s", since.elapsed().as_secs_f64());
        return Err(ApiError::new(Kind::Unavailable, detail));
    }
    if state.leader.is_none() {
        let alive = tokio::time::timeout(STEP_MAX, state.scheduler.inspect(|_| ())).await;
        alive.map_err(|_| {
            ApiError::new(Kind::Unavailable, format!("the scheduler made no step within {} s", STEP_MAX.as_secs()))
        })??;
    }
    state.reader.last_event_id().await.map_err(|error| {
        tracing::error!(%error, "the store does not answer");
        ApiError::new(Kind::Unavailable, "the store does not answer; the server's log says more")
    })?;
    Ok(match &state.leader {
        Some(leader) => format!("stands by; {} leads\n", leader.address()),
        None => "ready\n".to_owned(),
    })
}

/// Numbers for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "server",
    responses((status = 200, description = "OpenMetrics text.", body = String,
               content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(State(state): State<ApiState>) -> Result<Response, ApiError> {
    let there = async {
        let counts = state.reader.counts().await?;
        let nodes = state.scheduler.inspect(|engine| engine.nodes().collect::<Vec<_>>()).await?;
        Ok::<_, ApiError>((counts, nodes))
    };
    // While the database is away, that it is so is the number that matters.
    let text = tokio::select! {
        there = there => {
            let (counts, nodes) = there?;
            state.metrics.text(Some((&counts, &nodes)))
        }
        () = state.store.away_for(Duration::ZERO) => state.metrics.text(None),
        () = std::future::ready(()), if state.leader.is_some() => state.metrics.text(None),
    };
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
