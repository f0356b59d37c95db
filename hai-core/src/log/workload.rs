//! The work in a log, without what was decided about it: who asked for what and when, what else happened, and how much work
//! was truly in each task.
//!
//! # What is taken for true
//! A task that succeeded had as much work in it as it ran in all (with fewer workers than it asked for, proportionally less);
//! one that failed, as much as its last run. One that was told to end for good, by somebody or by its limit, would have gone
//! on. One that was not over at the end of the log is **censored**: it is known to have at least what it ran until then (or
//! what its owner expected, if it never ran), and that much it is given. How long starting and leaving take is the mean
//! over the log. What the cluster said of workers, idle devices and checkpoints belongs to the decisions of then, and is
//! left aside; a task saves itself when it is told to leave, and as often as it said ([`TaskSpec::checkpoint_every`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

use crate::backend::{Entry, FollowError, Follower, Record};
use crate::engine::{EngineConfig, EngineState, Policies};
use crate::model::{Decision, Fact, Outcome, RunId, RunView, Span, TaskId, TaskSpec, TaskState, Time, UserName};
use crate::sim::{Conduct, Ending, Work};

use super::file::{FileError, LogReader, Numbered};

/// The work in a log.
#[derive(Clone, Debug)]
pub struct Workload {
    pub(super) config: EngineConfig,
    pub(super) state: Option<EngineState>,
    pub(super) since: Time,
    pub(super) until: Time,
    pub(super) conduct: Conduct,
    /// What came from outside, by time.
    pub(super) inputs: Vec<(Time, Outside)>,
    pub(super) tasks: BTreeMap<TaskId, Known>,
}

/// Something that came from outside.
#[derive(Clone, Debug)]
pub(super) enum Outside {
    Submit(TaskId, Arc<TaskSpec>),
    Fact(Fact),
}

/// What the log says of a task.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) user: UserName,
    workers: u32,
    expected: Option<Span>,
    /// What it ran since the log began.
    ran: Span,
    /// What its last run ran.
    last: Span,
    told_to_end: bool,
    outcome: Option<Outcome>,
}

/// Why the work can not be read out of a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadError {
    /// The file is damaged.
    #[error(transparent)]
    File(#[from] FileError),
    /// It contradicts itself.
    #[error("line {line}: {problem}")]
    Follow {
        /// The line.
        line: u64,
        /// What is wrong.
        problem: FollowError,
    },
    /// There is no record in it.
    #[error("there is nothing in the log but its header")]
    Nothing,
}

impl Known {
    /// Whether it was not over at the end of the log.
    pub(super) fn is_censored(&self) -> bool {
        self.outcome.is_none() && !self.told_to_end
    }

    /// What was in it since the log began.
    pub(super) fn work(&self) -> Work {
        match &self.outcome {
            _ if self.told_to_end => Work::of(Span::MAX),
            Some(Outcome::Succeeded) => Work::of(self.ran),
            Some(Outcome::Failed { .. }) => Work { needs: self.last, ends: Ending::Failure },
            Some(Outcome::Stopped) => Work::of(Span::MAX),
            None if self.ran == Span::ZERO => Work::of(self.expected.unwrap_or(Span::ZERO)),
            None => Work::of(self.ran),
        }
    }
}

impl Known {
    /// The same where nobody tells it to end: what was stopped then had in it what it had run.
    pub(super) fn work_undisturbed(&self) -> Work {
        let work = self.work();
        if work.needs == Span::MAX { Work::of(self.ran) } else { work }
    }
}

impl Workload {
    /// Reads a log to its end.
    ///
    /// # Errors
    /// [`WorkloadError`].
    pub fn read<I, S, E>(reader: LogReader<I>) -> Result<Self, WorkloadError>
    where
        I: Iterator<Item = Result<S, E>>,
        S: AsRef<str>,
        E: Display,
    {
        let header = reader.header();
        let follower = match header.snapshot() {
            Some(snapshot) => Follower::after(snapshot, header.config.clone(), Policies::default()),
            None => Follower::new(header.config.clone(), Policies::default()),
        };
        let mut reading = Reading::begin(follower, header.config.clone(), header.state.as_deref().cloned());
        for read in reader {
            let Numbered { line, record } = read?;
            reading.take(&record).map_err(|problem| WorkloadError::Follow { line, problem })?;
        }
        reading.end().ok_or(WorkloadError::Nothing)
    }

    /// How it was decided when the log began. What the log says of later changes is not looked at.
    #[must_use]
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// How the cluster behaved.
    #[must_use]
    pub fn conduct(&self) -> Conduct {
        self.conduct
    }

    /// How it is to behave from now on.
    pub fn set_conduct(&mut self, conduct: Conduct) {
        self.conduct = conduct;
    }
}

/// A log that is being read.
struct Reading {
    follower: Follower,
    config: EngineConfig,
    state: Option<EngineState>,
    times: Option<(Time, Time)>,
    inputs: Vec<(Time, Outside)>,
    tasks: BTreeMap<TaskId, Known>,
    /// When runs were told to leave.
    told: BTreeMap<RunId, Time>,
    starts: Mean,
    leaves: Mean,
}

#[derive(Default)]
struct Mean {
    sum: u128,
    count: u128,
}

impl Mean {
    fn add(&mut self, span: Span) {
        self.sum += u128::from(span.as_ms());
        self.count += 1;
    }

