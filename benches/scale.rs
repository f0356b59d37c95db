//! The engine at its full size: 10,000 nodes with 8 devices each, 48,000 running and 112,000 waiting tasks of mixed shapes
//! of 200 users. Prints what single events, whole rounds and memory cost.
//!
//! Arguments: a divisor of the size (1 by default; 10 for 1,000 nodes and a tenth of the tasks), and how many events.
//! What is timed is done in functions that are never inlined, so that `callgrind_annotate --inclusive=yes` tells their
//! instructions: [`an_end`], [`a_submission`], [`a_start`], [`first_round`], [`cold_round`], [`restoring`], [`gang_round`].

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hai_benches::big::Cluster;
use hai_core::engine::{Engine, EngineConfig, EngineState};
use hai_core::model::{Fact, Priority, Round, WorkerRequest};

/// Counts what is allocated.
struct Counting;
static BYTES: AtomicI64 = AtomicI64::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[expect(unsafe_code, reason = "an allocator can not be written without; it only counts and passes on")]
// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(i64::try_from(layout.size()).unwrap_or(0), Ordering::Relaxed);
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        BYTES.fetch_sub(i64::try_from(layout.size()).unwrap_or(0), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Time in which this thread was at work, from which what else the machine does is left out; on systems that do not tell, the
/// time of day. It goes on in steps of some milliseconds.
struct Stopwatch {
    at_work: Option<Duration>,
    since: Instant,
}

impl Stopwatch {
    fn start() -> Self {
        Stopwatch { at_work: Self::at_work(), since: Instant::now() }
    }

    fn at_work() -> Option<Duration> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
    }

    fn elapsed(&self) -> Duration {
        match (self.at_work, Self::at_work()) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => self.since.elapsed(),
        }
    }
}

/// What happens, for the table.
#[derive(Clone, Copy)]
enum Event {
    End,
    Submission,
    Start,
}

#[derive(Default)]
struct Measured {
    times: [Vec<Duration>; 3],
    /// How many events allocated so often.
    allocations: [Vec<u64>; 3],
}

/// Keeps functions that do the same from being made one, since a profile could then not tell them apart.
#[inline(always)]
fn distinct(name: &str) {
    std::hint::black_box(name);
}

#[inline(never)]
fn an_end(cluster: &mut Cluster, fact: &Fact) -> Round {
    distinct("an_end");
    cluster.tell(fact);
    cluster.schedule()
}

#[inline(never)]
fn a_submission(cluster: &mut Cluster, fact: &Fact) -> Round {
    distinct("a_submission");
    cluster.tell(fact);
    cluster.schedule()
}

#[inline(never)]
fn a_start(cluster: &mut Cluster, fact: &Fact) -> Round {
    distinct("a_start");
    cluster.tell(fact);
    cluster.schedule()
}

#[inline(never)]
fn first_round(cluster: &mut Cluster) -> Round {
    distinct("first_round");
    cluster.schedule()
}

#[inline(never)]
fn cold_round(cluster: &mut Cluster) -> Round {
    distinct("cold_round");
    cluster.schedule()
}

#[inline(never)]
fn restoring(state: EngineState) -> Engine {
    Engine::restore(EngineConfig::default(), state)
}

#[inline(never)]
fn gang_round(cluster: &mut Cluster) -> Round {
    distinct("gang_round");
    cluster.schedule()
}

impl Measured {
    fn measure(&mut self, event: Event, cluster: &mut Cluster, fact: &Fact) -> Round {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let since = Instant::now();
        let round = match event {
            Event::End => an_end(cluster, fact),
            Event::Submission => a_submission(cluster, fact),
            Event::Start => a_start(cluster, fact),
        };
        self.times[event as usize].push(since.elapsed());
        self.allocations[event as usize].push(ALLOCATIONS.load(Ordering::Relaxed) - before);
        round
    }

    /// Carries out what a round decided, each answer an event of its own.
    fn settle(&mut self, cluster: &mut Cluster, round: Round) {
        let mut rounds = vec![round];
        while let Some(round) = rounds.pop() {
            for decision in &round.decisions {
                for fact in cluster.answer(decision) {
                    let event = if matches!(fact, Fact::WorkerStarted { .. }) { Event::Start } else { Event::End };
                    rounds.push(self.measure(event, cluster, &fact));
                }
            }
            drop(cluster.engine.drain_changes());
        }
    }

