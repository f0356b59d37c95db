//! The `hai-fifo` policy: the rule set of the open-source HAI platform, with its bugs mended.
//!
//! Per group of nodes: rights are dealt in the order of submission, running and queued tasks alike; those that got
//! theirs are put in order of priority; each in turn keeps its place, or gets one, if need be from tasks that come after
//! it; and the first that gets none blocks all that are queued behind it. Unlike upstream a task is only suspended for
//! one that then starts, and a task that the group could never hold blocks nobody.
//!
//! A round costs in proportion to the unfinished tasks of the groups in which something changed: the order in which
//! rights are dealt leaves no other way.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::inventory::{KindSet, When};
use crate::model::*;
use crate::placement::{self, Ask, Within};
use crate::preemption::{self, Question, Yielder};
use crate::queue::Want;
use crate::rights::BucketIx;
use crate::rights::book::Standing;

use super::Engine;
use super::state::{Found, Phase, Status};

/// The tasks of each group, and the groups to look at.
#[derive(Clone, Debug, Default)]
pub(super) struct Fifo {
    pub(super) enabled: bool,
    groups: BTreeMap<GroupName, BTreeSet<TaskId>>,
    dirty: BTreeSet<GroupName>,
    pub(super) all_dirty: bool,
}

impl Fifo {
    pub(super) fn new(enabled: bool) -> Self {
        Fifo { enabled, ..Fifo::default() }
    }

    pub(super) fn insert(&mut self, group: &GroupName, task: TaskId) {
        self.groups.entry(group.clone()).or_default().insert(task);
        self.set_dirty(group);
    }

    pub(super) fn remove(&mut self, group: &GroupName, task: TaskId) {
        if let Some(tasks) = self.groups.get_mut(group) {
            tasks.remove(&task);
            if tasks.is_empty() {
                self.groups.remove(group);
            }
            self.set_dirty(group);
        }
    }

    pub(super) fn set_dirty(&mut self, group: &GroupName) {
        if self.enabled {
            self.dirty.insert(group.clone());
        }
    }

    fn take_dirty(&mut self) -> BTreeSet<GroupName> {
        if std::mem::take(&mut self.all_dirty) {
            self.dirty.extend(self.groups.keys().cloned());
        }
        std::mem::take(&mut self.dirty)
    }
}

/// A running task that may have to yield; the first in order yields first.
type Later = (Reverse<usize>, Reverse<(Rank, TaskId)>, RunId);

/// What came of dealing rights to one task.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deal {
    pub(super) task: TaskId,
    rank: Rank,
    charge: Charge,
    /// At which level it was dealt one, if at any.
    pub(super) level: Option<Priority>,
}

/// A task that was dealt a right, at a level; the order is the queue's.
type Place = (Reverse<Priority>, Rank, TaskId);

impl Engine {
    pub(super) fn pass_fifo(&mut self) {
        // A run that has to leave may free a node that has moved to another group since.
        loop {
            let dirty = self.fifo.take_dirty();
            if dirty.is_empty() {
                return;
            }
            for group in dirty {
                self.pass_group(&group);
            }
        }
    }

    fn pass_group(&mut self, group: &GroupName) {
        let order = self.deal(group);
        for &(Reverse(level), _, task) in &order {
            self.redeal_running(task, level);
        }
        let position: BTreeMap<TaskId, usize> = order.iter().enumerate().map(|(at, place)| (place.2, at)).collect();
        let mut blocked_by = None;
        for &(Reverse(level), _, task) in &order {
            if matches!(self.task_ref(task).status, Status::Run(_)) {
                // One that is leaving keeps those behind it waiting, as it will once it has left.
                let leaving = self
                    .task_ref(task)
                    .run()
                    .is_some_and(|run| matches!(self.run_ref(run).phase, Phase::Vacating { stopping: false, .. }));
                if leaving && blocked_by.is_none() {
                    blocked_by = Some(task);
                }
                continue;
            }
            let found = match blocked_by {
                Some(head) => Some(Found::Blocked(head)),
                None => self.try_queued(task, level, &position),
            };
            if found == Some(Found::Wants(Want::Room)) {
                blocked_by = Some(task);
            }
            self.set_found(task, found);
        }
        // What a better task took back while the rest was looked at has to wait for its turn.
        let tasks: Vec<TaskId> = self.fifo.groups.get(group).into_iter().flatten().copied().collect();
        for task in tasks {
            let known = self.task_ref(task);
            if known.status == Status::Waiting && known.found.is_none() {
                let by = blocked_by.or_else(|| self.first_in_the_way(&order, task)).unwrap_or(task);
                self.set_found(task, Some(if by == task { Found::Wants(Want::Room) } else { Found::Blocked(by) }));
            }
        }
        self.fifo.dirty.remove(group);
    }

