//! What a simulation asks of an engine besides what everybody may: what is over, without a view of all that changed.

use crate::model::TaskView;

use super::Engine;

impl Engine {
    /// A number that changes with what happened to it, and is the same for the same.
    pub(crate) fn stamp(&self) -> u64 {
        let now = u64::from_ne_bytes(self.now.as_ms().to_ne_bytes());
        now.rotate_left(32) ^ self.last_task.0.rotate_left(16) ^ self.next_run.0
    }

    /// Moves the tasks that ended since the last call into `finished`, and forgets all other changes. The buffer's memory is
    /// used in turn, so that a long simulation does not keep allocating.
    pub(crate) fn swap_finished(&mut self, finished: &mut Vec<TaskView>) {
        finished.clear();
        std::mem::swap(&mut self.finished_tasks, finished);
        self.changed_tasks.clear();
        self.changed_runs.clear();
        self.ended_runs.clear();
        self.changed_rights = false;
    }
}
