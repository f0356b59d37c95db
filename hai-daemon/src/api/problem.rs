//! Every error as a problem document (RFC 9457): the kinds that there are, and how other errors become one.
//!
//! See [`ApiError`] for what handlers return and [`Kind`] for the list that `GET /problems/{kind}` explains.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hai_core::engine::FactError;
use hai_core::model::SpecError;
use hai_core::rights::{RightError, TeamError};

use super::wire::Problem;
use crate::scheduler::RequestError;
use crate::store::{AccountError, StoreError};

/// A kind of problem: what clients may tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The body is not JSON.
    MalformedJson,
    /// The body is JSON with a field that is not known.
    UnknownField,
    /// The body is JSON, but a value in it can not be.
    InvalidValue,
    /// The path or the query can not be.
    InvalidParameter,
    /// No token, or one that opens nothing.
    Unauthorized,
    /// The token opens less than that.
    Forbidden,
    /// Nothing is there, or nothing that the user may know of.
    NotFound,
    /// It was there, and is not kept any more.
    Pruned,
    /// The task has had no run yet.
    NoRun,
    /// The path is known, the method is not.
    MethodNotAllowed,
    /// The thing is in a state in which that can not be done.
    Conflict,
    /// The body is too long.
    TooLarge,
    /// The body is not said to be JSON.
    UnsupportedMediaType,
    /// The range of bytes lies beyond the end.
    RangeNotSatisfiable,
    /// The body took too long to come.
    Timeout,
    /// The user asks too often.
    TooMany,
    /// The scheduler does not answer.
    Unavailable,
    /// A fault of the server's.
    Internal,
}

/// About as long as a database takes to start, as a header's value.
const RETRY_AFTER_SECONDS: &str = "5";

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 18] = [
        Kind::MalformedJson,
        Kind::UnknownField,
        Kind::InvalidValue,
        Kind::InvalidParameter,
        Kind::Unauthorized,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::Pruned,
        Kind::NoRun,
        Kind::MethodNotAllowed,
        Kind::Conflict,
        Kind::TooLarge,
        Kind::UnsupportedMediaType,
        Kind::RangeNotSatisfiable,
        Kind::Timeout,
        Kind::TooMany,
        Kind::Unavailable,
        Kind::Internal,
    ];

    /// The last part of the problem's `type`.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        self.row().0
    }

    /// The status that goes with it.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.row().1
    }

    /// The kind in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().2
    }

    /// What it means and what helps.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        self.row().3
    }

    const fn row(self) -> (&'static str, StatusCode, &'static str, &'static str) {
        match self {
            Kind::MalformedJson => (
                "malformed-json",
                StatusCode::BAD_REQUEST,
                "The body is not JSON",
                "The body could not be read as JSON. The detail says at which line and column.",
            ),
            Kind::UnknownField => (
                "unknown-field",
                StatusCode::UNPROCESSABLE_ENTITY,
                "A field is not known",
                "The body has a field that this request does not have. The detail lists those that it has. Nothing was done.",
            ),
            Kind::InvalidValue => (
                "invalid-value",
                StatusCode::UNPROCESSABLE_ENTITY,
                "A value can not be",
                "A field is missing, has the wrong type or a value that can not be. The detail says what would be right. Nothing was done.",
            ),
            Kind::InvalidParameter => (
                "invalid-parameter",
                StatusCode::BAD_REQUEST,
                "A parameter can not be",
                "Something in the path, the query or a header can not be. The detail says what would be right.",
            ),
            Kind::Unauthorized => (
                "unauthorized",
                StatusCode::UNAUTHORIZED,
                "A token is needed",
                "The request needs `Authorization: Bearer` with a valid token. An operator can make one.",
            ),
            Kind::Forbidden => (
                "forbidden",
                StatusCode::FORBIDDEN,
                "Only operators may do that",
                "The token is valid, but only an operator may do that.",
            ),
            Kind::NotFound => (
                "not-found",
                StatusCode::NOT_FOUND,
                "There is no such thing",
                "Nothing is there, or it belongs to another user.",
            ),
            Kind::Pruned => (
                "pruned",
                StatusCode::GONE,
                "It is not kept any more",
                "What was asked for is older than what the server keeps. The detail says from when on there is something.",
            ),
            Kind::NoRun => (
                "no-run",
                StatusCode::NOT_FOUND,
                "The task has not run yet",
                "The task is there, but has had no run, so that there is no output. Ask why it waits.",
            ),
            Kind::MethodNotAllowed => (
                "method-not-allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                "The path does not have this method",
                "The header `Allow` lists the methods that the path has.",
            ),
            Kind::Conflict => (
                "conflict",
                StatusCode::CONFLICT,
                "That can not be done now",
                "The thing is in a state in which that can not be done, e.g. the task is finished or the name is taken.",
            ),
            Kind::TooLarge => (
                "too-large",
                StatusCode::PAYLOAD_TOO_LARGE,
                "The body is too long",
                "The body is longer than the server takes (1 MiB unless it was set otherwise). Put large things into files that the workers can read.",
            ),
            Kind::UnsupportedMediaType => (
                "unsupported-media-type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body must be JSON",
                "Send the body as JSON with `Content-Type: application/json`.",
            ),
            Kind::RangeNotSatisfiable => (
                "range-not-satisfiable",
                StatusCode::RANGE_NOT_SATISFIABLE,
                "The range lies beyond the end",
                "The first byte asked for is not there (yet). The header `Content-Range` says how many there are.",
            ),
            Kind::Timeout => (
                "timeout",
                StatusCode::REQUEST_TIMEOUT,
                "It took too long",
                "The body did not arrive in time. Nothing was done.",
            ),
            Kind::TooMany => (
                "too-many",
                StatusCode::TOO_MANY_REQUESTS,
                "Too many requests",
                "The user asks more often than they may. The header `Retry-After` says when to try again. Nothing was done.",
            ),
            Kind::Unavailable => (
                "unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "The scheduler does not answer",
                "The scheduler starts, stops, is overloaded or has failed. Try again in a moment, but look first: what was asked for may have been done.",
            ),
            Kind::Internal => (
                "internal",
                StatusCode::INTERNAL_SERVER_ERROR,
                "The server failed",
                "A fault of the server's. Its log says more.",
            ),
        }
    }
}

