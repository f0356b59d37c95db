//! What a change would do, before it is made.

use chrono::{DateTime, Utc};
use hai_core::model::{Amount, NodeName, Priority, Rank, TaskId, UserName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{PriorityWord, Right, SubmitRequest, Verdict};

/// Changes that are to be looked at together, in this order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewRequest {
    /// What is to be done.
    #[schema(min_items = 1, max_items = 100)]
    pub changes: Vec<PlannedChange>,
}

/// Changes that are to be made if they still do what was shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// The same changes that were looked at.
    #[schema(min_items = 1, max_items = 100)]
    pub changes: Vec<PlannedChange>,
    /// The stamp of what was shown.
    pub stamp: String,
}

/// One thing that could be done. Users may ask about submissions of their own and about their own tasks, operators about
/// everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PlannedChange {
    /// A task is submitted.
    Submit(Box<SubmitRequest>),
    /// A task is stopped for good.
    #[schema(value_type = u64)]
    Stop(TaskId),
    /// A task is suspended until it is resumed.
    #[schema(value_type = u64)]
    Suspend(TaskId),
    /// A suspended task may run again.
    #[schema(value_type = u64)]
    Resume(TaskId),
    /// A task becomes more or less urgent.
    Priority(PlannedPriority),
    /// A right is given or changed.
    Right(Right),
    /// A right is taken away: the row with just this key.
    RemoveRight(PlannedKey),
    /// A node takes no new work; what runs there stays. Ends a drain.
    #[schema(value_type = String)]
    Cordon(NodeName),
    /// A node takes no new work, and what runs there saves itself and leaves.
    #[schema(value_type = String)]
    Drain(NodeName),
    /// A node that was cordoned or drained takes work again.
    #[schema(value_type = String)]
    Uncordon(NodeName),
    /// The same as `uncordon`.
    #[schema(value_type = String)]
    Undrain(NodeName),
    /// A node is lost. This can only be looked at.
    #[schema(value_type = String)]
    LoseNode(NodeName),
    /// Some more nodes like one that there is. This can only be looked at.
    AddNodes(PlannedNodes),
    /// It is decided by other settings: a JSON merge patch (RFC 7396) of what `GET /v1/engine/config` shows. It holds until
    /// the server starts again, which reads its own configuration.
    #[schema(value_type = Object)]
    Configure(serde_json::Value),
}

/// A new priority for a task.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlannedPriority {
    /// The task.
    #[schema(value_type = u64)]
    pub task: TaskId,
    /// How urgent it would be.
    #[schema(value_type = PriorityWord)]
    pub priority: Priority,
    /// Its place in the queue. Operators only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub custom_rank: Option<Rank>,
}

/// Which row of rights: what is left out stands for "every".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlannedKey {
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub user: Option<UserName>,
    /// The group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub group: Option<hai_core::model::GroupName>,
    /// The priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PriorityWord>)]
    pub priority: Option<Priority>,
    /// The team.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub team: Option<hai_core::model::TeamName>,
    /// The device model that it bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub model: Option<hai_core::model::ModelName>,
    /// A row that only bounds what others give.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cap: bool,
}

/// More nodes like one that there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlannedNodes {
    /// The node that they are like.
    #[schema(value_type = String)]
    pub like: NodeName,
    /// How many; all changes together may add 10,000.
    #[schema(minimum = 1, maximum = 1000)]
    pub count: u32,
}

