//! Why a task waits.

use axum::Json;
use axum::extract::State;
use hai_core::engine::Engine;
use hai_core::explain;
use hai_core::model::{self, Outcome, TaskId, TaskState, TaskView, UserName, Verdict};

use super::{Id, find};
use crate::api::ApiState;
use crate::api::auth::Caller;
use crate::api::extract::{Param, Query};
use crate::api::looks::Effort;
use crate::api::problem::ApiError;
use crate::api::wire::{self, Why, WhyQuery, WhySection, Yielded};

/// Why a task waits, or what else it does
#[utoipa::path(get, path = "/v1/tasks/{id}/why", tag = "tasks", operation_id = "why",
    params(("id" = u64, Path, description = "The task's number."), WhyQuery),
    responses((status = 200, description = "The reason, as data and as sentences.", body = Why)))]
pub(in crate::api) async fn why(
    State(state): State<ApiState>,
    caller: Caller,
    Param(Id(id)): Param<Id>,
    Query(query): Query<WhyQuery>,
) -> Result<Json<Why>, ApiError> {
    let stored = find(&state, &caller, id).await?;
    let mut why = explain(&state, &stored).await?;
    let viewer = caller.sees_only().cloned();
    let help = why.waits && query.help;
    let effort = if help { Effort::Heavy } else { Effort::Quick };
    let (links, helps) =
        state.look(effort, &caller, move |still| look(still.engine(), id, help, viewer.as_ref())).await?;
    if let Some(links) = links {
        // What a node says goes wrong counts for more than what was decided.
        why.reason = Some(if why.trouble.is_some() { why.sentence.clone() } else { links.to_string() });
        why.sections = links.sections().iter().map(WhySection::from).collect();
        why.links = serde_json::to_value(&links).ok();
    }
    if let Some(helps) = helps {
        why.sections.push((&helps.section()).into());
        why.help = Some((&helps).into());
    }
    Ok(Json(why))
}

/// The links of the reason, and what would help, as far as `viewer` may know; everything for an operator.
fn look(
    engine: &Engine,
    id: TaskId,
    help: bool,
    viewer: Option<&UserName>,
) -> (Option<explain::Why>, Option<explain::Helps>) {
    let mut links = explain::why(engine, id);
    let mut helps = help.then(|| explain::what_would_help(engine, id, &explain::Limits::default()));
    if let Some(viewer) = viewer {
        links.iter_mut().for_each(|links| links.hide_others(viewer));
        helps.iter_mut().for_each(|helps| helps.hide_others(viewer));
    }
    (links, helps)
}

/// What the live engine says of a task; of one that it does not have any more, what is stored.
pub(in crate::api) async fn explain(state: &ApiState, stored: &TaskView) -> Result<Why, ApiError> {
    let id = stored.id;
    let look = state.scheduler.inspect(move |engine| {
        let verdict = engine.verdict(id);
        let ahead = match &verdict {
            Some(Verdict::Behind { head }) => engine.verdict(*head).map(|verdict| (*head, verdict)),
            _ => None,
        };
        (engine.task(id), verdict, ahead)
    });
    let (live, verdict, ahead) = look.await?;
    let task = live.as_ref().unwrap_or(stored);
    let mut sentence = sentence(task, verdict.as_ref());
    let starting = task.run.filter(|_| task.state == TaskState::Starting);
    let trouble = starting.and_then(|run| state.workers.as_ref()?.trouble(run));
    if let Some(trouble) = &trouble {
        sentence = format!("{sentence}; {trouble}");
    }
    if let Some((head, verdict)) = ahead {
        sentence = format!("{sentence}; of task {head}: {verdict}");
    }
    Ok(Why {
        task: id,
        state: task.state.into(),
        waits: verdict.is_some(),
        sentence,
        verdict: verdict.as_ref().map(wire::Verdict::from),
        yielded: task.yielded.as_ref().map(Yielded::from),
        trouble,
        reason: None,
        sections: Vec::new(),
        links: None,
        help: None,
    })
}

/// Why a task waits, in one sentence; `ahead` is the one of its shape that it waits behind, and what that waits for.
pub(in crate::api) fn waits(task: &TaskView, verdict: &Verdict, ahead: Option<&(TaskId, Verdict)>) -> String {
    let sentence = sentence(task, Some(verdict));
    match ahead {
        Some((head, verdict)) => format!("{sentence}; of task {head}: {verdict}"),
        None => sentence,
    }
}

fn sentence(task: &TaskView, verdict: Option<&Verdict>) -> String {
    let yielded = task.yielded.as_ref();
    let now = match verdict {
        Some(verdict) => verdict.to_string(),
        None => return doing(task),
    };
    match yielded {
        Some(yielded) if task.state != TaskState::Held => {
            format!("{now}; its last run had to leave at {}, as {}", yielded.at, yielded.reason)
        }
        _ => now,
    }
}

/// What a task that does not wait does.
fn doing(task: &TaskView) -> String {
    let run = task.run.map(|run| format!(" (run {run})")).unwrap_or_default();
    match task.state {
        TaskState::Starting => format!("its workers are being started{run}"),
        TaskState::Running => format!("it runs{run}"),
        TaskState::Suspending => match &task.yielded {
            Some(model::Yielded { at, reason }) => format!("it was told to leave at {at}, as {reason}"),
            None => "it was told to leave".to_owned(),
        },
        TaskState::Stopping => "it was told to end".to_owned(),
        TaskState::Finished => match &task.outcome {
            Some(Outcome::Succeeded) => "it has succeeded".to_owned(),
            Some(Outcome::Failed { reason }) => format!("it has failed: {reason}"),
            Some(Outcome::Stopped) => "it was stopped".to_owned(),
            None => "it is over".to_owned(),
        },
        state => format!("it is {}", state.word()),
    }
}
