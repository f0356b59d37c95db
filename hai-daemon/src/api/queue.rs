//! The line of waiting tasks, and when they start.
//!
//! The line is worked out on a copy of the engine beside the scheduler, and kept for a moment for all who ask. So is the
//! forecast, one for all, which nobody waits for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use hai_core::explain;
use hai_core::explain::forecast::forecast_many;
use hai_core::model::{TaskId, TaskView, Time, UserName, Verdict};

use super::ApiState;
use super::auth::Caller;
use super::extract::Query;
use super::looks::Effort;
use super::problem::{ApiError, Kind};
use super::tasks::{when, why};
use super::wire::{ForecastWord, QueueItem, QueuePage, QueueQuery, Task, utc};
use crate::scheduler::{Still, wall_clock};

/// How long a line is kept before who asks waits for a new one.
const LINE_FRESH: Duration = Duration::from_secs(2);
/// How long a forecast is kept before a new one is begun.
const FORECAST_FRESH: Duration = Duration::from_secs(10);
/// How long a forecast is told while a new one is made: one that is older says less than nothing.
const FORECAST_MAX: Duration = Duration::from_secs(60);
/// How many tasks, from the front of the line, a forecast is made for: each rollout goes on until all of them have started.
const FORECAST_TASKS: usize = 500;
const LIMIT: u32 = 100;
const LIMIT_MAX: u32 = 1000;
/// In whose name forecasts for all are made; a user who is called so shares the place.
const FOR_ALL: &str = "hai.queue";

/// What is kept of the line; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    kept: Arc<Mutex<Kept>>,
    /// Held by who works out a new line, so that others wait for that one.
    renewing: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Kept {
    line: Option<(Instant, Line)>,
    forecast: Option<(Instant, Arc<Starts>)>,
    /// A forecast is being made.
    busy: bool,
}

type Line = Arc<[(TaskId, UserName)]>;

/// When tasks start, as was worked out for a moment.
#[derive(Debug)]
struct Starts {
    at: Time,
    tasks: BTreeMap<TaskId, (Option<Time>, Option<Time>)>,
}

/// Lets the next forecast be made, also if this one failed.
struct Busy(Queue);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.kept().busy = false;
    }
}

impl Queue {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh_line(&self) -> Option<Line> {
        let kept = self.kept();
        kept.line.as_ref().filter(|(since, _)| since.elapsed() < LINE_FRESH).map(|(_, line)| line.clone())
    }

    /// The line of a moment ago.
    async fn line(&self, state: &ApiState, caller: &Caller) -> Result<Line, ApiError> {
        if let Some(line) = self.fresh_line() {
            return Ok(line);
        }
        let _turn = self.renewing.lock().await;
        if let Some(line) = self.fresh_line() {
            return Ok(line);
        }
        let look = |still: &Still| -> Line {
            let engine = still.engine();
            let owner = |task| Some((task, engine.task(task)?.spec.user.clone()));
            explain::line(engine).into_iter().filter_map(owner).collect()
        };
        let line = state.look(Effort::Heavy, caller, look).await?;
        self.kept().line = Some((Instant::now(), line.clone()));
        Ok(line)
    }

    /// The last forecast, if there is one that says something yet; begins a new one if it is time.
    fn forecast(&self, state: &ApiState, line: &Line) -> Option<Arc<Starts>> {
        let mut kept = self.kept();
        let fresh = kept.forecast.as_ref().is_some_and(|(since, _)| since.elapsed() < FORECAST_FRESH);
        if !fresh && !kept.busy {
            kept.busy = true;
            let tasks = line.iter().take(FORECAST_TASKS).map(|(task, _)| *task).collect();
            tokio::spawn(self.clone().foretell(state.clone(), tasks));
        }
        kept.forecast.as_ref().filter(|(since, _)| since.elapsed() < FORECAST_MAX).map(|(_, starts)| starts.clone())
    }

    async fn foretell(self, state: ApiState, tasks: Vec<TaskId>) {
        let busy = Busy(self);
        let Ok(user) = UserName::new(FOR_ALL) else { return };
        let (learned, options) = (state.learned.clone(), when::options());
        let look = move |still: &Still| {
            let at = when::grain(wall_clock());
            let said = forecast_many(still.engine(), at, &learned.history(), &tasks, &options);
            Starts { at, tasks: said.into_iter().map(|said| (said.task, (said.p50, said.p90))).collect() }
        };
        match state.looks.look(Effort::Forecast, &user, &state.scheduler, look).await {
            Ok(starts) => busy.0.kept().forecast = Some((Instant::now(), Arc::new(starts))),
            Err(_) => tracing::debug!("when waiting tasks start could not be worked out"),
        }
    }
}

