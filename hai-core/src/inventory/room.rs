//! What is left on one node, and what one worker takes of it.

use crate::model::{DeviceId, Devices, NodeSpec, WorkerPlacement, WorkerRequest};

/// What one worker takes of a node. Devices are bits, by their place in the node's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Take {
    /// The node is its alone.
    pub whole_node: bool,
    /// Devices, one bit each.
    pub devices: u64,
    /// Thousandths of a core.
    pub cpu_milli: u32,
    /// MiB.
    pub memory_mib: u64,
}

/// What is left of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Healthy devices that nobody has, one bit each.
    pub devices: u64,
    /// Thousandths of a core.
    pub cpu_milli: u32,
    /// MiB.
    pub memory_mib: u64,
    /// Workers on the node.
    pub workers: u32,
    /// One of them has the whole node.
    pub taken_whole: bool,
}

impl Room {
    /// The node with nobody on it.
    #[must_use]
    pub fn of_empty(spec: &NodeSpec) -> Self {
        let mut devices = 0;
        for (index, device) in spec.devices.iter().enumerate() {
            if device.health.is_healthy() {
                devices |= 1 << index;
            }
        }
        Room { devices, cpu_milli: spec.cpu_milli, memory_mib: spec.memory_mib, workers: 0, taken_whole: false }
    }

    /// What is left once `take` is gone too. A node that shrank may have less than nothing; that counts as nothing.
    #[must_use]
    pub fn without(self, take: &Take) -> Self {
        Room {
            devices: self.devices & !take.devices,
            cpu_milli: self.cpu_milli.saturating_sub(take.cpu_milli),
            memory_mib: self.memory_mib.saturating_sub(take.memory_mib),
            workers: self.workers + 1,
            taken_whole: self.taken_whole || take.whole_node,
        }
    }

    /// What is left in both.
    #[must_use]
    pub fn and(self, other: Room) -> Self {
        Room {
            devices: self.devices & other.devices,
            cpu_milli: self.cpu_milli.min(other.cpu_milli),
            memory_mib: self.memory_mib.min(other.memory_mib),
            workers: self.workers.max(other.workers),
            taken_whole: self.taken_whole || other.taken_whole,
        }
    }

    /// What a worker that asks for `request` would take here, the least precious devices first; `None` if it does
    /// not fit.
    #[must_use]
    pub fn take(&self, spec: &NodeSpec, request: &WorkerRequest) -> Option<Take> {
        if self.taken_whole || request.cpu_milli > self.cpu_milli || request.memory_mib > self.memory_mib {
            return None;
        }
        match request.devices {
            Devices::WholeNode => self.take_whole(spec, request),
            devices => {
                let devices = self.pick(spec, request, devices.count())?;
                Some(Take { whole_node: false, devices, cpu_milli: request.cpu_milli, memory_mib: request.memory_mib })
            }
        }
    }

    fn take_whole(&self, spec: &NodeSpec, request: &WorkerRequest) -> Option<Take> {
        let all_well = spec.devices.iter().all(|device| device.health.is_healthy());
        if self.workers > 0 || !all_well || !kind_fits(spec, request) {
            return None;
        }
        Some(Take { whole_node: true, devices: self.devices, cpu_milli: spec.cpu_milli, memory_mib: spec.memory_mib })
    }

    /// The `count` acceptable devices with the least memory.
    fn pick(&self, spec: &NodeSpec, request: &WorkerRequest, count: u32) -> Option<u64> {
        if count == 0 {
            return Some(0);
        }
        if self.devices.count_ones() < count {
            return None;
        }
        let mut fitting: Vec<usize> = (0..spec.devices.len())
            .filter(|&index| self.devices & (1 << index) != 0 && request.accepts(&spec.devices[index]))
            .collect();
        if fitting.len() < count as usize {
            return None;
        }
        fitting.sort_by_key(|&index| (spec.devices[index].memory_mib, index));
        Some(fitting[..count as usize].iter().fold(0, |mask, index| mask | 1 << index))
    }
}

/// Whether a whole node is of the kind asked for: a picky request wants devices, all of them of its kind.
fn kind_fits(spec: &NodeSpec, request: &WorkerRequest) -> bool {
    !request.is_picky() || (!spec.devices.is_empty() && spec.devices.iter().all(|device| request.accepts(device)))
}

impl Take {
    /// The same in names.
    #[must_use]
    pub fn named(&self, spec: &NodeSpec) -> WorkerPlacement {
        WorkerPlacement {
            node: spec.name.clone(),
            whole_node: self.whole_node,
            devices: spec
                .devices
                .iter()
                .enumerate()
                .filter(|(index, _)| self.devices & (1 << index) != 0)
                .map(|(_, device)| device.id.clone())
                .collect(),
            cpu_milli: self.cpu_milli,
            memory_mib: self.memory_mib,
            part: None,
        }
    }

    /// The same in bits; devices that the node does not have (any more) are left out.
    #[must_use]
    pub fn of(place: &WorkerPlacement, spec: &NodeSpec) -> Self {
        Take {
            whole_node: place.whole_node,
            devices: mask(spec, &place.devices),
            cpu_milli: place.cpu_milli,
            memory_mib: place.memory_mib,
        }
    }
}

fn mask(spec: &NodeSpec, ids: &[DeviceId]) -> u64 {
    spec.devices
        .iter()
        .enumerate()
        .filter(|(_, device)| ids.contains(&device.id))
        .fold(0, |mask, (index, _)| mask | 1 << index)
}
