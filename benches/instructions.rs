//! A fixed amount of the engine's work, for counting instructions: `valgrind --tool=callgrind` around it gives the same
//! number on a busy machine as on an idle one.
//!
//! `instructions NODES REPLACED`: on a full cluster so many tasks end and are replaced.
//! `instructions pass NODES BATCH BATCHES`: tasks of one device pass through an empty cluster in batches.

use std::sync::Arc;

use hai_benches::big::Cluster;
use hai_benches::{Lab, task, user};
use hai_core::engine::EngineConfig;
use hai_core::model::{Priority, WorkerRequest};

fn replace(nodes: u32, replaced: u64) {
    let mut lab = Lab::full(EngineConfig::default(), nodes);
    for _ in 0..replaced {
        lab.finish(0);
        lab.submit(task(user(7), Priority::Low, 1));
        assert_eq!(lab.round().actions().count(), 1);
    }
}

fn pass(nodes: u64, batch: usize, batches: u64) {
    let mut cluster = Cluster::new(EngineConfig::default(), nodes);
    let spec = Arc::new(cluster.one(0, Priority::Normal, WorkerRequest::devices(1)));
    for _ in 0..batches {
        cluster.pass_through(&spec, batch);
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let passes = words.first().is_some_and(|word| word == "pass");
    let numbers: Vec<u64> =
        words.iter().skip(usize::from(passes)).map(|word| word.parse().expect("a number")).collect();
    let number = |at: usize, default: u64| numbers.get(at).copied().unwrap_or(default);
    if passes {
        pass(number(0, 10_000), number(1, 1_000) as usize, number(2, 0));
    } else {
        replace(u32::try_from(number(0, 100)).expect("fewer than 2^32 nodes"), number(1, 0));
    }
}
