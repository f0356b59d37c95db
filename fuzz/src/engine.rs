//! The engine under any order of facts, before a cluster that does anything a cluster could do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use hai_core::engine::{Engine, EngineConfig, Policy, Timing};
use hai_core::model::*;

/// More operations make an input slow without making it deeper.
const OPS_MAX: usize = 400;
const USERS: [&str; 3] = ["alice", "bob", "carol"];
const GROUPS: [&str; 2] = ["g", "h"];
const NODES: [&str; 4] = ["n0", "n1", "n2", "n3"];
const MODELS: [&str; 2] = ["small", "big"];

/// Never panics; every round leaves nothing for a second one (I-7); nothing is held twice (I-1); gangs start whole
/// (I-2) on nodes and devices that may be used (I-3); everyone who waits has a verdict (I-9); an engine restored from
/// a snapshot, and one that replays the decisions, are the same engine.
pub fn engine_ops(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let Ok(config) = config(&mut input) else { return };
    let mut world = World::new(config);
    for _ in 0..OPS_MAX {
        if input.is_empty() {
            break;
        }
        let Ok(op) = Op::arbitrary(&mut input) else { break };
        if world.shows {
            eprintln!("{op:?}");
        }
        world.take(op);
        world.round();
    }
    world.compare();
}

/// One thing that happens. Numbers choose among what there is, so that most of them mean something.
#[derive(Debug)]
enum Op {
    Submit {
        user: u8,
        group: u8,
        priority: u8,
        workers: u8,
        shape: u8,
        kind: u8,
    },
    Cancel(u8),
    Hold(u8),
    Release(u8),
    Reprioritise {
        task: u8,
        priority: u8,
        rank: Option<i8>,
    },
    SetRight {
        user: u8,
        group: u8,
        priority: u8,
        limit: u8,
    },
    RemoveRight {
        user: u8,
        group: u8,
        priority: u8,
    },
    SetNode {
        node: u8,
        shape: u8,
        state: u8,
    },
    RemoveNode(u8),
    Device {
        node: u8,
        device: u8,
        well: bool,
    },
    Started(u8),
    Ended {
        worker: u8,
        how: u8,
    },
    Checkpoint {
        worker: u8,
        state: i8,
    },
    /// Goes to the engine's next deadline.
    Wait,
    Advance(u8),
    /// Something that no cluster should say.
    Nonsense(u8),
}

impl<'a> Arbitrary<'a> for Op {
    // By hand: one byte chooses, so that inputs are short and a changed byte changes one thing.
    fn arbitrary(input: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let mut byte = || input.arbitrary::<u8>();
        Ok(match byte()? % 20 {
            0..=2 => Op::Submit {
                user: byte()?,
                group: byte()?,
                priority: byte()?,
                workers: byte()?,
                shape: byte()?,
                kind: byte()?,
            },
            3 => Op::Cancel(byte()?),
            4 => Op::Hold(byte()?),
            5 => Op::Release(byte()?),
            6 => {
                let (task, priority, rank) = (byte()?, byte()?, byte()?);
                Op::Reprioritise { task, priority, rank: (rank % 2 == 0).then_some(rank.cast_signed()) }
            }
            7 => Op::SetRight { user: byte()?, group: byte()?, priority: byte()?, limit: byte()? },
            8 => Op::RemoveRight { user: byte()?, group: byte()?, priority: byte()? },
            9 | 10 => Op::SetNode { node: byte()?, shape: byte()?, state: byte()? },
            11 => Op::RemoveNode(byte()?),
            12 => Op::Device { node: byte()?, device: byte()?, well: byte()? % 2 == 0 },
            13 => Op::Started(byte()?),
            14 | 15 => Op::Ended { worker: byte()?, how: byte()? },
            16 => Op::Checkpoint { worker: byte()?, state: byte()?.cast_signed() },
            17 => Op::Wait,
            18 => Op::Advance(byte()?),
            _ => Op::Nonsense(byte()?),
        })
    }
}

