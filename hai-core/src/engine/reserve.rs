//! Nodes that are kept for tasks that have waited long, so that smaller work can not starve them.
//!
//! A reservation names nodes, and the latest time at which all that is on them now has left. Nobody is told to leave before
//! everybody can be: that is when the last limit, slice or protection is over; then all have their grace. What starts there
//! afterwards must not delay that: it gives way to the task at once, or is over by then. So holes on reserved nodes are
//! filled all the same (EASY backfilling; Lifka, "The ANL/IBM SP Scheduling System", JSSPP 1995), and only better work can
//! make a reservation late. Whoever had a place before the reservation is no filler: else two tasks for whom nodes are kept
//! by turns would push each other out without end.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::inventory::NodeIx;
use crate::model::*;
use crate::preemption::{self, Owner, Yielder};

use super::Engine;
use super::hai::Search;
use super::state::{Phase, Status};

/// Stands for a run that never has to leave.
const NEVER: u64 = u64::MAX;

/// What is kept for one task.
#[derive(Clone, Debug)]
pub(super) struct Reservation {
    /// In order.
    pub(super) nodes: Vec<NodeIx>,
    /// When it starts at the latest.
    pub(super) by: Option<Time>,
    /// Since when.
    pub(super) at: Time,
    /// The longest grace that is counted on. Who fills a hole and has a longer one would make it late.
    pub(super) grace: Span,
    /// The first run that was settled after that. Who had its place before does not fill a hole.
    pub(super) first_run: RunId,
    pub(super) claim: Claim,
    pub(super) owner: Owner,
}

impl Engine {
    /// Keeps nodes for those who have waited for longer than the operator wants, as far as there are not enough
    /// reservations already.
    pub(super) fn reserve_for_longest(&mut self) {
        let Some(after) = self.config.reserve_after else { return };
        self.look_at_reservations();
        let mut due: Vec<TaskId> = Vec::new();
        // By group; there are few, and most groups have none.
        let mut kept: SmallVec<[&GroupName; 16]> =
            self.reservations.keys().map(|&task| &self.task_ref(task).spec.group).collect();
        kept.sort_unstable();
        for (group, waiting) in self.queue.longest_waiting(self.now - after) {
            let mut waiting = waiting.peekable();
            if waiting.peek().is_none() {
                continue;
            }
            let first = kept.partition_point(|kept| *kept < group);
            let known = kept[first..].iter().take_while(|kept| **kept == group).count();
            let mut free = (self.config.reservations as usize).saturating_sub(known);
            for (claim, since, task) in waiting {
                if free == 0 {
                    break;
                }
                if claim.entitled && since + after <= self.now && self.can_starve(task) {
                    due.push(task);
                    free -= 1;
                }
            }
        }
        drop(kept);
        for task in due {
            self.reserve(task);
        }
    }

    /// Whether nodes should be kept for a task: smaller work could take every place that is freed, one after the other.
    pub(super) fn can_starve(&self, task: TaskId) -> bool {
        let spec = &self.task_ref(task).spec;
        let is_smallest = spec.workers_min() == 1
            && match spec.request.devices {
                Devices::WholeNode => false,
                Devices::Count(count) => count <= 1,
                Devices::Share(_) | Devices::Memory(_) => true,
            };
        !is_smallest && !self.reservations.contains_key(&task)
    }

    /// When the next reservation is due.
    pub(super) fn next_reservation(&self) -> Option<Time> {
        let after = self.config.reserve_after?;
        let waiting = self.queue.longest_waiting(Time::MAX).flat_map(|(_, waiting)| waiting);
        // Most have waited for longer already; only of the others need more be known.
        let due = |(claim, since, task): (Claim, Time, TaskId)| {
            (since + after > self.now && claim.entitled && self.can_starve(task)).then_some(since + after)
        };
        waiting.filter_map(due).min()
    }

    /// Gives up what can not be kept, and works out anew what is late.
    fn look_at_reservations(&mut self) {
        if self.reservations.is_empty() {
            return;
        }
        let usable = |ix: &NodeIx| self.inventory.get(*ix).is_some() && self.inventory.node(*ix).is_usable();
        let broken: Vec<TaskId> = self
            .reservations
            .iter()
            .filter(|(_, kept)| !kept.nodes.iter().all(usable) || kept.by.is_some_and(|by| by <= self.now))
            .map(|(&task, _)| task)
            .collect();
        for task in broken {
            self.decide(Decision::Unreserve { task });
        }
    }

