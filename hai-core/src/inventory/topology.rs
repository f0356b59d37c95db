//! The network as a tree: zones, in them spines, in them leaves, and on those the nodes.
//!
//! A part of a location that is unknown still gets a place of its own in the tree, so that every node hangs on a leaf;
//! but such a place has no name, and nodes that share it are not near to each other.

use std::collections::BTreeMap;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::model::{Location, PlaceName};

/// A zone, a spine or a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaceIx(u32);

/// How wide a place is, the narrowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// One switch.
    Leaf,
    /// The switches below one switch.
    Spine,
    /// One network.
    Zone,
}

/// Where a node hangs in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// Its leaf.
    pub leaf: PlaceIx,
    /// Its spine.
    pub spine: PlaceIx,
    /// Its zone.
    pub zone: PlaceIx,
}

#[derive(Clone, Debug)]
struct Place {
    level: Level,
    /// Whether its name is known.
    named: bool,
}

/// The tree. Places are only added: a network has few of them.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    graph: DiGraph<Place, ()>,
    by_name: BTreeMap<(Option<PlaceIx>, Option<PlaceName>), PlaceIx>,
    /// Zones, in the order in which they appeared.
    zones: Vec<PlaceIx>,
}

impl PlaceIx {
    /// The number itself.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    fn graph(self) -> NodeIndex {
        NodeIndex::new(self.index())
    }
}

impl Path {
    /// The place at a level.
    #[must_use]
    pub fn at(&self, level: Level) -> PlaceIx {
        match level {
            Level::Leaf => self.leaf,
            Level::Spine => self.spine,
            Level::Zone => self.zone,
        }
    }
}

impl Topology {
    pub(super) fn path_of(&mut self, location: &Location) -> Path {
        let zone = self.place(None, location.zone.as_ref(), Level::Zone);
        let spine = self.place(Some(zone), location.spine.as_ref(), Level::Spine);
        let leaf = self.place(Some(spine), location.leaf.as_ref(), Level::Leaf);
        Path { leaf, spine, zone }
    }

    fn place(&mut self, parent: Option<PlaceIx>, name: Option<&PlaceName>, level: Level) -> PlaceIx {
        let key = (parent, name.cloned());
        if let Some(&known) = self.by_name.get(&key) {
            return known;
        }
        let node = self.graph.add_node(Place { level, named: name.is_some() });
        let ix = PlaceIx(u32::try_from(node.index()).expect("fewer than 2^32 places"));
        match parent {
            Some(parent) => {
                self.graph.add_edge(parent.graph(), node, ());
            }
            None => self.zones.push(ix),
        }
        self.by_name.insert(key, ix);
        ix
    }

    /// How many places there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.graph.node_count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All zones, in the order in which they appeared.
    #[must_use]
    pub fn zones(&self) -> &[PlaceIx] {
        &self.zones
    }

    /// All places at a level, in the order in which they appeared.
    pub fn places(&self, level: Level) -> impl Iterator<Item = PlaceIx> + '_ {
        (0_u32..)
            .zip(self.graph.node_weights())
            .filter(move |(_, place)| place.level == level)
            .map(|(ix, _)| PlaceIx(ix))
    }

    /// The places right below one, in no particular order.
    pub fn below(&self, place: PlaceIx) -> impl Iterator<Item = PlaceIx> + '_ {
        let below = self.graph.neighbors_directed(place.graph(), Direction::Outgoing);
        below.map(|node| PlaceIx(u32::try_from(node.index()).expect("was made from 32 bits")))
    }

    /// How wide a place is.
    #[must_use]
    pub fn level(&self, place: PlaceIx) -> Level {
        self.graph[place.graph()].level
    }

    /// Whether the place is known by name. Nodes that only share an unknown place are not near to each other.
    #[must_use]
    pub fn is_named(&self, place: PlaceIx) -> bool {
        self.graph[place.graph()].named
    }

    /// How far two different nodes are from each other: 1 under one leaf, 2 under one spine, 3 in one zone, else 4.
    #[must_use]
    pub fn distance(&self, a: &Path, b: &Path) -> u32 {
        let shared = |level: Level| a.at(level) == b.at(level) && self.is_named(a.at(level));
        let levels = [(Level::Leaf, 1), (Level::Spine, 2), (Level::Zone, 3)];
        levels.into_iter().find(|(level, _)| shared(*level)).map_or(4, |(_, distance)| distance)
    }
}