/// A problem on its way to the client.
#[derive(Clone, Debug)]
pub struct ApiError {
    kind: Kind,
    detail: String,
    field: Option<String>,
    headers: Vec<(header::HeaderName, HeaderValue)>,
}

impl ApiError {
    /// A problem of this kind; `detail` says what is wrong here and what would be right.
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        ApiError { kind, detail: detail.into(), field: None, headers: Vec::new() }
    }

    /// What clients may tell it by.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// What is wrong here.
    #[cfg(test)]
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// The same, and this field or parameter is the wrong one.
    pub(super) fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into()).filter(|field| !field.is_empty());
        self
    }

    /// The same, with a header.
    pub(super) fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same, in a part of the request.
    pub(super) fn within(mut self, part: impl std::fmt::Display) -> Self {
        self.field = Some(match self.field {
            Some(field) if field != "changes" => format!("{part}.{field}"),
            _ => part.to_string(),
        });
        self.detail = format!("{part}: {}", self.detail);
        self
    }

    /// The database does not work for now.
    pub(super) fn away(what: &'static str) -> Self {
        let detail = format!("the database can not be used for now; {what}. What runs goes on");
        ApiError::new(Kind::Unavailable, detail)
    }

    /// Another daemon leads.
    pub(super) fn stands_by(leader: &str) -> Self {
        let detail = match leader {
            "" => "this daemon stands by, and nobody leads yet; nothing was done".to_owned(),
            leader => {
                format!(
                    "this daemon stands by, and the one that leads, at {leader}, can not be reached; nothing was done"
                )
            }
        };
        ApiError::new(Kind::Unavailable, detail)
    }

    /// Another daemon leads, and what became of what it was asked for is not known.
    pub(super) fn leader_broke_off(leader: &str) -> Self {
        let detail = format!(
            "the daemon that leads, at {leader}, did not answer to the end; what was asked for may have been done, so look \
             before you ask again"
        );
        ApiError::new(Kind::Unavailable, detail)
            .with_header(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS))
    }

    /// A fault of ours: the log gets the cause, the client does not.
    pub(super) fn internal(what: &'static str, error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "{what}");
        ApiError::new(Kind::Internal, format!("{what}; the server's log says more"))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = Problem {
            r#type: format!("/problems/{}", self.kind.slug()),
            title: self.kind.title().to_owned(),
            status: self.kind.status().as_u16(),
            detail: self.detail,
            field: self.field,
        };
        let mut response = (self.kind.status(), axum::Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.kind == Kind::Unavailable {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        headers.extend(self.headers);
        response
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Rejected(error) => error.into(),
            _ => ApiError::new(Kind::Unavailable, error.to_string()),
        }
    }
}

impl From<FactError> for ApiError {
    fn from(error: FactError) -> Self {
        let invalid = |field, error: &FactError| ApiError::new(Kind::InvalidValue, error.to_string()).at(field);
        match error {
            FactError::Spec(error) => error.into(),
            FactError::Right(RightError::Auto) => invalid("priority", &error),
            FactError::Right(RightError::UserAndTeam) => invalid("team", &error),
            FactError::TeamSpec(TeamError::Cycle { .. }) => invalid("parent", &error),
            FactError::TeamSpec(TeamError::TwoPools { .. }) => invalid("pools", &error),
            FactError::DependencyCycle { .. }
            | FactError::UnknownDependency { .. }
            | FactError::DependencyFailed { .. } => invalid("after", &error),
            FactError::UnknownRight | FactError::UnknownNode { .. } | FactError::UnknownTeam { .. } => {
                ApiError::new(Kind::NotFound, error.to_string())
            }
            _ => ApiError::new(Kind::Conflict, error.to_string()),
        }
    }
}

impl From<SpecError> for ApiError {
    fn from(error: SpecError) -> Self {
        // What the engine calls `request` is spread over the submission's own fields.
        let field = error.field.strip_prefix("request.").unwrap_or(error.field);
        ApiError::new(Kind::InvalidValue, format!("{field}: {}", error.problem)).at(field)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if error.may_pass() {
            tracing::warn!(%error, "the database does not answer");
            return ApiError::away("nothing was done, or all of it: look before you ask again");
        }
        ApiError::internal("the store could not be read or written", &error)
    }
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Exists { .. } => ApiError::new(Kind::Conflict, error.to_string()).at("name"),
            AccountError::Unknown { .. } => ApiError::new(Kind::NotFound, error.to_string()).at("name"),
            AccountError::Store(error) => error.into(),
            _ => ApiError::internal("the account could not be changed", &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_slug_of_its_own() {
        let slugs: std::collections::BTreeSet<_> = Kind::ALL.into_iter().map(Kind::slug).collect();
        assert_eq!(slugs.len(), Kind::ALL.len());
        assert!(Kind::ALL.into_iter().all(|kind| kind.status().as_u16() >= 400));
    }
}
