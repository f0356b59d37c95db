//! Which task is meant: by the number of any of its attempts, by its chain, or by its name.

use hai_core::model::{TaskId, TaskView};

use super::args::invalid;
use super::{Ask, ids};
use crate::api::problem::{ApiError, Kind};
use crate::api::tasks;
use crate::store::{Page, TaskFilter};

/// The task that the arguments name, if the caller may know of it: `id` before `chain_id` before `nb_name`.
pub(super) async fn task(ask: &Ask) -> Result<TaskView, ApiError> {
    if let Some(id) = ask.args.number::<u64>("id")? {
        return by_id(ask, id).await;
    }
    if let Some(chain) = ask.args.text("chain_id") {
        let task = chain.parse().map(TaskId).map_err(|_| none())?;
        return known(ask, task).await;
    }
    let name = ask.args.text("nb_name");
    by_name(ask, name.ok_or_else(|| invalid("id", "name the task by id, chain_id or nb_name"))?).await
}

/// The task of an attempt.
pub(super) async fn by_id(ask: &Ask, id: u64) -> Result<TaskView, ApiError> {
    known(ask, ids::task_of(id).ok_or_else(none)?).await
}

async fn known(ask: &Ask, task: TaskId) -> Result<TaskView, ApiError> {
    tasks::find(&ask.state, &ask.caller, task).await.map_err(|error| match error.kind() {
        Kind::NotFound => none(),
        _ => error,
    })
}

/// The newest task of the caller's own with just this name.
async fn by_name(ask: &Ask, name: &str) -> Result<TaskView, ApiError> {
    let filter =
        TaskFilter { user: Some(ask.caller.user.name.clone()), name: Some(name.to_owned()), ..TaskFilter::default() };
    let found = ask.state.reader.tasks(&filter, Page { before: None, limit: 1 }).await?;
    found.tasks.into_iter().next().ok_or_else(none)
}

fn none() -> ApiError {
    ApiError::new(Kind::NotFound, "没有符合条件的任务 (you have no such task)")
}
