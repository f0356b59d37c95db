//! The upstream rules written down once more, straight from their description and knowing nothing of the engine, on small
//! random snapshots: whole nodes, fixed levels and AUTO, groups, quota rows, running and queued tasks.

use std::collections::BTreeMap;

use hai_core::engine::{EngineConfig, Policy};
use hai_core::model::*;
use hai_core::plan::{Document, RunEntry, TaskEntry, WorkerEntry};
use proptest::prelude::*;
use proptest::sample::select;

const LEVELS: [Priority; 8] = [
    Priority::ExtremeHigh,
    Priority::VeryHigh,
    Priority::High,
    Priority::AboveNormal,
    Priority::Normal,
    Priority::UnderNormal,
    Priority::BelowNormal,
    Priority::Low,
];
const GROUPS: [&str; 2] = ["g", "h"];
const USERS: [&str; 3] = ["u", "v", "w"];

/// What the rules look at.
#[derive(Clone)]
pub(crate) struct Snapshot {
    /// The group of each node, and whether it takes work.
    nodes: Vec<(usize, bool)>,
    /// By user, level and group.
    quota: BTreeMap<(usize, Priority, usize), u32>,
    tasks: Vec<Task>,
}

#[derive(Clone, Debug)]
struct Task {
    user: usize,
    group: usize,
    priority: Priority,
    nodes: u32,
    custom_rank: Option<i8>,
    /// The nodes it runs on.
    running: Vec<usize>,
    /// The level that it was given when it was started.
    level: Priority,
}

/// What one tick says.
pub(crate) struct Tick {
    pub(crate) tasks: Vec<Told>,
    /// Its actions are not those that are wanted.
    pub(crate) shows_a_known_bug: bool,
}

pub(crate) struct Told {
    pub(crate) result: hai_core::plan::AssignResult,
    pub(crate) level: Priority,
    pub(crate) action: &'static str,
}

pub(crate) fn snapshot() -> impl Strategy<Value = Snapshot> {
    let node = (select(vec![0, 0, 0, 1]), prop::bool::weighted(0.9));
    let level = || select(vec![Priority::High, Priority::Normal, Priority::Low, Priority::ExtremeHigh]);
    let quota = prop::collection::btree_map((0..3_usize, level(), 0..2_usize), 0..6_u32, 0..14);
    let priority = prop_oneof![4 => level(), 1 => Just(Priority::Auto)];
    let task = (
        0..3_usize,
        select(vec![0, 0, 0, 1]),
        priority,
        1..4_u32,
        prop::option::weighted(0.15, -3..8_i8),
        any::<bool>(),
    )
        .prop_map(|(user, group, priority, nodes, custom_rank, runs)| {
            (user, group, priority, nodes, custom_rank, runs)
        });
    (prop::collection::vec(node, 1..7), quota, prop::collection::vec(task, 1..8)).prop_map(|(nodes, quota, drawn)| {
        let mut free: Vec<usize> = (0..nodes.len()).collect();
        let tasks = drawn
            .into_iter()
            .map(|(user, group, priority, wanted, custom_rank, runs)| {
                let here: Vec<usize> =
                    free.iter().copied().filter(|&at| nodes[at] == (group, true)).take(wanted as usize).collect();
                let runs = runs && here.len() == wanted as usize;
                if runs {
                    free.retain(|at| !here.contains(at));
                }
                // An AUTO task was given the best level at which its owner has a right, when it was started.
                let has = |level: &Priority| quota.get(&(user, *level, group)).is_some_and(|&has| has >= wanted);
                let level = match priority {
                    Priority::Auto => LEVELS.into_iter().find(has).unwrap_or(Priority::Low),
                    level => level,
                };
                Task {
                    user,
                    group,
                    priority,
                    nodes: wanted,
                    custom_rank,
                    running: if runs { here } else { Vec::new() },
                    level,
                }
            })
            .collect();
        Snapshot { nodes, quota, tasks }
    })
}

/// A line for each part, so that a failing one can be read.
impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "nodes {}", self.nodes.iter().map(|node| format!("{node:?}")).collect::<Vec<_>>().join(" "))?;
        for ((user, level, group), nodes) in &self.quota {
            writeln!(f, "  user {user} at {level} in group {group}: {nodes}")?;
        }
        for (number, Task { user, group, priority, nodes, custom_rank, running, level }) in
            self.tasks.iter().enumerate()
        {
            let number = number + 1;
            writeln!(
                f,
                "  task {number} of {user} in {group} at {priority}, {nodes} nodes, rank {custom_rank:?}, on {running:?} as {level}"
            )?;
        }
        Ok(())
    }
}

