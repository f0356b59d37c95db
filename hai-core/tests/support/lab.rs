//! One engine, a simulated clock, and a simulated cluster that does at once, or a little later, what it is told.
//!
//! A round is told in lines such as `start t1`, `suspend t1 for t3`, `promise t3`, sorted, so that a scenario reads like
//! a table. Every round is followed by a second one at the same time, which must be silent (I-7).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hai_core::engine::{Engine, EngineConfig, FactError, Policy};
use hai_core::model::*;

use super::build::{NodeBuilder, TaskBuilder, group, secs, user};

/// More rounds than any scenario needs: a bound against engines that never come to rest.
const ROUNDS_MAX: usize = 10_000;

/// An engine in a simulated world.
pub(crate) struct Lab {
    pub(crate) engine: Engine,
    config: EngineConfig,
    pub(crate) now: Time,
    /// How long workers take to leave once they are told.
    pub(crate) leave_after: Span,
    /// How long workers take to start; `None` if the scenario reports them itself.
    pub(crate) start_after: Option<Span>,
    /// All that was ever decided, line by line, with the second it was decided in.
    pub(crate) history: Vec<(u64, String)>,
    pub(super) runs: BTreeMap<RunId, SimRun>,
    agenda: BTreeMap<(Time, u64), Fact>,
    pub(super) ids: BTreeMap<String, TaskId>,
    pub(super) names: BTreeMap<TaskId, String>,
    nodes: BTreeMap<String, NodeSpec>,
    pub(super) finished: BTreeMap<TaskId, TaskView>,
    pub(crate) ended: BTreeMap<RunId, RunView>,
}

/// What the cluster knows of a run.
pub(super) struct SimRun {
    pub(super) task: TaskId,
    pub(super) placement: Placement,
    pub(super) whole_life_state: i64,
    pub(super) level: Priority,
    pub(super) alive: BTreeSet<u32>,
    told_to_leave: bool,
}

