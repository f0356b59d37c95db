//! Are the decisions of a round allowed, and are they true? (I-1 to I-4 and I-8)
//!
//! Decisions are taken one by one into the books; what they promise together is checked once all are in.

use std::collections::{BTreeMap, BTreeSet};

use hai_core::engine::Policy;
use hai_core::model::*;

use super::books::{Books, Bucket, Holder, Promise, Run, allows, idle_of, plus};
use super::room::Room;

/// One run that was told to leave, as it was then.
struct Victim {
    id: RunId,
    run: Run,
    reason: YieldReason,
    /// How long it was safe from better claims.
    protected: Span,
}

impl Books {
    /// Takes the decisions in, and panics at the first that can not be right.
    pub(crate) fn judge_decisions(&mut self, round: &Round) {
        assert_eq!(round.at, self.now);
        let first_new = self.last_run;
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
                    let protected = self.protected(run);
                    victims.push(Victim { id: *id, run: run.clone(), reason: reason.clone(), protected });
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
                    assert!(!placed.contains(task), "{decision:?} takes back what was promised in the same round");
                }
                Decision::Recharge { run, level, entitled } => self.judge_recharge(*run, *level, *entitled),
                other => panic!("an unknown decision: {other:?}"),
            }
        }
        for task in &placed {
            self.judge_set_aside(*task);
        }
        for victim in &victims {
            self.judge_victim(victim, &placed, first_new);
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
            first_loss: None,
            over_limit: false,
            leased_at: None,
            idle_since: None,
            notice: None,
        };
        self.runs.insert(id, run);
        self.tasks.get_mut(&task).unwrap().runs += 1;
        // I-8: leaving runs still use their right.
        if entitled {
            let bucket = self.bucket(task, level);
            let used = self.used(&bucket, |holder| matches!(holder, Holder::Run(_)));
            let (allowed, asked) = (self.allowance_of(&bucket), self.charge(Holder::Run(id)));
            assert!(admits(allowed, used, asked), "task {task} starts, then {bucket:?} use {used} of {allowed:?}");
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
            let used = self.used(&bucket, |holder| !self.leaves(holder));
            let (allowed, asked) = (self.allowance_of(&bucket), self.charge(me));
            assert!(admits(allowed, used, asked), "task {task} has a place, then {bucket:?} use {used} of {allowed:?}");
        }
    }

    /// Nobody stays beyond a right who could leave.
    fn judge_bucket(&self, bucket: &Bucket) {
        let used = self.used(bucket, |holder| !self.leaves(holder));
        let allowed = self.allowance_of(bucket);
        if allows(allowed, used) {
            return;
        }
        for (holder, _) in self.entitled().filter(|(holder, theirs)| theirs == bucket && !self.leaves(*holder)) {
            let bound = matches!(holder, Holder::Run(run) if !self.spec(self.runs[&run].task).suspendable);
            let fine = bound || admits(allowed, used, self.charge(holder));
            assert!(fine, "{bucket:?} use {used} of {allowed:?}, and {holder:?} stays");
        }
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
            let bucket = self.bucket(task, level);
            let used = self.used(&bucket, |holder| matches!(holder, Holder::Run(_)));
            let (allowed, asked) = (self.allowance_of(&bucket), self.charge(Holder::Run(id)));
            let fine = admits(allowed, used, asked);
            assert!(fine, "run {id} is charged anew, then {bucket:?} use {used} of {allowed:?}");
        }
    }

    // --- yielding

    /// I-4: whoever is told to leave is told so for a reason that is true.
    fn judge_victim(&self, victim: &Victim, placed: &BTreeSet<TaskId>, last_old: RunId) {
        let Victim { id, run, reason, .. } = victim;
        let own_choice = matches!(reason, YieldReason::For { .. } | YieldReason::RightLost);
        assert!(!own_choice || self.spec(run.task).suspendable, "run {id} can not be suspended, and is: {reason:?}");
        match reason {
            YieldReason::For { task } => {
                assert!(placed.contains(task), "run {id} leaves for task {task}, which gets no place in this round");
                assert!(self.needs(*task, victim), "run {id} leaves for task {task}, which has a place without that");
                match self.config.policy {
                    Policy::Hai => self.judge_time_sharing(*task, victim, last_old),
                    Policy::HaiFifo => self.judge_order(*task, victim),
                }
            }
            YieldReason::NodeLost { node } => {
                let here = |rank: u32| run.placement.workers[rank as usize].node == *node;
                let not_ready = run.alive().any(here) && self.nodes.get(node).is_none_or(|node| !node.ready);
                assert!(not_ready, "run {id} leaves because of {node}, which is well");
            }
            YieldReason::NodeDrained { node } => {
                let here = |rank: u32| run.placement.workers[rank as usize].node == *node;
                let drained = run.alive().any(here) && self.nodes.get(node).is_some_and(|node| node.draining);
                assert!(drained, "run {id} leaves because {node} is drained, which it is not");
            }
            YieldReason::DeviceLost { node, device } => {
                let has = |place: &WorkerPlacement| place.node == *node && place.devices.contains(device);
                let held = run.alive().any(|rank| has(&run.placement.workers[rank as usize]));
                let known = self.nodes.get(node).and_then(|node| node.devices.iter().find(|known| known.id == *device));
                let lost = known.is_none_or(|known| known.health.must_be_left());
                assert!(held && lost, "run {id} leaves because of {device} of {node}, which is well or not its own");
            }
            YieldReason::Idle => {
                let due = idle_of(&self.tasks[&run.task], run);
                assert!(due.is_some_and(|due| due <= self.now), "run {id} leaves for being idle, which is due {due:?}");
            }
            YieldReason::WorkerLost { rank } => {
                let lost = run.ended.iter().any(|(ended, exit)| {
                    ended == rank && matches!(exit.fate, WorkerFate::Lost { .. } | WorkerFate::Refused { .. })
                });
                assert!(lost, "run {id} leaves because of its worker {rank}, which is well");
            }
            YieldReason::RightLost => {
                assert!(run.entitled, "run {id} never had a right to lose");
                let bucket = self.bucket(run.task, run.level);
                let others = |holder| is_old(holder, last_old) && !self.leaves(holder);
                let asked = self.charge(Holder::Run(*id));
                let used = plus(self.used(&bucket, others), asked);
                let allowed = self.allowance_of(&bucket);
                assert!(
                    !admits(allowed, used, asked),
                    "run {id} leaves, but {bucket:?} with it use {used} of {allowed:?}"
                );
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
            !admits(self.allowance_of(&bucket), used, self.charge(me))
        });
        collides || over
    }

    /// What a task that was placed in this round is charged to, and whether within its right. It may have started where
    /// others have only begun to leave, if their place is needed because another's promise counts on what was free.
    fn claim(&self, task: TaskId) -> (Priority, bool) {
        let promise = self.promises.get(&task).map(|promise| (promise.level, promise.entitled));
        promise.or_else(|| self.run_of(task).map(|(_, run)| (run.level, run.entitled))).expect("it was placed")
    }

    /// How long a run is safe from better claims.
    pub(crate) fn protected(&self, run: &Run) -> Span {
        let protected = self.config.timing(run.level).protected;
        match self.config.churn {
            Some(churn) if self.tasks[&run.task].suspensions >= churn.free => protected.max(churn.every),
            _ => protected,
        }
    }

    /// How long a run is safe from its equals.
    pub(crate) fn slice(&self, run: &Run) -> Span {
        let swaps = self.tasks[&run.task].swap_cost.as_ms() * u64::from(self.config.slice_swaps);
        self.config.timing(run.level).slice.max(Span::from_ms(swaps))
    }

    /// Rule 3 of the time-sharing policy.
    fn judge_time_sharing(&self, task: TaskId, victim: &Victim, last_old: RunId) {
        let (level, entitled) = self.claim(task);
        let (spec, theirs) = (self.spec(task), self.spec(victim.run.task));
        let (run, background) = (&victim.run, theirs.kind.is_background());
        let context = format!("task {task} displaces task {}", run.task);
        assert!(victim.id <= last_old, "{context}, which was started in the same round");
        assert!(!spec.kind.is_background(), "{context}, and takes only what nobody else wants");
        assert!(entitled || background, "{context}, and only borrows");
        let elapsed = run.elapsed(self.now);
        let protected = victim.protected;
        assert!(elapsed >= protected, "{context} after {elapsed}, which is protected for {protected}");
        if background {
            return;
        }
        let same = spec.user == theirs.user && spec.priority == theirs.priority;
        assert!(!same, "{context}, of the same user and priority");
        if entitled && !run.entitled {
            return;
        }
        let (mine, yours) = (self.counts_as_best(task, level), self.counts_as(run));
        assert!(yours <= mine, "{context}, which is better: {yours} against {mine}");
        if yours == mine {
            assert_ne!(spec.user, theirs.user, "{context}, of the same user and no lesser level");
            let slice = self.slice(run);
            assert!(run.started_at.is_some() && elapsed >= slice, "{context} of its level after {elapsed} of {slice}");
        }
    }

    /// The best level that a waiting task may count as.
    pub(crate) fn counts_as_best(&self, task: TaskId, level: Priority) -> Priority {
        let task = &self.tasks[&task];
        let demoted = task.spec.priority == Priority::AboveNormal && task.ran >= self.config.timing.demote_after;
        if demoted && level == Priority::AboveNormal { Priority::Normal } else { level }
    }

    /// The level that a running task counts as.
    pub(crate) fn counts_as(&self, run: &Run) -> Priority {
        let ran = self.tasks[&run.task].ran + run.elapsed(self.now);
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
            .filter(|(_, task)| task.spec.group == *group && !task.held && !task.cancelled && self.is_ready(task))
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

    /// Nothing but a place and a right is missing for it to start.
    pub(crate) fn is_ready(&self, task: &super::books::Task) -> bool {
        let passed = |at: Option<Time>| at.is_none_or(|at| at <= self.now);
        task.awaits.is_empty() && passed(task.back_off) && passed(task.spec.not_before)
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
                let well = node.is_some_and(|node| self.usable(node, &known.spec));
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
        let asked = self.charge(Holder::Promise(task));
        free && (!promise.entitled || admits(self.allowance_of(&bucket), used, asked))
    }
}

/// Whether it was started before this round; a promise that is kept only now has an old number, too.
fn is_old(holder: Holder, last_old: RunId) -> bool {
    matches!(holder, Holder::Run(run) if run <= last_old)
}

/// Whether what is used stays within a right, as far as it is of the kind that was asked for.
fn admits(allowed: Allowance, used: Charge, asked: Charge) -> bool {
    (asked.nodes.is_zero() || allowed.nodes.allows(used.nodes))
        && (asked.devices.is_zero() || allowed.devices.allows(used.devices))
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
