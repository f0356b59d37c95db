//! I-5: what is wrong with one task, node or right never changes what is decided for others.
//!
//! A story is played twice, the second time amid noise: hopeless tasks of a stranger, the stranger's rights, and nodes,
//! work and trouble in another group. The decisions about the story's own tasks must be the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hai_core::engine::Engine;
use hai_core::model::*;
use proptest::collection::vec;
use proptest::prelude::*;

use super::ops::{End, Op, Story};

/// Something that is none of the others' business.
#[derive(Clone, Debug)]
pub(crate) enum Noise {
    /// A task that no group could ever hold, among the others'.
    TooLarge(Priority),
    /// A task without a right, among the others'.
    NoRight(Priority),
    /// A task for a group that is not.
    Nowhere,
    /// A task that is held before anybody looks at it, among the others'.
    Held(Priority),
    /// The stranger's right.
    Right(u32),
    /// A node elsewhere, as it is or changed.
    Node(u8, bool),
    Sick(u8),
    RemoveNode(u8),
    /// Work elsewhere.
    Work(Priority),
    /// A worker elsewhere fails, or is done.
    EndWork(u8, bool),
}

pub(crate) fn noise() -> impl Strategy<Value = Vec<(u8, Noise)>> {
    let level = || proptest::sample::select(vec![Priority::ExtremeHigh, Priority::Normal, Priority::Auto]);
    let one = prop_oneof![
        3 => level().prop_map(Noise::TooLarge),
        3 => level().prop_map(Noise::NoRight),
        1 => Just(Noise::Nowhere),
        1 => level().prop_map(Noise::Held),
        2 => (0..3_u32).prop_map(Noise::Right),
        3 => (any::<u8>(), any::<bool>()).prop_map(|(node, ready)| Noise::Node(node, ready)),
        1 => any::<u8>().prop_map(Noise::Sick),
        1 => any::<u8>().prop_map(Noise::RemoveNode),
        4 => level().prop_map(Noise::Work),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(pick, well)| Noise::EndWork(pick, well)),
    ];
    vec((any::<u8>(), one), 1..30)
}

/// The decisions about the story's own tasks, round by round. The noise comes before the operations that it names.
pub(crate) fn decisions_amid(story: &Story, noise: &[(u8, Noise)]) -> Vec<String> {
    let mut stage = Stage {
        engine: Engine::new(story.config.clone()),
        now: Time::ZERO,
        runs: BTreeMap::new(),
        attempts: BTreeMap::new(),
        last_own: TaskId(0),
        nodes: Vec::new(),
        said: Vec::new(),
    };
    let own = |node: &NodeSpec| NodeSpec { group: GroupName::new("g0").unwrap(), ..node.clone() };
    for node in &story.nodes {
        stage.own_node(own(node));
    }
    for right in &story.rights {
        stage.tell(Fact::RightSet { right: right.clone() });
    }
    for (index, (op, ask)) in story.ops.iter().enumerate() {
        for (_, noise) in noise.iter().filter(|(at, _)| usize::from(*at) % story.ops.len() == index) {
            stage.make_noise(noise);
        }
        match op {
            Op::Node(node) => stage.own_node(own(node)),
            op => stage.happen(op),
        }
        if *ask {
            stage.round();
        }
    }
    stage.round();
    stage.said
}

struct Stage {
    engine: Engine,
    now: Time,
    runs: BTreeMap<RunId, Run>,
    /// Runs of each task so far.
    attempts: BTreeMap<TaskId, u32>,
    last_own: TaskId,
    /// The story's own, as last told.
    nodes: Vec<NodeSpec>,
    said: Vec<String>,
}

struct Run {
    task: TaskId,
    attempt: u32,
    waiting: BTreeSet<u32>,
    alive: BTreeSet<u32>,
    leaving: bool,
}

impl Run {
    /// One that has no workers yet.
    fn of(task: TaskId) -> Self {
        Run { task, attempt: 0, waiting: BTreeSet::new(), alive: BTreeSet::new(), leaving: false }
    }
}

/// The story's own tasks have these numbers; between them the stranger's have room.
const OWN: u64 = 1_000;

fn is_own(task: TaskId) -> bool {
    task.0.is_multiple_of(OWN)
}

impl Stage {
    /// Facts that can not be are part of every story.
    fn tell(&mut self, fact: Fact) {
        let _ = self.engine.observe(self.now, &fact);
    }

    fn own_node(&mut self, node: NodeSpec) {
        self.nodes.retain(|known| known.name != node.name);
        self.nodes.push(node.clone());
        self.tell(Fact::NodeSet { node });
    }

