//! The one shape that every error has (RFC 9457).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What went wrong (`application/problem+json`, RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Which kind of problem: a path on this server that explains it.
    #[schema(examples("/problems/unknown-field"))]
    pub r#type: String,
    /// The kind of problem in a few words; the same for every problem of one type.
    pub title: String,
    /// The HTTP status, once more.
    pub status: u16,
    /// What is wrong here, and what would be right.
    pub detail: String,
    /// The field, parameter or header that is wrong, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(examples("grace.answer"))]
    pub field: Option<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}
