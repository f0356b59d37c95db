//! The engine at its full size: 10,000 nodes with 8 devices each, 60,000 running and 100,000 waiting tasks of mixed shapes
//! of 200 users. Prints what single events, whole rounds and memory cost.
//!
//! Arguments: a divisor of the size (1 by default; 10 for 1,000 nodes and a tenth of the tasks), and how many events.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hai_core::engine::{Engine, EngineConfig};
use hai_core::model::{
    Allowance, Decision, DeviceId, DeviceSpec, Fact, GroupName, ModelName, NodeName, NodeSpec, PlaceName, Priority,
    RightKey, RightRow, Round, RunId, Span, TaskId, TaskSpec, Time, UserName, WorkerExit, WorkerRequest,
};

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

/// Random numbers that are the same every time (Steele et al., SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

const MODELS: [(&str, u64); 4] = [("L4", 24), ("A100-40", 40), ("A100-80", 80), ("H100", 80)];

struct Cluster {
    engine: Engine,
    now: Time,
    random: Random,
    executing: Vec<(RunId, u32)>,
    users: Vec<UserName>,
    group: GroupName,
    models: Vec<ModelName>,
}

impl Cluster {
    fn new(nodes: u64) -> Self {
        let group = GroupName::new("gpu").expect("letters");
        let mut cluster = Cluster {
            engine: Engine::new(EngineConfig::default()),
            now: Time::ZERO,
            random: Random(20_261_124),
            executing: Vec::new(),
            users: (0..200).map(|number| UserName::new(format!("user-{number}")).expect("plain")).collect(),
            group,
            models: MODELS.iter().map(|(name, _)| ModelName::new(name).expect("printable")).collect(),
        };
        let right = RightRow::new(RightKey::default(), Allowance::UNLIMITED);
        cluster.tell(&Fact::RightSet { right });
        for number in 0..nodes {
            let node = cluster.node(number, nodes);
            cluster.tell(&Fact::NodeSet { node });
        }
        cluster.round();
        cluster
    }

    fn node(&self, number: u64, nodes: u64) -> NodeSpec {
        let name = NodeName::new(format!("node-{number}")).expect("plain");
        let kind = (number % 4) as usize;
        let mut node = NodeSpec::new(name, self.group.clone(), 128_000, 512 * 1024);
        let leaf = number * 40 / nodes;
        node.location.leaf = Some(PlaceName::new(format!("leaf-{leaf}")).expect("printable"));
        node.location.spine = Some(PlaceName::new(format!("spine-{}", leaf / 10)).expect("printable"));
        node.devices = (0..8)
            .map(|index| {
                let id = DeviceId::new(format!("GPU-{number}-{index}")).expect("printable");
                DeviceSpec::new(id, self.models[kind].clone(), MODELS[kind].1 * 1024)
            })
            .collect();
        node
    }

    fn tell(&mut self, fact: &Fact) {
        self.engine.observe(self.now, fact).expect("a good fact");
    }

    fn spec(&mut self) -> TaskSpec {
        let user = self.users[self.random.below(200) as usize].clone();
        let priority = match self.random.below(10) {
            0 => Priority::High,
            1 => Priority::Auto,
            2..=6 => Priority::Normal,
            _ => Priority::Low,
        };
        let (workers, devices) = match self.random.below(1000) {
            0..=849 => (1, 1),
            850..=919 => (1, 2),
            920..=959 => (1, 4),
            960..=989 => (1, 8),
            990..=995 => (2, 8),
            996..=998 => (4, 8),
            _ => (8, 8),
        };
        let mut request = WorkerRequest::devices(devices);
        request.cpu_milli = 4000 * devices;
        request.memory_mib = 16 * 1024 * u64::from(devices);
        match self.random.below(4) {
            0 => request.models = vec![self.models[self.random.below(4) as usize].clone()],
            1 => request.device_memory_mib = 40 * 1024,
            _ => {}
        }
        let mut spec = TaskSpec::new("bench", user, self.group.clone(), priority, request);
        spec.workers = workers;
        spec
    }

