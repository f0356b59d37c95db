//! What the judge knows: nodes, rights, tasks and runs, from facts and decisions alone.

use std::collections::{BTreeMap, BTreeSet};

use hai_core::engine::EngineConfig;
use hai_core::model::*;

/// An unfinished task.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) spec: TaskSpec,
    pub(crate) held: bool,
    pub(crate) cancelled: bool,
    pub(crate) whole_life_state: i64,
    /// How long its ended runs ran.
    pub(crate) ran: Span,
    pub(crate) refusals: u32,
    /// Runs in a row that were lost before long.
    pub(crate) losses: u32,
    /// Failures after which it was tried again.
    pub(crate) retried: u32,
    pub(crate) back_off: Option<Time>,
    pub(crate) runs: u32,
    /// Unfinished tasks that it waits for.
    pub(crate) awaits: BTreeMap<TaskId, DependsOn>,
    /// How often it was suspended for others.
    pub(crate) suspensions: u32,
    /// What its last suspension and its last start took together.
    pub(crate) swap_cost: Span,
}

/// A run that was started and has not ended.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) task: TaskId,
    pub(crate) placement: Placement,
    pub(crate) level: Priority,
    pub(crate) entitled: bool,
    pub(crate) decided_at: Time,
    /// When the last of its workers began to execute.
    pub(crate) started_at: Option<Time>,
    pub(crate) started: BTreeSet<u32>,
    pub(crate) ended: BTreeMap<u32, WorkerExit>,
    /// When it was first told to leave.
    pub(crate) leaving_since: Option<Time>,
    pub(crate) stopped: bool,
    pub(crate) first_loss: Option<Loss>,
    /// It ran for longer than its task may.
    pub(crate) over_limit: bool,
    pub(crate) leased_at: Option<Time>,
    pub(crate) idle_since: Option<Time>,
    /// It is beyond its right, and has to leave then.
    pub(crate) notice: Option<Time>,
}

/// How a run lost its first worker through no fault of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Gone,
    RefusedByTask,
    RefusedByNode,
}

/// A place set aside.
#[derive(Clone, Debug)]
pub(crate) struct Promise {
    pub(crate) run: RunId,
    pub(crate) placement: Placement,
    pub(crate) level: Priority,
    pub(crate) entitled: bool,
}

/// Who holds, or is promised, a part of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    Run(RunId),
    Promise(TaskId),
}

/// User, group and level whose use is counted together.
pub(crate) type Bucket = (UserName, GroupName, Priority);

/// All that is known.
#[derive(Clone, Debug)]
pub(crate) struct Books {
    pub(crate) config: EngineConfig,
    pub(crate) now: Time,
    pub(crate) nodes: BTreeMap<NodeName, NodeSpec>,
    pub(crate) rights: BTreeMap<RightKey, Allowance>,
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    pub(crate) runs: BTreeMap<RunId, Run>,
    pub(crate) promises: BTreeMap<TaskId, Promise>,
    pub(crate) last_task: TaskId,
    pub(crate) last_run: RunId,
    /// Tasks that ended without success.
    pub(crate) failed: BTreeSet<TaskId>,
    /// Nodes that refused starts through no fault of the tasks: how often in a row, and until when they get no other.
    pub(crate) cooling: BTreeMap<NodeName, (u32, Time)>,
    /// Tasks that finished since they were last asked for, and how.
    pub(crate) finished: BTreeMap<TaskId, &'static str>,
}

