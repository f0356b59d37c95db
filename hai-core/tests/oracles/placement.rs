//! A task starts exactly if its workers fit, with as many workers as fit; it is promised a place exactly if they will.

use hai_core::engine::EngineConfig;
use hai_core::model::*;
use hai_core::placement::PlacementPolicy;
use hai_core::placement::policy::Typical;
use proptest::prelude::*;

use super::places::{Rooms, most_workers, together};
use crate::support::{Sim, group, secs, stories, user};

const STORIES_TIMES: u32 = 40;

/// What happens to the runs that there are after a task was tried.
#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    /// One of them is told to leave, and takes its time.
    Leaves(usize),
    /// Those who were told to leave have left.
    AllHaveLeft,
    /// The health of a device changes.
    Falls(usize, bool),
}

fn model(name: &str) -> ModelName {
    ModelName::new(name).unwrap()
}

fn any_device() -> impl Strategy<Value = DeviceSpec> {
    (prop_oneof![4 => 0_usize..2, 1 => Just(2_usize)], prop::bool::weighted(0.92)).prop_map(|(kind, well)| {
        let (name, mib, capability) = [("A", 1000, 8), ("B", 1500, 9), ("A", 500, 8)][kind];
        let mut device = DeviceSpec::new(DeviceId::new("x").unwrap(), model(name), mib);
        device.compute_capability = Some(ComputeCapability { major: capability, minor: 0 });
        device.mig_profile = (kind == 2).then(|| "1g.5gb".parse().unwrap());
        if !well {
            device.health = DeviceHealth::Probing;
        }
        device
    })
}

fn any_node() -> impl Strategy<Value = NodeSpec> {
    let marks = (prop::bool::weighted(0.15), prop::bool::weighted(0.5), 0_u8..20);
    (prop::collection::vec(any_device(), 0..5), 0_usize..4, 0_u32..4, marks).prop_map(
        |(devices, place, cpu, (tainted, fast, state))| {
            let mut node = NodeSpec::new(NodeName::new("x").unwrap(), group("g"), cpu * 1000, 4);
            node.devices = devices;
            let known = [("l1", "s1", "z1"), ("l2", "s1", "z1"), ("l3", "s2", "z2")].get(place);
            if let Some((leaf, spine, zone)) = known {
                let name = |name: &str| Some(PlaceName::new(name).unwrap());
                node.location = Location { leaf: name(leaf), spine: name(spine), zone: name(zone) };
            }
            if tainted {
                node.taints.insert("t".to_owned());
            }
            node.labels.insert("disk".to_owned(), if fast { "fast" } else { "slow" }.to_owned());
            node.cordoned = state == 0;
            node.ready = state != 1;
            node
        },
    )
}

pub(super) fn named(mut nodes: Vec<NodeSpec>) -> Vec<NodeSpec> {
    for (at, node) in nodes.iter_mut().enumerate() {
        node.name = NodeName::new(format!("n{at}")).unwrap();
        for (device, known) in node.devices.iter_mut().enumerate() {
            known.id = DeviceId::new(format!("GPU-{at}-{device}")).unwrap();
        }
    }
    nodes
}

fn any_request() -> impl Strategy<Value = WorkerRequest> {
    let devices = prop_oneof![
        1 => Just(Devices::WholeNode),
        4 => (0_u32..4).prop_map(Devices::Count),
        2 => prop::sample::select(vec![250_u32, 333, 400, 600, 1000]).prop_map(Devices::Share),
        2 => prop::sample::select(vec![1_u64, 400, 700, 1200]).prop_map(Devices::Memory),
    ];
    let kind = (0_usize..5, prop::bool::weighted(0.3), 0_usize..8);
    (devices, kind, 0_u64..3, 0_u32..3).prop_map(|(devices, (models, same, special), memory, cpu)| {
        let mut request = WorkerRequest::of(devices);
        request.models = match models {
            0 => vec![model("B"), model("A")],
            1 => vec![model("A")],
            _ => vec![],
        };
        if models == 2 {
            request.forbidden_models.insert(model("A"));
        }
        match special {
            0 => request.mig_profile = Some("1g.5gb".parse().unwrap()),
            1 => request.compute_capability = Some(ComputeCapability { major: 9, minor: 0 }),
            2 => request.device_memory_mib = 1200,
            _ => {}
        }
        request.same_model = same;
        request.memory_mib = memory;
        request.cpu_milli = cpu * 500;
        request
    })
}

