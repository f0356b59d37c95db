//! Submitting a task.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use hai_core::model::{
    Arrangement, Constraints, Dependency, DependsOn, Devices, Grace, Program, Retries, TaskKind, TaskSpec, Time,
    UserName, WorkerRequest,
};

use crate::api::auth::Caller;
use crate::api::extract::Body;
use crate::api::problem::{ApiError, Kind};
use crate::api::wire::{KindWord, SubmitRequest, Task};
use crate::api::{ApiState, Defaults};

/// The most cores one worker may ask for; more is a slip of the pen.
const CORES_MAX: f64 = 1_000_000.0;
/// The most memory a worker or a device may be asked to have, in MiB (an exbibyte): sums of it never overflow.
const MEMORY_MIB_MAX: u64 = 1 << 40;
/// The most tasks that one task may wait for.
const AFTER_MAX: usize = 1000;

/// Submit a task
#[utoipa::path(post, path = "/v1/tasks", tag = "tasks", operation_id = "submit", request_body = SubmitRequest,
    responses((status = 201, description = "The task as it is stored; it may be running already.", body = Task,
               headers(("Location" = String, description = "Where the task is.")))))]
pub(in crate::api) async fn submit(
    State(state): State<ApiState>,
    caller: Caller,
    Body(request): Body<SubmitRequest>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<Task>), ApiError> {
    let submitted = accept(&state, &caller, request).await;
    state.metrics.submitted(submitted.is_ok());
    let task = submitted?;
    let location = format!("/v1/tasks/{}", task.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(task)))
}

async fn accept(state: &ApiState, caller: &Caller, request: SubmitRequest) -> Result<Task, ApiError> {
    let (spec, program) = check(state, caller, request).await?;
    // As it was stored: reading it again would cost more than storing it together with others.
    Ok(Task::from(&state.scheduler.submit(caller.user.name.clone(), spec, program).await?))
}

/// What the engine and the workers would get, if the caller may ask for it.
pub(in crate::api) async fn check(
    state: &ApiState,
    caller: &Caller,
    request: SubmitRequest,
) -> Result<(TaskSpec, Program), ApiError> {
    let user = owner(state, caller, request.user.as_ref()).await?;
    if request.custom_rank.is_some() {
        caller.must_be_operator("custom_rank", "choose a task's place in the queue")?;
    }
    let (spec, program) = read(request, user, &state.defaults)?;
    // Another user's task looks just like none, here too.
    for before in &spec.after {
        let field = if before.ended == DependsOn::Any { "after_any" } else { "after" };
        let known = state.reader.task(before.task).await?.is_some_and(|view| caller.may_see(&view.spec.user));
        if !known {
            return Err(invalid(field, format!("there is no task {}", before.task)));
        }
    }
    Ok((spec, program))
}

/// Whose the task will be.
async fn owner(state: &ApiState, caller: &Caller, wanted: Option<&UserName>) -> Result<UserName, ApiError> {
    let Some(wanted) = wanted.filter(|wanted| **wanted != caller.user.name) else {
        return Ok(caller.user.name.clone());
    };
    caller.must_be_operator("user", "submit for somebody else")?;
    let users = state.accounts.list().await?;
    if users.iter().any(|user| user.name == *wanted && !user.disabled) {
        return Ok(wanted.clone());
    }
    Err(invalid("user", format!("there is no user {wanted}; add them first")))
}