    fn reserve(&mut self, id: TaskId) {
        let spec = Arc::clone(&self.task_ref(id).spec);
        let Some((claim, owner)) = self.holder(id) else { return };
        let mut yielders: Vec<Yielder> = self
            .yielders
            .range(&spec.group, ..)
            .filter_map(|run| {
                let loss =
                    self.told_by(run, id, claim, owner).map_or(NEVER, |at| u64::try_from(at.as_ms()).unwrap_or(0));
                Some(Yielder { loss, ..self.yielders.yielder(run, self.now)? })
            })
            .collect();
        yielders.sort_by_key(|yielder| (yielder.loss, yielder.run));
        let Some((class, _)) = self.task_ref(id).queued.0 else { return };
        let ask = self.queue.ask(class);
        self.ready(ask);
        let Ok((_, stand)) = self.right(id) else { return };
        let others: Vec<NodeIx> = self.nodes_kept_for_better(id, claim);
        self.order_nodes(ask, &stand);
        let plan = preemption::plan(&self.question(ask, &others, &stand), &yielders, true, |_| true);
        let Some(plan) = plan else { return };
        let latest =
            yielders.iter().filter(|yielder| plan.victims.contains(&yielder.run)).map(|yielder| yielder.loss).max();
        let mut nodes: Vec<NodeName> = plan.placement.workers.iter().map(|place| place.node.clone()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let places: Vec<NodeIx> = nodes.iter().filter_map(|name| self.inventory.find(name)).collect();
        let mut by = match latest {
            Some(NEVER) => None,
            Some(ms) => Some(Time::from_ms(i64::try_from(ms).unwrap_or(i64::MAX)) + self.longest_grace(&places)),
            None => Some(self.now),
        };
        for &ix in &places {
            for hold in self.inventory.node(ix).holds() {
                if let Phase::Vacating { until, .. } = self.run_ref(hold.run).phase {
                    by = by.map(|by| by.max(until));
                }
            }
        }
        self.decide(Decision::Reserve { task: id, nodes, by });
    }

    /// The claim that a waiting task has, and whose it is.
    fn holder(&mut self, id: TaskId) -> Option<(Claim, Owner)> {
        let (class, _) = self.task_ref(id).queued.0?;
        let claim = self.claim_of(class, true);
        let spec = Arc::clone(&self.task_ref(id).spec);
        // It may never have run; others who never have must not be taken for it.
        Some((claim, self.number_owner(&spec)))
    }

    /// When a run can be told to leave at the latest for the sake of a task, which has this claim and owner, if no better
    /// work comes; `None` if it never has to.
    fn told_by(&self, id: RunId, task: TaskId, claim: Claim, owner: Owner) -> Option<Time> {
        let run = self.run_ref(id);
        let spec = &self.task_ref(run.task).spec;
        let start = run.started_at.unwrap_or(self.now);
        let yields = spec.suspendable && self.owner(spec) != owner;
        // Slices are for others alone, whatever the priority.
        let takes_turns = self.task_ref(task).spec.user != spec.user;
        let yields_by = match self.claim(run).cmp(&claim) {
            _ if !yields => None,
            std::cmp::Ordering::Less if run.phase == Phase::Promised => Some(self.now),
            std::cmp::Ordering::Less => Some(start + self.protected(id)),
            std::cmp::Ordering::Equal if !takes_turns => None,
            std::cmp::Ordering::Equal => Some(start + self.protected(id).max(self.slice(id))),
            std::cmp::Ordering::Greater => None,
        };
        let ends_by = spec.limit.map(|limit| start + (limit - self.task_ref(run.task).ran));
        let at = yields_by.into_iter().chain(ends_by).min()?;
        Some(at.max(self.now))
    }

    /// The longest grace of those who are on some nodes, and at least the one that most tasks have.
    fn longest_grace(&self, nodes: &[NodeIx]) -> Span {
        let holds = nodes.iter().flat_map(|&ix| self.inventory.node(ix).holds());
        let graces = holds.map(|hold| self.task_ref(self.run_ref(hold.run).task).spec.grace.total());
        graces.max().unwrap_or(Span::ZERO).max(Grace::default().total())
    }

    /// Nodes that a task must leave alone because it would delay others there: in order.
    pub(super) fn nodes_to_leave_alone(&self, id: TaskId, claim: Claim) -> Vec<NodeIx> {
        if self.reservations.is_empty() {
            return Vec::new();
        }
        let spec = &self.task_ref(id).spec;
        let owner = self.owner(spec);
        // Who is first of a class goes before those of it that wait behind, for whom nodes may be kept since it ran
        // meanwhile: neither could start for the other otherwise.
        let class = self.task_ref(id).queued.0.map(|(class, _)| class);
        let is_behind = |task: TaskId| {
            let of = self.task_ref(task).queued.0.map(|(class, _)| class);
            of.is_some() && of == class
        };
        let may_fill = |kept: &Reservation| {
            let ran = self.task_ref(id).ran;
            let ends_by = spec.limit.map(|limit| self.now + (limit - ran));
            // Over when the others are told, and gone when they are.
            let in_time = |ends: Time, by: Time| ends <= by - kept.grace && ends + spec.grace.total() <= by;
            claim > kept.claim
                || (spec.suspendable && owner != kept.owner && spec.grace.total() <= kept.grace)
                || ends_by.is_some_and(|ends| kept.by.is_some_and(|by| in_time(ends, by)))
        };
        let kept = self.reservations.iter().filter(|&(&task, kept)| task != id && !may_fill(kept) && !is_behind(task));
        let mut nodes: Vec<NodeIx> = kept.flat_map(|(_, kept)| kept.nodes.iter().copied()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Nodes that are kept for others with no lesser claim: those with a lesser one give way to it anyhow.
    pub(super) fn nodes_kept_for_better(&self, id: TaskId, claim: Claim) -> Vec<NodeIx> {
        let kept = self.reservations.iter().filter(|&(&task, kept)| task != id && kept.claim >= claim);
        let mut nodes: Vec<NodeIx> = kept.flat_map(|(_, kept)| kept.nodes.iter().copied()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// For whom one of these nodes is kept.
    pub(super) fn kept_for(&self, nodes: &[NodeIx], but: TaskId) -> Option<TaskId> {
        let keeps = |kept: &Reservation| nodes.iter().any(|ix| kept.nodes.binary_search(ix).is_ok());
        self.reservations.iter().find(|&(&task, kept)| task != but && keeps(kept)).map(|(&task, _)| task)
    }

    /// Whether a run got its place on nodes that were kept for a task by then, so that it gives way to it at once.
    pub(super) fn fills(&self, id: RunId, kept: &Reservation) -> bool {
        let run = self.run_ref(id);
        let spec = &self.task_ref(run.task).spec;
        id >= kept.first_run && spec.suspendable && self.claim(run) <= kept.claim && self.owner(spec) != kept.owner
    }

    /// Lets those start for whom nodes are kept, if what has to leave by now makes room. True if one did.
    pub(super) fn pass_reservations(&mut self) -> bool {
        let tasks: Vec<TaskId> = self.reservations.keys().copied().collect();
        for task in tasks {
            let kept = &self.reservations[&task];
            let concerned = kept.nodes.iter().any(|ix| self.freed_nodes.contains(ix))
                || self
                    .slices_ended
                    .iter()
                    .filter_map(|&run| self.yielders.get(run))
                    .any(|listed| listed.nodes.iter().any(|ix| kept.nodes.binary_search(ix).is_ok()));
            if concerned && self.start_reserved(task) {
                return true;
            }
        }
        false
    }

    fn start_reserved(&mut self, task: TaskId) -> bool {
        let Some((class, _)) = self.task_ref(task).queued.0 else { return false };
        if self.queue.first(class).2 != task {
            return false;
        }
        let Ok((level, stand)) = self.right(task) else { return false };
        let ask = self.queue.ask(class);
        self.ready(ask);
        let claim = self.claim_of(class, true);
        self.agenda.verdicts.insert(task);
        matches!(self.preempt(task, ask, level, claim, &stand, Search::Slices), super::hai::Preempted::Yes)
    }

    /// What the decision changes.
    pub(super) fn keep_nodes(&mut self, id: TaskId, nodes: &[NodeName], by: Option<Time>) {
        self.give_up_nodes(id);
        let Some((claim, owner)) = self.holder(id) else { return };
        let mut nodes: Vec<NodeIx> = nodes.iter().filter_map(|name| self.inventory.find(name)).collect();
        nodes.sort_unstable();
        let (at, first_run, grace) = (self.now, self.next_run, self.longest_grace(&nodes));
        self.reservations.insert(id, Reservation { nodes, by, at, grace, first_run, claim, owner });
        self.touch(id);
    }

    /// The same for giving them up; also when the task waits no longer.
    pub(super) fn give_up_nodes(&mut self, id: TaskId) {
        let Some(kept) = self.reservations.remove(&id) else { return };
        for ix in kept.nodes {
            if self.inventory.get(ix).is_some() {
                self.room_freed(ix);
            }
        }
        if self.tasks.get(id).is_some_and(|task| task.status == Status::Waiting) {
            self.touch(id);
        }
    }
}
