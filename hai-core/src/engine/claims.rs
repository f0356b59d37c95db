//! What others may ask of a claim: whether a task wants a place now, and on which right a run stands.

use crate::model::{RunId, TaskId};

use super::Engine;
use super::state::{Phase, Status};

impl Engine {
    /// Whether a task waits for room, and for nothing else: no time, no other task, no release, no second try.
    pub(crate) fn wants_room(&self, task: TaskId) -> bool {
        self.tasks.get(task).is_some_and(|task| match task.status {
            Status::Waiting => true,
            Status::Run(run) => self.run_ref(run).phase == Phase::Promised,
            Status::After | Status::NotBefore | Status::BackOff { .. } | Status::Held => false,
        })
    }

    /// Whether a run that has not ended is within its right.
    pub(crate) fn is_entitled(&self, run: RunId) -> bool {
        self.runs.get(run).is_some_and(|run| run.entitled)
    }
}
