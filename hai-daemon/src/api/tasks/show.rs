//! Showing one task.

use axum::Json;
use axum::extract::State;

use super::{Id, find, why};
use crate::api::ApiState;
use crate::api::auth::Caller;
use crate::api::extract::Param;
use crate::api::problem::ApiError;
use crate::api::wire::{Run, Task, TaskCommand, TaskDetail};

/// How many of its last runs a task is shown with.
const RUNS_MAX: usize = 1000;

/// A task with its runs, their workers, and why it waits or does not come to execute
#[utoipa::path(get, path = "/v1/tasks/{id}", tag = "tasks", operation_id = "show_task",
    params(("id" = u64, Path, description = "The task's number.")),
    responses((status = 200, description = "The task.", body = TaskDetail)))]
pub(in crate::api) async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Param(Id(id)): Param<Id>,
) -> Result<Json<TaskDetail>, ApiError> {
    let view = find(&state, &caller, id).await?;
    let program = state.reader.program(id).await?.unwrap_or_default();
    let runs = state.reader.runs(id).await?;
    // One who stands by has no engine to ask.
    let why = match &state.leader {
        Some(_) => None,
        None => Some(why::explain(&state, &view).await?),
    };
    Ok(Json(TaskDetail {
        task: Task::from(&view),
        command: program.command,
        env: program.env,
        workdir: program.workdir,
        image: program.image,
        notes: program.notes,
        history: runs[runs.len().saturating_sub(RUNS_MAX)..].iter().map(Run::from).collect(),
        why: why.filter(|why| why.waits || why.trouble.is_some()),
    }))
}

/// The command that submits a task again, just as it was
///
/// An operator who asks of another user's task is told how to submit it for that user.
#[utoipa::path(get, path = "/v1/tasks/{id}/command", tag = "tasks", operation_id = "task_command",
    params(("id" = u64, Path, description = "The task's number.")),
    responses((status = 200, description = "The command.", body = TaskCommand)))]
pub(in crate::api) async fn command(
    State(state): State<ApiState>,
    caller: Caller,
    Param(Id(id)): Param<Id>,
) -> Result<Json<TaskCommand>, ApiError> {
    let view = find(&state, &caller, id).await?;
    let program = state.reader.program(id).await?.unwrap_or_default();
    let for_owner = view.spec.user != caller.user.name;
    Ok(Json(TaskCommand::of(&Task::from(&view), &program, caller.is_operator(), for_owner)))
}
