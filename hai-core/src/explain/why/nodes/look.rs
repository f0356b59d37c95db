//! Looks at every node of a group: would it take a worker of a task, and if not, why not?

use std::collections::BTreeMap;

use super::*;
use crate::engine::{Engine, Seating};
use crate::inventory::{Inventory, KindSet, MakeIx, Node, Room, When};
use crate::model::{Devices, TaskId, TaskSpec};
use crate::placement::{self, Ask, Seat, Within};

/// The nodes of one make with as many cores and as much memory.
type ClassKey = (MakeIx, u32, u64);

#[derive(Default)]
struct Counting {
    nodes: u32,
    nodes_now: u32,
    ever_each: u32,
    refused: BTreeMap<NodeRefusal, Vec<NodeName>>,
}

pub(in crate::explain) fn look(engine: &mut Engine, id: TaskId, named: usize) -> Option<NodesLink> {
    let spec = engine.look_spec(id)?.clone();
    let seating = engine.look_seating(id);
    let inventory = engine.look_inventory();
    let ask = Ask::of(inventory, &spec);
    let mut classes: BTreeMap<ClassKey, Counting> = BTreeMap::new();
    let (mut now, mut later, mut ever) = (0_u64, 0_u64, 0_u64);
    for ix in inventory.group(&spec.group) {
        let node = inventory.node(ix);
        let fits = |when: When, kinds: &KindSet| {
            let usable = ask.allows(inventory, node) && seating.avoid.binary_search(&ix).is_err();
            if usable { Seat::new(inventory, &ask, kinds, node, &node.room_at(when)).capacity() } else { 0 }
        };
        let (fits_now, fits_later) = (fits(When::Now, &seating.kinds.0), fits(When::Later, &seating.kinds.1));
        let empty = Room::of_well(node.spec());
        let each = Seat::new(inventory, &ask, &KindSet::all(), node, &empty).assumed_well().capacity();
        (now, later) = (now + u64::from(fits_now), later + u64::from(fits_later));
        if !node.is_gone() && ask.allows_site(inventory, node.site()) {
            ever += u64::from(each);
        }
        let key = (node.make(), node.spec().cpu_milli, node.spec().memory_mib);
        let class = classes.entry(key).or_default();
        class.nodes += 1;
        class.ever_each = each;
        if fits_now > 0 {
            class.nodes_now += 1;
        } else {
            let kept = engine.look_keeps(ix, id).filter(|_| seating.avoid.binary_search(&ix).is_ok());
            let kept =
                kept.and_then(|task| Some(Other::new(task, &engine.look_spec(task)?.user, spec_level(engine, task))));
            let why = refusal(inventory, &ask, &spec, &seating, node, kept, fits_later > 0);
            class.refused.entry(why).or_default().push(node.spec().name.clone());
        }
    }
    let policy = engine.look_placement();
    let place = |when: When, kinds: &KindSet, workers_most: u32| {
        let may_cross_zones = seating.may_cross_zones;
        let within = Within { when, kinds, avoid: &seating.avoid, workers_most, may_cross_zones, salt: id.0 };
        placement::place_once(inventory, &ask, &within, policy).is_some()
    };
    let fits_now = place(When::Now, &seating.kinds.0, seating.workers.0);
    let fits_later = place(When::Later, &seating.kinds.1, seating.workers.1);
    let need = u64::from(spec.workers_min());
    let narrow = |sum: u64| u32::try_from(sum).unwrap_or(u32::MAX);
    let mut classes: Vec<NodeClass> =
        classes.into_iter().map(|(key, counted)| class(inventory, key, counted, named)).collect();
    classes.sort_by_key(|class| std::cmp::Reverse(class.nodes));
    let failed_on = engine.look_failed_on(id);
    Some(NodesLink {
        group: spec.group.clone(),
        workers: spec.workers_min(),
        workers_now: narrow(now),
        workers_later: narrow(later),
        workers_ever: narrow(ever),
        fits_now,
        fits_later,
        together: together(&spec, &seating, later >= need && !fits_later),
        classes,
        failed_on: failed_on.into_iter().map(|ix| inventory.node(ix).spec().name.clone()).collect(),
    })
}

