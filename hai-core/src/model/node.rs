//! Nodes and their devices, as a cluster reports them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{ComputeCapability, DeviceId, GroupName, MigProfile, ModelName, NodeName, PlaceName};

/// The most devices one node may have.
pub const DEVICES_PER_NODE_MAX: usize = 64;

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// The cluster says that it takes no new work; what runs there stays.
    #[serde(default)]
    pub cordoned: bool,
    /// An operator says that it takes no new work, whatever the cluster says; what runs there stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// An operator says that it takes no new work, and what runs there saves itself and leaves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
    /// Only tasks that tolerate every one of these may start here.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub taints: BTreeSet<String>,
    /// What is known of it besides, for tasks that ask for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where it is in the network.
    #[serde(default, skip_serializing_if = "Location::is_unknown")]
    pub location: Location,
    /// How its devices are joined; pairs that are not listed only meet over the whole machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<DeviceLink>,
}

/// What an operator wants a node to be there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// It takes work, as far as the operator is concerned.
    #[default]
    Open,
    /// It takes no new work; what runs there stays.
    Cordoned,
    /// It takes no new work, and what runs there saves itself and leaves.
    Drained,
}

/// Where a node is in the network, from the narrowest to the widest. Nodes whose part is unknown are near to nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Location {
    /// The switch it is plugged into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf: Option<PlaceName>,
    /// The switch above that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spine: Option<PlaceName>,
    /// The room, or whatever else shares one network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<PlaceName>,
}

/// Two devices of one node that are joined more closely than over the whole machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DeviceLink {
    /// One device, by its place in the node's list.
    pub a: u8,
    /// The other.
    pub b: u8,
    /// What joins them.
    pub kind: LinkKind,
}

/// What joins two devices of a node, the closest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// NVLink.
    NvLink,
    /// One PCIe switch.
    PcieSwitch,
    /// One PCIe host bridge.
    HostBridge,
    /// One NUMA node.
    Numa,
}

/// One GPU, or a slice of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DeviceSpec {
    /// Its UUID.
    pub id: DeviceId,
    /// What it is, e.g. `RTX 3070`.
    pub model: ModelName,
    /// Its memory in MiB.
    pub memory_mib: u64,
    /// What it can compute, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_capability: Option<ComputeCapability>,
    /// The profile of the slice, if it is one; only tasks that ask for this profile get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mig_profile: Option<MigProfile>,
    /// Whether it may be given out.
    #[serde(default)]
    pub health: DeviceHealth,
}

/// Whether a device may be given to new work. A device that misbehaves goes from suspect over draining to probing, and
/// from there back to healthy, or to sick.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DeviceHealth {
    /// It is well and ours.
    #[default]
    Healthy,
    /// Something is odd about it. It gets no new work; what runs there stays.
    Suspect {
        /// What was seen.
        reason: String,
    },
    /// It gets no new work, and what runs there saves itself and leaves.
    Draining {
        /// Why.
        reason: String,
    },
    /// Nobody is on it, and it is being tested; a good result makes it healthy again.
    Probing,
    /// It is broken. What runs there leaves.
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
    /// A link names a device that is not, or joins one to itself.
    #[error("node {node} links device {a} to {b}, but has devices 0 to {last}", last = count.saturating_sub(1))]
    BadLink {
        /// The node.
        node: NodeName,
        /// One end.
        a: u8,
        /// The other.
        b: u8,
        /// How many devices the node has.
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
    /// A ready node with nothing on it and nothing known about it.
    #[must_use]
    pub fn new(name: NodeName, group: GroupName, cpu_milli: u32, memory_mib: u64) -> Self {
        NodeSpec {
            name,
            group,
            cpu_milli,
            memory_mib,
            devices: Vec::new(),
            ready: true,
            cordoned: false,
            closed: false,
            draining: false,
            taints: BTreeSet::new(),
            labels: BTreeMap::new(),
            location: Location::default(),
            links: Vec::new(),
        }
    }

    /// Whether new work may be placed on it at all, as far as its own state says: it is ready, and an operator neither
    /// cordoned nor drains it.
    #[must_use]
    pub fn takes_new_work(&self) -> bool {
        self.ready && !self.is_cordoned() && !self.draining
    }

    /// Whether the cluster or an operator keeps new work from it while what runs there stays.
    #[must_use]
    pub fn is_cordoned(&self) -> bool {
        self.cordoned || self.closed
    }

    /// What an operator said that it is there for.
    #[must_use]
    pub fn duty(&self) -> Duty {
        match (self.closed, self.draining) {
            (_, true) => Duty::Drained,
            (true, false) => Duty::Cordoned,
            (false, false) => Duty::Open,
        }
    }

    /// The same node, there for something else.
    #[must_use]
    pub fn with_duty(self, duty: Duty) -> Self {
        NodeSpec { closed: duty == Duty::Cordoned, draining: duty == Duty::Drained, ..self }
    }

    /// Checks what types can not say.
    ///
    /// # Errors
    /// [`NodeError`] for more than [`DEVICES_PER_NODE_MAX`] devices, an id that stands there twice, or a link between
    /// devices that are not.
    pub fn check(&self) -> Result<(), NodeError> {
        if self.devices.len() > DEVICES_PER_NODE_MAX {
            return Err(NodeError::TooManyDevices { node: self.name.clone(), count: self.devices.len() });
        }
        let bad = |link: &&DeviceLink| link.a == link.b || usize::from(link.a.max(link.b)) >= self.devices.len();
        if let Some(&DeviceLink { a, b, .. }) = self.links.iter().find(bad) {
            return Err(NodeError::BadLink { node: self.name.clone(), a, b, count: self.devices.len() });
        }
        let mut seen = BTreeSet::new();
        match self.devices.iter().find(|device| !seen.insert(&device.id)) {
            Some(twice) => Err(NodeError::DuplicateDevice { node: self.name.clone(), device: twice.id.clone() }),
            None => Ok(()),
        }
    }
}

impl DeviceSpec {
    /// A healthy device that is not sliced.
    #[must_use]
    pub fn new(id: DeviceId, model: ModelName, memory_mib: u64) -> Self {
        DeviceSpec { id, model, memory_mib, compute_capability: None, mig_profile: None, health: DeviceHealth::Healthy }
    }
}

impl Location {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        *self == Location::default()
    }
}

impl DeviceHealth {
    /// Whether new work may have the device.
    #[must_use]
    pub const fn is_healthy(&self) -> bool {
        matches!(self, DeviceHealth::Healthy)
    }

    /// Whether what runs there has to leave.
    #[must_use]
    pub const fn must_be_left(&self) -> bool {
        matches!(self, DeviceHealth::Draining { .. } | DeviceHealth::Probing | DeviceHealth::Sick { .. })
    }
}
