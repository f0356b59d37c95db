//! Everybody who waits, in the order in which they are served.

use std::collections::BTreeMap;

use crate::engine::{Engine, LineKey};
use crate::model::{GroupName, TaskId, TaskState};

/// All tasks that wait for their turn, the next to be served first: who is promised a place, then those in line as the engine
/// tries them, then those whose turn can not come yet, since they wait for others or for a time. Tasks that are held are left
/// out. Groups of nodes are served side by side; the tasks of several stand in one line as if they were one.
///
/// # Complexity
/// A copy of the engine is made, and all unfinished tasks are looked at and sorted.
#[must_use]
pub fn line(engine: &Engine) -> Vec<TaskId> {
    let mut promised = Vec::new();
    let mut others: BTreeMap<GroupName, Vec<TaskId>> = BTreeMap::new();
    for view in engine.tasks() {
        match view.state {
            TaskState::Promised => promised.push(view.id),
            TaskState::Waiting | TaskState::Suspended => {
                // Few groups, many tasks: a name is copied once for each group.
                match others.get_mut(&view.spec.group) {
                    Some(known) => known.push(view.id),
                    None => drop(others.insert(view.spec.group.clone(), vec![view.id])),
                }
            }
            _ => {}
        }
    }
    // Who stands where is worked out when it is looked at, and remembered by who looks.
    let mut copy = engine.clone();
    let (mut in_line, mut later): (Vec<(LineKey, TaskId)>, Vec<TaskId>) = (Vec::new(), Vec::new());
    for (group, tasks) in others {
        let dealt = copy.look_dealt(&group);
        for task in tasks {
            match copy.look_line_key(task, &dealt) {
                Some(key) => in_line.push((key, task)),
                None => later.push(task),
            }
        }
    }
    in_line.sort_unstable();
    later.sort_unstable();
    promised.into_iter().chain(in_line.into_iter().map(|(_, task)| task)).chain(later).collect()
}