fn config(input: &mut Unstructured<'_>) -> arbitrary::Result<EngineConfig> {
    let flags: u8 = input.arbitrary()?;
    let timing: u8 = input.arbitrary()?;
    let minutes = |shift: u8| Span::from_mins(u64::from((timing >> shift) & 3));
    Ok(EngineConfig {
        policy: if flags & 1 == 0 { Policy::Hai } else { Policy::HaiFifo },
        borrow: flags & 2 != 0,
        timing: Timing { protected: minutes(0), slice: minutes(2), demote_after: minutes(4) },
        restart_cost: minutes(6),
        ..EngineConfig::default()
    })
}

/// What a run holds, as the cluster sees it.
#[derive(Debug)]
struct Run {
    placement: Placement,
    alive: BTreeSet<u32>,
    started: BTreeSet<u32>,
}

struct World {
    engine: Engine,
    /// Told the same facts, and the first engine's decisions instead of deciding.
    follower: Engine,
    config: EngineConfig,
    now: Time,
    runs: BTreeMap<RunId, Run>,
    nodes: BTreeMap<usize, NodeSpec>,
    /// `HAI_FUZZ_SHOW` is set: tell on standard error what happens, for whoever looks into a finding.
    shows: bool,
}

fn pick<T: Copy>(from: &[T], number: u8) -> T {
    from[usize::from(number) % from.len()]
}

fn some<T>(from: impl ExactSizeIterator<Item = T>, number: u8) -> Option<T> {
    let len = from.len();
    let mut from = from;
    (len > 0).then(|| from.nth(usize::from(number) % len)).flatten()
}

fn user(number: u8) -> UserName {
    UserName::new(pick(&USERS, number)).expect("a good name")
}

fn group(number: u8) -> GroupName {
    GroupName::new(pick(&GROUPS, number / 2 % 2)).expect("a good name")
}

fn priority(number: u8) -> Priority {
    if number % 9 == 8 { Priority::Auto } else { Priority::LEVELS[usize::from(number % 9)] }
}

fn key(user_number: u8, group_number: u8, priority_number: u8) -> RightKey {
    RightKey {
        user: (user_number % 4 != 3).then(|| user(user_number % 4)),
        group: (!group_number.is_multiple_of(3)).then(|| group(group_number)),
        priority: (priority_number % 10 != 9).then(|| priority(priority_number % 10)),
        ..RightKey::default()
    }
}

fn node(index: usize, shape: u8, state: u8) -> NodeSpec {
    // A device that is exchanged for another kind has a new id; but a node's description may also be corrected.
    let kind = |device: u8| if index.is_multiple_of(2) { 0 } else { (device + shape / 5) % 2 };
    let devices = (0..shape % 5).map(|device| {
        let id = DeviceId::new(format!("{}-{device}-{}", NODES[index], kind(device))).expect("a good name");
        let model = ModelName::new(pick(&MODELS, device + shape / 5)).expect("a good name");
        let health = if state & 0x80 != 0 && device == 0 {
            DeviceHealth::Sick { reason: "so it says".to_owned() }
        } else {
            DeviceHealth::Healthy
        };
        DeviceSpec { health, ..DeviceSpec::new(id, model, 8192 << ((device + shape / 5) % 2)) }
    });
    NodeSpec {
        devices: devices.collect(),
        ready: state & 1 == 0,
        cordoned: state & 12 == 12,
        taints: if state & 0x70 == 0x70 { BTreeSet::from(["slow".to_owned()]) } else { BTreeSet::new() },
        ..NodeSpec::new(NodeName::new(NODES[index]).expect("a good name"), group(state & 2), 4000, 4096)
    }
}

impl World {
    fn new(config: EngineConfig) -> Self {
        let mut world = World {
            engine: Engine::new(config.clone()),
            follower: Engine::new(config.clone()),
            config,
            now: Time::ZERO,
            runs: BTreeMap::new(),
            nodes: BTreeMap::new(),
            shows: std::env::var_os("HAI_FUZZ_SHOW").is_some(),
        };
        // Where most inputs would have to come to first.
        world.set_node(0, 2, 0);
        world.set_node(1, 4, 0);
        world.tell(Fact::RightSet { right: RightRow::new(RightKey::default(), Allowance::UNLIMITED) });
        world
    }