fn spec_level(engine: &Engine, task: TaskId) -> crate::model::Priority {
    engine.look_spec(task).map_or(crate::model::Priority::Auto, |spec| spec.priority)
}

fn class(inventory: &Inventory, key: ClassKey, counted: Counting, named: usize) -> NodeClass {
    let (make, cpu_milli, memory_mib) = key;
    let kinds = inventory.catalogue().make(make).kinds().iter().map(|&(kind, devices)| {
        let kind = inventory.catalogue().kind(kind);
        DeviceClass {
            model: kind.model.clone(),
            memory_mib: kind.memory_mib,
            mig_profile: kind.mig_profile.clone(),
            count: devices.count_ones(),
        }
    });
    let mut refused: Vec<Refused> = counted
        .refused
        .into_iter()
        .map(|(why, mut names)| {
            names.sort_unstable();
            let nodes = u32::try_from(names.len()).unwrap_or(u32::MAX);
            names.truncate(named);
            Refused { why, nodes, first: names }
        })
        .collect();
    refused.sort_by_key(|refused| std::cmp::Reverse(refused.nodes));
    NodeClass {
        devices: kinds.collect(),
        cpu_milli,
        memory_mib,
        nodes: counted.nodes,
        nodes_now: counted.nodes_now,
        workers_ever_each: counted.ever_each,
        refused,
    }
}

fn together(spec: &TaskSpec, seating: &Seating, in_the_way: bool) -> Option<Together> {
    let constraints = spec.constraints.as_deref();
    match () {
        () if !in_the_way => None,
        () if seating.workers.1 < spec.workers_min() => Some(Together::Right),
        () if constraints.is_some_and(|constraints| constraints.one_leaf) => Some(Together::OneLeaf),
        () if constraints.is_some_and(|constraints| constraints.one_zone) => Some(Together::OneZone),
        () if spec.request.same_model => Some(Together::OneModel),
        () => Some(Together::NoMoreAcrossZones),
    }
}

/// Why a node takes no worker now: of several reasons the most lasting.
fn refusal(
    inventory: &Inventory,
    ask: &Ask,
    spec: &TaskSpec,
    seating: &Seating,
    node: &Node,
    kept: Option<Other>,
    fits_later: bool,
) -> NodeRefusal {
    let known = node.spec();
    let constraints = ask.constraints();
    let request = &spec.request;
    let make = inventory.make_of(node);
    if node.is_gone() {
        return NodeRefusal::Gone;
    }
    let lacks = |(label, value): &(&String, &String)| known.labels.get(*label) != Some(*value);
    if let Some((label, value)) = constraints.labels.iter().find(lacks) {
        return NodeRefusal::Label { label: label.clone(), value: value.clone() };
    }
    // A site is not allowed for its taints, too; those come after what would stand in the way even if they were tolerated.
    let taint = known.taints.difference(&spec.tolerates).next();
    if taint.is_none() && !ask.allows_site(inventory, node.site()) {
        return NodeRefusal::Zone;
    }
    let fit = ask.fit(inventory, node.make());
    // If the right leaves nothing at all, that is what is missing, and not the models of this node.
    let left = &seating.kinds.1;
    let some_left = inventory.catalogue().kinds().any(|(kind, _)| left.contains(kind));
    let allowed = if some_left { fit.accepted & make.devices_of(left) } else { fit.accepted };
    let wanted = match request.devices {
        Devices::WholeNode if request.is_picky() => u32::try_from(make.len()).unwrap_or(u32::MAX).max(1),
        devices => devices.count(),
    };
    if fit.accepted.count_ones() < wanted {
        return of_kind(inventory, spec, node, fit.accepted.count_ones());
    }
    if known.cpu_milli < request.cpu_milli {
        return NodeRefusal::TooFewCores { has_milli: known.cpu_milli };
    }
    if known.memory_mib < request.memory_mib {
        return NodeRefusal::TooLittleMemory { has_mib: known.memory_mib };
    }
    if let Some(taint) = taint {
        return NodeRefusal::Taint { taint: taint.clone() };
    }
    if !known.ready {
        return NodeRefusal::NotReady;
    }
    if known.is_cordoned() {
        return NodeRefusal::Cordoned;
    }
    if known.draining {
        return NodeRefusal::Draining;
    }
    if let Some(until) = node.cooling() {
        return NodeRefusal::CoolingDown { until };
    }
    if some_left
        && (allowed.count_ones() < wanted
            || (request.devices == Devices::WholeNode && make.devices_of(left).count_ones() as usize != make.len()))
    {
        return NodeRefusal::ModelBeyondRight;
    }
    let well = (Room::of_empty(known).devices & allowed).count_ones();
    if well < wanted || (request.devices == Devices::WholeNode && !node.all_well()) {
        return NodeRefusal::DevicesUnwell { well };
    }
    if let Some(task) = kept {
        return NodeRefusal::KeptFor { task };
    }
    if fits_later {
        return NodeRefusal::BeingLeft;
    }
    in_use(spec, &node.room_later(), allowed)
}

