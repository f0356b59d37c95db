//! How much of the machines was used, over time.
//!
//! A sample is taken each minute and kept in memory for some days; nothing is known from before the server started.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use hai_core::engine::Engine;
use hai_core::model::{NodeView, Span, TaskState, Time};
use tokio_util::sync::CancellationToken;

use super::ApiState;
use super::auth::Caller;
use super::extract::Query;
use super::problem::ApiError;
use super::window::{Window, invalid};
use super::wire::{Occupancy, OccupancyPoint, OccupancyQuery, utc};
use crate::scheduler::{Scheduler, wall_clock};
use crate::store::{Reader, StoreError};

/// How often a sample is taken.
const EACH: Duration = Duration::from_secs(60);
/// How many samples are kept: eight days' worth, so that the same hour of last week is among them. Each takes 24 bytes.
const SAMPLES_MAX: usize = 8 * 24 * 60;
const POINTS: u64 = 300;
const POINTS_MAX: u64 = 2000;

/// What was sampled; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Occupied {
    samples: Arc<Mutex<VecDeque<Sample>>>,
}

/// How much was used at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) at: Time,
    pub(super) devices: u32,
    pub(super) busy: u32,
    pub(super) bad: u32,
    pub(super) waiting: u32,
}

impl Occupied {
    fn samples(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes samples until `stop`.
    pub(super) async fn watch(self, scheduler: Scheduler, reader: Reader, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(EACH);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            match sample(&scheduler, &reader).await {
                Ok(sample) => self.push(sample),
                Err(_) => tracing::debug!("how much is used can not be told now"),
            }
        }
    }

    fn push(&self, sample: Sample) {
        let mut samples = self.samples();
        // A clock that was set back must not put them out of order.
        if samples.back().is_some_and(|last| last.at >= sample.at) {
            return;
        }
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(sample);
    }
}

async fn sample(scheduler: &Scheduler, reader: &Reader) -> Result<Sample, ApiError> {
    let (devices, busy, bad) = scheduler.inspect(devices).await?;
    Ok(Sample { at: wall_clock(), devices, busy, bad, waiting: waiting(reader).await? })
}

/// How many devices there are, are held and are unwell.
fn devices(engine: &Engine) -> (u32, u32, u32) {
    let (mut all, mut busy, mut bad) = (0, 0, 0);
    for NodeView { spec, workers, .. } in engine.nodes() {
        for device in &spec.devices {
            let mut held = workers.iter().filter(|worker| worker.phase.is_some());
            all += 1;
            busy += u32::from(held.any(|held| held.place.whole_node || held.place.devices.contains(&device.id)));
            bad += u32::from(!spec.ready || !device.health.is_healthy());
        }
    }
    (all, busy, bad)
}

/// How many tasks wait, as it is stored: the scheduler need not count them.
async fn waiting(reader: &Reader) -> Result<u32, StoreError> {
    let counts = reader.counts().await?;
    let waits = [TaskState::Waiting, TaskState::Suspended, TaskState::Promised];
    let many = waits.iter().filter_map(|state| counts.states.get(state)).sum::<u64>();
    Ok(u32::try_from(many).unwrap_or(u32::MAX))
}

/// How much of the machines was used, over time
///
/// A day if nothing else is said. Sampled each minute, for eight days, in memory alone: `known_from` tells since when.
#[utoipa::path(get, path = "/v1/occupancy", tag = "cluster", operation_id = "occupancy", params(OccupancyQuery),
    responses((status = 200, description = "Averages over equal steps.", body = Occupancy)))]
pub(super) async fn occupancy(
    State(state): State<ApiState>,
    _: Caller,
    Query(query): Query<OccupancyQuery>,
) -> Result<Json<Occupancy>, ApiError> {
    let window = Window::read(query.from, query.to, Span::from_mins(24 * 60))?;
    let step = step(window, query.step.as_deref())?;
    // The last step is of this moment.
    let now = sample(&state.scheduler, &state.reader).await?;
    let samples = state.occupied.samples();
    let known_from = samples.front().map_or(now.at, |first| first.at);
    let begin = samples.partition_point(|sample| sample.at < window.from).saturating_sub(1);
    let wanted = samples.range(begin..).copied().chain([now]);
    let points = points(window, step, wanted);
    Ok(Json(Occupancy { step_s: step.as_ms() / 1000, known_from: Some(utc(known_from)), points }))
}