    fn happen(&mut self, op: &Op) {
        match op {
            Op::Submit(spec, ..) => {
                self.last_own.0 += OWN;
                let spec = TaskSpec { group: GroupName::new("g0").unwrap(), ..(**spec).clone() };
                self.tell(Fact::Submitted { task: self.last_own, spec: Arc::new(spec) });
            }
            Op::Cancel(pick) => self.tell_of_task(*pick, |task| Fact::Cancelled { task }),
            Op::Hold(pick) => self.tell_of_task(*pick, |task| Fact::Held { task }),
            Op::Release(pick) => self.tell_of_task(*pick, |task| Fact::Released { task }),
            Op::Reprioritise(pick, priority, _) => {
                self.tell_of_task(*pick, |task| Fact::Reprioritised { task, priority: *priority, custom_rank: None });
            }
            Op::Right(right, _) => self.tell(Fact::RightSet { right: right.clone() }),
            Op::Ready(pick, ready) => self.change_node(*pick, |node| node.ready = *ready),
            Op::Cordon(pick, cordoned) => self.change_node(*pick, |node| node.cordoned = *cordoned),
            Op::Duty(pick, duty) => self.change_node(*pick, |node| *node = node.clone().with_duty(*duty)),
            Op::Pass(secs, _) => self.pass(Span::from_secs((*secs).into())),
            Op::EndWorker(pick, end) => {
                let alive: Vec<(RunId, u32)> = self.alive(true);
                if let Some(&(run, rank)) = alive.get(usize::from(*pick) % alive.len().max(1)) {
                    let exit = match end {
                        End::Failure | End::Killed | End::NotExecuted => WorkerExit::exited(1),
                        End::Lost | End::Refused | End::RefusedByNode => {
                            WorkerExit::of(WorkerFate::Lost { reason: "gone".to_owned() })
                        }
                        _ => WorkerExit::exited(0),
                    };
                    self.end_worker(run, rank, exit);
                }
            }
            // The rest is about the engine itself, not about tasks.
            _ => {}
        }
    }

    fn tell_of_task(&mut self, pick: u8, fact: impl FnOnce(TaskId) -> Fact) {
        let own = self.last_own.0 / OWN;
        if own > 0 {
            self.tell(fact(TaskId((u64::from(pick) % own + 1) * OWN)));
        }
    }

    fn change_node(&mut self, pick: u8, change: impl FnOnce(&mut NodeSpec)) {
        if !self.nodes.is_empty() {
            let mut node = self.nodes[usize::from(pick) % self.nodes.len()].clone();
            change(&mut node);
            self.own_node(node);
        }
    }

    fn alive(&self, own: bool) -> Vec<(RunId, u32)> {
        let mut alive: Vec<_> = self.runs.iter().filter(|(_, run)| is_own(run.task) == own).collect();
        alive.sort_by_key(|(_, run)| (run.task, run.attempt));
        alive.into_iter().flat_map(|(id, run)| run.alive.iter().map(|rank| (*id, *rank))).collect()
    }

    fn end_worker(&mut self, run: RunId, rank: u32, exit: WorkerExit) {
        self.tell(Fact::WorkerEnded { run, rank, exit });
        let known = self.runs.get_mut(&run).unwrap();
        known.alive.remove(&rank);
        known.waiting.remove(&rank);
    }

    fn pass(&mut self, span: Span) {
        self.now += span;
        for (own, run, rank) in [true, false]
            .into_iter()
            .flat_map(|own| {
                let alive = self.alive(own);
                alive.into_iter().map(move |(run, rank)| (own, run, rank))
            })
            .collect::<Vec<_>>()
        {
            debug_assert_eq!(own, is_own(self.runs[&run].task));
            if self.runs[&run].leaving {
                self.end_worker(run, rank, WorkerExit::exited(0).after_signal());
            } else if self.runs.get_mut(&run).unwrap().waiting.remove(&rank) {
                self.tell(Fact::WorkerStarted { run, rank });
            }
        }
    }

    fn make_noise(&mut self, noise: &Noise) {
        let spec = |group: &str, priority, workers| {
            let (user, group) = (UserName::new("stranger").unwrap(), GroupName::new(group).unwrap());
            TaskSpec { workers, ..TaskSpec::new("noise", user, group, priority, WorkerRequest::whole_node()) }
        };
        match noise {
            Noise::TooLarge(priority) => {
                self.allow_stranger("g0", 99);
                self.submit_noise(spec("g0", *priority, 50));
                self.allow_stranger("g0", 0);
                self.allow_stranger("g0", 99);
            }
            Noise::NoRight(priority) => {
                self.allow_stranger("g0", 40);
                self.submit_noise(spec("g0", *priority, 50));
            }
            Noise::Nowhere => self.submit_noise(spec("nowhere", Priority::High, 1)),
            Noise::Held(priority) => {
                self.submit_noise(spec("g0", *priority, 1));
                let task = TaskId(self.engine.next_task_id().0 - 1);
                self.tell(Fact::Held { task });
            }
            Noise::Right(nodes) => self.allow_stranger("g1", *nodes),
            Noise::Node(pick, ready) => self.tell(Fact::NodeSet { node: elsewhere(*pick, *ready) }),
            Noise::Sick(pick) => {
                let node = elsewhere(*pick, true);
                let device = node.devices[0].id.clone();
                let health = DeviceHealth::Sick { reason: "noise".to_owned() };
                self.tell(Fact::DeviceChanged { node: node.name, device, health });
            }
            Noise::RemoveNode(pick) => self.tell(Fact::NodeRemoved { node: elsewhere(*pick, true).name }),
            Noise::Work(priority) => self.submit_noise(spec("g1", *priority, 1)),
            Noise::EndWork(pick, well) => {
                let alive = self.alive(false);
                if let Some(&(run, rank)) = alive.get(usize::from(*pick) % alive.len().max(1)) {
                    self.end_worker(run, rank, WorkerExit::exited(i32::from(!well)));
                }
            }
        }
    }