/// What changes would do until the cluster comes to rest, given that everybody does at once what they are told.
///
/// What would happen without them too is left out. Of other people's tasks users are told how much they hold and lose, not
/// which they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// When that was worked out.
    pub at: DateTime<Utc>,
    /// Names the changes and what they do: `POST /v1/preview/apply` makes them only if they still do that.
    pub stamp: String,
    /// Whether they can be made, or only looked at.
    pub can_be_applied: bool,
    /// Whether all of it is told. If not, more was still being decided when the looking ended: this is how it begins.
    pub at_rest: bool,
    /// Who starts because of it, or elsewhere.
    pub starts: Vec<PlannedStart>,
    /// Who would start without it, and does not.
    pub starts_no_more: Vec<PlannedStart>,
    /// Who is suspended because of it.
    pub suspends: Vec<PlannedSuspend>,
    /// Who would be suspended without it, and stays.
    pub suspends_no_more: Vec<PlannedSuspend>,
    /// Who ends for good.
    pub stops: Vec<PlannedTask>,
    /// Who has to leave later, since its right is cut.
    pub notices: Vec<PlannedNotice>,
    /// What is lost at most, in device-seconds.
    pub lost_device_seconds: f64,
    /// What becomes of the tasks that it submits and of those that it names, in their order.
    pub outlooks: Vec<Outlook>,
    /// What users hold without it and with it, by name; users see their own.
    pub shares: Vec<PlannedShare>,
}

/// A task, as far as the caller may know of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedTask {
    /// Which; `null` for somebody else's.
    #[schema(value_type = Option<u64>)]
    pub task: Option<TaskId>,
    /// Whose; `null` for somebody else's.
    #[schema(value_type = Option<String>)]
    pub user: Option<UserName>,
}

/// A start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlannedStart {
    /// Who.
    #[serde(flatten)]
    pub who: PlannedTask,
    /// The level whose right it is charged to.
    #[schema(value_type = PriorityWord)]
    pub level: Priority,
    /// `right`, `borrowed` or `background`.
    pub hold: String,
    /// On which nodes, by rank.
    #[schema(value_type = Vec<String>)]
    pub nodes: Vec<NodeName>,
    /// With how many devices.
    pub devices: u32,
    /// For how many others it waits until they have left.
    pub after: u32,
}

/// A suspension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlannedSuspend {
    /// Who.
    #[serde(flatten)]
    pub who: PlannedTask,
    /// Why, for people.
    pub reason: String,
    /// What it loses at most, in device-seconds: its work since the last checkpoint, and what starting again costs.
    pub lost_device_seconds: f64,
}

/// A time by which a task has to leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedNotice {
    /// Who.
    #[serde(flatten)]
    pub who: PlannedTask,
    /// By when; `null` if it need not any more.
    pub until: Option<DateTime<Utc>>,
}

/// What becomes of a task that a change submits or names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Outlook {
    /// Its number; of a submission the one that it would get, if nobody else submits before.
    #[schema(value_type = u64)]
    pub task: TaskId,
    /// `starts`, `waits`, `never`, `stays` (it keeps the place that it has) or `over`.
    pub outlook: String,
    /// All of it, for people.
    pub sentence: String,
    /// How it starts, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<PlannedStart>,
    /// Why it does not, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Its place in the line of its group, if it waits; only when it is tried alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<u32>,
    /// It starts by then with a chance of one half; only when it is tried alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50: Option<DateTime<Utc>>,
    /// It starts by then with a chance of nine in ten; only when it is tried alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p90: Option<DateTime<Utc>>,
}

/// What a user holds, in devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlannedShare {
    /// The user.
    #[schema(value_type = String)]
    pub user: UserName,
    /// Without the changes.
    pub before: PlannedHeld,
    /// With them.
    pub after: PlannedHeld,
}

/// Devices that somebody's tasks hold; a part of one counts as that part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedHeld {
    /// Within right.
    #[schema(value_type = f64)]
    pub right: Amount,
    /// Borrowed.
    #[schema(value_type = f64)]
    pub borrowed: Amount,
    /// By background work.
    #[schema(value_type = f64)]
    pub background: Amount,
}

impl PlannedChange {
    /// Whether it can be made through the API, or only be looked at.
    #[must_use]
    pub const fn can_be_applied(&self) -> bool {
        !matches!(self, PlannedChange::LoseNode(_) | PlannedChange::AddNodes(_))
    }
}
