//! Nodes and their devices, as a cluster reports them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{DeviceId, GroupName, ModelName, NodeName};

/// The most devices one node may have.
pub const DEVICES_PER_NODE_MAX: usize = 64;

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// Its name, unique in the cluster.
    pub name: NodeName,
    /// The one group it belongs to.
    pub group: GroupName,
    /// What workers may have of its processors, in thousandths of a core.
    pub cpu_milli: u32,
    /// What workers may have of its memory, in MiB.
    pub memory_mib: u64,
    /// Its devices, in the order of their index.
    #[serde(default)]
    pub devices: Vec<DeviceSpec>,
    /// It answers and is well. Work on a node that is not ready is taken off it.
    pub ready: bool,
    /// It takes no new work; what runs there stays.
    #[serde(default)]
    pub cordoned: bool,
    /// Only tasks that tolerate every one of these may start here.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub taints: BTreeSet<String>,
}

/// One GPU, or a slice of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSpec {
    /// Its UUID.
    pub id: DeviceId,
    /// What it is, e.g. `RTX 3070`.
    pub model: ModelName,
    /// Its memory in MiB.
    pub memory_mib: u64,
    /// Whether it may be given out.
    #[serde(default)]
    pub health: DeviceHealth,
}

/// Whether a device may be given to new work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DeviceHealth {
    /// It is well and ours.
    #[default]
    Healthy,
    /// It is broken.
    Sick {
        /// What the hardware says.
        reason: String,
    },
    /// A process that hai did not start uses it.
    Stranger {
        /// Who uses it, as far as is known.
        process: String,
    },
}

/// Why a node's description can not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// More devices than a node may have.
    #[error("node {node} has {count} devices, at most {DEVICES_PER_NODE_MAX} are supported")]
    TooManyDevices {
        /// The node.
        node: NodeName,
        /// How many it has.
        count: usize,
    },
    /// Two of its devices carry one id.
    #[error("node {node} names device {device} twice")]
    DuplicateDevice {
        /// The node.
        node: NodeName,
        /// The id that stands there twice.
        device: DeviceId,
    },
}

impl NodeSpec {
    /// Checks what types can not say.
    ///
    /// # Errors
    /// [`NodeError`] for more than [`DEVICES_PER_NODE_MAX`] devices or an id that stands there twice.
    pub fn check(&self) -> Result<(), NodeError> {
        if self.devices.len() > DEVICES_PER_NODE_MAX {
            return Err(NodeError::TooManyDevices { node: self.name.clone(), count: self.devices.len() });
        }
        let mut seen = BTreeSet::new();
        match self.devices.iter().find(|device| !seen.insert(&device.id)) {
            Some(twice) => Err(NodeError::DuplicateDevice { node: self.name.clone(), device: twice.id.clone() }),
            None => Ok(()),
        }
    }
}

impl DeviceHealth {
    /// Whether new work may have the device.
    #[must_use]
    pub const fn is_healthy(&self) -> bool {
        matches!(self, DeviceHealth::Healthy)
    }
}
