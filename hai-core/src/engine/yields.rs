//! When a run yields, to whom, and what that would lose: who counts as one owner, how long a run is protected, and the list of
//! those who may have to leave. See `ARCHITECTURE.md`, "The `hai` policy", rules 5 and 8.

use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::inventory::NodeIx;
use crate::model::*;
use crate::preemption::{Listed, Loss, Owner};

use super::Engine;
use super::state::Phase;

/// A key of the owners' numbers, borrowed.
#[derive(Hash)]
struct OwnerName<'a>(&'a UserName, Priority);

impl indexmap::Equivalent<(UserName, Priority)> for OwnerName<'_> {
    fn equivalent(&self, (user, priority): &(UserName, Priority)) -> bool {
        self.0 == user && self.1 == *priority
    }
}

/// The owner of background work.
const NOBODY: Owner = Owner(u32::MAX - 1);

impl Engine {
    /// A user at a priority, as a number; all who have none yet look the same. Background work is nobody's, so that it
    /// yields to its owner's other work too.
    pub(super) fn owner(&self, spec: &TaskSpec) -> Owner {
        if spec.kind.is_background() {
            return NOBODY;
        }
        self.owners.get(&OwnerName(&spec.user, spec.priority)).copied().unwrap_or(Owner(u32::MAX))
    }

    /// The same, with a number of its own from now on.
    pub(super) fn number_owner(&mut self, spec: &TaskSpec) -> Owner {
        if spec.kind.is_background() {
            return NOBODY;
        }
        let next = Owner(u32::try_from(self.owners.len()).unwrap_or(u32::MAX).min(u32::MAX - 2));
        if let Some(&known) = self.owners.get(&OwnerName(&spec.user, spec.priority)) {
            return known;
        }
        self.owners.insert((spec.user.clone(), spec.priority), next);
        next
    }

    /// From when on a run may be told to leave for a better claim: if it can be suspended, once its protected time is over.
    pub(super) fn yields_from(&self, id: RunId) -> Time {
        let run = self.run_ref(id);
        let protected = self.protected(id);
        match run.started_at {
            _ if run.phase == Phase::Promised => Time::from_ms(i64::MIN),
            _ if !self.task_ref(run.task).spec.suspendable => Time::MAX,
            _ if protected == Span::ZERO => Time::from_ms(i64::MIN),
            Some(start) => start + protected,
            None => Time::MAX,
        }
    }

    /// How long a run is safe from others: as its level says, or longer once its task was suspended too often.
    pub(super) fn protected(&self, id: RunId) -> Span {
        let run = self.run_ref(id);
        let level = self.config.timing(run.level).protected;
        match self.config.churn {
            Some(churn) if self.task_ref(run.task).suspensions >= churn.free => level.max(churn.every),
            _ => level,
        }
    }

    /// How long a run is safe from equals: as its level says, or longer if suspending and starting it takes long.
    pub(super) fn slice(&self, id: RunId) -> Span {
        let run = self.run_ref(id);
        let swap = self.task_ref(run.task).swap_cost.as_ms();
        let least = Span::from_ms(swap.saturating_mul(u64::from(self.config.slice_swaps)));
        self.config.timing(run.level).slice.max(least)
    }

    /// Other users' runs with this claim whose slice is over.
    pub(super) fn over_slice(&self, group: &GroupName, claim: Claim, user: &UserName) -> impl Iterator<Item = RunId> {
        self.over_slice.get(group).into_iter().flatten().copied().filter(move |&id| {
            let run = self.run_ref(id);
            self.claim(run) == claim && self.may_be_taken_over(id) && self.task_ref(run.task).spec.user != *user
        })
    }

    /// Whether a run whose slice is over makes room for another user's work with its claim.
    fn may_be_taken_over(&self, id: RunId) -> bool {
        let run = self.run_ref(id);
        run.phase == Phase::Running
            && self.task_ref(run.task).spec.suspendable
            && run.elapsed(self.now) >= self.protected(id)
    }

    /// Whose runs those are, by claim: one user's, who is named by a task, or several users'.
    pub(super) fn over_slice_users(&self, group: &GroupName) -> BTreeMap<Claim, Option<Arc<TaskSpec>>> {
        let mut users: BTreeMap<Claim, Option<Arc<TaskSpec>>> = BTreeMap::new();
        let over = self.over_slice.get(group).into_iter().flatten().copied();
        for id in over.filter(|&id| self.may_be_taken_over(id)) {
            let run = self.run_ref(id);
            let spec = &self.task_ref(run.task).spec;
            let known = users.entry(self.claim(run)).or_insert_with(|| Some(Arc::clone(spec)));
            if known.as_ref().is_some_and(|one| one.user != spec.user) {
                *known = None;
            }
        }
        users
    }

    /// Adds a run that stays, or is promised, to those who may have to yield, or brings up to date what is known of it.
    pub(super) fn list(&mut self, id: RunId) {
        let run = self.run_ref(id);
        let spec = Arc::clone(&self.task_ref(run.task).spec);
        let mut nodes: SmallVec<[NodeIx; 1]> =
            run.alive().filter_map(|rank| self.inventory.find(&run.placement.workers[rank].node)).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let (loss, devices) = self.stake(id);
        let claim = self.claim(run);
        let owner = self.number_owner(&spec);
        let yields_from = self.yields_from(id);
        self.yielders.list(id, Listed { group: spec.group.clone(), claim, owner, devices, loss, yields_from, nodes });
    }

    /// What a run would lose by leaving, on each of so many devices.
    pub(super) fn stake(&self, id: RunId) -> (Loss, u32) {
        let run = self.run_ref(id);
        let devices: usize = run.alive().map(|rank| run.placement.workers[rank].devices.len()).sum();
        let restart = self.task_ref(run.task).spec.restart_cost.unwrap_or(self.config.restart_cost);
        let loss = match run.checkpointed_at.max(run.started_at) {
            _ if run.phase == Phase::Promised => Loss::Fixed(Span::ZERO),
            None => Loss::Fixed(restart),
            Some(since) => Loss::WorkSince(since - restart),
        };
        (loss, u32::try_from(devices).unwrap_or(u32::MAX).max(1))
    }
}
