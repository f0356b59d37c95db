//! Changing a task: stop, suspend, resume, renew, priority.

use axum::Json;
use axum::extract::State;
use hai_core::model::{Fact, TaskId, TaskState};

use super::{Id, find};
use crate::api::ApiState;
use crate::api::auth::Caller;
use crate::api::extract::{Body, Param, Query};
use crate::api::problem::{ApiError, Kind};
use crate::api::wire::{OutcomeWord, PriorityRequest, StopQuery, Task};

/// Stop a task for good
///
/// If it runs it has its grace to end. Stopping it again changes nothing.
#[utoipa::path(post, path = "/v1/tasks/{id}/stop", tag = "tasks", operation_id = "stop",
    params(("id" = u64, Path, description = "The task's number."), StopQuery),
    responses((status = 200, description = "The task after the change.", body = Task)))]
pub(in crate::api) async fn stop(
    State(state): State<ApiState>,
    caller: Caller,
    Param(Id(id)): Param<Id>,
    Query(query): Query<StopQuery>,
) -> Result<Json<Task>, ApiError> {
    change(&state, &caller, id, ended(id, query.outcome.unwrap_or(OutcomeWord::Stopped))).await
}

/// What is told to the engine to stop a task, so that it has ended like this.
pub(in crate::api) fn ended(task: TaskId, how: OutcomeWord) -> Fact {
    match how {
        OutcomeWord::Stopped => Fact::Cancelled { task },
        OutcomeWord::Succeeded => Fact::Concluded { task, succeeded: true },
        OutcomeWord::Failed => Fact::Concluded { task, succeeded: false },
    }
}

/// Suspend a task until it is resumed
///
/// If it runs it has its grace to save itself. Suspending it again changes nothing.
#[utoipa::path(post, path = "/v1/tasks/{id}/suspend", tag = "tasks", operation_id = "suspend",
    params(("id" = u64, Path, description = "The task's number.")),
    responses((status = 200, description = "The task after the change.", body = Task)))]
pub(in crate::api) async fn suspend(
    State(state): State<ApiState>,
    caller: Caller,
    Param(Id(id)): Param<Id>,
) -> Result<Json<Task>, ApiError> {
    change(&state, &caller, id, Fact::Held { task: id }).await
}

/// Let a suspended task go on
///
/// It keeps its place in the queue.
#[utoipa::path(post, path = "/v1/tasks/{id}/resume", tag = "tasks", operation_id = "resume",
    params(("id" = u64, Path, description = "The task's number.")),
    responses((status = 200, description = "The task after the change.", body = Task)))]
pub(in crate::api) async fn resume(
    State(state): State<ApiState>,
    caller: Caller,
    Param(Id(id)): Param<Id>,
) -> Result<Json<Task>, ApiError> {
    change(&state, &caller, id, Fact::Released { task: id }).await
}

/// Let the lease of an interactive task begin anew
///
/// While it does not run there is nothing to renew, and nothing changes: its lease begins with its run.
#[utoipa::path(post, path = "/v1/tasks/{id}/renew", tag = "tasks", operation_id = "renew",
    params(("id" = u64, Path, description = "The task's number.")),
    responses((status = 200, description = "The task after the change.", body = Task)))]
pub(in crate::api) async fn renew(
    State(state): State<ApiState>,
    caller: Caller,
    Param(Id(id)): Param<Id>,
) -> Result<Json<Task>, ApiError> {
    change(&state, &caller, id, Fact::Renewed { task: id }).await
}

/// Change how urgent a task is
#[utoipa::path(post, path = "/v1/tasks/{id}/priority", tag = "tasks", operation_id = "set_priority",
    params(("id" = u64, Path, description = "The task's number.")), request_body = PriorityRequest,
    responses((status = 200, description = "The task after the change.", body = Task)))]
pub(in crate::api) async fn priority(
    State(state): State<ApiState>,
    caller: Caller,
    Param(Id(id)): Param<Id>,
    Body(request): Body<PriorityRequest>,
) -> Result<Json<Task>, ApiError> {
    if request.custom_rank.is_some() {
        caller.must_be_operator("custom_rank", "choose a task's place in the queue")?;
    }
    let fact = Fact::Reprioritised { task: id, priority: request.priority, custom_rank: request.custom_rank };
    change(&state, &caller, id, fact).await
}

/// Tells the fact, if the caller may touch the task, and answers with the task as it is stored after it.
async fn change(state: &ApiState, caller: &Caller, id: TaskId, fact: Fact) -> Result<Json<Task>, ApiError> {
    let before = find(state, caller, id).await?;
    // Ended tasks leave the engine; it would say that there is none, which is true but does not help.
    if before.state == TaskState::Finished {
        let outcome = before.outcome.as_ref().map_or("is over", hai_core::model::Outcome::word);
        return Err(ApiError::new(Kind::Conflict, format!("task {id} is finished ({outcome}), nothing can change it")));
    }
    state.scheduler.tell(caller.user.name.clone(), fact).await?;
    Ok(Json(Task::from(&find(state, caller, id).await?)))
}
