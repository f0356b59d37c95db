//! What fits where, by the judge's own reckoning. All workers of a task are alike, so counting per node is exact.

use std::collections::{BTreeMap, BTreeSet};

use hai_core::model::*;

use super::books::{Books, Holder};
use super::rights::part_of;
use super::stand::{Kinds, kind_of};

/// What is left of one node.
pub(crate) struct Room {
    pub(crate) cpu_milli: u32,
    pub(crate) memory_mib: u64,
    /// Healthy devices that nobody has, nor a part of them.
    pub(crate) devices: BTreeSet<DeviceId>,
    /// What is left of healthy devices that are given out in parts: thousandths, and MiB.
    pub(crate) parts: BTreeMap<DeviceId, (u32, u64)>,
    pub(crate) taken_whole: bool,
    pub(crate) empty: bool,
}

impl Room {
    /// Takes a part of a device out; who has all of it has its parts, too.
    fn take_part(&mut self, node: &NodeSpec, id: &DeviceId, part: DevicePart) {
        let Some(device) = node.devices.iter().find(|device| device.id == *id) else { return };
        let left = self.left_of(device);
        self.devices.remove(id);
        if let Some((milli, memory_mib)) = left {
            let left = (milli.saturating_sub(part.milli), memory_mib.saturating_sub(part.memory_mib));
            self.parts.insert(id.clone(), left);
        }
    }

    /// What can be had of a device in parts.
    pub(crate) fn left_of(&self, device: &DeviceSpec) -> Option<(u32, u64)> {
        if self.devices.contains(&device.id) {
            return Some((1000, device.memory_mib));
        }
        self.parts.get(&device.id).copied()
    }

    fn parts_in_both(&self, other: &Room) -> BTreeMap<DeviceId, (u32, u64)> {
        let in_other = |id: &DeviceId, (milli, memory_mib): (u32, u64)| match other.parts.get(id) {
            Some(theirs) => Some((milli.min(theirs.0), memory_mib.min(theirs.1))),
            None => other.devices.contains(id).then_some((milli, memory_mib)),
        };
        let mine = self.parts.iter().filter_map(|(id, left)| Some((id.clone(), in_other(id, *left)?)));
        let theirs = other.parts.iter().filter(|(id, _)| self.devices.contains(*id));
        mine.chain(theirs.map(|(id, left)| (id.clone(), *left))).collect()
    }

    /// Whether all workers placed on one node go into it.
    pub(crate) fn takes(mut self, node: &NodeSpec, placement: &Placement) -> bool {
        for place in placement.workers.iter().filter(|place| place.node == node.name) {
            let known = |id: &DeviceId| node.devices.iter().find(|known| known.id == *id);
            let devices = match place.part {
                None => place.devices.iter().all(|device| self.devices.remove(device)),
                Some(part) => {
                    let left = known(&place.devices[0]).and_then(|device| self.left_of(device));
                    self.take_part(node, &place.devices[0], part);
                    left.is_some_and(|(milli, memory_mib)| part.milli <= milli && part.memory_mib <= memory_mib)
                }
            };
            let room = place.cpu_milli <= self.cpu_milli && place.memory_mib <= self.memory_mib;
            if self.taken_whole || !devices || !room || (place.whole_node && !self.empty) {
                return false;
            }
            self.cpu_milli -= place.cpu_milli;
            self.memory_mib -= place.memory_mib;
            self.empty = false;
            self.taken_whole |= place.whole_node;
        }
        true
    }
}

impl Books {
    /// What is left of a node beside those holders for whom `counts` is true.
    pub(crate) fn room(&self, node: &NodeSpec, counts: impl Fn(Holder) -> bool) -> Room {
        let mut room = Room {
            cpu_milli: node.cpu_milli,
            memory_mib: node.memory_mib,
            devices: node.devices.iter().filter(|it| it.health.is_healthy()).map(|it| it.id.clone()).collect(),
            parts: BTreeMap::new(),
            taken_whole: false,
            empty: true,
        };
        for (holder, place) in self.on_node(&node.name) {
            if counts(holder) {
                room.empty = false;
                room.taken_whole |= place.whole_node;
                room.cpu_milli = room.cpu_milli.saturating_sub(place.cpu_milli);
                room.memory_mib = room.memory_mib.saturating_sub(place.memory_mib);
                match place.part {
                    None => {
                        room.devices.retain(|device| !place.devices.contains(device));
                        room.parts.retain(|device, _| !place.devices.contains(device));
                    }
                    Some(part) => room.take_part(node, &place.devices[0], part),
                }
            }
        }
        room
    }

    /// What nobody has and nobody is promised: free in fact, and free still once all have left who are leaving and all
    /// promises are kept.
    pub(crate) fn idle(&self, node: &NodeSpec) -> Room {
        let now = self.room(node, |holder| matches!(holder, Holder::Run(_)));
        let later = self.room(node, |holder| !self.leaves(holder));
        Room {
            cpu_milli: now.cpu_milli.min(later.cpu_milli),
            memory_mib: now.memory_mib.min(later.memory_mib),
            devices: &now.devices & &later.devices,
            parts: now.parts_in_both(&later),
            taken_whole: now.taken_whole || later.taken_whole,
            empty: now.empty && later.empty,
        }
    }

    /// Whether new workers of the task may be put on the node.
    pub(crate) fn usable(&self, node: &NodeSpec, spec: &TaskSpec) -> bool {
        node.ready
            && !(node.cordoned || node.closed || node.draining)
            && node.group == spec.group
            && node.taints.is_subset(&spec.tolerates)
            && !self.is_cooling(&node.name)
    }

