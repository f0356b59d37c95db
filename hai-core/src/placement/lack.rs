//! Whether a task could ever be placed, and what is missing for it now.

use std::collections::BTreeMap;

use super::ask::Ask;
use super::field::Scope;
use super::seat::Seat;
use crate::inventory::{Inventory, KindSet, Room, When};
use crate::model::{Devices, Lack, TaskSpec};

/// The sets of kinds of which all workers may take together: one for each model if all must be of one, else everything.
pub(super) fn variants(inventory: &Inventory, ask: &Ask) -> Vec<KindSet> {
    if ask.wants_one_model() { ask.models(inventory) } else { vec![KindSet::all()] }
}

/// Whether the fewest workers fit if all nodes are ready and empty, and their devices well.
pub(super) fn ever_fits(inventory: &Inventory, ask: &Ask) -> bool {
    let need = u64::from(ask.workers_min());
    let Some(group) = ask.group(inventory) else { return false };
    variants(inventory, ask).iter().any(|kinds| {
        let mut sums: BTreeMap<Scope, u64> = BTreeMap::new();
        inventory.group_nodes(group).map(|ix| inventory.node(ix)).any(|node| {
            if node.is_gone() || !ask.allows_site(inventory, node.site()) {
                return false;
            }
            let room = Room::of_well(node.spec());
            let seat = Seat::new(inventory, ask, kinds, node, &room).assumed_well();
            let sum = sums.entry(Scope::of(inventory, ask, node)).or_default();
            *sum += u64::from(seat.capacity());
            *sum >= need
        })
    })
}

/// Whether the fewest workers that are worth a start could ever be placed if all nodes of the group were ready and
/// empty, and their devices well. See [`super::Placer::fits_empty`] for asking often.
#[must_use]
pub fn fits_empty(inventory: &Inventory, spec: &TaskSpec) -> bool {
    ever_fits(inventory, &Ask::of(inventory, spec))
}

/// What is missing for the task now, with the numbers.
#[must_use]
pub fn lack(inventory: &Inventory, spec: &TaskSpec) -> Lack {
    lack_of(inventory, &Ask::of(inventory, spec))
}

pub(super) fn lack_of(inventory: &Inventory, ask: &Ask) -> Lack {
    let mut lack = Lack {
        workers: ask.workers_min(),
        placeable: 0,
        usable_nodes: 0,
        nodes: 0,
        devices: 0,
        free_devices: 0,
        empty_nodes: 0,
    };
    let variants = variants(inventory, ask);
    let mut sums: BTreeMap<(usize, Scope), u64> = BTreeMap::new();
    let everything = KindSet::all();
    for ix in ask.group(inventory).into_iter().flat_map(|group| inventory.group_nodes(group)) {
        let node = inventory.node(ix);
        if node.is_gone() {
            continue;
        }
        lack.nodes += 1;
        if !ask.allows(inventory, node) {
            continue;
        }
        lack.usable_nodes += 1;
        let room = node.room_at(When::Now);
        lack.empty_nodes += u32::from(room.workers == 0);
        let seat = Seat::new(inventory, ask, &everything, node, &room);
        lack.devices += seat.accepted.count_ones();
        if !room.taken_whole {
            lack.free_devices += match ask.request().devices {
                Devices::Share(_) | Devices::Memory(_) => u32::try_from(seat.cards().count()).unwrap_or(u32::MAX),
                Devices::WholeNode | Devices::Count(_) => (room.devices & seat.accepted).count_ones(),
            };
        }
        for (variant, kinds) in variants.iter().enumerate() {
            let capacity = Seat::new(inventory, ask, kinds, node, &room).capacity();
            *sums.entry((variant, Scope::of(inventory, ask, node))).or_default() += u64::from(capacity);
        }
    }
    let most = sums.values().copied().max().unwrap_or(0);
    lack.placeable = u32::try_from(most).unwrap_or(u32::MAX).min(lack.workers);
    lack
}
