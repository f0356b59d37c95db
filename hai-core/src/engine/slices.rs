//! Round robin among equals: who waits longest takes the place of another user's run of the same level whose slice is over.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use crate::model::*;
use crate::queue::{AskId, ClassId};

use super::Engine;
use super::hai::{Preempted, Search};
use super::state::Phase;

/// Claims, from the best down to before the next that is to be tried.
pub(super) type Claims = (Bound<Claim>, Bound<Claim>);

impl Engine {
    /// Lets one of those who wait take the place of equals: who has nodes kept for it, else who waits longest. Only those
    /// whose claim is better than `next`, which is to be tried next, and not better than `tried`, the last that was; all
    /// with `None`. True if one did.
    pub(super) fn displace_equals(&mut self, next: Option<Claim>, tried: Option<Claim>) -> bool {
        let taken = self.agenda.slices.take();
        self.slices_ended.extend(&taken);
        self.agenda.slices.reuse(taken);
        let claims = match (next, tried) {
            (Some(next), Some(tried)) if next >= tried => return false,
            (Some(next), Some(tried)) => (Bound::Excluded(next), Bound::Included(tried)),
            (Some(next), None) => (Bound::Excluded(next), Bound::Unbounded),
            // What lesser claims freed may be of use to better ones.
            (None, _) => (Bound::Unbounded, Bound::Unbounded),
        };
        self.pass_reservations(claims) || self.pass_slices(claims)
    }

    /// True if somebody took the place of an equal.
    ///
    /// Only those who were just found to lack room can, or anybody for whom a slice ended or a node was freed.
    fn pass_slices(&mut self, claims: Claims) -> bool {
        let concerned =
            |(group, over): &(&GroupName, &BTreeSet<RunId>)| !over.is_empty() && self.concerns_slices_of(group);
        let groups: Vec<GroupName> = self.over_slice.iter().filter(concerned).map(|(group, _)| group.clone()).collect();
        groups.iter().any(|group| self.pass_slices_of(group, claims))
    }

    /// Whether anything happened in this round that may let somebody of the group take the place of an equal.
    fn concerns_slices_of(&self, group: &GroupName) -> bool {
        let blocked = |class: &ClassId| self.queue.is_known(*class) && self.queue.shape(*class).spec.group == *group;
        let ended = |run: &RunId| self.runs.get(*run).is_some_and(|run| self.task_ref(run.task).spec.group == *group);
        let freed = |ix| self.inventory.get(ix).is_some_and(|node| node.spec().group == *group);
        self.newly_blocked.iter().any(blocked)
            || self.slices_ended.iter().any(ended)
            || self.freed_nodes.iter().any(|&ix| freed(ix))
    }

    fn pass_slices_of(&mut self, group: &GroupName, claims: Claims) -> bool {
        self.sink_autos(group, claims);
        let waiting: Vec<(Claim, TaskId, ClassId)> =
            self.queue.by_wait(group, claims).filter(|(claim, ..)| claim.entitled).collect();
        let mut in_vain: BTreeSet<(AskId, Claim)> = BTreeSet::new();
        for (claim, head, class) in waiting {
            let ask = self.queue.ask(class);
            if in_vain.contains(&(ask, claim)) {
                continue;
            }
            let spec = Arc::clone(&self.task_ref(head).spec);
            let Ok((level, stand)) = self.right(head) else { continue };
            if self.over_slice(group, claim, &spec.user).next().is_none() {
                continue;
            }
            self.ready(ask);
            match self.preempt(head, ask, level, claim, &stand, Search::Slices, None) {
                Preempted::Yes | Preempted::Again => return true,
                Preempted::No { spared: false } if self.over_slice_is_all_others(group, claim, &spec.user) => {
                    in_vain.insert((ask, claim));
                }
                Preempted::No { .. } => {}
            }
        }
        false
    }

    /// Moves AUTO tasks to where they belong now, if their right at a better level was used up while they waited.
    fn sink_autos(&mut self, group: &GroupName, claims: Claims) {
        let autos: Vec<(Claim, ClassId)> = self
            .queue
            .by_wait(group, claims)
            .filter(|&(claim, _, class)| claim.entitled && self.queue.shape(class).spec.priority == Priority::Auto)
            .map(|(claim, _, class)| (claim, class))
            .collect();
        for (known, class) in autos {
            let claim = self.claim_of(class, true);
            if claim < known {
                let turn = self.turn(class, true);
                self.queue.sink(class, turn, claim);
            }
        }
    }

    /// Other users' runs with this claim whose slice is over.
    pub(super) fn over_slice(&self, group: &GroupName, claim: Claim, user: &UserName) -> impl Iterator<Item = RunId> {
        self.over_slice.get(group).into_iter().flatten().copied().filter(move |&id| {
            let run = self.run_ref(id);
            let theirs = self.claim(run);
            let task = self.task_ref(run.task);
            theirs == claim
                && run.phase == Phase::Running
                && task.spec.suspendable
                && run.elapsed(self.now) >= self.protected(id)
                && task.spec.user != *user
        })
    }

    /// Whether the runs of a claim whose slice is over are all of other users.
    fn over_slice_is_all_others(&self, group: &GroupName, claim: Claim, user: &UserName) -> bool {
        self.over_slice.get(group).into_iter().flatten().all(|&id| {
            let run = self.run_ref(id);
            self.claim(run) != claim || self.task_ref(run.task).spec.user != *user
        })
    }
}
