//! The state machine that ties everything together: facts in, decisions out.
//!
//! See [`Engine`] for the primary entry point.

mod config;

pub use config::{EngineConfig, Policy, Timing};

use serde::{Deserialize, Serialize};

use crate::model::*;

/// The scheduler.
#[derive(Clone, Debug)]
pub struct Engine {}

/// All of an engine's state, to be kept and restored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EngineState {}

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
    /// No right has this key.
    #[error("there is no such right")]
    UnknownRight,
    /// A right for AUTO: rights are for fixed levels.
    #[error("priority: a right is for a fixed level; AUTO takes the best of those")]
    RightForAuto,
    /// What was submitted is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// What the cluster says of a node is wrong.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// What changed since it was last asked.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Tasks as they are now, by number.
    pub tasks: Vec<TaskView>,
    /// Runs as they are now, by number.
    pub runs: Vec<RunView>,
    /// All rights, if any changed.
    pub rights: Option<Vec<RightRow>>,
}

impl Engine {
    /// An engine that knows nothing yet.
    #[must_use]
    pub fn new(_config: EngineConfig) -> Self {
        unimplemented!()
    }

    /// Takes a fact in. `Ok(false)` means that it was known already and changed nothing.
    ///
    /// # Errors
    /// [`FactError`]; the engine is then unchanged.
    pub fn observe(&mut self, _now: Time, _fact: &Fact) -> Result<bool, FactError> {
        unimplemented!()
    }

    /// Decides. The decisions hold at once for the engine; the caller carries the actions out.
    pub fn schedule(&mut self, _now: Time) -> Round {
        unimplemented!()
    }

    /// When time alone could change what [`Engine::schedule`] decides.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        unimplemented!()
    }

    /// Why an unfinished task is not running; `None` if it runs, or there is no such task.
    #[must_use]
    pub fn verdict(&self, _task: TaskId) -> Option<Verdict> {
        unimplemented!()
    }

    /// An unfinished task.
    #[must_use]
    pub fn task(&self, _task: TaskId) -> Option<TaskView> {
        unimplemented!()
    }

    /// All unfinished tasks, by number.
    pub fn tasks(&self) -> impl Iterator<Item = TaskView> + '_ {
        std::iter::empty()
    }

    /// An unended run.
    #[must_use]
    pub fn run(&self, _run: RunId) -> Option<RunView> {
        unimplemented!()
    }

    /// All nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = NodeView> + '_ {
        std::iter::empty()
    }

    /// All rights, by key.
    pub fn rights(&self) -> impl Iterator<Item = RightRow> + '_ {
        std::iter::empty()
    }

    /// The number for the next submission.
    #[must_use]
    pub fn next_task_id(&self) -> TaskId {
        unimplemented!()
    }

    /// What changed since the last call; finished tasks and ended runs appear here for the last time.
    pub fn drain_changes(&mut self) -> Changes {
        unimplemented!()
    }

    /// All of the state.
    #[must_use]
    pub fn snapshot(&self) -> EngineState {
        unimplemented!()
    }

    /// An engine that goes on where `state` was taken.
    #[must_use]
    pub fn restore(_config: EngineConfig, _state: EngineState) -> Self {
        unimplemented!()
    }

    /// Takes over a decision made before, as in a replayed log, without deciding anew.
    ///
    /// # Errors
    /// [`FactError`] if the decision speaks of a task, run or place that is not.
    pub fn replay(&mut self, _at: Time, _decisions: &[Decision]) -> Result<(), FactError> {
        unimplemented!()
    }
}
