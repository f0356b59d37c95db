//! Random clusters: nodes, teams within teams, rights, and what happens to them before they are left alone.

use std::fmt;

use hai_core::engine::{Churn, EngineConfig, Timing};
use hai_core::model::*;
use hai_core::queue::order::{Aging, LeastAttainedService, OrderPolicy};
use proptest::prelude::*;

use crate::support::{group, secs, user};

pub(super) const USERS: [&str; 4] = ["a", "b", "c", "d"];
const LEVELS: [Priority; 5] = [Priority::Low, Priority::Normal, Priority::AboveNormal, Priority::High, Priority::Auto];
/// Longer than any story.
pub(super) const NEVER: Span = Span::from_secs(10_000_000);

/// A cluster and its story.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) config: EngineConfig,
    pub(super) nodes: Vec<NodeSpec>,
    pub(super) teams: Vec<Team>,
    pub(super) rights: Vec<RightRow>,
    pub(super) events: Vec<(Event, Span)>,
}

/// What happens before the cluster is left alone.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Comes(Box<TaskSpec>),
    /// One of the runs saves its work.
    Saves(usize),
    /// One of the runs ends.
    Ends(usize),
    /// One of the tasks is stopped.
    Stopped(usize),
    /// One of the tasks gets another level.
    Reprioritised(usize, Priority),
    /// A node fails, or is ready again.
    Node(usize, bool),
    /// A right is changed.
    Right(RightRow),
}

/// The story, short enough to read.
impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = serde_json::to_string(&self.config).map_err(|_| fmt::Error)?;
        writeln!(f, "{config}")?;
        for node in &self.nodes {
            writeln!(f, "node {} with {} devices", node.name, node.devices.len())?;
        }
        for team in &self.teams {
            writeln!(f, "team {}", serde_json::to_string(team).map_err(|_| fmt::Error)?)?;
        }
        for right in &self.rights {
            writeln!(f, "right {}", serde_json::to_string(right).map_err(|_| fmt::Error)?)?;
        }
        for (event, after) in &self.events {
            match event {
                Event::Comes(spec) => {
                    let least = spec.workers_min();
                    let kind = if spec.kind.is_background() { " background" } else { "" };
                    let fixed = if spec.suspendable { "" } else { " not suspendable" };
                    write!(f, "{}{kind}{fixed} at {} comes for {least}..{}", spec.user, spec.priority, spec.workers)?;
                    write!(f, " of {:?}", spec.request.devices)?;
                }
                other => write!(f, "{other:?}")?,
            }
            writeln!(f, ", then {after}")?;
        }
        Ok(())
    }
}

fn any_config() -> impl Strategy<Value = EngineConfig> {
    let timing = (
        prop_oneof![3 => Just(0_u64), 1 => 1_u64..100],
        prop_oneof![2 => Just(NEVER), 1 => (50_u64..200).prop_map(secs)],
    );
    let kept = prop_oneof![1 => Just(None), 1 => (1_u64..200).prop_map(|after| Some(secs(after)))];
    let aging = prop::option::weighted(0.2, (20_u64..100, 1_u8..4));
    let churn = prop::option::weighted(0.2, (0_u32..3, 10_u64..200));
    let more = (prop::bool::weighted(0.7), prop::bool::weighted(0.2), prop_oneof![1 => Just(0_u64), 1 => 1_u64..60]);
    (timing, kept, aging, churn, more).prop_map(
        |((protected, slice), reserve_after, aging, churn, (borrow, las, cut))| EngineConfig {
            borrow,
            timing: Timing { protected: secs(protected), slice, demote_after: secs(150) },
            reserve_after,
            aging: aging.map(|(every, cap)| Aging { every: secs(every), cap }),
            churn: churn.map(|(free, every)| Churn { free, every: secs(every) }),
            order: if las {
                OrderPolicy::LeastAttainedService(LeastAttainedService::default())
            } else {
                OrderPolicy::default()
            },
            cut_grace: secs(cut),
            ..EngineConfig::default()
        },
    )
}

fn any_nodes() -> impl Strategy<Value = Vec<NodeSpec>> {
    prop::collection::vec(1_usize..5, 1..5).prop_map(|nodes| {
        let node = |(at, devices): (usize, usize)| {
            let mut node = NodeSpec::new(NodeName::new(format!("n{at}")).unwrap(), group("g"), 8000, 16);
            for device in 0..devices {
                let id = DeviceId::new(format!("GPU-{at}-{device}")).unwrap();
                node.devices.push(DeviceSpec::new(id, ModelName::new("A").unwrap(), 1000));
            }
            node
        };
        nodes.into_iter().enumerate().map(node).collect()
    })
}

