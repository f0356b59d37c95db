//! Which nodes would take a worker of a task, and for what the others are refused.

mod look;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

pub(super) use look::look;

use super::who::{Other, count, list};
use crate::model::{GroupName, MigProfile, ModelName, NodeName, Time, UserName};

/// The nodes of a task's group, by what they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodesLink {
    /// The group.
    pub group: GroupName,
    /// The fewest workers that are worth a start.
    pub workers: u32,
    /// How many workers fit now, each node on its own.
    pub workers_now: u32,
    /// How many would once those that are leaving have left.
    pub workers_later: u32,
    /// How many would if all nodes were ready and empty, and their devices well.
    pub workers_ever: u32,
    /// Whether all of it fits now.
    pub fits_now: bool,
    /// Whether all of it fits once those that are leaving have left.
    pub fits_later: bool,
    /// What all workers must share, if that is what keeps them from fitting.
    pub together: Option<Together>,
    /// By devices, processors and memory; those with the most nodes first.
    pub classes: Vec<NodeClass>,
    /// Nodes where it failed, which it gets only if there are no others that will do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_on: Vec<NodeName>,
}

/// Nodes that are alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeClass {
    /// What devices each has.
    pub devices: Vec<DeviceClass>,
    /// Processors of each, in thousandths of a core.
    pub cpu_milli: u32,
    /// Memory of each in MiB.
    pub memory_mib: u64,
    /// How many there are.
    pub nodes: u32,
    /// How many of them would take a worker now.
    pub nodes_now: u32,
    /// How many workers fit on one of them if it is empty and well.
    pub workers_ever_each: u32,
    /// For what the others are refused, the most nodes first. Of several reasons the most lasting counts.
    pub refused: Vec<Refused>,
}

/// Devices of one kind on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceClass {
    /// The model.
    pub model: ModelName,
    /// Memory of each in MiB.
    pub memory_mib: u64,
    /// The profile, if they are slices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mig_profile: Option<MigProfile>,
    /// How many there are.
    pub count: u32,
}

/// Nodes that are refused for one reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// Why.
    pub why: NodeRefusal,
    /// How many nodes.
    pub nodes: u32,
    /// The first few.
    pub first: Vec<NodeName>,
}

/// Why a node does not take a worker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
#[non_exhaustive]
pub enum NodeRefusal {
    /// It was removed, and somebody is still on it.
    Gone,
    /// It is not ready.
    NotReady,
    /// An operator takes no new work on it.
    Cordoned,
    /// An operator empties it.
    Draining,
    /// It refused a start, and gets no other before then.
    CoolingDown {
        /// Until when.
        until: Time,
    },
    /// It carries a taint that the task does not tolerate.
    Taint {
        /// Which.
        taint: String,
    },
    /// It does not carry a label that the task asks for.
    Label {
        /// The label.
        label: String,
        /// The value asked for.
        value: String,
    },
    /// It is in none of the zones that the task asks for.
    Zone,
    /// It has no devices at all.
    NoDevices,
    /// Its devices are of a model that the task forbids.
    ModelForbidden,
    /// Its devices are of no model that the task asks for.
    ModelNotAsked,
    /// Its devices have too little memory.
    DeviceMemory {
        /// The most that one has, in MiB.
        most_mib: u64,
    },
    /// Its devices are not slices of the profile asked for, or are slices and none were asked for.
    MigProfile,
    /// Its devices can compute too little.
    ComputeCapability,
    /// The right leaves out its models.
    ModelBeyondRight,
    /// It has too few devices of kinds that would do.
    TooFewDevices {
        /// How many it has.
        has: u32,
    },
    /// It has too few cores.
    TooFewCores {
        /// Thousandths of a core that it has.
        has_milli: u32,
    },
    /// It has too little memory.
    TooLittleMemory {
        /// MiB that it has.
        has_mib: u64,
    },
    /// Too many of its devices are broken, under test, or used by strangers.
    DevicesUnwell {
        /// How many are well.
        well: u32,
    },
    /// It is kept for a task that waited long.
    KeptFor {
        /// That task.
        task: Other,
    },
    /// The whole node is wanted, and somebody is on it.
    Occupied,
    /// Somebody has the whole node.
    TakenWhole,
    /// Too few of its devices are free.
    DevicesInUse {
        /// How many are.
        free: u32,
    },
    /// No device has so large a part left.
    PartsInUse,
    /// Too few of its cores are free.
    CoresInUse {
        /// Thousandths of a core that are.
        free_milli: u32,
    },
    /// Too little of its memory is free.
    MemoryInUse {
        /// MiB that are.
        free_mib: u64,
    },
    /// There is room once those that are leaving have left.
    BeingLeft,
}

