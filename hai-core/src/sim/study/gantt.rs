//! Who was on which devices when, for some nodes and a bounded number of runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{DeviceId, NodeName, Placement, Time};

use super::Cluster;

/// What may be shown at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GanttLimits {
    /// Nodes.
    pub nodes: usize,
    /// Bars: parts of runs on one node.
    pub bars: usize,
}

impl Default for GanttLimits {
    fn default() -> Self {
        GanttLimits { nodes: 24, bars: 2500 }
    }
}

/// Who was where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gantt {
    /// The nodes that are shown, with how many devices each has.
    pub nodes: Vec<(NodeName, u32)>,
    /// Of so many nodes.
    pub nodes_in_all: usize,
    /// When it begins.
    pub from: Time,
    /// When it ends: the end of all, or when there were too many bars.
    pub until: Time,
    /// Whether there were too many.
    pub cut: bool,
    /// In the order in which they began.
    pub bars: Vec<Bar>,
}

/// A run, or a part of one, on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bar {
    /// The node, by its place in the list.
    pub node: usize,
    /// Its devices, by their place on the node; empty for work on processors alone.
    pub devices: Vec<u8>,
    /// From the decision to start.
    pub from: Time,
    /// Until it had left.
    pub until: Time,
    /// The task's number.
    pub task: u64,
    /// The task's name in the trace.
    pub name: String,
    /// Its user.
    pub user: String,
    /// Why it began then.
    pub began: String,
    /// Why it ended.
    pub ended: String,
}

/// Draws it.
#[derive(Clone, Debug)]
pub(super) struct Drawer {
    gantt: Gantt,
    limits: GanttLimits,
    nodes: BTreeMap<NodeName, usize>,
    devices: BTreeMap<DeviceId, u8>,
}

impl Drawer {
    /// Some nodes of every group, as far as there is room.
    pub(super) fn new(cluster: &Cluster, from: Time, limits: GanttLimits) -> Self {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, node) in cluster.nodes.iter().enumerate() {
            if !node.devices.is_empty() {
                groups.entry(node.group.as_str()).or_default().push(at);
            }
        }
        let most = groups.values().map(Vec::len).max().unwrap_or(0);
        let mut chosen: Vec<usize> = (0..most)
            .flat_map(|nth| groups.values().filter_map(move |list| list.get(nth).copied()))
            .take(limits.nodes)
            .collect();
        chosen.sort_unstable();
        let mut drawer = Drawer {
            gantt: Gantt { from, until: from, nodes_in_all: cluster.nodes.len(), ..Gantt::default() },
            limits,
            nodes: BTreeMap::new(),
            devices: BTreeMap::new(),
        };
        for (shown, &at) in chosen.iter().enumerate() {
            let node = &cluster.nodes[at];
            drawer.nodes.insert(node.name.clone(), shown);
            let ids = node.devices.iter().zip(0_u8..).map(|(device, place)| (device.id.clone(), place));
            drawer.devices.extend(ids);
            drawer.gantt.nodes.push((node.name.clone(), u32::try_from(node.devices.len()).unwrap_or(u32::MAX)));
        }
        drawer
    }

    /// Whether a run that begins now can still be shown.
    pub(super) fn wants(&self, at: Time) -> bool {
        at >= self.gantt.from && !self.gantt.cut
    }

    /// Whether nothing more can be shown.
    pub(super) fn is_full(&self) -> bool {
        self.gantt.cut
    }

    /// A run begins; where its bars are.
    pub(super) fn began(&mut self, at: Time, placement: &Placement, task: u64, why: &str) -> Vec<usize> {
        let mut bars: Vec<usize> = Vec::new();
        for worker in &placement.workers {
            let Some(&node) = self.nodes.get(&worker.node) else { continue };
            let devices: Vec<u8> = worker.devices.iter().filter_map(|id| self.devices.get(id).copied()).collect();
            // Several workers on one node are one bar.
            let there = bars.iter().copied().find(|&bar| self.gantt.bars[bar].node == node);
            if let Some(bar) = there {
                self.gantt.bars[bar].devices.extend(devices);
                continue;
            }
            if self.gantt.bars.len() >= self.limits.bars {
                self.gantt.cut = true;
                self.gantt.until = at;
                break;
            }
            bars.push(self.gantt.bars.len());
            self.gantt.bars.push(Bar {
                node,
                devices,
                from: at,
                until: Time::MAX,
                task,
                name: String::new(),
                user: String::new(),
                began: why.to_owned(),
                ended: String::new(),
            });
        }
        bars
    }

    pub(super) fn ended(&mut self, at: Time, bars: &[usize], why: &str) {
        for &bar in bars {
            self.gantt.bars[bar].until = at;
            self.gantt.bars[bar].ended = why.to_owned();
        }
    }

    /// What was drawn until `now`; `named` tells a task's name and user.
    pub(super) fn finish(mut self, now: Time, named: impl Fn(u64) -> (String, String)) -> Gantt {
        if !self.gantt.cut {
            self.gantt.until = now;
        }
        let until = self.gantt.until;
        for bar in &mut self.gantt.bars {
            if bar.until == Time::MAX {
                bar.ended = "still running".into();
            }
            bar.until = bar.until.min(until).max(bar.from);
            bar.devices.sort_unstable();
            (bar.name, bar.user) = named(bar.task);
        }
        self.gantt
    }
}
