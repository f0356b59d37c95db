//! What a simulation asks of an engine besides what everybody may: what is over, without a view of all that changed.

use crate::model::TaskView;

use super::{Engine, EngineConfig};

impl Engine {
    /// How it decides.
    #[must_use]
    pub fn config(&self) -> &EngineConfig {
        &self.config
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
