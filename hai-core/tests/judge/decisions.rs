//! Are the decisions of a round allowed, and is what they come to? (I-1 to I-3 and I-8)
//!
//! Decisions are taken one by one into the books; what they promise together is checked once all are in.

use std::collections::{BTreeMap, BTreeSet};

use hai_core::engine::Policy;
use hai_core::model::*;

use super::books::{Books, Holder, Promise, Run};
use super::rights::{Bill, Bucket, part_of};
use super::yielding::Victim;

impl Books {
    /// Takes the decisions in, and panics at the first that can not be right.
    pub(crate) fn judge_decisions(&mut self, round: &Round) {
        assert_eq!(round.at, self.now);
        let first_new = self.last_run;
        self.kept_lately = self.kept.clone();
        let mut victims = Vec::new();
        let mut placed = BTreeSet::new();
        let mut passed_on = BTreeSet::new();
        let mut moment = 0;
        for decision in &round.decisions {
            let places = matches!(
                decision,
                Decision::Start { .. }
                    | Decision::Promise { .. }
                    | Decision::Suspend { reason: YieldReason::For { .. }, .. }
            );
            moment += usize::from(places);
            match decision {
                Decision::Start { task, run, placement, level, entitled, whole_life_state } => {
                    self.judge_start(*task, *run, placement, *level, *entitled, *whole_life_state);
                    placed.insert(*task);
                }
                Decision::Promise { task, run, placement, level, entitled } => {
                    self.judge_promise(*task, *run, placement, *level, *entitled);
                    placed.insert(*task);
                }
                Decision::Suspend { run: id, task, reason } => {
                    let run = self.live(*id, *task);
                    assert!(run.stays(), "{decision:?} says again what was said before");
                    victims.push(Victim {
                        id: *id,
                        run: run.clone(),
                        reason: reason.clone(),
                        protected: self.protected(run),
                        moment,
                    });
                    self.runs.get_mut(id).unwrap().leaving_since = Some(self.now);
                    if matches!(reason, YieldReason::For { .. }) {
                        self.tasks.get_mut(task).unwrap().suspensions += 1;
                    }
                }
                Decision::Stop { run: id, task } => {
                    let run = self.live(*id, *task);
                    assert!(!run.stopped, "{decision:?} says again what was said before");
                    let over = self.tasks[task].cancelled || run.failed() || run.done() || run.over_limit;
                    assert!(over, "{decision:?}, but the task was not stopped and no worker failed");
                    let now = self.now;
                    let run = self.runs.get_mut(id).unwrap();
                    run.stopped = true;
                    run.leaving_since.get_or_insert(now);
                }
                Decision::Withdraw { task } => {
                    assert!(self.promises.remove(task).is_some(), "{decision:?} takes back what was not promised");
                    if placed.remove(task) {
                        // Once slices are handed round, a better task may take over what was promised in this round.
                        passed_on.insert(*task);
                    }
                }
                Decision::Recharge { run, level, entitled } => self.judge_recharge(*run, *level, *entitled),
                Decision::Reserve { task, nodes, by } => self.judge_reserve(*task, nodes, *by),
                Decision::Unreserve { task } => self.judge_unreserve(*task),
                Decision::Notice { run, until } => self.judge_notice(*run, *until),
                other => panic!("an unknown decision: {other:?}"),
            }
            self.forget_kept();
        }
        for task in &placed {
            self.judge_set_aside(*task);
        }
        let stands = |reason: &YieldReason| !matches!(reason, YieldReason::For { task } if passed_on.contains(task));
        for victim in victims.iter().filter(|victim| stands(&victim.reason)) {
            self.judge_victim(victim, &victims, &placed, first_new);
        }
        self.judge_what_is();
    }

    fn live(&self, id: RunId, task: TaskId) -> &Run {
        let run = self.runs.get(&id).unwrap_or_else(|| panic!("run {id} does not live"));
        assert_eq!(run.task, task, "run {id} is another task's");
        run
    }

    // --- placing