    fn set_node(&mut self, index: usize, shape: u8, state: u8) {
        let node = node(index, shape, state);
        self.nodes.insert(index, node.clone());
        self.tell(Fact::NodeSet { node });
    }

    fn tell(&mut self, fact: Fact) {
        let told = self.engine.observe(self.now, &fact);
        let same = self.follower.observe(self.now, &fact);
        assert_eq!(told, same, "a replay judges a fact differently: {fact:?}");
    }

    fn take(&mut self, op: Op) {
        match op {
            Op::Submit { user: who, group: place, priority: level, workers, shape, kind } => {
                let spec = spec(who, place, level, workers, shape, kind);
                self.tell(Fact::Submitted { task: self.engine.next_task_id(), spec: Arc::new(spec) });
            }
            Op::Cancel(number) => self.tell_of_task(number, |task| Fact::Cancelled { task }),
            Op::Hold(number) => self.tell_of_task(number, |task| Fact::Held { task }),
            Op::Release(number) => self.tell_of_task(number, |task| Fact::Released { task }),
            Op::Reprioritise { task, priority: level, rank } => {
                let custom_rank = rank.and_then(|rank| Rank::new(f64::from(rank)));
                self.tell_of_task(task, |task| Fact::Reprioritised { task, priority: priority(level), custom_rank });
            }
            Op::SetRight { user, group, priority, limit } => {
                let bound = |bits: u8| if bits == 7 { Limit::Unlimited } else { Limit::at_most(u32::from(bits)) };
                let allowance = Allowance { nodes: bound(limit & 7), devices: bound(limit >> 3 & 7) };
                self.tell(Fact::RightSet { right: RightRow::new(key(user, group, priority), allowance) });
            }
            Op::RemoveRight { user, group, priority } => {
                self.tell(Fact::RightRemoved { key: key(user, group, priority) });
            }
            Op::SetNode { node, shape, state } => self.set_node(usize::from(node) % NODES.len(), shape, state),
            Op::RemoveNode(number) => {
                let index = usize::from(number) % NODES.len();
                self.nodes.remove(&index);
                self.tell(Fact::NodeRemoved { node: NodeName::new(NODES[index]).expect("a good name") });
            }
            Op::Device { node, device, well } => self.device(node, device, well),
            Op::Started(number) => {
                if let Some((run, rank)) = self.worker(number, false) {
                    self.runs.get_mut(&run).expect("it was listed").started.insert(rank);
                    self.tell(Fact::WorkerStarted { run, rank });
                }
            }
            Op::Ended { worker, how } => {
                if let Some((run, rank)) = self.worker(worker, true) {
                    self.runs.get_mut(&run).expect("it was listed").alive.remove(&rank);
                    self.tell(Fact::WorkerEnded { run, rank, exit: exit(how) });
                }
            }
            Op::Checkpoint { worker, state } => {
                if let Some((run, _)) = self.worker(worker, true) {
                    self.tell(Fact::Checkpointed { run, whole_life_state: i64::from(state) });
                }
            }
            Op::Wait => self.now = self.engine.next_deadline().unwrap_or(self.now).max(self.now),
            Op::Advance(seconds) => self.now += Span::from_secs(u64::from(seconds)),
            Op::Nonsense(number) => self.nonsense(number),
        }
    }

    fn tell_of_task(&mut self, number: u8, fact: impl FnOnce(TaskId) -> Fact) {
        let tasks: Vec<TaskId> = self.engine.tasks().map(|task| task.id).collect();
        if let Some(task) = some(tasks.into_iter(), number) {
            self.tell(fact(task));
        }
    }

    /// A worker that has not ended; if `any` is false one that was not reported as started.
    fn worker(&self, number: u8, any: bool) -> Option<(RunId, u32)> {
        let all = self.runs.iter().flat_map(|(&run, known)| {
            known.alive.iter().filter(move |rank| any || !known.started.contains(rank)).map(move |&rank| (run, rank))
        });
        some(all.collect::<Vec<_>>().into_iter(), number)
    }

