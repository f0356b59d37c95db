//! The line of those who wait, as people see it.

use chrono::{DateTime, Utc};
use hai_core::model::{GroupName, Priority, TaskId, UserName};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{PriorityWord, TaskState};

/// A part of the line of waiting tasks, the next to be served first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueuePage {
    /// The tasks.
    pub items: Vec<QueueItem>,
    /// How many wait in all, of those that the reader may see.
    pub total: u64,
    /// If there are more: what to send as `cursor` to get them.
    pub next: Option<String>,
    /// Whether it is known when they start.
    pub forecast: ForecastWord,
    /// For when that was worked out, once it was.
    pub forecast_at: Option<DateTime<Utc>>,
}

/// Whether it is known when waiting tasks start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForecastWord {
    /// It is being worked out; ask again in some seconds.
    Pending,
    /// As far as can be told.
    Known,
}

/// One waiting task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueueItem {
    /// Its number.
    #[schema(value_type = u64)]
    pub id: TaskId,
    /// What people call it.
    pub name: String,
    /// Whose it is.
    #[schema(value_type = String)]
    pub user: UserName,
    /// The nodes it may have.
    #[schema(value_type = String)]
    pub group: GroupName,
    /// How urgent it is.
    #[schema(value_type = PriorityWord)]
    pub priority: Priority,
    /// Whether it waits for its first start, or to go on, or is promised a place.
    pub state: TaskState,
    /// When it was submitted.
    pub submitted: DateTime<Utc>,
    /// What it asks for, in short.
    #[schema(examples("2 × 4 RTX 3070"))]
    pub asks: String,
    /// Why it waits, in one sentence.
    pub why: String,
    /// It starts by then with a chance of one half. `null` until that is known, for tasks far behind in the line, and where it is
    /// beyond the horizon.
    pub p50: Option<DateTime<Utc>>,
    /// It starts by then with a chance of nine in ten; `null` as for `p50`.
    pub p90: Option<DateTime<Utc>>,
}

/// Which part of the line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct QueueQuery {
    /// At most this many; by default 100, at most 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Goes on where an answer ended: its `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