    /// The first before a task in order that is promised a place, or lacks room.
    fn first_in_the_way(&self, order: &[Place], before: TaskId) -> Option<TaskId> {
        let in_the_way = |task: TaskId| match self.task_ref(task).run() {
            Some(run) => self.run_ref(run).phase == Phase::Promised,
            None => self.task_ref(task).found == Some(Found::Wants(Want::Room)),
        };
        order.iter().map(|place| place.2).take_while(|&task| task != before).find(|&task| in_the_way(task))
    }

    fn set_found(&mut self, task: TaskId, found: Option<Found>) {
        if self.task_ref(task).status == Status::Waiting || found.is_none() {
            self.task_mut(task).found = found;
            self.agenda.verdicts.insert(task);
        }
    }

    /// Deals rights in order of rank, and returns those that got one in order of priority.
    fn deal(&mut self, group: &GroupName) -> Vec<Place> {
        let mut order = Vec::new();
        self.deal_each(group, |engine, deal, dealt| {
            let id = deal.task;
            match deal.level {
                Some(level) => {
                    order.push((Reverse(level), deal.rank, id));
                    if engine.task_ref(id).run().is_some() {
                        engine.task_mut(id).found = None;
                    }
                }
                None => {
                    let spec = Arc::clone(&engine.task_ref(id).spec);
                    let want = engine.right_lack(&spec, deal.charge);
                    let found = match want {
                        Want::RightInUse if spec.priority != Priority::Auto => {
                            let bucket = engine.bucket_at(id, spec.priority);
                            Found::Dealt(dealt.get(&bucket).copied().unwrap_or_default())
                        }
                        want => Found::Wants(want),
                    };
                    // One that is promised a place may lose it in this pass, and waits for this then.
                    engine.task_mut(id).found = Some(found);
                    engine.agenda.verdicts.insert(id);
                }
            }
        });
        order.sort_unstable();
        order
    }

    /// Deals a group's rights in order of rank to all who have or want them, and tells of each what came of it, and what was
    /// dealt before it.
    pub(super) fn deal_each(
        &mut self,
        group: &GroupName,
        mut told: impl FnMut(&mut Self, Deal, &BTreeMap<BucketIx, Charge>),
    ) {
        let mut ranked: Vec<(Rank, TaskId)> = Vec::new();
        for &id in self.fifo.groups.get(group).into_iter().flatten() {
            let task = self.task_ref(id);
            let takes_part = match task.status {
                Status::Waiting => true,
                Status::BackOff { .. } | Status::Held | Status::After | Status::NotBefore => false,
                Status::Run(run) => {
                    let run = self.run_ref(run);
                    !run.cancelled && !task.hold && !matches!(run.phase, Phase::Vacating { stopping: true, .. })
                }
            };
            if takes_part {
                ranked.push((task.spec.rank(id), id));
            }
        }
        ranked.sort_unstable();
        let mut dealt: BTreeMap<BucketIx, Charge> = BTreeMap::new();
        for (rank, task) in ranked {
            let charge = match self.task_ref(task).run() {
                Some(run) => self.run_ref(run).charge(),
                None => Charge::of(&self.task_ref(task).spec),
            };
            let has_room = |engine: &mut Self, level: Priority| {
                let bucket = engine.bucket_at(task, level);
                let taken = dealt.get(&bucket).copied().unwrap_or_default();
                engine.book.allowance(bucket).covers(taken + charge)
            };
            let level = match self.task_ref(task).spec.priority {
                Priority::Auto => Priority::LEVELS.into_iter().find(|&level| has_room(self, level)),
                level => has_room(self, level).then_some(level),
            };
            told(self, Deal { task, rank, charge, level }, &dealt);
            if let Some(level) = level {
                *dealt.entry(self.bucket_at(task, level)).or_default() += charge;
            }
        }
    }

    fn right_lack(&self, spec: &TaskSpec, charge: Charge) -> Want {
        let allowance = self.allowed(&spec.user, &spec.group, spec.priority);
        if allowance.covers(charge) { Want::RightInUse } else { Want::Right }
    }

