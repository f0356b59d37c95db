//! What workers ask and say while they execute, where they share no files with the daemon.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use hai_core::model::{Fact, Grace, RunId, TaskState, TaskView};

use super::ApiState;
use super::auth::bearer;
use super::extract::{Body, Query};
use super::problem::{ApiError, Kind};
use super::wire::{LeaveQuery, Leaving, OwnPriority, SavedState};

/// The longest that a worker may be made to wait for an answer; below what every answer may take.
const WAIT_MAX: Duration = Duration::from_secs(25);

/// The way from the API to workers' clusters, which `main` fills in.
pub trait Workers: std::fmt::Debug + Send + Sync + 'static {
    /// Whose token it is: the run, and which worker of it.
    fn worker(&self, token: &str) -> Option<(RunId, u32)>;

    /// Waits at most for `patience` until the run must leave; then its grace.
    fn must_leave(&self, run: RunId, patience: Duration) -> Pin<Box<dyn Future<Output = Option<Grace>> + Send>>;

    /// What keeps the workers of a run that is being started from executing, if something does.
    fn trouble(&self, run: RunId) -> Option<String>;

    /// The worker heard that it must leave; an error says why that could not be written down.
    fn heard(&self, run: RunId, rank: u32) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

    /// The worker says that the task's work is complete; an error says why that could not be written down.
    fn done(&self, run: RunId, rank: u32) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
}

/// A worker that sent the request, and the way to where it executes.
#[derive(Debug)]
pub(super) struct Worker {
    run: RunId,
    rank: u32,
    workers: Arc<dyn Workers>,
}

impl FromRequestParts<ApiState> for Worker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let Some(workers) = &state.workers else {
            let detail = "this cluster's workers speak to the daemon through files; see HAI_SUSPEND_FILE";
            return Err(ApiError::new(Kind::NotFound, detail));
        };
        let token = parts.headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.to_str().ok()?));
        match token.and_then(|token| workers.worker(token)) {
            Some((run, rank)) => Ok(Worker { run, rank, workers: workers.clone() }),
            None => Err(ApiError::new(Kind::Unauthorized, "this is no worker's token; see HAI_WORKER_TOKEN")
                .at("authorization")
                .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"hai worker\""))),
        }
    }
}

/// Whether the worker must save its work and leave
///
/// Waits until it must, or until `wait` is over. All workers of a run hear it at the same time.
#[utoipa::path(get, path = "/v1/worker/leave", tag = "workers", operation_id = "worker_leave", params(LeaveQuery),
    responses((status = 200, description = "Whether, and how long it has.", body = Leaving)))]
pub(super) async fn leave(
    worker: Worker,
    Query(query): Query<LeaveQuery>,
    State(state): State<ApiState>,
) -> Json<Leaving> {
    let patience = Duration::from_secs(query.wait.unwrap_or(0)).min(WAIT_MAX);
    let grace = tokio::select! {
        grace = worker.workers.must_leave(worker.run, patience) => grace,
        // Whoever waits asks the next daemon.
        () = state.closing.cancelled() => None,
    };
    Json(Leaving {
        leave: grace.is_some(),
        answer: grace.map(|grace| grace.answer),
        finish: grace.map(|grace| grace.finish),
    })
}

/// Say that the worker heard that it must leave
///
/// It then has the second part of its grace too.
#[utoipa::path(post, path = "/v1/worker/heard", tag = "workers", operation_id = "worker_heard",
    responses((status = 204, description = "It is known.")))]
pub(super) async fn heard(worker: Worker) -> Result<StatusCode, ApiError> {
    let written = worker.workers.heard(worker.run, worker.rank).await;
    written.map_err(|problem| ApiError::new(Kind::Unavailable, problem))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Report that all work until now is saved
///
/// The number is handed to the task's next run. It is stored when this is answered.
#[utoipa::path(put, path = "/v1/worker/state", tag = "workers", operation_id = "worker_state", request_body = SavedState,
    responses((status = 204, description = "It is stored.")))]
pub(super) async fn saved(
    State(state): State<ApiState>,
    worker: Worker,
    Body(saved): Body<SavedState>,
) -> Result<StatusCode, ApiError> {
    let fact = Fact::Checkpointed { run: worker.run, whole_life_state: saved.whole_life_state };
    state.scheduler.report(fact).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ask to be suspended
///
/// The task saves itself, leaves and waits in its place in the queue, as if somebody better had come. Answered once all its workers
/// are told.
#[utoipa::path(post, path = "/v1/worker/yield", tag = "workers", operation_id = "worker_yield",
    responses((status = 204, description = "The workers are told to leave.")))]
pub(super) async fn give_way(State(state): State<ApiState>, worker: Worker) -> Result<StatusCode, ApiError> {
    let task = task_of(&state, &worker).await?;
    if task.state == TaskState::Suspending {
        return Ok(StatusCode::NO_CONTENT);
    }
    // Held, it leaves; released while it does, it goes on as soon as its turn comes.
    for fact in [Fact::Held { task: task.id }, Fact::Released { task: task.id }] {
        state.scheduler.tell(task.spec.user.clone(), fact).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Change how urgent the own task is
///
/// As its owner could. It keeps its place in the queue.
#[utoipa::path(put, path = "/v1/worker/priority", tag = "workers", operation_id = "worker_priority", request_body = OwnPriority,
    responses((status = 204, description = "It is stored.")))]
pub(super) async fn priority(
    State(state): State<ApiState>,
    worker: Worker,
    Body(OwnPriority { priority }): Body<OwnPriority>,
) -> Result<StatusCode, ApiError> {
    let task = task_of(&state, &worker).await?;
    let fact = Fact::Reprioritised { task: task.id, priority, custom_rank: task.spec.custom_rank };
    state.scheduler.tell(task.spec.user.clone(), fact).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The task that a worker is of, as long as its run goes on.
async fn task_of(state: &ApiState, worker: &Worker) -> Result<TaskView, ApiError> {
    let run = worker.run;
    let task = state.scheduler.inspect(move |engine| engine.task(engine.run(run)?.task)).await?;
    task.ok_or_else(|| ApiError::new(Kind::Conflict, format!("run {run} is over")))
}

/// Say that the task's work is complete
///
/// It is then not run again, even if it was told to leave meanwhile. The worker should exit soon.
#[utoipa::path(post, path = "/v1/worker/done", tag = "workers", operation_id = "worker_done",
    responses((status = 204, description = "It is written down.")))]
pub(super) async fn done(worker: Worker) -> Result<StatusCode, ApiError> {
    let written = worker.workers.done(worker.run, worker.rank).await;
    written.map_err(|problem| ApiError::new(Kind::Unavailable, problem))?;
    Ok(StatusCode::NO_CONTENT)
}
