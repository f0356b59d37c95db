//! The invariants I-1 to I-9 over random stories, held against an independent judge, for both policies.
//!
//! A failure prints the shortest story that still fails. `PROPTEST_CASES` sets how many stories are played, and
//! `PROPTEST_RNG_SEED` which; by default they are always the same.

mod judge;

use std::cell::Cell;

use hai_core::engine::Policy;
use judge::noise::{Noise, decisions_amid, noise};
use judge::ops::{Story, story};
use judge::world::World;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

/// The default seed: any number will do, as long as it stays.
const SEED: u64 = 20_261_123;
const OPS_MAX: usize = 60;

fn config() -> Config {
    let config = Config::default();
    let rng_seed = if config.rng_seed == RngSeed::Random { RngSeed::Fixed(SEED) } else { config.rng_seed };
    Config { rng_seed, failure_persistence: None, max_shrink_iters: 4_000, ..config }
}

/// Plays what `stories` gives, and tells the shortest that fails, and how it goes.
fn check<S: Strategy>(stories: S, play: impl Fn(&S::Value), tell: impl Fn(&S::Value))
where
    S::Value: Clone,
{
    // Every step towards the shortest story panics; only the last panic is worth reading.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let played = TestRunner::new(config()).run(&stories, |story| {
        play(&story);
        Ok(())
    });
    std::panic::set_hook(hook);
    if let Err(TestError::Fail(reason, story)) = &played {
        println!("{reason}\nThe shortest story that fails so:\n{story:?}\nHow it goes:");
        tell(story);
    }
    assert!(played.is_ok(), "no such story can be played: {played:?}");
}

fn judge(policy: Policy) {
    check(story(policy, OPS_MAX), |story| drop(World::play(story)), World::tell_how_it_goes);
}

fn isolate(policy: Policy) {
    let decisions = Cell::new(0);
    let same = |(story, noise): &(Story, Vec<(u8, Noise)>)| {
        let (alone, amid) = (decisions_amid(story, &[]), decisions_amid(story, noise));
        assert_eq!(alone, amid, "I-5: the noise changed what was decided for others");
        decisions.set(decisions.get() + alone.len());
    };
    check((story(policy, OPS_MAX), noise()), same, same);
    assert!(decisions.get() > 0, "in none of the stories was anything decided");
}

#[test]
fn the_invariants_hold_for_hai() {
    judge(Policy::Hai);
}

#[test]
fn the_invariants_hold_for_hai_fifo() {
    judge(Policy::HaiFifo);
}

#[test]
fn others_trouble_changes_nothing_for_hai() {
    isolate(Policy::Hai);
}

#[test]
fn others_trouble_changes_nothing_for_hai_fifo() {
    isolate(Policy::HaiFifo);
}
