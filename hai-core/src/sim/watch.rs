//! What a simulation tells while it runs: to whoever watches, and of each task in the end.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::engine::{Engine, FactError};
use crate::model::{Outcome, Round, RunId, Span, TaskId, TaskView, Time};

use super::Input;

/// What became of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The task.
    pub task: TaskId,
    /// When it was submitted.
    pub submitted_at: Time,
    /// When the workers of its first run began to execute, if they did.
    pub started_at: Option<Time>,
    /// When it ended, if it did.
    pub ended_at: Option<Time>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// How often it was told to leave and go on later, since the simulation began.
    pub suspensions: u32,
    /// How long its runs executed, those that were under way when the simulation began from their start.
    pub ran: Span,
    /// Work that was done and lost, as time with all its workers.
    pub lost: Span,
    /// How long its runs made no progress because they were resuming.
    pub loading: Span,
    /// Devices times milliseconds that it held, from the decision to start until it had left.
    pub device_ms: u64,
}

impl Record {
    /// What is known of a task when the simulation first sees it.
    pub(super) fn of(view: &TaskView) -> Self {
        Record {
            task: view.id,
            submitted_at: view.submitted_at,
            started_at: view.started_at,
            ended_at: None,
            outcome: None,
            suspensions: 0,
            ran: view.ran,
            lost: Span::ZERO,
            loading: Span::ZERO,
            device_ms: 0,
        }
    }
}

/// Who watches a simulation. What is not overridden is not looked at. A simulation that is told to break finishes the
/// instant that it is in, and can be gone on with.
pub trait Watch {
    /// All workers of a run execute.
    fn started(&mut self, at: Time, task: TaskId, run: RunId) -> ControlFlow<()> {
        let _ = (at, task, run);
        ControlFlow::Continue(())
    }

    /// Something that came from outside was taken in; of a submission, under which number.
    fn told(&mut self, at: Time, input: &Input, task: Option<TaskId>) -> ControlFlow<()> {
        let _ = (at, input, task);
        ControlFlow::Continue(())
    }

    /// A run is over and has left its place; what its task comes to so far.
    fn run_ended(&mut self, at: Time, run: RunId, record: &Record) -> ControlFlow<()> {
        let _ = (at, run, record);
        ControlFlow::Continue(())
    }

    /// A task is over.
    fn ended(&mut self, task: &TaskView, record: Record) -> ControlFlow<()> {
        let _ = (task, record);
        ControlFlow::Continue(())
    }

    /// The engine has decided; `engine` is as it is after that.
    fn round(&mut self, engine: &Engine, round: &Round) -> ControlFlow<()> {
        let _ = (engine, round);
        ControlFlow::Continue(())
    }

    /// The engine would not take something that came from outside.
    fn refused(&mut self, input: &Input, why: &FactError) -> ControlFlow<()> {
        let _ = (input, why);
        ControlFlow::Continue(())
    }
}

/// Looks away.
impl Watch for () {}

/// Keeps what became of each task that is over, in the order in which they ended.
impl Watch for Vec<Record> {
    fn ended(&mut self, _: &TaskView, record: Record) -> ControlFlow<()> {
        self.push(record);
        ControlFlow::Continue(())
    }
}