impl Run {
    pub(crate) fn alive(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.placement.workers.len() as u32).filter(|rank| !self.ended.contains_key(rank))
    }

    /// It was not told to leave.
    pub(crate) fn stays(&self) -> bool {
        self.leaving_since.is_none()
    }

    /// A worker failed by itself.
    pub(crate) fn failed(&self) -> bool {
        self.ended.values().any(|exit| match exit.fate {
            WorkerFate::Exited { code } => code != 0 && !exit.signalled,
            WorkerFate::Killed { .. } => !exit.signalled,
            WorkerFate::NotExecuted { .. } => true,
            _ => false,
        })
    }

    pub(crate) fn lost(&self) -> bool {
        self.first_loss.is_some()
    }

    /// How long it has run without a break.
    pub(crate) fn elapsed(&self, now: Time) -> Span {
        self.started_at.map_or(Span::ZERO, |start| now.since(start))
    }

    /// It goes on, and all its workers have begun to execute.
    pub(crate) fn runs(&self) -> bool {
        self.stays() && self.started_at.is_some()
    }

    /// No worker is still to begin.
    fn is_complete(&self) -> bool {
        (0..self.placement.workers.len() as u32)
            .all(|rank| self.started.contains(&rank) || self.ended.contains_key(&rank))
    }

    pub(crate) fn done(&self) -> bool {
        self.ended.values().any(|exit| exit.declared_done)
    }
}

fn charge_of(spec: &TaskSpec, workers: u32) -> Charge {
    match spec.request.devices {
        Devices::WholeNode => Charge { nodes: Amount::whole(workers), ..Charge::NOTHING },
        Devices::Count(count) => Charge { devices: Amount::whole(count * workers), ..Charge::NOTHING },
        Devices::Share(_) | Devices::Memory(_) => unreachable!("no story asks for a part of a device"),
    }
}

pub(crate) fn plus(a: Charge, b: Charge) -> Charge {
    Charge { nodes: a.nodes + b.nodes, devices: a.devices + b.devices }
}

pub(crate) fn allows(allowance: Allowance, charge: Charge) -> bool {
    allowance.nodes.allows(charge.nodes) && allowance.devices.allows(charge.devices)
}

impl Books {
    pub(crate) fn new(config: EngineConfig) -> Self {
        Books {
            config,
            now: Time::ZERO,
            nodes: BTreeMap::new(),
            rights: BTreeMap::new(),
            tasks: BTreeMap::new(),
            runs: BTreeMap::new(),
            promises: BTreeMap::new(),
            last_task: TaskId(0),
            last_run: RunId(0),
            failed: BTreeSet::new(),
            cooling: BTreeMap::new(),
            finished: BTreeMap::new(),
        }
    }

    // --- facts

    /// Whether the fact can be true.
    pub(crate) fn believes(&self, fact: &Fact) -> bool {
        match fact {
            Fact::Submitted { task, spec } => {
                *task > self.last_task && spec.check().is_ok() && self.can_follow(*task, &spec.after)
            }
            Fact::MustFollow { task, after } => {
                self.tasks.get(task).is_some_and(|known| known.runs == 0) && self.can_follow(*task, after)
            }
            Fact::Renewed { task } => {
                self.tasks.get(task).is_some_and(|known| matches!(known.spec.kind, TaskKind::Interactive { .. }))
            }
            Fact::Idle { run, .. } => self.runs.contains_key(run),
            Fact::Cancelled { task } | Fact::Held { task } | Fact::Reprioritised { task, .. } => {
                self.tasks.contains_key(task)
            }
            Fact::Released { task } => self.tasks.get(task).is_some_and(|task| task.held),
            Fact::RightSet { right } => right.key.priority != Some(Priority::Auto),
            Fact::RightRemoved { key } => self.rights.contains_key(key),
            Fact::NodeSet { node } => node.check().is_ok(),
            Fact::NodeRemoved { node } => self.nodes.contains_key(node),
            Fact::DeviceChanged { node, device, .. } => {
                self.nodes.get(node).is_some_and(|node| node.devices.iter().any(|known| known.id == *device))
            }
            Fact::WorkerStarted { run, rank } | Fact::WorkerEnded { run, rank, .. } => {
                self.runs.get(run).is_some_and(|run| (*rank as usize) < run.placement.workers.len())
            }
            Fact::Checkpointed { run, .. } => self.runs.contains_key(run),
            other => panic!("an unknown fact: {other:?}"),
        }
    }

