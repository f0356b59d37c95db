//! Teams: who shares rights with whom, and how much they may hold together.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hai_core::model::{Fact, TeamName};

use super::ApiState;
use super::auth::Operator;
use super::extract::{Body, Param};
use super::problem::ApiError;
use super::wire::{Team, TeamList};

/// The teams
///
/// Operators only.
#[utoipa::path(get, path = "/v1/teams", tag = "cluster", operation_id = "list_teams",
    responses((status = 200, description = "By name.", body = TeamList)))]
pub(super) async fn list(State(state): State<ApiState>, _: Operator) -> Result<Json<TeamList>, ApiError> {
    let teams = state.scheduler.inspect(|engine| engine.teams().map(Team::from).collect()).await?;
    Ok(Json(TeamList { teams }))
}

/// Make or change a team
///
/// Replaces all of a team of the same name. Operators only.
#[utoipa::path(put, path = "/v1/teams", tag = "cluster", operation_id = "set_team", request_body = Team,
    responses((status = 200, description = "The team as it is now.", body = Team)))]
pub(super) async fn set(
    State(state): State<ApiState>,
    Operator(caller): Operator,
    Body(team): Body<Team>,
) -> Result<Json<Team>, ApiError> {
    let team = hai_core::model::Team::from(team);
    let answer = Team::from(&team);
    state.scheduler.tell(caller.user.name, Fact::TeamSet { team }).await?;
    Ok(Json(answer))
}

/// Remove a team
///
/// Its parts stay, without a parent, and so do rights for it, which then are nobody's. Operators only.
#[utoipa::path(delete, path = "/v1/teams/{name}", tag = "cluster", operation_id = "remove_team",
    params(("name" = String, Path, description = "The team.")),
    responses((status = 204, description = "It is gone.")))]
pub(super) async fn remove(
    State(state): State<ApiState>,
    Operator(caller): Operator,
    Param(team): Param<TeamName>,
) -> Result<StatusCode, ApiError> {
    state.scheduler.tell(caller.user.name, Fact::TeamRemoved { team }).await?;
    Ok(StatusCode::NO_CONTENT)
}
