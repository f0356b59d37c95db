//! The same story gives the same digests: played twice, side by side on two threads, and in debug and release builds.

mod support;

use std::sync::Arc;
use std::thread::scope;

use hai_core::backend::{Chain, Digest};
use hai_core::engine::{Engine, EngineConfig, Policies, Policy};
use hai_core::log::{LogReader, replay};
use hai_core::model::*;
use support::{node, secs, task};

/// The last digest of the story that `play` tells, for each policy. A change in what is decided, or in how it is
/// written down, changes it; then, and only then, the new one belongs here.
const HAI: &str = "21d9b48e40cfc64f5a42d47e283514ba19e7b35a1233a7f08535f3b18b80a838";
const HAI_FIFO: &str = "f5595b8f9560e53753860c1836d08a8e49803cf1be352b32fc18cfa70dde7e12";

const STEPS: u64 = 2_000;

/// Numbers that look random and are always the same (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

/// An engine, its log, and those of its workers that have not ended.
struct Stage {
    engine: Engine,
    log: Chain,
    now: Time,
    workers: Vec<(RunId, u32)>,
    /// The digest after every round.
    digests: Vec<Digest>,
}

impl Stage {
    fn tell(&mut self, fact: Fact) {
        if self.engine.observe(self.now, &fact).is_ok() {
            self.log.fact(self.now, fact);
        }
    }

    fn round(&mut self) {
        let round = self.engine.schedule(self.now);
        for decision in &round.decisions {
            if let Decision::Start { run, placement, .. } = decision {
                self.workers.extend((0..placement.workers.len() as u32).map(|rank| (*run, rank)));
            }
        }
        self.log.round(round.at, round.decisions);
        self.digests.push(self.log.digest());
    }

    fn submit(&mut self, dice: &mut Dice) {
        let levels = [Priority::Low, Priority::Normal, Priority::AboveNormal, Priority::High, Priority::Auto];
        let mut wanted = task("t").user(["a", "b", "c"][dice.roll(3) as usize]).prio(levels[dice.roll(5) as usize]);
        wanted = match dice.roll(4) {
            0 => wanted.nodes(1 + dice.roll(3) as u32),
            _ => wanted.devices(1 + dice.roll(8) as u32).workers(1 + dice.roll(2) as u32),
        };
        let mut spec = wanted.grace(dice.roll(5), dice.roll(5)).spec();
        spec.suspendable = dice.roll(10) > 0;
        spec.limit = (dice.roll(8) == 0).then(|| secs(600));
        spec.retries = (dice.roll(6) == 0).then_some(Retries { limit: 2, back_off: secs(10), avoid_nodes: false });
        let task = self.engine.next_task_id();
        if task > TaskId(1) && dice.roll(8) == 0 {
            spec.after = vec![Dependency { task: TaskId(task.0 - 1), ended: DependsOn::Any }];
        }
        self.tell(Fact::Submitted { task, spec: Arc::new(spec) });
    }

    fn end_worker(&mut self, dice: &mut Dice) {
        if self.workers.is_empty() {
            return;
        }
        let (run, rank) = self.workers.swap_remove(dice.roll(self.workers.len() as u64) as usize);
        let Some(view) = self.engine.run(run) else { return };
        let exit = match (view.phase, dice.roll(12)) {
            (RunPhase::Vacating, _) => WorkerExit::exited(0).after_signal(),
            (_, 0) => WorkerExit::exited(1),
            (_, 1) => WorkerExit::of(WorkerFate::Lost { reason: "gone".to_owned() }),
            _ => WorkerExit::exited(0),
        };
        self.tell(Fact::WorkerEnded { run, rank, exit });
    }

    fn happen(&mut self, dice: &mut Dice) {
        match dice.roll(20) {
            0..7 => self.submit(dice),
            7..13 => self.end_worker(dice),
            13..17 => {
                self.now += secs(dice.roll(120));
                for (run, rank) in self.workers.clone() {
                    self.tell(Fact::WorkerStarted { run, rank });
                }
            }
            17 => {
                let mut changed = node(&format!("n{}", dice.roll(6))).spec();
                changed.ready = dice.roll(2) > 0;
                self.tell(Fact::NodeSet { node: changed });
            }
            18 => {
                let key = RightKey { user: UserName::new("a").ok(), ..RightKey::default() };
                let (nodes, devices) = (dice.roll(4) as u32, dice.roll(24) as u32);
                let allowance = Allowance { nodes: Limit::at_most(nodes), devices: Limit::at_most(devices) };
                self.tell(Fact::RightSet { right: RightRow::new(key, allowance) });
            }
            _ => {
                let task = TaskId(1 + dice.roll(self.engine.next_task_id().0));
                let fact = if dice.roll(2) > 0 { Fact::Cancelled { task } } else { Fact::Held { task } };
                self.tell(fact);
            }
        }
    }
}

/// Plays the story, and returns the digest after every round.
fn play(policy: Policy) -> Vec<Digest> {
    let config = EngineConfig { policy, borrow: policy == Policy::Hai, ..EngineConfig::default() };
    let (engine, log) = (Engine::new(config), Chain::default());
    let mut stage = Stage { engine, log, now: Time::ZERO, workers: Vec::new(), digests: Vec::new() };
    for name in ["n0", "n1", "n2", "n3", "n4", "n5"] {
        stage.tell(Fact::NodeSet { node: node(name).spec() });
    }
    stage.tell(Fact::RightSet { right: RightRow::new(RightKey::default(), Allowance::UNLIMITED) });
    let mut dice = Dice(20_261_124);
    for _ in 0..STEPS {
        stage.happen(&mut dice);
        stage.round();
    }
    stage.digests
}

fn last(policy: Policy) -> String {
    play(policy).last().expect("there were rounds").to_string()
}

#[test]
fn a_story_played_twice_gives_the_same_digests() {
    for policy in [Policy::Hai, Policy::HaiFifo] {
        assert_eq!(play(policy), play(policy), "{policy:?}");
    }
}

#[test]
fn a_story_played_on_two_threads_at_once_gives_the_digests_that_one_gives() {
    for policy in [Policy::Hai, Policy::HaiFifo] {
        let alone = play(policy);
        let (one, other) = scope(|threads| {
            let (one, other) = (threads.spawn(|| play(policy)), threads.spawn(|| play(policy)));
            (one.join().expect("it plays"), other.join().expect("it plays"))
        });
        assert!(alone == one && alone == other, "{policy:?}");
    }
}

#[test]
fn debug_and_release_builds_give_the_same_digest() {
    assert_eq!((last(Policy::Hai).as_str(), last(Policy::HaiFifo).as_str()), (HAI, HAI_FIFO));
}

/// The log of a bad day, as it was written once. Whatever build this is has to decide it as that one did.
const DAY: &str = include_str!("data/log-1.jsonl");

#[test]
fn a_log_that_another_build_wrote_is_decided_the_same() {
    let lines = || DAY.lines().map(Ok::<_, std::convert::Infallible>);
    let reader = LogReader::open(lines()).expect("a log");
    let replayed = replay(reader, Policies::default(), |_| ()).unwrap_or_else(|why| panic!("{why}"));
    assert!(replayed.rounds > 40 && replayed.decisions > 30 && replayed.unsealed == 0, "{replayed:?}");
}
