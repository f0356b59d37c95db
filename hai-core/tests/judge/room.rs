//! What fits where, by the judge's own reckoning. All workers of a task are alike, so counting per node is exact.

use std::collections::BTreeSet;

use hai_core::model::*;

use super::books::{Books, Holder};

/// What is left of one node.
pub(crate) struct Room {
    pub(crate) cpu_milli: u32,
    pub(crate) memory_mib: u64,
    /// Healthy devices that nobody has.
    pub(crate) devices: BTreeSet<DeviceId>,
    pub(crate) taken_whole: bool,
    pub(crate) empty: bool,
}

impl Books {
    /// What is left of a node beside those holders for whom `counts` is true.
    pub(crate) fn room(&self, node: &NodeSpec, counts: impl Fn(Holder) -> bool) -> Room {
        let mut room = Room {
            cpu_milli: node.cpu_milli,
            memory_mib: node.memory_mib,
            devices: node.devices.iter().filter(|it| it.health.is_healthy()).map(|it| it.id.clone()).collect(),
            taken_whole: false,
            empty: true,
        };
        for (holder, place) in self.on_node(&node.name) {
            if counts(holder) {
                room.empty = false;
                room.taken_whole |= place.whole_node;
                room.cpu_milli = room.cpu_milli.saturating_sub(place.cpu_milli);
                room.memory_mib = room.memory_mib.saturating_sub(place.memory_mib);
                room.devices.retain(|device| !place.devices.contains(device));
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
            taken_whole: now.taken_whole || later.taken_whole,
            empty: now.empty && later.empty,
        }
    }

    /// Whether new workers of the task may be put on the node.
    pub(crate) fn usable(&self, node: &NodeSpec, spec: &TaskSpec) -> bool {
        node.ready
            && !node.cordoned
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

    /// How many workers of the task fit into its group, if only those holders count for whom that is true.
    pub(crate) fn fitting(&self, spec: &TaskSpec, counts: impl Fn(Holder) -> bool) -> u32 {
        let usable = self.group_nodes(spec).filter(|node| self.usable(node, spec));
        usable.map(|node| fitting_in(spec, node, &self.room(node, &counts))).sum()
    }

    /// How many workers of the task fit into what is idle in its group.
    fn fitting_idle(&self, spec: &TaskSpec) -> u32 {
        let usable = self.group_nodes(spec).filter(|node| self.usable(node, spec));
        usable.map(|node| fitting_in(spec, node, &self.idle(node))).sum()
    }

    pub(crate) fn fits_idle(&self, spec: &TaskSpec) -> bool {
        self.fitting_idle(spec) >= spec.workers
    }

    pub(crate) fn fits(&self, spec: &TaskSpec, counts: impl Fn(Holder) -> bool) -> bool {
        self.fitting(spec, counts) >= spec.workers
    }

    /// Whether the group could hold the task if all its nodes were ready, open and empty; with `healed` also healthy.
    pub(crate) fn ever_fits(&self, spec: &TaskSpec, healed: bool) -> bool {
        let fitting = self.group_nodes(spec).map(|node| {
            let mut node = node.clone();
            (node.ready, node.cordoned) = (true, false);
            if healed {
                node.devices.iter_mut().for_each(|device| device.health = DeviceHealth::Healthy);
            }
            if node.taints.is_subset(&spec.tolerates) {
                fitting_in(spec, &node, &self.room(&node, |_| false))
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
            !room.taken_whole && room.devices.contains(&device.id)
        };
        Lack {
            workers: spec.workers,
            placeable: self.fitting_idle(spec).min(spec.workers),
            usable_nodes: usable.len() as u32,
            nodes: self.group_nodes(spec).count() as u32,
            devices: kind.len() as u32,
            free_devices: kind.iter().filter(|(node, device)| free(node, device)).count() as u32,
            empty_nodes: usable.iter().filter(|node| self.idle(node).empty).count() as u32,
        }
    }
}

/// How many workers of the task fit into what is left of one node.
fn fitting_in(spec: &TaskSpec, node: &NodeSpec, room: &Room) -> u32 {
    let request = &spec.request;
    if room.taken_whole || room.cpu_milli < request.cpu_milli || room.memory_mib < request.memory_mib {
        return 0;
    }
    match request.devices {
        Devices::WholeNode => {
            let well = node.devices.iter().all(|device| device.health.is_healthy() && request.accepts(device));
            u32::from(room.empty && well)
        }
        Devices::Count(count) => {
            let good = node.devices.iter().filter(|it| room.devices.contains(&it.id) && request.accepts(it)).count();
            let by_devices = (good as u32).checked_div(count).unwrap_or(u32::MAX);
            let by_cpu = room.cpu_milli.checked_div(request.cpu_milli).unwrap_or(u32::MAX);
            let by_memory = room.memory_mib.checked_div(request.memory_mib).unwrap_or(u64::MAX);
            let most = by_devices.min(by_cpu).min(u32::try_from(by_memory).unwrap_or(u32::MAX)).min(spec.workers);
            if spec.distinct_nodes { most.min(1) } else { most }
        }
        Devices::Share(_) | Devices::Memory(_) => unreachable!("no story asks for a part of a device"),
    }
}
