//! What the engine is told.

use serde::{Deserialize, Serialize};

use std::sync::Arc;

use super::{
    Dependency, DeviceHealth, DeviceId, NodeName, NodeSpec, Priority, Rank, RightKey, RightRow, RunId, TaskId,
    TaskSpec, Team, TeamName,
};

/// Something that became true. The log of facts and rounds is the engine's whole state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "fact", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fact {
    /// Somebody wants a task done. Its number must be new and greater than all before.
    Submitted {
        /// The new task.
        task: TaskId,
        /// What is asked.
        spec: Arc<TaskSpec>,
    },
    /// Somebody wants it stopped for good.
    Cancelled {
        /// The task.
        task: TaskId,
    },
    /// Somebody says how it has ended. What still runs of it is stopped, and whatever it does meanwhile, it ends so.
    Concluded {
        /// The task.
        task: TaskId,
        /// Whether its work counts as done; else it counts as failed.
        succeeded: bool,
    },
    /// Somebody wants it suspended until it is released.
    Held {
        /// The task.
        task: TaskId,
    },
    /// A held task may run again.
    Released {
        /// The task.
        task: TaskId,
    },
    /// Its urgency changed.
    Reprioritised {
        /// The task.
        task: TaskId,
        /// The new level.
        priority: Priority,
        /// The new place in the queue; `None` for the place that the submission gave.
        custom_rank: Option<Rank>,
    },
    /// It must also wait for these.
    MustFollow {
        /// The task, which must not have started yet.
        task: TaskId,
        /// What it waits for besides.
        after: Vec<Dependency>,
    },
    /// The lease of an interactive task begins anew.
    Renewed {
        /// The task.
        task: TaskId,
    },
    /// The devices of a run fell idle, or are used again.
    Idle {
        /// The run.
        run: RunId,
        /// Whether they are idle from now on.
        idle: bool,
    },
    /// A right was given or changed.
    RightSet {
        /// The row, which replaces one with the same key.
        right: RightRow,
    },
    /// A right was taken away.
    RightRemoved {
        /// The key of the row.
        key: RightKey,
    },
    /// A team was made or changed.
    TeamSet {
        /// All of it; replaces what was known.
        team: Team,
    },
    /// A team is no more. Its parts lose their parent.
    TeamRemoved {
        /// The team.
        team: TeamName,
    },
    /// A node joined or changed.
    NodeSet {
        /// All that is known of it; replaces what was known.
        node: NodeSpec,
    },
    /// A node is gone for good. Its workers' ends are reported on their own.
    NodeRemoved {
        /// The node.
        node: NodeName,
    },
    /// A device fell sick, was taken by a stranger, or is well again.
    DeviceChanged {
        /// Where it is.
        node: NodeName,
        /// The device.
        device: DeviceId,
        /// How it is now.
        health: DeviceHealth,
    },
    /// One worker of a run executes.
    WorkerStarted {
        /// The run.
        run: RunId,
        /// Which worker.
        rank: u32,
    },
    /// One worker of a run is no more.
    WorkerEnded {
        /// The run.
        run: RunId,
        /// Which worker.
        rank: u32,
        /// How it ended.
        exit: WorkerExit,
    },
    /// A run saved its work, so that what it did until now can not be lost any more.
    Checkpointed {
        /// The run.
        run: RunId,
        /// The number that the task's next run reads (`whole_life_state`).
        whole_life_state: i64,
    },
}

/// How a worker ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkerExit {
    /// What became of it.
    pub fate: WorkerFate,
    /// The suspend or stop signal had been delivered to it before it ended.
    #[serde(default)]
    pub signalled: bool,
    /// It said that the task's work is complete.
    #[serde(default)]
    pub declared_done: bool,
    /// Bytes of its output that could not be written down.
    #[serde(default)]
    pub log_lost_bytes: u64,
}

/// What became of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum WorkerFate {
    /// It ended by itself.
    Exited {
        /// Its exit status; 0 is success.
        code: i32,
    },
    /// A signal ended it.
    Killed {
        /// The signal's number.
        signal: i32,
    },
    /// It used more memory than it had, and was ended for that: the task fails.
    OutOfMemory {
        /// What is known of it, e.g. how much it had.
        reason: String,
    },
    /// Its program could not be executed: the task fails.
    NotExecuted {
        /// Why, e.g. that there is no such command.
        reason: String,
    },
    /// The node would not take it: the task is queued again.
    Refused {
        /// Why.
        reason: String,
        /// Whose fault it was, which decides who has to wait.
        #[serde(default)]
        cause: RefusalCause,
    },
    /// Its node, or what watched over it, is gone: the task is queued again.
    Lost {
        /// What is known.
        reason: String,
    },
}

/// Why a start was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RefusalCause {
    /// The task can not be started as it is, wherever that may be: it is tried again later.
    #[default]
    Task,
    /// The node has less than was thought, because a stranger took it: the node gets no new work for a while, and the
    /// task keeps its place in the queue.
    Node,
}

impl Fact {
    /// The task that it is about, of facts that name one; what workers report names runs.
    #[must_use]
    pub fn task(&self) -> Option<TaskId> {
        match self {
            Fact::Submitted { task, .. }
            | Fact::Cancelled { task }
            | Fact::Concluded { task, .. }
            | Fact::Held { task }
            | Fact::Released { task }
            | Fact::Reprioritised { task, .. }
            | Fact::MustFollow { task, .. }
            | Fact::Renewed { task } => Some(*task),
            _ => None,
        }
    }
}

impl WorkerExit {
    /// Ended by itself with `code`, undisturbed.
    #[must_use]
    pub fn exited(code: i32) -> Self {
        Self::of(WorkerFate::Exited { code })
    }

    /// Ended as `fate` says, undisturbed.
    #[must_use]
    pub fn of(fate: WorkerFate) -> Self {
        WorkerExit { fate, signalled: false, declared_done: false, log_lost_bytes: 0 }
    }

    /// The same, but after the suspend signal was delivered.
    #[must_use]
    pub fn after_signal(mut self) -> Self {
        self.signalled = true;
        self
    }
}

impl std::fmt::Display for WorkerFate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WorkerFate::Exited { code } => write!(f, "exit status {code}"),
            WorkerFate::Killed { signal } => write!(f, "killed by signal {signal}"),
            WorkerFate::OutOfMemory { reason } => write!(f, "out of memory: {reason}"),
            WorkerFate::NotExecuted { reason } => write!(f, "could not be executed: {reason}"),
            WorkerFate::Refused { reason, .. } => write!(f, "refused: {reason}"),
            WorkerFate::Lost { reason } => write!(f, "lost: {reason}"),
        }
    }
}
