//! Are the decisions of a round allowed, and are they true? (I-1 to I-4 and I-8)
//!
//! Decisions are taken one by one into the books; what they promise together is checked once all are in.

use std::collections::{BTreeMap, BTreeSet};

use hai_core::engine::Policy;
use hai_core::model::*;

use super::books::{Books, Bucket, Holder, Promise, Run, allows, plus};
use super::room::Room;

/// One run that was told to leave, as it was then.
struct Victim {
    id: RunId,
    run: Run,
    reason: YieldReason,
}

impl Books {
    /// Takes the decisions in, and panics at the first that can not be right.
    pub(crate) fn judge_decisions(&mut self, round: &Round) {
        assert_eq!(round.at, self.now);
        let before = self.clone();
        let mut victims = Vec::new();
        let mut placed = BTreeSet::new();
        for decision in &round.decisions {
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
                    victims.push(Victim { id: *id, run: run.clone(), reason: reason.clone() });
                    self.runs.get_mut(id).unwrap().leaving_since = Some(self.now);
                }
                Decision::Stop { run: id, task } => {
                    let run = self.live(*id, *task);
                    assert!(!run.stopped, "{decision:?} says again what was said before");
                    let over = self.tasks[task].cancelled || run.failed() || run.done();
                    assert!(over, "{decision:?}, but the task was not stopped and no worker failed");
                    let now = self.now;
                    let run = self.runs.get_mut(id).unwrap();
                    run.stopped = true;
                    run.leaving_since.get_or_insert(now);
                }
                Decision::Withdraw { task } => {
                    assert!(self.promises.remove(task).is_some(), "{decision:?} takes back what was not promised");
                }
                Decision::Recharge { run, level, entitled } => self.judge_recharge(*run, *level, *entitled),
                other => panic!("an unknown decision: {other:?}"),
            }
        }
        for task in &placed {
            self.judge_set_aside(*task);
        }
        for victim in &victims {
            self.judge_victim(victim, &placed, &before);
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
        assert_eq!(whole_life_state, self.tasks[&task].whole_life_state, "task {task}'s number was lost");
        if let Some(promise) = self.promises.remove(&task) {
            assert_eq!(promise.run, id, "task {task} was promised run {}", promise.run);
            assert_eq!(promise.placement, *placement, "task {task} was promised another place");
            assert_eq!((promise.level, promise.entitled), (level, entitled), "task {task} was promised another right");
        } else {
            assert!(id > self.last_run, "run {id} is not new");
            self.last_run = id;
        }
        // I-1: what is started must be free in fact, of those who are still leaving too.
        self.judge_free(task, placement, |holder| matches!(holder, Holder::Run(_)));
        let run = Run {
            task,
            placement: placement.clone(),
            level,
            entitled,
            decided_at: self.now,
            started_at: None,
            started: BTreeSet::new(),
            ended: BTreeMap::new(),
            leaving_since: None,
            stopped: false,
            first_loss_refused: None,
        };
        self.runs.insert(id, run);
        self.tasks.get_mut(&task).unwrap().runs += 1;
        // I-8: leaving runs still use their right.
        if entitled {
            let bucket = self.bucket(task, level);
            let used = self.used(&bucket, |holder| matches!(holder, Holder::Run(_)));
            let allowed = self.allowance_of(&bucket);
            assert!(allows(allowed, used), "task {task} starts, then {bucket:?} use {used} of {allowed:?}");
        }
    }

    fn judge_promise(&mut self, task: TaskId, run: RunId, placement: &Placement, level: Priority, entitled: bool) {
        self.judge_placing(task, placement, level, entitled);
        assert!(run > self.last_run, "run {run} is not new");
        self.last_run = run;
        let promise = Promise { run, placement: placement.clone(), level, entitled };
        assert!(self.promises.insert(task, promise).is_none(), "task {task} is promised two places");
    }

    /// I-2 and I-3: the right size and kind, on nodes and devices that may be used.
    fn judge_placing(&self, id: TaskId, placement: &Placement, level: Priority, entitled: bool) {
        let task = self.tasks.get(&id).unwrap_or_else(|| panic!("task {id} is not unfinished"));
        assert!(!task.held && !task.cancelled, "task {id} is held or stopped");
        assert!(self.run_of(id).is_none(), "task {id} has a run");
        assert!(task.back_off.is_none_or(|until| until <= self.now), "task {id} is to wait until {:?}", task.back_off);
        let spec = &task.spec;
        assert!(Self::levels(spec).contains(&level), "task {id} at {} is charged to {level}", spec.priority);
        assert!(entitled || (self.config.borrow && self.config.policy == Policy::Hai), "task {id} may not borrow");
        assert_eq!(placement.workers.len(), spec.workers as usize, "task {id} has another size");
        let mut nodes = BTreeSet::new();
        for place in &placement.workers {
            let node = self.nodes.get(&place.node).unwrap_or_else(|| panic!("no node {}", place.node));
            assert!(Self::usable(node, spec), "task {id} can not go to {node:?}");
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
                Devices::Share(_) | Devices::Memory(_) => unreachable!("no story asks for a part of a device"),
            }
        }
    }

    /// What is placed must be free beside all for whom `counts` is true (I-1).
    fn judge_free(&self, task: TaskId, placement: &Placement, counts: impl Fn(Holder) -> bool) {
        for node in placement.workers.iter().map(|place| &place.node).collect::<BTreeSet<_>>() {
            let room = self.room(&self.nodes[node], &counts);
            assert!(
                goes_into(&room, placement, node),
                "task {task} is given what is not free on {node}: {placement:?}"
            );
        }
    }

    /// A place that was given or promised in this round collides with nobody who stays and with no other promise; and
    /// rights cover it together with them.
    fn judge_set_aside(&self, task: TaskId) {
        let (me, placement, bucket) = if let Some(promise) = self.promises.get(&task) {
            let bucket = promise.entitled.then(|| self.bucket(task, promise.level));
            (Holder::Promise(task), &promise.placement, bucket)
        } else if let Some((id, run)) = self.run_of(task) {
            (Holder::Run(id), &run.placement, run.entitled.then(|| self.bucket(task, run.level)))
        } else {
            panic!("task {task} was given a place that it lost in the same round");
        };
        self.judge_free(task, placement, |holder| holder != me && !self.leaves(holder));
        if let Some(bucket) = bucket {
            self.judge_bucket(&bucket);
        }
    }

    fn judge_bucket(&self, bucket: &Bucket) {
        let used = self.used(bucket, |holder| !self.leaves(holder));
        let allowed = self.allowance_of(bucket);
        assert!(allows(allowed, used), "{bucket:?} use {used} of {allowed:?}");
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
        if promised.is_some() {
            let promise = self.promises.get_mut(&task).unwrap();
            (promise.level, promise.entitled) = (level, entitled);
            return;
        }
        let run = self.runs.get_mut(&id).unwrap();
        (run.level, run.entitled) = (level, entitled);
        if entitled {
            let bucket = self.bucket(task, level);
            let used = self.used(&bucket, |holder| matches!(holder, Holder::Run(_)));
            let allowed = self.allowance_of(&bucket);
            assert!(allows(allowed, used), "run {id} is charged anew, then {bucket:?} use {used} of {allowed:?}");
        }
    }

    // --- yielding

    /// I-4: whoever is told to leave is told so for a reason that is true.
    fn judge_victim(&self, victim: &Victim, placed: &BTreeSet<TaskId>, before: &Books) {
        let Victim { id, run, reason } = victim;
        match reason {
            YieldReason::For { task } => {
                assert!(placed.contains(task), "run {id} leaves for task {task}, which gets no place in this round");
                assert!(self.needs(*task, victim), "run {id} leaves for task {task}, which has a place without that");
                match self.config.policy {
                    Policy::Hai => self.judge_time_sharing(*task, victim, before),
                    Policy::HaiFifo => self.judge_order(*task, victim),
                }
            }
            YieldReason::NodeLost { node } => {
                let here = |rank: u32| run.placement.workers[rank as usize].node == *node;
                let not_ready = run.alive().any(here) && self.nodes.get(node).is_none_or(|node| !node.ready);
                assert!(not_ready, "run {id} leaves because of {node}, which is well");
            }
            YieldReason::DeviceLost { node, device } => {
                let has = |place: &WorkerPlacement| place.node == *node && place.devices.contains(device);
                let held = run.alive().any(|rank| has(&run.placement.workers[rank as usize]));
                let known = self.nodes.get(node).and_then(|node| node.devices.iter().find(|known| known.id == *device));
                let lost = known.is_none_or(|known| known.health.must_be_left());
                assert!(held && lost, "run {id} leaves because of {device} of {node}, which is well or not its own");
            }
            YieldReason::Idle => unreachable!("no story tells that devices are idle"),
            YieldReason::WorkerLost { rank } => {
                let lost = run.ended.iter().any(|(ended, exit)| {
                    ended == rank && matches!(exit.fate, WorkerFate::Lost { .. } | WorkerFate::Refused { .. })
                });
                assert!(lost, "run {id} leaves because of its worker {rank}, which is well");
            }
            YieldReason::RightLost => {
                assert!(run.entitled, "run {id} never had a right to lose");
                let bucket = self.bucket(run.task, run.level);
                let others = |holder| before_round(holder, before) && !self.leaves(holder);
                let used = plus(self.used(&bucket, others), self.charge(Holder::Run(*id)));
                let allowed = self.allowance_of(&bucket);
                assert!(!allows(allowed, used), "run {id} leaves, but {bucket:?} with it use {used} of {allowed:?}");
            }
            YieldReason::Held => assert!(self.tasks[&run.task].held, "run {id} leaves, but nobody holds it"),
        }
    }

    /// Whether the task could not have its place, or not its right, if that run stayed.
    fn needs(&self, task: TaskId, victim: &Victim) -> bool {
        let (me, placement, right) = if let Some(promise) = self.promises.get(&task) {
            (Holder::Promise(task), &promise.placement, promise.entitled.then_some(promise.level))
        } else {
            let (id, run) = self.run_of(task).expect("it was placed");
            (Holder::Run(id), &run.placement, run.entitled.then_some(run.level))
        };
        let stays = |holder| holder != me && (holder == Holder::Run(victim.id) || !self.leaves(holder));
        let collides = placement
            .workers
            .iter()
            .any(|place| !goes_into(&self.room(&self.nodes[&place.node], stays), placement, &place.node));
        let over = right.is_some_and(|level| {
            let bucket = self.bucket(task, level);
            let used = self.used(&bucket, |holder| holder == Holder::Run(victim.id) || !self.leaves(holder));
            !allows(self.allowance_of(&bucket), used)
        });
        collides || over
    }

    /// What a task that was placed in this round is charged to, and whether within its right. It may have started where
    /// others have only begun to leave, if their place is needed because another's promise counts on what was free.
    fn claim(&self, task: TaskId) -> (Priority, bool) {
        let promise = self.promises.get(&task).map(|promise| (promise.level, promise.entitled));
        promise.or_else(|| self.run_of(task).map(|(_, run)| (run.level, run.entitled))).expect("it was placed")
    }

    /// Rule 3 of the time-sharing policy.
    fn judge_time_sharing(&self, task: TaskId, victim: &Victim, before: &Books) {
        let (level, entitled) = self.claim(task);
        let (spec, theirs) = (self.spec(task), self.spec(victim.run.task));
        // What it was charged to before the round, unless it was recharged in it.
        let run =
            if before.runs.contains_key(&victim.id) { &victim.run } else { panic!("started and suspended at once") };
        assert!(entitled || !run.entitled, "task {task} borrows and displaces entitled {}", run.task);
        let timing = self.config.timing(run.level);
        let elapsed = self.now.since(run.decided_at);
        assert!(elapsed >= timing.protected, "task {} is protected, and displaced after {elapsed}", run.task);
        let same = spec.user == theirs.user && spec.priority == theirs.priority;
        let context = format!("task {task} displaces task {}", run.task);
        assert!(!same, "{context}, of the same user and priority");
        if entitled && !run.entitled {
            return;
        }
        let (mine, yours) = (self.counts_as_best(task, level), self.counts_as_least(run));
        assert!(yours <= mine, "{context}, which is better: {yours} against {mine}");
        if self.counts_as_least_best(run) >= mine {
            assert_ne!(spec.user, theirs.user, "{context}, of the same user and no lesser level");
            assert!(elapsed >= timing.slice, "{context} of its own level after {elapsed}");
        }
    }

    /// The best level that a waiting task may count as.
    fn counts_as_best(&self, task: TaskId, level: Priority) -> Priority {
        let task = &self.tasks[&task];
        let demoted = task.spec.priority == Priority::AboveNormal && task.ran >= self.config.timing.demote_after;
        if demoted && level == Priority::AboveNormal { Priority::Normal } else { level }
    }

    /// The least level that a running task may count as, if its time is counted from when its start was decided.
    pub(crate) fn counts_as_least(&self, run: &Run) -> Priority {
        self.running_level(run, Some(run.decided_at))
    }

    /// The same, if its time is counted from when all its workers executed.
    pub(crate) fn counts_as_least_best(&self, run: &Run) -> Priority {
        self.running_level(run, run.started_at)
    }

    fn running_level(&self, run: &Run, since: Option<Time>) -> Priority {
        let ran = self.tasks[&run.task].ran + since.map_or(Span::ZERO, |since| self.now.since(since));
        let demoted = run.level == Priority::AboveNormal && ran >= self.config.timing.demote_after;
        if demoted { Priority::Normal } else { run.level }
    }

    /// Strict order: only what comes later yields.
    fn judge_order(&self, task: TaskId, victim: &Victim) {
        let (level, _) = self.claim(task);
        let place = |task: TaskId, level| (std::cmp::Reverse(level), self.spec(task).rank(task), task);
        let (mine, theirs) = (place(task, level), place(victim.run.task, victim.run.level));
        let dealt_none = !self.is_dealt(victim.run.task);
        assert!(mine < theirs || dealt_none, "task {task} displaces task {}, which is before it", victim.run.task);
    }

    /// R-ASG-1 to 4: whether rights, dealt in the order of rank to all who want or have them, reach the task.
    fn is_dealt(&self, wanted: TaskId) -> bool {
        let group = &self.spec(wanted).group;
        let mut ranked: Vec<(Rank, TaskId)> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.spec.group == *group && !task.held && !task.cancelled)
            .map(|(id, task)| (task.spec.rank(*id), *id))
            .collect();
        ranked.sort_unstable();
        let mut dealt: BTreeMap<Bucket, Charge> = BTreeMap::new();
        for (_, id) in ranked {
            let spec = self.spec(id);
            let charge = self.run_of(id).map_or_else(|| Charge::of(spec), |(run, _)| self.charge(Holder::Run(run)));
            let level = Self::levels(spec).into_iter().find(|level| {
                let bucket = self.bucket(id, *level);
                let used = plus(dealt.get(&bucket).copied().unwrap_or_default(), charge);
                let reaches = allows(self.allowance_of(&bucket), used);
                if reaches {
                    dealt.insert(bucket, used);
                }
                reaches
            });
            if id == wanted {
                return level.is_some();
            }
        }
        unreachable!("the task is among its group's")
    }

    // --- what must be true after every round

    fn judge_what_is(&self) {
        for (id, run) in &self.runs {
            if !run.stays() {
                continue;
            }
            let task = &self.tasks[&run.task];
            assert!(!task.held && !task.cancelled, "run {id} stays, but its task is held or stopped");
            assert!(!run.failed() && !run.lost(), "run {id} stays, but a worker of it failed or was lost");
            for rank in run.alive() {
                let node = &run.placement.workers[rank as usize].node;
                assert!(self.nodes.get(node).is_some_and(|node| node.ready), "run {id} stays on {node}, which is lost");
            }
        }
        for bucket in self.buckets() {
            self.judge_bucket(&bucket);
        }
        for (task, promise) in &self.promises {
            let known = &self.tasks[task];
            assert!(!known.held && !known.cancelled, "task {task} is promised a place, but held or stopped");
            for place in &promise.placement.workers {
                let node = self.nodes.get(&place.node);
                let well = node.is_some_and(|node| Self::usable(node, &known.spec));
                assert!(well, "task {task} is promised {}, which can not be used", place.node);
            }
            assert!(!self.can_start(*task, promise), "all is free that was promised to task {task}, and it waits");
        }
    }

    fn can_start(&self, task: TaskId, promise: &Promise) -> bool {
        let running = |holder| matches!(holder, Holder::Run(_));
        let free = promise
            .placement
            .workers
            .iter()
            .all(|place| goes_into(&self.room(&self.nodes[&place.node], running), &promise.placement, &place.node));
        let bucket = self.bucket(task, promise.level);
        let used = plus(self.used(&bucket, running), self.charge(Holder::Promise(task)));
        free && (!promise.entitled || allows(self.allowance_of(&bucket), used))
    }
}

fn before_round(holder: Holder, before: &Books) -> bool {
    matches!(holder, Holder::Run(run) if before.runs.contains_key(&run))
}

/// Whether all workers placed on one node go into what is left of it.
fn goes_into(room: &Room, placement: &Placement, node: &NodeName) -> bool {
    let here: Vec<&WorkerPlacement> = placement.workers.iter().filter(|place| place.node == *node).collect();
    let cpu: u32 = here.iter().map(|place| place.cpu_milli).sum();
    let memory: u64 = here.iter().map(|place| place.memory_mib).sum();
    let devices: Vec<&DeviceId> = here.iter().flat_map(|place| &place.devices).collect();
    let unique: BTreeSet<&DeviceId> = devices.iter().copied().collect();
    !room.taken_whole
        && (room.empty || here.iter().all(|place| !place.whole_node))
        && cpu <= room.cpu_milli
        && memory <= room.memory_mib
        && unique.len() == devices.len()
        && unique.iter().all(|device| room.devices.contains(*device))
}
