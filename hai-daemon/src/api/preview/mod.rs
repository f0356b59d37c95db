//! What a change would do, before it is made; and making just that.

mod read;
mod show;

use axum::Json;
use axum::extract::State;
use hai_core::backend::{Command, Refused, Submitted};
use hai_core::engine::{EngineConfig, FactError};
use hai_core::explain::forecast::{Forecast, forecast};
use hai_core::explain::why::LineLink;
use hai_core::explain::{self, Change, Stamp, WhatIfError, what_if, why};
use hai_core::model::{Fact, TaskSpec};

use super::ApiState;
use super::auth::Caller;
use super::extract::Body;
use super::looks::Effort;
use super::problem::{ApiError, Kind};
use super::tasks::{submit, when};
use super::wire::{ApplyRequest, PlannedChange, Preview, PreviewRequest, SubmitRequest};
use crate::scheduler::{Moment, Shown, Still, wall_clock};

/// See what changes would do
///
/// Nothing is changed. The changes are made together on a copy of what is, and it is played on until nothing more would
/// be decided.
#[utoipa::path(post, path = "/v1/preview", tag = "cluster", operation_id = "preview", request_body = PreviewRequest,
    responses((status = 200, description = "What they would do.", body = Preview)))]
pub(super) async fn preview(
    State(state): State<ApiState>,
    caller: Caller,
    Body(request): Body<PreviewRequest>,
) -> Result<Json<Preview>, ApiError> {
    let can_be_applied = request.changes.iter().all(PlannedChange::can_be_applied);
    let commands = read::commands(&state, &caller, request.changes).await?;
    let (shown, _) = look(&state, &caller, &commands).await?.map_err(impossible)?;
    Ok(Json(show::preview(&shown, &caller, can_be_applied)))
}

/// Make changes if they still do what was shown
///
/// Refused with 409 if they would do something else by now; then nothing is changed.
#[utoipa::path(post, path = "/v1/preview/apply", tag = "cluster", operation_id = "apply", request_body = ApplyRequest,
    responses((status = 200, description = "They are made, and stored.", body = Vec<Option<u64>>)))]
pub(super) async fn apply(
    State(state): State<ApiState>,
    caller: Caller,
    Body(request): Body<ApplyRequest>,
) -> Result<Json<Vec<Option<u64>>>, ApiError> {
    if let Some(at) = request.changes.iter().position(|change| !change.can_be_applied()) {
        let detail = "nodes come and go with the cluster; this can only be looked at";
        return Err(ApiError::new(Kind::InvalidValue, format!("changes[{at}]: {detail}")).at("changes"));
    }
    let stamp = Stamp::new(request.stamp);
    let commands = read::commands(&state, &caller, request.changes).await?;
    // Most that is stale is found here, beside the scheduler, which has better things to do than to work it out.
    let changed = |error: &WhatIfError| ApiError::new(Kind::Conflict, error.to_string()).at("changes");
    let (preview, seen) = look(&state, &caller, &commands).await?.map_err(|error| changed(&error))?;
    if preview.stamp != stamp {
        return Err(stale());
    }
    let shown = Shown { stamp, at: preview.at, seen };
    let commands = commands.into_iter().map(|command| command.by(caller.user.name.clone())).collect();
    match state.scheduler.apply(commands, shown).await? {
        Ok(tasks) => Ok(Json(tasks.into_iter().map(|task| task.map(|task| task.0)).collect())),
        Err(Refused::Impossible(error)) => Err(changed(&error)),
        Err(_) => Err(stale()),
    }
}

fn stale() -> ApiError {
    let detail = "something happened meanwhile, and it would do something else now; nothing was changed, look again";
    ApiError::new(Kind::Conflict, detail).at("stamp")
}

/// See what would become of a submission
///
/// Nothing is submitted.
#[utoipa::path(post, path = "/v1/tasks/try", tag = "tasks", operation_id = "try_submission", request_body = SubmitRequest,
    responses((status = 200, description = "What would become of it.", body = Preview)))]
pub(super) async fn try_submission(
    State(state): State<ApiState>,
    caller: Caller,
    Body(request): Body<SubmitRequest>,
) -> Result<Json<Preview>, ApiError> {
    let (spec, program) = submit::check(&state, &caller, request).await?;
    let commands = vec![Command::Submit(Box::new(Submitted { spec: spec.clone(), program }))];
    let (shown, _) = look(&state, &caller, &commands).await?.map_err(impossible)?;
    let mut preview = show::preview(&shown, &caller, true);
    if let [outlook] = &mut preview.outlooks[..]
        && outlook.outlook == "waits"
    {
        let waiting = waiting(&state, &caller, spec).await?;
        show::waits(outlook, &waiting);
    }
    Ok(Json(preview))
}

/// The settings that the engine decides by
#[utoipa::path(get, path = "/v1/engine/config", tag = "cluster", operation_id = "engine_config",
    responses((status = 200, description = "All of them; spans of time are in milliseconds.", body = Object)))]
pub(super) async fn config(State(state): State<ApiState>, _: Caller) -> Result<Json<serde_json::Value>, ApiError> {
    let config: EngineConfig = state.scheduler.inspect(|engine| engine.config().clone()).await?;
    let value =
        serde_json::to_value(config).map_err(|error| ApiError::internal("the settings can not be shown", &error))?;
    Ok(Json(value))
}

type Looked = Result<(explain::Preview, Moment), WhatIfError>;

/// Works it out beside the scheduler; returns also when that was.
async fn look(state: &ApiState, caller: &Caller, commands: &[Command]) -> Result<Looked, ApiError> {
    let changes: Vec<Change> = commands.iter().map(Command::change).collect();
    let look = move |still: &Still| Ok((what_if(still.engine(), wall_clock(), &changes)?, still.moment()));
    state.look(Effort::Heavy, caller, look).await
}

fn impossible(error: WhatIfError) -> ApiError {
    ApiError::from(error.error).within(format!("changes[{}]", error.index))
}

/// Where a task would stand that was submitted now, and when it would start.
struct Waiting {
    line: Option<LineLink>,
    forecast: Option<Forecast>,
}

async fn waiting(state: &ApiState, caller: &Caller, spec: TaskSpec) -> Result<Waiting, ApiError> {
    let learned = state.learned.clone();
    let looked: Result<Waiting, FactError> = state
        .look(Effort::Forecast, caller, move |still| {
            let mut engine = still.engine().clone();
            let (now, task) = (wall_clock(), engine.next_task_id());
            engine.observe(now, &Fact::Submitted { task, spec: spec.into() })?;
            engine.schedule(now);
            let line = why(&engine, task).and_then(|why| why.line);
            let forecast = forecast(&engine, when::grain(now), &learned.history(), task, &when::options());
            Ok(Waiting { line, forecast })
        })
        .await?;
    Ok(looked?)
}
