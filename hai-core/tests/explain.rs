//! What the engine says of a task is true: take away what it names, and the task starts.
//!
//! `PROPTEST_CASES` sets how many stories are played, and `PROPTEST_RNG_SEED` which; by default they are always the same.

#[expect(dead_code, reason = "most of it serves another test")]
mod judge;

#[path = "explain/lacks.rs"]
mod lacks;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use hai_core::engine::{Engine, Policy};
use hai_core::explain::why::why_naming;
use hai_core::explain::{Limits, Then, what_would_help, why};
use hai_core::model::*;
use judge::ops::{Op, Story, story};
use judge::world::World;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// The default seed: any number will do, as long as it stays.
const SEED: u64 = 20_261_126;
const OPS_MAX: usize = 70;
/// So many times as many stories as proptest would try.
const TIMES: u32 = 8;

fn config(share: u64) -> Config {
    let config = Config::default();
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => SEED,
    };
    let cases = config.cases * TIMES;
    Config { rng_seed: RngSeed::Fixed(seed + share), cases, failure_persistence: None, max_shrink_iters: 400, ..config }
}

/// All cards count alike, and rights do not tell them apart: what a task needs of a right is told for the kind that is best
/// for it, and which kind joins is a matter of chance here.
fn story_without_kinds(policy: Policy) -> impl Strategy<Value = Story> {
    story(policy, 1..OPS_MAX).prop_map(|mut story| {
        story.config.weights.clear();
        story.rights.retain(|row| row.key.model.is_none());
        story.ops.retain(|(op, _)| !matches!(op, Op::Right(row, _) if row.key.model.is_some()));
        story
    })
}

/// Everybody who waits, when the last round of a story is over.
fn waiting(engine: &Engine) -> Vec<TaskId> {
    engine.tasks().map(|task| task.id).filter(|&id| engine.verdict(id).is_some()).collect()
}

#[test]
fn who_waits_starts_once_the_named_lack_is_taken_away() {
    takes_lacks_away(Policy::Hai, 0);
}

#[test]
fn who_waits_in_strict_order_starts_once_the_named_lack_is_taken_away() {
    takes_lacks_away(Policy::HaiFifo, 3);
}