    pub(crate) fn observe(&mut self, fact: &Fact) {
        match fact {
            Fact::Submitted { task, spec } => {
                self.last_task = *task;
                let spec = (**spec).clone();
                let spec_after = spec.after.clone();
                let new = Task {
                    spec,
                    held: false,
                    cancelled: false,
                    whole_life_state: 0,
                    ran: Span::ZERO,
                    refusals: 0,
                    losses: 0,
                    retried: 0,
                    back_off: None,
                    runs: 0,
                    awaits: BTreeMap::new(),
                    suspensions: 0,
                    swap_cost: Span::ZERO,
                };
                self.tasks.insert(*task, new);
                self.follow(*task, &spec_after);
            }
            Fact::MustFollow { task, after } => {
                let spec = &mut self.tasks.get_mut(task).unwrap().spec;
                let more: Vec<Dependency> = after.iter().filter(|one| !spec.after.contains(one)).copied().collect();
                if !more.is_empty() {
                    spec.after.extend(&more);
                    self.promises.remove(task);
                    self.follow(*task, &more);
                }
            }
            Fact::Renewed { task } => {
                let now = self.now;
                if let Some(run) = self.runs.values_mut().find(|run| run.task == *task && run.runs()) {
                    run.leased_at = Some(now);
                }
            }
            Fact::Idle { run, idle } => {
                let now = self.now;
                let run = self.runs.get_mut(run).unwrap();
                if run.idle_since.is_some() != *idle {
                    run.idle_since = idle.then_some(now);
                }
            }
            Fact::Cancelled { task } => {
                self.promises.remove(task);
                if self.run_of(*task).is_some() {
                    self.tasks.get_mut(task).unwrap().cancelled = true;
                } else {
                    self.finish(*task, "stopped");
                }
            }
            Fact::Held { task } => {
                self.promises.remove(task);
                let task = self.tasks.get_mut(task).unwrap();
                task.held = true;
                task.back_off = None;
            }
            Fact::Released { task } => {
                self.tasks.get_mut(task).unwrap().held = false;
                // Who released it has seen that it is idle.
                let now = self.now;
                for run in self.runs.values_mut().filter(|run| run.task == *task && run.stays()) {
                    run.idle_since = run.idle_since.map(|_| now);
                }
            }
            Fact::Reprioritised { task, priority, custom_rank } => {
                let old = &self.tasks[task].spec;
                if (old.priority, old.custom_rank) != (*priority, *custom_rank) {
                    // It was made to the old claim.
                    self.promises.remove(task);
                }
                let spec = &mut self.tasks.get_mut(task).unwrap().spec;
                (spec.priority, spec.custom_rank) = (*priority, *custom_rank);
            }
            Fact::RightSet { right } => {
                self.rights.insert(right.key.clone(), right.allowance);
            }
            Fact::RightRemoved { key } => {
                self.rights.remove(key);
            }
            Fact::NodeSet { node } => {
                self.nodes.insert(node.name.clone(), node.clone());
            }
            Fact::NodeRemoved { node } => {
                self.nodes.remove(node);
            }
            Fact::DeviceChanged { node, device, health } => {
                let devices = &mut self.nodes.get_mut(node).unwrap().devices;
                devices.iter_mut().find(|known| known.id == *device).unwrap().health = health.clone();
            }
            Fact::WorkerStarted { run, rank } => self.worker_started(*run, *rank),
            Fact::WorkerEnded { run, rank, exit } => self.worker_ended(*run, *rank, exit),
            Fact::Checkpointed { run, whole_life_state } => {
                let task = self.runs[run].task;
                self.tasks.get_mut(&task).unwrap().whole_life_state = *whole_life_state;
            }
            other => panic!("an unknown fact: {other:?}"),
        }
    }

    /// Whether a task can wait for all of these.
    fn can_follow(&self, task: TaskId, after: &[Dependency]) -> bool {
        after.iter().all(|&Dependency { task: other, ended }| match self.tasks.get(&other) {
            _ if other == task => false,
            Some(_) => !self.waits_for(other, task),
            None => other < task && !(ended == DependsOn::Success && self.failed.contains(&other)),
        })
    }

