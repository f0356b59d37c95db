//! Looking at tasks: one, a page of one's own, the whole line.

use std::collections::{BTreeMap, BTreeSet};

use hai_core::model::{GroupName, TaskState, TaskView};
use serde_json::{Value, json};

use super::args::invalid;
use super::envelope::Reply;
use super::{Ask, attempts, ids, select, task};
use crate::api::problem::{ApiError, Kind};
use crate::store::{Page, TaskFilter};

const PAGE_SIZE_MAX: u32 = 100;
const UNFINISHED: [TaskState; 8] = [
    TaskState::Waiting,
    TaskState::Suspended,
    TaskState::Promised,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Suspending,
    TaskState::Stopping,
    TaskState::Held,
];

/// `/query/task`
pub(super) async fn show(ask: &Ask) -> Result<Reply, ApiError> {
    let view = select::task(ask).await?;
    Ok(Reply::result(json!({"task": task::object(&ask.state, &view, true).await?})))
}

/// `/query/task/list`: the caller's own, newest first, by number of page.
pub(super) async fn list(ask: &Ask) -> Result<Reply, ApiError> {
    let page = ask.args.number::<u32>("page")?.unwrap_or(1);
    let size = ask.args.number::<u32>("page_size")?.unwrap_or(10);
    if page == 0 {
        return Err(invalid("page", "pages count from 1"));
    }
    if size == 0 || size > PAGE_SIZE_MAX {
        return Err(invalid("page_size", format!("is {size}, must be from 1 to {PAGE_SIZE_MAX}")));
    }
    let pods = ask.args.text("select_pods").is_none_or(|_| ask.args.flag("select_pods"));
    let Some(filter) = filter(ask)? else {
        return Ok(Reply::result(json!({"total": 0, "tasks": []})));
    };
    let total = ask.state.reader.count(&filter).await?;
    let mut tasks = Vec::new();
    for view in nth(ask, &filter, u64::from(page - 1) * u64::from(size), size).await? {
        tasks.push(task::object(&ask.state, &view, pods).await?);
    }
    Ok(Reply::result(json!({"total": total, "tasks": tasks})))
}

/// So many tasks after the first `skip`.
async fn nth(ask: &Ask, filter: &TaskFilter, mut skip: u64, size: u32) -> Result<Vec<TaskView>, ApiError> {
    let mut before = None;
    while skip > 0 {
        let limit = u32::try_from(skip.min(u64::from(Page::LIMIT_MAX))).unwrap_or(Page::LIMIT_MAX);
        let found = ask.state.reader.tasks(filter, Page { before, limit }).await?;
        skip -= u64::from(limit);
        match found.next_before {
            Some(next) => before = Some(next),
            None => return Ok(Vec::new()),
        }
    }
    Ok(ask.state.reader.tasks(filter, Page { before, limit: size }).await?.tasks)
}

