//! What a person sends to submit a task, or to change how urgent it is.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use hai_core::model::{
    self, Amount, ComputeCapability, GroupName, MigProfile, ModelName, PlaceName, Priority, Rank, Span, TaskId,
    UserName,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{KindWord, PriorityWord, Retries, text};

/// A task to be done. Only `command` must be given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitRequest {
    /// The program and its arguments; the first is looked up in the worker's `PATH`.
    #[schema(min_items = 1)]
    pub command: Vec<String>,
    /// What people call it; by default the last part of the program's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Variables that are added to the workers' environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The directory that the workers start in, an absolute path; by default the run's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// The container image, where workers are containers; by default the one that the operator set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The nodes it may have; by default the server's default group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub group: Option<GroupName>,
    /// How urgent it is; by default what the server was set to, which is `NORMAL` unless somebody changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PriorityWord>)]
    pub priority: Option<Priority>,
    /// What kind of work it is; by default `training`.
    #[serde(default, skip_serializing_if = "KindWord::is_training")]
    pub kind: KindWord,
    /// How long interactive work may keep its place; then it is stopped. It must say so, and no other kind may.
    #[serde(default, with = "text::maybe_span", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, examples("4h"))]
    pub lease: Option<Span>,
    /// Interactive work whose devices were idle for so long is suspended until it is resumed; by default never.
    #[serde(default, with = "text::maybe_span", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, examples("30m"))]
    pub idle_after: Option<Span>,
    /// How many workers start together; by default 1. With `workers_min`, the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100_000)]
    pub workers: Option<u32>,
    /// The least number of workers that are worth a start; by default all. How many there are is decided anew whenever
    /// it starts or resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100_000)]
    pub workers_min: Option<u32>,
    /// Devices for each worker, shared with nobody; by default 1, and 0 is for work on processors alone. Only one of
    /// `devices`, `share`, `share_memory_mib` and `whole_node` may be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 64)]
    pub devices: Option<u32>,
    /// A part of one device for each worker, to a thousandth, beside others that also asked for a part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, exclusive_minimum = 0, maximum = 1, examples(0.25))]
    pub share: Option<Amount>,
    /// So much memory of one device for each worker, in MiB, beside others that also asked for a part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub share_memory_mib: Option<u64>,
    /// Each worker takes a whole node with everything on it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole_node: bool,
    /// Device models that will do, the preferred first; empty for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>, examples("RTX 3070"))]
    pub models: Vec<ModelName>,
    /// Device models that will not do.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub forbidden_models: BTreeSet<ModelName>,
    /// All devices of all workers must be of one model, whichever that is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_model: bool,
    /// The least memory that each device must have in all, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_memory_mib: Option<u64>,
    /// Slices of this MIG profile, and nothing else; by default devices that are not sliced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, examples("1g.5gb"))]
    pub mig_profile: Option<MigProfile>,
    /// The least compute capability that each device must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, examples("8.0"))]
    pub compute_capability: Option<ComputeCapability>,
    /// Processor cores for each worker, to a thousandth; of a whole node the least it must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, examples(2.5))]
    pub cpu: Option<f64>,
    /// Memory for each worker, in MiB; of a whole node the least it must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// No two workers on one node.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub distinct_nodes: bool,
    /// All workers under one leaf switch.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_leaf: bool,
    /// All workers in one zone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_zone: bool,
    /// Workers on as many nodes as can be, where there is a choice; by default close together.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spread: bool,
    /// Zones that will do; empty for any.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub zones: BTreeSet<PlaceName>,
    /// Labels that every node under it must carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Taints of nodes that it does not mind.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub tolerates: BTreeSet<String>,
    /// Overrides the place in the queue that the submission gives (the task's number): a smaller one goes first.
    /// Operators only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub custom_rank: Option<Rank>,
    /// How long it has to save itself when it is suspended or stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Grace>,
    /// Whether it can be suspended; by default it can. What can not fills a hole only if it is over before a better
    /// task needs the place, and stays until it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(default = true)]
    pub suspendable: Option<bool>,
    /// How long you think that it runs, all runs together. Never enforced; a good guess starts it sooner.
    #[serde(default, with = "text::maybe_span", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, examples("90m"))]
    pub expected: Option<Span>,
    /// How long it may run, all runs together; then it is stopped, and has failed.
    #[serde(default, with = "text::maybe_span", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, examples("2d"))]
    pub limit: Option<Span>,
    /// When it is needed. Only the order by deadline looks at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DateTime<Utc>>,
    /// It does not start before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<DateTime<Utc>>,
    /// Tasks that must have succeeded before it starts; if one does not, it fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<u64>)]
    pub after: Vec<TaskId>,
    /// Tasks that must be over before it starts, however they ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<u64>)]
    pub after_any: Vec<TaskId>,
    /// What happens when it fails; by default it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// What starting it again costs, which spares it from being suspended; by default what the server was set to.
    #[serde(default, with = "text::maybe_span", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, examples("2m"))]
    pub restart_cost: Option<Span>,
    /// How often it saves its work without being told.
    #[serde(default, with = "text::maybe_span", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, examples("10m"))]
    pub checkpoint_every: Option<Span>,
    /// What you want kept with it. Workers do not see it, and nothing is decided by it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, String>,
    /// Whose it will be; by default the sender's. Operators only, unless it is the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub user: Option<UserName>,
}

/// How long a run has between the suspend signal and the forced stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Grace {
    /// To answer that it heard; a run that has not by then is killed.
    #[serde(with = "text::span")]
    #[schema(value_type = String, default = "5s")]
    pub answer: Span,
    /// From then on, to save and leave.
    #[serde(with = "text::span")]
    #[schema(value_type = String, default = "5s")]
    pub finish: Span,
}

/// A new priority for a task.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PriorityRequest {
    /// How urgent it is from now on.
    #[schema(value_type = PriorityWord)]
    pub priority: Priority,
    /// A new place in the queue, as in [`SubmitRequest`]; left out for the place that the submission gave.
    /// Operators only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub custom_rank: Option<Rank>,
}

impl Default for Grace {
    fn default() -> Self {
        model::Grace::default().into()
    }
}

impl From<model::Grace> for Grace {
    fn from(grace: model::Grace) -> Self {
        Grace { answer: grace.answer, finish: grace.finish }
    }
}

impl From<Grace> for model::Grace {
    fn from(grace: Grace) -> Self {
        model::Grace { answer: grace.answer, finish: grace.finish }
    }
}