    fn judge_start(
        &mut self,
        task: TaskId,
        id: RunId,
        placement: &Placement,
        level: Priority,
        entitled: bool,
        whole_life_state: i64,
    ) {
        self.judge_placing(task, placement, level, entitled);
        let mut bills: Vec<Bill> = placement.workers.iter().map(|place| self.bill_of(place)).collect();
        assert_eq!(whole_life_state, self.tasks[&task].whole_life_state, "task {task}'s number was lost");
        if let Some(promise) = self.promises.remove(&task) {
            assert_eq!(promise.run, id, "task {task} was promised run {}", promise.run);
            // A device may have been described anew since.
            bills = promise.bills;
            assert_eq!(promise.placement, *placement, "task {task} was promised another place");
            assert_eq!((promise.level, promise.entitled), (level, entitled), "task {task} was promised another right");
        } else {
            assert!(id > self.last_run, "run {id} is not new");
            self.last_run = id;
            self.judge_leaves_alone(task, placement, level, entitled);
        }
        // I-1: what is started must be free in fact, of those who are still leaving too.
        self.judge_free(task, placement, |holder| matches!(holder, Holder::Run(_)));
        let run = Run {
            task,
            placement: placement.clone(),
            bills,
            level,
            entitled,
            decided_at: self.now,
            started_at: None,
            started: BTreeSet::new(),
            ended: BTreeMap::new(),
            leaving_since: None,
            stopped: false,
            first_loss: None,
            over_limit: false,
            leased_at: None,
            idle_since: None,
            notice: None,
        };
        self.runs.insert(id, run);
        self.tasks.get_mut(&task).unwrap().runs += 1;
        self.judge_right(Holder::Run(id), |holder| matches!(holder, Holder::Run(_)));
    }

    /// I-8: what a holder uses is within its right, or may be borrowed, beside all others for whom `counts` is true.
    fn judge_right(&self, me: Holder, counts: impl Fn(Holder) -> bool) {
        let (task, level, entitled) = match me {
            Holder::Run(run) => (self.runs[&run].task, self.runs[&run].level, self.runs[&run].entitled),
            Holder::Promise(task) => (task, self.promises[&task].level, self.promises[&task].entitled),
        };
        let (bucket, bill) = (self.bucket(task, level), self.bill(me));
        let others = |holder| holder != me && counts(holder);
        if entitled {
            let used = self.used(&bucket, others);
            let fine = self.within(&bucket, &bill, others);
            assert!(fine, "{me:?} of task {task} takes {bill:?}, and {bucket:?} use {used:?} beside it");
        } else if !self.spec(task).kind.is_background() {
            let fine = self.may_borrow(&bucket, bill.charge, |holder| holder != me);
            assert!(fine, "{me:?} of task {task} borrows {bill:?}, which is more than {bucket:?} may");
        }
    }

    fn judge_promise(&mut self, task: TaskId, run: RunId, placement: &Placement, level: Priority, entitled: bool) {
        self.judge_placing(task, placement, level, entitled);
        assert!(run > self.last_run, "run {run} is not new");
        self.judge_leaves_alone(task, placement, level, entitled);
        self.last_run = run;
        let bills = placement.workers.iter().map(|place| self.bill_of(place)).collect();
        let promise = Promise { run, placement: placement.clone(), bills, level, entitled };
        assert!(self.promises.insert(task, promise).is_none(), "task {task} is promised two places");
    }

