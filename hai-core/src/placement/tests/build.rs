//! Small clusters, written short.

use crate::inventory::{Inventory, KindSet, NodeIx, Stage, When};
use crate::model::{
    DeviceSpec, Devices, GroupName, ModelName, NodeName, NodeSpec, PlaceName, Priority, RunId, TaskSpec, UserName,
    WorkerPlacement, WorkerRequest,
};
use crate::placement::{Ask, PlacementPolicy, Placer, Places, Policy, Within};

pub(super) fn model(name: &str) -> ModelName {
    ModelName::new(name).expect("a name")
}

pub(super) fn group() -> GroupName {
    GroupName::new("g").expect("a name")
}

pub(super) fn place_name(name: &str) -> PlaceName {
    PlaceName::new(name).expect("a name")
}

/// A node with a device of `memory_mib` for each of `models`.
pub(super) fn node(name: &str, models: &[(&str, u64)]) -> NodeSpec {
    let mut spec = NodeSpec::new(NodeName::new(name).expect("a name"), group(), 64_000, 1 << 20);
    for (at, (kind, memory_mib)) in models.iter().enumerate() {
        let id = format!("GPU-{name}-{at}").parse().expect("an id");
        spec.devices.push(DeviceSpec::new(id, model(kind), *memory_mib));
    }
    spec
}

pub(super) fn on_leaf(mut spec: NodeSpec, leaf: &str, spine: &str, zone: &str) -> NodeSpec {
    spec.location.leaf = Some(place_name(leaf));
    spec.location.spine = Some(place_name(spine));
    spec.location.zone = Some(place_name(zone));
    spec
}

pub(super) fn task(workers: u32, request: WorkerRequest) -> TaskSpec {
    let user = UserName::new("alice").expect("a name");
    TaskSpec { workers, ..TaskSpec::new("t", user, group(), Priority::Normal, request) }
}

pub(super) fn request(devices: Devices) -> WorkerRequest {
    WorkerRequest::of(devices)
}

/// Places a task by a policy and makes it hold what it was given.
pub(super) fn start(inventory: &mut Inventory, placer: &mut Placer, spec: &TaskSpec, run: u64) -> Option<Places> {
    let ask = Ask::of(inventory, spec);
    let kinds = KindSet::all();
    let places = placer.place(inventory, &ask, &Within { salt: run, ..Within::anything(When::Now, &kinds) })?;
    for (rank, (ix, take)) in (0_u32..).zip(&places) {
        inventory.hold_at(*ix, *take, RunId(run), rank, Stage::Staying);
    }
    Some(places)
}

pub(super) fn placer(policy: &PlacementPolicy) -> Placer {
    Placer::new(Policy::of(policy))
}

pub(super) fn names(inventory: &Inventory, places: &Places) -> Vec<WorkerPlacement> {
    super::super::named(inventory, places).workers.into_vec()
}

/// The nodes of some places, by their place in the table.
pub(super) fn nodes(places: &Places) -> Vec<usize> {
    places.iter().map(|(ix, _)| NodeIx::index(*ix)).collect()
}
