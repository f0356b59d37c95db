//! Logs of drivers that crashed and failed hold before the judge, and a log that was tampered with does not.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hai_core::backend::{Entry, Record};
use hai_core::engine::EngineConfig;
use hai_core::log::{Header, LogReader};
use hai_core::model::Fact;

use crate::judge::stored::{Stored, judge_log};
use crate::sim::story;
use crate::stories::{self, lines, reseal};

/// Ways to decide that the judge knows.
const SEEDS: [u64; 9] = [0, 1, 5, 6, 7, 11, 12, 13, 17];
const TURNS: u64 = 60;

/// Of nodes that are kept for those who waited long the judge knows only the simple cases.
fn config(seed: u64) -> EngineConfig {
    EngineConfig { reserve_after: None, ..stories::config(seed) }
}

fn records(seed: u64) -> Vec<Record> {
    story(config(seed), seed, TURNS).store.inner.kept().records
}

fn judge(seed: u64, records: &[Record]) -> Stored {
    let lines = lines(&Header::new(config(seed)), records);
    judge_log(LogReader::open(lines.iter().map(Ok::<_, Infallible>)).expect("a header"))
}

#[test]
fn what_drivers_keep_through_crashes_holds() {
    let mut runs = 0;
    for seed in SEEDS {
        let judged = judge(seed, &records(seed));
        assert!(judged.rounds > 20 && judged.openings > 1, "{judged:?}");
        assert!(!judged.finished.is_empty(), "{judged:?}");
        runs += judged.runs.values().sum::<u32>();
    }
    assert!(runs > 100, "{runs}");
}

#[test]
fn a_log_that_leaves_out_an_end_is_condemned_where_its_place_is_given_again() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let (mut condemned, mut given_twice, mut fine) = (0, 0, 0);
    for seed in SEEDS {
        let records = records(seed);
        let ends = (0..records.len()).filter(|&at| matches!(records[at].entry, Entry::Fact(Fact::WorkerEnded { .. })));
        for at in ends.take(6) {
            let mut without = records.clone();
            without.remove(at);
            match catch_unwind(AssertUnwindSafe(|| judge(seed, &reseal(&without)))) {
                // Another run's end may have come in the same step, and nobody ever wanted this one's place.
                Ok(_) => fine += 1,
                Err(said) => {
                    condemned += 1;
                    let said = said.downcast_ref::<String>().cloned().unwrap_or_default();
                    given_twice += u32::from(said.contains("is given what is not free"));
                }
            }
        }
    }
    std::panic::set_hook(hook);
    assert!(condemned > 40 && given_twice > 15, "{condemned} condemned, {given_twice} given twice, {fine} fine");
}
