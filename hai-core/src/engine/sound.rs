//! Whether a state that came from outside hangs together: what it says of tasks, runs and nodes must agree, or no engine can
//! be restored from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::snapshot::EngineState;
use super::state::{Run, Status};
use crate::model::{NodeName, RunId, TaskId};

/// What does not hang together in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateError(String);

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StateError {}

fn wrong<T>(what: impl Into<String>) -> Result<T, StateError> {
    Err(StateError(what.into()))
}

impl EngineState {
    /// Checks a state that was not taken from an engine just now, such as one in a file, before an engine is restored from it.
    ///
    /// # Errors
    /// [`StateError`] names the task, run or node that can not be.
    pub fn check(&self) -> Result<(), StateError> {
        let mut nodes: BTreeSet<&NodeName> = BTreeSet::new();
        for node in &self.nodes {
            node.check().or_else(|error| wrong(format!("node {}: {error}", node.name)))?;
            if !nodes.insert(&node.name) {
                return wrong(format!("node {} stands there twice", node.name));
            }
        }
        let mut runs: BTreeMap<RunId, &Run> = BTreeMap::new();
        for (id, run) in &self.runs {
            if *id >= self.next_run || runs.insert(*id, run).is_some() {
                return wrong(format!(
                    "run {id} stands there twice, or is not one of those before run {}",
                    self.next_run
                ));
            }
        }
        let mut tasks: BTreeMap<TaskId, &Status> = BTreeMap::new();
        for (id, task) in &self.tasks {
            task.spec.check().or_else(|error| wrong(format!("task {id}: {error}")))?;
            if *id > self.last_task || tasks.insert(*id, &task.status).is_some() {
                return wrong(format!("task {id} stands there twice, or comes after the last, {}", self.last_task));
            }
            if let Status::Run(run) = task.status
                && runs.get(&run).is_none_or(|run| run.task != *id)
            {
                return wrong(format!("task {id} has run {run}, which is not there or another task's"));
            }
        }
        for (id, run) in runs {
            if tasks.get(&run.task).is_none_or(|status| **status != Status::Run(id)) {
                return wrong(format!("run {id} is of task {}, which is not there or has no such run", run.task));
            }
            let workers = run.workers.len();
            if run.placement.workers.len() != workers || !(run.billed.is_empty() || run.billed.len() == workers) {
                return wrong(format!("run {id} has not as many places, or bills, as workers"));
            }
            if let Some(rank) = run.alive().find(|&rank| !nodes.contains(&run.placement.workers[rank].node)) {
                let node = &run.placement.workers[rank].node;
                return wrong(format!("run {id} has a worker on node {node}, which is not there"));
            }
        }
        Ok(())
    }
}
