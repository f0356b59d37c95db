//! Keeping the books straight: the queue, the charges and the list of who may have to yield, as tasks and runs change.

use std::collections::BTreeSet;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::inventory::{NodeIx, Stage};
use crate::model::*;
use crate::queue::order::{AccountIx, Waiting};
use crate::queue::{Member, Shape};
use crate::rights::{Bill, BucketIx, GroupIx, Held, ModelIx, UserIx};

use super::state::{Billed, Phase, Reason, Run, Status, Task};
use super::timers::Timer;
use super::{Engine, FactError, Policy};

/// Why a task failed of which somebody says that it has.
const CONCLUDED: &str = "somebody stopped it as failed";

impl Engine {
    pub(super) fn known(&self, id: TaskId) -> Result<&Task, FactError> {
        self.tasks.get(id).ok_or(FactError::UnknownTask { task: id })
    }

    pub(super) fn task_ref(&self, id: TaskId) -> &Task {
        self.tasks.get(id).expect("the books only name unfinished tasks")
    }

    pub(super) fn task_mut(&mut self, id: TaskId) -> &mut Task {
        self.tasks.get_mut(id).expect("the books only name unfinished tasks")
    }

    pub(super) fn run_ref(&self, id: RunId) -> &Run {
        self.runs.get(id).expect("the books only name unended runs")
    }

    pub(super) fn run_mut(&mut self, id: RunId) -> &mut Run {
        self.runs.get_mut(id).expect("the books only name unended runs")
    }

    /// The task changed: whoever keeps a view of it wants to know, and its verdict may differ.
    pub(super) fn touch(&mut self, id: TaskId) {
        self.changed_tasks.insert(id);
        self.agenda.verdicts.insert(id);
    }

    pub(super) fn demoted(&self, id: TaskId) -> bool {
        let task = self.task_ref(id);
        let level = task.spec.priority;
        level == Priority::AboveNormal && task.ran >= self.config.timing(level).demote_after
    }

    fn shape(&self, id: TaskId) -> Shape {
        let task = self.task_ref(id);
        let alone = (!task.avoids.is_empty()).then_some(id);
        Shape { spec: Arc::clone(&task.spec), demoted: self.demoted(id), alone }
    }

    /// A waiting task's place in its class. Where the order looks at the owner alone that is the same for all of a class.
    fn member(&mut self, id: TaskId) -> Member {
        let key = if self.order.is_static() { self.order_key(id) } else { 0 };
        (key, self.task_ref(id).spec.rank(id), id)
    }

    /// What the ordering policy says of a task.
    pub(super) fn order_key(&mut self, id: TaskId) -> u128 {
        let account = self.usage_account(id);
        let task = self.task_ref(id);
        let waiting = Waiting { task: id, spec: &task.spec, account, ran: task.ran, attained: task.attained };
        self.order.key(&waiting, &self.usage, self.now).value
    }

    /// Where the use of a task's owner is summed up.
    fn usage_account(&mut self, id: TaskId) -> AccountIx {
        if !self.counts_usage {
            return AccountIx::default();
        }
        let task = self.tasks.get_mut(id).expect("the books only name unfinished tasks");
        *task.usage.0.get_or_insert_with(|| self.usage.account(&task.spec.user, &task.spec.group))
    }

    /// Puts a waiting task into the queue.
    pub(super) fn enqueue(&mut self, id: TaskId) {
        match self.config.policy {
            Policy::Hai => {
                let shape = self.shape(id);
                let member = self.member(id);
                let task = self.task_ref(id);
                let class = self.queue.insert(shape, member, task.waiting_since);
                let behind = self.queue.first(class).2 != id;
                let task = self.task_mut(id);
                task.queued.0 = Some((class, member));
                if behind && task.told.is_none() {
                    // Nobody is told so; once it is the first of its class it is looked at.
                    task.told = Some(Reason::Behind);
                    self.changed_tasks.insert(id);
                    return;
                }
            }
            Policy::HaiFifo => {
                let group = self.task_ref(id).spec.group.clone();
                self.fifo.insert(&group, id);
            }
        }
        self.touch(id);
    }