fn any_task() -> impl Strategy<Value = TaskSpec> {
    let place = (prop::bool::weighted(0.2), prop::bool::weighted(0.2), any::<bool>(), prop::bool::weighted(0.2));
    let more = (prop::bool::weighted(0.1), prop::bool::weighted(0.15), any::<bool>());
    (any_request(), 1_u32..4, prop::bool::weighted(0.3), place, more).prop_map(
        |(request, workers, elastic, (one_leaf, one_zone, spread, distinct), (zoned, labelled, tolerates))| {
            let mut spec = TaskSpec::new("t", user("u"), group("g"), Priority::Normal, request);
            spec.workers = workers;
            spec.workers_min = elastic.then_some(1);
            spec.distinct_nodes = distinct;
            let arrangement = if spread { Arrangement::Spread } else { Arrangement::Pack };
            let mut constraints = Constraints { one_leaf, one_zone, arrangement, ..Constraints::default() };
            if zoned {
                constraints.zones.insert(PlaceName::new("z1").unwrap());
            }
            if labelled {
                constraints.labels.insert("disk".to_owned(), "fast".to_owned());
            }
            spec.constraints = Some(Box::new(constraints));
            if tolerates {
                spec.tolerates.insert("t".to_owned());
            }
            spec
        },
    )
}

fn any_policy() -> impl Strategy<Value = PlacementPolicy> {
    let typical = vec![
        Typical { request: WorkerRequest::share(400), weight: 2 },
        Typical { request: WorkerRequest::devices(2), weight: 1 },
    ];
    prop::sample::select(vec![
        PlacementPolicy::Tightest,
        PlacementPolicy::FirstFit,
        PlacementPolicy::BestFit,
        PlacementPolicy::WorstFit,
        PlacementPolicy::Random { seed: 1 },
        PlacementPolicy::DotProduct,
        PlacementPolicy::GpuPacking,
        PlacementPolicy::GpuClustering,
        PlacementPolicy::Fgd { typical },
    ])
}

fn any_then() -> impl Strategy<Value = Then> {
    prop_oneof![
        2 => Just(Then::Nothing),
        2 => (0_usize..6).prop_map(Then::Leaves),
        1 => Just(Then::AllHaveLeft),
        1 => (0_usize..16, prop::bool::weighted(0.7)).prop_map(|(device, well)| Then::Falls(device, well)),
    ]
}

/// Whether a worker got what it asked for.
fn answers(request: &WorkerRequest, node: &NodeSpec, place: &WorkerPlacement) -> bool {
    let devices: Vec<&DeviceSpec> = node.devices.iter().filter(|device| place.devices.contains(&device.id)).collect();
    let kind = devices.iter().all(|device| device.health.is_healthy())
        && (devices.iter().all(|device| request.accepts(device)) || !request.is_picky());
    let part = |milli: u64, memory_mib: u64| Some(DevicePart { milli: milli.max(1) as u32, memory_mib });
    kind && match request.devices {
        Devices::WholeNode => place.whole_node && devices.len() == node.devices.len() && place.part.is_none(),
        Devices::Count(count) => !place.whole_node && devices.len() == count as usize && place.part.is_none(),
        Devices::Share(milli) => {
            devices.len() == 1 && place.part == part(milli.into(), devices[0].memory_mib * u64::from(milli) / 1000)
        }
        Devices::Memory(mib) => devices.len() == 1 && place.part == part(1000 * mib / devices[0].memory_mib, mib),
    }
}

/// How many runs have workers in several zones, promised ones counted in.
pub(super) fn crossing(sim: &Sim) -> u32 {
    let zone = |place: &WorkerPlacement| {
        let node = sim.nodes.iter().find(|node| node.name == place.node).expect("a node");
        node.location.zone.clone()
    };
    let crosses = |placement: &Placement| placement.workers.iter().any(|it| zone(it) != zone(&placement.workers[0]));
    sim.held(true, true).filter(|run| crosses(&run.placement)).count() as u32
}

