//! How a worker's output is asked for, and the headers that tell which part of it came.

use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

/// Which part of whose output. At most one of `offset` and `tail` may be given; a `Range: bytes=` header does the
/// same as `offset` and `limit`, and is answered with 206.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// The run; by default the task's last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
    /// The worker; by default the first, rank 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// The first byte, counted from 0; a negative one is counted from the end. By default the first that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// So many bytes from the end; the same as `offset=-N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<u64>,
    /// At most this many bytes; by default 1 MiB, at most 16 MiB. With `follow` there is no bound by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Go on until the run has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
}

/// Headers of the answer to a request for logs. Absent where the value is not known before the body is sent.
pub mod header {
    /// The run that it is of.
    pub const RUN: &str = "hai-run";
    /// The worker that it is of.
    pub const RANK: &str = "hai-rank";
    /// The offset of the body's first byte. It is greater than what was asked for if that was dropped already.
    pub const OFFSET: &str = "hai-offset";
    /// The offset to go on at. Not with `follow`.
    pub const NEXT_OFFSET: &str = "hai-next-offset";
    /// The first offset that is kept; what was before it was dropped to bound the log's size.
    pub const FIRST_OFFSET: &str = "hai-first-offset";
    /// `true` if nothing will come after the body. Not with `follow`.
    pub const COMPLETE: &str = "hai-complete";
}
