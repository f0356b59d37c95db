//! Rights: how much a user may hold in a group at a priority.

use serde::{Deserialize, Serialize};

use super::{Devices, GroupName, Priority, TaskSpec, UserName};

/// Whom a right is for. `None` stands for "every one", and applies to each of them on its own.
///
/// Of the rows that match, the most specific wins: one that names the user before one that does not, then the
/// group, then the priority.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RightKey {
    /// The user, or every user.
    #[serde(default)]
    pub user: Option<UserName>,
    /// The group of nodes, or every group.
    #[serde(default)]
    pub group: Option<GroupName>,
    /// The priority, or every fixed level.
    #[serde(default)]
    pub priority: Option<Priority>,
}

/// One row of rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RightRow {
    /// Whom it is for.
    #[serde(flatten)]
    pub key: RightKey,
    /// How much they may hold at once.
    #[serde(flatten)]
    pub allowance: Allowance,
}

/// How much may be held at once: whole-node work counts in nodes, all other work in devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowance {
    /// Nodes, for work that takes whole nodes.
    #[serde(default)]
    pub nodes: Limit,
    /// Devices, for work that takes single devices.
    #[serde(default)]
    pub devices: Limit,
}

/// An upper bound; the default is nothing at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// At most this many at once.
    AtMost(u32),
    /// As many as there are.
    Unlimited,
}

/// What a task uses of a right, the same wherever it is placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// Whole nodes.
    pub nodes: u32,
    /// Devices on shared nodes.
    pub devices: u32,
}

impl Default for Limit {
    fn default() -> Self {
        Limit::AtMost(0)
    }
}

impl Limit {
    /// Whether `amount` stays within.
    #[must_use]
    pub const fn allows(self, amount: u64) -> bool {
        match self {
            Limit::AtMost(most) => amount <= most as u64,
            Limit::Unlimited => true,
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Limit::AtMost(most) => write!(f, "{most}"),
            Limit::Unlimited => f.write_str("unlimited"),
        }
    }
}

impl Allowance {
    /// No right at all.
    pub const NOTHING: Allowance = Allowance { nodes: Limit::AtMost(0), devices: Limit::AtMost(0) };
    /// All that there is.
    pub const UNLIMITED: Allowance = Allowance { nodes: Limit::Unlimited, devices: Limit::Unlimited };

    /// At most `nodes` whole nodes, and no single devices.
    #[must_use]
    pub const fn nodes(nodes: u32) -> Self {
        Allowance { nodes: Limit::AtMost(nodes), devices: Limit::AtMost(0) }
    }

    /// At most `devices` devices, and no whole nodes.
    #[must_use]
    pub const fn devices(devices: u32) -> Self {
        Allowance { nodes: Limit::AtMost(0), devices: Limit::AtMost(devices) }
    }
}

impl Charge {
    /// What all workers of the task use together.
    #[must_use]
    pub fn of(spec: &TaskSpec) -> Self {
        match spec.request.devices {
            Devices::WholeNode => Charge { nodes: spec.workers, devices: 0 },
            Devices::Count(count) => Charge { nodes: 0, devices: count.saturating_mul(spec.workers) },
        }
    }
}

impl std::fmt::Display for Charge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.nodes, self.devices) {
            (0, 0) => f.write_str("no devices"),
            (0, 1) => f.write_str("1 device"),
            (0, devices) => write!(f, "{devices} devices"),
            (1, 0) => f.write_str("1 node"),
            (nodes, 0) => write!(f, "{nodes} nodes"),
            (nodes, devices) => write!(f, "{nodes} nodes and {devices} devices"),
        }
    }
}
