//! Where the workers of a run are.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{DeviceId, NodeName};

/// What every worker of a run gets, by rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Placement {
    /// Worker `i` is rank `i`.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<WorkerPlacement>"))]
    pub workers: SmallVec<[WorkerPlacement; 1]>,
}

/// What one worker gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkerPlacement {
    /// The node it runs on.
    pub node: NodeName,
    /// The node is its alone.
    #[serde(default)]
    pub whole_node: bool,
    /// Its devices, in the node's order. They are its alone, unless it has a part of one.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<DeviceId>"))]
    pub devices: SmallVec<[DeviceId; 1]>,
    /// How much of its one device it has; `None` for all of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<DevicePart>,
    /// Its processors, in thousandths of a core.
    pub cpu_milli: u32,
    /// Its memory in MiB.
    pub memory_mib: u64,
}

impl Placement {
    /// What all workers have together, in thousandths of devices; a part of one counts as that part.
    #[must_use]
    pub fn device_milli(&self) -> u64 {
        self.workers.iter().map(WorkerPlacement::device_milli).sum()
    }
}

impl WorkerPlacement {
    /// What it has, in thousandths of devices; a part of one counts as that part.
    #[must_use]
    pub fn device_milli(&self) -> u64 {
        self.part.map_or(1000, |part| u64::from(part.milli)) * self.devices.len() as u64
    }
}

/// A part of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DevicePart {
    /// Thousandths of the device.
    pub milli: u32,
    /// Its memory in MiB.
    pub memory_mib: u64,
}
