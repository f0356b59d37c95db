//! Tasks as people see them, and how lists of them are asked for.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use hai_core::model::{self, Devices, GroupName, ModelName, Priority, Rank, RunId, Span, TaskId, UserName};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Grace, PriorityWord, Run, Why, text, utc};

/// A task at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Task {
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
    /// What it is doing.
    pub state: TaskState,
    /// How it ended, once it has.
    pub outcome: Option<OutcomeWord>,
    /// Why it failed, if it did.
    pub reason: Option<String>,
    /// How many workers start together.
    pub workers: u32,
    /// Devices for each worker; `null` for whole nodes.
    pub devices: Option<u32>,
    /// Each worker takes a whole node.
    pub whole_node: bool,
    /// Device models that will do; empty for any.
    #[schema(value_type = Vec<String>)]
    pub models: BTreeSet<ModelName>,
    /// The least memory that each device must have, in MiB.
    pub device_memory_mib: u64,
    /// Processor cores for each worker.
    pub cpu: f64,
    /// Memory for each worker, in MiB.
    pub memory_mib: u64,
    /// No two workers on one node.
    pub distinct_nodes: bool,
    /// Taints of nodes that it does not mind.
    #[schema(value_type = Vec<String>)]
    pub tolerates: BTreeSet<String>,
    /// Its place in the queue, if it is not the one that the submission gave.
    #[schema(value_type = Option<f64>)]
    pub custom_rank: Option<Rank>,
    /// How long it has to save itself.
    pub grace: Grace,
    /// When it was submitted.
    pub submitted_at: DateTime<Utc>,
    /// When its first run started.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Runs so far, the present one included.
    pub runs: u32,
    /// The present run, also while it starts or leaves.
    #[schema(value_type = Option<u64>)]
    pub run: Option<RunId>,
    /// The number that its next run reads.
    pub whole_life_state: i64,
    /// How long it has run in all its ended runs.
    #[serde(with = "text::span")]
    #[schema(value_type = String, examples("90s"))]
    pub ran: Span,
    /// The level whose right it is charged to, while it runs or is promised a place.
    #[schema(value_type = Option<PriorityWord>)]
    pub level: Option<Priority>,
    /// The last time it had to give way, if it ever had.
    pub yielded: Option<Yielded>,
}

/// A task with all that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskDetail {
    /// The task.
    #[serde(flatten)]
    pub task: Task,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables that are added to the workers' environment.
    pub env: std::collections::BTreeMap<String, String>,
    /// The directory that the workers start in, if one was asked for.
    pub workdir: Option<String>,
    /// Its runs, oldest first; at most the last 1000.
    pub history: Vec<Run>,
    /// Why it waits, if it does.
    pub why: Option<Why>,
}

/// The last time a task had to give way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Yielded {
    /// When it was told to.
    pub at: DateTime<Utc>,
    /// Why, in one word: `for`, `node_lost`, `worker_lost`, `right_lost` or `held`.
    pub why: String,
    /// The task that it made room for, if that is why.
    #[schema(value_type = Option<u64>)]
    pub task: Option<TaskId>,
    /// Why, for people.
    pub sentence: String,
}

/// Some tasks, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// If there are more: what to send as `before` to get them.
    #[schema(value_type = Option<u64>)]
    pub next: Option<TaskId>,
}

/// Which tasks. Parameters that are left out match every task; all that are given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TaskQuery {
    /// Whose; users see only their own anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub user: Option<UserName>,
    /// For nodes of this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub group: Option<GroupName>,
    /// In this state. Several may be given with commas between them, and `unfinished` stands for all but `finished`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// That ended this way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub outcome: Option<OutcomeWord>,
    /// With this text in their name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of this priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<PriorityWord>)]
    pub priority: Option<Priority>,
    /// At most this many; by default 100, at most 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// With a smaller number than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<u64>)]
    pub before: Option<TaskId>,
}

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// It waits and has not run yet.
    Waiting,
    /// It ran, was suspended or lost its place, and waits to go on.
    Suspended,
    /// A place is set aside for it, which others are leaving.
    Promised,
    /// Its workers are being started.
    Starting,
    /// All its workers execute.
    Running,
    /// It was told to save itself and leave; it goes back into the queue.
    Suspending,
    /// It was told to end.
    Stopping,
    /// It waits until somebody resumes it.
    Held,
    /// It is over; see its outcome.
    Finished,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Outcome)]
pub enum OutcomeWord {
    /// All its workers ended with status 0, or it declared itself done.
    Succeeded,
    /// A worker failed.
    Failed,
    /// Somebody stopped it.
    Stopped,
}

