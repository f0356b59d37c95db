//! What one decision costs as the cluster grows: it should follow what changed, not the number of nodes.

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use hai_benches::{Lab, task, user};
use hai_core::engine::EngineConfig;
use hai_core::model::Priority;

const NODES: [u32; 3] = [10, 100, 1000];

/// On a full cluster one task ends, another of its shape is submitted, and takes its place.
fn replace_one(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("replace_one");
    for nodes in NODES {
        let mut lab = Lab::full(EngineConfig::default(), nodes);
        group.bench_function(BenchmarkId::from_parameter(nodes), |bencher| {
            bencher.iter(|| {
                lab.finish(0);
                lab.submit(task(user(7), Priority::Low, 1));
                assert_eq!(lab.round().actions().count(), 1);
            });
        });
    }
    group.finish();
}

/// The same with ten thousand tasks of ten shapes waiting behind a full cluster.
fn replace_one_of_a_long_queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("replace_one_of_a_long_queue");
    for nodes in NODES {
        let mut lab = Lab::full(EngineConfig::default(), nodes);
        for number in 0..10_000 {
            lab.submit(task(user(number % 10), Priority::Low, 1));
        }
        lab.round();
        group.bench_function(BenchmarkId::from_parameter(nodes), |bencher| {
            bencher.iter(|| {
                lab.finish(0);
                lab.submit(task(user(7), Priority::Low, 1));
                assert_eq!(lab.round().actions().count(), 1);
            });
        });
    }
    group.finish();
}

/// A better task comes to a full cluster, and one of all the others has to be chosen to leave.
fn preempt_one(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("preempt_one");
    for nodes in NODES {
        let full = Lab::full(EngineConfig::default(), nodes);
        group.bench_function(BenchmarkId::from_parameter(nodes), |bencher| {
            bencher.iter_batched_ref(
                || full.clone(),
                |lab| {
                    lab.submit(task(user(1000), Priority::High, 1));
                    assert_eq!(lab.round().actions().count(), 1);
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

/// Nothing changed.
fn nothing(criterion: &mut Criterion) {
    let mut lab = Lab::full(EngineConfig::default(), 1000);
    criterion.bench_function("nothing/1000", |bencher| bencher.iter(|| assert!(lab.round().is_empty())));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = replace_one, replace_one_of_a_long_queue, preempt_one, nothing
}
criterion_main!(benches);
