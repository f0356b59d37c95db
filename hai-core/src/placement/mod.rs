//! Where the workers of a task go: the tightest fit, all of them or none.
//!
//! See [`place_now`] for a start, [`place_later`] for a promise and [`Hypothesis`] for "if these left".

use std::collections::{BTreeMap, BTreeSet};

use crate::inventory::{Inventory, Node, NodeIx, Room};
use crate::model::{DeviceHealth, Devices, Lack, Placement, RunId, TaskSpec, WorkerPlacement};

/// Places all workers in what is free now and promised to nobody; `None` if they do not fit.
#[must_use]
pub fn place_now(inventory: &Inventory, spec: &TaskSpec) -> Option<Placement> {
    let mut placed = Vec::new();
    fill(inventory, spec, inventory.candidates(&spec.group, &spec.request), Node::room_now, &mut placed);
    complete(spec, placed)
}

/// Places all workers in what will be free once everybody who is leaving has left; `None` if they do not fit.
#[must_use]
pub fn place_later(inventory: &Inventory, spec: &TaskSpec) -> Option<Placement> {
    let mut placed = Vec::new();
    fill(inventory, spec, inventory.candidates(&spec.group, &spec.request), Node::room_later, &mut placed);
    complete(spec, placed)
}

/// Placing a task as if some of a given set of runs had left.
///
/// How much fits with everybody in place is looked up once; each question then costs in proportion to the nodes that
/// the leaving runs are on.
#[derive(Debug)]
pub struct Hypothesis<'a> {
    inventory: &'a Inventory,
    spec: &'a TaskSpec,
    /// Nodes with at least one of the runs on them, and how many workers fit there as things are.
    touched: BTreeMap<NodeIx, usize>,
    /// Workers that fit elsewhere, whoever leaves.
    elsewhere: Vec<WorkerPlacement>,
}

impl<'a> Hypothesis<'a> {
    /// `touched` are the nodes that the runs in question are on.
    #[must_use]
    pub fn new(inventory: &'a Inventory, spec: &'a TaskSpec, touched: &BTreeSet<NodeIx>) -> Self {
        let mut elsewhere = Vec::new();
        let others = inventory.candidates(&spec.group, &spec.request).filter(|ix| !touched.contains(ix));
        fill(inventory, spec, others, Node::room_later, &mut elsewhere);
        let mut hypothesis = Hypothesis { inventory, spec, touched: BTreeMap::new(), elsewhere };
        for &ix in touched.iter().filter(|&&ix| takes_new_work(inventory.node(ix), spec)) {
            let fitting = hypothesis.on_node(ix, |_| false);
            hypothesis.touched.insert(ix, fitting);
        }
        hypothesis
    }

    /// How many workers fit on other nodes, at most as many as are needed.
    #[must_use]
    pub fn elsewhere(&self) -> usize {
        self.elsewhere.len()
    }

    /// Where all workers would be if the runs for which `leaves` is true left; `None` if they would not fit.
    #[must_use]
    pub fn place(&self, leaves: impl Fn(RunId) -> bool + Copy) -> Option<Placement> {
        let mut placed = self.elsewhere.clone();
        let nodes = self.touched.keys().copied();
        fill(self.inventory, self.spec, nodes, |node| node.room_later_without(leaves), &mut placed);
        complete(self.spec, placed)
    }

    /// How many workers would fit on one node, at most as many as are needed.
    #[must_use]
    pub fn on_node(&self, ix: NodeIx, leaves: impl Fn(RunId) -> bool + Copy) -> usize {
        let node = self.inventory.node(ix);
        let room = node.room_later_without(leaves);
        room_for(room, node.spec(), self.spec, u64::from(self.spec.workers)).count()
    }

    /// Nodes with at least one of the runs on them that take new work.
    pub fn touched(&self) -> impl ExactSizeIterator<Item = NodeIx> + '_ {
        self.touched.keys().copied()
    }
}

