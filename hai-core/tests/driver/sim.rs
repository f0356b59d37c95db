//! A laboratory with a mixed load, in which the driver dies, and store and cluster fail, at random points.

use std::collections::BTreeSet;

use hai_core::backend::*;
use hai_core::engine::{Engine, EngineConfig, Policies, Policy};
use hai_core::model::*;
use serde_json::Value;

use super::world::{Fault, Result, Rng, World};
use super::wrap::{SimCluster, SimStore};
use crate::support::{NodeBuilder, group, node, secs, task, user};

pub(crate) type SimDriver = Driver<SimStore, SimCluster>;

/// More turns than any load needs once the cluster behaves.
const TURNS_MAX: usize = 3000;

/// What happened in a simulation, to see that it was not a tame one.
#[derive(Debug, Default)]
pub(crate) struct Count {
    pub(crate) crashes: u64,
    pub(crate) failures: u64,
    pub(crate) suspended: u64,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) stopped: u64,
    pub(crate) fenced: u64,
    pub(crate) runs: u64,
}

pub(crate) struct Sim {
    pub(crate) config: EngineConfig,
    pub(crate) world: World,
    pub(crate) store: SimStore,
    pub(crate) cluster: SimCluster,
    pub(crate) now: Time,
    pub(crate) rng: Rng,
    pub(crate) driver: Option<SimDriver>,
    pub(crate) count: Count,
    nodes: Vec<NodeSpec>,
    /// Tasks whose submission was answered.
    answered: BTreeSet<TaskId>,
    /// Tasks that somebody tried to cancel, whether it was answered or not.
    cancelled: BTreeSet<TaskId>,
    names: u64,
}

pub(crate) fn anything_goes() -> Command {
    let right = RightRow::new(RightKey::default(), Allowance::UNLIMITED);
    Command::Tell(Fact::RightSet { right })
}

pub(crate) fn submit(spec: TaskSpec) -> Command {
    let program = Program { command: vec!["job".into(), spec.name.clone()], ..Program::default() };
    Command::Submit(Box::new(Submitted { spec, program }))
}

/// The engine's state without the last verdict told: rounds in the log do not hold verdicts.
pub(crate) fn comparable(engine: &Engine) -> Value {
    let mut state = serde_json::to_value(engine.snapshot()).unwrap();
    for task in state["tasks"].as_array_mut().unwrap() {
        task[1].as_object_mut().unwrap().remove("told");
    }
    state
}

impl Sim {
    pub(crate) fn new(config: EngineConfig, nodes: impl IntoIterator<Item = NodeBuilder>, seed: u64) -> Self {
        let nodes: Vec<_> = nodes.into_iter().map(NodeBuilder::spec).collect();
        let world = World::default();
        let store = SimStore { world: world.clone(), ..SimStore::default() };
        let cluster = SimCluster::new(world.clone(), nodes.clone());
        let mut sim = Sim {
            config,
            world,
            store,
            cluster,
            now: Time::from_ms(1_000_000_000),
            rng: Rng(seed),
            driver: None,
            count: Count::default(),
            nodes,
            answered: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            names: 0,
        };
        sim.reopen(false);
        sim
    }

    /// One that is calm until something is told otherwise: this many devices on one node, all allowed to everybody.
    pub(crate) fn calm(devices: u32) -> Self {
        let mut sim = Sim::new(EngineConfig::default(), [node("n0").devices(devices)], 0);
        sim.step(vec![anything_goes()]).unwrap();
        sim
    }

    pub(crate) fn driver(&mut self) -> &mut SimDriver {
        self.driver.as_mut().expect("opened")
    }

    pub(crate) fn open(&mut self) -> Option<std::result::Result<SimDriver, DriverError>> {
        let opened = Driver::open(self.config.clone(), self.store.clone(), self.cluster.clone(), self.now);
        self.world.run(opened)
    }

