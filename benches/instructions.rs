//! A fixed amount of the engine's work, for counting instructions: `valgrind --tool=callgrind` around it gives the same
//! number on a busy machine as on an idle one.
//!
//! `instructions NODES REPLACED`: on a full cluster so many tasks end and are replaced.
//! `instructions pass NODES BATCH BATCHES`: tasks of one device pass through an empty cluster in batches.
//! `instructions behind NODES AHEAD`: one task starts behind so many that do not fit; only that round counts with
//! `--toggle-collect='*counted_round*'`.

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

#[inline(never)]
fn counted_round(cluster: &mut Cluster) -> usize {
    cluster.schedule().actions().count()
}

fn behind(nodes: u64, ahead: u64) {
    let mut cluster = Cluster::nibbled(nodes);
    // What is looked at for the first time is looked at now.
    cluster.come_in_front(1);
    cluster.round();
    cluster.come_in_front(ahead);
    assert_eq!(counted_round(&mut cluster), 1);
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<u64> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let number = |at: usize, default: u64| numbers.get(at).copied().unwrap_or(default);
    match words.first().map(String::as_str) {
        Some("pass") => pass(number(0, 10_000), number(1, 1_000) as usize, number(2, 0)),
        Some("behind") => behind(number(0, 10_000), number(1, 0)),
        _ => replace(u32::try_from(number(0, 100)).expect("fewer than 2^32 nodes"), number(1, 0)),
    }
}
