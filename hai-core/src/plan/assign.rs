//! What the open-source HAI platform calls its assign result, for whoever compares with it.
//!
//! Its rules, per tick: rights are dealt in the order of submission to running and queued tasks alike; AUTO tasks get the
//! best level at which there is enough left; those that got a right are put in order of priority, and per group the nodes
//! they ask for are summed up: whoever is beyond what the group has can not run. The engine's decisions follow the same
//! order, but suspend nobody for a task that does not start, so a task that upstream says can not run may go on running.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::model::{Devices, GroupName, Limit, Priority, Rank, TaskId, TaskState, UserName};

/// What upstream's assigner says of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AssignResult {
    /// It has a right, and its group has enough nodes for all up to it.
    CanRun,
    /// It has a right, and its group has not.
    CanNotRun,
    /// Its right is used up by earlier tasks of its owner's.
    OutOfQuota,
    /// Its right would never be enough.
    QuotaExceeded,
}

/// A task as upstream sees it.
struct Asked {
    id: TaskId,
    user: UserName,
    group: GroupName,
    priority: Priority,
    rank: Rank,
    nodes: u64,
}

/// The result of each task that takes whole nodes, and the level that it counts as.
pub(super) fn assign(engine: &mut Engine) -> BTreeMap<TaskId, (AssignResult, Priority)> {
    let mut asked: Vec<Asked> = engine
        .tasks()
        .filter(|task| task.state != TaskState::Held)
        .filter_map(|task| {
            let spec = &task.spec;
            let over = task.run.and_then(|run| engine.run(run)).map_or(0, |run| {
                run.workers
                    .iter()
                    .filter(|worker| matches!(worker.state, crate::model::WorkerState::Ended { .. }))
                    .count()
            });
            let nodes = u64::from(spec.workers).saturating_sub(over as u64);
            (spec.request.devices == Devices::WholeNode && nodes > 0).then(|| Asked {
                id: task.id,
                user: spec.user.clone(),
                group: spec.group.clone(),
                priority: spec.priority,
                rank: spec.rank(task.id),
                nodes,
            })
        })
        .collect();
    asked.sort_by_key(|asked| (asked.rank, asked.id));

    let mut left: BTreeMap<(UserName, GroupName, Priority), Option<u64>> = BTreeMap::new();
    let mut results: BTreeMap<TaskId, (AssignResult, Priority)> = BTreeMap::new();
    let mut dealt: Vec<(Priority, &Asked)> = Vec::new();
    for asked in &asked {
        let levels: &[Priority] = match asked.priority {
            Priority::Auto => &Priority::LEVELS,
            _ => std::slice::from_ref(&asked.priority),
        };
        let mut most = Some(0);
        let mut found = None;
        for &level in levels {
            let raw = nodes_allowed(engine, asked.id, level);
            most = greater(most, raw);
            let key = (asked.user.clone(), asked.group.clone(), level);
            let rest = left.entry(key).or_insert(raw);
            if found.is_none() && rest.is_none_or(|rest| rest >= asked.nodes) {
                *rest = rest.map(|rest| rest - asked.nodes);
                found = Some(level);
            }
        }
        match found {
            Some(level) => dealt.push((level, asked)),
            None if most.is_some_and(|most| most < asked.nodes) => {
                results.insert(asked.id, (AssignResult::QuotaExceeded, asked.priority));
            }
            None => {
                results.insert(asked.id, (AssignResult::OutOfQuota, asked.priority));
            }
        }
    }
    dealt.sort_by_key(|(level, asked)| (std::cmp::Reverse(*level), asked.rank, asked.id));
    let mut room: BTreeMap<GroupName, u64> = BTreeMap::new();
    for node in engine.nodes().filter(|node| node.spec.takes_new_work()) {
        *room.entry(node.spec.group).or_default() += 1;
    }
    let mut sums: BTreeMap<&GroupName, u64> = BTreeMap::new();
    for (level, asked) in dealt {
        let sum = sums.entry(&asked.group).or_default();
        *sum = sum.saturating_add(asked.nodes);
        let fits = *sum <= room.get(&asked.group).copied().unwrap_or(0);
        results.insert(asked.id, (if fits { AssignResult::CanRun } else { AssignResult::CanNotRun }, level));
    }
    results
}

/// Whole nodes that a task's owner may hold at a level; `None` for any number.
fn nodes_allowed(engine: &mut Engine, task: TaskId, level: Priority) -> Option<u64> {
    match engine.allowance_for(task, level).nodes {
        Limit::Unlimited => None,
        Limit::AtMost(most) => Some(most.as_milli() / 1000),
    }
}

fn greater(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    Some(a?.max(b?))
}