    fn report(mut self) {
        for (event, name) in [(Event::End, "ends"), (Event::Submission, "comes"), (Event::Start, "starts")] {
            let times = &mut self.times[event as usize];
            let allocations = &mut self.allocations[event as usize];
            times.sort_unstable();
            allocations.sort_unstable();
            let sum: u64 = allocations.iter().sum();
            println!(
                "{name:8} median {:>9.1?}  p99 {:>9.1?}  max {:>9.1?}  allocations: median {} p90 {} mean {:.1}",
                quantile(times, 500),
                quantile(times, 990),
                quantile(times, 1000),
                quantile(allocations, 500),
                quantile(allocations, 900),
                sum as f64 / allocations.len().max(1) as f64
            );
        }
    }
}

fn quantile<T: Copy>(sorted: &[T], thousandths: usize) -> T {
    sorted[(sorted.len() - 1) * thousandths / 1000]
}

fn events(cluster: &mut Cluster, count: usize) -> Measured {
    let mut measured = Measured::default();
    for _ in 0..count {
        for fact in cluster.draw_end() {
            let round = measured.measure(Event::End, cluster, &fact);
            measured.settle(cluster, round);
        }
        let spec = Arc::new(cluster.spec());
        let task = cluster.engine.next_task_id();
        let round = measured.measure(Event::Submission, cluster, &Fact::Submitted { task, spec });
        measured.settle(cluster, round);
    }
    measured
}

fn snapshots(cluster: &mut Cluster) {
    let since = Stopwatch::start();
    let state = cluster.engine.snapshot();
    println!("taking a snapshot: {:.1?}", since.elapsed());
    let since = Stopwatch::start();
    let engine = restoring(state);
    println!("restoring it: {:.1?}", since.elapsed());
    let kept = std::mem::replace(&mut cluster.engine, engine);
    let since = Stopwatch::start();
    let round = cold_round(cluster);
    println!("cold full round over all waiting: {:.1?}, {} decisions", since.elapsed(), round.decisions.len());
    cluster.engine = kept;
}

fn waiting_tasks(cluster: &mut Cluster, more: u64) {
    let before = BYTES.load(Ordering::Relaxed);
    for _ in 0..more {
        let mixed = cluster.spec();
        let models = vec![cluster.models[0].clone()];
        let request = WorkerRequest { models, devices: mixed.request.devices, ..WorkerRequest::devices(1) };
        cluster.submit(hai_core::model::TaskSpec { priority: Priority::Low, workers: 1, request, ..mixed });
    }
    cluster.round();
    let per_task = (BYTES.load(Ordering::Relaxed) - before) / i64::try_from(more).expect("few");
    println!("{more} more waiting tasks: {per_task} bytes each, their descriptions included");
}

fn gang(cluster: &mut Cluster, nodes: u64) {
    let workers = 64.min(u32::try_from(nodes).expect("few") / 2);
    let mut gang = cluster.one(0, Priority::ExtremeHigh, WorkerRequest::whole_node());
    gang.workers = workers;
    cluster.submit(gang);
    let since = Instant::now();
    let round = gang_round(cluster);
    let victims = round.actions().count();
    println!("room for {workers} whole nodes by preemption: {:.1?}, {victims} victims", since.elapsed());
    cluster.answer_all(&round);
    cluster.round();
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse::<u64>().ok());
    let divisor = numbers.next().unwrap_or(1).max(1);
    let count = numbers.next().unwrap_or(20_000) as usize;
    let nodes = 10_000 / divisor;

    let before = BYTES.load(Ordering::Relaxed);
    let mut cluster = Cluster::new(EngineConfig::default(), nodes);
    let per_node = (BYTES.load(Ordering::Relaxed) - before) / i64::try_from(nodes).expect("few");
    println!("{nodes} nodes: {per_node} bytes each, their descriptions included");

    let wanted = 160_000 / divisor;
    let since = Stopwatch::start();
    for _ in 0..wanted {
        let spec = cluster.spec();
        cluster.submit(spec);
    }
    let submitted = since.elapsed();
    let since = Stopwatch::start();
    let round = first_round(&mut cluster);
    println!(
        "first round of {wanted} tasks, {} decisions: {:.1?} (submitting them {submitted:.1?})",
        round.decisions.len(),
        since.elapsed()
    );
    cluster.answer_all(&round);
    cluster.round();
    println!("{} runs, {} waiting", cluster.executing.len(), wanted as usize - cluster.executing.len());

    drop(events(&mut cluster, 200));
    events(&mut cluster, count).report();
    snapshots(&mut cluster);
    waiting_tasks(&mut cluster, 20_000 / divisor);
    for _ in 0..5 {
        gang(&mut cluster, nodes);
    }
}
