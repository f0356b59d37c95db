//! Decisions in words.

use crate::model::{Decision, Placement};

/// A decision in a few words for people.
#[must_use]
pub fn describe(decision: &Decision) -> String {
    match decision {
        Decision::Start { task, run, placement, level, entitled, .. } => {
            format!("start task {task} (run {run}) on {}, {}", places(placement), charge(*level, *entitled))
        }
        Decision::Promise { task, run, placement, level, entitled } => {
            format!("promise task {task} (run {run}) {}, {}", places(placement), charge(*level, *entitled))
        }
        Decision::Suspend { run, task, reason } => format!("suspend task {task} (run {run}): {reason}"),
        Decision::Stop { run, task } => format!("stop task {task} (run {run})"),
        Decision::Withdraw { task } => format!("take the promise to task {task} back"),
        Decision::Reserve { task, nodes, by } => {
            let nodes: Vec<&str> = nodes.iter().map(crate::model::NodeName::as_str).collect();
            let by = by.map_or_else(|| "an open time".to_owned(), |by| by.to_string());
            format!("keep {} for task {task} until {by}", nodes.join(", "))
        }
        Decision::Unreserve { task } => format!("keep nothing for task {task} any more"),
        Decision::Notice { run, until: Some(until) } => format!("tell run {run} to leave by {until}"),
        Decision::Notice { run, until: None } => format!("tell run {run} that it may stay"),
        Decision::Recharge { run, level, entitled } => format!("charge run {run} {}", charge(*level, *entitled)),
    }
}

fn charge(level: crate::model::Priority, entitled: bool) -> String {
    if entitled { format!("within its right at {level}") } else { format!("beyond its right at {level}") }
}

/// Nodes, and how many devices of each; a long list is cut.
fn places(placement: &Placement) -> String {
    const SHOWN: usize = 4;
    let of = |place: &crate::model::WorkerPlacement| match (place.whole_node, place.devices.len()) {
        (true, _) => format!("all of {}", place.node),
        (_, 0) => place.node.to_string(),
        (..) => {
            let ids: Vec<&str> = place.devices.iter().map(crate::model::DeviceId::as_str).collect();
            format!("{} [{}]", place.node, ids.join(", "))
        }
    };
    let mut shown: Vec<String> = placement.workers.iter().take(SHOWN).map(of).collect();
    if placement.workers.len() > SHOWN {
        shown.push(format!("{} more places", placement.workers.len() - SHOWN));
    }
    shown.join(", ")
}
