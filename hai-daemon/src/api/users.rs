//! Users and their tokens.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hai_core::model::UserName;

use super::ApiState;
use super::auth::{Caller, Operator};
use super::extract::{Body, Param};
use super::problem::{ApiError, Kind};
use super::wire::{NewToken, NewUser, Role, User, UserList, utc};
use crate::store;

/// All users
///
/// Operators only.
#[utoipa::path(get, path = "/v1/users", tag = "users", operation_id = "list_users",
    responses((status = 200, description = "By name, those who were removed included.", body = UserList)))]
pub(super) async fn list(State(state): State<ApiState>, _: Operator) -> Result<Json<UserList>, ApiError> {
    let users = state.accounts.list().await?;
    let user = |user: &store::User| User { last_seen: state.seen.last(&user.name).map(utc), ..User::from(user) };
    Ok(Json(UserList { users: users.iter().map(user).collect() }))
}

/// Add a user
///
/// The token in the answer is shown this once. Operators only.
#[utoipa::path(post, path = "/v1/users", tag = "users", operation_id = "add_user", request_body = NewUser,
    responses((status = 201, description = "The user and the token.", body = NewToken)))]
pub(super) async fn add(
    State(state): State<ApiState>,
    _: Operator,
    Body(new): Body<NewUser>,
) -> Result<(StatusCode, Json<NewToken>), ApiError> {
    let token = state.accounts.add(&new.name, new.role.into()).await?;
    let answer = NewToken { name: new.name, role: new.role, token: token.as_str().to_owned() };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Remove a user
///
/// Their token is void; their tasks go on and keep their name. Operators only, and not themselves.
#[utoipa::path(delete, path = "/v1/users/{name}", tag = "users", operation_id = "remove_user",
    params(("name" = String, Path, description = "The user.")),
    responses((status = 204, description = "They are gone.")))]
pub(super) async fn remove(
    State(state): State<ApiState>,
    Operator(caller): Operator,
    Param(name): Param<UserName>,
) -> Result<StatusCode, ApiError> {
    if caller.user.name == name {
        let detail = "you can not remove yourself; another operator can, so that there always is one";
        return Err(ApiError::new(Kind::Conflict, detail).at("name"));
    }
    state.accounts.remove(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a user a new token
///
/// The old one is void. The token in the answer is shown this once. Operators only.
#[utoipa::path(post, path = "/v1/users/{name}/token", tag = "users", operation_id = "rotate_token",
    params(("name" = String, Path, description = "The user.")),
    responses((status = 200, description = "The user and the token.", body = NewToken)))]
pub(super) async fn rotate(
    State(state): State<ApiState>,
    _: Operator,
    Param(name): Param<UserName>,
) -> Result<Json<NewToken>, ApiError> {
    let token = state.accounts.rotate(&name).await?;
    let users = state.accounts.list().await?;
    let role = users.iter().find(|user| user.name == name).map_or(Role::User, |user| user.role.into());
    Ok(Json(NewToken { name, role, token: token.as_str().to_owned() }))
}

/// Who the token belongs to
#[utoipa::path(get, path = "/v1/me", tag = "users", operation_id = "me",
    responses((status = 200, description = "The user.", body = User)))]
pub(super) async fn me(State(state): State<ApiState>, caller: Caller) -> Json<User> {
    Json(User { last_seen: state.seen.last(&caller.user.name).map(utc), ..User::from(&caller.user) })
}

impl From<&store::User> for User {
    fn from(user: &store::User) -> Self {
        User {
            name: user.name.clone(),
            role: user.role.into(),
            created_at: utc(user.created_at),
            last_seen: None,
            removed: user.disabled,
        }
    }
}

impl From<store::Role> for Role {
    fn from(role: store::Role) -> Self {
        match role {
            store::Role::User => Role::User,
            store::Role::Operator => Role::Operator,
            store::Role::Agent => Role::Agent,
        }
    }
}

impl From<Role> for store::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::User => store::Role::User,
            Role::Operator => store::Role::Operator,
            Role::Agent => store::Role::Agent,
        }
    }
}
