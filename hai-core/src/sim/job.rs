//! What a simulation remembers of a task and of a run.

use crate::model::{Span, TaskId, TaskView, Time};

use super::{Record, Work};

/// What is known of an unfinished task.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) work: Work,
    /// Of that, what is not done and saved.
    pub(super) left: Span,
    /// How many workers it has when it has all.
    pub(super) workers: u32,
    pub(super) grace: Span,
    pub(super) restart: Span,
    pub(super) checkpoint_every: Option<Span>,
    /// It executed before, so that its next run has to load what it saved.
    pub(super) resumes: bool,
    pub(super) record: Record,
}

/// A run that holds its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Active {
    pub(super) task: TaskId,
    pub(super) workers: u32,
    /// Thousandths of devices, all workers together.
    pub(super) milli: u64,
    pub(super) decided_at: Time,
    pub(super) executes_since: Option<Time>,
    /// Since when it makes progress.
    pub(super) works_since: Time,
    /// What it saved of that progress.
    pub(super) saved: Span,
    pub(super) leaving: Option<Leaving>,
}

/// How a run that was told to leave goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    Told,
    Lost,
}

impl Job {
    pub(super) fn new(view: &TaskView, work: Work, restart: Option<Span>, default: Span) -> Self {
        let spec = &view.spec;
        Job {
            work,
            left: work.needs,
            workers: spec.workers,
            grace: spec.grace.total(),
            restart: restart.or(spec.restart_cost).unwrap_or(default),
            checkpoint_every: spec.checkpoint_every.filter(|&every| every > Span::ZERO),
            resumes: view.started_at.is_some(),
            record: Record::of(view),
        }
    }

    /// How long so many workers take for some of its work.
    pub(super) fn takes(&self, work: Span, workers: u32) -> Span {
        if workers >= self.workers || work == Span::MAX {
            return work;
        }
        let scaled = (u128::from(work.as_ms()) * u128::from(self.workers)).div_ceil(u128::from(workers.max(1)));
        Span::from_ms(u64::try_from(scaled).unwrap_or(u64::MAX))
    }

    /// What a run has done of it since it makes progress.
    pub(super) fn progress(&self, run: &Active, at: Time) -> Span {
        if run.executes_since.is_none() {
            return Span::ZERO;
        }
        let elapsed = at.since(run.works_since);
        let done = if run.workers >= self.workers {
            elapsed
        } else {
            let scaled = u128::from(elapsed.as_ms()) * u128::from(run.workers) / u128::from(self.workers);
            Span::from_ms(u64::try_from(scaled).unwrap_or(u64::MAX))
        };
        done.min(self.left)
    }
}
