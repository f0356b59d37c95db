//! What came and ended lately: how long tasks ran, what was submitted, and how good forecasts were.
//!
//! See [`History`] for the primary entry point. It is told of tasks as they change, by whoever keeps it; the engine does
//! not know it. All of it is bounded, reads and writes with serde, and can be built again from tasks that are over.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{Span, TaskId, TaskSpec, TaskState, TaskView, Time};

use super::calibration::Calibration;
use super::durations::Durations;

/// Submissions that are remembered.
const SUBMISSIONS_MAX: usize = 16_384;
/// How long a submission is remembered.
const SUBMISSION_AGE_MAX: Span = Span::from_secs(28 * 86_400);

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// How long tasks run.
    pub durations: Durations,
    /// How good forecasts were.
    pub calibration: Calibration,
    /// By number, which is the order of submission.
    submissions: BTreeMap<TaskId, Submission>,
}

/// A task that was submitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// When.
    pub at: Time,
    /// What was asked.
    pub spec: Arc<TaskSpec>,
}

impl History {
    /// Takes in a task as it is now: newly submitted, begun, or over. To be told the same twice, or nothing of what happens
    /// in between, does no harm, but that a task is over should be told once.
    pub fn observe(&mut self, task: &TaskView) {
        let newest = self.submissions.values().next_back().map_or(task.submitted_at, |newest| newest.at);
        if task.submitted_at + SUBMISSION_AGE_MAX >= newest {
            let submission = || Submission { at: task.submitted_at, spec: Arc::clone(&task.spec) };
            self.submissions.entry(task.id).or_insert_with(submission);
        }
        while let Some((_, oldest)) = self.submissions.first_key_value()
            && (self.submissions.len() > SUBMISSIONS_MAX || oldest.at + SUBMISSION_AGE_MAX < newest)
        {
            self.submissions.pop_first();
        }
        if let Some(at) = task.started_at {
            self.calibration.started(task.id, at);
        }
        if task.state == TaskState::Finished {
            self.calibration.forget(task.id);
            if task.started_at.is_some() && task.ran > Span::ZERO {
                self.durations.add(&task.spec, task.ran);
            }
        }
    }

    /// What was submitted lately, in order.
    pub fn submissions(&self) -> impl Iterator<Item = &Submission> + '_ {
        self.submissions.values()
    }
}