/// What the workers of a gang must share, or keep within.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Together {
    /// One leaf switch.
    OneLeaf,
    /// One zone, as the task asks.
    OneZone,
    /// One zone, since enough tasks reach across zones already.
    NoMoreAcrossZones,
    /// One model of device.
    OneModel,
    /// No more workers than the right allows.
    Right,
}

impl NodesLink {
    pub(super) fn hide_others(&mut self, from: &UserName) {
        for refused in self.classes.iter_mut().flat_map(|class| &mut class.refused) {
            if let NodeRefusal::KeptFor { task } = &mut refused.why {
                task.hide_from(from);
            }
        }
    }

    /// Whether the group, even if all its nodes were ready and empty, has too few for it; what its workers must share left aside.
    #[must_use]
    pub fn could_never_hold_it(&self) -> bool {
        self.workers_ever < self.workers
    }

    /// All nodes of the group.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        self.classes.iter().map(|class| class.nodes).sum()
    }

    /// How many nodes are refused for each reason that `of` makes of them, over all classes.
    pub fn count_refused(&self, of: impl Fn(&NodeRefusal) -> bool) -> u32 {
        let all = self.classes.iter().flat_map(|class| &class.refused);
        all.filter(|refused| of(&refused.why)).map(|refused| refused.nodes).sum()
    }

    /// Nodes that are refused for what will not change while they stand: their make, their site.
    #[must_use]
    pub fn unsuitable(&self) -> u32 {
        self.count_refused(NodeRefusal::is_for_good)
    }
}

impl NodeRefusal {
    /// Whether the node will never do for the task as both are.
    #[must_use]
    pub fn is_for_good(&self) -> bool {
        use NodeRefusal::*;
        matches!(
            self,
            Gone | Taint { .. }
                | Label { .. }
                | Zone
                | NoDevices
                | ModelForbidden
                | ModelNotAsked
                | DeviceMemory { .. }
                | MigProfile
                | ComputeCapability
                | TooFewDevices { .. }
                | TooFewCores { .. }
                | TooLittleMemory { .. }
        )
    }

    /// Whether work of others is in the way.
    #[must_use]
    pub fn is_use(&self) -> bool {
        use NodeRefusal::*;
        matches!(
            self,
            Occupied
                | TakenWhole
                | DevicesInUse { .. }
                | PartsInUse
                | CoresInUse { .. }
                | MemoryInUse { .. }
                | BeingLeft
        )
    }
}

/// `1 core`, `2.5 cores`.
pub(crate) fn cores(milli: u32) -> String {
    super::right::amount(crate::model::Amount::from_milli(milli.into()), "core")
}

/// `24 GiB`, `500 MiB`.
pub(crate) fn memory(mib: u64) -> String {
    if mib > 0 && mib.is_multiple_of(1024) { format!("{} GiB", mib / 1024) } else { format!("{mib} MiB") }
}

