//! What exists and what is free: nodes in a dense table, who holds what, and an index by what is left.
//!
//! See [`Inventory`] for the primary entry point. Of every node two rooms are kept: what is free **now**, and what
//! will be free **later**, when everybody who is leaving has left and every promise is kept. A start needs both; a
//! promise needs the second.

mod room;

use std::collections::{BTreeMap, BTreeSet};

pub use room::{Room, Take};

use crate::model::{Devices, GroupName, NodeName, NodeSpec, RunId, WorkerPlacement, WorkerRequest};

/// A node's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIx(u32);

impl NodeIx {
    /// The place as a number; numbers are dense and never used twice.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Whether a part of a node is held for good, until its holder has left, or not before others have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reserved or executing.
    Staying,
    /// Told to leave.
    Vacating,
    /// Set aside for a run that has not started.
    Promised,
}

/// One worker's part of a node.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    /// The run.
    pub run: RunId,
    /// Which worker.
    pub rank: u32,
    /// Its part.
    pub take: Take,
    /// For how long.
    pub stage: Stage,
}

/// One machine and who is on it.
#[derive(Clone, Debug)]
pub struct Node {
    spec: NodeSpec,
    /// It was removed; it is kept only until the last worker on it has ended.
    gone: bool,
    /// It refused a start, and gets no other for a while.
    cooling: bool,
    holds: Vec<Hold>,
    now: Room,
    later: Room,
    /// Where the index has it.
    indexed: Option<IndexKey>,
}

/// Sorts nodes for best fit: the least precious devices first, then the fewest left over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct IndexKey {
    /// The most memory that one of its devices has, in MiB.
    device_memory_mib: u64,
    /// Devices that are free later.
    free: u32,
}

#[derive(Clone, Debug, Default)]
struct Group {
    nodes: BTreeSet<NodeIx>,
    /// Usable nodes that nobody has whole, by device memory and then by free devices.
    by_room: BTreeMap<u64, BTreeSet<(u32, NodeIx)>>,
    /// Usable nodes with nobody on them later, by device memory.
    empty: BTreeMap<u64, BTreeSet<NodeIx>>,
}

/// All machines.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    nodes: Vec<Option<Node>>,
    by_name: BTreeMap<NodeName, NodeIx>,
    groups: BTreeMap<GroupName, Group>,
}

impl Node {
    /// The node as the cluster described it.
    #[must_use]
    pub fn spec(&self) -> &NodeSpec {
        &self.spec
    }

