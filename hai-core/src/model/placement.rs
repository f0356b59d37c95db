//! Where the workers of a run are.

use serde::{Deserialize, Serialize};

use super::{DeviceId, NodeName};

/// What every worker of a run gets, by rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Placement {
    /// Worker `i` is rank `i`.
    pub workers: Vec<WorkerPlacement>,
}

/// What one worker gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerPlacement {
    /// The node it runs on.
    pub node: NodeName,
    /// The node is its alone.
    #[serde(default)]
    pub whole_node: bool,
    /// The devices that are its alone, in the node's order.
    pub devices: Vec<DeviceId>,
    /// Its processors, in thousandths of a core.
    pub cpu_milli: u32,
    /// Its memory in MiB.
    pub memory_mib: u64,
}
