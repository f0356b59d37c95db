//! The nodes, and how many of them work.

use std::collections::BTreeMap;

use hai_core::model::{NodeSpec, NodeView, TaskId, TaskKind, UserName};
use serde_json::{Value, json};

use super::args::invalid;
use super::envelope::Reply;
use super::task::task_type;
use super::{Ask, ids};
use crate::api::problem::ApiError;

/// What is told of a task on a node.
struct Guest {
    user: UserName,
    kind: TaskKind,
    attempt: u32,
}

/// `/query/node/list`: here the list stands at the top, as the client wants it.
pub(super) async fn list(ask: &Ask) -> Result<Reply, ApiError> {
    let (nodes, guests) = look(ask).await?;
    let rows: Vec<Value> = nodes.iter().map(|node| row(ask, node, &guests)).collect();
    Ok(Reply::ok("").with("cluster_df", rows).with("containers", json!([])).with("mount_code", 2))
}

async fn look(ask: &Ask) -> Result<(Vec<NodeView>, BTreeMap<TaskId, Guest>), ApiError> {
    let look = ask.state.scheduler.inspect(|engine| {
        let nodes: Vec<NodeView> = engine.nodes().collect();
        let tasks = nodes.iter().flat_map(|node| node.workers.iter().map(|worker| worker.task));
        let guest = |task| {
            let view = engine.task(task)?;
            Some((task, Guest { user: view.spec.user.clone(), kind: view.spec.kind, attempt: view.runs }))
        };
        let guests = tasks.filter_map(guest).collect();
        (nodes, guests)
    });
    Ok(look.await?)
}

fn row(ask: &Ask, node: &NodeView, guests: &BTreeMap<TaskId, Guest>) -> Value {
    let spec = &node.spec;
    // A place that is only promised is not worked on yet.
    let worker = node.workers.iter().find(|worker| worker.phase.is_some());
    let guest = worker.and_then(|worker| Some((worker, guests.get(&worker.task)?)));
    let working = guest.as_ref().map(|(_, guest)| task_type(guest.kind));
    // Whose it is others need not know.
    let known = guest.filter(|(_, guest)| ask.caller.may_see(&guest.user));
    json!({
        "name": spec.name.as_str(),
        "status": if is_ready(spec) { "Ready" } else { "NotReady" },
        "mars_group": spec.group.as_str(),
        "group": spec.group.as_str(),
        "origin_group": spec.group.as_str(),
        "cluster": spec.location.zone.as_ref().map(|zone| zone.as_str()),
        "cluster_host": null,
        "working": working,
        "working_user": known.as_ref().map(|(_, guest)| guest.user.as_str()),
        "working_user_role": known.as_ref().map(|_| "internal"),
        "working_task_id": known.as_ref().map(|(worker, guest)| ids::attempt_id(worker.task, guest.attempt)),
        "working_task_rank": known.as_ref().map(|(worker, _)| worker.rank),
        "roles": null,
        "gpu_num": spec.devices.len(),
        "cpu": spec.cpu_milli / 1000,
        "memory": spec.memory_mib.saturating_mul(1 << 20),
        "nodes": 1,
        "type": if spec.devices.is_empty() { "cpu" } else { "gpu" },
        "use": "training",
        "room": spec.location.zone.as_ref().map(|zone| zone.as_str()),
        "schedule_zone": spec.location.zone.as_ref().map(|zone| zone.as_str()),
        "spine": spec.location.spine.as_ref().map(|spine| spine.as_str()),
        "leaf": spec.location.leaf.as_ref().map(|leaf| leaf.as_str()),
        "internal_ip": null,
        "flag": null,
        "current_category": if is_ready(spec) { "training" } else { "err" },
    })
}

/// Whether it takes work at all.
fn is_ready(node: &NodeSpec) -> bool {
    node.ready && !node.cordoned && !node.draining
}

/// How many nodes of a kind there are, and what they do.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    total: u64,
    working: u64,
    free: u64,
    other: u64,
}

impl Numbers {
    fn count(&mut self, node: &NodeView) {
        self.total += 1;
        match () {
            () if node.workers.iter().any(|worker| worker.phase.is_some()) => self.working += 1,
            () if is_ready(&node.spec) => self.free += 1,
            () => self.other += 1,
        }
    }

    fn shape(self) -> Value {
        #[expect(clippy::cast_precision_loss, reason = "nobody has that many nodes")]
        let rate = if self.total == 0 { 0.0 } else { self.working as f64 / self.total as f64 };
        json!({"total": self.total, "working": self.working, "free": self.free, "other": self.other, "usage_rate": rate})
    }
}

/// `/query/node/client_overview`
pub(super) async fn client_overview(ask: &Ask) -> Result<Reply, ApiError> {
    let (nodes, _) = look(ask).await?;
    let count = |wanted: &dyn Fn(&NodeSpec) -> bool| {
        let mut numbers = Numbers::default();
        nodes.iter().filter(|node| wanted(&node.spec)).for_each(|node| numbers.count(node));
        numbers
    };
    let (all, gpu) = (count(&|_| true), count(&|spec| !spec.devices.is_empty()));
    let cpu = count(&|spec| spec.devices.is_empty());
    let mut result = all.shape();
    if let Value::Object(fields) = &mut result {
        fields.insert("gpu_detail".to_owned(), gpu.shape());
        fields.insert("cpu_detail".to_owned(), cpu.shape());
    }
    Ok(Reply::result(result))
}

/// `/query/node/overview`: the same by group.
pub(super) async fn overview(ask: &Ask) -> Result<Reply, ApiError> {
    let (nodes, _) = look(ask).await?;
    let mut groups: BTreeMap<&str, Numbers> = BTreeMap::new();
    for node in &nodes {
        groups.entry(node.spec.group.as_str()).or_default().count(node);
    }
    let shaped: serde_json::Map<_, _> =
        groups.into_iter().map(|(group, numbers)| (group.to_owned(), numbers.shape())).collect();
    Ok(Reply::result(shaped.into()))
}

/// `/query/node/host_info`
pub(super) async fn host_info(ask: &Ask) -> Result<Reply, ApiError> {
    if ask.args.text("node_regex").is_some() {
        return Err(invalid("node_regex", "not offered here: ask for all nodes, and choose"));
    }
    let (mut nodes, _) = look(ask).await?;
    let is = |field, word: &str| ask.args.text(field).is_none_or(|wanted| wanted == word);
    nodes.retain(|node| is("use", "training") && is("type", if node.spec.devices.is_empty() { "cpu" } else { "gpu" }));
    let row = |node: &NodeView| {
        let spec = &node.spec;
        json!({
            "node": spec.name.as_str(),
            "gpu_num": spec.devices.len(),
            "type": if spec.devices.is_empty() { "cpu" } else { "gpu" },
            "use": "training",
            "origin_group": spec.group.as_str(),
            "room": spec.location.zone.as_ref().map(|zone| zone.as_str()),
            "schedule_zone": spec.location.zone.as_ref().map(|zone| zone.as_str()),
        })
    };
    Ok(Reply::result(Value::from(nodes.iter().map(row).collect::<Vec<_>>())))
}
