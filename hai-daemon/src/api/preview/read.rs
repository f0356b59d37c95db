//! From changes as they are asked for to commands, with the same checks as when they are made one by one.

use std::collections::BTreeSet;

use hai_core::backend::{Command, Submitted};
use hai_core::engine::EngineConfig;
use hai_core::model::{Duty, Fact, NodeName, NodeSpec, RightKey, RightRow, TaskId, TaskState};

use crate::api::ApiState;
use crate::api::auth::Caller;
use crate::api::looks::Effort;
use crate::api::problem::{ApiError, Kind};
use crate::api::tasks::{find, submit};
use crate::api::wire::{PlannedChange, PlannedKey, PlannedNodes};
use crate::scheduler::Still;

/// More changes are a program's mistake.
const CHANGES_MAX: usize = 100;
/// The most nodes that one change adds.
const NODES_MAX: u32 = 1000;
/// The most nodes that all changes together add.
const ALL_NODES_MAX: usize = 10_000;

/// Turns changes into commands.
pub(super) async fn commands(
    state: &ApiState,
    caller: &Caller,
    changes: Vec<PlannedChange>,
) -> Result<Vec<Command>, ApiError> {
    if changes.is_empty() || changes.len() > CHANGES_MAX {
        let detail = format!("changes: there are {}, must be from 1 to {CHANGES_MAX}", changes.len());
        return Err(ApiError::new(Kind::InvalidValue, detail).at("changes"));
    }
    let mut made = Made { commands: Vec::with_capacity(changes.len()), added: BTreeSet::new() };
    for (at, change) in changes.into_iter().enumerate() {
        let read = read(state, caller, change, &mut made).await;
        read.map_err(|error| error.within(format!("changes[{at}]")))?;
    }
    Ok(made.commands)
}

/// What the changes came to so far.
struct Made {
    commands: Vec<Command>,
    /// The nodes that they add.
    added: BTreeSet<NodeName>,
}

async fn read(state: &ApiState, caller: &Caller, change: PlannedChange, made: &mut Made) -> Result<(), ApiError> {
    let Made { commands, added } = made;
    let operator = |what: &str| caller.must_be_operator("changes", what);
    let fact = match change {
        PlannedChange::Submit(request) => {
            let (spec, program) = submit::check(state, caller, *request).await?;
            commands.push(Command::Submit(Box::new(Submitted { spec, program })));
            return Ok(());
        }
        PlannedChange::Stop(task) => Fact::Cancelled { task: own(state, caller, task).await? },
        PlannedChange::Suspend(task) => Fact::Held { task: own(state, caller, task).await? },
        PlannedChange::Resume(task) => Fact::Released { task: own(state, caller, task).await? },
        PlannedChange::Priority(planned) => {
            if planned.custom_rank.is_some() {
                caller.must_be_operator("custom_rank", "choose a task's place in the queue")?;
            }
            let task = own(state, caller, planned.task).await?;
            Fact::Reprioritised { task, priority: planned.priority, custom_rank: planned.custom_rank }
        }
        PlannedChange::Right(right) => {
            operator("change rights")?;
            Fact::RightSet { right: RightRow::from(right) }
        }
        PlannedChange::RemoveRight(PlannedKey { user, group, priority, team, model, cap }) => {
            operator("change rights")?;
            Fact::RightRemoved { key: RightKey { user, team, group, priority, model, cap } }
        }
        PlannedChange::Drain(name) => {
            operator("drain a node")?;
            Fact::NodeDuty { node: node(state, name).await?.name, duty: Duty::Drained }
        }
        PlannedChange::Cordon(name) => {
            operator("cordon a node")?;
            Fact::NodeDuty { node: node(state, name).await?.name, duty: Duty::Cordoned }
        }
        PlannedChange::Uncordon(name) | PlannedChange::Undrain(name) => {
            operator("uncordon a node")?;
            Fact::NodeDuty { node: node(state, name).await?.name, duty: Duty::Open }
        }
        PlannedChange::LoseNode(name) => {
            operator("ask about nodes")?;
            Fact::NodeRemoved { node: node(state, name).await?.name }
        }
        PlannedChange::AddNodes(planned) => {
            operator("ask about nodes")?;
            commands.extend(more_nodes(state, caller, planned, added).await?);
            return Ok(());
        }
        PlannedChange::Configure(patch) => {
            operator("change the settings")?;
            commands.push(Command::Configure(Box::new(configured(state, &patch).await?)));
            return Ok(());
        }
    };
    commands.push(Command::Tell(fact));
    Ok(())
}