fn any_limit() -> impl Strategy<Value = Limit> {
    prop_oneof![2 => (1_u32..9).prop_map(Limit::at_most), 1 => Just(Limit::Unlimited), 1 => Just(Limit::at_most(0))]
}

fn any_allowance() -> impl Strategy<Value = Allowance> {
    (any_limit(), any_limit()).prop_map(|(nodes, devices)| Allowance { nodes, devices })
}

fn any_right() -> impl Strategy<Value = RightRow> {
    let level =
        prop::sample::select(vec![None, None, Some(Priority::Low), Some(Priority::Normal), Some(Priority::High)]);
    (prop::option::weighted(0.8, 0_usize..4), level, any_allowance()).prop_map(|(of, priority, allowance)| {
        let key = RightKey { user: of.map(|of| user(USERS[of])), priority, ..RightKey::default() };
        RightRow::new(key, allowance)
    })
}

/// Teams `t0`, `t1` and `t2`, each maybe a part of an earlier one; users belong to one each.
fn any_teams() -> impl Strategy<Value = Vec<Team>> {
    let pool = prop::option::weighted(0.8, (any_allowance(), any_allowance(), any_allowance()));
    let team = (prop::option::weighted(0.7, any::<prop::sample::Index>()), pool);
    (prop::collection::vec(team, 0..4), prop::collection::vec(0_usize..4, 4)).prop_map(|(teams, of)| {
        let name = |at: usize| TeamName::new(format!("t{at}")).unwrap();
        let team = |(at, (parent, pool)): (usize, (Option<prop::sample::Index>, Option<_>))| {
            let parent = parent.filter(|_| at > 0).map(|parent| name(parent.index(at)));
            let members = (0..4).filter(|&it| of[it] == at).map(|it| user(USERS[it])).collect();
            let pools = pool.map(|(own, borrow, lend)| Pool { group: group("g"), own, borrow, lend });
            Team { name: name(at), parent, members, pools: pools.into_iter().collect() }
        };
        teams.into_iter().enumerate().map(team).collect()
    })
}

fn any_task() -> impl Strategy<Value = TaskSpec> {
    let devices = prop_oneof![
        1 => Just(Devices::WholeNode),
        5 => (1_u32..4).prop_map(Devices::Count),
        1 => prop::sample::select(vec![300_u32, 500]).prop_map(Devices::Share),
    ];
    let workers = (prop_oneof![2 => Just(1_u32), 1 => 2_u32..4], prop::bool::weighted(0.2));
    let kind = (prop::bool::weighted(0.15), prop::bool::weighted(0.9), 0_u64..4);
    (0_usize..4, prop::sample::select(LEVELS.to_vec()), devices, workers, kind).prop_map(
        |(of, level, devices, (workers, elastic), (background, suspendable, grace))| {
            let mut spec = TaskSpec::new("t", user(USERS[of]), group("g"), level, WorkerRequest::of(devices));
            spec.workers = workers;
            spec.workers_min = elastic.then_some(1);
            spec.suspendable = suspendable;
            spec.grace = Grace { answer: secs(grace), finish: Span::ZERO };
            if background {
                spec.kind = TaskKind::Background;
            }
            spec
        },
    )
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => any_task().prop_map(|spec| Event::Comes(Box::new(spec))),
        1 => (0_usize..6).prop_map(Event::Saves),
        1 => (0_usize..6).prop_map(Event::Ends),
        1 => (0_usize..8).prop_map(Event::Stopped),
        1 => (0_usize..8, prop::sample::select(LEVELS.to_vec())).prop_map(|(task, level)| Event::Reprioritised(task, level)),
        1 => (0_usize..4, any::<bool>()).prop_map(|(node, ready)| Event::Node(node, ready)),
        1 => any_right().prop_map(Event::Right),
    ]
}

/// A right that is enough for a start, or none.
fn any_rights() -> impl Strategy<Value = Vec<RightRow>> {
    let base = prop::option::weighted(0.7, any_allowance());
    (base, prop::collection::vec(any_right(), 0..5)).prop_map(|(base, mut rights)| {
        let everybody = base.map(|allowance| RightRow::new(RightKey::default(), allowance));
        rights.extend(everybody);
        rights
    })
}

/// First it fills; then much comes at once, and nothing after that.
pub(super) fn any_cluster() -> impl Strategy<Value = Cluster> {
    let filling = prop::collection::vec((any_event(), (0_u64..100).prop_map(secs)), 1..9);
    let burst = prop::collection::vec((any_event(), Just(Span::ZERO)), 1..9);
    (any_config(), any_nodes(), any_teams(), any_rights(), filling, burst).prop_map(
        |(config, nodes, teams, rights, mut events, burst)| {
            events.extend(burst);
            Cluster { config, nodes, teams, rights, events }
        },
    )
}
