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
    /// Nodes, and their devices, are well only if neither the list nor the lot has them down.
    by_list: Vec<Down>,
    by_lot: Vec<Down>,
}

/// What is down of a node.
#[derive(Clone, Copy, Debug, Default)]
struct Down {
    node: bool,
    /// As bits.
    devices: u64,
}

impl Down {
    fn set(&mut self, device: usize, down: bool) {
        let bit = 1_u64.checked_shl(u32::try_from(device).unwrap_or(u32::MAX)).unwrap_or(0);
        self.devices = if down { self.devices | bit } else { self.devices & !bit };
    }
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
            by_list: cluster.nodes.iter().map(from_the_start).collect(),
            by_lot: vec![Down::default(); cluster.nodes.len()],
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
            None => self.by_lot[part.node].node = breaks,
            Some(device) => self.by_lot[part.node].set(device, breaks),
        }
        Some(Input::Fact { at, fact: self.describe(part.node) })
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
            Change::NodeDown(_) => self.by_list[node].node = true,
            Change::NodeUp(_) => self.by_list[node].node = false,
            Change::Drain(_) => self.specs[node].draining = true,
            Change::Undrain(_) => self.specs[node].draining = false,
            Change::DeviceDown(_, device) => self.by_list[node].set(device, true),
            Change::DeviceUp(_, device) => self.by_list[node].set(device, false),
            Change::Right(_) => {}
        }
        self.describe(node)
    }

    fn describe(&self, node: usize) -> Fact {
        let mut spec = self.specs[node].clone();
        let (list, lot) = (self.by_list[node], self.by_lot[node]);
        spec.ready = !list.node && !lot.node;
        for (at, device) in spec.devices.iter_mut().enumerate() {
            match ((list.devices | lot.devices) >> at & 1 == 1, device.health.is_healthy()) {
                (true, true) => device.health = DeviceHealth::Sick { reason: "broken".into() },
                (false, false) => device.health = DeviceHealth::Healthy,
                _ => {}
            }
        }
        Fact::NodeSet { node: spec }
    }
}

/// What the cluster's description has down.
fn from_the_start(node: &NodeSpec) -> Down {
    let mut down = Down { node: !node.ready, devices: 0 };
    for (at, _) in node.devices.iter().enumerate().filter(|(_, device)| !device.health.is_healthy()) {
        down.set(at, true);
    }
    down
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::study::ClusterFile;

    fn cluster(json: &str) -> Cluster {
        serde_json::from_str::<ClusterFile>(json).unwrap().build().unwrap()
    }

    /// When each thing happens until then, in seconds, with whether device 0 is well after it.
    fn device_0(happenings: &mut Happenings, until: Time) -> Vec<(i64, bool)> {
        let mut seen = Vec::new();
        while happenings.peek().is_some_and(|at| at <= until) {
            let Some(Input::Fact { at, fact: Fact::NodeSet { node } }) = happenings.next() else { break };
            seen.push((at.as_ms() / 1000, node.devices[0].health.is_healthy()));
        }
        seen
    }

    #[test]
    fn what_is_beyond_all_time_never_breaks() {
        let faulty = cluster(
            r#"{"node": [{"name": "n", "count": 4, "devices": 8}],
            "faults": {"node_every": "1d", "node_repair": "1d", "device_every": "1d", "device_repair": "1d"}}"#,
        );
        for seed in 0..8 {
            assert!(Happenings::new(&faulty, Time::ZERO, seed).peek().is_some());
            assert_eq!(Happenings::new(&faulty, Time::MAX - Span::from_ms(10), seed).peek(), None);
        }
    }

    #[test]
    fn the_lot_mends_no_device_that_the_list_has_down() {
        let json = r#"{"node": [{"name": "n", "devices": 1}], FAULTS
            "change": [{"at": "1h", "device_down": ["n", 0]}, {"at": "100h", "device_up": ["n", 0]}]}"#;
        let faults = r#""faults": {"device_every": "1h", "device_repair": "1h"},"#;
        let (hour, end) = (3600, Time::ZERO + Span::from_mins(200 * 60));
        let mut happenings = Happenings::new(&cluster(&json.replace("FAULTS", faults)), Time::ZERO, 1);
        let seen = device_0(&mut happenings, end);
        let (down, later): (Vec<_>, Vec<_>) =
            seen.iter().filter(|(at, _)| *at >= hour).partition(|(at, _)| *at < 100 * hour);
        assert!(down.len() > 20 && down.iter().all(|(_, well)| !well), "{down:?}");
        assert!(later.iter().any(|(_, well)| *well) && later.iter().any(|(_, well)| !*well));
        let mut listed = Happenings::new(&cluster(&json.replace("FAULTS", "")), Time::ZERO, 1);
        assert_eq!(device_0(&mut listed, end), [(hour, false), (100 * hour, true)]);
    }

    #[test]
    fn what_was_down_from_the_start_stays_so_until_the_list_says_otherwise() {
        let mut broken = cluster(r#"{"node": [{"name": "n", "devices": 1}], "change": [{"at": "10s", "drain": "n"}]}"#);
        broken.nodes[0].devices[0].health = DeviceHealth::Sick { reason: "too hot".into() };
        broken.nodes[0].ready = false;
        let Some(Input::Fact { fact: Fact::NodeSet { node }, .. }) = Happenings::new(&broken, Time::ZERO, 1).next()
        else {
            panic!("it is drained");
        };
        assert!(!node.ready && node.draining);
        assert_eq!(node.devices[0].health, DeviceHealth::Sick { reason: "too hot".into() });
    }
}