    /// Whether a task waits for another, be it over a third.
    fn waits_for(&self, task: TaskId, other: TaskId) -> bool {
        let awaited = &self.tasks[&task].awaits;
        awaited.contains_key(&other) || awaited.keys().any(|between| self.waits_for(*between, other))
    }

    fn follow(&mut self, task: TaskId, after: &[Dependency]) {
        for one in after.iter().filter(|one| self.tasks.contains_key(&one.task)).copied().collect::<Vec<_>>() {
            let ended = self.tasks.get_mut(&task).unwrap().awaits.entry(one.task).or_insert(one.ended);
            *ended = (*ended).min(one.ended);
        }
    }

    /// What time alone brings about up to now.
    pub(crate) fn pass_time(&mut self) {
        let now = self.now;
        for run in self.runs.values_mut() {
            let task = self.tasks.get_mut(&run.task).unwrap();
            let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
            run.over_limit |= due(limit_of(task, run));
            task.cancelled |= due(lease_of(task, run));
            if due(idle_of(task, run)) {
                task.held = true;
            }
        }
    }

    /// When time alone will change something that the engine must not miss.
    pub(crate) fn next_due(&self) -> Option<Time> {
        let of_runs = self.runs.values().flat_map(|run| {
            let task = &self.tasks[&run.task];
            [limit_of(task, run), lease_of(task, run), idle_of(task, run), run.notice.filter(|_| run.stays())]
        });
        let of_tasks = self.tasks.iter().filter(|(id, task)| !task.held && self.run_of(**id).is_none());
        let of_tasks = of_tasks.map(|(_, task)| match () {
            () if !task.awaits.is_empty() => None,
            () => task.back_off.filter(|at| *at > self.now).or(task.spec.not_before),
        });
        let of_nodes = self.cooling.iter().filter(|(name, _)| self.nodes.contains_key(*name));
        let of_nodes = of_nodes.map(|(_, (_, until))| Some(*until));
        of_runs.chain(of_tasks).chain(of_nodes).flatten().filter(|at| *at > self.now).min()
    }

    fn worker_started(&mut self, id: RunId, rank: u32) {
        let run = self.runs.get_mut(&id).unwrap();
        if run.ended.contains_key(&rank) || !run.started.insert(rank) {
            return;
        }
        if run.is_complete() {
            self.run_started(id);
        }
    }

    fn run_started(&mut self, id: RunId) {
        let now = self.now;
        let run = self.runs.get_mut(&id).unwrap();
        run.started_at.get_or_insert(now);
        run.leased_at.get_or_insert(now);
        let task = self.tasks.get_mut(&run.task).unwrap();
        task.refusals = 0;
        task.swap_cost = task.swap_cost + now.since(run.decided_at);
        for place in &run.placement.workers {
            if self.cooling.get(&place.node).is_some_and(|(_, until)| *until <= now) {
                self.cooling.remove(&place.node);
            }
        }
    }

    fn worker_ended(&mut self, id: RunId, rank: u32, exit: &WorkerExit) {
        let run = self.runs.get_mut(&id).unwrap();
        if run.ended.contains_key(&rank) {
            return;
        }
        let loss = match exit.fate {
            WorkerFate::Refused { cause: RefusalCause::Task, .. } => Some(Loss::RefusedByTask),
            WorkerFate::Refused { cause: RefusalCause::Node, .. } => Some(Loss::RefusedByNode),
            WorkerFate::Lost { .. } => Some(Loss::Gone),
            _ => None,
        };
        run.first_loss = run.first_loss.or(loss);
        run.ended.insert(rank, exit.clone());
        let over = run.alive().next().is_none();
        let node = run.placement.workers[rank as usize].node.clone();
        if !over && run.stays() && run.started_at.is_none() && run.is_complete() {
            self.run_started(id);
        }
        if loss == Some(Loss::RefusedByNode) {
            let times = self.cooling.get(&node).map_or(0, |(times, _)| *times);
            let until = self.now + doubled(self.config.cool_down, times).min(self.config.cool_down_max);
            self.cooling.insert(node, (times + 1, until));
        }
        if over {
            self.run_ended(id);
        }
    }

