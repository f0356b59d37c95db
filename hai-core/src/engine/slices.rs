//! Round robin among equals: who waits takes the place of another user's run of its level whose slice is over. See
//! `ARCHITECTURE.md`, "The `hai` policy", rule 5.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::*;
use crate::queue::{AskId, ClassId};

use super::Engine;
use super::hai::{Preempted, Search};

impl Engine {
    /// Round robin among equals: lets the longest waiting take the place of another user's run of their level whose
    /// slice is over. True if one did.
    ///
    /// Only those who were just found to lack room can, or anybody for whom a slice ended or a node was freed.
    pub(super) fn pass_slices(&mut self) -> bool {
        let mut groups: BTreeSet<GroupName> = BTreeSet::new();
        for class in self.newly_blocked.iter().copied().filter(|&class| self.queue.is_known(class)) {
            groups.insert(self.queue.shape(class).spec.group.clone());
        }
        for run in self.slices_ended.iter().filter_map(|&run| self.runs.get(run)) {
            groups.insert(self.task_ref(run.task).spec.group.clone());
        }
        for &ix in self.freed_nodes.iter().filter(|&&ix| self.inventory.get(ix).is_some()) {
            groups.insert(self.inventory.node(ix).spec().group.clone());
        }
        for group in groups {
            if self.over_slice.get(&group).is_some_and(|over| !over.is_empty()) && self.pass_slices_of(&group) {
                return true;
            }
        }
        false
    }

    pub(super) fn pass_slices_of(&mut self, group: &GroupName) -> bool {
        let waiting: Vec<(Claim, TaskId, ClassId)> =
            self.queue.by_wait(group).filter(|(claim, ..)| claim.entitled).collect();
        let mut in_vain: BTreeSet<(AskId, Claim)> = BTreeSet::new();
        let over = self.over_slice_users(group);
        for (_, head, class) in waiting {
            let ask = self.queue.ask(class);
            // At which level there is some right left for an AUTO task may have changed since it was last tried.
            let claim = self.claim_of(class, true);
            if in_vain.contains(&(ask, claim)) {
                continue;
            }
            let spec = Arc::clone(&self.task_ref(head).spec);
            match over.get(&claim) {
                None => continue,
                Some(Some(one)) if one.user == spec.user => continue,
                Some(_) => {}
            }
            let Ok((level, stand)) = self.right(head) else { continue };
            self.ready(ask);
            match self.preempt(head, ask, level, claim, &stand, Search::Slices) {
                Preempted::Yes => return true,
                Preempted::No { spared: false } if self.over_slice_is_all_others(group, claim, &spec.user) => {
                    in_vain.insert((ask, claim));
                }
                Preempted::No { .. } => {}
            }
        }
        false
    }

    /// Whether the runs of a claim whose slice is over are all of other users.
    pub(super) fn over_slice_is_all_others(&self, group: &GroupName, claim: Claim, user: &UserName) -> bool {
        self.over_slice.get(group).into_iter().flatten().all(|&id| {
            let run = self.run_ref(id);
            self.claim(run) != claim || self.task_ref(run.task).spec.user != *user
        })
    }
}
