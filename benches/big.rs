//! The cluster at its full size: nodes with 8 devices of 4 models in 40 leaves, tasks of mixed shapes of 200 users.

use std::sync::Arc;

use hai_core::engine::{Engine, EngineConfig};
use hai_core::model::{
    Allowance, Decision, DeviceId, DeviceSpec, Fact, GroupName, ModelName, NodeName, NodeSpec, PlaceName, Priority,
    RightKey, RightRow, Round, RunId, Span, TaskId, TaskSpec, Time, UserName, WorkerExit, WorkerRequest,
};

/// Random numbers that are the same every time (Steele et al., SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Numbers that follow from this one.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below this one.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

const MODELS: [(&str, u64); 4] = [("L4", 24), ("A100-40", 40), ("A100-80", 80), ("H100", 80)];

/// An engine with its clock, what runs on it, and where its tasks come from.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The engine.
    pub engine: Engine,
    /// Its time.
    pub now: Time,
    /// What everything is drawn from.
    pub random: Random,
    /// Runs that execute, with their workers.
    pub executing: Vec<(RunId, u32)>,
    /// The models of its devices.
    pub models: Vec<ModelName>,
    users: Vec<UserName>,
    group: GroupName,
}

impl Cluster {
    /// So many nodes with nobody on them, in which everybody may hold everything.
    ///
    /// # Panics
    /// Never: the facts are made here and good.
    #[must_use]
    pub fn new(config: EngineConfig, nodes: u64) -> Self {
        let mut cluster = Cluster {
            engine: Engine::new(config),
            now: Time::ZERO,
            random: Random::new(20_261_124),
            executing: Vec::new(),
            models: MODELS.iter().map(|(name, _)| ModelName::new(name).expect("printable")).collect(),
            users: (0..200).map(|number| UserName::new(format!("user-{number}")).expect("plain")).collect(),
            group: GroupName::new("gpu").expect("letters"),
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

    /// The same with 16 waiting tasks of mixed shapes for each node, started as far as there is room.
    #[must_use]
    pub fn filled(config: EngineConfig, nodes: u64) -> Self {
        let mut cluster = Cluster::new(config, nodes);
        for _ in 0..nodes * 16 {
            let spec = cluster.spec();
            cluster.submit(spec);
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

    /// Tells the engine a fact.
    ///
    /// # Panics
    /// If it is not a good one.
    pub fn tell(&mut self, fact: &Fact) {
        self.engine.observe(self.now, fact).expect("a good fact");
    }

    /// A user.
    #[must_use]
    pub fn user(&self, number: usize) -> UserName {
        self.users[number % self.users.len()].clone()
    }

    /// A task of one worker.
    #[must_use]
    pub fn one(&self, user: usize, priority: Priority, request: WorkerRequest) -> TaskSpec {
        TaskSpec::new("bench", self.user(user), self.group.clone(), priority, request)
    }

    /// The next task of the mix.
    pub fn spec(&mut self) -> TaskSpec {
        let user = self.random.below(200) as usize;
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
        TaskSpec { workers, ..self.one(user, priority, request) }
    }

    /// Submits a task.
    pub fn submit(&mut self, spec: TaskSpec) -> TaskId {
        let task = self.engine.next_task_id();
        self.tell(&Fact::Submitted { task, spec: Arc::new(spec) });
        task
    }

    /// One round, a millisecond later.
    pub fn schedule(&mut self) -> Round {
        self.now += Span::from_ms(1);
        self.engine.schedule(self.now)
    }

    /// What the cluster answers to a decision: the facts, and what executes from now on.
    ///
    /// # Panics
    /// If a run is suspended that does not execute.
    pub fn answer(&mut self, decision: &Decision) -> Vec<Fact> {
        match decision {
            Decision::Start { run, placement, .. } => {
                let workers = u32::try_from(placement.workers.len()).expect("few");
                self.executing.push((*run, workers));
                (0..workers).map(|rank| Fact::WorkerStarted { run: *run, rank }).collect()
            }
            Decision::Suspend { run, .. } => {
                let at = self.executing.iter().rposition(|(known, _)| known == run).expect("it runs");
                let (run, workers) = self.executing.swap_remove(at);
                let exit = || WorkerExit::exited(0).after_signal();
                (0..workers).map(|rank| Fact::WorkerEnded { run, rank, exit: exit() }).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Tells all answers to a round at once.
    pub fn answer_all(&mut self, round: &Round) {
        for decision in &round.decisions {
            for fact in self.answer(decision) {
                self.tell(&fact);
            }
        }
        drop(self.engine.drain_changes());
    }

    /// Rounds, and all answers to them, until nothing is left to do.
    pub fn round(&mut self) {
        loop {
            let round = self.schedule();
            self.answer_all(&round);
            if round.actions().next().is_none() {
                return;
            }
        }
    }

    /// So many tasks of one device come, start and end, with one round for all of them; what changed is taken out as a store
    /// would.
    ///
    /// # Panics
    /// If there is no room for all of them.
    pub fn pass_through(&mut self, spec: &Arc<TaskSpec>, tasks: usize) {
        for _ in 0..tasks {
            let task = self.engine.next_task_id();
            self.tell(&Fact::Submitted { task, spec: Arc::clone(spec) });
        }
        let round = self.schedule();
        assert_eq!(round.decisions.len(), tasks, "there is room for all");
        for decision in &round.decisions {
            let Decision::Start { run, .. } = *decision else { unreachable!("nothing else is decided") };
            self.tell(&Fact::WorkerStarted { run, rank: 0 });
            self.tell(&Fact::WorkerEnded { run, rank: 0, exit: WorkerExit::exited(0) });
        }
        drop(self.engine.drain_changes());
    }

    /// So many nodes of which one device is taken on each, so that nobody can have all eight of one.
    #[must_use]
    pub fn nibbled(nodes: u64) -> Self {
        let mut cluster = Cluster::new(EngineConfig::default(), nodes);
        let request = WorkerRequest { cpu_milli: 100_000, ..WorkerRequest::devices(1) };
        for _ in 0..nodes {
            let spec = cluster.one(0, Priority::Normal, request.clone());
            cluster.submit(spec);
        }
        cluster.round();
        cluster
    }

    /// So many tasks come that want all devices of a node, and after them one that wants one device.
    pub fn come_in_front(&mut self, ahead: u64) -> Vec<TaskId> {
        let large = Arc::new(self.one(1, Priority::Normal, WorkerRequest::devices(8)));
        let small = Arc::new(self.one(2, Priority::Normal, WorkerRequest::devices(1)));
        let mut tasks = Vec::new();
        for spec in (0..ahead).map(|_| &large).chain([&small]) {
            let task = self.engine.next_task_id();
            self.tell(&Fact::Submitted { task, spec: Arc::clone(spec) });
            tasks.push(task);
        }
        tasks
    }

    /// Any run that executes ends well.
    pub fn draw_end(&mut self) -> Vec<Fact> {
        let at = self.random.below(self.executing.len() as u64) as usize;
        let (run, workers) = self.executing.swap_remove(at);
        (0..workers).map(|rank| Fact::WorkerEnded { run, rank, exit: WorkerExit::exited(0) }).collect()
    }
}
