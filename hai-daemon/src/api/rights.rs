//! Rights: who may hold how much.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hai_core::model::{Fact, RightRow};

use super::ApiState;
use super::auth::{Caller, Operator};
use super::extract::{Body, Query};
use super::problem::ApiError;
use super::wire::{Right, RightKey, RightList};

/// The rights
///
/// Users see the rows that name them and those that name no user. A parameter that is given selects the rows that name
/// just that.
#[utoipa::path(get, path = "/v1/rights", tag = "cluster", operation_id = "list_rights", params(RightKey),
    responses((status = 200, description = "By key.", body = RightList)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Query(wanted): Query<RightKey>,
) -> Result<Json<RightList>, ApiError> {
    let visible = |row: &&RightRow| row.key.user.as_ref().is_none_or(|user| caller.may_see(user));
    let selected = |row: &&RightRow| {
        (wanted.user.is_none() || wanted.user == row.key.user)
            && (wanted.group.is_none() || wanted.group == row.key.group)
            && (wanted.priority.is_none() || wanted.priority == row.key.priority)
            && (wanted.team.is_none() || wanted.team == row.key.team)
            && (wanted.model.is_none() || wanted.model == row.key.model)
            && (!wanted.cap || row.key.cap)
    };
    let rows = state.reader.rights().await?;
    Ok(Json(RightList { rights: rows.iter().filter(visible).filter(selected).map(Right::from).collect() }))
}

/// Give or change a right
///
/// Replaces the row with the same user, team, group, priority, model and `cap`. Operators only.
#[utoipa::path(put, path = "/v1/rights", tag = "cluster", operation_id = "set_right", request_body = Right,
    responses((status = 200, description = "The row as it is now.", body = Right)))]
pub(super) async fn set(
    State(state): State<ApiState>,
    Operator(caller): Operator,
    Body(right): Body<Right>,
) -> Result<Json<Right>, ApiError> {
    let row = RightRow::from(right);
    let answer = Right::from(&row);
    state.scheduler.tell(caller.user.name, Fact::RightSet { right: row }).await?;
    Ok(Json(answer))
}

/// Take a right away
///
/// Removes the one row with exactly this user, team, group, priority, model and `cap`; what is left out stands for
/// "every". Operators only.
#[utoipa::path(delete, path = "/v1/rights", tag = "cluster", operation_id = "remove_right", params(RightKey),
    responses((status = 204, description = "It is gone.")))]
pub(super) async fn remove(
    State(state): State<ApiState>,
    Operator(caller): Operator,
    Query(key): Query<RightKey>,
) -> Result<StatusCode, ApiError> {
    state.scheduler.tell(caller.user.name, Fact::RightRemoved { key: key.into() }).await?;
    Ok(StatusCode::NO_CONTENT)
}
