//! What may happen to a cluster, at random, and small enough that it happens to the same things often.

use std::sync::Arc;

use hai_core::engine::{EngineConfig, Policy, Timing};
use hai_core::model::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// One thing that happens. Numbers pick among what there is, modulo its count.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Submit(Arc<TaskSpec>),
    Cancel(u8),
    Hold(u8),
    Release(u8),
    Reprioritise(u8, Priority, Option<i8>),
    Right(RightRow),
    RemoveRight(u8),
    Node(Box<NodeSpec>),
    Ready(u8, bool),
    Cordon(u8, bool),
    RemoveNode(u8),
    Device(u8, u8, DeviceHealth),
    /// So many seconds pass; with `true` the engine is asked whenever it wanted to be.
    Pass(u16, bool),
    StartWorker(u8),
    EndWorker(u8, End),
    Checkpoint(u8, i64),
    /// The last fact about a worker is told again.
    Repeat,
    /// Something is told of a task, a run, a node, a device that is not.
    Nonsense(u8),
    /// The engine is stored and restored.
    Restart,
    /// The engine that only replays takes over.
    TakeOver,
}

/// How a worker ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Success,
    Failure,
    Killed,
    NotExecuted,
    Lost,
    /// Only if it was not started; otherwise it is lost.
    Refused,
    /// Only if its run was told to leave; otherwise a success.
    Suspended,
    SuspendedDone,
}

/// A cluster, its rules, and what happens to it. After an operation with `true` the engine is asked.
#[derive(Clone)]
pub(crate) struct Story {
    pub(crate) config: EngineConfig,
    pub(crate) nodes: Vec<NodeSpec>,
    pub(crate) rights: Vec<RightRow>,
    pub(crate) ops: Vec<(Op, bool)>,
}

/// One line for each thing, however it is asked for, so that a failing story can be read.
impl std::fmt::Debug for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", serde_json::to_string(&self.config).unwrap())?;
        for node in &self.nodes {
            writeln!(f, "  {}", serde_json::to_string(node).unwrap())?;
        }
        for right in &self.rights {
            writeln!(f, "  {}", serde_json::to_string(right).unwrap())?;
        }
        for (op, ask) in &self.ops {
            let ask = if *ask { "" } else { "   (no round)" };
            match op {
                Op::Submit(spec) => writeln!(f, "  Submit {}{ask}", serde_json::to_string(spec).unwrap())?,
                Op::Node(node) => writeln!(f, "  Node {}{ask}", serde_json::to_string(node).unwrap())?,
                Op::Right(right) => writeln!(f, "  Right {}{ask}", serde_json::to_string(right).unwrap())?,
                op => writeln!(f, "  {op:?}{ask}")?,
            }
        }
        Ok(())
    }
}

pub(crate) const GROUPS: [&str; 3] = ["g0", "g1", "nowhere"];
pub(crate) const USERS: [&str; 3] = ["u0", "u1", "u2"];

pub(crate) fn story(policy: Policy, length: usize) -> impl Strategy<Value = Story> {
    let first = (0..6_u8).prop_flat_map(|count| (0..=count).map(|index| node(Just(index))).collect::<Vec<_>>());
    (config(policy), first, rights(), vec((op(), prop::bool::weighted(0.8)), 1..length))
        .prop_map(|(config, nodes, rights, ops)| Story { config, nodes, rights, ops })
}

fn config(policy: Policy) -> impl Strategy<Value = EngineConfig> {
    (any::<bool>(), select(vec![0_u64, 20])).prop_map(move |(borrow, protected)| EngineConfig {
        policy,
        borrow: borrow && policy == Policy::Hai,
        timing: Timing {
            protected: Span::from_secs(protected),
            slice: Span::from_secs(60),
            demote_after: Span::from_secs(120),
        },
        slice_swaps: 0,
        ..EngineConfig::default()
    })
}

fn rights() -> impl Strategy<Value = Vec<RightRow>> {
    let everything = RightRow::new(RightKey::default(), Allowance::UNLIMITED);
    let alike = (1..5_u32, 1..5_u32).prop_map(|(nodes, devices)| {
        let (nodes, devices) = (Limit::at_most(nodes), Limit::at_most(devices));
        vec![RightRow::new(RightKey::default(), Allowance { nodes, devices })]
    });
    prop_oneof![
        2 => Just(vec![everything]),
        2 => alike,
        1 => vec(right(), 1..5),
    ]
}

fn right() -> impl Strategy<Value = RightRow> {
    let limit = || prop_oneof![3 => (0..5_u32).prop_map(Limit::at_most), 1 => Just(Limit::Unlimited)];
    let user = option::weighted(0.7, select(USERS.to_vec()));
    let group = option::weighted(0.5, select(GROUPS[..2].to_vec()));
    let level = option::weighted(0.4, select(Priority::LEVELS.to_vec()));
    (user, group, level, limit(), limit()).prop_map(|(user, group, priority, nodes, devices)| {
        let key = RightKey {
            user: user.map(|name| UserName::new(name).unwrap()),
            group: group.map(|name| GroupName::new(name).unwrap()),
            priority,
            ..RightKey::default()
        };
        RightRow::new(key, Allowance { nodes, devices })
    })
}