impl From<&model::TaskView> for Task {
    fn from(view: &model::TaskView) -> Self {
        let spec = &view.spec;
        let devices = match spec.request.devices {
            Devices::WholeNode => None,
            Devices::Count(count) => Some(count),
        };
        Task {
            id: view.id,
            name: spec.name.clone(),
            user: spec.user.clone(),
            group: spec.group.clone(),
            priority: spec.priority,
            state: view.state.into(),
            outcome: view.outcome.as_ref().map(OutcomeWord::from),
            reason: match &view.outcome {
                Some(model::Outcome::Failed { reason }) => Some(reason.clone()),
                _ => None,
            },
            workers: spec.workers,
            devices,
            whole_node: devices.is_none(),
            models: spec.request.models.clone(),
            device_memory_mib: spec.request.device_memory_mib,
            cpu: f64::from(spec.request.cpu_milli) / 1000.0,
            memory_mib: spec.request.memory_mib,
            distinct_nodes: spec.distinct_nodes,
            tolerates: spec.tolerates.clone(),
            custom_rank: spec.custom_rank,
            grace: spec.grace.into(),
            submitted_at: utc(view.submitted_at),
            started_at: view.started_at.map(utc),
            ended_at: view.ended_at.map(utc),
            runs: view.runs,
            run: view.run,
            whole_life_state: view.whole_life_state,
            ran: view.ran,
            level: view.level,
            yielded: view.yielded.as_ref().map(Yielded::from),
        }
    }
}

impl From<&model::Yielded> for Yielded {
    fn from(yielded: &model::Yielded) -> Self {
        let (why, task) = match &yielded.reason {
            model::YieldReason::For { task } => ("for", Some(*task)),
            model::YieldReason::NodeLost { .. } => ("node_lost", None),
            model::YieldReason::WorkerLost { .. } => ("worker_lost", None),
            model::YieldReason::RightLost => ("right_lost", None),
            model::YieldReason::Held => ("held", None),
        };
        Yielded { at: utc(yielded.at), why: why.to_owned(), task, sentence: yielded.reason.to_string() }
    }
}

impl From<model::TaskState> for TaskState {
    fn from(state: model::TaskState) -> Self {
        match state {
            model::TaskState::Waiting => TaskState::Waiting,
            model::TaskState::Suspended => TaskState::Suspended,
            model::TaskState::Promised => TaskState::Promised,
            model::TaskState::Starting => TaskState::Starting,
            model::TaskState::Running => TaskState::Running,
            model::TaskState::Suspending => TaskState::Suspending,
            model::TaskState::Stopping => TaskState::Stopping,
            model::TaskState::Held => TaskState::Held,
            model::TaskState::Finished => TaskState::Finished,
        }
    }
}

impl From<TaskState> for model::TaskState {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Waiting => model::TaskState::Waiting,
            TaskState::Suspended => model::TaskState::Suspended,
            TaskState::Promised => model::TaskState::Promised,
            TaskState::Starting => model::TaskState::Starting,
            TaskState::Running => model::TaskState::Running,
            TaskState::Suspending => model::TaskState::Suspending,
            TaskState::Stopping => model::TaskState::Stopping,
            TaskState::Held => model::TaskState::Held,
            TaskState::Finished => model::TaskState::Finished,
        }
    }
}

impl TaskState {
    /// All states, in the order of a task's life.
    pub const ALL: [TaskState; 9] = [
        TaskState::Waiting,
        TaskState::Suspended,
        TaskState::Promised,
        TaskState::Starting,
        TaskState::Running,
        TaskState::Suspending,
        TaskState::Stopping,
        TaskState::Held,
        TaskState::Finished,
    ];

    /// The state in one word, as in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        model::TaskState::from(self).word()
    }
}

impl From<&model::Outcome> for OutcomeWord {
    fn from(outcome: &model::Outcome) -> Self {
        match outcome {
            model::Outcome::Succeeded => OutcomeWord::Succeeded,
            model::Outcome::Failed { .. } => OutcomeWord::Failed,
            model::Outcome::Stopped => OutcomeWord::Stopped,
        }
    }
}

impl OutcomeWord {
    /// The outcome in one word, as in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            OutcomeWord::Succeeded => "succeeded",
            OutcomeWord::Failed => "failed",
            OutcomeWord::Stopped => "stopped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_json() {
        for state in TaskState::ALL {
            assert_eq!(serde_json::to_value(state).expect("json"), state.word());
            assert_eq!(TaskState::from(model::TaskState::from(state)), state);
        }
        for outcome in [OutcomeWord::Succeeded, OutcomeWord::Failed, OutcomeWord::Stopped] {
            assert_eq!(serde_json::to_value(outcome).expect("json"), outcome.word());
        }
    }
}
