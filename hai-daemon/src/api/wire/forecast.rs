//! When a task will start, as far as can be told.

use chrono::{DateTime, Utc};
use hai_core::explain::forecast as core;
use hai_core::model::{self, TaskId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{TaskState, Verdict, utc};

/// When a task will start: by what share of many futures, in each of which the scheduler itself decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Forecast {
    /// The task.
    #[schema(value_type = u64)]
    pub task: TaskId,
    /// What it is doing.
    pub state: TaskState,
    /// All of it, for people.
    pub sentence: String,
    /// The time that the forecast was made for.
    pub at: DateTime<Utc>,
    /// Since when it has its place, if it has one.
    pub running_since: Option<DateTime<Utc>>,
    /// It starts by then with a chance of one half; `null` if that is beyond the horizon.
    pub p50: Option<DateTime<Utc>>,
    /// It starts by then with a chance of nine in ten; `null` if that is beyond the horizon.
    pub p90: Option<DateTime<Utc>>,
    /// Why it does not start at all as things are.
    pub never: Option<Verdict>,
    /// How many futures were played.
    pub rollouts: u32,
    /// In how many of them it started.
    pub started_in: u32,
    /// How far they went.
    pub horizon: DateTime<Utc>,
    /// How it is known how long the tasks run that matter here.
    pub durations: DurationSources,
    /// Whether enough forecasts came true or not here to tell how good they are.
    #[serde(default)]
    pub tried: bool,
    /// Why it may be wrong, for people.
    pub doubts: Vec<String>,
}

/// How many tasks' durations come from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DurationSources {
    /// Their owners said (`expected`).
    pub given: u32,
    /// Tasks like them have ended before.
    pub learned: u32,
    /// Nothing is known.
    pub guessed: u32,
}

impl Forecast {
    /// What was forecast for a task that is doing this.
    #[must_use]
    pub fn of(said: &core::Forecast, state: model::TaskState) -> Self {
        Forecast {
            task: said.task,
            state: state.into(),
            sentence: said.to_string(),
            at: utc(said.at),
            running_since: said.running_since.map(utc),
            p50: said.p50.map(utc),
            p90: said.p90.map(utc),
            never: said.never.as_ref().map(Verdict::from),
            rollouts: said.rollouts,
            started_in: said.started_in,
            horizon: utc(said.horizon),
            durations: DurationSources {
                given: said.durations.given,
                learned: said.durations.learned,
                guessed: said.durations.guessed,
            },
            tried: said.is_tried(),
            doubts: said.doubts.iter().map(ToString::to_string).collect(),
        }
    }
}