fn node(index: impl Strategy<Value = u8>) -> impl Strategy<Value = NodeSpec> {
    let model = || select(vec![("A", 8), ("B", 80)]);
    (index, select(vec![0, 0, 0, 1]), 2..9_u32, 4..17_u64, vec(model(), 1..5), any::<u8>()).prop_map(
        |(index, group, cores, gib, models, luck)| NodeSpec {
            devices: (0..)
                .zip(models)
                .map(|(number, (model, gib)): (u8, (&str, u64))| {
                    let id = DeviceId::new(format!("n{index}-{number}")).unwrap();
                    DeviceSpec::new(id, ModelName::new(model).unwrap(), gib * 1024)
                })
                .collect(),
            ready: luck % 16 != 0,
            cordoned: luck % 16 == 1,
            taints: if luck % 16 == 2 { ["spot".to_owned()].into() } else { Default::default() },
            ..NodeSpec::new(
                NodeName::new(format!("n{index}")).unwrap(),
                GroupName::new(GROUPS[group]).unwrap(),
                cores * 1000,
                gib * 1024,
            )
        },
    )
}

fn priority() -> impl Strategy<Value = Priority> {
    use Priority::*;
    select(vec![Normal, Normal, Normal, High, High, AboveNormal, AboveNormal, Low, ExtremeHigh, Auto])
}

fn request() -> impl Strategy<Value = WorkerRequest> {
    let devices = prop_oneof![
        2 => Just(Devices::WholeNode),
        3 => (0..4_u32).prop_map(Devices::Count),
    ];
    let kind = prop_oneof![4 => Just((None, 0)), 1 => Just((Some("A"), 0)), 1 => Just((None, 40))];
    (devices, kind, 0..5_u32, 0..5_u64).prop_map(|(devices, (model, device_gib), cores, gib)| WorkerRequest {
        models: model.into_iter().map(|name| ModelName::new(name).unwrap()).collect(),
        device_memory_mib: device_gib * 1024,
        cpu_milli: cores * 1000,
        memory_mib: gib * 1024,
        ..WorkerRequest::of(devices)
    })
}

fn task() -> impl Strategy<Value = TaskSpec> {
    let group = select(vec![0, 0, 0, 0, 0, 0, 1, 1, 1, 2]);
    let workers = select(vec![1, 1, 1, 2, 2, 3]);
    let rank = option::weighted(0.1, -5..50_i8);
    (select(USERS.to_vec()), group, priority(), rank, workers, request(), any::<u8>(), 0..4_u64).prop_map(
        |(user, group, priority, rank, workers, request, luck, grace)| TaskSpec {
            custom_rank: rank.and_then(|rank| Rank::new(f64::from(rank))),
            workers,
            distinct_nodes: luck % 4 == 0,
            tolerates: if luck % 8 == 1 { ["spot".to_owned()].into() } else { Default::default() },
            grace: Grace { answer: Span::from_secs(grace), finish: Span::from_secs(2 * grace) },
            ..TaskSpec::new(
                "task",
                UserName::new(user).unwrap(),
                GroupName::new(GROUPS[group]).unwrap(),
                priority,
                request,
            )
        },
    )
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        5 => Just(End::Success),
        1 => Just(End::Failure),
        1 => Just(End::Killed),
        1 => Just(End::NotExecuted),
        2 => Just(End::Lost),
        2 => Just(End::Refused),
        5 => Just(End::Suspended),
        1 => Just(End::SuspendedDone),
    ]
}

fn health() -> impl Strategy<Value = DeviceHealth> {
    prop_oneof![
        2 => Just(DeviceHealth::Healthy),
        1 => Just(DeviceHealth::Sick { reason: "it burns".to_owned() }),
        1 => Just(DeviceHealth::Stranger { process: "a game".to_owned() }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => task().prop_map(|spec| Op::Submit(Arc::new(spec))),
        2 => any::<u8>().prop_map(Op::Cancel),
        2 => any::<u8>().prop_map(Op::Hold),
        3 => any::<u8>().prop_map(Op::Release),
        2 => (any::<u8>(), priority(), option::of(-5..50_i8)).prop_map(|(pick, level, rank)| Op::Reprioritise(pick, level, rank)),
        2 => right().prop_map(Op::Right),
        1 => any::<u8>().prop_map(Op::RemoveRight),
        2 => node(0..6_u8).prop_map(|spec| Op::Node(Box::new(spec))),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(pick, ready)| Op::Ready(pick, ready)),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(pick, cordoned)| Op::Cordon(pick, cordoned)),
        1 => any::<u8>().prop_map(Op::RemoveNode),
        2 => (any::<u8>(), any::<u8>(), health()).prop_map(|(pick, device, health)| Op::Device(pick, device, health)),
        9 => (select(vec![0_u16, 1, 2, 5, 10, 30, 60, 90]), any::<bool>()).prop_map(|(secs, punctual)| Op::Pass(secs, punctual)),
        6 => any::<u8>().prop_map(Op::StartWorker),
        9 => (any::<u8>(), end()).prop_map(|(pick, end)| Op::EndWorker(pick, end)),
        2 => (any::<u8>(), -9..9_i64).prop_map(|(pick, state)| Op::Checkpoint(pick, state)),
        1 => Just(Op::Repeat),
        1 => any::<u8>().prop_map(Op::Nonsense),
        1 => Just(Op::Restart),
        1 => Just(Op::TakeOver),
    ]
}
