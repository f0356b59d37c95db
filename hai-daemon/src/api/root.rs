//! The paths that explain the others: `/`, `/openapi.json` and `/problems`.

use std::fmt::Write as _;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use utoipa::openapi::OpenApi;

use super::ApiState;
use super::problem::{ApiError, Kind};
use crate::web;

const WELCOME: &str = "\
hai shares GPU machines between people by time. This is its HTTP API.

  GET /openapi.json   every path, request and response
  GET /healthz        whether the server answers
  GET /readyz         whether the scheduler and the store answer
  GET /metrics        numbers for Prometheus
  GET /problems       the kinds of errors
  GET /studio/        the page for people, in a browser

Everything under /v1 needs `Authorization: Bearer <token>`. The command `hai` speaks this API.
";

pub(super) fn routes(document: &OpenApi) -> Router<ApiState> {
    // Written once: it does not change while the server runs. It is plain data, which serde_json always can write.
    let json = Bytes::from(serde_json::to_vec(document).unwrap_or_default());
    Router::new()
        .route("/", get(welcome))
        .route("/openapi.json", get(move || std::future::ready(openapi_json(json.clone()))))
        .route("/problems", get(problems))
        .route("/problems/{kind}", get(problem))
}

/// A browser wants the page.
async fn welcome(headers: HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepted.contains("text/html") {
        return Redirect::to(web::HOME).into_response();
    }
    WELCOME.into_response()
}

fn openapi_json(json: Bytes) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response()
}

async fn problems() -> String {
    Kind::ALL.into_iter().fold(String::new(), |mut text, kind| {
        // Writing into a string can not fail.
        let _ = writeln!(text, "/problems/{} ({})\n  {}. {}", kind.slug(), kind.status(), kind.title(), kind.meaning());
        text
    })
}

async fn problem(Path(slug): Path<String>) -> Result<String, ApiError> {
    let kind = Kind::ALL.into_iter().find(|kind| kind.slug() == slug);
    kind.map(|kind| format!("{} ({})\n\n{}\n", kind.title(), kind.status(), kind.meaning()))
        .ok_or_else(|| ApiError::new(Kind::NotFound, format!("there is no kind of problem {slug:?}; see /problems")))
}
