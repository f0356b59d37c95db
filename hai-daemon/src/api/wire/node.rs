//! Nodes, their devices and who is on them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use hai_core::model::{
    self, Amount, ComputeCapability, DeviceId, GroupName, MigProfile, ModelName, NodeName, PlaceName, RunId, TaskId,
    UserName,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::RunPhase;
use crate::gpu::reading::Usage;
use crate::gpu::report::NodeReport;

/// All nodes, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeList {
    /// The nodes.
    pub nodes: Vec<Node>,
}

/// One machine and who is on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// Its name.
    #[schema(value_type = String)]
    pub name: NodeName,
    /// The group it belongs to.
    #[schema(value_type = String)]
    pub group: GroupName,
    /// It answers and is well.
    pub ready: bool,
    /// It takes no new work: an operator or the cluster itself says so.
    pub cordoned: bool,
    /// It takes no new work, and what runs there leaves.
    #[serde(default)]
    pub draining: bool,
    /// Only tasks that tolerate every one of these may start here.
    #[schema(value_type = Vec<String>)]
    pub taints: BTreeSet<String>,
    /// What is known of it besides, for tasks that ask for it.
    pub labels: BTreeMap<String, String>,
    /// The switch it is plugged into, if that is known.
    #[schema(value_type = Option<String>)]
    pub leaf: Option<PlaceName>,
    /// The switch above that.
    #[schema(value_type = Option<String>)]
    pub spine: Option<PlaceName>,
    /// The room, or whatever else shares one network.
    #[schema(value_type = Option<String>)]
    pub zone: Option<PlaceName>,
    /// Processor cores that workers may have.
    pub cpu: f64,
    /// How many of those nobody holds.
    pub free_cpu: f64,
    /// Memory that workers may have, in MiB.
    pub memory_mib: u64,
    /// How much of that nobody holds.
    pub free_memory_mib: u64,
    /// Its devices, in the order of their index.
    pub devices: Vec<Device>,
    /// Healthy devices that nobody holds.
    pub free_devices: u32,
    /// Who holds a part of it, or is promised one.
    pub workers: Vec<NodeUse>,
    /// When its devices were last reported; left out if they never were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_at: Option<DateTime<Utc>>,
    /// The driver of its devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// What could not be found out about its devices, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What who reports devices is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportAnswer {
    /// The UIDs of hai's pods on the node: what they use is used by no stranger. Left out as long as the daemon does not know
    /// them, or runs no pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<Vec<String>>,
}

/// One GPU, or a slice of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// Its UUID.
    #[schema(value_type = String)]
    pub id: DeviceId,
    /// What it is.
    #[schema(value_type = String, examples("RTX 3070"))]
    pub model: ModelName,
    /// Its memory in MiB.
    pub memory_mib: u64,
    /// What it can compute, as far as is known.
    #[schema(value_type = Option<String>, examples("8.6"))]
    pub compute_capability: Option<ComputeCapability>,
    /// The profile of the slice, if it is one.
    #[schema(value_type = Option<String>, examples("1g.5gb"))]
    pub mig_profile: Option<MigProfile>,
    /// Whether it may be given out.
    pub health: DeviceHealth,
    /// Why it may not, if so.
    pub reason: Option<String>,
    /// How it is used, as last reported. Who uses it is told to operators alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// Whether a device may be given to new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceHealth {
    /// It is well and hai's to give out.
    Healthy,
    /// Something is odd about it. It gets no new work; what runs there stays.
    Suspect,
    /// It gets no new work, and what runs there saves itself and leaves.
    Draining,
    /// Nobody is on it, and it is being tested.
    Probing,
    /// It is broken.
    Sick,
    /// A process that hai did not start uses it.
    Stranger,
}

