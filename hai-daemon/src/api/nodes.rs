//! The nodes, who is on them, and which take work.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use hai_core::model::{Duty, Fact, NodeName, NodeView, TaskId, UserName};

use super::ApiState;
use super::auth::{Caller, Operator};
use super::extract::Param;
use super::problem::{ApiError, Kind};
use super::wire::{Node, NodeList};

/// All nodes, their devices and who is on them
///
/// Of other people's tasks users are told what they hold, but not whose they are.
#[utoipa::path(get, path = "/v1/nodes", tag = "cluster",
    responses((status = 200, description = "By name.", body = NodeList)))]
pub(super) async fn nodes(State(state): State<ApiState>, caller: Caller) -> Result<Json<NodeList>, ApiError> {
    Ok(Json(NodeList { nodes: look(&state, &caller, |_| true).await? }))
}

/// Give a node no new work
///
/// What runs there stays. A drain that is under way ends. On Kubernetes the node is marked unschedulable too. It holds until
/// the node is uncordoned, whatever happens to the server. Operators only.
#[utoipa::path(post, path = "/v1/nodes/{name}/cordon", tag = "cluster", operation_id = "cordon_node",
    params(("name" = String, Path, description = "The node.")),
    responses((status = 200, description = "The node after the change.", body = Node)))]
pub(super) async fn cordon(
    State(state): State<ApiState>,
    Operator(caller): Operator,
    Param(name): Param<NodeName>,
) -> Result<Json<Node>, ApiError> {
    change(&state, &caller, name, Duty::Cordoned).await
}

/// Let a node take work again
///
/// Ends a cordon and a drain. On Kubernetes the node is marked schedulable too; where the server's own configuration cordons it,
/// it stays so. Operators only.
#[utoipa::path(post, path = "/v1/nodes/{name}/uncordon", tag = "cluster", operation_id = "uncordon_node",
    params(("name" = String, Path, description = "The node.")),
    responses((status = 200, description = "The node after the change.", body = Node)))]
pub(super) async fn uncordon(
    State(state): State<ApiState>,
    Operator(caller): Operator,
    Param(name): Param<NodeName>,
) -> Result<Json<Node>, ApiError> {
    change(&state, &caller, name, Duty::Open).await
}

/// Give a node no new work, and let what runs there leave
///
/// Its runs are suspended, with their grace to save themselves, and go on elsewhere when their turn comes. On Kubernetes the
/// node is marked unschedulable too; pods of others stay. It holds until the node is uncordoned. Operators only.
#[utoipa::path(post, path = "/v1/nodes/{name}/drain", tag = "cluster", operation_id = "drain_node",
    params(("name" = String, Path, description = "The node.")),
    responses((status = 200, description = "The node after the change.", body = Node)))]
pub(super) async fn drain(
    State(state): State<ApiState>,
    Operator(caller): Operator,
    Param(name): Param<NodeName>,
) -> Result<Json<Node>, ApiError> {
    change(&state, &caller, name, Duty::Drained).await
}

async fn change(state: &ApiState, caller: &Caller, name: NodeName, duty: Duty) -> Result<Json<Node>, ApiError> {
    let told = state.scheduler.tell(caller.user.name.clone(), Fact::NodeDuty { node: name.clone(), duty }).await;
    told.map_err(|error| ApiError::from(error).at("name"))?;
    let wanted = name.clone();
    let node = look(state, caller, move |node| *node == wanted).await?.pop();
    node.map(Json).ok_or_else(|| ApiError::new(Kind::NotFound, format!("node {name} has just gone")).at("name"))
}

/// The nodes that are wanted, by name, as the caller may see them.
async fn look(
    state: &ApiState,
    caller: &Caller,
    wanted: impl Fn(&NodeName) -> bool + Send + 'static,
) -> Result<Vec<Node>, ApiError> {
    let look = state.scheduler.inspect(move |engine| {
        let nodes: Vec<_> = engine.nodes().filter(|node| wanted(&node.spec.name)).collect();
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
    Ok(nodes.iter().map(node).collect())
}
