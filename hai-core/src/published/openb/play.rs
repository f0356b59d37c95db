//! One run: pods arrive, get a node by a placement policy or none, and stay.

use std::collections::BTreeMap;

use super::workload::{Course, Workload};
use crate::inventory::{Inventory, KindSet, NodeIx, Stage, When};
use crate::model::{GroupName, Priority, RunId, TaskSpec, UserName, WorkerRequest};
use crate::placement::policy::Fgd;
use crate::placement::{Ask, Placer, Policy, Within};

/// The most pods on one node.
const PODS_MAX: usize = 1001;

/// The cluster after one arrival. Devices are in thousandths.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// The pod, by its place in [`Workload::pods`].
    pub pod: usize,
    /// Its node, by its place in [`Workload::nodes`]; `None` if it got none.
    pub node: Option<usize>,
    /// What all pods so far asked for.
    pub arrived: u64,
    /// What they got.
    pub used: u64,
    /// The fragmentation of all nodes, as the expected work sees it.
    pub fragmentation: f64,
}

/// Plays a run and tells of each arrival.
///
/// Memory decides whether a pod fits and nothing else, so that pods that differ in nothing else share one order of nodes.
pub fn play(workload: &Workload, course: &Course, policy: Policy, mut tell: impl FnMut(&Event)) {
    let (pods, nodes) = (workload.pods(), workload.nodes());
    let mut by_rank: Vec<usize> = (0..nodes.len()).collect();
    by_rank.sort_by_key(|&node| course.ranks[node]);
    let mut inventory = Inventory::default();
    // Ties between nodes go to the one that joined first.
    let places: Vec<NodeIx> = by_rank.iter().map(|&node| inventory.set(nodes[node].clone())).collect();
    let node_of: BTreeMap<NodeIx, usize> = places.iter().copied().zip(by_rank).collect();

    let mut asks: Vec<Ask> = Vec::new();
    let mut known: BTreeMap<WorkerRequest, usize> = BTreeMap::new();
    let asked: Vec<usize> = pods
        .iter()
        .map(|pod| {
            let request = WorkerRequest { memory_mib: 0, ..workload.request(pod) };
            *known.entry(request).or_insert_with_key(|request| {
                asks.push(ask(&inventory, &nodes[0].group, request));
                asks.len() - 1
            })
        })
        .collect();
    let mut placer = Placer::new(policy).remembering(asks.len());

    let expected = Fgd::new(workload.typical());
    let fragment = |inventory: &Inventory, ix: NodeIx| {
        let node = inventory.node(ix);
        expected.fragmentation(inventory, node, &node.room_at(When::Now))
    };
    let mut fragments: i128 = places.iter().map(|&ix| fragment(&inventory, ix)).sum();
    let mut memory_left: Vec<u64> = inventory.nodes_joined().map(|node| node.spec().memory_mib).collect();
    let kinds = KindSet::all();
    let (mut arrived, mut used) = (0, 0);
    for (run, &pod) in (0..).zip(&course.arrivals) {
        let (at, pod) = (pod, &pods[pod]);
        arrived += pod.device_milli();
        let full = |ix: &NodeIx| memory_left[ix.index()] < pod.memory_mib;
        let avoid: Vec<NodeIx> = places.iter().copied().filter(full).collect();
        let within = Within { avoid: &avoid, salt: run, ..Within::anything(When::Now, &kinds) };
        let found = placer.place(&inventory, &asks[asked[at]], &within);
        let mut node = None;
        if let Some(&(ix, mut take)) = found.as_ref().and_then(|places| places.first()) {
            take.memory_mib = pod.memory_mib;
            fragments -= fragment(&inventory, ix);
            inventory.hold_at(ix, take, RunId(run), 0, Stage::Staying);
            fragments += fragment(&inventory, ix);
            used += pod.device_milli();
            memory_left[ix.index()] -= pod.memory_mib;
            if inventory.node(ix).holds().len() >= PODS_MAX {
                inventory.cool(ix, Some(crate::model::Time::ZERO));
            }
            node = node_of.get(&ix).copied();
        }
        let fragmentation = fragments as f64 / (expected.weight().max(1)) as f64;
        tell(&Event { pod: at, node, arrived, used, fragmentation });
    }
}

/// The request of one pod, ready to be asked.
fn ask(inventory: &Inventory, group: &GroupName, request: &WorkerRequest) -> Ask {
    let user = UserName::new("openb").expect("`openb` is a name");
    Ask::of(inventory, &TaskSpec::new("pod", user, group.clone(), Priority::Normal, request.clone()))
}