    /// One step. `None` if the driver crashed or failed in it, and had to be opened again.
    pub(crate) fn step(&mut self, commands: Vec<Command>) -> Option<Vec<Reply>> {
        let (world, now) = (self.world.clone(), self.now);
        let submits = |command: &Command| match command {
            Command::By(_, command) => matches!(**command, Command::Submit(_)),
            command => matches!(command, Command::Submit(_)),
        };
        let sent: Vec<_> = commands.iter().map(submits).collect();
        let cancels: Vec<_> = commands
            .iter()
            .map(|command| match command {
                Command::Tell(Fact::Cancelled { task }) => Some(*task),
                _ => None,
            })
            .collect();
        self.cancelled.extend(cancels.iter().flatten());
        let Some(Ok(replies)) = world.run(self.driver().step(now, commands)) else {
            self.reopen(true);
            return None;
        };
        assert_eq!(replies.len(), sent.len());
        for ((reply, sent), cancel) in replies.iter().zip(sent).zip(cancels) {
            match reply {
                Ok(task) => {
                    assert_eq!(task.is_some(), sent);
                    self.answered.extend(task);
                    self.world.state().cancelled.extend(cancel);
                }
                Err(error) => assert!(!sent, "a submission was refused: {error}"),
            }
        }
        if self.rng.one_in(8) {
            self.check_projections();
        }
        Some(replies)
    }

    /// Takes up to `most` reports of the cluster as commands.
    pub(crate) fn reports(&mut self, most: u64) -> Vec<Command> {
        let world = self.world.clone();
        (0..most).map_while(|_| world.run(self.driver().next())).collect()
    }

    /// Steps until the cluster has nothing more to report.
    pub(crate) fn settle(&mut self) {
        loop {
            let commands = self.reports(3);
            if commands.is_empty() {
                return;
            }
            self.step(commands).unwrap();
        }
    }

    /// Drops the driver, wherever it was, and opens the next one; it may die as well while it opens.
    pub(crate) fn reopen(&mut self, wild: bool) {
        loop {
            self.driver = None;
            let crashed = self.world.crashed();
            self.count.crashes += u64::from(crashed);
            self.count.failures += u64::from(wild && !crashed);
            self.world.behave();
            if self.rng.one_in(2) {
                self.cluster.lose_reports();
            }
            if wild && self.rng.one_in(3) {
                self.world.crash_in(self.rng.below(10));
            }
            if let Some(Ok(driver)) = self.open() {
                self.driver = Some(driver);
                break;
            }
        }
        self.world.behave();
        self.world.state().twice = wild && self.rng.one_in(2);
        if self.rng.one_in(4) {
            self.check_log();
        }
    }

    // --- the load

    fn spec(&mut self) -> TaskSpec {
        self.names += 1;
        let name = format!("t{}", self.names);
        let who = self.rng.pick(&["a", "b", "c"]).unwrap();
        let level = self.rng.pick(&[Priority::Low, Priority::Normal, Priority::AboveNormal, Priority::High]).unwrap();
        let task = task(&name).user(who).prio(level).workers(1 + self.rng.below(2) as u32);
        let task = if self.rng.one_in(4) { task.nodes(1) } else { task.devices(self.rng.below(4) as u32) };
        task.spec()
    }

    fn command(&mut self) -> Command {
        let known: Vec<_> = self.driver().engine().tasks().map(|task| task.id).collect();
        let Some(task) = self.rng.pick(&known) else { return submit(self.spec()) };
        let fact = match self.rng.below(12) {
            0 => Fact::Cancelled { task },
            1 => Fact::Held { task },
            2 | 3 => Fact::Released { task },
            4 => {
                let priority = self.rng.pick(&[Priority::Low, Priority::Normal, Priority::VeryHigh]).unwrap();
                Fact::Reprioritised { task, priority, custom_rank: None }
            }
            5 => {
                let key = RightKey { user: Some(user("a")), group: Some(group("g")), ..RightKey::default() };
                let limit = Limit::at_most(self.rng.below(5) as u32);
                Fact::RightSet { right: RightRow::new(key, Allowance { nodes: limit, devices: limit }) }
            }
            6 => Fact::Cancelled { task: TaskId(1_000_000) },
            _ => return submit(self.spec()),
        };
        Command::Tell(fact)
    }

