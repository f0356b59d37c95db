//! Why a fact can not be taken in.

use crate::model::{DeviceId, NodeError, NodeName, RunId, SpecError, TaskId, TeamName};
use crate::rights::{RightError, TeamError};

/// Why a fact can not be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FactError {
    /// No task has this number, or it ended long ago.
    #[error("there is no unfinished task {task}")]
    UnknownTask {
        /// The number.
        task: TaskId,
    },
    /// The cluster speaks of a run that is not (any more).
    #[error("there is no run {run} with a worker {rank} that could do this")]
    UnknownWorker {
        /// The run.
        run: RunId,
        /// The worker.
        rank: u32,
    },
    /// No such node.
    #[error("there is no node {node}")]
    UnknownNode {
        /// The node.
        node: NodeName,
    },
    /// The node has no such device.
    #[error("node {node} has no device {device}")]
    UnknownDevice {
        /// The node.
        node: NodeName,
        /// The device.
        device: DeviceId,
    },
    /// A submission reuses a number.
    #[error("task {task} can not be submitted: numbers must grow, and the last was {last}")]
    StaleTaskId {
        /// The number.
        task: TaskId,
        /// The greatest so far.
        last: TaskId,
    },
    /// The task is not held.
    #[error("task {task} is not held, so there is nothing to resume")]
    NotHeld {
        /// The task.
        task: TaskId,
    },
    /// The task runs already, so it can not wait for others first.
    #[error("task {task} has started already, so it can not wait for other tasks")]
    HasStarted {
        /// The task.
        task: TaskId,
    },
    /// Tasks would wait for each other for ever.
    #[error("after: {} would wait for each other for ever", path(.cycle))]
    DependencyCycle {
        /// The tasks, each of which waits for the next, and the last for the first.
        cycle: Vec<TaskId>,
    },
    /// A task is to wait for one that was not submitted, or ended so long ago that its outcome is forgotten.
    #[error("after: task {task} is not known, or ended too long ago for its outcome to be known")]
    UnknownDependency {
        /// The number.
        task: TaskId,
    },
    /// A task is to wait for the success of one that already ended without.
    #[error("after: task {task} has already ended without success")]
    DependencyFailed {
        /// The number.
        task: TaskId,
    },
    /// Only interactive tasks have a lease.
    #[error("task {task} has no lease that could be renewed")]
    NoLease {
        /// The task.
        task: TaskId,
    },
    /// No right has this key.
    #[error("there is no such right")]
    UnknownRight,
    /// A right that can not be.
    #[error(transparent)]
    Right(#[from] RightError),
    /// A team that can not be.
    #[error(transparent)]
    TeamSpec(#[from] TeamError),
    /// No such team.
    #[error("there is no team {team}")]
    UnknownTeam {
        /// The name.
        team: TeamName,
    },
    /// What was submitted is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// What the cluster says of a node is wrong.
    #[error(transparent)]
    Node(#[from] NodeError),
}

fn path(cycle: &[TaskId]) -> String {
    let names: Vec<String> = cycle.iter().map(|task| format!("task {task}")).collect();
    names.join(", ")
}