/// What holds of one such node.
impl fmt::Display for NodeRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeRefusal::Gone => f.write_str("removed from the cluster, and not empty yet"),
            NodeRefusal::NotReady => f.write_str("not ready"),
            NodeRefusal::Cordoned => f.write_str("cordoned by an operator"),
            NodeRefusal::Draining => f.write_str("being drained by an operator"),
            NodeRefusal::CoolingDown { until } => write!(f, "refused a start, left alone until {until}"),
            NodeRefusal::Taint { taint } => write!(f, "tainted `{taint}`, which the task does not tolerate"),
            NodeRefusal::Label { label, value } => {
                write!(f, "without the label `{label}={value}` that the task asks for")
            }
            NodeRefusal::Zone => f.write_str("in none of the zones that the task asks for"),
            NodeRefusal::NoDevices => f.write_str("without GPUs"),
            NodeRefusal::ModelForbidden => f.write_str("GPUs of a model that the task forbids"),
            NodeRefusal::ModelNotAsked => f.write_str("GPUs of no model that the task asks for"),
            NodeRefusal::DeviceMemory { most_mib } => write!(f, "GPUs with only {}", memory(*most_mib)),
            NodeRefusal::MigProfile => f.write_str("GPUs sliced in another way than the task asks for"),
            NodeRefusal::ComputeCapability => f.write_str("GPUs with too low a compute capability"),
            NodeRefusal::ModelBeyondRight => f.write_str("GPUs of a model of which the right leaves no more"),
            NodeRefusal::TooFewDevices { has } => write!(f, "no more than {} that would do", count(*has, "GPU")),
            NodeRefusal::TooFewCores { has_milli } => write!(f, "only {}", cores(*has_milli)),
            NodeRefusal::TooLittleMemory { has_mib } => write!(f, "only {} of memory", memory(*has_mib)),
            NodeRefusal::DevicesUnwell { well } => {
                write!(f, "GPUs broken, under test or used by strangers ({well} well)")
            }
            NodeRefusal::KeptFor { task } => write!(f, "kept for {task}, which has waited long"),
            NodeRefusal::Occupied => f.write_str("somebody is on it, and the whole node is needed"),
            NodeRefusal::TakenWhole => f.write_str("in use as a whole"),
            NodeRefusal::DevicesInUse { free } => write!(f, "GPUs in use ({free} free)"),
            NodeRefusal::PartsInUse => f.write_str("no GPU with so much left"),
            NodeRefusal::CoresInUse { free_milli } => write!(f, "cores in use ({} free)", cores(*free_milli)),
            NodeRefusal::MemoryInUse { free_mib } => write!(f, "memory in use ({} free)", memory(*free_mib)),
            NodeRefusal::BeingLeft => f.write_str("about to be free"),
        }
    }
}

impl fmt::Display for Together {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Together::OneLeaf => "all workers must be under one leaf switch, and no leaf has room for all",
            Together::OneZone => "all workers must be in one zone, and no zone has room for all",
            Together::NoMoreAcrossZones => "as many tasks as may reach across zones do, and no zone has room for all",
            Together::OneModel => "all GPUs must be of one model, and of none there are enough",
            Together::Right => "the right is not enough for all workers at once",
        })
    }
}

/// `8 GPUs A100 (80 GiB), 118 cores, 489 GiB`.
impl fmt::Display for NodeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: BTreeSet<String> = self
            .devices
            .iter()
            .map(|kind| {
                let slice = kind.mig_profile.as_ref().map(|profile| format!(" {profile}")).unwrap_or_default();
                format!("{} {}{slice} ({})", kind.count, kind.model, memory(kind.memory_mib))
            })
            .collect();
        let kinds: Vec<String> = kinds.into_iter().collect();
        let devices = if kinds.is_empty() { "no GPUs".to_owned() } else { list(&kinds) };
        write!(
            f,
            "{}{} {devices}, {}, {}",
            count(self.nodes, "node"),
            if self.nodes == 1 { " with" } else { ", each with" },
            cores(self.cpu_milli),
            memory(self.memory_mib)
        )
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.first.iter().map(ToString::to_string).collect();
        let more = self.nodes as usize - names.len();
        let more = if more > 0 { format!(", {more} more") } else { String::new() };
        write!(f, "{}: {} ({}{more})", count(self.nodes, "node"), self.why, names.join(", "))
    }
}

/// One sentence for people.
impl fmt::Display for NodesLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.nodes();
        if nodes == 0 {
            return write!(f, "group {} has no nodes", self.group);
        }
        let would: u32 = self.classes.iter().map(|class| class.nodes_now).sum();
        let verb = if would == 1 { "has" } else { "have" };
        write!(f, "{would} of {} of group {} {verb} room for it now", count(nodes, "node"), self.group)?;
        if self.workers > 1 {
            write!(f, ", for {} of the {} workers that it needs", self.workers_now.min(self.workers), self.workers)?;
        }
        if let Some(together) = &self.together {
            write!(f, "; {together}")?;
        }
        Ok(())
    }
}
