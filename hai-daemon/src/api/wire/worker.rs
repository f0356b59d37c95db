//! What workers send and get.

use hai_core::model::{Priority, Span};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::PriorityWord;

/// How long to wait for an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct LeaveQuery {
    /// Seconds to wait until the worker must leave; at most 25. Left out, it is answered at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<u64>,
}

/// Whether a worker must leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Leaving {
    /// It must save its work and exit.
    pub leave: bool,
    /// How long it has to say that it heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub answer: Option<Span>,
    /// How long it has from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub finish: Option<Span>,
}

/// A checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SavedState {
    /// The number that the task's next run gets.
    pub whole_life_state: i64,
}

/// How urgent a worker wants its task to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnPriority {
    /// The new level.
    #[schema(value_type = PriorityWord)]
    pub priority: Priority,
}
