//! One node seen by one request: how many workers fit, and what the next one would take.

use std::borrow::Cow;

use super::ask::{Ask, MakeFit};
use crate::inventory::{Inventory, KindSet, Make, Node, Room, Take, bits};
use crate::model::{DevicePart, Devices, WORKERS_MAX};

/// A node as a place for workers of one request, with a certain room. What a filter or a scorer looks at.
#[derive(Debug)]
pub struct Seat<'a> {
    /// All machines.
    pub inventory: &'a Inventory,
    /// The request.
    pub ask: &'a Ask,
    /// The node.
    pub node: &'a Node,
    /// Its devices.
    pub make: &'a Make,
    /// What is left of it.
    pub room: &'a Room,
    /// Devices of kinds that the request and the right allow, one bit each.
    pub accepted: u64,
    fit: Cow<'a, MakeFit>,
    /// Whether its devices count as healthy.
    well: bool,
    /// Whether all its devices are of allowed kinds.
    whole: bool,
}

impl<'a> Seat<'a> {
    /// The node with this room, and only devices of these kinds.
    #[must_use]
    pub fn new(inventory: &'a Inventory, ask: &'a Ask, kinds: &KindSet, node: &'a Node, room: &'a Room) -> Self {
        let make = inventory.make_of(node);
        let fit = ask.fit(inventory, node.make());
        let (accepted, whole) = if kinds.is_all() {
            (fit.accepted, fit.whole())
        } else {
            let allowed = make.devices_of(kinds);
            (fit.accepted & allowed, fit.whole() && allowed.count_ones() as usize == make.len())
        };
        Seat { inventory, ask, node, make, room, accepted, fit, well: node.all_well(), whole }
    }

    /// The same with all devices well; `room` must be of that kind too.
    pub(crate) fn assumed_well(mut self) -> Self {
        self.well = true;
        self
    }

