//! All faults, one after the other, in an order that a seed draws; and the same for as long as somebody wants.

use std::time::{Duration, Instant};

use crate::faults::Fault;
use crate::lab::{Lab, Random};

/// Faults of a long run, for each seed.
const FAULTS: u64 = 40;

/// A lab on a disk that can be filled, or else on one that can not.
fn lab(seed: u64) -> Option<Lab> {
    Lab::on_a_server(seed, true).or_else(|| Lab::on_a_server(seed, false))
}

fn play(mut lab: Lab, faults: &[Fault], until: Option<Instant>) {
    lab.submit(4);
    for fault in faults {
        if until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        if fault.can_be(&lab) {
            fault.play(&mut lab);
        }
    }
    lab.submit(2);
    lab.verify();
}

/// Each that does not take long, once, in this seed's order.
#[test]
fn all_at_once() {
    let seed = 20_261_127;
    let mut faults: Vec<Fault> = Fault::ALL.into_iter().filter(|fault| !fault.takes_long()).collect();
    let mut random = Random::of(seed);
    for at in (1..faults.len()).rev() {
        faults.swap(at, usize::try_from(random.below(at as u64 + 1)).expect("an index"));
    }
    let Some(lab) = lab(seed) else { return };
    play(lab, &faults, None);
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number, and is {text:?}")))
}

/// `HAI_CHAOS_SEEDS=N` plays so many seeds, from `HAI_CHAOS_FIRST` on (1); `HAI_CHAOS_MINUTES=M` stops after so long.
#[test]
#[ignore = "takes as long as it is told to"]
fn for_long() {
    let minutes = number("HAI_CHAOS_MINUTES").unwrap_or(10);
    let (first, seeds) = (number("HAI_CHAOS_FIRST").unwrap_or(1), number("HAI_CHAOS_SEEDS").unwrap_or(u64::MAX));
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    for seed in first..first.saturating_add(seeds) {
        if Instant::now() >= until {
            break;
        }
        eprintln!("seed {seed}");
        let mut random = Random::of(seed);
        let draw = |_| Fault::ALL[usize::try_from(random.below(Fault::ALL.len() as u64)).expect("an index")];
        let faults: Vec<Fault> = (0..FAULTS).map(draw).collect();
        let Some(lab) = lab(seed) else { return };
        play(lab, &faults, Some(until));
        let file: Vec<Fault> =
            (0..FAULTS / 4).map(|_| Fault::EMBEDDED[usize::try_from(random.below(3)).expect("an index")]).collect();
        play(Lab::on_a_file(seed), &file, Some(until));
    }
}