    /// Strict order looks at all unfinished tasks of a group, not only at those that wait.
    pub(super) fn fifo_register(&mut self, id: TaskId) {
        if self.fifo.enabled {
            let group = self.task_ref(id).spec.group.clone();
            self.fifo.insert(&group, id);
        }
    }

    /// Takes a task out of the queue, wherever it waits.
    pub(super) fn dequeue(&mut self, id: TaskId) {
        self.timers.cancel(Timer::BackOff(id));
        self.timers.cancel(Timer::NotBefore(id));
        let task = self.task_ref(id);
        if task.status != Status::Waiting {
            return;
        }
        let queued = task.queued.0;
        self.give_up_nodes(id);
        match queued {
            Some((class, member)) => {
                let tasks = &self.tasks;
                let since = |other| tasks.get(other).map_or(Time::ZERO, |task| task.waiting_since);
                if let Some(first) = self.queue.remove(class, member, since) {
                    self.agenda.verdicts.insert(first);
                }
                self.task_mut(id).queued.0 = None;
            }
            None => {
                let group = self.task_ref(id).spec.group.clone();
                self.fifo.set_dirty(&group);
            }
        }
    }

    pub(super) fn finish(&mut self, id: TaskId, outcome: Outcome) {
        self.dequeue(id);
        let outcome = match self.task_ref(id).concluded {
            None => outcome,
            Some(true) => Outcome::Succeeded,
            Some(false) => Outcome::Failed { reason: CONCLUDED.to_owned() },
        };
        let view = TaskView {
            state: TaskState::Finished,
            outcome: Some(outcome),
            ended_at: Some(self.now),
            run: None,
            level: None,
            ..self.view_of(id)
        };
        let group = view.spec.group.clone();
        self.fifo.remove(&group, id);
        let succeeded = view.outcome == Some(Outcome::Succeeded);
        self.tasks.remove(id);
        self.finished_tasks.push(view);
        self.release_followers(id, succeeded);
    }

    /// The bucket of a user's right in a group at a level.
    pub(super) fn bucket_at(&mut self, task: TaskId, level: Priority) -> BucketIx {
        let (user, group) = self.account(task);
        self.book.bucket_of(user, group, level)
    }

    pub(super) fn account(&mut self, id: TaskId) -> (UserIx, GroupIx) {
        let task = self.tasks.get_mut(id).expect("the books only name unfinished tasks");
        *task.account.0.get_or_insert_with(|| (self.book.user(&task.spec.user), self.book.group(&task.spec.group)))
    }

    fn bill_as_told(&mut self, billed: &Billed) -> Bill {
        let mut by_model: SmallVec<[(ModelIx, Charge); 1]> =
            billed.by_model.iter().map(|(model, charge)| (self.book.model(model), *charge)).collect();
        by_model.sort_unstable_by_key(|&(model, _)| model);
        Bill { charge: billed.charge, by_model }
    }

    /// Writes down what the runs on a node are charged for: it is about to be described anew, and they are charged as
    /// before, across restarts too.
    pub(super) fn keep_bills_on(&mut self, ix: NodeIx) {
        let runs: BTreeSet<RunId> = self.inventory.node(ix).holds().iter().map(|hold| hold.run).collect();
        for id in runs {
            let run = self.run_ref(id);
            let Some((_, bills)) = run.bill.0.as_ref().filter(|_| run.billed.is_empty()) else { continue };
            let named = |bill: &Bill| {
                let mut by_model: Vec<(ModelName, Charge)> =
                    bill.by_model.iter().map(|&(model, of)| (self.book.model_name(model).clone(), of)).collect();
                by_model.sort_unstable_by(|a, b| a.0.cmp(&b.0));
                Billed { charge: bill.charge, by_model }
            };
            // Who has ended is charged no more, and where it was may be forgotten by whoever restores this.
            let ended = Billed { charge: Charge::NOTHING, by_model: Vec::new() };
            let mut billed = vec![ended; bills.len()];
            run.alive().for_each(|rank| billed[rank] = named(&bills[rank]));
            self.run_mut(id).billed = billed;
        }
    }

