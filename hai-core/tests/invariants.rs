//! The invariants I-1 to I-10 over random stories, held against an independent judge, for both policies.
//!
//! A failure prints the shortest story that still fails. `PROPTEST_CASES` sets how many stories are played, and
//! `PROPTEST_RNG_SEED` which; by default they are always the same.

mod judge;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hai_core::engine::Policy;
use judge::noise::{Noise, decisions_amid, noise};
use judge::ops::{Story, story};
use judge::world::World;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

/// The default seed: any number will do, as long as it stays.
const SEED: u64 = 20_261_123;
/// So many things happen in a story.
const OPS: usize = 200;
const OPS_AMID_NOISE_MAX: usize = 60;
/// So many times as many stories as proptest would try are played in each share of a policy. By default that makes
/// 20,480 stories in all.
const HAI_TIMES: u32 = 8;
const HAI_FIFO_TIMES: u32 = 12;
const REST_TIMES: u32 = 4;

fn config(share: u64, times: u32) -> Config {
    let config = Config::default();
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => SEED,
    };
    let (rng_seed, cases) = (RngSeed::Fixed(seed + share), config.cases * times);
    Config { rng_seed, cases, failure_persistence: None, max_shrink_iters: 4_000, ..config }
}

/// Plays what `stories` gives, and tells the shortest that fails, and how it goes.
fn check<S: Strategy>(
    config: Config,
    stories: S,
    play: impl Fn(&S::Value),
    shorten: impl FnOnce(S::Value) -> S::Value,
    tell: impl Fn(&S::Value),
) where
    S::Value: Clone,
{
    // Every step towards the shortest story panics; only the last panic is worth reading.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut played = TestRunner::new(config).run(&stories, |story| {
        play(&story);
        Ok(())
    });
    if let Err(TestError::Fail(_, story)) = &mut played {
        *story = shorten(story.clone());
    }
    std::panic::set_hook(hook);
    if let Err(TestError::Fail(reason, story)) = &played {
        println!("{reason}\nThe shortest story that fails so:\n{story:?}\nHow it goes:");
        tell(story);
    }
    assert!(played.is_ok(), "no such story can be played: {:?}", played.err().map(|error| error.to_string().len()));
}

fn fails(story: &Story) -> bool {
    catch_unwind(AssertUnwindSafe(|| drop(World::play(story)))).is_err()
}

/// Leaves out whatever need not happen for the story to fail: first halves of it, then quarters, and so on.
fn shorten(mut story: Story) -> Story {
    let mut without = story.ops.len() / 2;
    while without > 0 {
        let mut at = 0;
        while at < story.ops.len() {
            let mut shorter = story.clone();
            shorter.ops.drain(at..(at + without).min(story.ops.len()));
            if fails(&shorter) {
                story = shorter;
            } else {
                at += without;
            }
        }
        without /= 2;
    }
    for at in (0..story.nodes.len()).rev() {
        let mut shorter = story.clone();
        shorter.nodes.remove(at);
        if fails(&shorter) {
            story = shorter;
        }
    }
    story
}

fn judge(policy: Policy, share: u64) {
    let times = if policy == Policy::Hai { HAI_TIMES } else { HAI_FIFO_TIMES };
    let config = Config { max_shrink_iters: 0, ..config(share, times) };
    check(config, story(policy, OPS..OPS + 1), |story| drop(World::play(story)), shorten, World::tell_how_it_goes);
}

fn isolate(policy: Policy) {
    let decisions = Cell::new(0);
    let same = |(story, noise): &(Story, Vec<(u8, Noise)>)| {
        let (alone, amid) = (decisions_amid(story, &[]), decisions_amid(story, noise));
        assert_eq!(alone, amid, "I-5: the noise changed what was decided for others");
        decisions.set(decisions.get() + alone.len());
    };
    let stories = (story(policy, 1..OPS_AMID_NOISE_MAX), noise());
    check(config(0, 1), stories, same, |shortest| shortest, same);
    assert!(decisions.get() > 0, "in none of the stories was anything decided");
}

/// One test for each share of the stories, so that they are played side by side.
macro_rules! shares {
    ($policy:expr; $($name:ident $share:literal)*) => { $(
        #[test]
        fn $name() {
            judge($policy, $share);
        }
    )* };
}

shares! { Policy::Hai;
    the_invariants_hold_for_hai_1 1
    the_invariants_hold_for_hai_2 2
    the_invariants_hold_for_hai_3 3
    the_invariants_hold_for_hai_4 4
}

shares! { Policy::HaiFifo;
    the_invariants_hold_for_hai_fifo_1 1
    the_invariants_hold_for_hai_fifo_2 2
    the_invariants_hold_for_hai_fifo_3 3
    the_invariants_hold_for_hai_fifo_4 4
}

fn nobody_starves(policy: Policy) {
    let stories = story(policy, 1..OPS_AMID_NOISE_MAX);
    check(config(0, REST_TIMES), stories, World::play_out, |shortest| shortest, World::play_out);
}

#[test]
fn whoever_can_start_does_once_nothing_more_comes_for_hai() {
    nobody_starves(Policy::Hai);
}

#[test]
fn whoever_can_start_does_once_nothing_more_comes_for_hai_fifo() {
    nobody_starves(Policy::HaiFifo);
}

#[test]
fn others_trouble_changes_nothing_for_hai() {
    isolate(Policy::Hai);
}

#[test]
fn others_trouble_changes_nothing_for_hai_fifo() {
    isolate(Policy::HaiFifo);
}
