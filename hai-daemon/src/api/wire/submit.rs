//! What a person sends to submit a task, or to change how urgent it is.

use std::collections::{BTreeMap, BTreeSet};

use hai_core::model::{self, GroupName, ModelName, Priority, Rank, Span, UserName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{PriorityWord, text};

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
    /// The nodes it may have; by default the server's default group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub group: Option<GroupName>,
    /// How urgent it is; by default what the server was set to, which is `NORMAL` unless somebody changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PriorityWord>)]
    pub priority: Option<Priority>,
    /// How many workers start together; by default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100_000)]
    pub workers: Option<u32>,
    /// Devices for each worker; by default 1, and 0 is for work on processors alone. Not with `whole_node`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 64)]
    pub devices: Option<u32>,
    /// Each worker takes a whole node with everything on it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole_node: bool,
    /// Device models that will do; empty for any.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>, examples("RTX 3070"))]
    pub models: BTreeSet<ModelName>,
    /// The least memory that each device must have, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_memory_mib: Option<u64>,
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
