//! What each worker of a task asks for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{DeviceSpec, ModelName};

/// What one worker needs; every worker of a task needs the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerRequest {
    /// A whole node or a number of devices.
    pub devices: Devices,
    /// Device models that will do; empty for any.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub models: BTreeSet<ModelName>,
    /// The least memory that each device must have, in MiB.
    #[serde(default)]
    pub device_memory_mib: u64,
    /// Processors, in thousandths of a core. A whole node gives all it has; this is then the least it must have.
    #[serde(default)]
    pub cpu_milli: u32,
    /// Memory in MiB. A whole node gives all it has; this is then the least it must have.
    #[serde(default)]
    pub memory_mib: u64,
}

/// How much of a node one worker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Devices {
    /// The node with everything on it, shared with nobody.
    WholeNode,
    /// This many devices of one node; zero for work on processors alone.
    Count(u32),
}

impl WorkerRequest {
    /// A whole node, whatever its devices.
    #[must_use]
    pub fn whole_node() -> Self {
        Self::of(Devices::WholeNode)
    }

    /// `count` devices of any model, with no claim on processors and memory.
    #[must_use]
    pub fn devices(count: u32) -> Self {
        Self::of(Devices::Count(count))
    }

    fn of(devices: Devices) -> Self {
        WorkerRequest { devices, models: BTreeSet::new(), device_memory_mib: 0, cpu_milli: 0, memory_mib: 0 }
    }

    /// Whether the device is of a kind that will do; says nothing about health or use.
    #[must_use]
    pub fn accepts(&self, device: &DeviceSpec) -> bool {
        device.memory_mib >= self.device_memory_mib && (self.models.is_empty() || self.models.contains(&device.model))
    }

    /// Whether any device at all will do.
    #[must_use]
    pub fn is_picky(&self) -> bool {
        !self.models.is_empty() || self.device_memory_mib > 0
    }
}
