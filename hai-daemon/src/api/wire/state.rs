//! What a task is doing, how it ended, and why it last had to give way.

use chrono::{DateTime, Utc};
use hai_core::model::{self, TaskId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::utc;

/// The last time a task had to give way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Yielded {
    /// When it was told to.
    pub at: DateTime<Utc>,
    /// Why, in one word: `for`, `node_lost`, `device_lost`, `worker_lost`, `right_lost`, `idle` or `held`.
    pub why: String,
    /// The task that it made room for, if that is why.
    #[schema(value_type = Option<u64>)]
    pub task: Option<TaskId>,
    /// Why, for people.
    pub sentence: String,
}

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// It waits and has not run yet.
    Waiting,
    /// It ran, was suspended or lost its place, and waits to go on.
    Suspended,
    /// A place is set aside for it, which others are leaving.
    Promised,
    /// Its workers are being started.
    Starting,
    /// All its workers execute.
    Running,
    /// It was told to save itself and leave; it goes back into the queue.
    Suspending,
    /// It was told to end.
    Stopping,
    /// It waits until somebody resumes it.
    Held,
    /// It is over; see its outcome.
    Finished,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Outcome)]
pub enum OutcomeWord {
    /// All its workers ended with status 0, or it declared itself done.
    Succeeded,
    /// A worker failed.
    Failed,
    /// Somebody stopped it.
    Stopped,
}

impl From<&model::Yielded> for Yielded {
    fn from(yielded: &model::Yielded) -> Self {
        let (why, task) = match &yielded.reason {
            model::YieldReason::For { task } => ("for", Some(*task)),
            model::YieldReason::NodeLost { .. } => ("node_lost", None),
            model::YieldReason::NodeDrained { .. } => ("node_drained", None),
            model::YieldReason::DeviceLost { .. } => ("device_lost", None),
            model::YieldReason::WorkerLost { .. } => ("worker_lost", None),
            model::YieldReason::RightLost => ("right_lost", None),
            model::YieldReason::Idle => ("idle", None),
            model::YieldReason::Held => ("held", None),
        };
        Yielded { at: utc(yielded.at), why: why.to_owned(), task, sentence: yielded.reason.to_string() }
    }
}

impl From<model::TaskState> for TaskState {
    fn from(state: model::TaskState) -> Self {
        match state {
            model::TaskState::Waiting => TaskState::Waiting,
            model::TaskState::Suspended => TaskState::Suspended,
            model::TaskState::Promised => TaskState::Promised,
            model::TaskState::Starting => TaskState::Starting,
            model::TaskState::Running => TaskState::Running,
            model::TaskState::Suspending => TaskState::Suspending,
            model::TaskState::Stopping => TaskState::Stopping,
            model::TaskState::Held => TaskState::Held,
            model::TaskState::Finished => TaskState::Finished,
        }
    }
}

impl From<TaskState> for model::TaskState {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Waiting => model::TaskState::Waiting,
            TaskState::Suspended => model::TaskState::Suspended,
            TaskState::Promised => model::TaskState::Promised,
            TaskState::Starting => model::TaskState::Starting,
            TaskState::Running => model::TaskState::Running,
            TaskState::Suspending => model::TaskState::Suspending,
            TaskState::Stopping => model::TaskState::Stopping,
            TaskState::Held => model::TaskState::Held,
            TaskState::Finished => model::TaskState::Finished,
        }
    }
}

impl TaskState {
    /// All states, in the order of a task's life.
    pub const ALL: [TaskState; 9] = [
        TaskState::Waiting,
        TaskState::Suspended,
        TaskState::Promised,
        TaskState::Starting,
        TaskState::Running,
        TaskState::Suspending,
        TaskState::Stopping,
        TaskState::Held,
        TaskState::Finished,
    ];

    /// The state in one word, as in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        model::TaskState::from(self).word()
    }
}

impl From<&model::Outcome> for OutcomeWord {
    fn from(outcome: &model::Outcome) -> Self {
        match outcome {
            model::Outcome::Succeeded => OutcomeWord::Succeeded,
            model::Outcome::Failed { .. } => OutcomeWord::Failed,
            model::Outcome::Stopped => OutcomeWord::Stopped,
        }
    }
}

impl OutcomeWord {
    /// The outcome in one word, as in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            OutcomeWord::Succeeded => "succeeded",
            OutcomeWord::Failed => "failed",
            OutcomeWord::Stopped => "stopped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_json() {
        for state in TaskState::ALL {
            assert_eq!(serde_json::to_value(state).expect("json"), state.word());
            assert_eq!(TaskState::from(model::TaskState::from(state)), state);
        }
        for outcome in [OutcomeWord::Succeeded, OutcomeWord::Failed, OutcomeWord::Stopped] {
            assert_eq!(serde_json::to_value(outcome).expect("json"), outcome.word());
        }
    }
}
