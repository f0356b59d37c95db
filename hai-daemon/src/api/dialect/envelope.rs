//! What every answer looks like: `success`, `msg`, and what was asked for beside them.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::paths;
use crate::api::wire::Problem;

/// The longest problem document that is read to be put in other words.
const PROBLEM_BYTES_MAX: usize = 1 << 20;

/// A good answer.
#[derive(Clone, Debug)]
pub(super) struct Reply(Map<String, Value>);

impl Reply {
    /// It was done, or found.
    pub(super) fn ok(msg: impl Into<String>) -> Self {
        Reply(Map::from_iter([("success".to_owned(), json!(1)), ("msg".to_owned(), Value::from(msg.into()))]))
    }

    /// What was asked for stands under `result`.
    pub(super) fn result(result: Value) -> Self {
        Self::ok("").with("result", result)
    }

    /// The same, and this beside it.
    pub(super) fn with(mut self, name: &str, value: impl Serialize) -> Self {
        // Plain data always becomes JSON.
        self.0.insert(name.to_owned(), serde_json::to_value(value).unwrap_or_default());
        self
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response<Body> {
        axum::Json(Value::Object(self.0)).into_response()
    }
}

/// A bad answer. Its client reads `msg` and nothing else, and shows one line of it.
fn refusal(status: StatusCode, msg: &str) -> Response<Body> {
    let line: String = msg.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    (status, axum::Json(json!({"success": 0, "msg": line}))).into_response()
}

/// Around all: whatever goes wrong on a path of the dialect, wherever in the server, is told in the dialect's words.
pub(in crate::api) async fn in_the_dialect(request: Request, next: Next) -> Response<Body> {
    let path = paths::plain(request.uri().path());
    if !paths::are_ours(&path) {
        return next.run(request).await;
    }
    let (parts, body) = next.run(request).await.into_parts();
    let problem = HeaderValue::from_static("application/problem+json");
    if parts.headers.get(header::CONTENT_TYPE) != Some(&problem) {
        return Response::from_parts(parts, body);
    }
    let bytes = to_bytes(body, PROBLEM_BYTES_MAX).await.unwrap_or_default();
    let msg = match serde_json::from_slice::<Problem>(&bytes) {
        Ok(problem) => problem.detail,
        Err(_) => parts.status.to_string(),
    };
    let mut response = refusal(status(parts.status, &path), &msg);
    if let Some(after) = parts.headers.get(header::RETRY_AFTER) {
        response.headers_mut().insert(header::RETRY_AFTER, after.clone());
    }
    response
}

/// The status that goes with a refusal there. What the request itself got wrong is a good answer to HTTP, since parts of the
/// client look at nothing else then.
fn status(ours: StatusCode, path: &str) -> StatusCode {
    match ours {
        StatusCode::UNAUTHORIZED => StatusCode::FORBIDDEN,
        StatusCode::NOT_FOUND if path == "/query/task" => StatusCode::OK,
        StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => StatusCode::OK,
        other => other,
    }
}