    /// What a task lacks that has the right but no place.
    fn missing_for(&self, spec: &TaskSpec) -> Want {
        if !self.inventory.has_group(&spec.group) {
            Want::Group
        } else if placement::fits_empty(&self.inventory, spec) {
            Want::Room
        } else {
            Want::Nodes
        }
    }

    /// A running AUTO task is charged to the level that it was dealt, as soon as that has room in fact.
    fn redeal_running(&mut self, task: TaskId, level: Priority) {
        let Some(id) = self.task_ref(task).run() else { return };
        let run = self.run_ref(id);
        if run.level == level || matches!(run.phase, Phase::Vacating { .. }) {
            return;
        }
        let bucket = self.bucket_at(task, level);
        let Some((_, bill)) = self.run_ref(id).bill() else { return };
        if self.book.standing(bucket, &bill) == Standing::Now {
            self.decide(Decision::Recharge { run: id, level, entitled: true });
        }
    }

    /// Tries to start a queued task, if need be in the place of tasks that come after it. `None` if it got a place.
    fn try_queued(&mut self, id: TaskId, level: Priority, position: &BTreeMap<TaskId, usize>) -> Option<Found> {
        let spec = self.task_ref(id).spec.clone();
        let want = self.missing_for(&spec);
        if want != Want::Room {
            return Some(Found::Wants(want));
        }
        let standing = self.stand(id, level, false).standing;
        if standing == Standing::Now
            && let Some(placement) = placement::place_now(&self.inventory, &spec)
        {
            self.start(id, placement, level, true);
            return None;
        }
        if matches!(standing, Standing::Now | Standing::Later)
            && let Some(placement) = placement::place_later(&self.inventory, &spec)
        {
            self.promise(id, placement, level, true);
            return None;
        }
        let yielders = self.later_tasks(id, &spec.group, position);
        let bucket = self.bucket_at(id, level);
        let (ask, kinds) = (Ask::of(&self.inventory, &spec), KindSet::all());
        let within = Within::anything(When::Later, &kinds);
        let (inventory, policy) = (&self.inventory, self.placer.policy());
        let question = Question { inventory, ask: &ask, policy, within, order: None };
        let plan = preemption::plan(&question, &yielders, true, |leave| self.right_without(&spec, bucket, leave));
        match plan {
            Some(plan) => {
                self.carry_out(id, plan, level, true);
                None
            }
            // There is room, but its right is with work of its owner's that can not be suspended.
            None if standing == Standing::Used && placement::place_now(&self.inventory, &spec).is_some() => {
                Some(Found::Wants(Want::RightInUse))
            }
            None => Some(Found::Wants(Want::Room)),
        }
    }

    /// Runs whose tasks come after `id` in the queue or lost their right to it, the last first.
    fn later_tasks(&self, id: TaskId, group: &GroupName, position: &BTreeMap<TaskId, usize>) -> Vec<Yielder> {
        let mine = position.get(&id).copied().unwrap_or(usize::MAX);
        let mut later: Vec<Later> = Vec::new();
        for run in self.yielders.range(group, ..) {
            let known = self.run_ref(run);
            let task = known.task;
            if known.phase != Phase::Promised && !self.task_ref(task).spec.suspendable {
                continue;
            }
            let at = position.get(&task).copied().unwrap_or(usize::MAX);
            if at > mine {
                later.push((Reverse(at), Reverse((self.task_ref(task).spec.rank(task), task)), run));
            }
        }
        later.sort_unstable();
        later.into_iter().filter_map(|(_, _, run)| self.yielders.yielder(run, self.now)).collect()
    }

    /// Whether the task would be within its right if these runs left. Of what it does not use there may be too much.
    fn right_without(&self, spec: &TaskSpec, bucket: BucketIx, leave: &[RunId]) -> bool {
        let used = self.book.used(bucket);
        let mut used = used.staying + used.promised;
        for run in leave.iter().map(|&id| self.run_ref(id)).filter(|run| run.entitled) {
            if run.bill.0.as_ref().is_some_and(|(of, _)| *of == bucket) {
                used = used.minus(run.charge());
            }
        }
        let (allowed, charge) = (self.book.allowance(bucket), Charge::of(spec));
        (charge.nodes.is_zero() || allowed.nodes.allows(used.nodes + charge.nodes))
            && (charge.devices.is_zero() || allowed.devices.allows(used.devices + charge.devices))
    }
}