    fn alive(&self) -> Vec<(RunId, usize, bool)> {
        let state = self.world.state();
        let ranks = |(&id, run): (&RunId, &super::world::TrueRun)| {
            let told = run.told_to_leave;
            run.alive().map(|rank| (id, rank, told)).collect::<Vec<_>>()
        };
        state.runs.iter().flat_map(ranks).collect()
    }

    fn exit(&mut self, told: bool) -> WorkerExit {
        let lost = WorkerExit::of(WorkerFate::Lost { reason: "its node is gone".into() });
        match (told, self.rng.below(12)) {
            (true, 0..8) => WorkerExit::of(WorkerFate::Killed { signal: 15 }).after_signal(),
            (true, 8..10) => WorkerExit::exited(0).after_signal(),
            (true, 10) => WorkerExit { declared_done: true, ..WorkerExit::exited(0).after_signal() },
            (false, 0) => WorkerExit::exited(1),
            (_, 11) => lost,
            _ => WorkerExit::exited(0),
        }
    }

    /// Something happens on the cluster.
    fn happen(&mut self) {
        let alive = self.alive();
        match (self.rng.below(8), self.rng.pick(&alive)) {
            (0, _) => {
                let index = self.rng.below(self.nodes.len() as u64) as usize;
                self.nodes[index].ready = !self.nodes[index].ready || self.rng.one_in(2);
                self.cluster.inner.set_node(self.nodes[index].clone());
            }
            (1 | 2, Some((run, ..))) => {
                let state = 1 + self.rng.below(1000) as i64;
                self.cluster.checkpoint(run, state);
            }
            (3..6, Some((run, rank, told))) => {
                let exit = self.exit(told);
                self.cluster.end(run, rank, exit);
            }
            _ => {
                // All who were told to leave do.
                for (run, rank, _) in alive.into_iter().filter(|(_, _, told)| *told) {
                    let exit = self.exit(true);
                    self.cluster.end(run, rank, exit);
                }
            }
        }
    }

    /// A moment of a bad day.
    pub(crate) fn turn(&mut self) {
        match self.rng.below(40) {
            0 => self.now += secs(5 * 3600),
            1 => self.now = self.now - secs(3600),
            _ => self.now += Span::from_ms(self.rng.below(2000)),
        }
        if self.rng.one_in(2) {
            self.happen();
        }
        let mut commands = Vec::new();
        if self.rng.one_in(2) {
            let most = self.rng.below(4);
            commands = self.reports(most);
        }
        for _ in 0..self.rng.below(4).saturating_sub(1) {
            commands.push(self.command());
        }
        match self.rng.below(60) {
            0 => return self.close(),
            1 => return self.be_fenced(commands),
            // The process dies between two steps, with what it had heard and not stored.
            2 | 3 => return self.reopen(true),
            4..12 => self.world.crash_in(self.rng.below(12)),
            12..18 => {
                let fault = self.rng.pick(&Fault::ALL).unwrap();
                self.world.arm(fault);
            }
            _ => {}
        }
        self.step(commands);
    }

    pub(crate) fn close(&mut self) {
        self.world.behave();
        let driver = self.driver.take().unwrap();
        let mut before = comparable(driver.engine());
        self.world.run(driver.close()).expect("no faults are armed").unwrap();
        let closed = self.store.inner.kept().records.len();
        let driver = self.open().expect("no faults are armed").unwrap();
        let replayed = *self.store.replayed.lock().unwrap();
        assert_eq!(replayed, 0, "a closed driver left {replayed} records to replay");
        if self.store.inner.kept().records.len() == closed {
            // Nothing had happened meanwhile, except that time has passed.
            let mut after = comparable(driver.engine());
            (before["now"], after["now"]) = (Value::Null, Value::Null);
            assert_eq!(after, before);
        }
        self.driver = Some(driver);
    }

