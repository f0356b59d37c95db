//! Another configuration in the middle of a life.

use super::{Engine, EngineConfig, snapshot};
use crate::model::Time;

impl Engine {
    /// Decides by another configuration from now on. What was decided before stands; what runs and waits is looked at anew
    /// in the next round. False if the configuration is the present one.
    ///
    /// Costs as much as restoring a snapshot. Policies of one's own stay what they are.
    pub fn reconfigure(&mut self, now: Time, config: EngineConfig) -> bool {
        self.pass_time(now);
        if self.config == config {
            return false;
        }
        let state = self.snapshot();
        let mut next = snapshot::restore(Engine::with_policies(config, self.policies.clone()), state);
        // What nobody has asked for yet was not part of the state.
        next.changed_tasks = std::mem::take(&mut self.changed_tasks);
        next.changed_runs = std::mem::take(&mut self.changed_runs);
        next.changed_rights = self.changed_rights;
        next.finished_tasks = std::mem::take(&mut self.finished_tasks);
        next.ended_runs = std::mem::take(&mut self.ended_runs);
        *self = next;
        true
    }

    /// By what it decides.
    #[must_use]
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }
}