/// Turns the request into what the engine and the workers get, and checks it.
fn read(request: SubmitRequest, user: UserName, defaults: &Defaults) -> Result<(TaskSpec, Program), ApiError> {
    let devices = devices(&request)?;
    let kind = kind(&request)?;
    let after = after(&request)?;
    let constraints = Constraints {
        zones: request.zones,
        labels: request.labels,
        one_leaf: request.one_leaf,
        one_zone: request.one_zone,
        arrangement: if request.spread { Arrangement::Spread } else { Arrangement::Pack },
    };
    let program = Program {
        command: request.command,
        env: request.env,
        workdir: request.workdir,
        image: request.image,
        notes: request.notes,
    };
    program.check()?;
    let spec = TaskSpec {
        name: request.name.unwrap_or_else(|| name_of(&program.command[0])),
        user,
        group: request.group.unwrap_or_else(|| defaults.group.clone()),
        priority: request.priority.unwrap_or(defaults.priority),
        custom_rank: request.custom_rank,
        kind,
        workers: request.workers.unwrap_or(1),
        workers_min: request.workers_min,
        request: WorkerRequest {
            devices,
            models: request.models,
            forbidden_models: request.forbidden_models,
            same_model: request.same_model,
            device_memory_mib: memory("device_memory_mib", request.device_memory_mib)?,
            mig_profile: request.mig_profile,
            compute_capability: request.compute_capability,
            cpu_milli: cpu_milli(request.cpu)?,
            memory_mib: memory("memory_mib", request.memory_mib)?,
        },
        distinct_nodes: request.distinct_nodes,
        tolerates: request.tolerates,
        grace: request.grace.map(Grace::from).unwrap_or_default(),
        constraints: (constraints != Constraints::default()).then(|| Box::new(constraints)),
        suspendable: request.suspendable.unwrap_or(true),
        expected: request.expected,
        limit: request.limit,
        deadline: request.deadline.map(Time::from),
        restart_cost: request.restart_cost,
        checkpoint_every: request.checkpoint_every,
        retries: request.retries.map(Retries::from),
        after,
        not_before: request.not_before.map(Time::from),
    };
    spec.check()?;
    Ok((spec, program))
}

/// How much of a node each worker takes: at most one of four fields says it.
fn devices(request: &SubmitRequest) -> Result<Devices, ApiError> {
    let mut said = Vec::new();
    if let Some(count) = request.devices {
        said.push(("devices", Devices::Count(count)));
    }
    if let Some(share) = request.share {
        let milli = u32::try_from(share.as_milli()).ok().filter(|milli| (1..=1000).contains(milli));
        let problem =
            || invalid("share", format!("is {share}, must be above 0 and at most 1; `devices` are whole ones"));
        said.push(("share", Devices::Share(milli.ok_or_else(problem)?)));
    }
    if let Some(mib) = request.share_memory_mib {
        if mib == 0 {
            return Err(invalid("share_memory_mib", "is no memory at all"));
        }
        said.push(("share_memory_mib", Devices::Memory(memory("share_memory_mib", Some(mib))?)));
    }
    if request.whole_node {
        said.push(("whole_node", Devices::WholeNode));
    }
    match said[..] {
        [] => Ok(Devices::Count(1)),
        [(_, devices)] => Ok(devices),
        [(first, _), .., ("whole_node", _)] => {
            Err(invalid(first, "a whole node comes with all its devices; give one or the other"))
        }
        [(first, _), (second, _), ..] => Err(invalid(
            second,
            format!("says how much of a node a worker takes, and so does {first}; give one of them"),
        )),
    }
}

fn kind(request: &SubmitRequest) -> Result<TaskKind, ApiError> {
    if request.kind != KindWord::Interactive {
        for (field, given) in [("lease", request.lease), ("idle_after", request.idle_after)] {
            if given.is_some() {
                return Err(invalid(field, "only interactive work has one; add \"kind\": \"interactive\""));
            }
        }
    }
    match request.kind {
        KindWord::Training => Ok(TaskKind::Training),
        KindWord::Background => Ok(TaskKind::Background),
        KindWord::Interactive => match request.lease {
            Some(lease) => Ok(TaskKind::Interactive { lease, idle_after: request.idle_after }),
            None => {
                Err(invalid("lease", "is missing; interactive work must say how long it keeps its place, e.g. \"4h\""))
            }
        },
    }
}

/// What it waits for, each task once: to be over well is more than to be over.
fn after(request: &SubmitRequest) -> Result<Vec<Dependency>, ApiError> {
    let mut after = BTreeMap::new();
    for &task in &request.after_any {
        after.insert(task, DependsOn::Any);
    }
    for &task in &request.after {
        after.insert(task, DependsOn::Success);
    }
    // Before anybody looks for as many tasks in the store.
    if after.len() > AFTER_MAX {
        return Err(invalid("after", format!("names {} tasks, at most {AFTER_MAX} are allowed", after.len())));
    }
    Ok(after.into_iter().map(|(task, ended)| Dependency { task, ended }).collect())
}