    fn run_ended(&mut self, id: RunId) {
        let run = self.runs.remove(&id).unwrap();
        let now = self.now;
        let task = self.tasks.get_mut(&run.task).unwrap();
        let ran = run.elapsed(now);
        task.ran = task.ran + ran;
        task.swap_cost = run.leaving_since.map_or(Span::ZERO, |since| now.since(since));
        let signalled = run.ended.values().any(|exit| exit.signalled);
        let failed = run.failed() || run.over_limit;
        if !run.lost() || failed || ran >= self.config.back_off_max {
            task.losses = 0;
        }
        let retries = task.spec.retries.filter(|retries| task.retried < retries.limit);
        if run.done() {
            self.finish(run.task, "succeeded");
        } else if failed {
            match retries {
                Some(retries) if !run.over_limit && !task.cancelled => {
                    let longest = self.config.back_off_max.max(retries.back_off);
                    let wait = doubled(retries.back_off, task.retried).min(longest);
                    task.back_off = (!task.held).then_some(now + wait);
                    task.retried += 1;
                }
                _ => self.finish(run.task, "failed"),
            }
        } else if !run.lost() && !signalled {
            self.finish(run.task, "succeeded");
        } else if task.cancelled {
            self.finish(run.task, "stopped");
        } else if !task.held {
            let before = match run.first_loss {
                None => None,
                // The node has to wait, unless the task met too many that refused it.
                Some(Loss::RefusedByNode) if task.refusals + 1 < 3 => None,
                Some(Loss::RefusedByTask | Loss::RefusedByNode) => Some(task.refusals),
                // The first loss is forgiven.
                Some(Loss::Gone) => task.losses.checked_sub(1),
            };
            match run.first_loss {
                None => {}
                Some(Loss::Gone) => task.losses += 1,
                Some(_) => task.refusals += 1,
            }
            let wait = |before| doubled(self.config.back_off, before).min(self.config.back_off_max);
            task.back_off = before.map(|before| now + wait(before));
        }
    }

    /// A task is over, and so are those that had to follow its success if it had none.
    fn finish(&mut self, task: TaskId, outcome: &'static str) {
        self.tasks.remove(&task);
        self.finished.insert(task, outcome);
        let succeeded = outcome == "succeeded";
        if !succeeded {
            self.failed.insert(task);
        }
        let followers: Vec<TaskId> =
            self.tasks.iter().filter(|(_, other)| other.awaits.contains_key(&task)).map(|(id, _)| *id).collect();
        for follower in followers {
            let Some(other) = self.tasks.get_mut(&follower) else { continue };
            if other.awaits.remove(&task) == Some(DependsOn::Success) && !succeeded {
                self.finish(follower, "failed");
            }
        }
    }

    // --- looking

    pub(crate) fn run_of(&self, task: TaskId) -> Option<(RunId, &Run)> {
        self.runs.iter().find(|(_, run)| run.task == task).map(|(id, run)| (*id, run))
    }

    pub(crate) fn spec(&self, task: TaskId) -> &TaskSpec {
        &self.tasks[&task].spec
    }

