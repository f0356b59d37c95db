//! Who was where when.

use chrono::{DateTime, Utc};
use hai_core::model::{NodeName, RunId, TaskId, UserName};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which window, and which part of the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TimelineQuery {
    /// From this time on; by default a day before `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// Until before this time; by default until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<DateTime<Utc>>,
    /// Only on this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub node: Option<NodeName>,
    /// At most this many bars; by default 5,000, at most 20,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 20_000)]
    pub limit: Option<u32>,
    /// Goes on where an answer ended: its `next`, with the `from` and `to` of that answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A part of what happened in a window, the newest task first; of each task its runs, first to last, and their workers by rank.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Timeline {
    /// The first moment of the window.
    pub from: DateTime<Utc>,
    /// The first moment after it.
    pub to: DateTime<Utc>,
    /// A bar for each worker of each run that was there in the window.
    #[schema(max_items = 20_000)]
    pub bars: Vec<TimelineBar>,
    /// If there may be more: what to send as `cursor` to get it. An answer may have few bars, or none, and go on.
    pub next: Option<String>,
}

/// One worker of a run, from when its place was its until it had left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TimelineBar {
    /// Its task.
    #[schema(value_type = u64)]
    pub task: TaskId,
    /// What people call that.
    pub name: String,
    /// Whose it is.
    #[schema(value_type = String)]
    pub user: UserName,
    /// The run.
    #[schema(value_type = u64)]
    pub run: RunId,
    /// 1 for the task's first run.
    pub attempt: u32,
    /// Which worker of it.
    pub rank: u32,
    /// Where it was.
    #[schema(value_type = String)]
    pub node: NodeName,
    /// Its devices, by their place in the node's list as that is now; those that the node does not have any more are left out.
    pub devices: Vec<u32>,
    /// When its start was decided.
    pub start: DateTime<Utc>,
    /// When it had left; `null` while it is there.
    pub end: Option<DateTime<Utc>>,
    /// Why its run began, in words.
    pub reason_started: String,
    /// Why its run ended, in words; `null` while it goes on.
    pub reason_ended: Option<String>,
    /// What its run is doing: `starting`, `running` or `vacating`; or how it ended: `completed`, `failed`, `suspended`, `stopped`
    /// or `lost`.
    #[schema(examples("running"))]
    pub state: String,
}
