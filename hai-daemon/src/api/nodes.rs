//! The nodes and who is on them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use hai_core::model::{NodeView, TaskId, UserName};

use super::ApiState;
use super::auth::Caller;
use super::problem::ApiError;
use super::wire::{Node, NodeList};

/// All nodes, their devices and who is on them
///
/// Of other people's tasks users are told what they hold, but not whose they are.
#[utoipa::path(get, path = "/v1/nodes", tag = "cluster",
    responses((status = 200, description = "By name.", body = NodeList)))]
pub(super) async fn nodes(State(state): State<ApiState>, caller: Caller) -> Result<Json<NodeList>, ApiError> {
    let look = state.scheduler.inspect(|engine| {
        let nodes: Vec<_> = engine.nodes().collect();
        let tasks = nodes.iter().flat_map(|node| node.workers.iter().map(|worker| worker.task));
        let owners: BTreeMap<TaskId, UserName> =
            tasks.filter_map(|task| Some((task, engine.task(task)?.spec.user.clone()))).collect();
        (nodes, owners)
    });
    let (nodes, owners) = look.await?;
    let owner = |task| owners.get(&task).filter(|owner| caller.may_see(owner)).cloned();
    let reports = state.reports.all();
    let node = |view: &NodeView| match reports.get(&view.spec.name) {
        Some(report) => Node::new(view, owner).reported(report, caller.is_operator()),
        None => Node::new(view, owner),
    };
    Ok(Json(NodeList { nodes: nodes.iter().map(node).collect() }))
}