    fn submit(&mut self, spec: TaskSpec) -> TaskId {
        let task = self.engine.next_task_id();
        self.tell(&Fact::Submitted { task, spec: Arc::new(spec) });
        task
    }

    fn schedule(&mut self) -> Round {
        self.now += Span::from_ms(1);
        self.engine.schedule(self.now)
    }

    /// What the cluster answers to a round.
    fn answer(&mut self, round: &Round) {
        for decision in &round.decisions {
            match decision {
                Decision::Start { run, placement, .. } => {
                    let workers = u32::try_from(placement.workers.len()).expect("few");
                    for rank in 0..workers {
                        self.tell(&Fact::WorkerStarted { run: *run, rank });
                    }
                    self.executing.push((*run, workers));
                }
                Decision::Suspend { run, .. } => {
                    let at = self.executing.iter().rposition(|(known, _)| known == run).expect("it runs");
                    let (run, workers) = self.executing.swap_remove(at);
                    for rank in 0..workers {
                        self.tell(&Fact::WorkerEnded { run, rank, exit: WorkerExit::exited(0).after_signal() });
                    }
                }
                _ => {}
            }
        }
        drop(self.engine.drain_changes());
    }

    fn round(&mut self) {
        loop {
            let round = self.schedule();
            self.answer(&round);
            if round.actions().next().is_none() {
                return;
            }
        }
    }
}

fn quantile(sorted: &[Duration], thousandths: usize) -> Duration {
    sorted[(sorted.len() - 1) * thousandths / 1000]
}

fn report(name: &str, mut times: Vec<Duration>, allocations: u64) {
    times.sort_unstable();
    let count = times.len().max(1) as u64;
    println!(
        "{name:34} median {:>9.1?}  p99 {:>9.1?}  max {:>9.1?}  {:.1} allocations",
        quantile(&times, 500),
        quantile(&times, 990),
        quantile(&times, 1000),
        allocations as f64 / count as f64
    );
}

/// What happens, for the table.
const EVENTS: [&str; 3] = ["a worker ends, and a round", "a task comes, and a round", "a worker starts, and a round"];

fn events(cluster: &mut Cluster, count: usize) {
    let mut times: [Vec<Duration>; 3] = Default::default();
    let mut allocations = [0; 3];
    let mut measure = |kind: usize, cluster: &mut Cluster, act: &mut dyn FnMut(&mut Cluster)| -> Round {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let since = Instant::now();
        act(cluster);
        let round = cluster.schedule();
        times[kind].push(since.elapsed());
        allocations[kind] += ALLOCATIONS.load(Ordering::Relaxed) - before;
        round
    };
    for _ in 0..count {
        let at = cluster.random.below(cluster.executing.len() as u64) as usize;
        let (run, workers) = cluster.executing.swap_remove(at);
        for rank in 0..workers {
            let exit = WorkerExit::exited(0);
            let round = measure(0, cluster, &mut |cluster| {
                cluster.tell(&Fact::WorkerEnded { run, rank, exit: exit.clone() });
            });
            settle(cluster, round, &mut measure);
        }
        let spec = Arc::new(cluster.spec());
        let task = cluster.engine.next_task_id();
        let round =
            measure(1, cluster, &mut |cluster| cluster.tell(&Fact::Submitted { task, spec: Arc::clone(&spec) }));
        settle(cluster, round, &mut measure);
    }
    for kind in 0..3 {
        report(EVENTS[kind], std::mem::take(&mut times[kind]), allocations[kind]);
    }
}

