//! Lesser work of a team yields to better work of the same team when what the team may hold is used up: its own, or that of
//! a team that it is a part of. By the rules by which it would yield its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::*;
use crate::queue::AskId;
use crate::rights::book::{Share, Shortage, Standing};
use crate::rights::{Bill, Part};

use super::Engine;
use super::place::Stand;

/// So many are looked at of those who could give back what is missing, in yield order.
const RUNS_MAX: usize = 512;

/// What is missing of pools, and what lesser runs would give back of it.
#[derive(Clone, Debug)]
pub(super) struct Short {
    missing: Shortage,
    shares: BTreeMap<RunId, Share>,
}

impl Short {
    /// Who would give back any, by number.
    pub(super) fn runs(&self) -> impl Iterator<Item = RunId> + '_ {
        self.shares.keys().copied()
    }

    /// Whether enough is given back if these leave.
    pub(super) fn is_covered_by(&self, leaving: &[RunId]) -> bool {
        self.missing.is_covered_by(leaving.iter().filter_map(|run| self.shares.get(run)))
    }
}

impl Engine {
    /// The level at which a task lacks nothing but a part of its teams' pools, what of that lesser work of the teams
    /// holds, and how the task stands to its right once that leaves. Of an elastic gang only the fewest workers count.
    pub(super) fn short_of_pool(&mut self, id: TaskId, claim: Claim) -> Option<(Priority, Claim, Stand, Short)> {
        let spec = Arc::clone(&self.task_ref(id).spec);
        let (level, claim) = match spec.priority {
            Priority::Auto => {
                let lacks = |level: &Priority| matches!(self.stand(id, *level, false).standing, Standing::TeamUsed(_));
                let level = Priority::LEVELS.into_iter().find(lacks)?;
                (level, Claim { entitled: true, level })
            }
            level => (level, claim),
        };
        if !self.yielders.any_below(&spec.group, claim) {
            return None;
        }
        let bucket = self.bucket_at(id, level);
        let most = self.most_of_worker(&spec.request);
        let missing = self.book.shortage(bucket, &Bill::of_charge(most).times(spec.workers_min()));
        let owner = self.owner(&spec);
        let mut shares: BTreeMap<RunId, Share> = BTreeMap::new();
        for yielder in self.yielders.cheapest_first(&spec.group, claim, self.now) {
            let known = self.yielders.get(yielder.run).expect("it was just listed");
            let spared = self.spared.get(&yielder.run).is_some_and(|up_to| claim < *up_to);
            let run = self.run_ref(yielder.run);
            if known.owner == owner || known.yields_from > self.now || spared || !run.entitled {
                continue;
            }
            if let Some((theirs, bill)) = run.bill()
                && let Some(share) = self.book.share(&missing, theirs, &bill)
            {
                shares.insert(yielder.run, share);
                if shares.len() == RUNS_MAX {
                    break;
                }
            }
        }
        if !missing.is_covered_by(shares.values()) {
            return None;
        }
        let runs: Vec<(RunId, Part)> = shares.keys().map(|&run| (run, self.run_ref(run).part())).collect();
        for &(run, part) in &runs {
            self.count_as(run, part, Part::Leaving);
        }
        let mut stand = self.stand(id, level, false);
        for &(run, part) in &runs {
            self.count_as(run, Part::Leaving, part);
        }
        if !matches!(stand.standing, Standing::Now | Standing::Later) {
            return None;
        }
        stand.workers = (0, spec.workers_min());
        Some((level, claim, stand, Short { missing, shares }))
    }

    fn count_as(&mut self, run: RunId, from: Part, to: Part) {
        if let Some((bucket, bill)) = self.run_ref(run).bill() {
            self.book.move_part(bucket, from, to, &bill);
        }
    }

    /// The most that a worker may be charged, whatever devices it gets.
    fn most_of_worker(&mut self, request: &WorkerRequest) -> Charge {
        if !self.kinds_matter(request) {
            return Charge::of_worker(request.devices);
        }
        let kinds: Vec<_> = self.inventory.catalogue().kinds().map(|(_, kind)| kind.clone()).collect();
        let suiting = kinds.iter().filter(|kind| kind.suits(request));
        suiting.map(|kind| self.bill_of_worker(request, kind).charge).fold(Charge::NOTHING, |most, charge| Charge {
            nodes: most.nodes.max(charge.nodes),
            devices: most.devices.max(charge.devices),
        })
    }

    /// Somebody of a group yields more easily: who lacks a part of a pool that he uses is looked at again.
    pub(super) fn pools_eased(&mut self, run: RunId) {
        if self.book.has_pools() {
            let task = self.run_ref(run).task;
            let (_, group) = self.account(task);
            self.agenda.eased.insert(group);
        }
    }

    /// Tries to make lesser work of its teams leave for a task that lacks a part of their pools.
    pub(super) fn displace_in_team(&mut self, id: TaskId, ask: AskId, claim: Claim) -> super::hai::Preempted {
        match self.short_of_pool(id, claim) {
            Some((level, claim, stand, short)) => {
                self.preempt(id, ask, level, claim, &stand, super::hai::Search::Everywhere, Some(&short))
            }
            None => super::hai::Preempted::No { spared: true },
        }
    }
}
