//! Stories to log, and their logs.

use std::convert::Infallible;

use hai_core::backend::{Chain, Entry, Record};
use hai_core::engine::{Churn, EngineConfig, Policies, Policy, Timing};
use hai_core::log::{Header, LogReader, ReplayError, Replayed, header_line, record_line, replay};
use hai_core::placement::PlacementPolicy;
use hai_core::queue::order::{Aging, Fair, LeastAttainedService, OrderPolicy};

use crate::sim::story;
use crate::support::secs;

/// Ways to decide, so that every part of the state that decisions hang on is in some story.
pub(crate) fn config(seed: u64) -> EngineConfig {
    let base = EngineConfig { borrow: seed.is_multiple_of(2), ..EngineConfig::default() };
    match seed % 6 {
        0 => EngineConfig { policy: Policy::HaiFifo, ..base },
        1 => base,
        2 => EngineConfig {
            order: OrderPolicy::Fair(Fair { half_life: secs(3600) }),
            aging: Some(Aging { every: secs(20), cap: 2 }),
            ..base
        },
        3 => EngineConfig {
            timing: Timing { protected: secs(2), slice: secs(5), demote_after: secs(30) },
            slice_swaps: 0,
            reserve_after: Some(secs(5)),
            ..base
        },
        4 => EngineConfig {
            order: OrderPolicy::LeastAttainedService(LeastAttainedService::default()),
            placement: PlacementPolicy::Random { seed },
            cut_grace: secs(10),
            ..base
        },
        _ => EngineConfig {
            churn: Some(Churn { free: 1, every: secs(60) }),
            placement: PlacementPolicy::WorstFit,
            reserve_after: Some(secs(1)),
            ..base
        },
    }
}

/// The whole log of a random story.
pub(crate) fn records(seed: u64, turns: u64) -> Vec<Record> {
    let sim = story(config(seed), seed, turns);
    sim.store.inner.kept().records
}

pub(crate) fn lines(header: &Header, records: &[Record]) -> Vec<String> {
    std::iter::once(header_line(header)).chain(records.iter().map(record_line)).collect()
}

pub(crate) fn decide_anew(lines: &[String]) -> Result<Replayed, ReplayError> {
    let reader = LogReader::open(lines.iter().map(Ok::<_, Infallible>))?;
    replay(reader, Policies::default(), |_| ())
}

/// The same records with a chain that fits.
pub(crate) fn reseal(records: &[Record]) -> Vec<Record> {
    let mut chain = Chain::default();
    records
        .iter()
        .cloned()
        .map(|record| match record.entry {
            Entry::Fact(fact) => chain.fact_by(record.at, fact, record.by),
            Entry::Round(decisions) => chain.round(record.at, decisions),
            Entry::Opened(opening) => chain.opened(record.at, *opening),
        })
        .collect()
}
