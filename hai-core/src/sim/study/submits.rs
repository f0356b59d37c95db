//! What a policy makes of a submission before it is told to the engine: how urgent it is, and how long it is said to take.

use std::cell::RefCell;
use std::sync::Arc;

use crate::explain::durations::Durations;
use crate::model::{Priority, Span, TaskSpec};

use super::load::Task;

/// How work is submitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Submits {
    /// What is `NORMAL` is submitted at `ABOVE_NORMAL`, which counts as `NORMAL` once a task has run for some time.
    pub young_first: bool,
    /// What is said of how long it takes.
    pub foretold: Foretold,
}

/// What is said of how long a task takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Foretold {
    /// What the trace says, if anything.
    #[default]
    Given,
    /// The median of those like it that have ended by then ([`Durations`]); nothing as long as none has.
    Learned,
    /// The truth.
    Truly,
}

/// Submits tasks, and learns from those that end.
#[derive(Debug)]
pub(super) struct Submitter {
    submits: Submits,
    learned: RefCell<Durations>,
}

impl Submitter {
    pub(super) fn new(submits: Submits) -> Self {
        Submitter { submits, learned: RefCell::default() }
    }

    /// What the engine is told of a task.
    pub(super) fn spec(&self, task: &Task) -> Arc<TaskSpec> {
        let young = self.submits.young_first && task.spec.priority == Priority::Normal;
        let expected = match self.submits.foretold {
            Foretold::Given => task.spec.expected,
            Foretold::Learned => self.learned.borrow().of(&task.spec).quantile(1 << 31),
            Foretold::Truly => Some(task.work.needs),
        };
        if !young && expected == task.spec.expected {
            return Arc::clone(&task.spec);
        }
        let mut spec = TaskSpec::clone(&task.spec);
        spec.expected = expected;
        if young {
            spec.priority = Priority::AboveNormal;
        }
        Arc::new(spec)
    }

    /// A task is over that ran so long.
    pub(super) fn ended(&self, task: &Task, ran: Span) {
        if self.submits.foretold == Foretold::Learned {
            self.learned.borrow_mut().add(&task.spec, ran);
        }
    }
}
