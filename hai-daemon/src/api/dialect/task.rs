//! A task in the dialect's shape, with its attempts as lists and its workers as pods.

use chrono::{DateTime, Local, NaiveDate, NaiveDateTime};
use hai_core::model::{Program, RunView, TaskKind, TaskView, Time};
use serde_json::{Map, Value, json};

use super::args::invalid;
use super::attempts::{self, Attempt, attempts};
use super::ids;
use super::schema::{self, SCHEMA_NOTE};
use crate::api::ApiState;
use crate::api::problem::ApiError;
use crate::api::wire::utc;

/// A time as the client reads it: local, without an offset, in whole seconds.
pub(super) fn local(time: Time) -> String {
    utc(time).with_timezone(&Local).format("%Y-%m-%dT%H:%M:%S").to_string()
}

/// A time as the client writes it: with an offset, or local without one.
pub(super) fn read_time(name: &str, text: &str) -> Result<Time, ApiError> {
    // A plus sign in an address stands for a space.
    let text = text.trim().replacen(' ', if text.contains('T') { "+" } else { "T" }, 1);
    let local = || {
        let naive =
            text.parse::<NaiveDateTime>().or_else(|_| text.parse::<NaiveDate>().map(NaiveDateTime::from)).ok()?;
        Some(naive.and_local_timezone(Local).earliest()?.to_utc())
    };
    let read = DateTime::parse_from_rfc3339(&text).map(|time| time.to_utc()).ok().or_else(local);
    read.map(Time::from).ok_or_else(|| invalid(name, format!("`{text}` is no time; write e.g. 2026-11-27T10:00:00")))
}

/// The task with all that is stored of it.
pub(super) async fn object(state: &ApiState, view: &TaskView, pods: bool) -> Result<Value, ApiError> {
    let runs = state.reader.runs(view.id).await?;
    let program = state.reader.program(view.id).await?.unwrap_or_default();
    Ok(shape(view, &runs, &program, pods))
}

/// The task as one object; every field that the client reads is there.
pub(super) fn shape(view: &TaskView, runs: &[RunView], program: &Program, pods: bool) -> Value {
    let spec = &view.spec;
    let said = Said::read(program);
    let all = attempts(view, runs, said.whole_life_state);
    // There always is one.
    let (first, last) = (&all[0], &all[all.len() - 1]);
    let list = |of: &dyn Fn(&Attempt) -> Value| Value::from(all.iter().map(of).collect::<Vec<_>>());
    let begin = |attempt: &Attempt| local(attempt.begin_at.unwrap_or(attempt.created_at));
    let end = |attempt: &Attempt| local(attempt.end_at.or(attempt.begin_at).unwrap_or(attempt.created_at));
    let state = last.whole_life_state;
    let assigned: Vec<&str> = runs
        .last()
        .filter(|run| run.end.is_none())
        .map(|run| run.workers.iter().map(|worker| worker.place.node.as_str()).collect())
        .unwrap_or_default();
    // Those of the newest run, also while the next one waits. A task that waits for its first has none.
    let pods =
        if pods { runs.last().map(|run| pods_of(view, run, last.concluded())).unwrap_or_default() } else { Vec::new() };
    let whose = json!({
        "id": last.id,
        "first_id": first.id,
        "chain_id": view.id.to_string(),
        "nb_name": spec.name,
        "user_name": spec.user.as_str(),
        "group": spec.group.as_str(),
        "nodes": spec.workers,
        "restart_count": all.len() - 1,
        "priority": spec.priority.number(),
        "task_type": task_type(spec.kind),
        "backend": program.image.as_deref().unwrap_or("default"),
        "mount_code": 2,
        "workspace": said.workspace,
        "code_file": said.code_file,
    });
    let doing = json!({
        "chain_status": attempts::chain_status(view, &all),
        "queue_status": last.queue_status,
        "worker_status": last.worker_status,
        "created_at": local(last.created_at),
        "begin_at": begin(last),
        "end_at": end(last),
        "suspend_updated_at": local(view.yielded.as_ref().map_or(view.submitted_at, |yielded| yielded.at)),
    });
    let lists = json!({
        "id_list": list(&|attempt| attempt.id.into()),
        "queue_status_list": list(&|attempt| attempt.queue_status.into()),
        "worker_status_list": list(&|attempt| attempt.worker_status.into()),
        "created_at_list": list(&|attempt| local(attempt.created_at).into()),
        "begin_at_list": list(&|attempt| begin(attempt).into()),
        "end_at_list": list(&|attempt| end(attempt).into()),
        "stop_code_list": list(&|attempt| attempt.stop_code.into()),
        "suspend_code_list": list(&|attempt| attempt.suspend_code.into()),
        "whole_life_state_list": list(&|attempt| attempt.whole_life_state.into()),
    });
    let besides = json!({
        "stop_code": last.stop_code,
        "suspend_code": last.suspend_code,
        "whole_life_state": state,
        "star": false,
        "tags": said.tags,
        "assigned_nodes": assigned,
        "notes": null,
        "scheduled_info": null,
        "config_json": {
            "schema": said.schema,
            "client_group": said.client_group.unwrap_or_else(|| spec.group.to_string()),
            "environments": said.environments,
            "train_image": program.image,
            "schedule_zone": said.zone,
            "whole_life_state": state,
        },
        "_pods_": pods,
    });
    let parts =
        [whose, doing, lists, besides].map(|part| if let Value::Object(fields) = part { fields } else { Map::new() });
    parts.into_iter().flatten().collect::<Map<_, _>>().into()
}