    /// Another driver opens the same store; this one must notice, and do nothing.
    fn be_fenced(&mut self, mut commands: Vec<Command>) {
        self.world.behave();
        let mut old = self.driver.take().unwrap();
        let new = self.open().expect("no faults are armed").unwrap();
        let (orders, stored) = (self.world.state().orders, self.store.inner.kept().records.len());
        commands.push(submit(self.spec()));
        let answer = self.world.run(old.step(self.now, commands)).expect("no crash is armed");
        assert!(matches!(answer, Err(DriverError::Fenced)), "{answer:?}");
        assert_eq!(self.world.state().orders, orders, "a fenced driver acted");
        assert_eq!(self.store.inner.kept().records.len(), stored, "a fenced driver stored something");
        self.count.fenced += 1;
        drop(old);
        self.driver = Some(new);
    }

    /// No more faults: everything has to come to its end.
    pub(crate) fn finish(&mut self) {
        self.world.behave();
        for index in 0..self.nodes.len() {
            self.nodes[index].ready = true;
            self.cluster.inner.set_node(self.nodes[index].clone());
        }
        let key = RightKey { user: Some(user("a")), group: Some(group("g")), ..RightKey::default() };
        let everything = RightRow::new(key, Allowance::UNLIMITED);
        self.step(vec![Command::Tell(Fact::RightSet { right: everything })]).unwrap();
        for _ in 0..TURNS_MAX {
            self.now += secs(10);
            let mut commands = self.reports(8);
            let held = self.driver().engine().tasks().filter(|task| task.state == TaskState::Held);
            let releases: Vec<_> = held.map(|task| Command::Tell(Fact::Released { task: task.id })).collect();
            commands.extend(releases);
            if commands.is_empty() {
                for (run, rank, told) in self.alive() {
                    let exit = WorkerExit::exited(0);
                    self.cluster.end(run, rank, if told { exit.after_signal() } else { exit });
                }
            }
            self.step(commands).unwrap();
            if self.driver().engine().tasks().next().is_none() {
                return self.judge();
            }
        }
        let world = self.world.clone();
        let engine = self.driver().engine();
        let left: Vec<_> =
            engine.tasks().map(|task| (task.id, task.state, engine.verdict(task.id), task.run)).collect();
        let state = world.state();
        let alive: Vec<_> = state.runs.iter().filter(|(_, run)| run.alive().next().is_some()).collect();
        panic!("not all tasks come to an end: {left:#?}, on the cluster: {alive:#?}");
    }

    // --- the judge

    fn judge(&mut self) {
        self.check_projections();
        self.check_log();
        let kept = self.store.inner.kept();
        assert!(self.answered.iter().all(|task| kept.tasks.contains_key(task)), "an answered submission is lost");
        {
            let state = self.world.state();
            self.count.runs += state.runs.len() as u64;
            for task in kept.tasks.values() {
                assert_eq!(task.state, TaskState::Finished);
                let runs = state.runs.values().filter(|run| run.order.task == task.id);
                let results: Vec<_> = runs.map(super::world::TrueRun::result).collect();
                let (last, before) =
                    results.split_last().map_or((None, &[][..]), |(last, before)| (Some(last), before));
                assert!(before.iter().all(|result| *result == Result::Interrupted), "{results:?}");
                self.count.suspended += before.len() as u64;
                match task.outcome.as_ref().unwrap() {
                    Outcome::Succeeded => {
                        assert_eq!(last, Some(&Result::Succeeded), "task {}", task.id);
                        self.count.succeeded += 1;
                    }
                    Outcome::Failed { reason } => {
                        assert_eq!(last, Some(&Result::Failed), "task {}: {reason}", task.id);
                        self.count.failed += 1;
                    }
                    Outcome::Stopped => {
                        assert!(matches!(last, None | Some(Result::Interrupted)), "task {}: {results:?}", task.id);
                        assert!(self.cancelled.contains(&task.id), "nobody stopped task {}", task.id);
                        self.count.stopped += 1;
                    }
                }
            }
        }
        self.settle();
        self.reopen(false);
        let listing = self.world.run(self.cluster.list()).unwrap().unwrap();
        assert_eq!(listing.workers, [], "workers that nobody forgot");
    }