/// Submits a task with which no other vies, and judges what becomes of it.
fn try_task(sim: &mut Sim, spec: &TaskSpec, cross: Option<u32>) -> Result<(), TestCaseError> {
    let nodes = sim.nodes.clone();
    let (mut now, mut later) = (Rooms::of(&nodes), Rooms::of(&nodes));
    sim.held(true, false).flat_map(|run| &run.placement.workers).for_each(|place| now.take(place));
    sim.held(false, true).flat_map(|run| &run.placement.workers).for_each(|place| later.take(place));
    let may_cross = cross.is_none_or(|most| crossing(sim) < most);
    let least = spec.workers_min() as usize;
    let enough = |most: usize| if most >= least { most } else { 0 };
    let starts = enough(most_workers(&nodes, &[now.clone(), later.clone()], spec, may_cross));
    let promised = if starts == 0 { enough(most_workers(&nodes, &[later.clone()], spec, may_cross)) } else { 0 };

    let id = sim.submit(spec.clone(), None);
    let round = sim.round();
    let mut found = (0, 0);
    for decision in &round.decisions {
        let placement = match decision {
            Decision::Start { task, placement, .. } if *task == id => {
                found.0 = placement.workers.len();
                placement.workers.iter().for_each(|place| now.take(place));
                placement
            }
            Decision::Promise { task, placement, .. } if *task == id => {
                found.1 = placement.workers.len();
                placement
            }
            other => return Err(TestCaseError::fail(format!("nothing else should happen than {other:?}"))),
        };
        for place in &placement.workers {
            later.take(place);
            let node = nodes.iter().find(|node| node.name == place.node).expect("a node");
            prop_assert!(answers(&spec.request, node, place), "{:?} is no answer to {:?}", place, spec.request);
        }
        prop_assert!(together(&nodes, spec, &placement.workers, may_cross), "{:?} are not together", placement);
    }
    let (verdict, context) = (sim.engine.verdict(id), "workers that start, and that are promised a place");
    prop_assert_eq!(found, (starts, promised), "{}; the verdict is {:?}", context, verdict);
    Ok(())
}

proptest! {
    #![proptest_config(stories(11, STORIES_TIMES))]

    #[test]
    fn a_task_starts_exactly_if_there_is_a_place(
        nodes in prop::collection::vec(any_node(), 1..5),
        placement in any_policy(),
        cross in prop::option::weighted(0.3, 0_u32..2),
        steps in prop::collection::vec((any_task(), any_then()), 1..8),
    ) {
        let config = EngineConfig {
            placement,
            cross_zone_tasks: cross,
            reserve_after: None,
            ..EngineConfig::default()
        };
        let mut sim = Sim::new(config, named(nodes));
        sim.anything_goes();
        sim.leaves_after = |_| secs(100);
        for (spec, then) in steps {
            try_task(&mut sim, &spec, cross)?;
            let waiting: Vec<TaskId> = sim.tasks.keys().copied().filter(|&task| sim.waits(task)).collect();
            waiting.into_iter().for_each(|task| sim.cancel(task));
            match then {
                Then::Nothing => {}
                Then::Leaves(at) => {
                    let staying = sim.runs.values().filter(|run| !run.leaving).map(|run| run.task).nth(at);
                    staying.into_iter().for_each(|task| sim.tell(Fact::Held { task }));
                }
                Then::AllHaveLeft => sim.pass_until(sim.now + secs(200)),
                Then::Falls(at, well) => {
                    let health = if well { DeviceHealth::Healthy } else { DeviceHealth::Probing };
                    let free = |device: &DeviceSpec| {
                        sim.held(true, true).flat_map(|run| &run.placement.workers).all(|it| !it.devices.contains(&device.id))
                    };
                    let found = sim.nodes.iter().enumerate().flat_map(|(node, spec)| {
                        spec.devices.iter().enumerate().filter(|(_, it)| free(it)).map(move |(device, _)| (node, device))
                    });
                    if let Some((node, device)) = found.clone().nth(at) {
                        sim.nodes[node].devices[device].health = health.clone();
                        let (name, id) = (sim.nodes[node].name.clone(), sim.nodes[node].devices[device].id.clone());
                        sim.tell(Fact::DeviceChanged { node: name, device: id, health });
                    }
                }
            }
            sim.settle();
        }
    }
}