fn takes_lacks_away(policy: Policy, share: u64) {
    let (tried, started) = (Cell::new(0_u32), Cell::new(0_u32));
    let rooms = RefCell::new(BTreeSet::new());
    let result = TestRunner::new(config(share)).run(&story_without_kinds(policy), |story| {
        let engine = World::play(&story).engine;
        for id in waiting(&engine) {
            let reason = why_naming(&engine, id, usize::MAX).expect("it is unfinished");
            tried.set(tried.get() + 1);
            for cure in lacks::cures(&engine, &reason) {
                let (copy, round) = cure.apply(&engine);
                let placed = lacks::is_placed(&round, id);
                prop_assert!(
                    placed,
                    "task {id} got what it lacks ({cure:?}), and still {:?}\n{}\n{}",
                    copy.verdict(id),
                    reason,
                    serde_json::to_string(&reason).expect("plain data")
                );
                started.set(started.get() + 1);
                rooms.borrow_mut().insert(cure.room);
            }
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert_eq!(rooms.into_inner().len(), 3, "not every kind of lack was met");
    println!("{} tasks waited, {} cures worked", tried.get(), started.get());
    assert!(started.get() > 500 && tried.get() > 500, "hardly anybody waited: {tried:?}, {started:?}");
}

#[test]
fn nobody_is_told_of_others_tasks_who_should_not_be() {
    let runner = TestRunner::new(config(1)).run(&story(Policy::Hai, 1..OPS_MAX), |story| {
        let engine = World::play(&story).engine;
        for id in engine.tasks().map(|task| task.id) {
            let mut reason = why(&engine, id).expect("it is unfinished");
            let user = reason.user.clone();
            reason.hide_others(&user);
            // What the verdict and the reason of the last suspension say is older, and stays.
            reason.verdict = None;
            reason.head = None;
            if let Some(left) = &mut reason.left {
                left.reason = YieldReason::Held;
            }
            let told = serde_json::to_string(&reason).expect("plain data");
            let text: String = reason.sections().iter().map(ToString::to_string).collect();
            for other in engine.tasks().filter(|task| task.spec.user != user) {
                let name = format!("\"task\":{},", other.id);
                prop_assert!(!told.contains(&name), "task {id} is told of {}: {told}", other.id);
                prop_assert!(!text.contains(&format!("task {} ", other.id)), "task {id}: {text}");
            }
            let back: hai_core::explain::Why = serde_json::from_str(&told).expect("what was written");
            prop_assert_eq!(back, reason);
        }
        Ok(())
    });
    if let Err(error) = runner {
        panic!("{error}");
    }
}

#[test]
fn what_would_help_does_and_one_step_less_does_not() {
    helps(Policy::Hai, 2);
}

#[test]
fn what_would_help_in_strict_order_does_and_one_step_less_does_not() {
    helps(Policy::HaiFifo, 4);
}

fn helps(policy: Policy, share: u64) {
    let (mut helped, mut steps) = (Cell::new(0_u32), Cell::new(0_u32));
    let result = TestRunner::new(Config { cases: config(share).cases / TIMES, ..config(share) }).run(
        &story(policy, 1..OPS_MAX),
        |story| {
            let mut engine = World::play(&story).engine;
            let now = engine.now();
            engine.schedule(now);
            for id in waiting(&engine) {
                let helps = what_would_help(&engine, id, &Limits::default());
                prop_assert!(helps.copies <= Limits::default().copies + 1, "{}", helps.copies);
                for help in &helps.singles {
                    let mut copy = engine.clone();
                    prop_assert!(help.change.apply(&mut copy, id), "task {id}: {help:?} can not be");
                    let round = copy.schedule(now);
                    if help.then == Then::Fits {
                        let never = |copy: &Engine| matches!(copy.verdict(id), Some(Verdict::NeverFits { .. }));
                        prop_assert!(!never(&copy), "task {id}: {help:?} does not let it fit");
                        if let Some(less) = help.change.one_step_less() {
                            let mut copy = engine.clone();
                            less.apply(&mut copy, id);
                            copy.schedule(now);
                            let right = why(&copy, id).and_then(|why| why.right);
                            let lacks_right = right.is_some_and(|right| !right.standing.is_enough());
                            prop_assert!(
                                never(&copy) || lacks_right,
                                "task {id}: {less:?} is less than {help:?} and fits: {:?}",
                                copy.verdict(id)
                            );
                            steps.set(steps.get() + 1);
                        }
                        continue;
                    }
                    let starts =
                        round.decisions.iter().any(|of| matches!(of, Decision::Start { task, .. } if *task == id));
                    let told = lacks::is_placed(&round, id) && starts == (help.then == Then::Starts);
                    prop_assert!(told, "task {id}: {help:?} does not help: {round:?}");
                    helped.set(helped.get() + 1);
                    let Some(less) = help.change.one_step_less() else { continue };
                    let mut copy = engine.clone();
                    less.apply(&mut copy, id);
                    let round = copy.schedule(now);
                    prop_assert!(
                        !lacks::is_placed(&round, id),
                        "task {id}: {help:?} is more than needed: {less:?} is enough"
                    );
                    steps.set(steps.get() + 1);
                }
                if let Some((first, second)) = &helps.pair {
                    prop_assert!(helps.singles.is_empty());
                    let mut copy = engine.clone();
                    prop_assert!(first.apply(&mut copy, id));
                    copy.schedule(now);
                    prop_assert!(second.change.apply(&mut copy, id));
                    let round = copy.schedule(now);
                    prop_assert!(lacks::is_placed(&round, id), "task {id}: {first:?} and {second:?} do not help");
                }
            }
            Ok(())
        },
    );
    if let Err(error) = result {
        panic!("{error}");
    }
    println!("{} changes helped, of {} less would not", helped.get_mut(), steps.get_mut());
    assert!(*helped.get_mut() > 200 && *steps.get_mut() > 100, "hardly anything would help: {helped:?}, {steps:?}");
}
