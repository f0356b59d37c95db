//! Decides a log anew, and names the first thing that is decided otherwise than it was.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::backend::{Digest, Entry, Record};
use crate::engine::{Engine, Policies};
use crate::model::{Decision, Fact, TaskId, Time};

use super::file::{FileError, Header, LogReader, Numbered};
use super::words::describe;

/// An engine that is told a log's facts, and decides at each of its rounds.
///
/// It decides as the log's configuration says; policies that an embedder brought must be given again.
#[derive(Debug)]
pub struct Replay {
    engine: Engine,
    policies: Policies,
    done: Replayed,
}

/// How far a replay has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Rounds that were decided anew, and are the same.
    pub rounds: u64,
    /// Decisions in them.
    pub decisions: u64,
    /// Facts.
    pub facts: u64,
    /// Facts at the end that no round has looked at: the log was cut off within a step.
    pub unsealed: u64,
    /// The first record's time.
    pub since: Option<Time>,
    /// The last record's time.
    pub until: Option<Time>,
    /// The last round's digest. Two logs that agree in it agree in everything.
    pub digest: Digest,
}

/// The first thing that came out otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The line of the record in the file, counted from 1.
    pub line: u64,
    /// The record's number.
    pub seq: u64,
    /// The round, counted from 1 at the beginning of the file.
    pub round: u64,
    /// When it was.
    pub at: Time,
    /// The task that it is about, if it is about one.
    pub task: Option<TaskId>,
    /// What differs.
    #[serde(flatten)]
    pub what: What,
}

/// What came out otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "differs", rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// A decision. `None` stands for none at that place.
    Decision {
        /// Which one of its round, counted from 0.
        index: usize,
        /// What was recorded.
        recorded: Option<Decision>,
        /// What is decided now.
        decided: Option<Decision>,
    },
    /// A fact that can not be, or was known already: the log could never have been written so.
    Fact {
        /// The fact.
        fact: Fact,
        /// Why it can not be taken in.
        problem: String,
    },
}

/// Why a replay ended early.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file is damaged, or its chain is broken.
    #[error(transparent)]
    File(#[from] FileError),
    /// Something is decided otherwise.
    #[error(transparent)]
    Difference(#[from] Box<Difference>),
}

impl Replay {
    /// Begins where the file begins.
    #[must_use]
    pub fn new(header: &Header, policies: Policies) -> Self {
        let engine = match &header.state {
            None => Engine::with_policies(header.config.clone(), policies.clone()),
            Some(state) => {
                let state = crate::engine::EngineState::clone(state);
                Engine::restore_with_policies(header.config.clone(), policies.clone(), state)
            }
        };
        Replay { engine, policies, done: Replayed { digest: header.after.digest, ..Replayed::default() } }
    }

    /// Takes the next record in; if it is a round, decides and compares.
    ///
    /// # Errors
    /// The [`Difference`], if there is one. What follows it would be of another story.
    pub fn take(&mut self, line: u64, record: &Record) -> Result<(), Box<Difference>> {
        self.done.since.get_or_insert(record.at);
        self.done.until = Some(record.at);
        match &record.entry {
            Entry::Fact(fact) => {
                let problem = match self.engine.observe(record.at, fact) {
                    Ok(true) => None,
                    Ok(false) => Some("it changes nothing, and what changes nothing is not recorded".to_owned()),
                    Err(error) => Some(error.to_string()),
                };
                if let Some(problem) = problem {
                    let what = What::Fact { fact: fact.clone(), problem };
                    return Err(self.difference(line, record, fact.task(), what));
                }
                self.done.facts += 1;
                self.done.unsealed += 1;
            }
            Entry::Opened(opening) => {
                self.engine = self.engine.reopened(record.at, opening.config.clone(), self.policies.clone());
            }
            Entry::Round(recorded) => {
                let decided = self.engine.schedule(record.at).decisions;
                if let Some(index) = first_difference(recorded, &decided) {
                    let (recorded, decided) = (recorded.get(index).cloned(), decided.get(index).cloned());
                    let task = recorded.as_ref().or(decided.as_ref()).and_then(|said| self.task_in(said));
                    return Err(self.difference(line, record, task, What::Decision { index, recorded, decided }));
                }
                self.done.rounds += 1;
                self.done.decisions += recorded.len() as u64;
                self.done.unsealed = 0;
                self.done.digest = record.digest.unwrap_or(self.done.digest);
                // Nobody wants to know, and it would pile up.
                drop(self.engine.drain_changes());
            }
        }
        Ok(())
    }

    fn difference(&self, line: u64, record: &Record, task: Option<TaskId>, what: What) -> Box<Difference> {
        let round = self.done.rounds + 1;
        Box::new(Difference { line, seq: record.seq, round, at: record.at, task, what })
    }

    fn task_in(&self, decision: &Decision) -> Option<TaskId> {
        match decision {
            Decision::Start { task, .. }
            | Decision::Suspend { task, .. }
            | Decision::Stop { task, .. }
            | Decision::Promise { task, .. }
            | Decision::Withdraw { task }
            | Decision::Reserve { task, .. }
            | Decision::Unreserve { task } => Some(*task),
            Decision::Notice { run, .. } | Decision::Recharge { run, .. } => Some(self.engine.run(*run)?.task),
        }
    }

    /// How far it has come.
    #[must_use]
    pub fn done(&self) -> Replayed {
        self.done
    }

    /// The engine as it is now.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

/// Replays all that a reader gives. `progress` is told after every round.
///
/// # Errors
/// [`ReplayError`]: the first difference, or what is wrong with the file.
pub fn replay<I, S, E>(
    reader: LogReader<I>,
    policies: Policies,
    mut progress: impl FnMut(&Replayed),
) -> Result<Replayed, ReplayError>
where
    I: Iterator<Item = Result<S, E>>,
    S: AsRef<str>,
    E: fmt::Display,
{
    let mut replay = Replay::new(reader.header(), policies);
    for read in reader {
        let Numbered { line, record } = read?;
        replay.take(line, &record)?;
        if matches!(record.entry, Entry::Round(_)) {
            progress(&replay.done);
        }
    }
    Ok(replay.done)
}

fn first_difference(one: &[Decision], other: &[Decision]) -> Option<usize> {
    let longer = one.len().max(other.len());
    (0..longer).find(|&index| one.get(index) != other.get(index))
}

impl std::error::Error for Difference {}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} (record {}, round {}, {})", self.line, self.seq, self.round, self.at)?;
        if let Some(task) = self.task {
            write!(f, ", task {task}")?;
        }
        let say = |said: &Option<Decision>| said.as_ref().map_or_else(|| "nothing".to_owned(), describe);
        match &self.what {
            What::Decision { recorded, decided, .. } => {
                write!(f, ": recorded was: {}; decided now is: {}", say(recorded), say(decided))
            }
            What::Fact { problem, .. } => write!(f, ": the recorded fact can not be: {problem}"),
        }
    }
}
