//! An order of nodes in which some have a room that they do not have yet.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::ask::Ask;
use super::field::Field;
use super::placer::Within;
use super::policy::Policy;
use super::ranking::{Key, Ranking, UNFIT, key_of};
use super::seat::Seat;
use crate::inventory::{Inventory, Node, NodeIx, PlaceIx, Room, When};

/// What is thought of a node with another room.
struct Changed {
    room: Room,
    key: Key,
    fits: u32,
}

/// A ranking with other rooms for some nodes.
pub(crate) struct Overlay<'a> {
    base: &'a Ranking,
    when: When,
    changed: BTreeMap<NodeIx, Changed>,
    /// The changed nodes on which a worker fits, the best first.
    order: Vec<(Key, NodeIx)>,
    /// Workers that fit below a place in the base and no more, and the other way round.
    below: BTreeMap<PlaceIx, (u64, u64)>,
    total: u64,
}

impl<'a> Overlay<'a> {
    /// The ranking of the same request and kinds, but for these nodes with these rooms.
    pub(crate) fn of(
        base: &'a Ranking,
        inventory: &Inventory,
        ask: &Ask,
        within: &Within<'_>,
        policy: &Policy,
        rooms: impl Iterator<Item = (NodeIx, Room)>,
    ) -> Self {
        let mut overlay = Overlay {
            base,
            when: within.when,
            changed: BTreeMap::new(),
            order: Vec::new(),
            below: BTreeMap::new(),
            total: base.total(),
        };
        for (ix, room) in rooms {
            let node = inventory.node(ix);
            let (mut key, mut fits) = (UNFIT, 0);
            if ask.allows(inventory, node) && ask.may_fit_in(&room) {
                let seat = Seat::new(inventory, ask, within.kinds, node, &room);
                fits = seat.capacity();
                if fits > 0 {
                    key = key_of(&seat, policy);
                    overlay.order.push((key, ix));
                }
            }
            let (before, after) = (u64::from(base.fits(ix)), u64::from(fits));
            let path = node.path();
            for place in [path.leaf, path.spine, path.zone] {
                let (less, more) = overlay.below.entry(place).or_default();
                *less += before;
                *more += after;
            }
            overlay.total = overlay.total - before + after;
            overlay.changed.insert(ix, Changed { room, key, fits });
        }
        overlay.order.sort_unstable();
        overlay
    }
}

impl Field for Overlay<'_> {
    fn key(&self, ix: NodeIx) -> Key {
        self.changed.get(&ix).map_or_else(|| self.base.key(ix), |changed| changed.key)
    }

    fn fits(&self, ix: NodeIx) -> u32 {
        self.changed.get(&ix).map_or_else(|| self.base.fits(ix), |changed| changed.fits)
    }

    fn below(&self, place: PlaceIx) -> u64 {
        let (less, more) = self.below.get(&place).copied().unwrap_or_default();
        self.base.below(place) - less + more
    }

    fn total(&self) -> u64 {
        self.total
    }

    fn ordered(&self) -> Box<dyn Iterator<Item = (Key, NodeIx)> + '_> {
        let mut same = self.base.ordered().filter(|(_, ix)| !self.changed.contains_key(ix)).peekable();
        let mut changed = self.order.iter().copied().peekable();
        Box::new(std::iter::from_fn(move || match (same.peek(), changed.peek()) {
            (Some(a), Some(b)) if b < a => changed.next(),
            (Some(_), _) => same.next(),
            (None, _) => changed.next(),
        }))
    }

    fn room<'n>(&'n self, node: &'n Node) -> Cow<'n, Room> {
        match self.changed.get(&node.ix()) {
            Some(changed) => Cow::Borrowed(&changed.room),
            None => node.room_at(self.when),
        }
    }
}
