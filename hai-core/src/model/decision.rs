//! What the engine answers: the decisions of one round.

use serde::{Deserialize, Serialize};

use super::{DeviceId, NodeName, Placement, Priority, RunId, TaskId, Time, Verdict};

/// One pass of the scheduler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Round {
    /// When it was.
    pub at: Time,
    /// What was decided, in the order in which it holds.
    pub decisions: Vec<Decision>,
    /// Why waiting tasks wait, for those whose reason changed. A task that waits behind another of the same shape is
    /// not listed; ask the engine for its verdict.
    pub verdicts: Vec<(TaskId, Verdict)>,
}

/// One decision. [`Decision::is_action`] tells which of them the cluster must carry out; the others change only what
/// is set aside for whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "decision", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Decision {
    /// Action: start all workers of a run. The capacity is reserved until the cluster reports them.
    Start {
        /// The task.
        task: TaskId,
        /// The new attempt; the same as in the promise, if one was made.
        run: RunId,
        /// Where.
        placement: Placement,
        /// The level whose right it is charged to.
        level: Priority,
        /// Within its right; otherwise it borrows.
        entitled: bool,
        /// The number that the task's last run left behind.
        whole_life_state: i64,
    },
    /// Action: let a run save itself and leave within its grace. The capacity is being vacated until it has.
    Suspend {
        /// The run.
        run: RunId,
        /// Its task, which goes back into the queue.
        task: TaskId,
        /// Why.
        reason: YieldReason,
    },
    /// Action: end a run, with the same grace; its task is over.
    Stop {
        /// The run.
        run: RunId,
        /// Its task.
        task: TaskId,
    },
    /// Capacity that is free, or being vacated, is set aside for a task, which starts once all of it is free.
    Promise {
        /// The task.
        task: TaskId,
        /// The attempt that will be.
        run: RunId,
        /// Where.
        placement: Placement,
        /// The level whose right it is charged to.
        level: Priority,
        /// Within its right; otherwise it borrows.
        entitled: bool,
    },
    /// A promise is taken back: its place is lost, or a better task needs it. The task waits again.
    Withdraw {
        /// The task.
        task: TaskId,
    },
    /// A task waited so long that nothing may start any more that would delay it: what starts after this on these nodes
    /// gives way to it, or is over by then. Replaces the one it had.
    Reserve {
        /// The task.
        task: TaskId,
        /// The nodes where it will be, as things are.
        nodes: Vec<NodeName>,
        /// When it starts at the latest if no better work comes; `None` if a run that never has to leave is in its way.
        by: Option<Time>,
    },
    /// A reservation is given up: its task starts, or lost its claim to it.
    Unreserve {
        /// The task.
        task: TaskId,
    },
    /// A run is beyond its right since that was cut, and will be told to leave unless something changes.
    Notice {
        /// The run.
        run: RunId,
        /// When it will have to leave; `None` if it need not any more.
        until: Option<Time>,
    },
    /// A run is charged to another level, or is now within its right, or no longer.
    Recharge {
        /// The run.
        run: RunId,
        /// The level whose right it is charged to from now on.
        level: Priority,
        /// Within its right; otherwise it borrows.
        entitled: bool,
    },
}

/// Why a run has to leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum YieldReason {
    /// A task with a better right needs the place; it holds a promise made in the same round.
    For {
        /// That task.
        task: TaskId,
    },
    /// A node under it is not ready any more.
    NodeLost {
        /// The node.
        node: NodeName,
    },
    /// A node under it is being drained.
    NodeDrained {
        /// The node.
        node: NodeName,
    },
    /// A device under it is being drained, or broke.
    DeviceLost {
        /// The node.
        node: NodeName,
        /// The device.
        device: DeviceId,
    },
    /// Its devices were idle for too long.
    Idle,
    /// One of its workers was lost, or could not be started; the others can not go on alone.
    WorkerLost {
        /// That worker.
        rank: u32,
    },
    /// The right it ran on was cut.
    RightLost,
    /// Its owner or an operator holds it.
    Held,
}

impl Decision {
    /// Whether the cluster has to do something.
    #[must_use]
    pub const fn is_action(&self) -> bool {
        matches!(self, Decision::Start { .. } | Decision::Suspend { .. } | Decision::Stop { .. })
    }
}

impl Round {
    /// What the cluster has to do, in order.
    pub fn actions(&self) -> impl Iterator<Item = &Decision> {
        self.decisions.iter().filter(|decision| decision.is_action())
    }

    /// Whether nothing was decided and nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.decisions.is_empty() && self.verdicts.is_empty()
    }
}

impl std::fmt::Display for YieldReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            YieldReason::For { task } => write!(f, "task {task} has a better right to its place"),
            YieldReason::NodeLost { node } => write!(f, "node {node} is not ready"),
            YieldReason::NodeDrained { node } => write!(f, "node {node} is being drained"),
            YieldReason::DeviceLost { node, device } => write!(f, "device {device} of node {node} must be left"),
            YieldReason::Idle => f.write_str("its devices were idle"),
            YieldReason::WorkerLost { rank } => write!(f, "its worker {rank} was lost or could not be started"),
            YieldReason::RightLost => f.write_str("its right was cut"),
            YieldReason::Held => f.write_str("it was asked to hold"),
        }
    }
}
