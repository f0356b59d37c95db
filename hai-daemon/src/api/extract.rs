//! How bodies, queries and paths are read, so that each thing wrong with them becomes a problem document.

use std::time::Duration;

use axum::body::Body as RawBody;
use axum::extract::{FromRequest, FromRequestParts, Query as AxumQuery, RawPathParams, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use tokio_stream::StreamExt as _;

use super::ApiState;
use super::problem::{ApiError, Kind};

/// How long a body may take to come.
const BODY_TIME_MAX: Duration = Duration::from_secs(20);
/// How much of a body that is too long is read away, so that its sender is ready to read the answer.
const DRAIN_BYTES_MAX: usize = 64 << 20;
/// How long that may take.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

/// The query.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

/// The one parameter in the path.
#[derive(Debug)]
pub(super) struct Param<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<ApiState> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let is_json = is_json(&request);
        let bytes = whole(request.into_body(), state.defaults.body_bytes_max).await?;
        if !is_json {
            let detail = "the body must be JSON, and `Content-Type: application/json` must say so";
            return Err(ApiError::new(Kind::UnsupportedMediaType, detail).at("content-type"));
        }
        parse(&bytes).map(Body)
    }
}

fn is_json(request: &Request) -> bool {
    let value = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// A body, if it comes in time and is no longer than that.
pub(super) async fn whole(body: RawBody, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
    tokio::time::timeout(BODY_TIME_MAX, read(body, bytes_max)).await.map_err(|_| {
        ApiError::new(Kind::Timeout, format!("the body did not come within {} s", BODY_TIME_MAX.as_secs()))
    })?
}

async fn read(body: RawBody, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(part) = stream.next().await {
        let part = part.map_err(|_| ApiError::new(Kind::MalformedJson, "the body broke off"))?;
        if bytes.len() + part.len() > bytes_max {
            let mut drained = bytes.len() + part.len();
            let drain = async {
                while let Some(Ok(part)) = stream.next().await {
                    drained += part.len();
                    if drained > DRAIN_BYTES_MAX {
                        break;
                    }
                }
            };
            // Whether all of it came does not matter: it is refused.
            let _ = tokio::time::timeout(DRAIN_TIME_MAX, drain).await;
            let detail = format!("the body has more than {bytes_max} bytes");
            return Err(ApiError::new(Kind::TooLarge, detail));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

/// What JSON says, with each thing wrong by its path.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        malformed(error.inner(), if path == "." { "" } else { &path })
    })?;
    deserializer.end().map_err(|error| malformed(&error, ""))?;
    Ok(value)
}

fn malformed(error: &serde_json::Error, path: &str) -> ApiError {
    let text = error.to_string();
    if !error.is_data() {
        return ApiError::new(Kind::MalformedJson, text);
    }
    // serde tells these two cases only by their text.
    let named = |start: &str| Some(text.strip_prefix(start)?.split_once('`')?.0.to_owned());
    let (kind, field) = if let Some(name) = named("unknown field `") {
        (Kind::UnknownField, join(path, &name))
    } else if let Some(name) = named("missing field `").or_else(|| named("duplicate field `")) {
        (Kind::InvalidValue, join(path, &name))
    } else {
        (Kind::InvalidValue, path.to_owned())
    };
    let detail = if field.is_empty() { text } else { format!("{field}: {text}") };
    ApiError::new(kind, detail).at(field)
}

/// The path of `name` under `path`, which may end in it already.
fn join(path: &str, name: &str) -> String {
    if path.is_empty() || path == name || path.ends_with(&format!(".{name}")) {
        return if path.is_empty() { name.to_owned() } else { path.to_owned() };
    }
    format!("{path}.{name}")
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        AxumQuery::try_from_uri(&parts.uri).map(|AxumQuery(value)| Query(value)).map_err(|rejection| {
            let text = innermost(&rejection).to_string();
            // `serde_path_to_error` writes the parameter's name before the problem; unknown ones stand in the text.
            let field = match text.split_once(": ") {
                Some((name, _)) if !name.contains([' ', '`']) => name.to_owned(),
                _ => text.split('`').nth(1).unwrap_or_default().to_owned(),
            };
            ApiError::new(Kind::InvalidParameter, format!("in the query: {text}")).at(field)
        })
    }
}

/// The error under axum's own wrapping, which still names the parameter.
fn innermost<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    error.source().unwrap_or(error)
}

impl<T: std::str::FromStr<Err: std::fmt::Display>, S: Send + Sync> FromRequestParts<S> for Param<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|error| ApiError::new(Kind::InvalidParameter, format!("in the path: {error}")))?;
        let (name, text) = params.iter().next().unwrap_or_default();
        text.parse().map(Param).map_err(|error| {
            ApiError::new(Kind::InvalidParameter, format!("`{text}` in the path can not be: {error}")).at(name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::SubmitRequest;
    use axum::response::IntoResponse as _;

    async fn problem(json: &str) -> crate::api::wire::Problem {
        let response = parse::<SubmitRequest>(json.as_bytes()).expect_err(json).into_response();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 16).await.expect("a body");
        serde_json::from_slice(&bytes).expect("a problem")
    }

    #[tokio::test]
    async fn a_bad_body_is_told_where_and_what() {
        for (json, kind, field, detail) in [
            ("{\"command\": [\"a\",]}", "malformed-json", None, "line 1 column 18"),
            ("{\"command\":\n", "malformed-json", None, "line 2"),
            ("{\"command\": [\"a\"]} x", "malformed-json", None, "trailing"),
            ("{\"command\": [\"a\"], \"gpus\": 1}", "unknown-field", Some("gpus"), "`devices`"),
            ("{\"command\": [\"a\"], \"grace\": {\"x\": 1}}", "unknown-field", Some("grace.x"), "`finish`"),
            ("{\"command\": [\"a\"], \"workers\": -1}", "invalid-value", Some("workers"), "u32"),
            ("{\"command\": [\"a\"], \"workers\": 4294967296}", "invalid-value", Some("workers"), "u32"),
            ("{\"command\": [\"a\"], \"workers\": 1e999}", "malformed-json", None, "number out of range"),
            ("{\"command\": [\"a\", 3]}", "invalid-value", Some("command[1]"), "string"),
            ("{\"command\": [\"a\"], \"grace\": {\"answer\": 5}}", "invalid-value", Some("grace.answer"), "string"),
            (
                "{\"command\": [\"a\"], \"grace\": {\"answer\": \"soon\"}}",
                "invalid-value",
                Some("grace.answer"),
                "`5s`",
            ),
            ("{\"command\": [\"a\"], \"priority\": \"URGENT\"}", "invalid-value", Some("priority"), "EXTREME_HIGH"),
            ("{}", "invalid-value", Some("command"), "missing"),
            ("[]", "invalid-value", None, ""),
            ("", "malformed-json", None, "EOF"),
        ] {
            let problem = problem(json).await;
            assert_eq!(problem.r#type, format!("/problems/{kind}"), "{json}: {problem:?}");
            assert_eq!(problem.field.as_deref(), field, "{json}: {problem:?}");
            assert!(problem.detail.contains(detail), "{json}: {problem:?}");
        }
        // Depth is bounded, so that no body can use up the stack.
        let deep = parse::<serde_json::Value>("[".repeat(100_000).as_bytes()).expect_err("too deep");
        assert!(format!("{deep:?}").contains("recursion limit"));
    }
}