    /// What readers see is what the engine says.
    fn check_projections(&self) {
        let (Some(driver), kept) = (&self.driver, self.store.inner.kept()) else { return };
        let engine = driver.engine();
        for task in engine.tasks() {
            assert_eq!(kept.tasks.get(&task.id), Some(&task));
        }
        for run in engine.runs() {
            assert_eq!(kept.runs.get(&run.id), Some(&run));
        }
        let unfinished = kept.tasks.values().filter(|task| task.state != TaskState::Finished).count();
        assert_eq!(unfinished, engine.tasks().count());
        let unended = kept.runs.values().filter(|run| run.phase != RunPhase::Ended).count();
        assert_eq!(unended, engine.runs().count());
        assert!(kept.tasks.keys().all(|task| kept.programs.contains_key(task)));
        assert!(kept.rights.iter().eq(engine.rights().collect::<Vec<_>>().iter()));
        assert!(kept.events.iter().zip(1..).all(|(event, id)| event.id == id), "events have gaps");
    }

    /// Every record follows from those before it, and all of them together give the engine that is.
    pub(crate) fn check_log(&self) {
        let (Some(driver), kept) = (&self.driver, self.store.inner.kept()) else { return };
        let mut chain = Chain::default();
        let mut engine = Engine::new(self.config.clone());
        for record in &kept.records {
            assert!(chain.verify(record), "record {} does not follow", record.seq);
            match &record.entry {
                Entry::Fact(fact) => assert_eq!(engine.observe(record.at, fact), Ok(true), "record {}", record.seq),
                Entry::Round(decisions) => assert_eq!(engine.replay(record.at, decisions), Ok(())),
                Entry::Opened(opening) => {
                    engine = engine.reopened(record.at, opening.config.clone(), Policies::default());
                }
            }
        }
        // Time may have passed since in which nothing happened.
        engine.replay(driver.engine().now(), &[]).unwrap();
        let (live, replayed) = (comparable(driver.engine()), comparable(&engine));
        for (part, value) in live.as_object().unwrap() {
            assert_eq!(value, &replayed[part], "the log gives other {part}");
        }
    }
}

/// The simulations of these seeds; what happened in all of them together.
pub(crate) fn simulate(seeds: std::ops::Range<u64>, turns: u64) -> Count {
    let (mut total, mut failed) = (Count::default(), Vec::new());
    for seed in seeds {
        let Ok(count) = std::panic::catch_unwind(|| one(seed, turns)) else {
            failed.push(seed);
            continue;
        };
        total.crashes += count.crashes;
        total.failures += count.failures;
        total.suspended += count.suspended;
        total.succeeded += count.succeeded;
        total.failed += count.failed;
        total.stopped += count.stopped;
        total.fenced += count.fenced;
        total.runs += count.runs;
    }
    assert!(failed.is_empty(), "simulations with these seeds failed, as told above: {failed:?}");
    total
}

fn one(seed: u64, turns: u64) -> Count {
    let policy = if seed.is_multiple_of(3) { Policy::HaiFifo } else { Policy::Hai };
    let config = EngineConfig { policy, borrow: seed.is_multiple_of(2), ..EngineConfig::default() };
    story(config, seed, turns).count
}

/// A whole bad day: random turns, and then everything comes to its end.
pub(crate) fn story(config: EngineConfig, seed: u64, turns: u64) -> Sim {
    let nodes = [node("n0").devices(4), node("n1").devices(4), node("n2").devices(2)];
    let mut sim = Sim::new(config, nodes, seed);
    sim.step(vec![anything_goes()]).unwrap();
    for _ in 0..turns {
        sim.turn();
    }
    sim.finish();
    sim
}