    /// What a placement would use together.
    pub(super) fn bill_of_placement(&mut self, placement: &Placement) -> Bill {
        let bills: SmallVec<[Bill; 2]> = placement.workers.iter().map(|place| self.bill_of(place)).collect();
        bills.iter().sum()
    }

    /// What one worker uses, given its place.
    fn bill_of(&mut self, place: &WorkerPlacement) -> Bill {
        let node = self.inventory.find(&place.node).map(|ix| self.inventory.node(ix).spec());
        let devices = node.map_or(&[][..], |node| &node.devices);
        let mut models: SmallVec<[ModelIx; 8]> = SmallVec::new();
        if place.whole_node {
            models.extend(devices.iter().map(|device| self.book.model(&device.model)));
            return self.book.bill_of([Held::Node { models: &models }]);
        }
        for id in &place.devices {
            match devices.iter().find(|device| device.id == *id) {
                Some(device) => models.push(self.book.model(&device.model)),
                // A replayed place of which nothing is known any more: its devices count in full.
                None => {
                    let count = u32::try_from(place.devices.len()).unwrap_or(u32::MAX);
                    return Bill::of_charge(Charge::of_worker(Devices::Count(count)));
                }
            }
        }
        let milli = place.part.map_or(1000, |part| part.milli);
        let held: SmallVec<[Held<'_>; 8]> = models.iter().map(|&model| Held::Device { model, milli }).collect();
        self.book.bill_of(held)
    }

    /// Notes whether a run has workers in several zones. Nodes whose zone is not known count as one.
    pub(super) fn note_crossing(&mut self, id: RunId) {
        let run = self.run_ref(id);
        let zone = |place: &WorkerPlacement| {
            let ix = self.inventory.find(&place.node)?;
            self.inventory.node(ix).spec().location.zone.as_ref()
        };
        let mut zones = run.placement.workers.iter().map(zone);
        let first = zones.next();
        if zones.any(|zone| Some(zone) != first) {
            self.crossing.insert(id);
        }
    }

    /// Works out what a run uses, and of which right. Background work needs none.
    pub(super) fn write_bill(&mut self, id: RunId) {
        let run = self.run_ref(id);
        let (task, level) = (run.task, run.level);
        if self.task_ref(task).spec.kind.is_background() {
            return;
        }
        let bucket = self.bucket_at(task, level);
        let bills = match self.run_mut(id).bill.0.take() {
            Some((_, bills)) => bills,
            None if !self.run_ref(id).billed.is_empty() => {
                let billed = self.run_ref(id).billed.clone();
                billed.iter().map(|one| self.bill_as_told(one)).collect()
            }
            None => {
                let placement = self.run_ref(id).placement.clone();
                placement.workers.iter().map(|place| self.bill_of(place)).collect()
            }
        };
        self.run_mut(id).bill.0 = Some((bucket, bills));
    }

    /// Adds what a run uses to the book.
    pub(super) fn charge(&mut self, id: RunId) {
        let run = self.runs.get(id).expect("the books only name unended runs");
        let Some((bucket, bills)) = &run.bill.0 else { return };
        for rank in run.alive() {
            self.book.add(*bucket, run.part(), &bills[rank]);
        }
        self.count_usage(id, true);
    }

    /// What a run that is more than promised has counts as used by its owner, from now on or no longer.
    pub(super) fn count_usage(&mut self, id: RunId, begins: bool) {
        let run = self.run_ref(id);
        if !self.counts_usage || run.phase == Phase::Promised || run.bill.0.is_none() {
            return;
        }
        let (task, devices) = (run.task, run.alive().map(|rank| run.devices(rank)).sum());
        let account = self.usage_account(task);
        if begins {
            self.usage.hold(account, devices, self.now);
        } else {
            self.usage.release(account, devices, self.now);
        }
    }

    /// Takes what a run uses out of the book.
    pub(super) fn uncharge(&mut self, id: RunId) {
        self.count_usage(id, false);
        let run = self.runs.get(id).expect("the books only name unended runs");
        let Some((bucket, bills)) = &run.bill.0 else { return };
        for rank in run.alive() {
            self.book.subtract(*bucket, run.part(), &bills[rank]);
        }
        let bucket = *bucket;
        self.right_freed(bucket);
    }

    /// The same for one worker.
    pub(super) fn uncharge_worker(&mut self, id: RunId, rank: usize) {
        let run = self.runs.get(id).expect("the books only name unended runs");
        let Some((bucket, bills)) = &run.bill.0 else { return };
        self.book.subtract(*bucket, run.part(), &bills[rank]);
        let bucket = *bucket;
        if self.counts_usage {
            let (task, devices) = (run.task, run.devices(rank));
            let account = self.usage_account(task);
            self.usage.release(account, devices, self.now);
        }
        self.right_freed(bucket);
    }

    /// A right is used less: whoever waits for it is looked at again.
    pub(super) fn right_freed(&mut self, bucket: BucketIx) {
        let group = self.book.bucket_group(bucket);
        for waiter in self.book.freed(bucket) {
            self.agenda.rights.insert((waiter, group));
        }
        for &id in &self.promised {
            let of = self.runs.get(id).and_then(|run| run.bill.0.as_ref());
            if of.is_some_and(|(of, _)| self.book.share_a_limit(*of, bucket)) {
                self.agenda.promised.insert(id);
            }
        }
        self.agenda.rights_freed = true;
        self.agenda.rights_cut |= !self.noticed.is_empty();
    }

    /// Something changed for the tasks of this task's group, as strict order sees it.
    pub(super) fn freed(&mut self, task: TaskId) {
        let group = &self.tasks.get(task).expect("the books only name unfinished tasks").spec.group;
        self.fifo.set_dirty(group);
    }

    /// A run's place has more room for others, or it yields it more easily.
    pub(super) fn freed_by(&mut self, id: RunId) {
        let run = self.run_ref(id);
        let nodes: SmallVec<[NodeIx; 4]> =
            run.placement.workers.iter().filter_map(|place| self.inventory.find(&place.node)).collect();
        for ix in nodes {
            self.room_freed(ix);
        }
    }

    /// Promises on a node are looked at again.
    pub(super) fn promises_on(&mut self, ix: NodeIx) {
        for hold in self.inventory.node(ix).holds().iter().filter(|hold| hold.stage == Stage::Promised) {
            self.agenda.promised.insert(hold.run);
        }
    }

    /// A node has more room for new work, or somebody on it yields more easily.
    pub(super) fn room_freed(&mut self, ix: NodeIx) {
        self.promises_on(ix);
        self.agenda.nodes.insert(ix);
        self.inventory.touch(ix);
        self.fifo.set_dirty(&self.inventory.node(ix).spec().group);
    }

    /// Nodes of a group came, went or changed.
    pub(super) fn capacity_changed(&mut self, group: &GroupName) {
        self.agenda.promises = true;
        self.queue.wake_group(group);
        self.fifo.set_dirty(group);
    }

    /// Frees a promised place. The task is in no queue then; what becomes of it is up to the caller.
    pub(super) fn drop_promise(&mut self, id: RunId) {
        let run = self.run_ref(id);
        let (task, nodes) = (run.task, run.placement.clone());
        self.uncharge(id);
        self.yielders.unlist(id);
        self.promised.remove(&id);
        self.runs.remove(id);
        self.crossing.remove(&id);
        self.task_mut(task).status = Status::Held;
        for (rank, place) in (0..).zip(&nodes.workers) {
            self.inventory.release(&place.node, id, rank);
            if let Some(ix) = self.inventory.find(&place.node) {
                self.room_freed(ix);
            }
        }
        self.freed(task);
        self.touch(task);
    }

    pub(super) fn set_stage(&mut self, id: RunId, stage: Stage) {
        let run = self.run_ref(id);
        let alive: Vec<_> = run.alive().map(|rank| (rank as u32, run.placement.workers[rank].node.clone())).collect();
        for (rank, node) in alive {
            self.inventory.restage(&node, id, rank, stage);
        }
    }

    /// Sets what time will change about a run that has begun to execute.
    pub(super) fn set_run_timers(&mut self, id: RunId) {
        let run = self.run_ref(id);
        let Some(start) = run.started_at.filter(|_| run.phase == Phase::Running && !self.fifo.enabled) else { return };
        let timing = self.config.timing(run.level);
        let (protected, slice) = (self.protected(id), self.slice(id));
        let task = self.task_ref(run.task);
        let (ran, group) = (task.ran, task.spec.group.clone());
        if run.level == Priority::AboveNormal && !run.demoted {
            self.timers.set(Timer::Demotion(id), start + (timing.demote_after - ran));
        } else {
            // It may have been charged to `ABOVE_NORMAL` until now.
            self.timers.cancel(Timer::Demotion(id));
        }
        if start + slice <= self.now {
            // Charged anew after its slice was over: whoever waits for that need not wait for another round.
            self.over_slice.entry(group.clone()).or_default().insert(id);
            self.agenda.slices.insert(id);
        }
        let now = self.now;
        let turns = self.turns.entry(group).or_default();
        if start + protected > now {
            turns.set(Timer::Protected(id), start + protected);
        }
        if start + slice > now {
            turns.set(Timer::Slice(id), start + slice);
        }
    }

    /// Time changes nothing more about a run: it is leaving, or over.
    pub(super) fn cancel_run_timers(&mut self, id: RunId) {
        self.timers.cancel(Timer::Demotion(id));
        let group = self.task_ref(self.run_ref(id).task).spec.group.clone();
        if let Some(turns) = self.turns.get_mut(&group) {
            turns.cancel(Timer::Protected(id));
            turns.cancel(Timer::Slice(id));
        }
        if let Some(over) = self.over_slice.get_mut(&group) {
            over.remove(&id);
        }
    }

    /// Lets timers go off whose time has come. A replayed log does so at the same points.
    pub(super) fn pass_time(&mut self, now: Time) {
        self.now = self.now.max(now);
        while let Some(timer) = self.timers.pop_due(self.now) {
            match timer {
                Timer::BackOff(task) | Timer::NotBefore(task) => self.admit(task),
                Timer::Limit(run) => self.limit_reached(run),
                Timer::Lease(run) => self.lease_over(run),
                Timer::Idle(run) => self.idle_too_long(run),
                Timer::Notice(_) => self.agenda.rights_cut = true,
                Timer::CoolDown(ix) => self.cooled_down(ix),
                Timer::RightExpiry => self.expire_rights(),
                Timer::Demotion(run) => self.demote(run),
                Timer::Protected(_) | Timer::Slice(_) => {}
            }
        }
        let mut due = Vec::new();
        for (group, turns) in &mut self.turns {
            while let Some(timer) = turns.pop_due(self.now) {
                match timer {
                    Timer::Slice(run) => {
                        self.over_slice.entry(group.clone()).or_default().insert(run);
                        self.agenda.slices.insert(run);
                        if self.runs.get(run).is_some_and(|run| run.risen.is_some()) {
                            due.push(run);
                        }
                    }
                    Timer::Protected(run) => due.push(run),
                    _ => {}
                }
                self.fifo.set_dirty(group);
            }
        }
        for run in due {
            if self.over_slice_of(run) {
                // What it had risen to was for one slice.
                self.run_mut(run).risen = None;
                self.list(run);
            }
            self.freed_by(run);
        }
    }

    fn over_slice_of(&self, run: RunId) -> bool {
        let known = self.run_ref(run);
        known.risen.is_some() && known.is_staying() && known.elapsed(self.now) >= self.slice(run)
    }

    fn demote(&mut self, id: RunId) {
        self.yielders.unlist(id);
        self.run_mut(id).demoted = true;
        if self.run_ref(id).is_staying() {
            self.list(id);
        }
        self.freed(self.run_ref(id).task);
        self.freed_by(id);
    }

    /// When time alone could change a decision. Slices and protection matter only to those who want room.
    pub(super) fn earliest_timer(&self) -> Option<Time> {
        let mut earliest = self.timers.next().into_iter().chain(self.next_reservation()).min();
        for (group, turns) in &self.turns {
            // Whether anybody wants room there is asked only where it matters.
            let sooner = turns.next().filter(|&at| earliest.is_none_or(|known| at < known));
            if sooner.is_some() && self.queue.wants_room(group) {
                earliest = sooner;
            }
        }
        earliest
    }
}