    fn device(&mut self, number: u8, device: u8, well: bool) {
        let Some((_, node)) = some(self.nodes.iter_mut(), number) else { return };
        let Some(device) = some(node.devices.iter_mut(), device) else { return };
        device.health =
            if well { DeviceHealth::Healthy } else { DeviceHealth::Stranger { process: "somebody".to_owned() } };
        let fact =
            Fact::DeviceChanged { node: node.name.clone(), device: device.id.clone(), health: device.health.clone() };
        self.tell(fact);
    }

    fn nonsense(&mut self, number: u8) {
        let (run, task) = (RunId(u64::from(number)), TaskId(u64::from(number)));
        let fact = match number % 6 {
            0 => Fact::WorkerStarted { run, rank: 9999 },
            1 => Fact::WorkerEnded { run: RunId(u64::MAX), rank: 0, exit: exit(number) },
            2 => Fact::Checkpointed { run: RunId(9999 + run.0), whole_life_state: i64::MIN },
            3 => Fact::Submitted { task: TaskId(0), spec: Arc::new(spec(0, 0, 0, number, number, number)) },
            4 => Fact::Cancelled { task: TaskId(9999 + task.0) },
            _ => Fact::DeviceChanged {
                node: NodeName::new("nowhere").expect("a good name"),
                device: DeviceId::new("nothing").expect("a good name"),
                health: DeviceHealth::Healthy,
            },
        };
        let before = self.engine.snapshot();
        self.engine.observe(self.now, &fact).expect_err("nonsense is refused");
        assert_eq!(self.engine.snapshot(), before, "what was refused left a trace");
    }

    /// Decides, checks what was decided and carries it out.
    fn round(&mut self) {
        let round = self.engine.schedule(self.now);
        self.follower.replay(self.now, &round.decisions).expect("a decision can be replayed");
        if self.shows {
            round.decisions.iter().for_each(|decision| eprintln!("    {decision:?}"));
        }
        for decision in &round.decisions {
            match decision {
                Decision::Start { task, run, placement, .. } => self.start(*task, *run, placement),
                Decision::Suspend { run, .. } | Decision::Stop { run, .. } => {
                    assert!(self.runs.contains_key(run), "run {run} is told to leave and was never started");
                }
                _ => {}
            }
        }
        self.runs.retain(|_, run| !run.alive.is_empty());
        let again = self.engine.schedule(self.now);
        assert!(again.is_empty(), "a second round says {again:?}");
        let deadline = self.engine.next_deadline();
        assert!(deadline.is_none_or(|at| at > self.now), "at {} the next deadline is {deadline:?}", self.now);
        self.check_waiting();
    }

    fn start(&mut self, task: TaskId, id: RunId, placement: &Placement) {
        let spec = self.engine.task(task).expect("who starts is not finished").spec;
        assert_eq!(placement.workers.len(), spec.workers as usize, "a gang starts whole");
        for (index, place) in placement.workers.iter().enumerate() {
            let node = self.nodes.values().find(|node| node.name == place.node).expect("it starts on a node that is");
            assert!(node.ready && !node.cordoned && node.group == spec.group, "{node:?} may not be used");
            assert!(node.taints.is_subset(&spec.tolerates), "{node:?} is not tolerated");
            for id in &place.devices {
                let device = node.devices.iter().find(|device| device.id == *id).expect("it gets a device that is");
                // A whole node comes with what is broken on it, if that is allowed at all.
                assert!(device.health.is_healthy() || place.whole_node, "{device:?} may not be used");
                assert!(spec.request.accepts(device), "{device:?} was not asked for");
            }
            let apart = spec.distinct_nodes || place.whole_node;
            let before = &placement.workers[..index];
            assert!(!apart || before.iter().all(|other| other.node != place.node), "two workers on {}", place.node);
            let held = self.runs.values().flat_map(|run| run.alive.iter().map(|&r| &run.placement.workers[r as usize]));
            let (mut cpu_milli, mut memory_mib) = (place.cpu_milli, place.memory_mib);
            for other in held.chain(before).filter(|other| other.node == place.node) {
                assert!(!place.whole_node && !other.whole_node, "{} is shared and was given whole", place.node);
                let twice = place.devices.iter().find(|device| other.devices.contains(device));
                assert_eq!(twice, None, "a device is given out twice");
                cpu_milli += other.cpu_milli;
                memory_mib += other.memory_mib;
            }
            assert!(cpu_milli <= node.cpu_milli && memory_mib <= node.memory_mib, "{} is overfull", place.node);
        }
        let alive = (0..).take(placement.workers.len()).collect();
        let run = Run { placement: placement.clone(), alive, started: BTreeSet::new() };
        assert!(self.runs.insert(id, run).is_none(), "run {id} starts twice");
    }