/// One worker on a node, or a place that is promised to one. Of other people's tasks users are told what is held,
/// but not by whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeUse {
    /// Its task.
    #[schema(value_type = Option<u64>)]
    pub task: Option<TaskId>,
    /// The task's owner.
    #[schema(value_type = Option<String>)]
    pub user: Option<UserName>,
    /// The run.
    #[schema(value_type = Option<u64>)]
    pub run: Option<RunId>,
    /// Which worker of it.
    pub rank: Option<u32>,
    /// What its run is doing; `null` while the place is only promised.
    pub phase: Option<RunPhase>,
    /// The node is its alone.
    pub whole_node: bool,
    /// The devices it holds, or will.
    #[schema(value_type = Vec<String>)]
    pub devices: Vec<DeviceId>,
    /// How much of its one device it holds; left out for all of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, examples(0.25))]
    pub share: Option<Amount>,
    /// How much of that device's memory it holds, in MiB; left out for all of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_memory_mib: Option<u64>,
    /// Its processor cores.
    pub cpu: f64,
    /// Its memory in MiB.
    pub memory_mib: u64,
}

impl Node {
    /// The node with what is on it; `owner` tells whose a task is if the reader may know.
    pub(in crate::api) fn new(view: &model::NodeView, owner: impl Fn(TaskId) -> Option<UserName>) -> Self {
        let spec = &view.spec;
        Node {
            name: spec.name.clone(),
            group: spec.group.clone(),
            ready: spec.ready,
            cordoned: spec.is_cordoned(),
            draining: spec.draining,
            taints: spec.taints.clone(),
            labels: spec.labels.clone(),
            leaf: spec.location.leaf.clone(),
            spine: spec.location.spine.clone(),
            zone: spec.location.zone.clone(),
            cpu: f64::from(spec.cpu_milli) / 1000.0,
            free_cpu: f64::from(view.free_cpu_milli) / 1000.0,
            memory_mib: spec.memory_mib,
            free_memory_mib: view.free_memory_mib,
            devices: spec.devices.iter().map(Device::from).collect(),
            free_devices: view.free_devices,
            workers: view.workers.iter().map(|worker| NodeUse::new(worker, owner(worker.task))).collect(),
            reported_at: None,
            driver: None,
            notes: Vec::new(),
        }
    }

    /// The same with what was reported of its devices; `with_processes` if the reader may know who uses them.
    pub(in crate::api) fn reported(mut self, report: &NodeReport, with_processes: bool) -> Self {
        (self.reported_at, self.driver) = (Some(super::utc(report.at)), report.driver.clone());
        self.notes.clone_from(&report.notes);
        for device in &mut self.devices {
            device.usage = report.device(&device.id).map(|reported| {
                let mut usage = reported.usage.clone();
                usage.processes.retain(|_| with_processes);
                usage
            });
        }
        self
    }
}

impl NodeUse {
    fn new(worker: &model::NodeWorker, owner: Option<UserName>) -> Self {
        let told = owner.is_some();
        NodeUse {
            task: told.then_some(worker.task),
            user: owner,
            run: told.then_some(worker.run),
            rank: told.then_some(worker.rank),
            phase: worker.phase.map(RunPhase::from),
            whole_node: worker.place.whole_node,
            devices: worker.place.devices.to_vec(),
            share: worker.place.part.map(|part| Amount::from_milli(part.milli.into())),
            share_memory_mib: worker.place.part.map(|part| part.memory_mib),
            cpu: f64::from(worker.place.cpu_milli) / 1000.0,
            memory_mib: worker.place.memory_mib,
        }
    }
}

impl From<&model::DeviceSpec> for Device {
    fn from(spec: &model::DeviceSpec) -> Self {
        let (health, reason) = match &spec.health {
            model::DeviceHealth::Healthy => (DeviceHealth::Healthy, None),
            model::DeviceHealth::Suspect { reason } => (DeviceHealth::Suspect, Some(reason.clone())),
            model::DeviceHealth::Draining { reason } => (DeviceHealth::Draining, Some(reason.clone())),
            model::DeviceHealth::Probing => (DeviceHealth::Probing, None),
            model::DeviceHealth::Sick { reason } => (DeviceHealth::Sick, Some(reason.clone())),
            model::DeviceHealth::Stranger { process } => (DeviceHealth::Stranger, Some(process.clone())),
        };
        Device {
            id: spec.id.clone(),
            model: spec.model.clone(),
            memory_mib: spec.memory_mib,
            compute_capability: spec.compute_capability,
            mig_profile: spec.mig_profile.clone(),
            health,
            reason,
            usage: None,
        }
    }
}
