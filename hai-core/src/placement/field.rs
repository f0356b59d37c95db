//! Nodes judged by one request, as a search for places sees them: kept up to date ([`super::ranking`]) or looked at once.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::ask::Ask;
use super::placer::Within;
use super::policy::Policy;
use super::ranking::{Key, UNFIT, key_of};
use super::seat::Seat;
use crate::inventory::{Inventory, Node, NodeIx, Path, PlaceIx, Room, When};

/// Nodes judged by one request.
pub(crate) trait Field {
    /// How much a node is liked.
    fn key(&self, ix: NodeIx) -> Key;
    /// How many workers fit on a node.
    fn fits(&self, ix: NodeIx) -> u32;
    /// How many workers fit below a place.
    fn below(&self, place: PlaceIx) -> u64;
    /// How many workers fit in all.
    fn total(&self) -> u64;
    /// Nodes on which a worker fits, the best first.
    fn ordered(&self) -> Box<dyn Iterator<Item = (Key, NodeIx)> + '_>;
    /// What is left of a node.
    fn room<'n>(&'n self, node: &'n Node) -> Cow<'n, Room>;
}

/// A part of the network that all workers of a task must be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Everything.
    All,
    /// A place.
    Place(PlaceIx),
    /// One node, where nothing is known of what is near to it.
    Node(NodeIx),
}

impl Scope {
    /// The part of the network that a request's workers must be in if one of them is on the node.
    pub(crate) fn of(inventory: &Inventory, ask: &Ask, node: &Node) -> Self {
        let constraints = ask.constraints();
        let place = match (constraints.one_leaf, constraints.one_zone) {
            (true, _) => node.path().leaf,
            (false, true) => node.path().zone,
            (false, false) => return Scope::All,
        };
        if inventory.topology().is_named(place) { Scope::Place(place) } else { Scope::Node(node.ix()) }
    }
}

/// How many workers fit on each node, and below each place of the network.
#[derive(Clone, Debug)]
pub(crate) struct Fits {
    /// With where the node was when it was counted.
    nodes: Vec<(u32, Option<Path>)>,
    places: Vec<u64>,
    total: u64,
}

impl Fits {
    pub(crate) fn new(slots: usize) -> Self {
        Fits { nodes: vec![(0, None); slots], places: Vec::new(), total: 0 }
    }

    pub(crate) fn set(&mut self, ix: NodeIx, path: Option<Path>, fits: u32) {
        let (old, old_path) = std::mem::replace(&mut self.nodes[ix.index()], (fits, path));
        for place in old_path.into_iter().flat_map(places) {
            self.places[place.index()] -= u64::from(old);
        }
        for place in path.into_iter().flat_map(places) {
            if self.places.len() <= place.index() {
                self.places.resize(place.index() + 1, 0);
            }
            self.places[place.index()] += u64::from(fits);
        }
        self.total = self.total + u64::from(fits) - u64::from(old);
    }

    pub(crate) fn node(&self, ix: NodeIx) -> u32 {
        self.nodes.get(ix.index()).map_or(0, |&(fits, _)| fits)
    }

    pub(crate) fn below(&self, place: PlaceIx) -> u64 {
        self.places.get(place.index()).copied().unwrap_or(0)
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

fn places(path: Path) -> [PlaceIx; 3] {
    [path.leaf, path.spine, path.zone]
}

/// Nodes looked at once, some of them with a room that they do not have yet.
pub(crate) struct Sketch {
    when: When,
    rooms: BTreeMap<NodeIx, Room>,
    keys: BTreeMap<NodeIx, Key>,
    order: Vec<(Key, NodeIx)>,
    fits: Fits,
}

impl Sketch {
    /// Looks at these nodes of the group. What `room` gives counts for a node, else what it has.
    pub(crate) fn of(
        inventory: &Inventory,
        ask: &Ask,
        within: &Within<'_>,
        policy: &Policy,
        nodes: impl Iterator<Item = NodeIx>,
        room: impl Fn(&Node) -> Option<Room>,
    ) -> Self {
        let mut sketch = Sketch {
            when: within.when,
            rooms: BTreeMap::new(),
            keys: BTreeMap::new(),
            order: Vec::new(),
            // Of one worker nobody asks how many fit.
            fits: Fits::new(if ask.workers() > 1 { inventory.node_slots() } else { 0 }),
        };
        for ix in nodes {
            let node = inventory.node(ix);
            if !ask.allows(inventory, node) {
                continue;
            }
            if let Some(room) = room(node) {
                sketch.rooms.insert(ix, room);
            }
            let room = sketch.room(node);
            if !ask.may_fit_in(&room) {
                continue;
            }
            let seat = Seat::new(inventory, ask, within.kinds, node, &room);
            let fits = seat.capacity();
            if fits > 0 {
                let key = key_of(&seat, policy);
                drop(room);
                sketch.order.push((key, ix));
                sketch.keys.insert(ix, key);
                if ask.workers() > 1 {
                    sketch.fits.set(ix, Some(node.path()), fits);
                }
            }
        }
        sketch.order.sort_unstable();
        sketch
    }
}

impl Field for Sketch {
    fn key(&self, ix: NodeIx) -> Key {
        self.keys.get(&ix).copied().unwrap_or(UNFIT)
    }

    fn fits(&self, ix: NodeIx) -> u32 {
        self.fits.node(ix)
    }

    fn below(&self, place: PlaceIx) -> u64 {
        self.fits.below(place)
    }

    fn total(&self) -> u64 {
        self.fits.total()
    }

    fn ordered(&self) -> Box<dyn Iterator<Item = (Key, NodeIx)> + '_> {
        Box::new(self.order.iter().copied())
    }

    fn room<'n>(&'n self, node: &'n Node) -> Cow<'n, Room> {
        match self.rooms.get(&node.ix()) {
            Some(room) => Cow::Borrowed(room),
            None => node.room_at(self.when),
        }
    }
}