pub(super) fn task_type(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Training => "training",
        TaskKind::Interactive { .. } => "jupyter",
        TaskKind::Background => "background",
    }
}

fn pods_of(view: &TaskView, run: &RunView, concluded: Option<&'static str>) -> Vec<Value> {
    let id = ids::run_id(run);
    let pod = |(rank, worker): (usize, &hai_core::model::WorkerView)| {
        let (status, exit_code) = attempts::pod_status(run, &worker.state);
        let status = if status == "stopped" { concluded.unwrap_or(status) } else { status };
        let place = &worker.place;
        let (mut begin_at, mut end_at) = (None, None);
        match &worker.state {
            hai_core::model::WorkerState::Reserved => {}
            hai_core::model::WorkerState::Executing { since } => begin_at = Some(local(*since)),
            hai_core::model::WorkerState::Ended { at, .. } => {
                begin_at = run.started_at.map(local);
                end_at = Some(local(*at));
            }
        }
        json!({
            "task_id": id,
            "pod_id": ids::pod_id(&view.spec.user, id, rank),
            "job_id": rank,
            "status": status,
            "node": place.node.as_str(),
            "role": if rank == 0 { "master" } else { "worker" },
            "created_at": local(run.decided_at),
            "begin_at": begin_at,
            "end_at": end_at,
            "memory": place.memory_mib.saturating_mul(1 << 20),
            "cpu": place.cpu_milli,
            "assigned_gpus": place.devices.iter().map(|device| device.as_str()).collect::<Vec<_>>(),
            "exit_code": exit_code,
        })
    };
    run.workers.iter().enumerate().map(pod).collect()
}

/// What was said at the submission, in the dialect's words; of a task that was not submitted in it, as near as can be.
struct Said {
    schema: Value,
    workspace: String,
    code_file: String,
    environments: Value,
    client_group: Option<String>,
    zone: Option<String>,
    tags: Vec<String>,
    whole_life_state: i64,
}

impl Said {
    fn read(program: &Program) -> Self {
        let schema: Option<Value> = program.notes.get(SCHEMA_NOTE).and_then(|text| serde_json::from_str(text).ok());
        match schema.as_ref().and_then(|schema| schema::Schema::read(schema).ok()) {
            Some(read) => Said {
                workspace: read.workspace.clone(),
                code_file: read.code_file(),
                environments: json!(read.environments),
                client_group: Some(read.client_group.clone()),
                zone: read.zone.clone(),
                tags: read.tags.clone(),
                whole_life_state: read.whole_life_state,
                schema: schema.unwrap_or_default(),
            },
            None => Said {
                schema: Value::Object(Map::new()),
                workspace: program.workdir.clone().unwrap_or_default(),
                code_file: program.command.iter().map(|word| schema::quoted(word)).collect::<Vec<_>>().join(" "),
                environments: json!(program.env),
                client_group: None,
                zone: None,
                tags: Vec::new(),
                whole_life_state: 0,
            },
        }
    }
}
