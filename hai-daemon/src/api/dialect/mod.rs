//! The hai-platform dialect: the paths that its client, its pages and its training code ask, answered by the services behind
//! version 1.
//!
//! A chain there is a task here, a task there is one attempt ([`ids`], [`attempts`]). Every request is a POST with its arguments in
//! the query, every answer an object with `success` and `msg` ([`envelope`]). See `answer` for the table of paths.

mod args;
mod attempts;
mod change;
mod cluster;
mod create;
mod envelope;
mod ids;
mod limit;
mod logs;
mod paths;
mod people;
mod query;
mod schema;
mod select;
mod task;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use serde_json::Value;

use super::ApiState;
use super::auth::Caller;
use super::extract;
use super::problem::{ApiError, Kind};
use crate::store::{Role, User};
use args::Args;
use envelope::Reply;

pub(super) use envelope::in_the_dialect;
pub(super) use limit::Memory;
pub(super) use paths::only_reads;

/// One request, and who sent it.
#[derive(Debug)]
struct Ask {
    state: ApiState,
    caller: Caller,
    /// As it was sent.
    token: String,
    args: Args,
    body: Option<Value>,
}

pub(super) fn routes() -> Router<ApiState> {
    let mut router = Router::new().route("/api_server_status", any(status));
    for path in ["/query/{*rest}", "/operating/{*rest}", "/ugc/{*rest}", "/monitor/{*rest}", "/monitor_v2/{*rest}"] {
        router = router.route(path, any(answer));
    }
    router
}

/// Whether a path that nobody else knows is one of the dialect's after all: with too many slashes.
pub(super) fn is_ours(path: &str) -> bool {
    paths::are_ours(&paths::plain(path))
}

async fn status() -> Response {
    Reply::ok("").with("status", "running").into_response()
}

/// Finds out who asks, and what.
pub(super) async fn answer(State(state): State<ApiState>, request: Request) -> Response {
    let path = paths::plain(request.uri().path());
    let answered = match Ask::read(state, &path, request).await {
        Ok(ask) => dispatch(&path, &ask).await,
        Err(error) => Err(error),
    };
    answered.map_or_else(ApiError::into_response, Reply::into_response)
}

/// Every path that is served.
async fn dispatch(path: &str, ask: &Ask) -> Result<Reply, ApiError> {
    match path {
        "/operating/task/create" => create::create(ask).await,
        "/operating/task/stop" => change::stop(ask).await,
        "/operating/task/suspend" => change::suspend(ask).await,
        "/operating/task/resume" => change::resume(ask).await,
        "/operating/task/priority/update" => change::priority(ask).await,
        "/operating/user/access_token/create" => people::create_token(ask).await,
        "/operating/user/training_quota/update" => people::change_quota(ask).await,
        "/query/task" => query::show(ask).await,
        "/query/task/list" => query::list(ask).await,
        "/query/task/list_all_unfinished" => query::unfinished(ask).await,
        "/query/task/list_all_with_priority" => query::by_priority(ask).await,
        "/query/task/ssh_ip" => query::ssh_ip(ask).await,
        "/query/task/log" => logs::log(ask).await,
        "/query/task/container_log" => logs::container_log(ask).await,
        "/query/task/sys_log" => logs::sys_log(ask).await,
        "/query/task/log/search" => logs::search(ask).await,
        "/query/node/list" => cluster::list(ask).await,
        "/query/node/client_overview" => cluster::client_overview(ask).await,
        "/query/node/overview" => cluster::overview(ask).await,
        "/query/node/host_info" => cluster::host_info(ask).await,
        "/query/user/info" => people::info(ask).await,
        "/query/user/list_all" => people::all(ask).await,
        "/query/user/quota/list" => people::quotas(ask).await,
        "/query/user/training_quota/get_used" => people::used(ask).await,
        "/query/user/access_token/list" => people::tokens(ask).await,
        "/query/user/tag/list" | "/query/user/nodeport/list" => people::nothing(ask).await,
        "/ugc/user/train_image/list" => people::images(ask).await,
        path => Err(unknown(path)),
    }
}

fn unknown(path: &str) -> ApiError {
    match paths::why_not(path) {
        Some(why) => ApiError::new(Kind::Conflict, format!("not offered here: {why}")),
        None => ApiError::new(Kind::NotFound, "Not Found"),
    }
}

impl Ask {
    async fn read(state: ApiState, path: &str, request: Request) -> Result<Self, ApiError> {
        if request.method() != Method::POST {
            return Err(ApiError::new(Kind::MethodNotAllowed, "everything here is asked by POST"));
        }
        let args = Args::read(request.uri())?;
        // Whatever type the client says that an empty body has.
        let bytes: Bytes = extract::whole(request.into_body(), state.defaults.body_bytes_max).await?.into();
        let body = match bytes.is_empty() {
            true => None,
            false => Some(extract::parse::<Value>(&bytes)?),
        };
        let token = args.text("token").or_else(|| body.as_ref()?.get("token")?.as_str()).map(str::to_owned);
        let Some(token) = token else {
            return Err(ApiError::new(Kind::Unauthorized, "no token; run `hai-cli init <token>`"));
        };
        let user = match state.accounts.authenticate(&token).await? {
            Some(user) => Some(user).filter(|user| user.role != Role::Agent),
            None => owner_of(&state, &token).await?,
        };
        let user =
            user.ok_or_else(|| ApiError::new(Kind::Unauthorized, "the token opens nothing; ask an operator for one"))?;
        state.dialect.rates.take(&user.name)?;
        tracing::trace!(path, user = %user.name, "asked in the dialect");
        Ok(Ask { state, caller: Caller { user }, token, args, body })
    }
}

/// The user for whom a worker that holds this token works, as long as it does. It may do what a user may, whoever that is.
async fn owner_of(state: &ApiState, token: &str) -> Result<Option<User>, ApiError> {
    let Some((run, _)) = state.workers.as_ref().and_then(|workers| workers.worker(token)) else { return Ok(None) };
    let name =
        state.scheduler.inspect(move |engine| Some(engine.task(engine.run(run)?.task)?.spec.user.clone())).await?;
    let Some(name) = name else { return Ok(None) };
    let users = state.accounts.list().await?;
    let user = users.into_iter().find(|user| user.name == name && !user.disabled && user.role != Role::Agent);
    Ok(user.map(|user| User { role: Role::User, ..user }))
}
