//! What one decision costs as the cluster grows: it should follow what changed, not the number of nodes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hai_benches::big::Cluster;
use hai_benches::{Lab, task, user};
use hai_core::engine::EngineConfig;
use hai_core::model::{Fact, Priority, WorkerExit, WorkerRequest};
use hai_core::placement::PlacementPolicy;
use hai_core::placement::policy::Typical;

const NODES: [u32; 3] = [10, 100, 1000];
/// The full size.
const MANY: u64 = 10_000;

/// Who else is at work on the machine makes few rounds much longer, which a median leaves out.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

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

/// Tasks of one device are submitted, start and end on a cluster at full size; facts come in batches, with one round for
/// each batch, in which the ends of the one before are taken in too.
fn one_device_tasks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one_device_tasks");
    for batch in [1_usize, 100, 1_000, 10_000] {
        let mut cluster = Cluster::new(EngineConfig::default(), MANY);
        let spec = Arc::new(cluster.one(0, Priority::Normal, WorkerRequest::devices(1)));
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::from_parameter(batch), |bencher| {
            bencher.iter(|| cluster.pass_through(&spec, batch));
        });
    }
    group.finish();
}

/// One task is submitted and placed by fragmentation gradient descent, on a cluster at full size of which three quarters are
/// in use. Its end is not timed.
fn place_by_fgd(criterion: &mut Criterion) {
    let kinds = [(WorkerRequest::devices(1), 60), (WorkerRequest::share(500), 20), (WorkerRequest::devices(8), 20)];
    let typical = kinds.into_iter().map(|(request, weight)| Typical { request, weight }).collect();
    let config = EngineConfig { placement: PlacementPolicy::Fgd { typical }, ..EngineConfig::default() };
    let mut cluster = Cluster::new(config, MANY);
    for number in 0..MANY as usize * 6 {
        let request = if number % 4 == 0 { WorkerRequest::share(500) } else { WorkerRequest::devices(1) };
        let spec = cluster.one(number % 200, Priority::Normal, request);
        cluster.submit(spec);
    }
    cluster.round();
    let mut group = criterion.benchmark_group("place_by_fgd");
    for (name, request) in [("device", WorkerRequest::devices(1)), ("share", WorkerRequest::share(500))] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let mut times = Vec::new();
                for number in 0..iterations {
                    for fact in cluster.draw_end() {
                        cluster.tell(&fact);
                    }
                    cluster.round();
                    let spec = cluster.one(number as usize, Priority::Normal, request.clone());
                    let since = Instant::now();
                    cluster.submit(spec);
                    let round = cluster.schedule();
                    times.push(since.elapsed());
                    assert_eq!(round.decisions.len(), 1);
                    cluster.answer_all(&round);
                }
                median(times) * u32::try_from(iterations).expect("few")
            });
        });
    }
    group.finish();
}

/// Tasks that do not fit.
const AHEAD: u64 = 10_000;

/// The round in which a task is started that fits, alone and behind ten thousand that do not and are better. All of them
/// have just come; one like them waits already, as the first look at a new kind of request is another matter. When it is alone
/// as many have come and gone again before, so that the caches hold as little of what matters.
fn behind_ten_thousand(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("behind_ten_thousand");
    for (name, alone) in [("alone", true), ("behind", false)] {
        let mut cluster = Cluster::nibbled(MANY);
        cluster.come_in_front(1);
        let round = cluster.schedule();
        cluster.answer_all(&round);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let mut times = Vec::new();
                for _ in 0..iterations {
                    let waiting = cluster.come_in_front(AHEAD);
                    let large = &waiting[..AHEAD as usize];
                    let cancel = |cluster: &mut Cluster| {
                        for &task in large {
                            cluster.tell(&Fact::Cancelled { task });
                        }
                    };
                    if alone {
                        cancel(&mut cluster);
                    }
                    let since = Instant::now();
                    let round = cluster.schedule();
                    times.push(since.elapsed());
                    assert_eq!(round.actions().count(), 1);
                    cluster.answer_all(&round);
                    let (run, _) = cluster.executing.pop().expect("it runs");
                    cluster.tell(&Fact::WorkerEnded { run, rank: 0, exit: WorkerExit::exited(0) });
                    if !alone {
                        cancel(&mut cluster);
                    }
                    cluster.round();
                }
                median(times) * u32::try_from(iterations).expect("few")
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = replace_one, replace_one_of_a_long_queue, preempt_one, nothing, one_device_tasks, place_by_fgd,
        behind_ten_thousand
}
criterion_main!(benches);
