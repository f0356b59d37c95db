//! What a task remembers for those who ask later: for whom it had to leave, what that cost, why a start came to nothing.
//!
//! Nothing of it decides anything.

use crate::model::*;

use super::Engine;
use super::Policy;
use super::state::Run;

impl Engine {
    /// A run was told to leave.
    pub(super) fn remember_suspension(&mut self, id: RunId, reason: &YieldReason) {
        let winner = match reason {
            YieldReason::For { task } => self.winner(id, *task),
            _ => None,
        };
        let run = self.run_ref(id);
        let (task, ran, restart_ms) = (run.task, run.elapsed(self.now), self.restart_ms(run));
        let told = Displacement { winner, lost_ms: 0, restart_ms, ran };
        self.task_mut(task).displaced = Some(Box::new(told));
    }

    /// A run is over: what it did and nobody knows to be saved is lost, if it had to leave.
    pub(super) fn remember_end(&mut self, run: &Run, end: &RunEnd) {
        let (now, lost_ms) = (self.now, self.unsaved_ms(run));
        let task = self.task_mut(run.task);
        if let (Some(displaced), Some(_)) = (&mut task.displaced, run.told_at) {
            displaced.lost_ms = lost_ms;
        }
        if let RunEnd::Lost { reason } = end {
            let node = run.loss.as_ref().and_then(|loss| loss.by_node.clone());
            task.refused = Some(Box::new(Refusal { at: now, reason: reason.clone(), node }));
        }
    }

    /// For whom a run has to leave, and by which rule.
    fn winner(&mut self, id: RunId, task: TaskId) -> Option<Winner> {
        let known = self.tasks.get(task)?;
        let (user, class) = (known.spec.user.clone(), known.queued.0);
        let run = self.run_ref(id);
        let over = self.claim(run);
        if self.config.policy == Policy::HaiFifo {
            let claim = Claim { entitled: true, level: known.spec.priority };
            return Some(Winner { task, user, claim, over, rule: YieldRule::EarlierInOrder });
        }
        let fills = self.reservations.get(&task).is_some_and(|kept| self.fills(id, kept));
        let claim = self.claim_of(class?.0, true);
        let rule = match claim.cmp(&over) {
            std::cmp::Ordering::Greater if claim.entitled != over.entitled => YieldRule::WithinRight,
            std::cmp::Ordering::Greater => YieldRule::BetterLevel,
            _ if fills => YieldRule::KeptNodes,
            _ => YieldRule::SliceOver,
        };
        Some(Winner { task, user, claim, over, rule })
    }

    /// Work of a run that is not known to be saved, in device-milliseconds.
    pub(super) fn unsaved_ms(&self, run: &Run) -> u64 {
        let Some(since) = run.checkpointed_at.max(run.started_at) else { return 0 };
        device_ms(run, self.now.since(since))
    }

    /// What starting a run's task again costs, in device-milliseconds.
    pub(super) fn restart_ms(&self, run: &Run) -> u64 {
        let each = self.task_ref(run.task).spec.restart_cost.unwrap_or(self.config.restart_cost);
        device_ms(run, each)
    }
}

/// So much time of all devices that a run was given; a part of one counts as that part.
fn device_ms(run: &Run, time: Span) -> u64 {
    let exact = u128::from(time.as_ms()) * u128::from(run.placement.device_milli()) / 1000;
    u64::try_from(exact).unwrap_or(u64::MAX)
}