impl Snapshot {
    /// The same for the engine.
    pub(crate) fn document(&self) -> Document {
        let group = |at: usize| GroupName::new(GROUPS[at]).unwrap();
        let user = |at: usize| UserName::new(USERS[at]).unwrap();
        let name = |at: usize| NodeName::new(format!("n{at}")).unwrap();
        let nodes = self.nodes.iter().enumerate().map(|(at, &(of, usable))| NodeSpec {
            cordoned: !usable,
            ..NodeSpec::new(name(at), group(of), 1000, 1024)
        });
        let rights = self.quota.iter().map(|(&(of, level, at), &nodes)| {
            let key =
                RightKey { user: Some(user(of)), group: Some(group(at)), priority: Some(level), ..RightKey::default() };
            RightRow::new(key, Allowance::nodes(nodes))
        });
        let tasks = self.tasks.iter().enumerate().map(|(number, task)| TaskEntry {
            id: TaskId(1 + number as u64),
            spec: TaskSpec {
                workers: task.nodes,
                custom_rank: task.custom_rank.and_then(|rank| Rank::new(f64::from(rank))),
                ..TaskSpec::new("t", user(task.user), group(task.group), task.priority, WorkerRequest::whole_node())
            },
            submitted_at: None,
            held: false,
            run: (!task.running.is_empty()).then(|| RunEntry {
                workers: task
                    .running
                    .iter()
                    .map(|&at| WorkerEntry { node: name(at), devices: Vec::new(), done: false })
                    .collect(),
                level: Some(task.level),
                borrowed: false,
                started_at: Some(Time::ZERO),
                checkpointed_at: None,
            }),
        });
        Document {
            config: EngineConfig { policy: Policy::HaiFifo, ..EngineConfig::default() },
            nodes: nodes.collect(),
            rights: rights.collect(),
            tasks: tasks.collect(),
            ..Document::default()
        }
    }

    /// R-ASG-1 to 6, and what the matcher makes of them.
    pub(crate) fn tick(&self) -> Tick {
        use hai_core::plan::AssignResult::*;
        let rank = |at: usize| (self.tasks[at].custom_rank.map_or((at + 1) as f64, f64::from), at);
        let mut by_rank: Vec<usize> = (0..self.tasks.len()).collect();
        by_rank.sort_by(|&a, &b| rank(a).partial_cmp(&rank(b)).unwrap());

        let mut left = self.quota.clone();
        let mut told: Vec<(hai_core::plan::AssignResult, Priority)> =
            self.tasks.iter().map(|task| (OutOfQuota, task.priority)).collect();
        let mut sure = Vec::new();
        for &at in &by_rank {
            let task = &self.tasks[at];
            let levels = if task.priority == Priority::Auto { LEVELS.to_vec() } else { vec![task.priority] };
            let mut raw_most = 0;
            for level in levels {
                let key = (task.user, level, task.group);
                raw_most = raw_most.max(self.quota.get(&key).copied().unwrap_or(0));
                let rest = left.entry(key).or_insert(0);
                if *rest >= task.nodes {
                    *rest -= task.nodes;
                    told[at] = (CanRun, level);
                    sure.push(at);
                    break;
                }
            }
            if told[at].0 == OutOfQuota && raw_most < task.nodes {
                told[at].0 = QuotaExceeded;
            }
        }
        sure.sort_by(|&a, &b| (told[b].1, rank(a)).partial_cmp(&(told[a].1, rank(b))).unwrap());
        let mut sums = [0; 2];
        for &at in &sure {
            let group = self.tasks[at].group;
            sums[group] += self.tasks[at].nodes;
            if sums[group] > self.capacity(group) {
                told[at].0 = CanNotRun;
            }
        }

        let action = |at: usize| match (told[at].0, self.tasks[at].running.is_empty()) {
            (CanRun, true) => "STARTUP",
            (CanRun, false) => "KEEP_RUNNING",
            (_, true) => "DO_NOTHING",
            (_, false) => "SUSPEND",
        };
        let tasks: Vec<Told> =
            (0..told.len()).map(|at| Told { result: told[at].0, level: told[at].1, action: action(at) }).collect();
        let shows_a_known_bug = (0..2).any(|group| self.is_spoilt(group, &tasks));
        Tick { tasks, shows_a_known_bug }
    }

    fn capacity(&self, group: usize) -> u32 {
        self.nodes.iter().filter(|&&(of, usable)| of == group && usable).count() as u32
    }

    /// A group in which somebody is suspended for nobody who starts (E18, E19), or is blocked by a task that could never start (E18).
    fn is_spoilt(&self, group: usize, told: &[Told]) -> bool {
        use hai_core::plan::AssignResult::{CanNotRun, CanRun, OutOfQuota};
        let all = self.nodes.iter().filter(|node| node.0 == group).count() as u32;
        let here: Vec<usize> = (0..self.tasks.len()).filter(|&at| self.tasks[at].group == group).collect();
        let held: u32 = here.iter().filter(|&&at| told[at].result == CanRun).map(|&at| self.tasks[at].nodes).sum();
        let idle = self.capacity(group) - held;
        let needless = here
            .iter()
            .any(|&at| told[at].action == "SUSPEND" && told[at].result == CanNotRun && self.tasks[at].nodes <= idle);
        let hopeless = here.iter().any(|&at| told[at].result == CanNotRun && self.tasks[at].nodes > all);
        // The right was dealt to an earlier task, which does not run with it.
        let idle_right = here.iter().any(|&at| {
            let waits =
                |&other: &usize| self.tasks[other].user == self.tasks[at].user && told[other].result == CanNotRun;
            told[at].action == "SUSPEND" && told[at].result == OutOfQuota && here.iter().any(waits)
        });
        needless || hopeless || idle_right
    }
}
