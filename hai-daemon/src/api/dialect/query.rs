//! Looking at tasks: one, a page of one's own, the whole line.

use std::collections::{BTreeMap, BTreeSet};

use hai_core::model::{GroupName, TaskState, TaskView, Time};
use serde_json::{Value, json};

use super::args::invalid;
use super::envelope::Reply;
use super::{Ask, attempts, ids, select, task};
use crate::api::problem::{ApiError, Kind};
use crate::api::tasks::list;
use crate::store::{Page, TaskFilter};

const PAGE_SIZE_MAX: u32 = 100;
/// What the workers of an attempt can be that is over.
const ENDED: [&str; 4] = ["succeeded", "failed", "stopped", "canceled"];

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
    let skip = u64::from(page - 1) * u64::from(size);
    let (total, views) = match wanted(ask)? {
        None => (0, Vec::new()),
        Some((filter, finer)) if finer == Finer::default() => {
            (ask.state.reader.count(&filter).await?, nth(ask, &filter, skip, size).await?)
        }
        Some((filter, finer)) => walk(ask, &filter, &finer, skip, size).await?,
    };
    let mut tasks = Vec::new();
    for view in views {
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

/// What the store can not tell by itself. Rarely asked, so all of the caller's tasks are looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Finer {
    /// In the name, in the chain's number, or at the beginning of an attempt's.
    pattern: Option<String>,
    /// For nodes of one of these groups; if it names a zone, that may only be there.
    groups: BTreeSet<(GroupName, Option<String>)>,
    /// Submitted from then, until then.
    created: Option<(Time, Time)>,
    /// What the workers of the last attempt do, or did, in its words; empty for anything.
    workers: BTreeSet<String>,
}

/// How many there are, and those on one page.
async fn walk(
    ask: &Ask,
    filter: &TaskFilter,
    finer: &Finer,
    skip: u64,
    size: u32,
) -> Result<(u64, Vec<TaskView>), ApiError> {
    let (mut before, mut total, mut page) = (None, 0, Vec::new());
    loop {
        let found = ask.state.reader.tasks(filter, Page { before, limit: Page::LIMIT_MAX }).await?;
        for view in found.tasks {
            if !finer.holds(ask, &view).await? {
                continue;
            }
            total += 1;
            if total > skip && page.len() < size as usize {
                page.push(view);
            }
        }
        before = found.next_before;
        if before.is_none() {
            return Ok((total, page));
        }
    }
}

impl Finer {
    async fn holds(&self, ask: &Ask, view: &TaskView) -> Result<bool, ApiError> {
        let zones = view.spec.constraints.as_ref().map(|constraints| &constraints.zones);
        let in_zone = |zone: &str| zones.is_some_and(|zones| zones.contains(zone));
        let mut groups = self.groups.iter().filter(|(group, _)| *group == view.spec.group);
        let plain = self.pattern.as_ref().is_none_or(|pattern| matches(pattern, view))
            && self.created.is_none_or(|(from, until)| (from..=until).contains(&view.submitted_at))
            && (self.groups.is_empty() || groups.any(|(_, zone)| zone.as_deref().is_none_or(in_zone)));
        if !plain || self.workers.is_empty() {
            return Ok(plain);
        }
        let runs = ask.state.reader.runs(view.id).await?;
        let last = attempts::attempts(view, &runs, 0).pop();
        Ok(last.is_some_and(|last| self.workers.contains(last.worker_status)))
    }
}

fn matches(pattern: &str, view: &TaskView) -> bool {
    let attempts = view.runs.saturating_add(1);
    let begins = |attempt| ids::attempt_id(view.id, attempt).to_string().starts_with(pattern);
    view.spec.name.contains(pattern) || view.id.to_string().contains(pattern) || (1..=attempts).any(begins)
}