/// An unfinished task that the caller may touch.
async fn own(state: &ApiState, caller: &Caller, id: TaskId) -> Result<TaskId, ApiError> {
    let task = find(state, caller, id).await?;
    if task.state == TaskState::Finished {
        return Err(ApiError::new(Kind::Conflict, format!("task {id} is finished, nothing can change it")));
    }
    Ok(id)
}

async fn node(state: &ApiState, name: NodeName) -> Result<NodeSpec, ApiError> {
    let wanted = name.clone();
    let look = move |engine: &hai_core::engine::Engine| {
        let mut names = Vec::new();
        for node in engine.nodes() {
            if node.spec.name == wanted {
                return Ok(node.spec);
            }
            names.push(node.spec.name);
        }
        Err(names)
    };
    state.scheduler.inspect(look).await?.map_err(|names| {
        let known: Vec<&str> = names.iter().take(8).map(NodeName::as_str).collect();
        let detail = format!("there is no node {name}; there are {}", known.join(", "));
        ApiError::new(Kind::NotFound, detail).at("changes")
    })
}

/// Nodes like one that there is, with devices of their own, and with names that nobody has.
async fn more_nodes(
    state: &ApiState,
    caller: &Caller,
    planned: PlannedNodes,
    added: &mut BTreeSet<NodeName>,
) -> Result<Vec<Command>, ApiError> {
    if !(1..=NODES_MAX).contains(&planned.count) {
        let detail = format!("count: is {}, must be from 1 to {NODES_MAX}", planned.count);
        return Err(ApiError::new(Kind::InvalidValue, detail).at("changes"));
    }
    let all = added.len() + planned.count as usize;
    if all > ALL_NODES_MAX {
        let detail = format!("count: with it {all} nodes would be added in all, must be at most {ALL_NODES_MAX}");
        return Err(ApiError::new(Kind::InvalidValue, detail).at("changes"));
    }
    let like = node(state, planned.like).await?;
    let names = |still: &Still| still.engine().nodes().map(|node| node.spec.name).collect::<BTreeSet<_>>();
    let taken = state.look(Effort::Quick, caller, names).await?;
    let wrong = |error: &dyn std::fmt::Display| ApiError::new(Kind::InvalidValue, error.to_string()).at("changes");
    let mut commands = Vec::new();
    let mut number = 0_u32;
    while commands.len() < planned.count as usize {
        number += 1;
        let name = NodeName::new(format!("{}-more-{number}", like.name)).map_err(|error| wrong(&error))?;
        if taken.contains(&name) || !added.insert(name.clone()) {
            continue;
        }
        let mut more = NodeSpec { ready: true, cordoned: false, ..like.clone() }.with_duty(Duty::Open);
        more.name = name;
        for (at, device) in more.devices.iter_mut().enumerate() {
            device.id = hai_core::model::DeviceId::new(format!("{}-{at}", more.name)).map_err(|error| wrong(&error))?;
            device.health = hai_core::model::DeviceHealth::Healthy;
        }
        commands.push(Command::Tell(Fact::NodeSet { node: more }));
    }
    Ok(commands)
}

/// The present settings with the patch in them.
async fn configured(state: &ApiState, patch: &serde_json::Value) -> Result<EngineConfig, ApiError> {
    let config = state.scheduler.inspect(|engine| engine.config().clone()).await?;
    let mut value =
        serde_json::to_value(config).map_err(|error| ApiError::internal("the settings can not be shown", &error))?;
    merge(&mut value, patch);
    let wrong = |error: serde_path_to_error::Error<serde_json::Error>| {
        let (path, problem) = (error.path().to_string(), error.into_inner());
        ApiError::new(Kind::InvalidValue, format!("configure.{path}: {problem}")).at("changes")
    };
    serde_path_to_error::deserialize(value).map_err(wrong)
}

/// A JSON merge patch (RFC 7396): objects are merged field by field, `null` takes a field away, all else replaces.
fn merge(value: &mut serde_json::Value, patch: &serde_json::Value) {
    let serde_json::Value::Object(patch) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = serde_json::Value::Object(serde_json::Map::new());
    }
    let Some(object) = value.as_object_mut() else { return };
    for (key, patch) in patch {
        if patch.is_null() {
            object.remove(key);
        } else {
            merge(object.entry(key.clone()).or_insert(serde_json::Value::Null), patch);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::merge;

    #[test]
    fn a_patch_is_merged_as_its_rfc_says() {
        // The examples of RFC 7396, appendix A.
        for (before, patch, after) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut value = before.clone();
            merge(&mut value, &patch);
            assert_eq!(value, after, "{before} with {patch}");
        }
    }
}
