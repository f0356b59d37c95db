//! What those need to know who play a copy of the engine to see what would happen.

use super::Engine;
use super::state::Phase;
use crate::model::{Allowance, Amount, Priority, RunId, TaskId, UserName};

/// Whose a task is, and whether it only takes what nobody else wants.
pub(crate) struct TaskOwner<'a> {
    pub(crate) user: &'a UserName,
    pub(crate) background: bool,
}

impl Engine {
    /// Runs that were told to leave.
    pub(crate) fn leaving(&self) -> impl Iterator<Item = RunId> + '_ {
        self.runs.iter().filter(|(_, run)| matches!(run.phase, Phase::Vacating { .. })).map(|(id, _)| id)
    }

    /// The workers of a run that have not ended.
    pub(crate) fn alive_ranks(&self, run: RunId) -> Vec<u32> {
        let run = self.runs.get(run).into_iter();
        run.flat_map(|run| run.alive()).filter_map(|rank| u32::try_from(rank).ok()).collect()
    }

    /// The task of a run.
    pub(crate) fn task_of(&self, run: RunId) -> Option<TaskId> {
        self.runs.get(run).map(|run| run.task)
    }

    /// Whose an unfinished task is.
    pub(crate) fn owner_of(&self, task: TaskId) -> Option<TaskOwner<'_>> {
        let spec = &self.tasks.get(task)?.spec;
        Some(TaskOwner { user: &spec.user, background: spec.kind.is_background() })
    }

    /// What the owner of a task may hold within right at a level.
    pub(crate) fn allowance_for(&mut self, task: TaskId, level: Priority) -> Allowance {
        let bucket = self.bucket_at(task, level);
        self.book.allowance(bucket)
    }

    /// The number for the next run.
    pub(crate) fn next_run_id(&self) -> RunId {
        self.next_run
    }

    /// What runs that stay hold, in devices: whose, whether within right, how much.
    pub(crate) fn holdings(&self) -> impl Iterator<Item = (TaskOwner<'_>, bool, Amount)> {
        self.runs.iter().filter(|(_, run)| run.is_staying()).map(|(_, run)| {
            let spec = &self.task_ref(run.task).spec;
            let devices = run.alive().map(|rank| run.devices(rank)).sum();
            (TaskOwner { user: &spec.user, background: spec.kind.is_background() }, run.entitled, devices)
        })
    }
}