impl Lab {
    pub(crate) fn new(config: EngineConfig) -> Self {
        Lab {
            engine: Engine::new(config.clone()),
            config,
            now: Time::from_ms(0),
            leave_after: secs(2),
            start_after: Some(Span::ZERO),
            history: Vec::new(),
            runs: BTreeMap::new(),
            agenda: BTreeMap::new(),
            ids: BTreeMap::new(),
            names: BTreeMap::new(),
            nodes: BTreeMap::new(),
            finished: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    /// A laboratory under the upstream rules with `count` nodes `n0`, `n1`, …
    pub(crate) fn fifo(count: u32) -> Self {
        Lab::new(EngineConfig { policy: Policy::HaiFifo, ..EngineConfig::default() }).with_nodes(count)
    }

    /// A laboratory under the default rules, configured by `change`, in which everybody may hold everything.
    pub(crate) fn hai(change: impl FnOnce(&mut EngineConfig)) -> Self {
        let mut lab = Lab::hai_without_rights(change);
        lab.anything_goes();
        lab
    }

    pub(crate) fn hai_without_rights(change: impl FnOnce(&mut EngineConfig)) -> Self {
        let mut config = EngineConfig::default();
        change(&mut config);
        Lab::new(config)
    }

    /// As many devices on one node, and nothing else.
    pub(crate) fn with_devices(mut self, devices: u32) -> Self {
        self.node(super::node("n0").devices(devices));
        self
    }

    pub(crate) fn with_nodes(mut self, count: u32) -> Self {
        for index in 0..count {
            self.node(super::node(&format!("n{index}")));
        }
        self
    }

    // --- facts

    pub(crate) fn tell(&mut self, fact: Fact) -> bool {
        match self.engine.observe(self.now, &fact) {
            Ok(news) => news,
            Err(error) => panic!("{fact:?} was refused: {error}"),
        }
    }

    pub(crate) fn try_tell(&mut self, fact: Fact) -> Result<bool, FactError> {
        self.engine.observe(self.now, &fact)
    }

    /// Adds a node, or replaces what is known of it.
    pub(crate) fn node(&mut self, node: NodeBuilder) {
        self.set_node(node.spec());
    }

    pub(crate) fn change_node(&mut self, name: &str, change: impl FnOnce(&mut NodeSpec)) {
        let mut spec = self.nodes[name].clone();
        change(&mut spec);
        self.set_node(spec);
    }

    fn set_node(&mut self, spec: NodeSpec) {
        self.nodes.insert(spec.name.to_string(), spec.clone());
        self.tell(Fact::NodeSet { node: spec });
    }

    pub(crate) fn not_ready(&mut self, name: &str) {
        self.change_node(name, |node| node.ready = false);
    }

    pub(crate) fn ready(&mut self, name: &str) {
        self.change_node(name, |node| node.ready = true);
    }

    pub(crate) fn cordon(&mut self, name: &str) {
        self.change_node(name, |node| node.cordoned = true);
    }

    pub(crate) fn uncordon(&mut self, name: &str) {
        self.change_node(name, |node| node.cordoned = false);
    }

    pub(crate) fn device(&mut self, node: &str, index: usize, health: DeviceHealth) {
        let device = self.nodes[node].devices[index].id.clone();
        self.tell(Fact::DeviceChanged { node: NodeName::new(node).unwrap(), device, health });
    }

    /// `name` may hold so many whole nodes of group `g` at `priority`.
    pub(crate) fn right(&mut self, name: &str, priority: Priority, nodes: u32) {
        self.allow(name, priority, Allowance::nodes(nodes));
    }

    pub(crate) fn allow(&mut self, name: &str, priority: Priority, allowance: Allowance) {
        let (user, group) = (Some(user(name)), Some(group("g")));
        let key = RightKey { user, group, priority: Some(priority), ..RightKey::default() };
        self.tell(Fact::RightSet { right: RightRow::new(key, allowance) });
    }

    /// `name` may hold so many devices of group `g` at `priority`.
    pub(crate) fn right_devices(&mut self, name: &str, priority: Priority, devices: u32) {
        self.allow(name, priority, Allowance::devices(devices));
    }

    /// Everybody may hold everything.
    pub(crate) fn anything_goes(&mut self) {
        self.tell(Fact::RightSet { right: RightRow::new(RightKey::default(), Allowance::UNLIMITED) });
    }

    pub(crate) fn submit(&mut self, task: TaskBuilder) -> TaskId {
        let spec = task.spec();
        let id = self.engine.next_task_id();
        self.ids.insert(spec.name.clone(), id);
        self.names.insert(id, spec.name.clone());
        self.tell(Fact::Submitted { task: id, spec: Arc::new(spec) });
        id
    }

    pub(crate) fn cancel(&mut self, name: &str) {
        self.tell(Fact::Cancelled { task: self.id(name) });
    }

    pub(crate) fn hold(&mut self, name: &str) {
        self.tell(Fact::Held { task: self.id(name) });
    }

    pub(crate) fn release(&mut self, name: &str) {
        self.tell(Fact::Released { task: self.id(name) });
    }

    pub(crate) fn reprioritise(&mut self, name: &str, priority: Priority) {
        self.tell(Fact::Reprioritised { task: self.id(name), priority, custom_rank: None });
    }

    pub(crate) fn checkpoint(&mut self, name: &str, whole_life_state: i64) {
        self.tell(Fact::Checkpointed { run: self.run_of(name), whole_life_state });
    }

    /// All workers of the task's run that are left end by themselves with success.
    pub(crate) fn finish(&mut self, name: &str) {
        let run = self.run_of(name);
        for rank in self.runs[&run].alive.clone() {
            self.end_worker(name, rank, WorkerExit::exited(0));
        }
    }

    pub(crate) fn end_worker(&mut self, name: &str, rank: u32, exit: WorkerExit) {
        let run = self.run_of(name);
        self.end(run, rank, exit);
    }

    fn end(&mut self, run: RunId, rank: u32, exit: WorkerExit) {
        assert!(self.runs.get_mut(&run).unwrap().alive.remove(&rank), "worker {rank} of run {run} ended twice");
        self.tell(Fact::WorkerEnded { run, rank, exit });
        self.collect();
    }

    /// The node would not take a worker.
    pub(crate) fn refuse(&mut self, name: &str, rank: u32, cause: RefusalCause, reason: &str) {
        self.end_worker(name, rank, WorkerExit::of(WorkerFate::Refused { reason: reason.to_owned(), cause }));
    }

    pub(crate) fn renew(&mut self, name: &str) {
        self.tell(Fact::Renewed { task: self.id(name) });
    }

    pub(crate) fn idle(&mut self, name: &str, idle: bool) {
        self.tell(Fact::Idle { run: self.run_of(name), idle });
    }

    pub(crate) fn team(&mut self, team: Team) {
        self.tell(Fact::TeamSet { team });
    }

    pub(crate) fn set_right(&mut self, right: RightRow) {
        self.tell(Fact::RightSet { right });
    }

    /// The process that holds the engine ends, and another one goes on from what was stored. The cluster notices nothing.
    pub(crate) fn restart(&mut self) {
        let stored = serde_json::to_string(&self.engine.snapshot()).expect("a state can be written");
        let state = serde_json::from_str(&stored).expect("what was written can be read");
        self.engine = Engine::restore(self.config.clone(), state);
    }

    // --- rounds

    /// One round; what the cluster does at once has happened when it returns.
    pub(crate) fn round(&mut self) -> Vec<String> {
        let round = self.engine.schedule(self.now);
        assert_eq!(round.at, self.now);
        let mut lines: Vec<String> = round.decisions.iter().map(|decision| self.carry_out(decision)).collect();
        let again = self.engine.schedule(self.now);
        assert!(again.is_empty(), "a second round at the same time says {again:?} after {round:?}");
        for (task, verdict) in &round.verdicts {
            assert_eq!(self.engine.verdict(*task).as_ref(), Some(verdict), "the round and the engine differ on {task}");
        }
        self.collect();
        lines.sort();
        self.history.extend(lines.iter().map(|line| (self.now.since(Time::ZERO).as_ms() / 1000, line.clone())));
        self.deliver();
        lines
    }

    /// A round, then lets `span` pass with a round whenever something happens or the engine asked for one; tells all.
    pub(crate) fn pass(&mut self, span: Span) -> Vec<String> {
        let end = self.now + span;
        let mut lines = self.round();
        for _ in 0..ROUNDS_MAX {
            let next = self.next_event().filter(|time| *time <= end);
            self.now = next.unwrap_or(end);
            self.deliver();
            lines.extend(self.round());
            if next.is_none() {
                return lines;
            }
        }
        panic!("the engine does not come to rest: {:?}", &lines[lines.len() - 10..]);
    }

    /// Rounds until the cluster has nothing more to report; tells all of them.
    pub(crate) fn settle(&mut self) -> Vec<String> {
        let mut lines = self.round();
        while let Some((&(time, _), _)) = self.agenda.first_key_value() {
            lines.extend(self.pass(time.since(self.now)));
        }
        lines
    }

    fn next_event(&self) -> Option<Time> {
        let deadline = self.engine.next_deadline();
        assert!(deadline.is_none_or(|time| time > self.now), "at {} the next deadline is {deadline:?}", self.now);
        let report = self.agenda.first_key_value().map(|(&(time, _), _)| time);
        [deadline, report].into_iter().flatten().min()
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.agenda.first_entry()
            && entry.key().0 <= self.now
        {
            match entry.remove() {
                Fact::WorkerEnded { run, rank, exit } if self.runs[&run].alive.contains(&rank) => {
                    self.end(run, rank, exit);
                }
                Fact::WorkerEnded { .. } => {}
                fact => {
                    self.tell(fact);
                }
            }
        }
    }

    fn later(&mut self, span: Span, fact: Fact) {
        let order = self.agenda.keys().map(|(_, order)| order + 1).max().unwrap_or(0);
        self.agenda.insert((self.now + span, order), fact);
    }

    fn carry_out(&mut self, decision: &Decision) -> String {
        match decision {
            Decision::Start { task, run, placement, level, entitled, whole_life_state } => {
                let alive: BTreeSet<u32> = (0..placement.workers.len() as u32).collect();
                if let Some(span) = self.start_after {
                    for rank in alive.clone() {
                        self.later(span, Fact::WorkerStarted { run: *run, rank });
                    }
                }
                let (placement, whole_life_state) = (placement.clone(), *whole_life_state);
                let sim =
                    SimRun { task: *task, placement, whole_life_state, level: *level, alive, told_to_leave: false };
                assert!(self.runs.insert(*run, sim).is_none(), "run {run} starts twice");
                format!("start {}{}", self.names[task], if *entitled { "" } else { " borrowed" })
            }
            Decision::Suspend { run, task, reason } => {
                self.leave(*run);
                let name = &self.names[task];
                match reason {
                    YieldReason::For { task } => format!("suspend {name} for {}", self.names[task]),
                    YieldReason::NodeLost { node } => format!("suspend {name}: {node} lost"),
                    YieldReason::NodeDrained { node } => format!("suspend {name}: {node} drained"),
                    YieldReason::DeviceLost { node, device } => format!("suspend {name}: {device} of {node} lost"),
                    YieldReason::Idle => format!("suspend {name}: idle"),
                    YieldReason::WorkerLost { rank } => format!("suspend {name}: worker {rank} lost"),
                    YieldReason::RightLost => format!("suspend {name}: right lost"),
                    YieldReason::Held => format!("suspend {name}: held"),
                }
            }
            Decision::Stop { run, task } => {
                self.leave(*run);
                format!("stop {}", self.names[task])
            }
            Decision::Promise { task, entitled, .. } => {
                format!("promise {}{}", self.names[task], if *entitled { "" } else { " borrowed" })
            }
            Decision::Withdraw { task } => format!("withdraw {}", self.names[task]),
            Decision::Recharge { run, level, entitled } => {
                let sim = self.runs.get_mut(run).expect("only what runs can be charged anew");
                sim.level = *level;
                let (name, rest) = (&self.names[&sim.task], if *entitled { "" } else { " borrowed" });
                format!("recharge {name} {level}{rest}")
            }
            Decision::Reserve { task, .. } => format!("reserve {}", self.names[task]),
            Decision::Unreserve { task } => format!("unreserve {}", self.names[task]),
            Decision::Notice { run, until } => {
                let name = &self.names[&self.runs[run].task];
                format!("notice {name}{}", if until.is_some() { "" } else { " over" })
            }
            other => panic!("an unknown decision: {other:?}"),
        }
    }

    fn leave(&mut self, run: RunId) {
        let sim = self.runs.get_mut(&run).expect("only what was started can leave");
        if std::mem::replace(&mut sim.told_to_leave, true) {
            return;
        }
        for rank in sim.alive.clone() {
            let exit = WorkerExit::exited(0).after_signal();
            self.later(self.leave_after, Fact::WorkerEnded { run, rank, exit });
        }
    }

    fn collect(&mut self) {
        let changes = self.engine.drain_changes();
        self.finished.extend(
            changes.tasks.into_iter().filter(|view| view.state == TaskState::Finished).map(|view| (view.id, view)),
        );
        self.ended
            .extend(changes.runs.into_iter().filter(|view| view.phase == RunPhase::Ended).map(|view| (view.id, view)));
    }
}