    fn submit_noise(&mut self, spec: TaskSpec) {
        let task = TaskId(self.engine.next_task_id().0.max(self.last_own.0 + 1));
        assert!(!is_own(task), "more noise than there is room for");
        self.tell(Fact::Submitted { task, spec: Arc::new(spec) });
    }

    fn allow_stranger(&mut self, group: &str, nodes: u32) {
        let user = Some(UserName::new("stranger").unwrap());
        let key = RightKey { user, group: Some(GroupName::new(group).unwrap()), ..RightKey::default() };
        self.tell(Fact::RightSet { right: RightRow::new(key, Allowance::nodes(nodes)) });
    }

    fn round(&mut self) {
        let round = self.engine.schedule(self.now);
        for decision in &round.decisions {
            match decision {
                Decision::Start { task, run, placement, .. } => {
                    let attempt = self.attempts.entry(*task).or_default();
                    *attempt += 1;
                    let ranks: BTreeSet<u32> = (0..placement.workers.len() as u32).collect();
                    let (waiting, alive) = (ranks.clone(), ranks);
                    self.runs.insert(*run, Run { task: *task, attempt: *attempt, waiting, alive, leaving: false });
                }
                Decision::Suspend { run, .. } | Decision::Stop { run, .. } => {
                    self.runs.get_mut(run).unwrap().leaving = true;
                }
                Decision::Promise { task, run, .. } => {
                    let attempt = self.attempts.get(task).copied().unwrap_or(0) + 1;
                    self.runs.insert(*run, Run { attempt, ..Run::of(*task) });
                }
                _ => {}
            }
            if let Some(line) = self.about_own(decision) {
                self.said.push(format!("{} {line}", self.now.as_ms()));
            }
        }
    }

    /// The decision with runs named by task and attempt, if it is about one of the story's own tasks.
    fn about_own(&self, decision: &Decision) -> Option<String> {
        let attempt = |run: &RunId| (self.runs[run].task, self.runs[run].attempt);
        match decision {
            Decision::Start { task, placement, level, entitled, .. } => {
                is_own(*task).then(|| format!("start {task} {placement:?} {level} {entitled}"))
            }
            Decision::Promise { task, placement, level, entitled, .. } => {
                is_own(*task).then(|| format!("promise {task} {placement:?} {level} {entitled}"))
            }
            Decision::Suspend { run, task, reason } => {
                is_own(*task).then(|| format!("suspend {:?} {reason:?}", attempt(run)))
            }
            Decision::Stop { run, task } => is_own(*task).then(|| format!("stop {:?}", attempt(run))),
            Decision::Withdraw { task } => is_own(*task).then(|| format!("withdraw {task}")),
            Decision::Recharge { run, level, entitled } => {
                is_own(self.runs[run].task).then(|| format!("recharge {:?} {level} {entitled}", attempt(run)))
            }
            Decision::Reserve { task, nodes, by } => is_own(*task).then(|| format!("reserve {task} {nodes:?} {by:?}")),
            Decision::Unreserve { task } => is_own(*task).then(|| format!("unreserve {task}")),
            Decision::Notice { run, until } => {
                is_own(self.runs[run].task).then(|| format!("notice {:?} {until:?}", attempt(run)))
            }
            other => panic!("an unknown decision: {other:?}"),
        }
    }
}

fn elsewhere(pick: u8, ready: bool) -> NodeSpec {
    let name = format!("m{}", pick % 3);
    let id = DeviceId::new(format!("{name}-0")).unwrap();
    NodeSpec {
        devices: vec![DeviceSpec::new(id, ModelName::new("A").unwrap(), 8 * 1024)],
        ready,
        ..NodeSpec::new(NodeName::new(name).unwrap(), GroupName::new("g1").unwrap(), 4000, 8 * 1024)
    }
}
