//! What happens to the cluster while it is played on: the changes of a list, and faults drawn by lot.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use crate::model::{DeviceHealth, Fact, NodeName, NodeSpec, Span, Time};
use crate::sim::{Input, SplitMix64};

use super::cluster::{Change, Cluster, Faults};
use super::draw::exponential;

/// What breaks by lot: a node, or one of its devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    node: usize,
    device: Option<usize>,
}

/// All that happens, by time; with faults it never ends.
#[derive(Debug)]
pub(super) struct Happenings {
    specs: Vec<NodeSpec>,
    by_name: BTreeMap<NodeName, usize>,
    faults: Faults,
    changes: VecDeque<(Time, Change)>,
    /// What breaks or is mended next, with how often that was drawn before.
    draws: BinaryHeap<Reverse<(Time, Part, u64)>>,
    random: SplitMix64,
    /// Nodes are well only if neither the list nor the lot has them down.
    down_by_list: Vec<bool>,
    down_by_lot: Vec<bool>,
}

impl Happenings {
    pub(super) fn new(cluster: &Cluster, start: Time, seed: u64) -> Self {
        let by_name = cluster.nodes.iter().enumerate().map(|(at, node)| (node.name.clone(), at)).collect();
        let changes = cluster.changes.iter().map(|(at, change)| (start + *at, change.clone())).collect();
        let mut happenings = Happenings {
            specs: cluster.nodes.clone(),
            by_name,
            faults: cluster.faults,
            changes,
            draws: BinaryHeap::new(),
            random: SplitMix64::new(seed),
            down_by_list: vec![false; cluster.nodes.len()],
            down_by_lot: vec![false; cluster.nodes.len()],
        };
        for (node, spec) in cluster.nodes.iter().enumerate() {
            if let Some(every) = cluster.faults.node_every {
                happenings.draw(start, Part { node, device: None }, 0, every);
            }
            if let Some(every) = cluster.faults.device_every {
                for device in 0..spec.devices.len() {
                    happenings.draw(start, Part { node, device: Some(device) }, 0, every);
                }
            }
        }
        happenings
    }

    /// Draws when a part breaks or is mended after `now`. Each part has a stream of its own, so that a cluster with one
    /// node more sees the same faults on the others.
    fn draw(&mut self, now: Time, part: Part, before: u64, mean: Span) {
        let stream = (part.node as u64) << 7 | part.device.map_or(0, |device| device as u64 + 1);
        let span = exponential(&mut self.random.split(stream).split(before), mean);
        // What breaks and is mended within one millisecond did not break.
        let at = now + span.max(Span::from_ms(1));
        // What is beyond all time never comes.
        if at < Time::MAX {
            self.draws.push(Reverse((at, part, before)));
        }
    }

    /// When something happens next.
    pub(super) fn peek(&self) -> Option<Time> {
        let change = self.changes.front().map(|(at, _)| *at);
        let draw = self.draws.peek().map(|Reverse((at, ..))| *at);
        [change, draw].into_iter().flatten().min()
    }

    pub(super) fn next(&mut self) -> Option<Input> {
        let at = self.peek()?;
        if let Some((_, change)) = self.changes.pop_front_if(|(when, _)| *when <= at) {
            return Some(Input::Fact { at, fact: self.change(change) });
        }
        let Reverse((at, part, before)) = self.draws.pop()?;
        let breaks = before.is_multiple_of(2);
        let faults = self.faults;
        let mean = match (part.device, breaks) {
            (None, true) => faults.node_repair,
            (None, false) => faults.node_every.unwrap_or(Span::MAX),
            (Some(_), true) => faults.device_repair,
            (Some(_), false) => faults.device_every.unwrap_or(Span::MAX),
        };
        self.draw(at, part, before + 1, mean);
        match part.device {
            None => self.down_by_lot[part.node] = breaks,
            Some(device) => self.set_device(part.node, device, breaks),
        }
        Some(Input::Fact { at, fact: self.describe(part.node) })
    }

    fn set_device(&mut self, node: usize, device: usize, broken: bool) {
        if let Some(device) = self.specs[node].devices.get_mut(device) {
            device.health = if broken { DeviceHealth::Sick { reason: "broken".into() } } else { DeviceHealth::Healthy };
        }
    }

    fn change(&mut self, change: Change) -> Fact {
        let node = match &change {
            Change::Right(right) => return Fact::RightSet { right: right.clone() },
            Change::NodeDown(node)
            | Change::NodeUp(node)
            | Change::Drain(node)
            | Change::Undrain(node)
            | Change::DeviceDown(node, _)
            | Change::DeviceUp(node, _) => self.by_name[node],
        };
        match change {
            Change::NodeDown(_) => self.down_by_list[node] = true,
            Change::NodeUp(_) => self.down_by_list[node] = false,
            Change::Drain(_) => self.specs[node].draining = true,
            Change::Undrain(_) => self.specs[node].draining = false,
            Change::DeviceDown(_, device) => self.set_device(node, device, true),
            Change::DeviceUp(_, device) => self.set_device(node, device, false),
            Change::Right(_) => {}
        }
        self.describe(node)
    }

    fn describe(&self, node: usize) -> Fact {
        let mut spec = self.specs[node].clone();
        spec.ready = !self.down_by_list[node] && !self.down_by_lot[node];
        Fact::NodeSet { node: spec }
    }
}
