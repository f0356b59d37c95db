//! Tasks and runs as others see them: what the store keeps and what people are shown.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    NodeSpec, Placement, Priority, RunId, Span, TaskId, TaskSpec, Time, WorkerExit, WorkerPlacement, YieldReason,
};

/// A task at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TaskView {
    /// Its number.
    pub id: TaskId,
    /// What was asked, with the priority as it is now.
    pub spec: Arc<TaskSpec>,
    /// What it is doing.
    pub state: TaskState,
    /// How it ended, once it has.
    pub outcome: Option<Outcome>,
    /// When it was submitted.
    pub submitted_at: Time,
    /// When its first run started.
    pub started_at: Option<Time>,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// Runs so far, the present one included.
    pub runs: u32,
    /// The present run, also while it starts or leaves.
    pub run: Option<RunId>,
    /// The number that its next run reads.
    pub whole_life_state: i64,
    /// How long it has run in all its ended runs.
    pub ran: Span,
    /// The level whose right it is charged to, while it runs or is promised a place.
    pub level: Option<Priority>,
    /// Why its last run had to leave, if it had.
    pub yielded: Option<Yielded>,
}

/// The last time a task had to give way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Yielded {
    /// When it was told to.
    pub at: Time,
    /// Why.
    pub reason: YieldReason,
}

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// It waits until somebody releases it.
    Held,
    /// It is over; see its outcome.
    Finished,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// All its workers ended with status 0, or it declared itself done.
    Succeeded,
    /// A worker failed.
    Failed {
        /// Which worker, and how.
        reason: String,
    },
    /// Somebody stopped it.
    Stopped,
}

/// One attempt to execute a task, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RunView {
    /// Its number.
    pub id: RunId,
    /// The task.
    pub task: TaskId,
    /// 1 for the task's first run.
    pub attempt: u32,
    /// What it is doing.
    pub phase: RunPhase,
    /// When it was decided.
    pub decided_at: Time,
    /// When the last of its workers began to execute.
    pub started_at: Option<Time>,
    /// When the last of its workers had ended.
    pub ended_at: Option<Time>,
    /// When it last saved its work.
    pub checkpointed_at: Option<Time>,
    /// The number that it reported last; `None` if it reported none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_life_state: Option<i64>,
    /// How it ended, once it has.
    pub end: Option<RunEnd>,
    /// Its workers, by rank.
    pub workers: Vec<WorkerView>,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunPhase {
    /// Its capacity is reserved, not all workers are reported yet.
    Starting,
    /// All workers execute.
    Running,
    /// It is leaving.
    Vacating,
    /// It is over.
    Ended,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum RunEnd {
    /// The task's work is complete.
    Completed,
    /// A worker failed.
    Failed {
        /// Which, and how.
        reason: String,
    },
    /// It gave way and will go on in another run.
    Suspended,
    /// The task was stopped.
    Stopped,
    /// A node or what watched over a worker was lost, or refused the start; the task goes on in another run.
    Lost {
        /// What is known.
        reason: String,
    },
}

/// One worker of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkerView {
    /// What it was given.
    pub place: WorkerPlacement,
    /// What it is doing.
    pub state: WorkerState,
}

/// What one worker is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum WorkerState {
    /// The start was decided; nothing was heard yet.
    Reserved,
    /// It executes.
    Executing {
        /// Since when.
        since: Time,
    },
    /// It is no more.
    Ended {
        /// When that was reported.
        at: Time,
        /// How it ended.
        exit: WorkerExit,
    },
}

impl RunView {
    /// Where its workers are.
    #[must_use]
    pub fn placement(&self) -> Placement {
        Placement { workers: self.workers.iter().map(|worker| worker.place.clone()).collect() }
    }
}

impl TaskState {
    /// The state in one word, as in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            TaskState::Waiting => "waiting",
            TaskState::Suspended => "suspended",
            TaskState::Promised => "promised",
            TaskState::Starting => "starting",
            TaskState::Running => "running",
            TaskState::Suspending => "suspending",
            TaskState::Stopping => "stopping",
            TaskState::Held => "held",
            TaskState::Finished => "finished",
        }
    }
}

impl Outcome {
    /// The outcome in one word, as in JSON.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed { .. } => "failed",
            Outcome::Stopped => "stopped",
        }
    }
}

/// A node and who is on it, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodeView {
    /// The node as the cluster described it.
    pub spec: NodeSpec,
    /// Who holds a part of it, or is promised one, by run and rank.
    pub workers: Vec<NodeWorker>,
    /// Processors that nobody holds, in thousandths of a core.
    pub free_cpu_milli: u32,
    /// Memory that nobody holds, in MiB.
    pub free_memory_mib: u64,
    /// Healthy devices that nobody holds.
    pub free_devices: u32,
}

/// One worker on a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodeWorker {
    /// The run.
    pub run: RunId,
    /// Its task.
    pub task: TaskId,
    /// Which worker.
    pub rank: u32,
    /// What it holds, or will.
    pub place: WorkerPlacement,
    /// What its run is doing; `None` while the place is only promised.
    pub phase: Option<RunPhase>,
}