    /// I-2 and I-3: the right size and kind, on nodes and devices that may be used.
    fn judge_placing(&self, id: TaskId, placement: &Placement, level: Priority, entitled: bool) {
        let task = self.tasks.get(&id).unwrap_or_else(|| panic!("task {id} is not unfinished"));
        assert!(!task.held && !task.cancelled, "task {id} is held or stopped");
        assert!(self.run_of(id).is_none(), "task {id} has a run");
        assert!(task.back_off.is_none_or(|until| until <= self.now), "task {id} is to wait until {:?}", task.back_off);
        let spec = &task.spec;
        assert!(task.awaits.is_empty(), "task {id} is to wait for {:?}", task.awaits);
        assert!(spec.not_before.is_none_or(|at| at <= self.now), "task {id} is to wait until {:?}", spec.not_before);
        assert!(Self::levels(spec).contains(&level), "task {id} at {} is charged to {level}", spec.priority);
        let background = spec.kind.is_background();
        assert!(!(background && entitled), "task {id} takes what nobody wants, and is charged to a right");
        let borrows = self.config.borrow && self.config.policy == Policy::Hai;
        assert!(entitled || background || borrows, "task {id} may not borrow");
        assert_eq!(placement.workers.len(), spec.workers as usize, "task {id} has another size");
        let mut nodes = BTreeSet::new();
        for place in &placement.workers {
            let node = self.nodes.get(&place.node).unwrap_or_else(|| panic!("no node {}", place.node));
            assert!(self.usable(node, spec), "task {id} can not go to {node:?}");
            let fresh = nodes.insert(&place.node);
            let whole = spec.request.devices == Devices::WholeNode;
            assert!(fresh || !(whole || spec.distinct_nodes), "task {id} has {} twice", place.node);
            assert_eq!(place.whole_node, whole);
            let unique: BTreeSet<_> = place.devices.iter().collect();
            assert_eq!(unique.len(), place.devices.len(), "task {id} has a device twice");
            for device in &place.devices {
                let known = node.devices.iter().find(|known| known.id == *device);
                let known = known.unwrap_or_else(|| panic!("{} has no device {device}", node.name));
                assert!(known.health.is_healthy() && spec.request.accepts(known), "task {id} can not use {known:?}");
            }
            let given = (place.cpu_milli, place.memory_mib);
            assert!(place.part.is_none() || spec.request.devices.is_part(), "task {id} has a part of {place:?}");
            match spec.request.devices {
                Devices::WholeNode => {
                    assert_eq!(place.devices.len(), node.devices.len(), "a whole node is one with all its devices");
                    assert_eq!(given, (node.cpu_milli, node.memory_mib));
                    assert!(given.0 >= spec.request.cpu_milli && given.1 >= spec.request.memory_mib);
                }
                Devices::Count(count) => {
                    assert_eq!(place.devices.len(), count as usize);
                    assert_eq!(given, (spec.request.cpu_milli, spec.request.memory_mib));
                }
                part @ (Devices::Share(_) | Devices::Memory(_)) => {
                    assert_eq!(place.devices.len(), 1, "a part is of one device");
                    let device = node.devices.iter().find(|known| known.id == place.devices[0]).unwrap();
                    assert_eq!(place.part, Some(part_of(part, device.memory_mib)));
                    assert_eq!(given, (spec.request.cpu_milli, spec.request.memory_mib));
                }
            }
        }
    }

    /// What is placed must be free beside all for whom `counts` is true (I-1).
    fn judge_free(&self, task: TaskId, placement: &Placement, counts: impl Fn(Holder) -> bool) {
        for node in placement.workers.iter().map(|place| &place.node).collect::<BTreeSet<_>>() {
            assert!(
                self.goes_into(placement, node, &counts),
                "task {task} is given what is not free on {node}: {placement:?}"
            );
        }
    }

    /// A place that was given or promised in this round collides with nobody who stays and with no other promise; and
    /// rights cover it together with them.
    fn judge_set_aside(&self, task: TaskId) {
        if self.run_of(task).is_some_and(|(_, run)| !run.stays()) {
            // It filled a hole that a slice then made larger for a better task.
            return;
        }
        let (me, placement) = if let Some(promise) = self.promises.get(&task) {
            (Holder::Promise(task), &promise.placement)
        } else if let Some((id, run)) = self.run_of(task) {
            (Holder::Run(id), &run.placement)
        } else {
            panic!("task {task} was given a place that it lost in the same round");
        };
        self.judge_free(task, placement, |holder| holder != me && !self.leaves(holder));
        self.judge_right(me, |holder| !self.leaves(holder));
    }