/// Whether the task could ever be placed if all nodes of its group were ready and empty, and their devices well.
#[must_use]
pub fn fits_empty(inventory: &Inventory, spec: &TaskSpec) -> bool {
    let mut missing = u64::from(spec.workers);
    for ix in inventory.group(&spec.group) {
        if inventory.node(ix).is_gone() {
            continue;
        }
        let node = inventory.node(ix).spec();
        if !node.taints.is_subset(&spec.tolerates) {
            continue;
        }
        let fitting = if node.devices.iter().all(|device| device.health.is_healthy()) {
            room_for(Room::of_empty(node), node, spec, missing).count() as u64
        } else {
            let mut well = node.clone();
            well.devices.iter_mut().for_each(|device| device.health = DeviceHealth::Healthy);
            room_for(Room::of_empty(&well), &well, spec, missing).count() as u64
        };
        missing = missing.saturating_sub(fitting);
        if missing == 0 {
            return true;
        }
    }
    false
}

/// What is missing for the task now, with the numbers.
#[must_use]
pub fn lack(inventory: &Inventory, spec: &TaskSpec) -> Lack {
    let mut lack = Lack {
        workers: spec.workers,
        placeable: 0,
        usable_nodes: 0,
        nodes: 0,
        devices: 0,
        free_devices: 0,
        empty_nodes: 0,
    };
    for ix in inventory.group(&spec.group) {
        let node = inventory.node(ix);
        if node.is_gone() {
            continue;
        }
        lack.nodes += 1;
        if !takes_new_work(node, spec) {
            continue;
        }
        lack.usable_nodes += 1;
        let room = node.room_now();
        lack.empty_nodes += u32::from(room.workers == 0);
        for (index, device) in node.spec().devices.iter().enumerate() {
            if spec.request.accepts(device) {
                lack.devices += 1;
                lack.free_devices += u32::from(!room.taken_whole && room.devices & (1 << index) != 0);
            }
        }
        let missing = u64::from(spec.workers - lack.placeable);
        let here = room_for(room, node.spec(), spec, missing).count();
        lack.placeable += u32::try_from(here).expect("at most `missing`, which fits");
    }
    lack
}

/// Whether one worker fits on a node with so much room.
#[must_use]
pub fn fits_on(node: &Node, spec: &TaskSpec, room: Room) -> bool {
    takes_new_work(node, spec) && room.take(node.spec(), &spec.request).is_some()
}

/// Whether the node may get new workers of this task, room left aside.
fn takes_new_work(node: &Node, spec: &TaskSpec) -> bool {
    node.is_usable() && node.spec().group == spec.group && node.spec().taints.is_subset(&spec.tolerates)
}

fn fill(
    inventory: &Inventory,
    spec: &TaskSpec,
    nodes: impl Iterator<Item = NodeIx>,
    room: impl Fn(&Node) -> Room,
    placed: &mut Vec<WorkerPlacement>,
) {
    for ix in nodes {
        let missing = spec.workers as usize - placed.len();
        if missing == 0 {
            return;
        }
        let node = inventory.node(ix);
        if takes_new_work(node, spec) {
            placed.extend(room_for(room(node), node.spec(), spec, missing as u64));
        }
    }
}

/// The workers of the task, at most `most`, that fit into `room` together.
fn room_for<'a>(
    mut room: Room,
    node: &'a crate::model::NodeSpec,
    spec: &'a TaskSpec,
    most: u64,
) -> impl Iterator<Item = WorkerPlacement> + 'a {
    let alone = spec.distinct_nodes || spec.request.devices == Devices::WholeNode;
    let most = if alone { most.min(1) } else { most };
    (0..most).map_while(move |_| {
        let take = room.take(node, &spec.request)?;
        room = room.without(&take);
        Some(take.named(node))
    })
}

fn complete(spec: &TaskSpec, placed: Vec<WorkerPlacement>) -> Option<Placement> {
    (placed.len() == spec.workers as usize).then_some(Placement { workers: placed.into() })
}
