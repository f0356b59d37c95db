//! Listing tasks.

use axum::Json;
use axum::extract::State;
use hai_core::model;

use crate::api::ApiState;
use crate::api::auth::Caller;
use crate::api::extract::Query;
use crate::api::problem::{ApiError, Kind};
use crate::api::wire::{OutcomeWord, Task, TaskOrder, TaskPage, TaskQuery, TaskSort, TaskState};
use crate::store::{Page, Sort, SortBy, TaskFilter};

/// Stands for all states but the last.
const UNFINISHED: &str = "unfinished";

/// Tasks, the newest first unless another order is asked for
///
/// Users see only their own.
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks", operation_id = "list_tasks", params(TaskQuery),
    responses((status = 200, description = "Some of the tasks that match.", body = TaskPage)))]
pub(in crate::api) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<TaskQuery>,
) -> Result<Json<TaskPage>, ApiError> {
    let page = Page { before: query.before, limit: limit(query.limit)? };
    let sort = sort(&query)?;
    let mut filter = TaskFilter {
        user: query.user,
        group: query.group,
        states: states(query.state.as_deref().unwrap_or_default())?,
        outcomes: query.outcome.map(OutcomeWord::word).map(str::to_owned).into_iter().collect(),
        name: None,
        search: query.search.filter(|part| !part.is_empty()),
        kinds: Vec::new(),
        name_contains: query.name.filter(|part| !part.is_empty()),
        priority: query.priority,
    };
    if let Some(only) = caller.sees_only() {
        if filter.user.as_ref().is_some_and(|user| user != only) {
            // Whether the other user is there is none of the caller's business.
            return Ok(Json(TaskPage { tasks: Vec::new(), next: None, next_cursor: None }));
        }
        filter.user = Some(only.clone());
    }
    let Some(sort) = sort else {
        let found = state.reader.tasks(&filter, page).await?;
        let next_cursor = found.next_before.map(|last| cursor("", last));
        return Ok(Json(TaskPage { tasks: tasks(&found.tasks), next: found.next_before, next_cursor }));
    };
    let ends = filter.states.is_empty() || filter.states.contains(&model::TaskState::Finished);
    if ends && !matches!(sort.by, SortBy::Id | SortBy::User) {
        let problem = "only tasks that are not finished can be ordered so, add state=unfinished; all can by id, submitted and user";
        return Err(invalid("sort", problem));
    }
    let (found, more) = state.reader.sorted(&filter, &sort, page.limit).await?;
    let next_cursor = found.last().filter(|_| more).map(|last| cursor(&sort.key(last), last.id));
    Ok(Json(TaskPage { tasks: tasks(&found), next: None, next_cursor }))
}

fn tasks(found: &[model::TaskView]) -> Vec<Task> {
    found.iter().map(Task::from).collect()
}

/// The order that is asked for; `None` for the newest first, from wherever `before` says.
fn sort(query: &TaskQuery) -> Result<Option<Sort>, ApiError> {
    if query.sort.is_none() && query.order.is_none() && query.cursor.is_none() {
        return Ok(None);
    }
    if query.before.is_some() {
        return Err(invalid("before", "goes with the newest first alone; in another order send `cursor`"));
    }
    let by = match query.sort.unwrap_or_default() {
        TaskSort::Id | TaskSort::Submitted => SortBy::Id,
        TaskSort::Name => SortBy::Name,
        TaskSort::User => SortBy::User,
        TaskSort::State => SortBy::State,
        TaskSort::Priority => SortBy::Priority,
    };
    let descending = query.order.unwrap_or_default() == TaskOrder::Desc;
    let read = |text: &String| {
        let (id, key) = text.split_once('.')?;
        Some((key.to_owned(), model::TaskId(id.parse().ok()?)))
    };
    let after = query.cursor.as_ref();
    let after = after.map(|text| read(text).ok_or_else(|| invalid("cursor", "is not the `next_cursor` of an answer")));
    Ok(Some(Sort { by, descending, after: after.transpose()? }))
}

/// After which task an answer goes on.
fn cursor(key: &str, last: model::TaskId) -> String {
    format!("{last}.{key}")
}

fn limit(wanted: Option<u32>) -> Result<u32, ApiError> {
    let limit = wanted.unwrap_or(Page::default().limit);
    if (1..=Page::LIMIT_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(invalid("limit", format!("is {limit}, must be from 1 to {}", Page::LIMIT_MAX)))
}

fn states(words: &str) -> Result<Vec<model::TaskState>, ApiError> {
    let mut states = Vec::new();
    for word in words.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match TaskState::ALL.into_iter().find(|state| state.word() == word) {
            Some(state) => states.push(state.into()),
            None if word == UNFINISHED => {
                states.extend(unfinished());
            }
            None => {
                let known = TaskState::ALL.map(TaskState::word).join(", ");
                return Err(invalid(
                    "state",
                    format!("there is no state {word:?}; there are {known} and {UNFINISHED}"),
                ));
            }
        }
    }
    Ok(states)
}

/// All states but the last.
pub(in crate::api) fn unfinished() -> impl Iterator<Item = model::TaskState> {
    TaskState::ALL.into_iter().map(model::TaskState::from).filter(|state| *state != model::TaskState::Finished)
}

fn invalid(field: &'static str, problem: impl std::fmt::Display) -> ApiError {
    ApiError::new(Kind::InvalidParameter, format!("{field}: {problem}")).at(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_words_with_commas() {
        assert_eq!(states("").expect("none"), []);
        let two = [model::TaskState::Running, model::TaskState::Held];
        assert_eq!(states("running, held,").expect("two"), two);
        assert_eq!(states("unfinished").expect("many").len(), 8);
        assert!(states("running,asleep").is_err());
    }
}
