//! What exists and what is free: nodes in a dense table, who holds what, and which nodes changed.
//!
//! See [`Inventory`] for the primary entry point. Of every node two rooms are kept: what is free **now**, and what
//! will be free **later**, when everybody who is leaving has left and every promise is kept. A start needs both; a
//! promise needs the second. Whoever keeps an order of the nodes asks for those that changed since it last looked
//! ([`Inventory::changed_since`]), so a change costs the same whatever the number of nodes.

mod kind;
mod links;
mod node;
mod room;
mod topology;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::BuildHasherDefault;

use indexmap::IndexMap;
use rustc_hash::FxHasher;

pub(crate) use kind::narrow;
pub use kind::{Catalogue, Kind, KindIx, KindSet, Make, MakeIx, Site, SiteIx};
pub use links::Links;
pub(crate) use links::bits;
pub use node::{Hold, Node, Stage, When};
pub use room::{MILLI_PER_DEVICE, Room, Shared, Take};
pub use topology::{Level, Path, PlaceIx, Topology};

use crate::model::{GroupName, NodeName, NodeSpec, RunId, Time, WorkerPlacement};

/// Changes that are remembered at least, however few nodes there are.
const CHANGES_MIN: usize = 1024;

/// A node's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIx(u32);

/// A group's place in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupIx(u32);

#[derive(Clone, Debug, Default)]
struct Group {
    nodes: BTreeSet<NodeIx>,
    /// The same by leaf.
    by_leaf: BTreeMap<PlaceIx, BTreeSet<NodeIx>>,
    /// The kinds of its devices, each with the number of nodes that have such.
    kinds: BTreeMap<KindIx, u32>,
    /// Rises when a node joins, leaves, or is described anew.
    shape: u64,
}

/// All machines.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    nodes: Vec<Option<Node>>,
    /// Unseeded: it is never walked through.
    by_name: IndexMap<NodeName, NodeIx, BuildHasherDefault<FxHasher>>,
    groups: Vec<Group>,
    group_names: BTreeMap<GroupName, GroupIx>,
    catalogue: Catalogue,
    topology: Topology,
    /// The last changes, oldest first; the last one has the number `change_count`.
    changes: VecDeque<NodeIx>,
    change_count: u64,
    /// By node: the number of its last change, and how many devices nobody has later. Kept apart from the nodes, so that
    /// those that are of no use need not be looked at.
    changed: Vec<u64>,
    free_later: Vec<u8>,
}

impl NodeIx {
    /// The number itself.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    pub(crate) const fn at(index: u32) -> Self {
        NodeIx(index)
    }
}

impl GroupIx {
    /// The number itself.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Inventory {
    /// The node with this name.
    #[must_use]
    pub fn find(&self, name: &NodeName) -> Option<NodeIx> {
        self.by_name.get(name).copied()
    }

    /// A node.
    ///
    /// # Panics
    /// If the node was removed; an index is never kept beyond that.
    #[must_use]
    pub fn node(&self, ix: NodeIx) -> &Node {
        self.nodes[ix.index()].as_ref().expect("an index of a node is dropped with the node")
    }

    /// A node; `None` if it was removed.
    #[must_use]
    pub fn get(&self, ix: NodeIx) -> Option<&Node> {
        self.nodes.get(ix.index())?.as_ref()
    }

    fn node_mut(&mut self, ix: NodeIx) -> &mut Node {
        self.nodes[ix.index()].as_mut().expect("an index of a node is dropped with the node")
    }

    /// One more than the greatest index that a node ever had.
    #[must_use]
    pub fn node_slots(&self) -> usize {
        self.nodes.len()
    }

    /// How many devices of a node nobody has, nor a part of them, once everybody who is leaving has left.
    #[must_use]
    pub fn free_later(&self, ix: NodeIx) -> u32 {
        self.free_later.get(ix.index()).copied().map_or(0, u32::from)
    }