/// What is asked for; `None` if nothing can be that.
fn filter(ask: &Ask) -> Result<Option<TaskFilter>, ApiError> {
    let mut filter = TaskFilter { user: Some(ask.caller.user.name.clone()), ..TaskFilter::default() };
    // Nobody shares tasks or marks them here.
    if ask.args.flag("only_star") || ask.args.text("tag").is_some() || ask.args.text("shared_task") == Some("only") {
        return Ok(None);
    }
    filter.name_contains = ask.args.text("nb_name_pattern").map(str::to_owned);
    if let Some(group) = ask.args.text("group") {
        let group = group.split('#').next().unwrap_or_default();
        filter.group = Some(GroupName::new(group).map_err(|error| invalid("group", error))?);
    }
    let queue: BTreeSet<&str> = ask.args.all("queue_status").collect();
    let worker: BTreeSet<&str> = ask.args.all("worker_status").collect();
    let mut states: BTreeSet<TaskState> = UNFINISHED.into_iter().chain([TaskState::Finished]).collect();
    if !queue.is_empty() {
        states.retain(|&state| {
            queue.contains(match state {
                TaskState::Finished => "finished",
                state if attempts::is_queued(state) => "queued",
                _ => "scheduled",
            })
        });
    }
    if !worker.is_empty() {
        let ended = ["succeeded", "failed", "stopped", "canceled"];
        filter.outcomes = match worker.iter().filter(|word| ended.contains(*word)).collect::<Vec<_>>()[..] {
            [] => Vec::new(),
            ref words => {
                words.iter().map(|word| if **word == "canceled" { "stopped" } else { word }.to_owned()).collect()
            }
        };
        states.retain(|&state| match state {
            TaskState::Finished => !filter.outcomes.is_empty(),
            // What has ended and what has not can not be asked for at once.
            _ if !filter.outcomes.is_empty() => false,
            TaskState::Running => worker.contains("running"),
            TaskState::Starting => worker.contains("created") || worker.contains("building"),
            TaskState::Suspending | TaskState::Stopping => worker.contains("stopped_terminating"),
            _ => worker.contains("queued"),
        });
    }
    if states.is_empty() {
        return Ok(None);
    }
    if states.len() <= UNFINISHED.len() {
        filter.states = states.into_iter().collect();
    }
    Ok(Some(filter))
}

/// `/query/task/list_all_unfinished`: the whole line. Of others' tasks only what it shows of everybody.
pub(super) async fn unfinished(ask: &Ask) -> Result<Reply, ApiError> {
    let views = ask.state.scheduler.inspect(|engine| engine.tasks().collect::<Vec<_>>()).await?;
    let rows = views.iter().filter(|view| ask.caller.may_see(&view.spec.user)).map(|view| {
        json!({
            "id": ids::attempt_id(view.id, view.runs + u32::from(attempts::is_queued(view.state))),
            "chain_id": view.id.to_string(),
            "nb_name": view.spec.name,
            "user_name": view.spec.user.as_str(),
            "group": view.spec.group.as_str(),
            "nodes": view.spec.workers,
            "priority": view.level.unwrap_or(view.spec.priority).number(),
            "custom_rank": view.spec.rank(view.id).value(),
            "queue_status": if attempts::is_queued(view.state) { "queued" } else { "scheduled" },
            "created_at": task::local(view.submitted_at),
        })
    });
    Ok(Reply::result(Value::from(rows.collect::<Vec<_>>())))
}

/// `/query/task/list_all_with_priority`: how many tasks there are of each level.
pub(super) async fn by_priority(ask: &Ask) -> Result<Reply, ApiError> {
    let counted = ask.state.scheduler.inspect(|engine| {
        let mut counts = BTreeMap::new();
        for view in engine.tasks() {
            let queue = if attempts::is_queued(view.state) { "queued" } else { "scheduled" };
            *counts.entry((view.spec.priority.number(), queue)).or_insert(0_u64) += 1;
        }
        counts
    });
    let rows = counted.await?.into_iter().map(
        |((priority, queue_status), count)| json!({"priority": priority, "queue_status": queue_status, "count": count}),
    );
    Ok(Reply::result(Value::from(rows.collect::<Vec<_>>())))
}

/// `/query/task/ssh_ip`: there is nothing to log in to, which the client tells well where the address is empty.
pub(super) async fn ssh_ip(ask: &Ask) -> Result<Reply, ApiError> {
    let name = ask.args.needed("pod_name")?;
    let (id, rank) = ids::parse_pod(name).ok_or_else(|| invalid("pod_name", "is not <user>-<id>-<rank>"))?;
    let view = select::by_id(ask, id).await?;
    if rank >= view.spec.workers {
        return Err(ApiError::new(Kind::NotFound, format!("the task has {} workers", view.spec.workers)));
    }
    Ok(Reply::ok("logging in to workers is not offered here").with("ip", ""))
}
