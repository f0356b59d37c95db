//! What a simulation is given: how its cluster behaves, and what comes from outside when.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{Fact, Span, TaskId, TaskSpec, Time};

/// How the simulated cluster behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conduct {
    /// From the decision to start a run until its workers execute.
    pub start: Span,
    /// From the signal to leave until a run has left; at most its grace.
    pub leave: Span,
    /// How long a run that resumes a task makes no progress. `None`: what the task says, else what the engine's
    /// configuration says.
    pub restart: Option<Span>,
    /// Whether what is told to leave saves itself then, so that nothing but the restart is lost. Otherwise it goes back to
    /// its last checkpoint ([`TaskSpec::checkpoint_every`]), or to its beginning. Without notice (a lost node) it always does.
    pub saves: bool,
}

/// A cluster without delays, on which all save themselves.
impl Default for Conduct {
    fn default() -> Self {
        Conduct { start: Span::ZERO, leave: Span::ZERO, restart: None, saves: true }
    }
}

/// What is truly in a task, which the engine does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// How long it runs with all its workers, loading and work that is lost aside. With fewer workers it takes longer in
    /// proportion. [`Span::MAX`]: it never ends by itself.
    pub needs: Span,
    /// How it ends then.
    pub ends: Ending,
}

/// How a task ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Well.
    #[default]
    Success,
    /// Its worker 0 fails. If it is tried again, it begins anew and fails again.
    Failure,
}

/// Something that comes from outside.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Input {
    /// Somebody submits a task.
    Submit {
        /// When.
        at: Time,
        /// Its number, greater than all before; `None` for the next one.
        task: Option<TaskId>,
        /// What is asked.
        spec: Arc<TaskSpec>,
        /// What is in it.
        work: Work,
    },
    /// Anything else becomes true: a node is lost, a right is cut, a task is cancelled. What workers report is the
    /// simulation's own business.
    Fact {
        /// When.
        at: Time,
        /// What.
        fact: Fact,
    },
}

impl Work {
    /// Ends well after `needs`.
    #[must_use]
    pub const fn of(needs: Span) -> Self {
        Work { needs, ends: Ending::Success }
    }
}

impl Input {
    /// A submission under the next number.
    #[must_use]
    pub const fn submit(at: Time, spec: Arc<TaskSpec>, work: Work) -> Self {
        Input::Submit { at, task: None, spec, work }
    }

    /// When it comes.
    #[must_use]
    pub const fn at(&self) -> Time {
        match self {
            Input::Submit { at, .. } | Input::Fact { at, .. } => *at,
        }
    }
}
