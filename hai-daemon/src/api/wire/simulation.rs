//! Simulations that the server plays.

use chrono::{DateTime, Utc};
use hai_core::model::{Span, UserName};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::text;

/// How to play what is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct SimulationQuery {
    /// What decides, with commas: names as `hai simulate --words` lists them, or `log` for how an event log was decided. By
    /// default `hai`; at most 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(example = "hai,hai+las,hai-fifo")]
    pub policies: Option<String>,
    /// The trace's format, if it can not be found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Leave out lines that can not be read, and count them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub skip_bad_lines: bool,
    /// Put all nodes and all tasks into one group.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub one_group: bool,
    /// As if every task were of a user of its own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strangers: bool,
    /// As if everybody had said truly how long the work runs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub oracle: bool,
    /// What is drawn by lot; by default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// Work from the server's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnWork {
    /// What was submitted in so long a time until now. Operators only.
    #[serde(with = "text::span")]
    #[schema(value_type = String, examples("7d"))]
    pub last: Span,
}

/// A simulation that is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SimulationBegun {
    /// Its number.
    pub id: u64,
}

/// What a simulation is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SimulationState {
    /// It is played, or waits for another to end.
    Running,
    /// There is a report.
    Done,
    /// There is none.
    Failed,
}

/// A simulation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Simulation {
    /// Its number.
    pub id: u64,
    /// Whose it is.
    #[schema(value_type = String)]
    pub user: UserName,
    /// What it is doing.
    pub state: SimulationState,
    /// How much of it is done, from 0 to 1.
    pub progress: f64,
    /// What went wrong, if it failed.
    pub error: Option<String>,
    /// What is played, in words.
    pub what: String,
    /// What decides.
    pub policies: Vec<String>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// What is odd about the work, in words.
    pub remarks: Vec<String>,
}
