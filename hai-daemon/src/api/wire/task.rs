//! Tasks as people see them, and how lists of them are asked for.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use hai_core::model::{
    self, Amount, Arrangement, ComputeCapability, DependsOn, Devices, GroupName, MigProfile, ModelName, PlaceName,
    Priority, Rank, RunId, Span, TaskId, TaskKind, UserName,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Grace, KindWord, OutcomeWord, PriorityWord, Retries, Run, TaskState, Why, Yielded, text, utc};

/// A task at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// Its number.
    #[schema(value_type = u64)]
    pub id: TaskId,
    /// What people call it.
    pub name: String,
    /// Whose it is.
    #[schema(value_type = String)]
    pub user: UserName,
    /// The nodes it may have.
    #[schema(value_type = String)]
    pub group: GroupName,
    /// How urgent it is.
    #[schema(value_type = PriorityWord)]
    pub priority: Priority,
    /// What it is doing.
    pub state: TaskState,
    /// How it ended, once it has.
    pub outcome: Option<OutcomeWord>,
    /// Why it failed, if it did.
    pub reason: Option<String>,
    /// What kind of work it is.
    pub kind: KindWord,
    /// How long interactive work may keep its place.
    #[serde(with = "text::maybe_span")]
    #[schema(value_type = Option<String>)]
    pub lease: Option<Span>,
    /// How long its devices may be idle before interactive work is suspended.
    #[serde(with = "text::maybe_span")]
    #[schema(value_type = Option<String>)]
    pub idle_after: Option<Span>,
    /// How many workers start together; if fewer will do, the most.
    pub workers: u32,
    /// The least number of workers that are worth a start; `null` if all are needed.
    pub workers_min: Option<u32>,
    /// Devices for each worker; `null` for whole nodes and for parts of a device.
    pub devices: Option<u32>,
    /// The part of one device that each worker asks for, if it does.
    #[schema(value_type = Option<f64>, examples(0.25))]
    pub share: Option<Amount>,
    /// The memory of one device that each worker asks for, in MiB, if it does.
    pub share_memory_mib: Option<u64>,
    /// Each worker takes a whole node.
    pub whole_node: bool,
    /// Device models that will do, the preferred first; empty for any.
    #[schema(value_type = Vec<String>)]
    pub models: Vec<ModelName>,
    /// Device models that will not do.
    #[schema(value_type = Vec<String>)]
    pub forbidden_models: BTreeSet<ModelName>,
    /// All devices of all workers must be of one model.
    pub same_model: bool,
    /// The least memory that each device must have in all, in MiB.
    pub device_memory_mib: u64,
    /// The MIG profile that it asks for.
    #[schema(value_type = Option<String>)]
    pub mig_profile: Option<MigProfile>,
    /// The least compute capability that each device must have.
    #[schema(value_type = Option<String>)]
    pub compute_capability: Option<ComputeCapability>,
    /// Processor cores for each worker.
    pub cpu: f64,
    /// Memory for each worker, in MiB.
    pub memory_mib: u64,
    /// No two workers on one node.
    pub distinct_nodes: bool,
    /// All workers under one leaf switch.
    pub one_leaf: bool,
    /// All workers in one zone.
    pub one_zone: bool,
    /// Workers on as many nodes as can be, where there is a choice.
    pub spread: bool,
    /// Zones that will do; empty for any.
    #[schema(value_type = Vec<String>)]
    pub zones: BTreeSet<PlaceName>,
    /// Labels that every node under it must carry.
    pub labels: BTreeMap<String, String>,
    /// Taints of nodes that it does not mind.
    #[schema(value_type = Vec<String>)]
    pub tolerates: BTreeSet<String>,
    /// Its place in the queue, if it is not the one that the submission gave.
    #[schema(value_type = Option<f64>)]
    pub custom_rank: Option<Rank>,
    /// How long it has to save itself.
    pub grace: Grace,
    /// Whether it can be suspended.
    pub suspendable: bool,
    /// How long its owner thinks that it runs, all runs together.
    #[serde(with = "text::maybe_span")]
    #[schema(value_type = Option<String>)]
    pub expected: Option<Span>,
    /// How long it may run, all runs together.
    #[serde(with = "text::maybe_span")]
    #[schema(value_type = Option<String>)]
    pub limit: Option<Span>,
    /// When its owner needs it.
    pub deadline: Option<DateTime<Utc>>,
    /// It does not start before then.
    pub not_before: Option<DateTime<Utc>>,
    /// Tasks that must have succeeded before it starts.
    #[schema(value_type = Vec<u64>)]
    pub after: Vec<TaskId>,
    /// Tasks that must be over before it starts.
    #[schema(value_type = Vec<u64>)]
    pub after_any: Vec<TaskId>,
    /// What happens when it fails; `null` if it is over then.
    pub retries: Option<Retries>,
    /// What starting it again costs; `null` for what the server was set to.
    #[serde(with = "text::maybe_span")]
    #[schema(value_type = Option<String>)]
    pub restart_cost: Option<Span>,
    /// How often it saves its work without being told.
    #[serde(with = "text::maybe_span")]
    #[schema(value_type = Option<String>)]
    pub checkpoint_every: Option<Span>,
    /// When it was submitted.
    pub submitted_at: DateTime<Utc>,
    /// When its first run started.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Runs so far, the present one included.
    pub runs: u32,
    /// The present run, also while it starts or leaves.
    #[schema(value_type = Option<u64>)]
    pub run: Option<RunId>,
    /// The number that its next run reads.
    pub whole_life_state: i64,
    /// How long it has run in all its ended runs.
    #[serde(with = "text::span")]
    #[schema(value_type = String, examples("90s"))]
    pub ran: Span,
    /// The level whose right it is charged to, while it runs or is promised a place.
    #[schema(value_type = Option<PriorityWord>)]
    pub level: Option<Priority>,
    /// The last time it had to give way, if it ever had.
    pub yielded: Option<Yielded>,
}