    /// Everybody on a node, or promised a place there.
    pub(crate) fn on_node<'a>(&'a self, node: &NodeName) -> Vec<(Holder, &'a WorkerPlacement)> {
        let running = self.runs.iter().flat_map(|(id, run)| {
            run.alive().map(move |rank| (Holder::Run(*id), &run.placement.workers[rank as usize]))
        });
        let promised = self.promises.iter().flat_map(|(task, promise)| {
            promise.placement.workers.iter().map(move |place| (Holder::Promise(*task), place))
        });
        running.chain(promised).filter(|(_, place)| place.node == *node).collect()
    }

    pub(crate) fn leaves(&self, holder: Holder) -> bool {
        matches!(holder, Holder::Run(run) if !self.runs[&run].stays())
    }

    /// When a leaving run is forced out.
    pub(crate) fn deadline(&self, run: &Run) -> Option<Time> {
        run.leaving_since.map(|since| since + self.spec(run.task).grace.total())
    }

    pub(crate) fn allowance(&self, user: &UserName, group: &GroupName, level: Priority) -> Allowance {
        let matching = self.rights.iter().filter(|(key, _)| {
            key.user.as_ref().is_none_or(|name| name == user)
                && key.group.as_ref().is_none_or(|name| name == group)
                && key.priority.is_none_or(|only| only == level)
        });
        let best = matching.max_by_key(|(key, _)| (key.user.is_some(), key.group.is_some(), key.priority.is_some()));
        best.map_or(Allowance::NOTHING, |(_, allowance)| *allowance)
    }

    pub(crate) fn allowance_of(&self, bucket: &Bucket) -> Allowance {
        self.allowance(&bucket.0, &bucket.1, bucket.2)
    }

    pub(crate) fn bucket(&self, task: TaskId, level: Priority) -> Bucket {
        let spec = self.spec(task);
        (spec.user.clone(), spec.group.clone(), level)
    }

    pub(crate) fn charge(&self, holder: Holder) -> Charge {
        match holder {
            Holder::Run(run) => {
                let run = &self.runs[&run];
                charge_of(self.spec(run.task), run.alive().count() as u32)
            }
            Holder::Promise(task) => Charge::of(self.spec(task)),
        }
    }

    /// Everybody within a right, by bucket.
    pub(crate) fn entitled(&self) -> impl Iterator<Item = (Holder, Bucket)> + '_ {
        let running = self.runs.iter().filter(|(_, run)| run.entitled);
        let running = running.map(|(id, run)| (Holder::Run(*id), self.bucket(run.task, run.level)));
        let promised = self.promises.iter().filter(|(_, promise)| promise.entitled);
        let promised = promised.map(|(task, promise)| (Holder::Promise(*task), self.bucket(*task, promise.level)));
        running.chain(promised)
    }

    /// What is used of a bucket by those for whom `counts` is true.
    pub(crate) fn used(&self, bucket: &Bucket, counts: impl Fn(Holder) -> bool) -> Charge {
        self.entitled()
            .filter(|(holder, theirs)| theirs == bucket && counts(*holder))
            .fold(Charge::default(), |sum, (holder, _)| plus(sum, self.charge(holder)))
    }

    pub(crate) fn buckets(&self) -> BTreeSet<Bucket> {
        self.entitled().map(|(_, bucket)| bucket).collect()
    }

    /// Levels that a task can be charged to.
    pub(crate) fn levels(spec: &TaskSpec) -> Vec<Priority> {
        match spec.priority {
            Priority::Auto => Priority::LEVELS.to_vec(),
            level => vec![level],
        }
    }
}

/// `span`, doubled so many times.
fn doubled(span: Span, times: u32) -> Span {
    Span::from_ms(span.as_ms() << times.min(20))
}

/// When a run will have run for as long as its task may.
fn limit_of(task: &Task, run: &Run) -> Option<Time> {
    let limit = task.spec.limit.filter(|_| run.runs())?;
    Some(run.started_at? + (limit - task.ran))
}

/// When a run's lease is over.
fn lease_of(task: &Task, run: &Run) -> Option<Time> {
    match task.spec.kind {
        TaskKind::Interactive { lease, .. } if run.runs() => Some(run.leased_at? + lease),
        _ => None,
    }
}

/// When a run's devices will have been idle for too long.
pub(crate) fn idle_of(task: &Task, run: &Run) -> Option<Time> {
    match task.spec.kind {
        TaskKind::Interactive { idle_after: Some(longest), .. } if run.stays() => Some(run.idle_since? + longest),
        _ => None,
    }
}
