//! What would help a waiting task: the smallest single changes after which it would start now.
//!
//! See [`what_would_help`]. What might help follows from the reason ([`why`](super::why())); every change that is told was tried
//! in a copy of the engine, and one step less of it was tried there in vain.

mod candidates;
mod change;
mod search;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::why::{Section, why_of_copy};
use crate::engine::Engine;
use crate::model::{Decision, Round, TaskId, Time, UserName, Verdict};

pub use change::Change;
use search::Search;

/// Bounds on the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// So many copies of the engine are made at most.
    pub copies: u32,
    /// Of tasks that would have to end, and of nodes that would have to return, so many are told at most.
    pub of_a_kind: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { copies: 48, of_a_kind: 3 }
    }
}

/// What would help a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Helps {
    /// It starts by itself with the next round, or does not wait for anything that a change could bring.
    pub needs_nothing: bool,
    /// Single changes, what its owner can do first.
    pub singles: Vec<Help>,
    /// If no single change helps: two that do together, if such were found.
    pub pair: Option<(Change, Help)>,
    /// Whether all that was thought of was tried; else the bound on copies was too low.
    pub complete: bool,
    /// So many copies of the engine were made.
    pub copies: u32,
    /// What it waits for; what is to be said if nothing helps depends on it.
    pub verdict: Option<Verdict>,
}

/// A change that helps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Help {
    /// What would have to be different.
    pub change: Change,
    /// What would come of it in the next round.
    pub then: Then,
}

/// What becomes of a task in the next round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "then", rename_all = "snake_case")]
pub enum Then {
    /// It starts at once.
    Starts,
    /// It is promised a place, which others are leaving.
    Promised {
        /// How many tasks leave for it, or do already.
        leaving: u32,
        /// When the last of them is gone at the latest.
        until: Time,
    },
    /// It could start at all, once there is room: as it is, its group could never hold it.
    Fits,
}

/// The smallest single changes after which a waiting task would start now, or would be promised a place.
///
/// Empty for a task that does not wait. One that was looked at by no round yet is looked at first.
///
/// # Complexity
/// At most `limits.copies` copies of the engine with a round in each, and looks at all nodes of the task's group.
#[must_use]
pub fn what_would_help(engine: &Engine, task: TaskId, limits: &Limits) -> Helps {
    let mut base = engine.clone();
    let now = base.now();
    let round = base.schedule(now);
    let nothing = Helps { needs_nothing: true, complete: true, copies: 1, ..Helps::default() };
    if placed(&base, &round, task).is_some() || is_on_its_way(&base, task) {
        return nothing;
    }
    let mut search = Search { base: &base, task, copies: 1, limits: *limits, complete: true };
    let singles = candidates::singles(&mut search);
    let mut pair = None;
    if singles.is_empty() {
        for first in candidates::prerequisites(&base, task) {
            let mut copy = base.clone();
            if !first.apply(&mut copy, task) {
                continue;
            }
            copy.schedule(now);
            let mut then = Search { base: &copy, copies: search.copies + 1, ..search };
            let found = candidates::first_single(&mut then);
            (search.copies, search.complete) = (then.copies, then.complete);
            if let Some(second) = found {
                pair = Some((first, second));
                break;
            }
        }
    }
    let verdict = base.verdict(task);
    Helps { needs_nothing: false, singles, pair, complete: search.complete, copies: search.copies, verdict }
}

/// Whether a task runs, leaves, or has a promise: then no change makes it start.
fn is_on_its_way(engine: &Engine, task: TaskId) -> bool {
    matches!(engine.verdict(task), None | Some(Verdict::Promised { .. } | Verdict::Leaving { .. }))
}

/// What a round did for a task.
fn placed(engine: &Engine, round: &Round, id: TaskId) -> Option<Then> {
    let mut decisions = round.decisions.iter();
    let started = decisions.any(|decision| matches!(decision, Decision::Start { task, .. } if *task == id));
    if started {
        return Some(Then::Starts);
    }
    match engine.verdict(id) {
        Some(Verdict::Promised { leaving, until }) => {
            Some(Then::Promised { leaving: u32::try_from(leaving.len()).unwrap_or(u32::MAX), until })
        }
        _ => None,
    }
}

impl Helps {
    /// Leaves out which tasks of other people would have to end.
    pub fn hide_others(&mut self, from: &UserName) {
        let pair = self.pair.iter_mut().flat_map(|(first, second)| [first, &mut second.change]);
        let changes = self.singles.iter_mut().map(|help| &mut help.change).chain(pair);
        for change in changes {
            if let Change::TaskEnds { task } = change {
                task.hide_from(from);
            }
        }
        let mut seen: Vec<Help> = Vec::new();
        self.singles.retain(|help| {
            let is_new = !seen.contains(help);
            seen.push(help.clone());
            is_new
        });
    }

    /// As a part of the text for people.
    #[must_use]
    pub fn section(&self) -> Section {
        let mut lines: Vec<String> = self.singles.iter().map(ToString::to_string).collect();
        if self.needs_nothing {
            lines.push("nothing has to change: it is on its way".to_owned());
        } else if let Some((first, second)) = &self.pair {
            lines.push(format!("no single change is enough, but two together are: {first}, and {second}"));
        } else if lines.is_empty() {
            lines.push(match &self.verdict {
                Some(Verdict::NotBefore { at }) => format!("nothing has to be done: its time comes at {at}"),
                Some(Verdict::BackOff { until, .. }) => format!("nothing has to be done: it is tried again at {until}"),
                Some(Verdict::NoRight { .. }) => "only an operator who gives it a right can help".to_owned(),
                Some(Verdict::Behind { head }) => {
                    format!("no single change would let it start now: task {head} is first")
                }
                Some(Verdict::After { tasks }) => {
                    let tasks: Vec<String> = tasks.iter().map(|task| format!("task {task}")).collect();
                    format!("nothing has to be done: it follows {}", tasks.join(", "))
                }
                Some(Verdict::Held) => "resume it (`hai resume`): it then waits for its turn".to_owned(),
                Some(Verdict::NoSuchGroup { group }) => {
                    format!("submit it to a group that has nodes (`hai nodes` lists them); {group} has none")
                }
                Some(Verdict::NeverFits { .. }) => {
                    "no single change that is tried here would let it fit: ask for what the nodes have".to_owned()
                }
                Some(Verdict::TeamUsed { .. } | Verdict::RightUsed { .. }) => {
                    "no single change would let it start now: it lacks a right, and room".to_owned()
                }
                _ => {
                    "no single change would let it start now: several of those in its way would have to end".to_owned()
                }
            });
        }
        if !self.complete {
            lines.push("there may be more: not everything was tried".to_owned());
        }
        Section::new("What would help", lines)
    }
}

/// One sentence for people.
impl fmt::Display for Help {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.then {
            Then::Starts => write!(f, "{}: it would start at once", self.change),
            Then::Fits => write!(f, "{}: it could start once there is room; as it is it never can", self.change),
            Then::Promised { until, .. } => {
                write!(f, "{}: it would start as soon as others have left (by {until})", self.change)
            }
        }
    }
}

/// The reason of a task with everything named, for those who look for help.
fn reason(engine: &Engine, task: TaskId) -> Option<super::Why> {
    why_of_copy(&mut engine.clone(), task, usize::MAX)
}