    /// Nobody stays beyond a right who could leave.
    fn judge_stays(&self, me: Holder, entitled: bool, bucket: &Bucket) {
        let bound = matches!(me, Holder::Run(run) if !self.spec(self.runs[&run].task).suspendable);
        if bound || self.leaves(me) || self.is_on_notice(me) {
            return;
        }
        let stays = |holder| !self.leaves(holder) && !self.is_on_notice(holder);
        let fine = if entitled {
            self.within(bucket, &self.bill(me), |holder| holder != me && stays(holder))
        } else {
            !self.borrows_too_much(me, bucket, stays)
        };
        assert!(fine, "{bucket:?} use {:?}, and {me:?} stays", self.used(bucket, stays));
    }

    fn judge_recharge(&mut self, id: RunId, level: Priority, entitled: bool) {
        let promised = self.promises.iter().find(|(_, promise)| promise.run == id).map(|(task, _)| *task);
        let (task, old) = if let Some(task) = promised {
            (task, self.claim(task))
        } else {
            let run = self.runs.get(&id).unwrap_or_else(|| panic!("run {id} does not live"));
            assert!(run.stays(), "run {id} is leaving; it needs no other level");
            (run.task, (run.level, run.entitled))
        };
        assert_ne!(old, (level, entitled), "run {id} is charged to {level} already");
        assert!(Self::levels(self.spec(task)).contains(&level), "run {id} can not be charged to {level}");
        assert!(entitled || self.config.borrow, "run {id} may not borrow");
        assert!(!self.spec(task).kind.is_background(), "run {id} needs no right");
        if promised.is_some() {
            let promise = self.promises.get_mut(&task).unwrap();
            (promise.level, promise.entitled) = (level, entitled);
            return;
        }
        let run = self.runs.get_mut(&id).unwrap();
        (run.level, run.entitled) = (level, entitled);
        if entitled {
            self.judge_right(Holder::Run(id), |holder| matches!(holder, Holder::Run(_)));
        }
    }

    // --- what must be true after every round

    fn judge_what_is(&self) {
        for (id, run) in &self.runs {
            if !run.stays() {
                continue;
            }
            let task = &self.tasks[&run.task];
            assert!(!task.held && !task.cancelled, "run {id} stays, but its task is held or stopped");
            assert!(!run.over_limit, "run {id} stays, but ran for longer than it may");
            assert!(!run.failed() && !run.lost(), "run {id} stays, but a worker of it failed or was lost");
            for rank in run.alive() {
                let node = &run.placement.workers[rank as usize].node;
                let known = self.nodes.get(node);
                assert!(known.is_some_and(|node| node.ready), "run {id} stays on {node}, which is lost");
                assert!(known.is_some_and(|node| !node.draining), "run {id} stays on {node}, which is drained");
            }
        }
        for (holder, entitled, bucket) in self.charged() {
            self.judge_stays(holder, entitled, &bucket);
        }
        for (task, promise) in &self.promises {
            let known = &self.tasks[task];
            assert!(!known.held && !known.cancelled, "task {task} is promised a place, but held or stopped");
            for place in &promise.placement.workers {
                let node = self.nodes.get(&place.node);
                let well = node.is_some_and(|node| self.usable(node, &known.spec));
                assert!(well, "task {task} is promised {}, which can not be used", place.node);
            }
            assert!(!self.can_start(*task, promise), "all is free that was promised to task {task}, and it waits");
        }
    }

    fn can_start(&self, task: TaskId, promise: &Promise) -> bool {
        let running = |holder| matches!(holder, Holder::Run(_));
        let free =
            promise.placement.workers.iter().all(|place| self.goes_into(&promise.placement, &place.node, running));
        let (bucket, bill) = (self.bucket(task, promise.level), self.bill(Holder::Promise(task)));
        free && (!promise.entitled || self.within(&bucket, &bill, running))
    }

    /// Whether all workers placed on one node go into it beside all for whom `counts` is true.
    pub(crate) fn goes_into(&self, placement: &Placement, node: &NodeName, counts: impl Fn(Holder) -> bool) -> bool {
        let node = &self.nodes[node];
        self.room(node, counts).takes(node, placement)
    }
}