/// Carries out what a round decided, each answer an event of its own.
fn settle(
    cluster: &mut Cluster,
    round: Round,
    measure: &mut impl FnMut(usize, &mut Cluster, &mut dyn FnMut(&mut Cluster)) -> Round,
) {
    let mut rounds = vec![round];
    while let Some(round) = rounds.pop() {
        for decision in &round.decisions {
            match decision {
                Decision::Start { run, placement, .. } => {
                    let workers = u32::try_from(placement.workers.len()).expect("few");
                    cluster.executing.push((*run, workers));
                    for rank in 0..workers {
                        let fact = Fact::WorkerStarted { run: *run, rank };
                        rounds.push(measure(2, cluster, &mut |cluster| cluster.tell(&fact)));
                    }
                }
                Decision::Suspend { run, .. } => {
                    let at = cluster.executing.iter().rposition(|(known, _)| known == run).expect("it runs");
                    let (run, workers) = cluster.executing.swap_remove(at);
                    for rank in 0..workers {
                        let exit = WorkerExit::exited(0).after_signal();
                        let fact = Fact::WorkerEnded { run, rank, exit };
                        rounds.push(measure(0, cluster, &mut |cluster| cluster.tell(&fact)));
                    }
                }
                _ => {}
            }
        }
        drop(cluster.engine.drain_changes());
    }
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse::<u64>().ok());
    let divisor = numbers.next().unwrap_or(1).max(1);
    let count = numbers.next().unwrap_or(20_000) as usize;
    let nodes = 10_000 / divisor;

    let before = BYTES.load(Ordering::Relaxed);
    let mut cluster = Cluster::new(nodes);
    let per_node = (BYTES.load(Ordering::Relaxed) - before) / i64::try_from(nodes).expect("few");
    println!("{nodes} nodes: {per_node} bytes each, their descriptions included");

    let wanted = 160_000 / divisor;
    let since = Instant::now();
    for _ in 0..wanted {
        let spec = cluster.spec();
        cluster.submit(spec);
    }
    let submitted = since.elapsed();
    let since = Instant::now();
    let round = cluster.schedule();
    println!(
        "first round of {wanted} tasks, {} decisions: {:.1?} (submitting them {submitted:.1?})",
        round.decisions.len(),
        since.elapsed()
    );
    cluster.answer(&round);
    cluster.round();
    println!("{} runs, {} waiting", cluster.executing.len(), wanted as usize - cluster.executing.len());

    events(&mut cluster, 200);
    println!("-- warm --");
    events(&mut cluster, count);

    let since = Instant::now();
    let state = cluster.engine.snapshot();
    println!("taking a snapshot: {:.1?}", since.elapsed());
    let since = Instant::now();
    let mut restored = Engine::restore(EngineConfig::default(), state);
    println!("restoring it: {:.1?}", since.elapsed());
    let since = Instant::now();
    let round = restored.schedule(cluster.now);
    println!("cold full round over all waiting: {:.1?}, {} decisions", since.elapsed(), round.decisions.len());
    drop(restored);

    let before = BYTES.load(Ordering::Relaxed);
    let more = 20_000 / divisor;
    for _ in 0..more {
        let mut spec = cluster.spec();
        spec.priority = Priority::Low;
        spec.workers = 1;
        spec.request.models = vec![cluster.models[0].clone()];
        spec.request = WorkerRequest {
            devices: spec.request.devices,
            models: vec![cluster.models[0].clone()],
            ..WorkerRequest::devices(1)
        };
        cluster.submit(spec);
    }
    cluster.round();
    let per_task = (BYTES.load(Ordering::Relaxed) - before) / i64::try_from(more).expect("few");
    println!("{more} more waiting tasks: {per_task} bytes each, their descriptions included");

    let mut gang = cluster.spec();
    gang.priority = Priority::ExtremeHigh;
    gang.workers = 64.min(u32::try_from(nodes).expect("few") / 2);
    gang.request = WorkerRequest::whole_node();
    let workers = gang.workers;
    let since = Instant::now();
    cluster.submit(gang);
    let round = cluster.schedule();
    let victims = round.actions().count();
    println!("room for {workers} whole nodes by preemption: {:.1?}, {victims} victims", since.elapsed());
}