    /// A node that refused a start through no fault of the task gets no other for a while.
    pub(crate) fn is_cooling(&self, node: &NodeName) -> bool {
        self.cooling.get(node).is_some_and(|(_, until)| *until > self.now)
    }

    pub(crate) fn group_nodes<'a>(&'a self, spec: &'a TaskSpec) -> impl Iterator<Item = &'a NodeSpec> {
        self.nodes.values().filter(|node| node.group == spec.group)
    }

    /// How many workers of the task fit into its group on devices of these kinds, if only those holders count for whom
    /// that is true.
    fn fitting(&self, spec: &TaskSpec, kinds: &Kinds, counts: impl Fn(Holder) -> bool) -> u32 {
        self.fitting_where(spec, kinds, |node| self.room(node, &counts))
    }

    fn fitting_where(&self, spec: &TaskSpec, kinds: &Kinds, room: impl Fn(&NodeSpec) -> Room) -> u32 {
        let usable = self.group_nodes(spec).filter(|node| self.usable(node, spec));
        usable.map(|node| fitting_in(spec, kinds, node, &room(node))).sum()
    }

    /// Whether the task fits into what is idle in its group.
    pub(crate) fn fits_idle(&self, spec: &TaskSpec, kinds: &Kinds) -> bool {
        self.fitting_where(spec, kinds, |node| self.idle(node)) >= spec.workers
    }

    pub(crate) fn fits(&self, spec: &TaskSpec, kinds: &Kinds, counts: impl Fn(Holder) -> bool) -> bool {
        self.fitting(spec, kinds, counts) >= spec.workers
    }

    /// Whether the group could hold the task if all its nodes were ready, open and empty; with `healed` also healthy.
    pub(crate) fn ever_fits(&self, spec: &TaskSpec, healed: bool) -> bool {
        let fitting = self.group_nodes(spec).map(|node| {
            let mut node = node.clone();
            (node.ready, node.cordoned, node.closed, node.draining) = (true, false, false, false);
            if healed {
                node.devices.iter_mut().for_each(|device| device.health = DeviceHealth::Healthy);
            }
            if node.taints.is_subset(&spec.tolerates) {
                fitting_in(spec, &None, &node, &self.room(&node, |_| false))
            } else {
                0
            }
        });
        fitting.sum::<u32>() >= spec.workers
    }

    /// What the task lacks now, with the judge's own numbers.
    pub(crate) fn lack(&self, spec: &TaskSpec) -> Lack {
        let usable: Vec<&NodeSpec> = self.group_nodes(spec).filter(|node| self.usable(node, spec)).collect();
        let kind: Vec<(&NodeSpec, &DeviceSpec)> = usable
            .iter()
            .flat_map(|node| node.devices.iter().map(move |device| (*node, device)))
            .filter(|(_, device)| spec.request.accepts(device))
            .collect();
        let free = |node: &NodeSpec, device: &DeviceSpec| {
            let room = self.idle(node);
            let enough = match spec.request.devices {
                Devices::WholeNode | Devices::Count(_) => room.devices.contains(&device.id),
                part => room.left_of(device).is_some_and(|left| parts_in(left, part_of(part, device.memory_mib)) > 0),
            };
            !room.taken_whole && enough
        };
        Lack {
            workers: spec.workers,
            placeable: self.fitting_where(spec, &None, |node| self.idle(node)).min(spec.workers),
            usable_nodes: usable.len() as u32,
            nodes: self.group_nodes(spec).count() as u32,
            devices: kind.len() as u32,
            free_devices: kind.iter().filter(|(node, device)| free(node, device)).count() as u32,
            empty_nodes: usable.iter().filter(|node| self.idle(node).empty).count() as u32,
        }
    }
}

/// How often a part goes into what is left of a device.
fn parts_in((milli, memory_mib): (u32, u64), part: DevicePart) -> u32 {
    let by_memory = memory_mib.checked_div(part.memory_mib).unwrap_or(u64::MAX);
    (milli / part.milli).min(u32::try_from(by_memory).unwrap_or(u32::MAX))
}

/// How many workers of the task fit into what is left of one node, on devices of these kinds.
fn fitting_in(spec: &TaskSpec, kinds: &Kinds, node: &NodeSpec, room: &Room) -> u32 {
    let request = &spec.request;
    if room.taken_whole || room.cpu_milli < request.cpu_milli || room.memory_mib < request.memory_mib {
        return 0;
    }
    let allowed = |device: &DeviceSpec| kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind_of(device)));
    let good = |device: &&DeviceSpec| request.accepts(device) && allowed(device);
    let by_devices = match request.devices {
        Devices::WholeNode => {
            let well = node.devices.iter().all(|device| device.health.is_healthy() && good(&device));
            return u32::from(room.empty && well);
        }
        Devices::Count(count) => {
            let free = node.devices.iter().filter(|device| room.devices.contains(&device.id) && good(device)).count();
            (free as u32).checked_div(count).unwrap_or(u32::MAX)
        }
        Devices::Share(_) | Devices::Memory(_) => {
            let left = node.devices.iter().filter(good).filter_map(|it| Some((room.left_of(it)?, it.memory_mib)));
            left.map(|(left, memory_mib)| parts_in(left, part_of(request.devices, memory_mib))).sum()
        }
    };
    let by_cpu = room.cpu_milli.checked_div(request.cpu_milli).unwrap_or(u32::MAX);
    let by_memory = room.memory_mib.checked_div(request.memory_mib).unwrap_or(u64::MAX);
    let most = by_devices.min(by_cpu).min(u32::try_from(by_memory).unwrap_or(u32::MAX)).min(spec.workers);
    if spec.distinct_nodes { most.min(1) } else { most }
}