    fn span(&self) -> Span {
        Span::from_ms(u64::try_from(self.sum.checked_div(self.count).unwrap_or(0)).unwrap_or(u64::MAX))
    }
}

impl Reading {
    fn begin(mut follower: Follower, config: EngineConfig, state: Option<EngineState>) -> Self {
        drop(follower.drain_changes());
        let tasks = follower.engine().tasks().map(|view| (view.id, known(&view.spec))).collect();
        Reading {
            follower,
            config,
            state,
            times: None,
            inputs: Vec::new(),
            tasks,
            told: BTreeMap::new(),
            starts: Mean::default(),
            leaves: Mean::default(),
        }
    }

    fn take(&mut self, record: &Record) -> Result<(), FollowError> {
        let (since, _) = *self.times.get_or_insert((record.at, record.at));
        self.times = Some((since, record.at.max(since)));
        self.follower.take(record)?;
        match &record.entry {
            Entry::Opened(opening) if record.seq == 1 => self.config = opening.config.clone(),
            Entry::Opened(_) => {}
            Entry::Round(decisions) => decisions.iter().for_each(|decision| self.decided(record.at, decision)),
            Entry::Fact(fact) => self.told(record.at, fact),
        }
        let changes = self.follower.drain_changes();
        for run in &changes.runs {
            if run.end.is_some() {
                self.ran(run, run.ended_at.unwrap_or(record.at));
            }
        }
        for view in changes.tasks {
            if view.state == TaskState::Finished
                && let Some(task) = self.tasks.get_mut(&view.id)
            {
                task.outcome = view.outcome;
            }
        }
        Ok(())
    }

    fn decided(&mut self, at: Time, decision: &Decision) {
        match decision {
            Decision::Suspend { run, .. } => drop(self.told.insert(*run, at)),
            Decision::Stop { run, task } => {
                self.told.insert(*run, at);
                if let Some(task) = self.tasks.get_mut(task) {
                    task.told_to_end = true;
                }
            }
            _ => {}
        }
    }

    fn told(&mut self, at: Time, fact: &Fact) {
        match fact {
            Fact::Submitted { task, spec } => {
                self.tasks.insert(*task, known(spec));
                self.inputs.push((at, Outside::Submit(*task, Arc::clone(spec))));
            }
            Fact::WorkerStarted { .. } | Fact::WorkerEnded { .. } | Fact::Checkpointed { .. } | Fact::Idle { .. } => {}
            fact => {
                if let Fact::Cancelled { task } | Fact::Concluded { task, .. } = fact
                    && let Some(task) = self.tasks.get_mut(task)
                {
                    task.told_to_end = true;
                }
                self.inputs.push((at, Outside::Fact(fact.clone())));
            }
        }
    }

    /// A run is over, or the log is.
    fn ran(&mut self, run: &RunView, until: Time) {
        let told = self.told.remove(&run.id);
        let Some(started) = run.started_at else { return };
        if run.end.is_some() {
            self.starts.add(started.since(run.decided_at));
            if let Some(told) = told {
                self.leaves.add(until.since(told));
            }
        }
        let since = self.times.map_or(started, |(since, _)| since);
        let Some(task) = self.tasks.get_mut(&run.task) else { return };
        let elapsed = u128::from(until.since(started.max(since)).as_ms());
        let workers = (run.workers.len() as u128).min(u128::from(task.workers));
        let scaled = elapsed * workers / u128::from(task.workers.max(1));
        task.last = Span::from_ms(u64::try_from(scaled).unwrap_or(u64::MAX));
        task.ran = task.ran + task.last;
    }

    fn end(mut self) -> Option<Workload> {
        let (since, until) = self.times?;
        let runs: Vec<RunView> = self.follower.engine().runs().collect();
        runs.iter().for_each(|run| self.ran(run, until));
        let conduct = Conduct { start: self.starts.span(), leave: self.leaves.span(), ..Conduct::default() };
        let Reading { config, state, inputs, tasks, .. } = self;
        Some(Workload { config, state, since, until, conduct, inputs, tasks })
    }
}

fn known(spec: &TaskSpec) -> Known {
    Known {
        user: spec.user.clone(),
        workers: spec.workers,
        expected: spec.expected,
        ran: Span::ZERO,
        last: Span::ZERO,
        told_to_end: false,
        outcome: None,
    }
}

impl Outside {
    pub(super) fn is_about_rights(&self) -> bool {
        matches!(self, Outside::Fact(Fact::RightSet { .. } | Fact::RightRemoved { .. }))
    }

    pub(super) fn is_about_nodes(&self) -> bool {
        let Outside::Fact(fact) = self else { return false };
        matches!(fact, Fact::NodeSet { .. } | Fact::NodeRemoved { .. } | Fact::DeviceChanged { .. })
    }
}

impl Workload {
    /// The tasks that were not over at the end of the log.
    #[must_use]
    pub fn censored(&self) -> BTreeSet<TaskId> {
        self.tasks.iter().filter(|(_, known)| known.is_censored()).map(|(&task, _)| task).collect()
    }

    /// How long a task has to run with all its workers, as far as the log tells; `None` if it would not end by itself, or
    /// is not in the log.
    #[must_use]
    pub fn work(&self, task: TaskId) -> Option<Span> {
        Some(self.tasks.get(&task)?.work().needs).filter(|&needs| needs != Span::MAX)
    }
}
