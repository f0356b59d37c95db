//! What is left on one node, and what one worker takes of it.

use smallvec::SmallVec;

use super::kind::{Make, narrow};
use crate::model::{DEVICES_PER_NODE_MAX, DeviceId, DevicePart, NodeSpec, WorkerPlacement};

/// All of a device, in thousandths.
pub const MILLI_PER_DEVICE: u32 = 1000;

/// What one worker takes of a node. Devices are bits, by their place in the node's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Take {
    /// Devices, one bit each.
    pub devices: u64,
    /// MiB.
    pub memory_mib: u64,
    /// Thousandths of a core.
    pub cpu_milli: u32,
    /// MiB of its one device, if it has a part of one.
    part_memory_mib: u32,
    /// Thousandths of its one device; zero if it has all of each.
    part_milli: u16,
    /// The node is its alone.
    pub whole_node: bool,
}

/// A shared device, and what of it is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// MiB.
    pub memory_mib: u32,
    /// Thousandths of the device.
    pub milli: u16,
    /// Which device, by its place in the node's list.
    pub device: u8,
}

/// What is left of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Healthy devices that nobody has, nor a part of them, one bit each.
    pub devices: u64,
    /// MiB.
    pub memory_mib: u64,
    /// Healthy devices that are given out in parts, by their place; whoever asks for a part may have what is left.
    shared: SmallVec<[Shared; 8]>,
    /// Thousandths of a core.
    pub cpu_milli: u32,
    /// Workers on the node.
    pub workers: u32,
    /// One of them has the whole node.
    pub taken_whole: bool,
}

impl Shared {
    /// What is left of the device in thousandths, and in MiB of a memory of `memory_mib`.
    #[must_use]
    pub fn left(&self, memory_mib: u32) -> (u32, u32) {
        (MILLI_PER_DEVICE.saturating_sub(u32::from(self.milli)), memory_mib.saturating_sub(self.memory_mib))
    }
}

impl Room {
    /// The node with nobody on it.
    #[must_use]
    pub fn of_empty(spec: &NodeSpec) -> Self {
        Self::with_devices(spec, healthy(spec))
    }

    /// The node with nobody on it and all its devices well.
    #[must_use]
    pub fn of_well(spec: &NodeSpec) -> Self {
        Self::with_devices(
            spec,
            (0..spec.devices.len().min(DEVICES_PER_NODE_MAX)).fold(0, |mask, index| mask | 1 << index),
        )
    }

    pub(super) fn with_devices(spec: &NodeSpec, devices: u64) -> Self {
        Room {
            devices,
            memory_mib: spec.memory_mib,
            shared: SmallVec::new(),
            cpu_milli: spec.cpu_milli,
            workers: 0,
            taken_whole: false,
        }
    }

    /// The devices that are given out in parts, by their place.
    #[must_use]
    pub fn shared(&self) -> &[Shared] {
        &self.shared
    }

    /// What is left once `take` is gone too. A node that shrank may have less than nothing; that counts as nothing.
    #[must_use]
    pub fn without(&self, take: &Take) -> Self {
        let mut room = self.clone();
        room.subtract(take);
        room
    }

    pub(crate) fn subtract(&mut self, take: &Take) {
        match take.part() {
            None => {
                self.devices &= !take.devices;
                if take.devices != 0 {
                    self.shared.retain(|shared| take.devices & (1 << shared.device) == 0);
                }
            }
            Some(_) => self.subtract_part(take),
        }
        self.cpu_milli = self.cpu_milli.saturating_sub(take.cpu_milli);
        self.memory_mib = self.memory_mib.saturating_sub(take.memory_mib);
        self.workers = self.workers.saturating_add(1);
        self.taken_whole |= take.whole_node;
    }

    fn subtract_part(&mut self, take: &Take) {
        let Some(device) = super::links::bits(take.devices).next() else { return };
        let at = self.shared.partition_point(|shared| shared.device < device);
        if self.devices & (1 << device) != 0 {
            self.devices &= !(1 << device);
            self.shared.insert(at, Shared { device, milli: take.part_milli, memory_mib: take.part_memory_mib });
        } else if let Some(shared) = self.shared.get_mut(at).filter(|shared| shared.device == device) {
            shared.milli = shared.milli.saturating_add(take.part_milli);
            shared.memory_mib = shared.memory_mib.saturating_add(take.part_memory_mib);
        }
    }

