//! What is decided for a document, and what is told to everybody in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::assign::AssignResult;
use super::document::Document;
use crate::engine::Engine;
use crate::model::{Decision, Priority, Round, TaskId, Time, Verdict};

/// One round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Answer {
    /// When it was decided.
    pub at: Time,
    /// What was decided, in order.
    pub decisions: Vec<Decision>,
    /// What that means for each task, in the document's order.
    pub tasks: Vec<TaskAnswer>,
    /// When time alone could change something; left out if it can not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_deadline: Option<Time>,
}

/// What a round means for one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TaskAnswer {
    /// The task.
    pub task: TaskId,
    /// What is to be done with it.
    pub action: Action,
    /// Why it does not run, as data; left out if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentence: Option<String>,
    /// What the open-source HAI platform calls its assign result; only with `hai-fifo`, for tasks that take whole nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assign_result: Option<AssignResult>,
    /// The priority that it counts as there: of an `AUTO` task the level that it was given, `AUTO` if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_priority: Option<Priority>,
}

/// What is to be done with a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Start it.
    Start,
    /// Start it once those have left who are told to.
    StartLater,
    /// Let it save itself and leave; it goes on later.
    Suspend,
    /// End it for good.
    Stop,
    /// Nothing: it goes on.
    Keep,
    /// Nothing: it waits.
    Wait,
}

pub(super) fn answer(
    engine: &Engine,
    document: &Document,
    round: Round,
    upstream: Option<&BTreeMap<TaskId, (AssignResult, Priority)>>,
) -> Answer {
    let mut actions: BTreeMap<TaskId, Action> = BTreeMap::new();
    for decision in &round.decisions {
        match decision {
            Decision::Start { task, .. } => drop(actions.insert(*task, Action::Start)),
            Decision::Promise { task, .. } => drop(actions.insert(*task, Action::StartLater)),
            Decision::Suspend { task, .. } => drop(actions.insert(*task, Action::Suspend)),
            Decision::Stop { task, .. } => drop(actions.insert(*task, Action::Stop)),
            Decision::Withdraw { task } => drop(actions.remove(task)),
            _ => {}
        }
    }
    let tasks = document.tasks.iter().map(|entry| {
        let runs = entry.run.is_some();
        let action = actions.get(&entry.id).copied().unwrap_or(if runs { Action::Keep } else { Action::Wait });
        let verdict = engine.verdict(entry.id);
        let assigned = upstream.and_then(|results| results.get(&entry.id));
        TaskAnswer {
            task: entry.id,
            action,
            sentence: verdict.as_ref().map(ToString::to_string),
            verdict,
            assign_result: assigned.map(|(result, _)| *result),
            effective_priority: assigned.map(|(_, level)| *level),
        }
    });
    Answer { at: round.at, tasks: tasks.collect(), decisions: round.decisions, next_deadline: engine.next_deadline() }
}
