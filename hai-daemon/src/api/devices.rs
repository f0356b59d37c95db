//! Reports of nodes' devices, from those who can see them.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use hai_core::model::NodeName;

use super::ApiState;
use super::auth::Reporter;
use super::extract::{Body, Param};
use super::problem::{ApiError, Kind};
use super::wire::{NodeReport, ReportAnswer};
use crate::scheduler::wall_clock;

/// Report the devices of a node
///
/// Replaces what was reported of it before. Agents and operators only. The answer tells what is needed to tell hai's work
/// from that of strangers.
#[utoipa::path(put, path = "/v1/nodes/{name}/devices", tag = "cluster", operation_id = "report_devices",
    params(("name" = String, Path, description = "The node.")),
    request_body = NodeReport,
    responses((status = 200, description = "It is taken.", body = ReportAnswer)))]
pub(super) async fn report(
    State(state): State<ApiState>,
    reporter: Reporter,
    Param(node): Param<NodeName>,
    Body(report): Body<NodeReport>,
) -> Result<Json<ReportAnswer>, ApiError> {
    if let Some(own) = reporter.node.as_ref().filter(|own| **own != node) {
        let detail = format!("name: the agent is on node {own}, and speaks for no other");
        return Err(ApiError::new(Kind::Forbidden, detail).at("name"));
    }
    let reports = &state.reports;
    if reports.is_own(&node) {
        let detail = format!("name: the daemon watches the devices of {node} itself; no agent is needed there");
        return Err(ApiError::new(Kind::Conflict, detail).at("name"));
    }
    let (wanted, kept) = (node.clone(), reports.all().len());
    let look = state.scheduler.inspect(move |engine| {
        let (mut known, mut count) = (false, 0);
        engine.nodes().for_each(|view| {
            known |= view.spec.name == wanted;
            count += 1;
        });
        // Nodes go, and what was reported of them has to go too.
        let all = (kept > count).then(|| engine.nodes().map(|view| view.spec.name).collect::<BTreeSet<_>>());
        (known, all)
    });
    let (known, all) = look.await?;
    if let Some(all) = all {
        reports.retain(|node| all.contains(node));
    }
    if !known {
        let detail = format!("name: there is no node {node} here; `hai nodes` lists those that there are");
        return Err(ApiError::new(Kind::NotFound, detail).at("name"));
    }
    let pods = reports.workers(&node).map(|pods| pods.into_iter().collect());
    reports.put(node, report, wall_clock()).map_err(|error| {
        let field = error.field.clone();
        ApiError::new(Kind::InvalidValue, error.to_string()).at(field)
    })?;
    Ok(Json(ReportAnswer { pods }))
}