    /// All nodes, by name. Costs O(n log n).
    pub fn nodes(&self) -> impl Iterator<Item = &Node> + '_ {
        let mut nodes: Vec<&Node> = self.nodes_joined().collect();
        nodes.sort_unstable_by_key(|node| &node.spec.name);
        nodes.into_iter()
    }

    /// All nodes in the order in which they joined.
    pub fn nodes_joined(&self) -> impl Iterator<Item = &Node> + '_ {
        self.nodes.iter().flatten()
    }

    /// The group with this name, if a node ever belonged to it.
    #[must_use]
    pub fn find_group(&self, group: &GroupName) -> Option<GroupIx> {
        self.group_names.get(group).copied()
    }

    /// The nodes of a group, whatever their state.
    pub fn group(&self, group: &GroupName) -> impl Iterator<Item = NodeIx> + '_ {
        self.find_group(group).into_iter().flat_map(|group| self.group_nodes(group))
    }

    /// The nodes of a group, whatever their state.
    pub fn group_nodes(&self, group: GroupIx) -> impl Iterator<Item = NodeIx> + '_ {
        self.groups.get(group.index()).into_iter().flat_map(|group| group.nodes.iter().copied())
    }

    /// The kinds of devices that the nodes of a group have, whatever their state.
    pub fn group_kinds(&self, group: &GroupName) -> impl Iterator<Item = KindIx> + '_ {
        self.find_group(group).into_iter().flat_map(|group| self.groups[group.index()].kinds.keys().copied())
    }

    fn count_kinds(&mut self, ix: NodeIx, joins: bool) {
        let node = self.node(ix);
        let (group, make) = (node.group, node.make);
        let kinds = &mut self.groups[group.index()].kinds;
        for &(kind, _) in self.catalogue.make(make).kinds() {
            let nodes = kinds.entry(kind).or_default();
            *nodes = if joins { *nodes + 1 } else { nodes.saturating_sub(1) };
            if *nodes == 0 {
                kinds.remove(&kind);
            }
        }
    }

    /// The nodes of a group under a leaf, whatever their state.
    pub fn leaf_nodes(&self, group: GroupIx, leaf: PlaceIx) -> impl Iterator<Item = NodeIx> + '_ {
        let group = self.groups.get(group.index());
        group.and_then(|group| group.by_leaf.get(&leaf)).into_iter().flat_map(|nodes| nodes.iter().copied())
    }

    /// Whether any node belongs to the group.
    #[must_use]
    pub fn has_group(&self, group: &GroupName) -> bool {
        self.group(group).any(|ix| !self.node(ix).is_gone())
    }

    /// A number that rises whenever a node of the group joins, leaves or is described anew, and at nothing else.
    #[must_use]
    pub fn group_shape(&self, group: GroupIx) -> u64 {
        self.groups.get(group.index()).map_or(0, |group| group.shape)
    }

    /// All kinds, makes and sites that occurred.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The make of a node.
    #[must_use]
    pub fn make_of(&self, node: &Node) -> &Make {
        self.catalogue.make(node.make)
    }

    /// The network.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// How many changes there were.
    #[must_use]
    pub fn change_count(&self) -> u64 {
        self.change_count
    }

    /// The nodes that changed after the change with this number, each once; `None` if that is too long ago, so that
    /// all nodes are to be looked at. Nodes that were removed are among them.
    pub fn changed_since(&self, change: u64) -> Option<impl Iterator<Item = NodeIx> + '_> {
        let behind = usize::try_from(self.change_count.saturating_sub(change)).ok()?;
        let first = self.changes.len().checked_sub(behind)?;
        let numbered = (change + 1..).zip(self.changes.range(first..));
        // Only the last change of each node counts.
        Some(numbered.filter(|&(at, &ix)| self.changed[ix.index()] == at).map(|(_, &ix)| ix))
    }

    /// Adds or changes a node. Returns its place.
    pub fn set(&mut self, spec: NodeSpec) -> NodeIx {
        let make = self.catalogue.make_of(&spec);
        let site = self.catalogue.site_of(&spec);
        let path = self.topology.path_of(&spec.location);
        let group = self.group_ix(&spec.group);
        let all_well = spec.devices.iter().all(|device| device.health.is_healthy());
        let ix = if let Some(ix) = self.find(&spec.name) {
            if !self.node(ix).gone {
                self.count_kinds(ix, false);
            }
            self.leave_group(ix);
            let node = self.node_mut(ix);
            let old = std::mem::replace(&mut node.spec, spec);
            node.gone = false;
            (node.group, node.make, node.site, node.path, node.all_well) = (group, make, site, path, all_well);
            node.healthy = room::healthy(&node.spec);
            if old.devices.iter().map(|device| &device.id).ne(node.spec.devices.iter().map(|device| &device.id)) {
                for hold in &mut node.holds {
                    let place = hold.take.named(&old);
                    hold.take.devices = Take::of(&place, &node.spec).devices;
                }
            }
            ix
        } else {
            let ix = NodeIx(u32::try_from(self.nodes.len()).expect("fewer than 2^32 nodes"));
            let room = Room::of_empty(&spec);
            self.by_name.insert(spec.name.clone(), ix);
            self.nodes.push(Some(Node {
                spec,
                ix,
                group,
                make,
                site,
                path,
                all_well,
                healthy: room.devices,
                gone: false,
                cooling: None,
                holds: Vec::new(),
                now: room.clone(),
                later: room,
            }));
            ix
        };
        let group = &mut self.groups[group.index()];
        group.nodes.insert(ix);
        group.by_leaf.entry(path.leaf).or_default().insert(ix);
        group.shape += 1;
        self.count_kinds(ix, true);
        self.refresh(ix);
        ix
    }

    fn group_ix(&mut self, name: &GroupName) -> GroupIx {
        if let Some(known) = self.find_group(name) {
            return known;
        }
        let ix = GroupIx(u32::try_from(self.groups.len()).expect("fewer than 2^32 groups"));
        self.groups.push(Group::default());
        self.group_names.insert(name.clone(), ix);
        ix
    }

    /// Takes a node out; it stays known until the last hold on it is released.
    pub fn remove(&mut self, ix: NodeIx) {
        if !self.node(ix).gone {
            self.count_kinds(ix, false);
        }
        let node = self.node_mut(ix);
        node.gone = true;
        let group = node.group;
        self.groups[group.index()].shape += 1;
        self.refresh(ix);
        self.bury(ix);
    }

    fn bury(&mut self, ix: NodeIx) {
        let node = self.node(ix);
        if node.gone && node.holds.is_empty() {
            self.leave_group(ix);
            let node = self.nodes[ix.index()].take().expect("looked at above");
            self.by_name.swap_remove(&node.spec.name);
        }
    }

    fn leave_group(&mut self, ix: NodeIx) {
        let node = self.node(ix);
        let (group, leaf) = (node.group, node.path.leaf);
        let group = &mut self.groups[group.index()];
        group.nodes.remove(&ix);
        group.shape += 1;
        if let Some(nodes) = group.by_leaf.get_mut(&leaf) {
            nodes.remove(&ix);
            if nodes.is_empty() {
                group.by_leaf.remove(&leaf);
            }
        }
    }

    /// Keeps new work off a node until this is called again with `None`. `until` is what is told about it; time alone
    /// releases nothing here.
    pub fn cool(&mut self, ix: NodeIx, until: Option<Time>) {
        let node = self.node_mut(ix);
        if node.cooling != until {
            node.cooling = until;
            self.refresh(ix);
        }
    }

    /// Gives a part of a node to a worker. A node that is not known (a replayed placement) is left out.
    pub fn hold(&mut self, place: &WorkerPlacement, run: RunId, rank: u32, stage: Stage) {
        if let Some(ix) = self.find(&place.node) {
            let take = Take::of(place, &self.node(ix).spec);
            self.hold_at(ix, take, run, rank, stage);
        }
    }

    /// Gives a part of a node to a worker.
    pub fn hold_at(&mut self, ix: NodeIx, take: Take, run: RunId, rank: u32, stage: Stage) {
        let node = self.node_mut(ix);
        node.holds.push(Hold { run, take, rank, stage });
        // What was given last is taken off what is left; only what leaves makes a recount necessary.
        if stage != Stage::Promised {
            node.now.subtract(&take);
        }
        if stage != Stage::Vacating {
            node.later.subtract(&take);
        }
        self.mark(ix);
    }

    /// Looks up again what everybody on a node was given, in terms of its devices as they are now.
    pub fn retake(&mut self, ix: NodeIx, given: impl Fn(RunId, u32) -> Option<WorkerPlacement>) {
        let node = self.node_mut(ix);
        for hold in &mut node.holds {
            if let Some(place) = given(hold.run, hold.rank) {
                hold.take = Take::of(&place, &node.spec);
            }
        }
        self.refresh(ix);
    }

    /// Changes for how long a worker holds its part.
    pub fn restage(&mut self, name: &NodeName, run: RunId, rank: u32, stage: Stage) {
        if let Some(ix) = self.find(name) {
            self.restage_at(ix, run, rank, stage);
        }
    }

    /// Changes for how long a worker holds its part.
    pub fn restage_at(&mut self, ix: NodeIx, run: RunId, rank: u32, stage: Stage) {
        for hold in &mut self.node_mut(ix).holds {
            if hold.run == run && hold.rank == rank {
                hold.stage = stage;
            }
        }
        self.refresh(ix);
    }

    /// Takes back what a worker held.
    pub fn release(&mut self, name: &NodeName, run: RunId, rank: u32) {
        if let Some(ix) = self.find(name) {
            self.release_at(ix, run, rank);
        }
    }

    /// Takes back what a worker held.
    pub fn release_at(&mut self, ix: NodeIx, run: RunId, rank: u32) {
        self.node_mut(ix).holds.retain(|hold| hold.run != run || hold.rank != rank);
        self.refresh(ix);
        self.bury(ix);
    }

    fn refresh(&mut self, ix: NodeIx) {
        self.node_mut(ix).recount();
        self.mark(ix);
    }

    /// Counts as a change of the node, for those who follow more about it than the inventory knows.
    pub fn touch(&mut self, ix: NodeIx) {
        self.mark(ix);
    }

    /// Notes that a node changed.
    fn mark(&mut self, ix: NodeIx) {
        self.change_count += 1;
        let count = self.change_count;
        let node = self.node(ix);
        let free = u8::try_from(node.later.devices.count_ones()).expect("a mask has 64 bits");
        if self.free_later.len() <= ix.index() {
            self.free_later.resize(ix.index() + 1, 0);
            self.changed.resize(ix.index() + 1, 0);
        }
        self.changed[ix.index()] = count;
        self.free_later[ix.index()] = free;
        if self.changes.len() >= self.nodes.len().max(CHANGES_MIN) {
            self.changes.pop_front();
        }
        self.changes.push_back(ix);
    }
}