    fn check_waiting(&self) {
        for task in self.engine.tasks() {
            let verdict = self.engine.verdict(task.id);
            let waits =
                matches!(task.state, TaskState::Waiting | TaskState::Suspended | TaskState::Promised | TaskState::Held);
            assert!(!waits || verdict.is_some(), "{task:?} has no verdict");
            assert_ne!(verdict, Some(Verdict::NotYetSeen), "{task:?} was not looked at");
            if let Some(verdict) = verdict {
                assert!(!verdict.to_string().is_empty());
            }
        }
    }

    fn compare(self) {
        assert_eq!(self.follower.tasks().collect::<Vec<_>>(), self.engine.tasks().collect::<Vec<_>>());
        assert_eq!(self.follower.runs().collect::<Vec<_>>(), self.engine.runs().collect::<Vec<_>>());
        assert_eq!(self.follower.nodes().collect::<Vec<_>>(), self.engine.nodes().collect::<Vec<_>>());
        // As after a restart: what is derived is not written, so the texts are compared.
        let written = serde_json::to_string(&self.engine.snapshot()).expect("a state can be written");
        let state = serde_json::from_str(&written).expect("a state can be read");
        let mut restored = Engine::restore(self.config, state);
        let again = serde_json::to_string(&restored.snapshot()).expect("a state can be written");
        assert_eq!(again, written, "a state is restored as something else");
        let round = restored.schedule(self.now);
        // A charge may follow a priority that was changed when the right did not allow that; nobody else is touched.
        let mut others = round.decisions.iter().filter(|decision| !matches!(decision, Decision::Recharge { .. }));
        assert_eq!(others.next(), None, "restored, nothing changed, and it decides {:?}", round.decisions);
    }
}

fn spec(who: u8, place: u8, level: u8, workers: u8, shape: u8, kind: u8) -> TaskSpec {
    let mut request =
        if shape % 6 == 5 { WorkerRequest::whole_node() } else { WorkerRequest::devices(u32::from(shape % 6)) };
    request.device_memory_mib = if kind & 1 != 0 { 16384 } else { 0 };
    if kind & 2 != 0 {
        request.models = vec![ModelName::new(pick(&MODELS, kind / 2)).expect("a good name")];
    }
    request.cpu_milli = if kind & 4 != 0 { 2000 } else { 0 };
    request.memory_mib = if kind & 8 != 0 { 3000 } else { 0 };
    let mut spec = TaskSpec::new("task", user(who), group(place), priority(level), request);
    spec.workers = u32::from(workers % 5);
    spec.distinct_nodes = kind & 16 != 0;
    if kind & 32 != 0 {
        spec.tolerates.insert("slow".to_owned());
    }
    spec.grace = Grace { answer: Span::from_secs(u64::from(kind >> 6)), finish: Span::from_secs(1) };
    spec
}

fn exit(how: u8) -> WorkerExit {
    let reason = || "so it says".to_owned();
    let fate = match how % 8 {
        0..=2 => WorkerFate::Exited { code: 0 },
        3 => WorkerFate::Exited { code: 1 },
        4 => WorkerFate::Killed { signal: 9 },
        5 => WorkerFate::NotExecuted { reason: reason() },
        6 => WorkerFate::Refused { reason: reason(), cause: RefusalCause::Task },
        _ => WorkerFate::Lost { reason: reason() },
    };
    WorkerExit { fate, signalled: how & 16 != 0, declared_done: how & 32 != 0 && how & 64 != 0, log_lost_bytes: 0 }
}
