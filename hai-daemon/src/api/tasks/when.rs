//! When a task will start.

use axum::Json;
use axum::extract::State;
use hai_core::explain::forecast::{Options, forecast};
use hai_core::model::{Span, TaskState, Time};
use hai_core::sim::Conduct;

use super::{Id, find};
use crate::api::ApiState;
use crate::api::auth::Caller;
use crate::api::extract::Param;
use crate::api::looks::Effort;
use crate::api::problem::{ApiError, Kind};
use crate::api::wire::Forecast;
use crate::scheduler::wall_clock;

/// Events of all rollouts of one forecast: some seconds' worth.
const EVENTS_MAX: u64 = 400_000;
/// Forecasts are made for whole minutes, so that who asks twice of an unchanged daemon is told the same.
const GRAIN_MS: i64 = 60_000;

/// When a task will start: the very scheduler played on, many times
#[utoipa::path(get, path = "/v1/tasks/{id}/when", tag = "tasks", operation_id = "when",
    params(("id" = u64, Path, description = "The task's number.")),
    responses((status = 200, description = "When, how surely, and from what that is known.", body = Forecast)))]
pub(in crate::api) async fn when(
    State(state): State<ApiState>,
    caller: Caller,
    Param(Id(id)): Param<Id>,
) -> Result<Json<Forecast>, ApiError> {
    let stored = find(&state, &caller, id).await?;
    let over = || ApiError::new(Kind::Conflict, format!("task {id} is over, so it does not start any more"));
    if stored.state == TaskState::Finished {
        return Err(over());
    }
    let learned = state.learned.clone();
    let (now, options) = (grain(wall_clock()), options());
    let looked = state.look(Effort::Forecast, &caller, move |still| {
        let view = still.engine().task(id)?;
        Some((view, forecast(still.engine(), now, &learned.history(), id, &options)?))
    });
    let (view, said) = looked.await?.ok_or_else(over)?;
    if view.started_at.is_none() {
        state.learned.said(&said);
    }
    Ok(Json(Forecast::of(&said.told_at(wall_clock()), view.state)))
}

/// The minute that a forecast is made for.
pub(in crate::api) fn grain(now: Time) -> Time {
    Time::from_ms(now.as_ms().div_euclid(GRAIN_MS) * GRAIN_MS)
}

/// How a forecast is made for somebody who waits for the answer.
pub(in crate::api) fn options() -> Options {
    Options {
        events: EVENTS_MAX,
        conduct: Conduct { start: Span::from_secs(1), leave: Span::from_secs(5), ..Conduct::default() },
        ..Options::default()
    }
}
