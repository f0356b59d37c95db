//! Rights: how much a user may hold in a group at a priority, and what teams share.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Amount, Devices, GroupName, ModelName, Priority, TaskSpec, TeamName, Time, UserName};

/// Whom a right is for. `None` stands for "every one", and applies to each of them on its own.
///
/// Of the rows that match, the most specific wins: one that names the user before one that names a team before one
/// that names neither, then the group, then the priority. Of several teams' rows that are equally specific the
/// greatest wins. Rows for a model and caps bound what those rows give; the least of them counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RightKey {
    /// The user, or every user.
    pub user: Option<UserName>,
    /// Each member of this team. Not together with a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<TeamName>,
    /// The group of nodes, or every group.
    pub group: Option<GroupName>,
    /// The priority, or every fixed level.
    pub priority: Option<Priority>,
    /// Only what is held of this model; such a row gives nothing, it bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// It gives nothing, it bounds what other rows give.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cap: bool,
}

/// One row of rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RightRow {
    /// Whom it is for.
    #[serde(flatten)]
    pub key: RightKey,
    /// How much they may hold at once.
    #[serde(flatten)]
    pub allowance: Allowance,
    /// From then on it counts no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
}

/// How much may be held at once: whole-node work counts in nodes, all other work in devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Allowance {
    /// Nodes, for work that takes whole nodes.
    #[serde(default)]
    pub nodes: Limit,
    /// Devices, for work that takes single devices or parts of them, each counted by the weight of its model.
    #[serde(default)]
    pub devices: Limit,
}

/// An upper bound; the default is nothing at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// At most this much at once.
    AtMost(Amount),
    /// As much as there is.
    Unlimited,
}

/// What a run uses of a right; it depends on the devices it got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Charge {
    /// Whole nodes.
    pub nodes: Amount,
    /// Devices on shared nodes, each counted by the weight of its model.
    pub devices: Amount,
}

/// Users who share rights, maybe as a part of a larger team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Team {
    /// Its name.
    pub name: TeamName,
    /// The team that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TeamName>,
    /// Its users; those of its parts are not listed here.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub members: BTreeSet<UserName>,
    /// What its members and its parts may hold together, by group. In a group that is not listed nothing is bounded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<Pool>,
}

/// What a team may hold together in one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// The group of nodes.
    pub group: GroupName,
    /// What is its own.
    pub own: Allowance,
    /// How much more it may use of what the other parts of its parent leave unused. Such work is borrowed: it yields to
    /// all that is not.
    #[serde(default = "Allowance::unlimited")]
    pub borrow: Allowance,
    /// How much of its own that it leaves unused others may use.
    #[serde(default = "Allowance::unlimited")]
    pub lend: Allowance,
}

impl RightRow {
    /// A right that does not expire.
    #[must_use]
    pub const fn new(key: RightKey, allowance: Allowance) -> Self {
        RightRow { key, allowance, expires: None }
    }
}

impl Default for Limit {
    fn default() -> Self {
        Limit::AtMost(Amount::ZERO)
    }
}

impl Limit {
    /// At most `count` whole ones.
    #[must_use]
    pub const fn at_most(count: u32) -> Self {
        Limit::AtMost(Amount::whole(count))
    }

    /// Whether `amount` stays within.
    #[must_use]
    pub fn allows(self, amount: Amount) -> bool {
        match self {
            Limit::AtMost(most) => amount <= most,
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
    pub const NOTHING: Allowance = Allowance { nodes: Limit::at_most(0), devices: Limit::at_most(0) };
    /// All that there is.
    pub const UNLIMITED: Allowance = Allowance { nodes: Limit::Unlimited, devices: Limit::Unlimited };

    const fn unlimited() -> Self {
        Self::UNLIMITED
    }

    /// At most `nodes` whole nodes, and no single devices.
    #[must_use]
    pub const fn nodes(nodes: u32) -> Self {
        Allowance { nodes: Limit::at_most(nodes), devices: Limit::at_most(0) }
    }

    /// At most `devices` devices, and no whole nodes.
    #[must_use]
    pub const fn devices(devices: u32) -> Self {
        Allowance { nodes: Limit::at_most(0), devices: Limit::at_most(devices) }
    }

    /// The greater of both, part by part.
    #[must_use]
    pub fn max(self, other: Allowance) -> Self {
        Allowance { nodes: self.nodes.max(other.nodes), devices: self.devices.max(other.devices) }
    }

    /// The lesser of both, part by part.
    #[must_use]
    pub fn min(self, other: Allowance) -> Self {
        Allowance { nodes: self.nodes.min(other.nodes), devices: self.devices.min(other.devices) }
    }

    /// Whether a charge stays within.
    #[must_use]
    pub fn covers(self, charge: Charge) -> bool {
        self.nodes.allows(charge.nodes) && self.devices.allows(charge.devices)
    }
}

impl Charge {
    /// Nothing.
    pub const NOTHING: Charge = Charge { nodes: Amount::ZERO, devices: Amount::ZERO };

    /// What all workers of a task use at the least, every device counting in full.
    #[must_use]
    pub fn of(spec: &TaskSpec) -> Self {
        Self::of_worker(spec.request.devices).times(u64::from(spec.workers_min()))
    }

    /// What one worker uses, every device counting in full. What a claim on memory uses depends on the device.
    #[must_use]
    pub fn of_worker(devices: Devices) -> Self {
        match devices {
            Devices::WholeNode => Charge { nodes: Amount::whole(1), devices: Amount::ZERO },
            Devices::Count(count) => Charge { nodes: Amount::ZERO, devices: Amount::whole(count) },
            Devices::Share(milli) => Charge { nodes: Amount::ZERO, devices: Amount::from_milli(u64::from(milli)) },
            Devices::Memory(_) => Charge { nodes: Amount::ZERO, devices: Amount::from_milli(1) },
        }
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        self == Self::NOTHING
    }

    /// What is left if `other` is taken away; of nothing, nothing can be taken.
    #[must_use]
    pub fn minus(self, other: Charge) -> Self {
        Charge { nodes: self.nodes.minus(other.nodes), devices: self.devices.minus(other.devices) }
    }

    /// `count` times as much.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Charge { nodes: self.nodes.times(count), devices: self.devices.times(count) }
    }
}

impl std::ops::Add for Charge {
    type Output = Charge;
    fn add(self, other: Charge) -> Charge {
        Charge { nodes: self.nodes + other.nodes, devices: self.devices + other.devices }
    }
}

impl std::ops::AddAssign for Charge {
    fn add_assign(&mut self, other: Charge) {
        *self = *self + other;
    }
}

impl std::iter::Sum for Charge {
    fn sum<I: Iterator<Item = Charge>>(charges: I) -> Charge {
        charges.fold(Charge::NOTHING, std::ops::Add::add)
    }
}

impl std::fmt::Display for Charge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let one = |amount: Amount, unit: &str| match amount {
            amount if amount == Amount::whole(1) => format!("1 {unit}"),
            amount => format!("{amount} {unit}s"),
        };
        match (self.nodes.is_zero(), self.devices.is_zero()) {
            (true, true) => f.write_str("no devices"),
            (true, false) => f.write_str(&one(self.devices, "device")),
            (false, true) => f.write_str(&one(self.nodes, "node")),
            (false, false) => write!(f, "{} and {}", one(self.nodes, "node"), one(self.devices, "device")),
        }
    }
}
