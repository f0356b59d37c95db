//! What the judge knows: nodes, rights, tasks and runs, from facts and decisions alone.

use std::collections::{BTreeMap, BTreeSet};

use hai_core::engine::EngineConfig;
use hai_core::model::*;

use super::kept::Kept;
use super::rights::Bill;

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
    /// Since when it waits, timers left aside.
    pub(crate) waits_since: Time,
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
    /// What each worker uses of rights, by the cards that it got.
    pub(crate) bills: Vec<Bill>,
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
    pub(crate) bills: Vec<Bill>,
    pub(crate) level: Priority,
    pub(crate) entitled: bool,
}

/// Who holds, or is promised, a part of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    Run(RunId),
    Promise(TaskId),
}

/// All that is known.
#[derive(Clone, Debug)]
pub(crate) struct Books {
    pub(crate) config: EngineConfig,
    pub(crate) now: Time,
    pub(crate) nodes: BTreeMap<NodeName, NodeSpec>,
    /// By key; from when on they count no more.
    pub(crate) rights: BTreeMap<RightKey, (Allowance, Option<Time>)>,
    pub(crate) teams: BTreeMap<TeamName, Team>,
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    pub(crate) runs: BTreeMap<RunId, Run>,
    pub(crate) promises: BTreeMap<TaskId, Promise>,
    pub(crate) last_task: TaskId,
    pub(crate) last_run: RunId,
    /// Tasks that ended without success.
    pub(crate) failed: BTreeSet<TaskId>,
    /// Nodes that refused starts through no fault of the tasks: how often in a row, and until when they get no other.
    pub(crate) cooling: BTreeMap<NodeName, (u32, Time)>,
    /// Nodes that are kept for tasks.
    pub(crate) kept: BTreeMap<TaskId, Kept>,
    /// The same, with what was kept when this round began.
    pub(crate) kept_lately: BTreeMap<TaskId, Kept>,
    /// Since when nothing more comes from outside.
    pub(crate) resting_since: Option<Time>,
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
    pub(crate) fn is_complete(&self) -> bool {
        (0..self.placement.workers.len() as u32)
            .all(|rank| self.started.contains(&rank) || self.ended.contains_key(&rank))
    }

    pub(crate) fn done(&self) -> bool {
        self.ended.values().any(|exit| exit.declared_done)
    }
}

impl Books {
    pub(crate) fn new(config: EngineConfig) -> Self {
        Books {
            config,
            now: Time::ZERO,
            nodes: BTreeMap::new(),
            rights: BTreeMap::new(),
            teams: BTreeMap::new(),
            tasks: BTreeMap::new(),
            runs: BTreeMap::new(),
            promises: BTreeMap::new(),
            last_task: TaskId(0),
            last_run: RunId(0),
            failed: BTreeSet::new(),
            cooling: BTreeMap::new(),
            kept: BTreeMap::new(),
            kept_lately: BTreeMap::new(),
            resting_since: None,
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
            Fact::RightSet { right: RightRow { key, .. } } => {
                key.priority != Some(Priority::Auto) && (key.user.is_none() || key.team.is_none())
            }
            Fact::RightRemoved { key } => self.rights.contains_key(key),
            Fact::TeamSet { team } => self.can_be_team(team),
            Fact::TeamRemoved { team } => self.teams.contains_key(team),
            Fact::NodeSet { node } => node.check().is_ok(),
            Fact::NodeRemoved { node } | Fact::NodeDuty { node, .. } => self.nodes.contains_key(node),
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
                    waits_since: self.now,
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
                    self.kept.remove(task);
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
                let now = self.now;
                let released = self.tasks.get_mut(task).unwrap();
                (released.held, released.waits_since) = (false, now);
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
                    self.kept.remove(task);
                }
                let spec = &mut self.tasks.get_mut(task).unwrap().spec;
                (spec.priority, spec.custom_rank) = (*priority, *custom_rank);
            }
            Fact::RightSet { right } => {
                self.rights.insert(right.key.clone(), (right.allowance, right.expires));
            }
            Fact::RightRemoved { key } => {
                self.rights.remove(key);
            }
            Fact::TeamSet { team } => {
                self.teams.insert(team.name.clone(), team.clone());
            }
            Fact::TeamRemoved { team } => {
                self.teams.remove(team);
            }
            Fact::NodeSet { node } => {
                self.nodes.insert(node.name.clone(), node.clone());
            }
            Fact::NodeDuty { node, duty } => {
                if let Some(known) = self.nodes.get_mut(node) {
                    *known = known.clone().with_duty(*duty);
                }
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
        self.forget_kept();
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

    /// Levels that a task can be charged to.
    pub(crate) fn levels(spec: &TaskSpec) -> Vec<Priority> {
        match spec.priority {
            Priority::Auto => Priority::LEVELS.to_vec(),
            level => vec![level],
        }
    }
}
