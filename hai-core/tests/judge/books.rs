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
    pub(crate) back_off: Option<Time>,
    pub(crate) runs: u32,
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
    pub(crate) first_loss_refused: Option<bool>,
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
        self.first_loss_refused.is_some()
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
            finished: BTreeMap::new(),
        }
    }

    // --- facts

    /// Whether the fact can be true.
    pub(crate) fn believes(&self, fact: &Fact) -> bool {
        match fact {
            Fact::Submitted { task, spec } => *task > self.last_task && spec.check().is_ok(),
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
                let new = Task {
                    spec,
                    held: false,
                    cancelled: false,
                    whole_life_state: 0,
                    ran: Span::ZERO,
                    refusals: 0,
                    losses: 0,
                    back_off: None,
                    runs: 0,
                };
                self.tasks.insert(*task, new);
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
            Fact::Released { task } => self.tasks.get_mut(task).unwrap().held = false,
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

    fn worker_started(&mut self, id: RunId, rank: u32) {
        let run = self.runs.get_mut(&id).unwrap();
        if run.ended.contains_key(&rank) || !run.started.insert(rank) {
            return;
        }
        if run.started.len() == run.placement.workers.len() {
            run.started_at = Some(self.now);
            self.tasks.get_mut(&run.task).unwrap().refusals = 0;
        }
    }

    fn worker_ended(&mut self, id: RunId, rank: u32, exit: &WorkerExit) {
        let run = self.runs.get_mut(&id).unwrap();
        if run.ended.contains_key(&rank) {
            return;
        }
        match exit.fate {
            WorkerFate::Refused { .. } => {
                run.first_loss_refused.get_or_insert(true);
            }
            WorkerFate::Lost { .. } => {
                run.first_loss_refused.get_or_insert(false);
            }
            _ => {}
        }
        run.ended.insert(rank, exit.clone());
        if run.alive().next().is_none() {
            self.run_ended(id);
        }
    }

    fn run_ended(&mut self, id: RunId) {
        let run = self.runs.remove(&id).unwrap();
        let task = self.tasks.get_mut(&run.task).unwrap();
        task.ran = task.ran + run.started_at.map_or(Span::ZERO, |start| self.now.since(start));
        let signalled = run.ended.values().any(|exit| exit.signalled);
        let ran = run.started_at.map_or(Span::ZERO, |start| self.now.since(start));
        if !run.lost() || ran >= self.config.back_off_max {
            task.losses = 0;
        }
        if run.done() {
            self.finish(run.task, "succeeded");
        } else if run.failed() {
            self.finish(run.task, "failed");
        } else if !run.lost() && !signalled {
            self.finish(run.task, "succeeded");
        } else if task.cancelled {
            self.finish(run.task, "stopped");
        } else if run.first_loss_refused == Some(true) && !task.held {
            let wait = self.config.back_off.as_ms() << task.refusals.min(20);
            task.back_off = Some(self.now + Span::from_ms(wait.min(self.config.back_off_max.as_ms())));
            task.refusals += 1;
        } else if run.first_loss_refused == Some(false) && !task.held {
            // The first loss is forgiven.
            if let Some(before) = task.losses.checked_sub(1) {
                let wait = self.config.back_off.as_ms() << before.min(20);
                task.back_off = Some(self.now + Span::from_ms(wait.min(self.config.back_off_max.as_ms())));
            }
            task.losses += 1;
        }
    }

    fn finish(&mut self, task: TaskId, outcome: &'static str) {
        self.tasks.remove(&task);
        self.finished.insert(task, outcome);
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
    fn entitled(&self) -> impl Iterator<Item = (Holder, Bucket)> + '_ {
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
