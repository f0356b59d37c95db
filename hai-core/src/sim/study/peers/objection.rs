//! What a peer can not play, since its simulator knows nothing of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::{Allowance, Devices, NodeSpec, Span, TaskSpec};
use crate::sim::Ending;

use super::super::cluster::{Change, Cluster};
use super::super::load::{Load, Task};
use super::Peer;

impl Peer {
    /// What it can not play of a cluster and a load, in words; `None` if it can play all.
    #[must_use]
    pub fn objection(&self, cluster: &Cluster, load: &Load) -> Option<String> {
        let what = self.of_cluster(cluster).or_else(|| self.of_load(cluster, load))?;
        Some(format!("{} can not be played: {what}", self.name))
    }

    fn of_cluster(&self, cluster: &Cluster) -> Option<String> {
        if cluster.faults.any() {
            return Some("its cluster never fails, and this one has faults".into());
        }
        if let Some((at, change)) = cluster.changes.first() {
            let (node, what) = match change {
                Change::NodeDown(node) | Change::NodeUp(node) => (node.as_str(), "a node that is lost"),
                Change::Drain(node) | Change::Undrain(node) => (node.as_str(), "a drain"),
                Change::DeviceDown(node, _) | Change::DeviceUp(node, _) => (node.as_str(), "a device that breaks"),
                Change::Right(_) => ("all", "rights that change"),
            };
            return Some(format!("its cluster never changes, and this one has {what} at {at} ({node})"));
        }
        let conduct = &cluster.conduct;
        if conduct.start > Span::ZERO || conduct.leave > Span::ZERO {
            return Some("it starts and leaves in no time, and here that takes some (conduct)".into());
        }
        if self.suspends() && !conduct.saves {
            return Some("what it suspends saves itself, and here it does not (conduct)".into());
        }
        if !cluster.teams.is_empty() || cluster.rights.iter().any(|right| right.allowance != Allowance::UNLIMITED) {
            return Some("it knows no rights and no teams".into());
        }
        let whole = |node: &&NodeSpec| {
            node.ready
                && !node.is_cordoned()
                && !node.draining
                && node.devices.iter().all(|device| device.health.is_healthy())
        };
        if let Some(node) = cluster.nodes.iter().find(|node| !whole(node)) {
            return Some(format!("its nodes are ready and whole, and {} is not", node.name));
        }
        let with_devices = || cluster.nodes.iter().filter(|node| !node.devices.is_empty());
        for node in with_devices() {
            let like = with_devices().find(|other| other.group == node.group).map_or(0, |first| first.devices.len());
            if self.places() && node.devices.len() != like {
                let group = &node.group;
                return Some(format!("nodes of a group are alike for it, and in {group} not all have {like} devices"));
            }
        }
        None
    }

    fn of_load(&self, cluster: &Cluster, load: &Load) -> Option<String> {
        let mut judged: BTreeSet<*const TaskSpec> = BTreeSet::new();
        let mut first: Option<(&Task, &'static str)> = None;
        let mut many = 0_u64;
        let mut silent: Option<&Task> = None;
        let mut all_silent = 0_u64;
        for task in load.tasks() {
            // Tasks that ask alike share what they ask; only what is truly in them may differ.
            let known = judged.contains(&Arc::as_ptr(&task.spec));
            let what = self.of_work(task).or_else(|| if known { None } else { self.of_task(cluster, task) });
            if let Some(what) = what {
                first.get_or_insert((task, what));
                many += 1;
            } else if !known {
                judged.insert(Arc::as_ptr(&task.spec));
            }
            if task.spec.expected.or(task.spec.limit).is_none() {
                silent.get_or_insert(task);
                all_silent += 1;
            }
        }
        if let Some((task, what)) = first {
            let (name, line) = (&task.name, task.line);
            let more = if many > 1 { format!(", and {} more like it", many - 1) } else { String::new() };
            return Some(format!("task {name:?} (line {line}) {what}{more}"));
        }
        let task = silent.filter(|_| self.asks_for_estimates())?;
        let (name, line, of) = (&task.name, task.line, load.tasks().len());
        Some(format!(
            "{all_silent} of {of} tasks do not say how long they run (the first is {name:?}, line {line}); {}+oracle is one that \
             knows it",
            self.name
        ))
    }

    fn of_work(&self, task: &Task) -> Option<&'static str> {
        let again = task.spec.retries.as_ref().is_some_and(|retries| retries.limit > 0);
        if task.work.needs == Span::MAX && task.spec.limit.is_none() {
            return Some("runs without end");
        }
        if task.spec.not_before.is_some_and(|at| at > task.submit) {
            return Some("may not start before some time");
        }
        (again && task.work.ends == Ending::Failure).then_some("is tried again when it fails")
    }

    fn of_task(&self, cluster: &Cluster, task: &Task) -> Option<&'static str> {
        let spec = &*task.spec;
        let request = &spec.request;
        if request.devices.is_part() {
            return Some("asks for a part of a device");
        }
        if request.devices == Devices::Count(0) {
            return Some("asks for no device, and it knows nothing else");
        }
        if !spec.after.is_empty() {
            return Some("waits for another task");
        }
        if self.suspends() && !spec.suspendable {
            return Some("can not be suspended");
        }
        if spec.constraints.is_some() || (spec.distinct_nodes && spec.workers > 1) {
            return Some("says where its workers should be");
        }
        let nodes = || cluster.nodes.iter().filter(|node| node.group == spec.group && !node.devices.is_empty());
        if nodes().any(|node| node.taints.iter().any(|taint| !spec.tolerates.contains(taint))) {
            return Some("does not tolerate all nodes of its group");
        }
        if request.same_model || nodes().any(|node| node.devices.iter().any(|device| !request.accepts(device))) {
            return Some("asks for devices of a kind that not all of its group are");
        }
        // Processors and memory do not matter where there are enough of them for every device.
        let short = |node: &NodeSpec| {
            let all = node.devices.len() as u64;
            let each = if request.devices == Devices::WholeNode { all } else { u64::from(request.devices.count()) };
            u64::from(request.cpu_milli) * all > u64::from(node.cpu_milli) * each
                || request.memory_mib.saturating_mul(all) > node.memory_mib.saturating_mul(each)
        };
        nodes().any(short).then_some("asks for more processors or memory than there are for each device")
    }
}