fn step(window: Window, asked: Option<&str>) -> Result<Span, ApiError> {
    let length = window.length();
    let Some(text) = asked else {
        let seconds = length.as_ms().div_ceil(1000 * POINTS).max(EACH.as_secs());
        return Ok(Span::from_secs(seconds));
    };
    let read = match text.parse::<u64>() {
        Ok(seconds) => Some(Span::from_secs(seconds)),
        Err(_) => text.parse().ok(),
    };
    let step = read.ok_or_else(|| invalid("step", "must be seconds, or text with a unit, e.g. 5m"))?;
    if step.as_ms() < 1000 || length.as_ms().div_ceil(step.as_ms()) > POINTS_MAX {
        return Err(invalid(
            "step",
            format!("must be at least 1s, and give at most {POINTS_MAX} points in the window"),
        ));
    }
    Ok(Span::from_secs(step.as_ms() / 1000))
}

/// Averages over steps. What a sample says holds until the next.
fn points(window: Window, step: Span, samples: impl IntoIterator<Item = Sample>) -> Vec<OccupancyPoint> {
    let mut points = Vec::new();
    let mut samples = samples.into_iter().peekable();
    let mut last: Option<Sample> = None;
    let mut at = window.from;
    while at < window.to {
        let end = Time::from_ms(at.as_ms().saturating_add_unsigned(step.as_ms())).min(window.to);
        let mut within = Vec::new();
        while let Some(sample) = samples.next_if(|sample| sample.at < end) {
            within.extend((sample.at >= at).then_some(sample));
            last = Some(sample);
        }
        // None in it, but one before and one after: somebody looked, only not so often.
        if within.is_empty() && samples.peek().is_some() {
            within.extend(last);
        }
        points.extend(average(at, &within));
        at = end;
    }
    points
}

/// `None` of nothing.
fn average(at: Time, samples: &[Sample]) -> Option<OccupancyPoint> {
    let many = u32::try_from(samples.len()).ok().filter(|many| *many > 0)?;
    let mean = |of: fn(&Sample) -> u32| {
        let sum: f64 = samples.iter().map(|sample| f64::from(of(sample))).sum();
        (sum / f64::from(many) * 100.0).round() / 100.0
    };
    Some(OccupancyPoint {
        at: utc(at),
        devices_total: mean(|sample| sample.devices),
        devices_busy: mean(|sample| sample.busy),
        devices_bad: mean(|sample| sample.bad),
        waiting_tasks: mean(|sample| sample.waiting),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: i64, busy: u32) -> Sample {
        Sample { at: Time::from_ms(second * 1000), devices: 8, busy, bad: 1, waiting: 2 * busy }
    }

    fn busy(from: i64, to: i64, step: u64, samples: &[Sample]) -> Vec<(i64, f64)> {
        let window = Window { from: Time::from_ms(from * 1000), to: Time::from_ms(to * 1000) };
        let points = points(window, Span::from_secs(step), samples.iter().copied());
        points.iter().map(|point| (point.at.timestamp(), point.devices_busy)).collect()
    }

    #[test]
    fn steps_are_averages_and_what_nobody_saw_is_left_out() {
        let samples = [sample(100, 2), sample(160, 4), sample(220, 6)];
        assert_eq!(busy(0, 300, 100, &samples), [(100, 3.0), (200, 6.0)]);
        // Steps that are finer than samples repeat the last, up to the last.
        assert_eq!(busy(100, 250, 30, &samples), [(100, 2.0), (130, 2.0), (160, 4.0), (190, 4.0), (220, 6.0)]);
        assert_eq!(busy(300, 400, 10, &samples), []);
        let odd = busy(90, 170, 50, &samples);
        assert_eq!(odd, [(90, 2.0), (140, 4.0)], "the last step is cut off by the window");
    }

    #[test]
    fn only_so_many_are_kept_and_in_order() {
        let occupied = Occupied::default();
        for second in 0..SAMPLES_MAX + 10 {
            occupied.push(sample(i64::try_from(second).expect("few"), 1));
        }
        occupied.push(sample(3, 1));
        let samples = occupied.samples();
        assert_eq!((samples.len(), samples[0].at), (SAMPLES_MAX, Time::from_ms(10_000)));
        assert!(samples.iter().is_sorted_by_key(|sample| sample.at));
    }

    #[test]
    fn a_step_may_be_seconds_or_text() {
        let window = Window { from: Time::ZERO, to: Time::from_ms(86_400_000) };
        assert_eq!(step(window, None).expect("a step"), Span::from_secs(288));
        assert_eq!(step(window, Some("300")).expect("a step"), Span::from_secs(300));
        assert_eq!(step(window, Some("5m")).expect("a step"), Span::from_secs(300));
        for wrong in ["", "x", "0", "-5", "10", "999ms"] {
            assert!(step(window, Some(wrong)).is_err(), "{wrong}");
        }
    }
}