    /// What is left in both. A device that is whole in the one and shared in the other can be had in parts.
    #[must_use]
    pub fn and(&self, other: &Room) -> Self {
        let mut shared = SmallVec::new();
        if !self.shared.is_empty() || !other.shared.is_empty() {
            let (mut a, mut b) = (self.shared.iter().peekable(), other.shared.iter().peekable());
            while let Some(device) = match (a.peek(), b.peek()) {
                (Some(a), Some(b)) => Some(a.device.min(b.device)),
                (one, other) => one.or(other).map(|shared| shared.device),
            } {
                let here = a.next_if(|shared| shared.device == device);
                let there = b.next_if(|shared| shared.device == device);
                match (here, there) {
                    (Some(here), Some(there)) => shared.push(Shared {
                        device,
                        milli: here.milli.max(there.milli),
                        memory_mib: here.memory_mib.max(there.memory_mib),
                    }),
                    (Some(here), None) if other.devices & (1 << device) != 0 => shared.push(*here),
                    (None, Some(there)) if self.devices & (1 << device) != 0 => shared.push(*there),
                    _ => {}
                }
            }
        }
        Room {
            devices: self.devices & other.devices,
            memory_mib: self.memory_mib.min(other.memory_mib),
            shared,
            cpu_milli: self.cpu_milli.min(other.cpu_milli),
            workers: self.workers.max(other.workers),
            taken_whole: self.taken_whole || other.taken_whole,
        }
    }

    /// Whether `take` can be had out of this room, on a node of this make.
    #[must_use]
    pub fn covers(&self, make: &Make, take: &Take) -> bool {
        let devices = if take.part_milli == 0 {
            take.devices & !self.devices == 0
        } else {
            super::links::bits(take.devices).all(|device| {
                let (milli, memory_mib) = self.left_of(make, device);
                u32::from(take.part_milli) <= milli && take.part_memory_mib <= memory_mib
            })
        };
        !self.taken_whole
            && (!take.whole_node || self.workers == 0)
            && devices
            && take.cpu_milli <= self.cpu_milli
            && take.memory_mib <= self.memory_mib
    }

    /// What can be had of a device in parts: thousandths and MiB.
    #[must_use]
    pub fn left_of(&self, make: &Make, device: u8) -> (u32, u32) {
        let memory_mib = make.memory_mib(device);
        if device < 64 && self.devices & (1 << device) != 0 {
            return (MILLI_PER_DEVICE, memory_mib);
        }
        self.shared.iter().find(|shared| shared.device == device).map_or((0, 0), |shared| shared.left(memory_mib))
    }
}

impl Take {
    /// So many processors and so much memory, and these devices, all of each.
    #[must_use]
    pub fn new(devices: u64, cpu_milli: u32, memory_mib: u64) -> Self {
        Take { devices, memory_mib, cpu_milli, part_memory_mib: 0, part_milli: 0, whole_node: false }
    }

    /// The same with all of the node.
    #[must_use]
    pub fn with_whole_node(self) -> Self {
        Take { whole_node: true, ..self }
    }

    /// The same with a part of its one device.
    #[must_use]
    pub fn with_part(self, part: DevicePart) -> Self {
        let milli = u16::try_from(part.milli.clamp(1, MILLI_PER_DEVICE)).unwrap_or(u16::MAX);
        Take { part_milli: milli, part_memory_mib: narrow(part.memory_mib), ..self }
    }

    /// How much of its one device it has; `None` for all of each.
    #[must_use]
    pub fn part(&self) -> Option<DevicePart> {
        (self.part_milli > 0)
            .then(|| DevicePart { milli: self.part_milli.into(), memory_mib: self.part_memory_mib.into() })
    }

    /// The same in names.
    #[must_use]
    pub fn named(&self, spec: &NodeSpec) -> WorkerPlacement {
        WorkerPlacement {
            node: spec.name.clone(),
            whole_node: self.whole_node,
            devices: super::links::bits(self.devices)
                .filter_map(|index| spec.devices.get(usize::from(index)))
                .map(|device| device.id.clone())
                .collect(),
            cpu_milli: self.cpu_milli,
            memory_mib: self.memory_mib,
            part: self.part(),
        }
    }

    /// The same in bits; devices that the node does not have (any more) are left out.
    #[must_use]
    pub fn of(place: &WorkerPlacement, spec: &NodeSpec) -> Self {
        let take = Take::new(mask(spec, &place.devices), place.cpu_milli, place.memory_mib);
        let take = if place.whole_node { take.with_whole_node() } else { take };
        place.part.map_or(take, |part| take.with_part(part))
    }
}

/// The healthy devices of a node, one bit each.
pub(super) fn healthy(spec: &NodeSpec) -> u64 {
    let devices = spec.devices.iter().enumerate().take(DEVICES_PER_NODE_MAX);
    devices.filter(|(_, device)| device.health.is_healthy()).fold(0, |mask, (index, _)| mask | 1 << index)
}

fn mask(spec: &NodeSpec, ids: &[DeviceId]) -> u64 {
    spec.devices
        .iter()
        .enumerate()
        .take(DEVICES_PER_NODE_MAX)
        .filter(|(_, device)| ids.contains(&device.id))
        .fold(0, |mask, (index, _)| mask | 1 << index)
}
