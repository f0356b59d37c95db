//! Who was where when, from the runs that are stored.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use hai_core::model::{
    DeviceId, NodeName, RunEnd, RunId, RunPhase, RunView, Span, TaskId, TaskView, Time, WorkerState, WorkerView,
};

use super::ApiState;
use super::auth::Caller;
use super::extract::Query;
use super::problem::ApiError;
use super::window::{Window, invalid};
use super::wire::{Timeline, TimelineBar, TimelineQuery, utc};
use crate::store::Spans;

const LIMIT: u32 = 5000;
const LIMIT_MAX: u32 = 20_000;
/// Tasks that are read at a time.
const TASKS_EACH: u32 = 200;
/// Tasks that are looked through for one answer, at most: who asks for one node of many is answered in parts.
const TASKS_MAX: u32 = 20_000;

/// Where an answer ended: before this bar, in the order of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    task: TaskId,
    run: RunId,
    rank: u32,
}

/// Who was where when
///
/// Users see their own tasks. What ended long ago is there for as long as its task is stored.
#[utoipa::path(get, path = "/v1/timeline", tag = "cluster", operation_id = "timeline", params(TimelineQuery),
    responses((status = 200, description = "A part of it.", body = Timeline)))]
pub(super) async fn timeline(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<TimelineQuery>,
) -> Result<Json<Timeline>, ApiError> {
    let window = Window::read(query.from, query.to, Span::from_mins(24 * 60))?;
    let limit = query.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(invalid("limit", format!("is {limit}, must be from 1 to {LIMIT_MAX}")));
    }
    let begin = query.cursor.as_deref().map(Cursor::read).transpose()?;
    let devices = state.scheduler.inspect(|engine| {
        let ids = |devices: &[hai_core::model::DeviceSpec]| devices.iter().map(|device| device.id.clone()).collect();
        engine.nodes().map(|node| (node.spec.name, ids(&node.spec.devices))).collect::<Devices>()
    });
    let devices = devices.await?;
    let spans = Spans { from: window.from, to: window.to, user: caller.sees_only().cloned() };
    let mut before = begin.map_or(TaskId(u64::MAX), |begin| TaskId(begin.task.0.saturating_add(1)));
    let (mut bars, mut looked) = (Vec::new(), 0);
    let next = loop {
        let found = state.reader.spans(&spans, before, TASKS_EACH).await?;
        let last = found.last().map(|(task, _)| task.id);
        let full = found.len() == TASKS_EACH as usize;
        looked += TASKS_EACH;
        let next = add(&mut bars, limit as usize, found, |task, runs| {
            let wanted = |bar: &TimelineBar| {
                query.node.as_ref().is_none_or(|node| *node == bar.node)
                    && begin.is_none_or(|begin| !begin.is_after(bar))
            };
            of_task(window, &task, &runs, &devices).into_iter().filter(wanted).collect()
        });
        match last {
            _ if next.is_some() => break next,
            Some(last) if full && looked < TASKS_MAX => before = last,
            Some(last) if full => break Some(Cursor { task: TaskId(last.0 - 1), run: RunId(0), rank: 0 }),
            _ => break None,
        }
    };
    let next = next.map(|next| next.to_string());
    Ok(Json(Timeline { from: utc(window.from), to: utc(window.to), bars, next }))
}

type Devices = BTreeMap<NodeName, Vec<DeviceId>>;

/// Adds the bars of these tasks, up to the limit; returns the first that found no place.
fn add(
    bars: &mut Vec<TimelineBar>,
    limit: usize,
    found: Vec<(TaskView, Vec<RunView>)>,
    of: impl Fn(TaskView, Vec<RunView>) -> Vec<TimelineBar>,
) -> Option<Cursor> {
    for (task, runs) in found {
        for bar in of(task, runs) {
            if bars.len() == limit {
                return Some(Cursor { task: bar.task, run: bar.run, rank: bar.rank });
            }
            bars.push(bar);
        }
    }
    None
}

