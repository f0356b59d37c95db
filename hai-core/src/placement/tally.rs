//! What a request lacks, kept up to date: only nodes that changed since it was last asked are counted anew.

use super::ask::Ask;
use super::lack;
use super::seat::Seat;
use crate::inventory::{Inventory, KindSet, NodeIx, When};
use crate::model::{Devices, Lack};

/// What one node adds.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    known: bool,
    usable: bool,
    empty: bool,
    devices: u32,
    free_devices: u32,
    fitting: u32,
}

/// The numbers of one request.
#[derive(Clone, Debug)]
pub struct Tally {
    ask: Ask,
    /// As far as this change of the inventory all is counted.
    change: Option<u64>,
    parts: Vec<Part>,
    nodes: u32,
    usable: u32,
    empty: u32,
    devices: u32,
    free_devices: u32,
    fitting: u64,
    /// All workers must share something, so that sums over all nodes do not tell how many fit.
    tied: Option<Lack>,
}

impl Tally {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(ask: &Ask) -> Self {
        Tally {
            ask: ask.clone(),
            change: None,
            parts: Vec::new(),
            nodes: 0,
            usable: 0,
            empty: 0,
            devices: 0,
            free_devices: 0,
            fitting: 0,
            tied: None,
        }
    }

    /// Counts what changed since the last call.
    pub fn sync(&mut self, inventory: &Inventory) {
        self.ask.refresh(inventory);
        if self.ask.is_tied() || self.ask.wants_one_model() {
            self.tied = Some(lack::lack_of(inventory, &self.ask));
            return;
        }
        self.parts.resize(inventory.node_slots(), Part::default());
        match self.change.and_then(|change| inventory.changed_since(change)) {
            Some(changed) => changed.for_each(|ix| self.count(inventory, ix)),
            None => {
                let all = 0..u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
                all.for_each(|at| self.count(inventory, NodeIx::at(at)));
            }
        }
        self.change = Some(inventory.change_count());
    }

    fn count(&mut self, inventory: &Inventory, ix: NodeIx) {
        let new = self.look_at(inventory, ix);
        let old = std::mem::replace(&mut self.parts[ix.index()], new);
        let count = |sum: u32, new: bool, old: bool| sum + u32::from(new) - u32::from(old);
        self.nodes = count(self.nodes, new.known, old.known);
        self.usable = count(self.usable, new.usable, old.usable);
        self.empty = count(self.empty, new.empty, old.empty);
        self.devices = self.devices + new.devices - old.devices;
        self.free_devices = self.free_devices + new.free_devices - old.free_devices;
        self.fitting = self.fitting + u64::from(new.fitting) - u64::from(old.fitting);
    }

    fn look_at(&self, inventory: &Inventory, ix: NodeIx) -> Part {
        let Some(node) = inventory.get(ix).filter(|node| !node.is_gone()) else { return Part::default() };
        if self.ask.group(inventory) != Some(node.group()) {
            return Part::default();
        }
        if !self.ask.allows(inventory, node) {
            return Part { known: true, ..Part::default() };
        }
        let room = node.room_at(When::Now);
        let everything = KindSet::all();
        let seat = Seat::new(inventory, &self.ask, &everything, node, &room);
        let free_devices = match self.ask.request().devices {
            _ if room.taken_whole => 0,
            Devices::Share(_) | Devices::Memory(_) => u32::try_from(seat.cards().count()).unwrap_or(u32::MAX),
            Devices::WholeNode | Devices::Count(_) => (room.devices & seat.accepted).count_ones(),
        };
        Part {
            known: true,
            usable: true,
            empty: room.workers == 0,
            devices: seat.accepted.count_ones(),
            free_devices,
            fitting: seat.capacity(),
        }
    }

    /// The numbers as of the last [`Tally::sync`].
    #[must_use]
    pub fn lack(&self) -> Lack {
        if let Some(lack) = &self.tied {
            return lack.clone();
        }
        let workers = self.ask.workers_min();
        Lack {
            workers,
            placeable: u32::try_from(self.fitting).unwrap_or(u32::MAX).min(workers),
            usable_nodes: self.usable,
            nodes: self.nodes,
            devices: self.devices,
            free_devices: self.free_devices,
            empty_nodes: self.empty,
        }
    }
}
