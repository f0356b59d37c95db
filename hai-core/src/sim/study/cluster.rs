//! The cluster that is simulated: its nodes, who may hold how much, what changes when, and how it fails.

use serde::{Deserialize, Deserializer, Serialize};

use crate::model::{
    Allowance, DeviceId, DeviceSpec, GroupName, ModelName, NodeName, NodeSpec, RightKey, RightRow, Span, Team,
};
use crate::sim::Conduct;

/// A cluster, ready to be played on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// Its nodes.
    pub nodes: Vec<NodeSpec>,
    /// Who may hold how much.
    pub rights: Vec<RightRow>,
    /// Who shares.
    pub teams: Vec<Team>,
    /// What changes when, counted from the first submission, by time.
    pub changes: Vec<(Span, Change)>,
    /// How it fails by lot.
    pub faults: Faults,
    /// How long starting, leaving and loading take.
    pub conduct: Conduct,
}

/// Something that an operator or the hardware does to the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The node is lost with all that runs on it.
    NodeDown(NodeName),
    /// The node is there again.
    NodeUp(NodeName),
    /// The node takes no new work, and what runs there saves itself and leaves.
    Drain(NodeName),
    /// It takes work again.
    Undrain(NodeName),
    /// A device of a node, counted from 0, breaks.
    DeviceDown(NodeName, usize),
    /// It is well again.
    DeviceUp(NodeName, usize),
    /// A right is given or changed.
    Right(RightRow),
}

/// How nodes and devices fail by lot: after times drawn from exponential distributions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// The mean time from when a node is well to when it is lost. `None`: never.
    #[serde(deserialize_with = "span_if_any")]
    pub node_every: Option<Span>,
    /// The mean time until a lost node is back.
    #[serde(deserialize_with = "span")]
    pub node_repair: Span,
    /// The same for each device.
    #[serde(deserialize_with = "span_if_any")]
    pub device_every: Option<Span>,
    /// The mean time until a broken device is replaced.
    #[serde(deserialize_with = "span")]
    pub device_repair: Span,
}

impl Faults {
    /// Whether anything fails by lot.
    #[must_use]
    pub fn any(&self) -> bool {
        self.node_every.is_some() || self.device_every.is_some()
    }
}

/// What is wrong with a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ClusterError {
    /// Which part of it, e.g. `[[node]] 2`.
    pub place: String,
    /// What is wrong.
    pub problem: String,
}

/// A length of time in words, e.g. `"4h"`.
pub(super) fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

pub(super) fn span_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Span>, D::Error> {
    span(deserializer).map(Some)
}

pub(super) fn wrong(place: impl Into<String>, problem: impl ToString) -> ClusterError {
    ClusterError { place: place.into(), problem: problem.to_string() }
}

/// So many devices of one model, with ids made from the node's name.
pub(super) fn devices(
    node: &NodeName,
    count: u32,
    model: &ModelName,
    memory_mib: u64,
) -> Result<Vec<DeviceSpec>, crate::model::NameError> {
    (0..count)
        .map(|index| Ok(DeviceSpec::new(DeviceId::new(format!("{node}/{index}"))?, model.clone(), memory_mib)))
        .collect()
}

impl Cluster {
    /// Gives everybody all where nothing is said of rights, puts changes in their order, and checks that names hang together.
    ///
    /// # Errors
    /// Two nodes of one name, or a change of a node or device that is not there.
    pub fn finish(mut self) -> Result<Self, ClusterError> {
        if self.rights.is_empty() {
            self.rights.push(RightRow::new(RightKey::default(), Allowance::UNLIMITED));
        }
        let mut devices = std::collections::BTreeMap::new();
        for node in &self.nodes {
            if devices.insert(node.name.clone(), node.devices.len()).is_some() {
                return Err(wrong(format!("node {}", node.name), "there are two of this name"));
            }
        }
        self.changes.sort_by_key(|(at, _)| *at);
        for (at, change) in &self.changes {
            let (node, device) = match change {
                Change::NodeDown(node) | Change::NodeUp(node) | Change::Drain(node) | Change::Undrain(node) => {
                    (node, None)
                }
                Change::DeviceDown(node, device) | Change::DeviceUp(node, device) => (node, Some(*device)),
                Change::Right(_) => continue,
            };
            let place = format!("the change at {at}");
            match (devices.get(node), device) {
                (None, _) => return Err(wrong(place, format!("there is no node {node}"))),
                (Some(&count), Some(device)) if device >= count => {
                    return Err(wrong(place, format!("node {node} has {count} devices, counted from 0")));
                }
                _ => {}
            }
        }
        Ok(self)
    }

    /// Puts all nodes into this group.
    pub fn one_group(&mut self, group: &GroupName) {
        for node in &mut self.nodes {
            node.group = group.clone();
        }
    }

    /// How many devices there are.
    #[must_use]
    pub fn devices(&self) -> usize {
        self.nodes.iter().map(|node| node.devices.len()).sum()
    }

    /// The same with so many times the nodes of each group: the first is repeated under names of its own.
    ///
    /// # Errors
    /// A name becomes too long.
    pub fn times(mut self, factor: u32) -> Result<Self, ClusterError> {
        let nodes = self.nodes.clone();
        for copy in 1..factor {
            for node in &nodes {
                let mut node = node.clone();
                let bad = |error| wrong("a copy of a node", error);
                node.name = NodeName::new(format!("{}.{copy}", node.name)).map_err(bad)?;
                for device in &mut node.devices {
                    device.id = DeviceId::new(format!("{}.{copy}", device.id)).map_err(bad)?;
                }
                self.nodes.push(node);
            }
        }
        self.finish()
    }
}