/// The bars of a task in the window. The first of the runs may be one before it, and only says why the next began.
fn of_task(window: Window, task: &TaskView, runs: &[RunView], devices: &Devices) -> Vec<TimelineBar> {
    let mut bars = Vec::new();
    let mut before: Option<&RunView> = None;
    for run in runs {
        let started = match before.and_then(|before| before.end.as_ref()) {
            Some(end) => format!("again, after its last run {}", ended(end)),
            None if run.attempt == 1 => "its first start".to_owned(),
            None => format!("attempt {}", run.attempt),
        };
        before = Some(run);
        let end = run.end.as_ref().map(|end| why_ended(task, run, end));
        for (rank, worker) in (0..).zip(&run.workers) {
            let left = match worker.state {
                WorkerState::Ended { at, .. } => Some(at),
                _ => run.ended_at,
            };
            let there = run.decided_at < window.to && left.is_none_or(|left| left >= window.from);
            if there {
                bars.push(TimelineBar {
                    task: task.id,
                    name: task.spec.name.clone(),
                    user: task.spec.user.clone(),
                    run: run.id,
                    attempt: run.attempt,
                    rank,
                    node: worker.place.node.clone(),
                    devices: places(worker, devices),
                    start: utc(run.decided_at),
                    end: left.map(utc),
                    reason_started: started.clone(),
                    reason_ended: end.clone(),
                    state: state(run).to_owned(),
                });
            }
        }
    }
    bars
}

fn places(worker: &WorkerView, devices: &Devices) -> Vec<u32> {
    let Some(known) = devices.get(&worker.place.node) else { return Vec::new() };
    (0..).zip(known).filter(|(_, device)| worker.place.devices.contains(device)).map(|(index, _)| index).collect()
}

/// How a run ended, of a task whose next run is told of.
fn ended(end: &RunEnd) -> String {
    match end {
        RunEnd::Completed => "was complete".to_owned(),
        RunEnd::Failed { reason } => format!("failed: {reason}"),
        RunEnd::Suspended => "was suspended".to_owned(),
        RunEnd::Stopped => "was stopped".to_owned(),
        RunEnd::Lost { reason } => format!("was lost: {reason}"),
    }
}

fn why_ended(task: &TaskView, run: &RunView, end: &RunEnd) -> String {
    // Of all the times that a task had to leave the last is remembered.
    let was_last = |at: Time| at >= run.decided_at && run.ended_at.is_none_or(|ended| at <= ended);
    match (end, &task.yielded) {
        (RunEnd::Suspended, Some(yielded)) if was_last(yielded.at) => {
            format!("it was suspended, as {}", yielded.reason)
        }
        (RunEnd::Completed, _) => "it is complete".to_owned(),
        _ => format!("it {}", ended(end)),
    }
}

const fn state(run: &RunView) -> &'static str {
    match (&run.end, run.phase) {
        (Some(RunEnd::Completed), _) => "completed",
        (Some(RunEnd::Failed { .. }), _) => "failed",
        (Some(RunEnd::Suspended), _) => "suspended",
        (Some(RunEnd::Stopped), _) => "stopped",
        (Some(RunEnd::Lost { .. }), _) => "lost",
        (None, RunPhase::Starting) => "starting",
        (None, RunPhase::Running) => "running",
        (None, RunPhase::Vacating | RunPhase::Ended) => "vacating",
    }
}

impl Cursor {
    fn read(text: &str) -> Result<Self, ApiError> {
        let read = || {
            let mut parts = text.split('.');
            let (task, run) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            let rank = parts.next()?.parse().ok()?;
            parts.next().is_none().then_some(Cursor { task: TaskId(task), run: RunId(run), rank })
        };
        read().ok_or_else(|| invalid("cursor", "is not the `next` of an answer"))
    }

    /// Whether a bar was told before.
    fn is_after(self, bar: &TimelineBar) -> bool {
        bar.task > self.task || (bar.task == self.task && (bar.run, bar.rank) < (self.run, self.rank))
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.task, self.run, self.rank)
    }
}