/// The last part of the program's path.
fn name_of(program: &str) -> String {
    let name = program.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if name.is_empty() { program.to_owned() } else { name.to_owned() }
}

fn memory(field: &'static str, mib: Option<u64>) -> Result<u64, ApiError> {
    match mib {
        Some(mib) if mib > MEMORY_MIB_MAX => {
            Err(invalid(field, format!("is {mib} MiB, at most {MEMORY_MIB_MAX} can be asked for")))
        }
        mib => Ok(mib.unwrap_or(0)),
    }
}

fn cpu_milli(cores: Option<f64>) -> Result<u32, ApiError> {
    let cores = cores.unwrap_or(0.0);
    if !(0.0..=CORES_MAX).contains(&cores) {
        return Err(invalid("cpu", format!("is {cores} cores, must be from 0 to {CORES_MAX}")));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is within 0 and a thousand million"
    )]
    let milli = (cores * 1000.0).ceil() as u32;
    Ok(milli)
}

fn invalid(field: &'static str, problem: impl std::fmt::Display) -> ApiError {
    ApiError::new(Kind::InvalidValue, format!("{field}: {problem}")).at(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hai_core::model::GroupName;
    use hai_core::model::{Priority, Span};

    fn read_json(json: &str) -> Result<(TaskSpec, Program), ApiError> {
        let defaults = Defaults::of_group(GroupName::new("lab").expect("a name"));
        let request = serde_json::from_str(json).expect("a request");
        read(request, UserName::new("alice").expect("a name"), &defaults)
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let (spec, program) = read_json("{\"command\": [\"/usr/bin/env\", \"true\"]}").expect("a task");
        assert_eq!((spec.name.as_str(), spec.group.as_str(), spec.workers), ("env", "lab", 1));
        assert_eq!((spec.priority, spec.request.devices), (Priority::Normal, Devices::Count(1)));
        assert_eq!(spec.grace, Grace::default());
        assert_eq!(program.command.len(), 2);
    }

    #[test]
    fn cores_may_be_fractions() {
        let (spec, _) = read_json("{\"command\": [\"x\"], \"cpu\": 0.25, \"whole_node\": true}").expect("a task");
        assert_eq!((spec.request.cpu_milli, spec.request.devices), (250, Devices::WholeNode));
        // Less than a thousandth is still some.
        assert_eq!(cpu_milli(Some(1e-9)).expect("a number"), 1);
        assert_eq!(cpu_milli(Some(0.1)).expect("a number"), 100);
    }

    #[test]
    fn parts_of_devices_and_their_kind_are_taken_over() {
        let (spec, _) = read_json(
            r#"{"command": ["x"], "share": 0.25, "models": ["B", "A"], "forbidden_models": ["C"], "same_model": true,
                "mig_profile": "1g.5gb", "compute_capability": "8.6", "device_memory_mib": 9000}"#,
        )
        .expect("a task");
        let request = spec.request;
        assert_eq!(request.devices, Devices::Share(250));
        assert_eq!(request.models.iter().map(|model| model.as_str()).collect::<Vec<_>>(), ["B", "A"]);
        assert!(request.same_model && request.forbidden_models.contains("C"));
        assert_eq!(request.mig_profile.expect("a profile").as_str(), "1g.5gb");
        assert_eq!(request.compute_capability.expect("a capability").to_string(), "8.6");
        assert_eq!(request.device_memory_mib, 9000);
        let (spec, _) = read_json(r#"{"command": ["x"], "share_memory_mib": 6000}"#).expect("a task");
        assert_eq!(spec.request.devices, Devices::Memory(6000));
    }

    #[test]
    fn life_and_places_are_taken_over() {
        let (spec, _) = read_json(
            r#"{"command": ["x"], "kind": "interactive", "lease": "4h", "idle_after": "30m", "workers": 8,
                "workers_min": 2, "zones": ["z"], "labels": {"disk": "fast"}, "one_leaf": true, "one_zone": true,
                "spread": true, "suspendable": false, "expected": "1h", "limit": "2h", "deadline": "2026-12-01T00:00:00Z",
                "not_before": "2026-11-30T00:00:00+01:00", "after": [7, 3], "after_any": [5, 3],
                "retries": {"limit": 3}, "restart_cost": "2m", "checkpoint_every": "10m"}"#,
        )
        .expect("a task");
        assert_eq!(
            spec.kind,
            TaskKind::Interactive { lease: Span::from_mins(240), idle_after: Some(Span::from_mins(30)) }
        );
        assert_eq!((spec.workers, spec.workers_min), (8, Some(2)));
        let constraints = spec.constraints.expect("there are some");
        assert!(constraints.zones.contains("z") && constraints.one_leaf && constraints.one_zone);
        assert_eq!(constraints.arrangement, Arrangement::Spread);
        assert_eq!(constraints.labels.get("disk").map(String::as_str), Some("fast"));
        assert!(!spec.suspendable);
        assert_eq!((spec.expected, spec.limit), (Some(Span::from_mins(60)), Some(Span::from_mins(120))));
        assert_eq!(spec.deadline.expect("one").to_string(), "2026-12-01T00:00:00.000Z");
        assert_eq!(spec.not_before.expect("one").to_string(), "2026-11-29T23:00:00.000Z");
        let after: Vec<_> = spec.after.iter().map(|before| (before.task.0, before.ended)).collect();
        assert_eq!(after, [(3, DependsOn::Success), (5, DependsOn::Any), (7, DependsOn::Success)]);
        let retries = spec.retries.expect("some");
        assert_eq!((retries.limit, retries.back_off, retries.avoid_nodes), (3, Span::from_secs(10), true));
        assert_eq!((spec.restart_cost, spec.checkpoint_every), (Some(Span::from_mins(2)), Some(Span::from_mins(10))));
    }

    #[test]
    fn impossible_values_are_refused() {
        for json in [
            "{\"command\": []}",
            "{\"command\": [\"\"]}",
            "{\"command\": [\"x\\u0000\"]}",
            "{\"command\": [\"x\"], \"name\": \"a\\u0007b\"}",
            "{\"command\": [\"x\"], \"name\": \"\"}",
            "{\"command\": [\"x\"], \"cpu\": -1}",
            "{\"command\": [\"x\"], \"cpu\": 1e300}",
            "{\"command\": [\"x\"], \"memory_mib\": 18446744073709551615}",
            "{\"command\": [\"x\"], \"devices\": 65}",
            "{\"command\": [\"x\"], \"devices\": 1, \"whole_node\": true}",
            "{\"command\": [\"x\"], \"workers\": 0}",
            "{\"command\": [\"x\"], \"workers\": 2, \"workers_min\": 3}",
            "{\"command\": [\"x\"], \"share\": 0}",
            "{\"command\": [\"x\"], \"share\": 1.001}",
            "{\"command\": [\"x\"], \"share\": 0.5, \"devices\": 1}",
            "{\"command\": [\"x\"], \"share\": 0.5, \"whole_node\": true}",
            "{\"command\": [\"x\"], \"share_memory_mib\": 0}",
            "{\"command\": [\"x\"], \"share_memory_mib\": 1, \"share\": 0.5}",
            "{\"command\": [\"x\"], \"models\": [\"A\", \"B\", \"A\"]}",
            "{\"command\": [\"x\"], \"kind\": \"interactive\"}",
            "{\"command\": [\"x\"], \"kind\": \"interactive\", \"lease\": \"0s\"}",
            "{\"command\": [\"x\"], \"kind\": \"background\", \"lease\": \"1h\"}",
            "{\"command\": [\"x\"], \"idle_after\": \"1h\"}",
            "{\"command\": [\"x\"], \"limit\": \"0s\"}",
            "{\"command\": [\"x\"], \"workdir\": \"relative\"}",
            "{\"command\": [\"x\"], \"env\": {\"A=B\": \"c\"}}",
            "{\"command\": [\"x\"], \"grace\": {\"answer\": \"2d\"}}",
        ] {
            assert!(read_json(json).is_err(), "{json}");
        }
    }
}