/// Who waits, the next to be served first
///
/// Users see their own, in the same order. The line is of a few seconds ago at most; when tasks start is worked out for the first
/// 500 in line beside all else, once for everybody who asks, and told once it is known.
#[utoipa::path(get, path = "/v1/queue", tag = "tasks", operation_id = "queue", params(QueueQuery),
    responses((status = 200, description = "A part of the line.", body = QueuePage)))]
pub(super) async fn queue(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<QueueQuery>,
) -> Result<Json<QueuePage>, ApiError> {
    let limit = query.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(invalid("limit", format!("is {limit}, must be from 1 to {LIMIT_MAX}")));
    }
    let cursor = query.cursor.as_deref().map(Cursor::read).transpose()?;
    let line = state.queue.line(&state, &caller).await?;
    let starts = state.queue.forecast(&state, &line);
    let own: Vec<TaskId> = line.iter().filter(|(_, user)| caller.may_see(user)).map(|(task, _)| *task).collect();
    let begin = cursor.map_or(0, |cursor| cursor.find(&own)).min(own.len());
    let end = own.len().min(begin + limit as usize);
    let wanted = own[begin..end].to_vec();
    let next = (end < own.len()).then(|| Cursor { place: end, last: own[end - 1] }.to_string());
    // What they are and why they wait is of this very moment; who has started meanwhile waits no more.
    let look = state.scheduler.inspect(move |engine| {
        let look = |task| {
            let verdict = engine.verdict(task);
            let ahead = match &verdict {
                Some(Verdict::Behind { head }) => engine.verdict(*head).map(|verdict| (*head, verdict)),
                _ => None,
            };
            Some((engine.task(task)?, verdict?, ahead))
        };
        wanted.into_iter().filter_map(look).collect::<Vec<_>>()
    });
    let found = look.await?;
    let now = wall_clock();
    let items = found.iter().map(|(view, verdict, ahead)| {
        let (p50, p90) = starts.as_ref().and_then(|starts| starts.tasks.get(&view.id).copied()).unwrap_or_default();
        // Who waits now did not start a moment ago, whatever was foretold.
        let told = |start: Option<Time>| start.map(|start| start.max(now));
        item(view, why::waits(view, verdict, ahead.as_ref()), told(p50), told(p90))
    });
    Ok(Json(QueuePage {
        items: items.collect(),
        total: own.len() as u64,
        next,
        forecast: if starts.is_some() { ForecastWord::Known } else { ForecastWord::Pending },
        forecast_at: starts.map(|starts| utc(starts.at)),
    }))
}

fn item(view: &TaskView, why: String, p50: Option<Time>, p90: Option<Time>) -> QueueItem {
    let task = Task::from(view);
    QueueItem {
        asks: task.asks(),
        id: task.id,
        name: task.name,
        user: task.user,
        group: task.group,
        priority: task.priority,
        state: task.state,
        submitted: task.submitted_at,
        why,
        p50: p50.map(utc),
        p90: p90.map(utc),
    }
}

/// Where a part of the line ended: after a task, which was at that place. It may have left the line since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    place: usize,
    last: TaskId,
}

impl Cursor {
    fn read(text: &str) -> Result<Self, ApiError> {
        let read = || {
            let (place, last) = text.split_once('.')?;
            Some(Cursor { place: place.parse().ok()?, last: TaskId(last.parse().ok()?) })
        };
        read().ok_or_else(|| invalid("cursor", "is not the `next` of an answer"))
    }

    /// Where to go on in the line as it is now.
    fn find(self, line: &[TaskId]) -> usize {
        line.iter().position(|task| *task == self.last).map_or(self.place, |at| at + 1)
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.place, self.last)
    }
}

fn invalid(field: &'static str, problem: impl std::fmt::Display) -> ApiError {
    ApiError::new(Kind::InvalidParameter, format!("{field}: {problem}")).at(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_goes_on_after_its_task_or_at_its_place() {
        let cursor = Cursor::read(&Cursor { place: 2, last: TaskId(7) }.to_string()).expect("it reads");
        assert_eq!(cursor, Cursor { place: 2, last: TaskId(7) });
        let line = |tasks: &[u64]| tasks.iter().copied().map(TaskId).collect::<Vec<_>>();
        assert_eq!(cursor.find(&line(&[9, 7, 8])), 2);
        assert_eq!(cursor.find(&line(&[7, 8])), 1);
        assert_eq!(cursor.find(&line(&[9, 8])), 2);
        for wrong in ["", "7", "a.b", "1.", ".1", "1.-2"] {
            assert!(Cursor::read(wrong).is_err(), "{wrong}");
        }
    }
}
