//! What may happen to a cluster, at random, and small enough that it happens to the same things often.

use std::ops::Range;
use std::sync::Arc;

use hai_core::engine::{EngineConfig, Policy};
use hai_core::model::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::asks::{priority, task};
use super::rules::{config, right, rights, team, teams};

/// One thing that happens. Numbers pick among what there is, modulo its count.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// After these tasks, counted from the newest, and not before so many seconds have passed.
    Submit(Arc<TaskSpec>, Vec<(u8, DependsOn)>, Option<u8>),
    MustFollow(u8, u8, DependsOn),
    Renew(u8),
    Idle(u8, bool),
    Cancel(u8),
    Hold(u8),
    Release(u8),
    Reprioritise(u8, Priority, Option<i8>),
    /// Expires after so many seconds.
    Right(RightRow, Option<u8>),
    RemoveRight(u8),
    Team(Team),
    RemoveTeam(u8),
    Node(Box<NodeSpec>),
    Ready(u8, bool),
    Cordon(u8, bool),
    Duty(u8, Duty),
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
    RefusedByNode,
    /// Only if its run was told to leave; otherwise a success.
    Suspended,
    SuspendedDone,
}

/// A cluster, its rules, and what happens to it. After an operation with `true` the engine is asked.
#[derive(Clone)]
pub(crate) struct Story {
    pub(crate) config: EngineConfig,
    pub(crate) nodes: Vec<NodeSpec>,
    pub(crate) teams: Vec<Team>,
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
        for team in &self.teams {
            writeln!(f, "  {}", serde_json::to_string(team).unwrap())?;
        }
        for right in &self.rights {
            writeln!(f, "  {}", serde_json::to_string(right).unwrap())?;
        }
        for (op, ask) in &self.ops {
            let ask = if *ask { "" } else { "   (no round)" };
            match op {
                Op::Submit(spec, after, wait) => {
                    let spec = serde_json::to_string(spec).unwrap();
                    writeln!(f, "  Submit {spec} after {after:?}, not before {wait:?}{ask}")?;
                }
                Op::Node(node) => writeln!(f, "  Node {}{ask}", serde_json::to_string(node).unwrap())?,
                Op::Right(right, after) => {
                    writeln!(f, "  Right {} until {after:?}{ask}", serde_json::to_string(right).unwrap())?;
                }
                Op::Team(team) => writeln!(f, "  Team {}{ask}", serde_json::to_string(team).unwrap())?,
                op => writeln!(f, "  {op:?}{ask}")?,
            }
        }
        Ok(())
    }
}

pub(crate) const GROUPS: [&str; 3] = ["g0", "g1", "nowhere"];
pub(crate) const USERS: [&str; 3] = ["u0", "u1", "u2"];

pub(crate) fn story(policy: Policy, length: Range<usize>) -> impl Strategy<Value = Story> {
    let first = (0..6_u8).prop_flat_map(|count| (0..=count).map(|index| node(Just(index))).collect::<Vec<_>>());
    (config(policy), first, teams(policy), rights(policy), vec((op(policy), prop::bool::weighted(0.8)), length))
        .prop_map(|(config, nodes, teams, rights, ops)| Story { config, nodes, teams, rights, ops })
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

fn ended() -> impl Strategy<Value = DependsOn> {
    select(vec![DependsOn::Success, DependsOn::Any])
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        5 => Just(End::Success),
        1 => Just(End::Failure),
        1 => Just(End::Killed),
        1 => Just(End::NotExecuted),
        2 => Just(End::Lost),
        2 => Just(End::Refused),
        2 => Just(End::RefusedByNode),
        5 => Just(End::Suspended),
        1 => Just(End::SuspendedDone),
    ]
}

fn health() -> impl Strategy<Value = DeviceHealth> {
    prop_oneof![
        4 => Just(DeviceHealth::Healthy),
        1 => Just(DeviceHealth::Sick { reason: "it burns".to_owned() }),
        1 => Just(DeviceHealth::Suspect { reason: "it is slow".to_owned() }),
        1 => Just(DeviceHealth::Draining { reason: "it will be changed".to_owned() }),
        1 => Just(DeviceHealth::Probing),
        1 => Just(DeviceHealth::Stranger { process: "a game".to_owned() }),
    ]
}

fn op(policy: Policy) -> impl Strategy<Value = Op> {
    let after = prop_oneof![4 => Just(Vec::new()), 1 => vec((0..5_u8, ended()), 1..3)];
    let wait = option::weighted(0.1, select(vec![1_u8, 20, 60]));
    prop_oneof![
        16 => (task(policy), after, wait).prop_map(|(spec, after, wait)| Op::Submit(Arc::new(spec), after, wait)),
        1 => (any::<u8>(), any::<u8>(), ended()).prop_map(|(task, other, ended)| Op::MustFollow(task, other, ended)),
        1 => any::<u8>().prop_map(Op::Renew),
        2 => (any::<u8>(), prop::bool::weighted(0.7)).prop_map(|(pick, idle)| Op::Idle(pick, idle)),
        2 => any::<u8>().prop_map(Op::Cancel),
        2 => any::<u8>().prop_map(Op::Hold),
        3 => any::<u8>().prop_map(Op::Release),
        2 => (any::<u8>(), priority(), option::of(-5..50_i8)).prop_map(|(pick, level, rank)| Op::Reprioritise(pick, level, rank)),
        2 => (right(policy), option::weighted(0.2, select(vec![5_u8, 60]))).prop_map(|(row, after)| Op::Right(row, after)),
        1 => any::<u8>().prop_map(Op::RemoveRight),
        2 => team().prop_map(move |team| if policy == Policy::Hai { Op::Team(team) } else { Op::Repeat }),
        1 => any::<u8>().prop_map(Op::RemoveTeam),
        2 => node(0..6_u8).prop_map(|spec| Op::Node(Box::new(spec))),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(pick, ready)| Op::Ready(pick, ready)),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(pick, cordoned)| Op::Cordon(pick, cordoned)),
        1 => (any::<u8>(), select(&[Duty::Open, Duty::Cordoned, Duty::Drained][..]))
            .prop_map(|(pick, duty)| Op::Duty(pick, duty)),
        1 => any::<u8>().prop_map(Op::RemoveNode),
        2 => (any::<u8>(), any::<u8>(), health()).prop_map(|(pick, device, health)| Op::Device(pick, device, health)),
        9 => (select(vec![0_u16, 1, 2, 5, 10, 30, 60, 90]), any::<bool>()).prop_map(|(secs, punctual)| Op::Pass(secs, punctual)),
        6 => any::<u8>().prop_map(Op::StartWorker),
        16 => (any::<u8>(), end()).prop_map(|(pick, end)| Op::EndWorker(pick, end)),
        2 => (any::<u8>(), -9..9_i64).prop_map(|(pick, state)| Op::Checkpoint(pick, state)),
        1 => Just(Op::Repeat),
        1 => any::<u8>().prop_map(Op::Nonsense),
        1 => Just(Op::Restart),
        1 => Just(Op::TakeOver),
    ]
}