    /// How many workers fit here together.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        let request = self.ask.request();
        let room = self.room;
        if room.taken_whole || request.cpu_milli > room.cpu_milli || request.memory_mib > room.memory_mib {
            return 0;
        }
        let by_devices = match request.devices {
            Devices::WholeNode => u32::from(room.workers == 0 && self.well && self.whole),
            Devices::Count(count) => {
                (room.devices & self.accepted).count_ones().checked_div(count).unwrap_or(WORKERS_MAX)
            }
            Devices::Share(_) | Devices::Memory(_) => self.parts(),
        };
        let most = if self.ask.is_apart() { 1 } else { WORKERS_MAX };
        let by_cpu = room.cpu_milli.checked_div(request.cpu_milli).unwrap_or(most);
        let by_memory = room.memory_mib.checked_div(request.memory_mib).unwrap_or(u64::from(most));
        by_devices.min(by_cpu).min(u32::try_from(by_memory).unwrap_or(u32::MAX)).min(most)
    }

    /// How many parts of devices fit.
    fn parts(&self) -> u32 {
        let mut parts = 0_u32;
        for tier in self.fit.tiers() {
            let Some(part) = self.ask.part(tier.memory_mib) else { return 0 };
            let fitting = |milli: u32, memory_mib: u32| {
                let by_memory = u64::from(memory_mib).checked_div(part.memory_mib).unwrap_or(u64::MAX);
                (milli / part.milli).min(u32::try_from(by_memory).unwrap_or(u32::MAX))
            };
            let devices = tier.devices & self.accepted;
            let free = (self.room.devices & devices).count_ones();
            parts = parts.saturating_add(free * fitting(1000, tier.memory_mib));
            for shared in self.room.shared().iter().filter(|shared| devices & (1 << shared.device) != 0) {
                let (milli, memory_mib) = shared.left(tier.memory_mib);
                parts = parts.saturating_add(fitting(milli, memory_mib));
            }
        }
        parts
    }

    /// Devices of which the part that is asked for can be had, with what is left of each in thousandths and MiB.
    pub fn cards(&self) -> impl Iterator<Item = Card> + '_ {
        self.fit.tiers().iter().flat_map(move |tier| {
            let part = self.ask.part(tier.memory_mib);
            let devices = tier.devices & self.accepted;
            let free = bits(self.room.devices & devices).map(move |device| (device, 1000, tier.memory_mib));
            let shared = self.room.shared().iter().filter(move |shared| devices & (1 << shared.device) != 0);
            let shared = shared.map(move |shared| {
                let (milli, memory_mib) = shared.left(tier.memory_mib);
                (shared.device, milli, memory_mib)
            });
            shared.chain(free).filter_map(move |(device, milli, memory_mib)| {
                let part = part.filter(|part| part.milli <= milli && part.memory_mib <= u64::from(memory_mib))?;
                Some(Card { device, milli, memory_mib, takes: part, liking: tier.liking, has_mib: tier.memory_mib })
            })
        })
    }

    /// The card that a part goes to unless the policy says otherwise: the best-liked, then the least precious, then the
    /// fullest.
    #[must_use]
    pub fn fullest_card(&self) -> Option<Card> {
        self.cards().min_by_key(|card| (card.liking, card.has_mib, card.milli, card.memory_mib, card.device))
    }

    /// What the next worker would take here, on `card` if it asks for a part; `None` if it does not fit.
    #[must_use]
    pub fn take(&self, card: Option<Card>) -> Option<Take> {
        let request = self.ask.request();
        let room = self.room;
        if room.taken_whole || request.cpu_milli > room.cpu_milli || request.memory_mib > room.memory_mib {
            return None;
        }
        match request.devices {
            Devices::WholeNode => (room.workers == 0 && self.well && self.whole)
                .then(|| Take::new(room.devices, room.cpu_milli, room.memory_mib).with_whole_node()),
            Devices::Count(count) => Some(Take::new(self.pick(count)?, request.cpu_milli, request.memory_mib)),
            Devices::Share(_) | Devices::Memory(_) => {
                let card = card.or_else(|| self.fullest_card())?;
                Some(Take::new(1 << card.device, request.cpu_milli, request.memory_mib).with_part(card.takes))
            }
        }
    }

    /// The best-liked devices, then the least precious, then those that lie best together.
    fn pick(&self, count: u32) -> Option<u64> {
        let mut chosen = 0_u64;
        for tier in self.fit.tiers() {
            let free = tier.devices & self.accepted & self.room.devices;
            let missing = count - chosen.count_ones();
            chosen |= self.make.links().best(free, missing, chosen);
            if chosen.count_ones() == count {
                break;
            }
        }
        (chosen.count_ones() == count).then_some(chosen)
    }

    /// How far down the list of preferences the least-liked device stands that the next worker would get.
    #[must_use]
    pub fn liking(&self) -> u8 {
        let tiers = self.fit.tiers();
        match self.ask.request().devices {
            Devices::WholeNode => tiers.last().map_or(0, |tier| tier.liking),
            Devices::Count(count) => {
                let mut free = 0;
                let enough = tiers.iter().find(|tier| {
                    free += (tier.devices & self.accepted & self.room.devices).count_ones();
                    free >= count
                });
                enough.map_or(0, |tier| tier.liking)
            }
            Devices::Share(_) | Devices::Memory(_) => match tiers {
                [only] => only.liking,
                _ => self.cards().map(|card| card.liking).min().unwrap_or(0),
            },
        }
    }
}

/// A device of which a part can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card {
    /// Which device, by its place in the node's list.
    pub device: u8,
    /// What is left of it, in thousandths.
    pub milli: u32,
    /// What is left of its memory, in MiB.
    pub memory_mib: u32,
    /// What the part takes of it.
    pub takes: DevicePart,
    /// How far down the list of preferences it stands.
    pub(crate) liking: u8,
    /// All its memory, in MiB.
    pub(crate) has_mib: u32,
}