    /// New work may be placed here.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.spec.ready && !self.spec.cordoned && !self.gone && !self.cooling
    }

    /// What runs here may stay.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.spec.ready && !self.gone
    }

    /// It was removed from the cluster.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Everybody on it.
    #[must_use]
    pub fn holds(&self) -> &[Hold] {
        &self.holds
    }

    /// What is free now and not promised.
    #[must_use]
    pub fn room_now(&self) -> Room {
        self.now.and(self.later)
    }

    /// What will be free once everybody who is leaving has left, and is not promised.
    #[must_use]
    pub fn room_later(&self) -> Room {
        self.later
    }

    /// What would be free later if the runs for which `leaves` is true left too.
    #[must_use]
    pub fn room_later_without(&self, leaves: impl Fn(RunId) -> bool) -> Room {
        self.room(|hold| hold.stage != Stage::Vacating && !leaves(hold.run))
    }

    /// What nobody holds at this moment, promises left aside.
    #[must_use]
    pub fn room_unheld(&self) -> Room {
        self.now
    }

    fn room(&self, counts: impl Fn(&Hold) -> bool) -> Room {
        self.holds
            .iter()
            .filter(|hold| counts(hold))
            .fold(Room::of_empty(&self.spec), |room, hold| room.without(&hold.take))
    }

    fn recount(&mut self) {
        self.now = self.room(|hold| hold.stage != Stage::Promised);
        self.later = self.room(|hold| hold.stage != Stage::Vacating);
    }

    fn index_key(&self) -> IndexKey {
        IndexKey {
            device_memory_mib: self.spec.devices.iter().map(|device| device.memory_mib).max().unwrap_or(0),
            free: self.later.devices.count_ones(),
        }
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
        self.nodes[ix.0 as usize].as_ref().expect("an index of a node is dropped with the node")
    }

    fn node_mut(&mut self, ix: NodeIx) -> &mut Node {
        self.nodes[ix.0 as usize].as_mut().expect("an index of a node is dropped with the node")
    }

    /// All nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> + '_ {
        self.by_name.values().map(|&ix| self.node(ix))
    }

    /// All nodes in the order in which they joined.
    pub fn nodes_joined(&self) -> impl Iterator<Item = &Node> + '_ {
        self.nodes.iter().flatten()
    }

    /// The nodes of a group, whatever their state.
    pub fn group(&self, group: &GroupName) -> impl Iterator<Item = NodeIx> + '_ {
        self.groups.get(group).into_iter().flat_map(|group| group.nodes.iter().copied())
    }

    /// Whether any node belongs to the group.
    #[must_use]
    pub fn has_group(&self, group: &GroupName) -> bool {
        self.groups.get(group).is_some_and(|group| group.nodes.iter().any(|&ix| !self.node(ix).is_gone()))
    }

    /// Usable nodes of the group that may have room later for one worker with this request, the best fit first.
    pub fn candidates<'a>(
        &'a self,
        group: &GroupName,
        request: &'a WorkerRequest,
    ) -> impl Iterator<Item = NodeIx> + 'a {
        let group = self.groups.get(group);
        let least = if request.devices == Devices::Count(0) { 0 } else { request.device_memory_mib };
        let (whole, count) = match request.devices {
            Devices::WholeNode => (true, 0),
            devices => (false, devices.count()),
        };
        let by_room = group.filter(|_| !whole).into_iter().flat_map(move |group| {
            let with_devices = group.by_room.range(least..);
            with_devices.flat_map(move |(_, nodes)| nodes.range((count, NodeIx(0))..).map(|&(_, ix)| ix))
        });
        let empty = group
            .filter(|_| whole)
            .into_iter()
            .flat_map(move |group| group.empty.range(least..).flat_map(|(_, nodes)| nodes.iter().copied()));
        by_room.chain(empty)
    }

    /// Adds or changes a node. Returns its place.
    pub fn set(&mut self, spec: NodeSpec) -> NodeIx {
        let Some(ix) = self.find(&spec.name) else { return self.join(spec) };
        self.unindex(ix);
        let node = self.node_mut(ix);
        let old = std::mem::replace(&mut node.spec, spec);
        node.gone = false;
        if old.devices.iter().map(|device| &device.id).ne(node.spec.devices.iter().map(|device| &device.id)) {
            for hold in &mut node.holds {
                let place = hold.take.named(&old);
                hold.take.devices = Take::of(&place, &node.spec).devices;
            }
        }
        let group = node.spec.group.clone();
        if group != old.group {
            self.leave_group(&old.group, ix);
            self.groups.entry(group).or_default().nodes.insert(ix);
        }
        self.refresh(ix);
        ix
    }

    fn join(&mut self, spec: NodeSpec) -> NodeIx {
        let ix = NodeIx(u32::try_from(self.nodes.len()).expect("fewer than 2^32 nodes"));
        let room = Room::of_empty(&spec);
        self.by_name.insert(spec.name.clone(), ix);
        self.groups.entry(spec.group.clone()).or_default().nodes.insert(ix);
        self.nodes.push(Some(Node {
            spec,
            gone: false,
            cooling: false,
            holds: Vec::new(),
            now: room,
            later: room,
            indexed: None,
        }));
        self.refresh(ix);
        ix
    }

    /// Takes a node out; it stays known until the last hold on it is released.
    pub fn remove(&mut self, ix: NodeIx) {
        self.node_mut(ix).gone = true;
        self.refresh(ix);
        self.bury(ix);
    }

    /// Whether an index still is a node's.
    #[must_use]
    pub fn is_known(&self, ix: NodeIx) -> bool {
        self.nodes.get(ix.0 as usize).is_some_and(Option::is_some)
    }

    /// Lets a node have no new work for a while, or again.
    pub fn set_cooling(&mut self, ix: NodeIx, cooling: bool) {
        self.node_mut(ix).cooling = cooling;
        self.refresh(ix);
    }

    fn bury(&mut self, ix: NodeIx) {
        let node = self.node(ix);
        if node.gone && node.holds.is_empty() {
            self.unindex(ix);
            let node = self.nodes[ix.0 as usize].take().expect("looked at above");
            self.by_name.remove(&node.spec.name);
            self.leave_group(&node.spec.group, ix);
        }
    }

    fn leave_group(&mut self, name: &GroupName, ix: NodeIx) {
        if let Some(group) = self.groups.get_mut(name) {
            group.nodes.remove(&ix);
            if group.nodes.is_empty() {
                self.groups.remove(name);
            }
        }
    }

    /// Gives a part of a node to a worker. A node that is not known (a replayed placement) is left out.
    pub fn hold(&mut self, place: &WorkerPlacement, run: RunId, rank: u32, stage: Stage) {
        if let Some(ix) = self.find(&place.node) {
            let node = self.node_mut(ix);
            let take = Take::of(place, &node.spec);
            node.holds.push(Hold { run, rank, take, stage });
            self.refresh(ix);
        }
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
            for hold in &mut self.node_mut(ix).holds {
                if hold.run == run && hold.rank == rank {
                    hold.stage = stage;
                }
            }
            self.refresh(ix);
        }
    }

    /// Takes back what a worker held.
    pub fn release(&mut self, name: &NodeName, run: RunId, rank: u32) {
        if let Some(ix) = self.find(name) {
            self.node_mut(ix).holds.retain(|hold| hold.run != run || hold.rank != rank);
            self.refresh(ix);
            self.bury(ix);
        }
    }

    fn refresh(&mut self, ix: NodeIx) {
        self.unindex(ix);
        let node = self.node_mut(ix);
        node.recount();
        if !node.is_usable() || node.later.taken_whole {
            return;
        }
        let key = node.index_key();
        let empty = node.later.workers == 0;
        node.indexed = Some(key);
        let name = node.spec.group.clone();
        let group = self.groups.entry(name).or_default();
        group.by_room.entry(key.device_memory_mib).or_default().insert((key.free, ix));
        if empty {
            group.empty.entry(key.device_memory_mib).or_default().insert(ix);
        }
    }

    fn unindex(&mut self, ix: NodeIx) {
        let node = self.node_mut(ix);
        let Some(key) = node.indexed.take() else { return };
        let name = node.spec.group.clone();
        if let Some(group) = self.groups.get_mut(&name) {
            if let Some(nodes) = group.by_room.get_mut(&key.device_memory_mib) {
                nodes.remove(&(key.free, ix));
                if nodes.is_empty() {
                    group.by_room.remove(&key.device_memory_mib);
                }
            }
            if let Some(nodes) = group.empty.get_mut(&key.device_memory_mib) {
                nodes.remove(&ix);
                if nodes.is_empty() {
                    group.empty.remove(&key.device_memory_mib);
                }
            }
        }
    }
}