/// What is asked for; `None` if nothing can be that.
fn wanted(ask: &Ask) -> Result<Option<(TaskFilter, Finer)>, ApiError> {
    let mut filter = TaskFilter { user: Some(ask.caller.user.name.clone()), ..TaskFilter::default() };
    let mut finer = Finer::default();
    for field in ["tag", "excluded_tag"] {
        if ask.args.text(field).is_some() {
            return Err(invalid(field, "not offered here: tasks are not found by their tags"));
        }
    }
    // Nobody shares tasks or stars them here.
    if ask.args.flag("only_star") || ask.args.text("shared_task") == Some("only") {
        return Ok(None);
    }
    let types: BTreeSet<&str> = ask.args.all("task_type").collect();
    let kinds = [("training", "training"), ("jupyter", "interactive"), ("background", "background")];
    filter.kinds = kinds.into_iter().filter(|(theirs, _)| types.contains(theirs)).map(|(_, ours)| ours).collect();
    if !types.is_empty() && filter.kinds.is_empty() {
        return Ok(None);
    }
    finer.pattern = ask.args.text("nb_name_pattern").map(str::to_owned);
    for group in ask.args.all("group") {
        let (group, zone) = group.split_once('#').map_or((group, None), |(group, zone)| (group, Some(zone)));
        let group = GroupName::new(group).map_err(|error| invalid("group", error))?;
        finer.groups.insert((group, zone.map(str::to_owned)));
    }
    if let (Some((group, zone)), 1) = (finer.groups.first().cloned(), finer.groups.len()) {
        filter.group = Some(group);
        if zone.is_none() {
            finer.groups.clear();
        }
    }
    finer.created = match (ask.args.text("created_start_time"), ask.args.text("created_end_time")) {
        (None, None) => None,
        (from, until) => Some((
            from.map_or(Ok(Time::from_ms(i64::MIN)), |text| task::read_time("created_start_time", text))?,
            until.map_or(Ok(Time::from_ms(i64::MAX)), |text| task::read_time("created_end_time", text))?,
        )),
    };
    let mut states: BTreeSet<TaskState> = list::unfinished().chain([TaskState::Finished]).collect();
    let all = states.len();
    let queue: BTreeSet<&str> = ask.args.all("queue_status").collect();
    if !queue.is_empty() {
        states.retain(|&state| {
            queue.contains(match state {
                TaskState::Finished => "finished",
                state if attempts::is_queued(state) => "queued",
                _ => "scheduled",
            })
        });
    }
    let worker: BTreeSet<&str> = ask.args.all("worker_status").collect();
    if !worker.is_empty() {
        states.retain(|&state| match state {
            TaskState::Finished => worker.iter().any(|word| ENDED.contains(word)),
            TaskState::Running => worker.contains("running"),
            TaskState::Starting => worker.contains("created") || worker.contains("building"),
            TaskState::Suspending | TaskState::Stopping => worker.contains("stopped_terminating"),
            _ => worker.contains("queued"),
        });
        let ended = worker.iter().all(|word| ENDED.contains(word));
        if ended && !worker.contains("canceled") {
            filter.outcomes = worker.iter().map(|&word| word.to_owned()).collect();
        }
        if ended && !worker.contains("canceled") && !worker.contains("stopped") {
            // That is all there is to it.
        } else if worker.iter().any(|word| ENDED.contains(word)) {
            finer.workers = worker.into_iter().map(str::to_owned).collect();
        }
    }
    if states.is_empty() {
        return Ok(None);
    }
    if states.len() < all {
        filter.states = states.into_iter().collect();
    }
    Ok(Some((filter, finer)))
}

/// `/query/task/list_all_unfinished`: the whole line. Of others' tasks only what it shows of everybody.
pub(super) async fn unfinished(ask: &Ask) -> Result<Reply, ApiError> {
    let views = ask.state.scheduler.inspect(|engine| engine.tasks().collect::<Vec<_>>()).await?;
    let types: BTreeSet<&str> = ask.args.all("task_type").collect();
    let wanted = |view: &&TaskView| {
        ask.caller.may_see(&view.spec.user) && (types.is_empty() || types.contains(task::task_type(view.spec.kind)))
    };
    let rows = views.iter().filter(wanted).map(|view| {
        json!({
            "id": ids::attempt_id(view.id, view.runs + u32::from(attempts::is_queued(view.state))),
            "chain_id": view.id.to_string(),
            "nb_name": view.spec.name,
            "user_name": view.spec.user.as_str(),
            "group": view.spec.group.as_str(),
            "task_type": task::task_type(view.spec.kind),
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
