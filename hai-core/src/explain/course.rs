//! What happens from here until the cluster comes to rest, if everybody does at once what they are told and time stands
//! still.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::model::{Decision, Fact, Placement, Priority, RunId, TaskId, Time, UserName, WorkerExit, YieldReason};

/// More rounds than any change needs: who leaves makes a second round, in which promises are kept, and seldom a third.
const ROUNDS_MAX: usize = 256;

/// All that is decided until nothing more would be. Who starts in a hole and gives it up again before the cluster comes to
/// rest is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// Who starts, in the order in which it was decided.
    pub starts: Vec<Start>,
    /// Who has to leave, and goes on later.
    pub leaves: Vec<Leave>,
    /// Who ends for good.
    pub stops: Vec<Stop>,
    /// Who is given a time by which to leave.
    pub notices: Vec<Notice>,
    /// Whether it came to rest within the rounds that were played.
    pub at_rest: bool,
}

/// A start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The task.
    pub task: TaskId,
    /// Whose it is.
    pub user: UserName,
    /// The level whose right it is charged to.
    pub level: Priority,
    /// On what it runs.
    pub hold: Hold,
    /// Where.
    pub placement: Placement,
    /// Who has to leave for it first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<TaskId>,
}

/// On what a run holds its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// A right of its owner's.
    Right,
    /// What others leave unused.
    Borrowed,
    /// What nobody else wants.
    Background,
}

/// A suspension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    /// The task.
    pub task: TaskId,
    /// Whose it is.
    pub user: UserName,
    /// The run that ends.
    pub run: RunId,
    /// Why.
    pub reason: YieldReason,
    /// What it loses at most, in device-milliseconds: its work since the last checkpoint, and what starting it again costs.
    /// A task that saves itself when it is told to leave loses only the second.
    pub lost: u64,
}

/// An end for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The task.
    pub task: TaskId,
    /// Whose it is.
    pub user: UserName,
    /// The run that ends.
    pub run: RunId,
}

/// A time by which a run has to leave, since the right that it runs on is not enough any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The task.
    pub task: TaskId,
    /// Whose it is.
    pub user: UserName,
    /// By when; `None` if a notice is taken back.
    pub until: Option<Time>,
}

impl Hold {
    /// What the engine calls entitled, or not, of work of some kind.
    pub(crate) const fn of(entitled: bool, background: bool) -> Self {
        match (background, entitled) {
            (true, _) => Hold::Background,
            (false, true) => Hold::Right,
            (false, false) => Hold::Borrowed,
        }
    }
}

impl Course {
    /// Plays an engine until it comes to rest at `now`. It is changed by that: give a copy.
    ///
    /// Whoever was told to leave has left at once, and goes back into the queue; whoever was started runs. What only time
    /// changes stays as it is.
    pub fn play(engine: &mut Engine, now: Time) -> Self {
        let mut course = Course::default();
        let mut makes_room: BTreeMap<TaskId, Vec<TaskId>> = BTreeMap::new();
        let leaving: Vec<RunId> = engine.leaving().collect();
        for run in leaving {
            end(engine, now, run);
        }
        for _ in 0..ROUNDS_MAX {
            let round = engine.schedule(now);
            if round.decisions.is_empty() {
                course.at_rest = true;
                break;
            }
            for decision in &round.decisions {
                course.note(engine, decision, &mut makes_room);
            }
            for decision in &round.decisions {
                match decision {
                    Decision::Start { run, placement, .. } => {
                        for rank in (0..).take(placement.workers.len()) {
                            // It may have been told to leave again in the same round.
                            let _ = engine.observe(now, &Fact::WorkerStarted { run: *run, rank });
                        }
                    }
                    Decision::Suspend { run, .. } | Decision::Stop { run, .. } => end(engine, now, *run),
                    _ => {}
                }
            }
        }
        course
    }

    fn note(&mut self, engine: &Engine, decision: &Decision, makes_room: &mut BTreeMap<TaskId, Vec<TaskId>>) {
        match decision {
            Decision::Start { task, placement, level, entitled, .. } => {
                let Some(owner) = engine.owner_of(*task) else { return };
                self.starts.push(Start {
                    task: *task,
                    user: owner.user.clone(),
                    level: *level,
                    hold: Hold::of(*entitled, owner.background),
                    placement: placement.clone(),
                    after: makes_room.remove(task).unwrap_or_default(),
                });
            }
            Decision::Suspend { run, task, reason } => {
                let Some(owner) = engine.owner_of(*task) else { return };
                if let Some(at) = self.starts.iter().position(|start| start.task == *task) {
                    // It only filled a hole on the way.
                    self.starts.remove(at);
                    return;
                }
                if let YieldReason::For { task: winner } = reason {
                    makes_room.entry(*winner).or_default().push(*task);
                }
                let lost = engine.at_stake(*run).unwrap_or(0);
                let user = owner.user.clone();
                self.leaves.push(Leave { task: *task, user, run: *run, reason: reason.clone(), lost });
            }
            Decision::Stop { run, task } => {
                let Some(owner) = engine.owner_of(*task) else { return };
                self.stops.push(Stop { task: *task, user: owner.user.clone(), run: *run });
            }
            Decision::Notice { run, until } => {
                let Some(task) = engine.task_of(*run) else { return };
                let Some(owner) = engine.owner_of(task) else { return };
                self.notices.push(Notice { task, user: owner.user.clone(), until: *until });
            }
            _ => {}
        }
    }

    /// What is lost in all, in device-milliseconds.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.leaves.iter().fold(0, |sum, leave| sum.saturating_add(leave.lost))
    }
}

/// All workers of a run have left, as they were told.
fn end(engine: &mut Engine, now: Time, run: RunId) {
    for rank in engine.alive_ranks(run) {
        let exit = WorkerExit::exited(0).after_signal();
        // Of a run that its first worker's end has ended, the others are known to be gone.
        let _ = engine.observe(now, &Fact::WorkerEnded { run, rank, exit });
    }
}
