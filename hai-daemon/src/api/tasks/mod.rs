//! Tasks: submitting, listing, showing and changing them.

pub(super) mod change;
pub(super) mod list;
pub(super) mod show;
pub(super) mod submit;
pub(super) mod when;
pub(super) mod why;

use hai_core::model::{TaskId, TaskView};

use super::ApiState;
use super::auth::Caller;
use super::problem::{ApiError, Kind};

/// The number of a task in a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Id(pub(super) TaskId);

impl std::str::FromStr for Id {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(|number| Id(TaskId(number))).map_err(|_| "a task has a whole number, e.g. 12")
    }
}

/// The task as stored, if the caller may know of it.
pub(super) async fn find(state: &ApiState, caller: &Caller, task: TaskId) -> Result<TaskView, ApiError> {
    let view = state.reader.task(task).await?;
    // Another user's task looks just like none, so that nobody learns what is there.
    view.filter(|view| caller.may_see(&view.spec.user))
        .ok_or_else(|| ApiError::new(Kind::NotFound, format!("there is no task {task}")).at("id"))
}
