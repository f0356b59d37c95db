//! Submitting a task.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use hai_core::model::{Devices, Grace, Program, TaskSpec, UserName, WorkerRequest};

use super::find;
use crate::api::auth::Caller;
use crate::api::extract::Body;
use crate::api::problem::{ApiError, Kind};
use crate::api::wire::{SubmitRequest, Task};
use crate::api::{ApiState, Defaults};

/// The most cores one worker may ask for; more is a slip of the pen.
const CORES_MAX: f64 = 1_000_000.0;
/// The most memory a worker or a device may be asked to have, in MiB (an exbibyte): sums of it never overflow.
const MEMORY_MIB_MAX: u64 = 1 << 40;

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
    let user = owner(state, caller, request.user.as_ref()).await?;
    if request.custom_rank.is_some() {
        caller.must_be_operator("custom_rank", "choose a task's place in the queue")?;
    }
    let (spec, program) = read(request, user, &state.defaults)?;
    let id = state.scheduler.submit(spec, program).await?;
    Ok(Task::from(&find(state, caller, id).await?))
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
    let devices = devices(request.whole_node, request.devices)?;
    let program = Program { command: request.command, env: request.env, workdir: request.workdir };
    program.check()?;
    let spec = TaskSpec {
        name: request.name.unwrap_or_else(|| name_of(&program.command[0])),
        user,
        group: request.group.unwrap_or_else(|| defaults.group.clone()),
        priority: request.priority.unwrap_or(defaults.priority),
        custom_rank: request.custom_rank,
        workers: request.workers.unwrap_or(1),
        request: WorkerRequest {
            devices,
            models: request.models,
            device_memory_mib: memory("device_memory_mib", request.device_memory_mib)?,
            cpu_milli: cpu_milli(request.cpu)?,
            memory_mib: memory("memory_mib", request.memory_mib)?,
        },
        distinct_nodes: request.distinct_nodes,
        tolerates: request.tolerates,
        grace: request.grace.map(Grace::from).unwrap_or_default(),
    };
    spec.check()?;
    Ok((spec, program))
}

fn devices(whole_node: bool, devices: Option<u32>) -> Result<Devices, ApiError> {
    match (whole_node, devices) {
        (false, count) => Ok(Devices::Count(count.unwrap_or(1))),
        (true, None) => Ok(Devices::WholeNode),
        (true, Some(_)) => Err(invalid("devices", "a whole node comes with all its devices; give one or the other")),
    }
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
    use hai_core::model::Priority;

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
            "{\"command\": [\"x\"], \"workdir\": \"relative\"}",
            "{\"command\": [\"x\"], \"env\": {\"A=B\": \"c\"}}",
            "{\"command\": [\"x\"], \"grace\": {\"answer\": \"2d\"}}",
        ] {
            assert!(read_json(json).is_err(), "{json}");
        }
    }
}