/// What of a node that would do is not free.
fn in_use(spec: &TaskSpec, room: &Room, allowed: u64) -> NodeRefusal {
    let request = &spec.request;
    let free = (room.devices & allowed).count_ones();
    match request.devices {
        _ if room.taken_whole => NodeRefusal::TakenWhole,
        Devices::WholeNode => NodeRefusal::Occupied,
        Devices::Count(count) if free < count => NodeRefusal::DevicesInUse { free },
        _ if room.cpu_milli < request.cpu_milli => NodeRefusal::CoresInUse { free_milli: room.cpu_milli },
        _ if room.memory_mib < request.memory_mib => NodeRefusal::MemoryInUse { free_mib: room.memory_mib },
        _ => NodeRefusal::PartsInUse,
    }
}

/// Why the devices of a node are not of a kind that would do, or there are too few that are.
fn of_kind(inventory: &Inventory, spec: &TaskSpec, node: &Node, accepted: u32) -> NodeRefusal {
    let request = &spec.request;
    if accepted > 0 && request.devices != Devices::WholeNode {
        return NodeRefusal::TooFewDevices { has: accepted };
    }
    let catalogue = inventory.catalogue();
    let kinds: Vec<_> = inventory.make_of(node).kinds().iter().map(|&(kind, _)| catalogue.kind(kind)).collect();
    if kinds.is_empty() {
        return NodeRefusal::NoDevices;
    }
    let bad: Vec<_> = kinds.iter().filter(|kind| !kind.suits(request)).collect();
    let all = |test: &dyn Fn(&crate::inventory::Kind) -> bool| bad.iter().all(|kind| test(kind));
    let asked = |kind: &crate::inventory::Kind| request.models.is_empty() || request.models.contains(&kind.model);
    let least = match request.devices {
        Devices::Memory(mib) => mib.max(request.device_memory_mib),
        _ => request.device_memory_mib,
    };
    if all(&|kind| request.forbidden_models.contains(&kind.model)) {
        NodeRefusal::ModelForbidden
    } else if all(&|kind| !asked(kind) || request.forbidden_models.contains(&kind.model)) {
        NodeRefusal::ModelNotAsked
    } else if all(&|kind| {
        kind.mig_profile != request.mig_profile || request.devices.is_part() && kind.mig_profile.is_some()
    }) {
        NodeRefusal::MigProfile
    } else if bad.iter().any(|kind| kind.memory_mib < least) {
        NodeRefusal::DeviceMemory { most_mib: bad.iter().map(|kind| kind.memory_mib).max().unwrap_or(0) }
    } else if bad.iter().any(|kind| kind.mig_profile != request.mig_profile) {
        NodeRefusal::MigProfile
    } else {
        NodeRefusal::ComputeCapability
    }
}