/// A task with all that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskDetail {
    /// The task.
    #[serde(flatten)]
    pub task: Task,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables that are added to the workers' environment.
    pub env: BTreeMap<String, String>,
    /// The directory that the workers start in, if one was asked for.
    pub workdir: Option<String>,
    /// The container image, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What was to be kept with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, String>,
    /// Its runs, oldest first; at most the last 1000.
    pub history: Vec<Run>,
    /// Why it waits, if it does; or what keeps its workers from executing.
    pub why: Option<Why>,
}

/// Some tasks, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// If there are more: what to send as `before` to get them.
    #[schema(value_type = Option<u64>)]
    pub next: Option<TaskId>,
}

/// Which tasks. Parameters that are left out match every task; all that are given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TaskQuery {
    /// Whose; users see only their own anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub user: Option<UserName>,
    /// For nodes of this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub group: Option<GroupName>,
    /// In this state. Several may be given with commas between them, and `unfinished` stands for all but `finished`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// That ended this way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub outcome: Option<OutcomeWord>,
    /// With this text in their name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of this priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<PriorityWord>)]
    pub priority: Option<Priority>,
    /// At most this many; by default 100, at most 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// With a smaller number than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<u64>)]
    pub before: Option<TaskId>,
}

/// How a task is stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StopQuery {
    /// How it has ended then; by default it was stopped. As succeeded it lets those go on that wait for it.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub outcome: Option<OutcomeWord>,
}

impl From<&model::TaskView> for Task {
    fn from(view: &model::TaskView) -> Self {
        let spec = &view.spec;
        let request = &spec.request;
        let (mut devices, mut share, mut share_memory_mib) = (None, None, None);
        match request.devices {
            Devices::WholeNode => {}
            Devices::Count(count) => devices = Some(count),
            Devices::Share(milli) => share = Some(Amount::from_milli(milli.into())),
            Devices::Memory(mib) => share_memory_mib = Some(mib),
        }
        let (lease, idle_after) = match spec.kind {
            TaskKind::Interactive { lease, idle_after } => (Some(lease), idle_after),
            TaskKind::Training | TaskKind::Background => (None, None),
        };
        let constraints = spec.constraints.as_deref().cloned().unwrap_or_default();
        let after = |ended: DependsOn| {
            spec.after.iter().filter(move |before| before.ended == ended).map(|before| before.task).collect()
        };
        Task {
            id: view.id,
            name: spec.name.clone(),
            user: spec.user.clone(),
            group: spec.group.clone(),
            priority: spec.priority,
            state: view.state.into(),
            outcome: view.outcome.as_ref().map(OutcomeWord::from),
            reason: match &view.outcome {
                Some(model::Outcome::Failed { reason }) => Some(reason.clone()),
                _ => None,
            },
            kind: spec.kind.into(),
            lease,
            idle_after,
            workers: spec.workers,
            workers_min: spec.workers_min,
            devices,
            share,
            share_memory_mib,
            whole_node: request.devices == Devices::WholeNode,
            models: request.models.clone(),
            forbidden_models: request.forbidden_models.clone(),
            same_model: request.same_model,
            device_memory_mib: request.device_memory_mib,
            mig_profile: request.mig_profile.clone(),
            compute_capability: request.compute_capability,
            cpu: f64::from(request.cpu_milli) / 1000.0,
            memory_mib: request.memory_mib,
            distinct_nodes: spec.distinct_nodes,
            one_leaf: constraints.one_leaf,
            one_zone: constraints.one_zone,
            spread: constraints.arrangement == Arrangement::Spread,
            zones: constraints.zones,
            labels: constraints.labels,
            tolerates: spec.tolerates.clone(),
            custom_rank: spec.custom_rank,
            grace: spec.grace.into(),
            suspendable: spec.suspendable,
            expected: spec.expected,
            limit: spec.limit,
            deadline: spec.deadline.map(utc),
            not_before: spec.not_before.map(utc),
            after: after(DependsOn::Success),
            after_any: after(DependsOn::Any),
            retries: spec.retries.map(Retries::from),
            restart_cost: spec.restart_cost,
            checkpoint_every: spec.checkpoint_every,
            submitted_at: utc(view.submitted_at),
            started_at: view.started_at.map(utc),
            ended_at: view.ended_at.map(utc),
            runs: view.runs,
            run: view.run,
            whole_life_state: view.whole_life_state,
            ran: view.ran,
            level: view.level,
            yielded: view.yielded.as_ref().map(Yielded::from),
        }
    }
}
