//! The groups of a cluster as a peer sees them: so many devices, and jobs for so many.

use std::collections::BTreeMap;

use crate::model::{Devices, Span, Time};

use super::super::cluster::Cluster;
use super::super::load::Load;

/// A task as a peer sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    /// Its place in the load.
    pub(super) task: usize,
    /// Whose it is, by a number.
    pub(super) user: u32,
    /// At least 1.
    pub(super) devices: u32,
    pub(super) submit: Time,
    /// How long it runs, what it can not run of it left aside; above 0.
    pub(super) needs: Span,
    /// What was said of that.
    pub(super) said: Option<Span>,
    /// It is stopped after that, since it may not run longer.
    pub(super) stopped: bool,
}

/// A group: nodes that have devices, and the work that they could hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Ground {
    /// By their place in the cluster.
    pub(super) nodes: Vec<usize>,
    /// Devices of the first node; all have as many where that matters.
    pub(super) per_node: u32,
    /// In all.
    pub(super) devices: u32,
    /// By submission; those of one time as they stand in the load. What is larger than the group is not among them: it can
    /// never start, and keeps nobody from it.
    pub(super) jobs: Vec<Job>,
}

/// All groups. With `clip` who runs longer than he said is stopped then.
pub(super) fn grounds(cluster: &Cluster, load: &Load, clip: bool) -> Vec<Ground> {
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    let mut grounds: Vec<Ground> = Vec::new();
    for (at, node) in cluster.nodes.iter().enumerate().filter(|(_, node)| !node.devices.is_empty()) {
        let count = u32::try_from(node.devices.len()).unwrap_or(u32::MAX);
        let ground = *by_name.entry(node.group.as_str()).or_insert_with(|| {
            grounds.push(Ground { per_node: count, ..Ground::default() });
            grounds.len() - 1
        });
        grounds[ground].nodes.push(at);
        grounds[ground].devices = grounds[ground].devices.saturating_add(count);
    }
    let mut users: BTreeMap<&str, u32> = BTreeMap::new();
    for (at, task) in load.tasks().iter().enumerate() {
        let next = users.len() as u32;
        let user = *users.entry(task.spec.user.as_str()).or_insert(next);
        let Some(ground) = by_name.get(task.spec.group.as_str()).map(|&at| &mut grounds[at]) else { continue };
        let each = match task.spec.request.devices {
            Devices::WholeNode => ground.per_node,
            other => other.count(),
        };
        let devices = each.saturating_mul(task.spec.workers);
        if devices == 0 || devices > ground.devices {
            continue;
        }
        let said = task.spec.expected.or(task.spec.limit);
        let limit = [task.spec.limit, task.spec.expected.filter(|_| clip)].into_iter().flatten().min();
        let needs = limit.map_or(task.work.needs, |limit| limit.min(task.work.needs)).max(Span::from_ms(1));
        let stopped = needs < task.work.needs;
        ground.jobs.push(Job { task: at, user, devices, submit: task.submit, needs, said, stopped });
    }
    grounds
}
