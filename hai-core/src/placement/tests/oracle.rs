//! Small random clusters against a search through everything, with books of its own.

use proptest::prelude::*;

use super::build::{model, node, on_leaf, task};
use crate::inventory::{Inventory, KindSet, NodeIx, Stage, Take, When};
use crate::model::{
    Arrangement, Constraints, DeviceHealth, DevicePart, Devices, NodeSpec, RunId, TaskSpec, WorkerPlacement,
    WorkerRequest,
};
use crate::placement::{Ask, PlacementPolicy, Placer, Places, Policy, Within, named, place_once};

/// Who has what, told apart by whether it counts now and whether it counts later.
#[derive(Clone, Default)]
struct Books {
    given: Vec<(WorkerPlacement, Stage)>,
}

impl Books {
    /// Whether a worker may be added; `new` are the workers of its task so far.
    fn admits(&self, spec: &NodeSpec, place: &WorkerPlacement, new: &[WorkerPlacement], when: When) -> bool {
        let counts = |stage: Stage, at: When| match at {
            When::Now => stage != Stage::Promised,
            When::Later => stage != Stage::Vacating,
        };
        let times: &[When] = if when == When::Now { &[When::Now, When::Later] } else { &[When::Later] };
        times.iter().all(|&at| {
            let held = self.given.iter().filter(|(_, stage)| counts(*stage, at)).map(|(place, _)| place);
            let held: Vec<_> = held.chain(new).filter(|held| held.node == spec.name).collect();
            if held.iter().any(|held| held.whole_node) || (place.whole_node && !held.is_empty()) {
                return false;
            }
            let cpu: u32 = held.iter().map(|held| held.cpu_milli).sum();
            let memory: u64 = held.iter().map(|held| held.memory_mib).sum();
            let devices = place.devices.iter().all(|id| {
                let Some(device) = spec.devices.iter().find(|device| device.id == *id) else { return false };
                let on_it = || held.iter().filter(|held| held.devices.contains(id));
                let (milli, mib) = on_it()
                    .filter_map(|held| held.part)
                    .fold((0, 0), |sum, part| (sum.0 + part.milli, sum.1 + part.memory_mib));
                device.health.is_healthy()
                    && match place.part {
                        None => on_it().next().is_none(),
                        Some(part) => {
                            on_it().all(|held| held.part.is_some())
                                && milli + part.milli <= 1000
                                && mib + part.memory_mib <= device.memory_mib
                        }
                    }
            });
            devices && cpu + place.cpu_milli <= spec.cpu_milli && memory + place.memory_mib <= spec.memory_mib
        })
    }
}

/// Everything one worker could be given on a node, use left aside.
fn options(spec: &NodeSpec, request: &WorkerRequest) -> Vec<WorkerPlacement> {
    let accepted: Vec<_> = spec.devices.iter().filter(|device| request.accepts(device)).collect();
    let empty = WorkerPlacement {
        node: spec.name.clone(),
        whole_node: false,
        devices: Default::default(),
        part: None,
        cpu_milli: request.cpu_milli,
        memory_mib: request.memory_mib,
    };
    match request.devices {
        Devices::WholeNode => {
            let kind = !request.is_picky() || (!spec.devices.is_empty() && accepted.len() == spec.devices.len());
            let enough = request.cpu_milli <= spec.cpu_milli && request.memory_mib <= spec.memory_mib;
            let place = WorkerPlacement {
                whole_node: true,
                devices: spec.devices.iter().map(|device| device.id.clone()).collect(),
                cpu_milli: spec.cpu_milli,
                memory_mib: spec.memory_mib,
                ..empty
            };
            if kind && enough { vec![place] } else { vec![] }
        }
        Devices::Count(count) => (0_u32..1 << accepted.len())
            .filter(|set| set.count_ones() == count)
            .map(|set| WorkerPlacement {
                devices: (0..accepted.len())
                    .filter(|at| set & (1 << at) != 0)
                    .map(|at| accepted[at].id.clone())
                    .collect(),
                ..empty.clone()
            })
            .collect(),
        Devices::Share(milli) => accepted
            .iter()
            .map(|device| WorkerPlacement {
                devices: [device.id.clone()].into_iter().collect(),
                part: Some(DevicePart { milli, memory_mib: device.memory_mib * u64::from(milli) / 1000 }),
                ..empty.clone()
            })
            .collect(),
        Devices::Memory(mib) => accepted
            .iter()
            .map(|device| WorkerPlacement {
                devices: [device.id.clone()].into_iter().collect(),
                part: Some(DevicePart {
                    milli: u32::try_from((1000 * mib / device.memory_mib).max(1)).expect("at most 1000"),
                    memory_mib: mib,
                }),
                ..empty.clone()
            })
            .collect(),
    }
}

/// Whether workers may be together, as far as that is not about use.
fn together(specs: &[NodeSpec], task: &TaskSpec, workers: &[WorkerPlacement], may_cross_zones: bool) -> bool {
    let nodes: Vec<_> =
        workers.iter().map(|place| specs.iter().find(|spec| spec.name == place.node).expect("a node")).collect();
    let constraints = task.constraints.as_deref().cloned().unwrap_or_default();
    let near = |same: &dyn Fn(&NodeSpec, &NodeSpec) -> bool| {
        nodes.iter().all(|node| node.name == nodes[0].name || same(node, nodes[0]))
    };
    let apart = task.distinct_nodes || task.request.devices == Devices::WholeNode;
    let distinct = nodes.iter().enumerate().all(|(at, node)| nodes[..at].iter().all(|other| other.name != node.name));
    let mut models = workers.iter().flat_map(|place| {
        let spec = specs.iter().find(|spec| spec.name == place.node).expect("a node");
        spec.devices.iter().filter(|device| place.devices.contains(&device.id)).map(|device| &device.model)
    });
    let first = models.next();
    let one_model = first.is_none_or(|first| models.all(|model| model == first));
    (!apart || distinct)
        && (!constraints.one_leaf || near(&|a, b| a.location.leaf.is_some() && a.location == b.location))
        && (!constraints.one_zone || near(&|a, b| a.location.zone.is_some() && a.location.zone == b.location.zone))
        && (may_cross_zones || near(&|a, b| a.location.zone == b.location.zone))
        && (!task.request.same_model || one_model)
}

/// The most workers that fit, up to `most`.
fn search(
    specs: &[NodeSpec],
    books: &Books,
    task: &TaskSpec,
    options: &[(usize, WorkerPlacement)],
    (when, most, cross): (When, usize, bool),
    workers: &mut Vec<WorkerPlacement>,
) -> usize {
    let mut best = workers.len();
    // Workers are alike, so options are taken in order; a part may be taken again.
    for (at, (node, place)) in options.iter().enumerate() {
        if best == most {
            break;
        }
        if !books.admits(&specs[*node], place, workers, when) {
            continue;
        }
        workers.push(place.clone());
        if together(specs, task, workers, cross) {
            best = best.max(search(specs, books, task, &options[at..], (when, most, cross), workers));
        }
        workers.pop();
    }
    best
}

fn any_node() -> impl Strategy<Value = NodeSpec> {
    let device = (0_usize..2, prop::bool::weighted(0.9));
    (prop::collection::vec(device, 0..4), 0_usize..4, 0_u32..4, prop::bool::weighted(0.2)).prop_map(
        |(devices, place, cpu, tainted)| {
            let kinds: Vec<_> = devices.iter().map(|&(kind, _)| [("A", 1000), ("B", 1500)][kind]).collect();
            let mut spec = node("x", &kinds);
            for (device, (_, well)) in spec.devices.iter_mut().zip(devices) {
                if !well {
                    device.health = DeviceHealth::Probing;
                }
            }
            spec.cpu_milli = cpu * 1000;
            spec.memory_mib = 4;
            if tainted {
                spec.taints.insert("t".to_owned());
            }
            match place {
                0 => on_leaf(spec, "l1", "s1", "z1"),
                1 => on_leaf(spec, "l2", "s1", "z1"),
                2 => on_leaf(spec, "l3", "s2", "z2"),
                _ => spec,
            }
        },
    )
}

fn any_cluster() -> impl Strategy<Value = Vec<NodeSpec>> {
    prop::collection::vec(any_node(), 1..4).prop_map(|mut specs| {
        for (at, spec) in specs.iter_mut().enumerate() {
            spec.name = format!("n{at}").parse().expect("a name");
            for (device, known) in spec.devices.iter_mut().enumerate() {
                known.id = format!("GPU-{at}-{device}").parse().expect("an id");
            }
        }
        specs
    })
}

fn any_devices() -> impl Strategy<Value = Devices> {
    prop_oneof![
        1 => Just(Devices::WholeNode),
        3 => (0_u32..3).prop_map(Devices::Count),
        3 => prop::sample::select(vec![250_u32, 333, 400, 600, 1000]).prop_map(Devices::Share),
        2 => prop::sample::select(vec![1_u64, 400, 700, 1200]).prop_map(Devices::Memory),
    ]
}

fn any_task() -> impl Strategy<Value = TaskSpec> {
    let place = (prop::bool::weighted(0.2), prop::bool::weighted(0.2), any::<bool>(), prop::bool::weighted(0.2));
    let kind = (0_usize..4, prop::bool::weighted(0.3), 0_u64..3);
    (any_devices(), 1_u32..4, any::<bool>(), place, kind, 0_u32..3, any::<bool>()).prop_map(
        |(devices, workers, elastic, (leaf, zone, spread, distinct), (models, same, memory), cpu, tolerates)| {
            let mut request = WorkerRequest::of(devices);
            request.models = match models {
                0 => vec![model("B"), model("A")],
                1 => vec![model("A")],
                _ => vec![],
            };
            if models == 2 {
                request.forbidden_models.insert(model("A"));
            }
            request.same_model = same;
            request.memory_mib = memory;
            request.cpu_milli = cpu * 500;
            let mut spec = task(workers, request);
            spec.workers_min = elastic.then_some(1);
            spec.distinct_nodes = distinct;
            let arrangement = if spread { Arrangement::Spread } else { Arrangement::Pack };
            let constraints = Constraints { one_leaf: leaf, one_zone: zone, arrangement, ..Constraints::default() };
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
        crate::placement::policy::Typical { request: WorkerRequest::share(400), weight: 2 },
        crate::placement::policy::Typical { request: WorkerRequest::devices(2), weight: 1 },
    ];
    let cutting_stock = PlacementPolicy::CuttingStock { typical: typical.clone() };
    let fgd = PlacementPolicy::Fgd { typical };
    prop::sample::select(vec![
        PlacementPolicy::Tightest,
        PlacementPolicy::FirstFit,
        PlacementPolicy::BestFit,
        PlacementPolicy::WorstFit,
        PlacementPolicy::Random { seed: 1 },
        PlacementPolicy::DotProduct,
        PlacementPolicy::GpuPacking,
        PlacementPolicy::GpuClustering,
        fgd,
        cutting_stock,
    ])
}

/// The oracle's judgement of an answer.
fn judge(
    specs: &[NodeSpec],
    books: &Books,
    task: &TaskSpec,
    inventory: &Inventory,
    (when, cross): (When, bool),
    places: Option<&Places>,
) -> Result<(), TestCaseError> {
    let tolerated = |spec: &NodeSpec| spec.taints.is_subset(&task.tolerates);
    let options: Vec<_> = specs
        .iter()
        .enumerate()
        .filter(|(_, spec)| tolerated(spec))
        .flat_map(|(at, spec)| options(spec, &task.request).into_iter().map(move |place| (at, place)))
        .collect();
    let most = task.workers as usize;
    let found = search(specs, books, task, &options, (when, most, cross), &mut Vec::new());
    let expected = if found >= task.workers_min() as usize { found } else { 0 };
    prop_assert_eq!(places.map_or(0, |places| places.len()), expected);
    let Some(places) = places else { return Ok(()) };
    let workers = named(inventory, places).workers.into_vec();
    for (at, place) in workers.iter().enumerate() {
        let spec = specs.iter().find(|spec| spec.name == place.node).expect("a node");
        prop_assert!(books.admits(spec, place, &workers[..at], when), "worker {} of {:?}", at, workers);
        prop_assert!(options.iter().any(|(_, option)| option == place), "{:?} is no answer to the request", place);
    }
    prop_assert!(together(specs, task, &workers, cross), "{:?}", workers);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// A place is found exactly if there is one, it keeps every rule, and the order that is kept up to date gives the
    /// place that a look at all nodes gives.
    #[test]
    fn a_place_is_found_exactly_if_there_is_one(
        specs in any_cluster(),
        policy in any_policy(),
        steps in prop::collection::vec((any_task(), any::<bool>(), any::<bool>(), 0_usize..6), 1..8),
    ) {
        let mut inventory = Inventory::default();
        for spec in &specs {
            inventory.set(spec.clone());
        }
        let policy = Policy::of(&policy);
        let mut placer = Placer::new(policy.clone());
        let kinds = KindSet::all();
        let mut books = Books::default();
        let mut held: Vec<(NodeIx, RunId, u32, Take)> = Vec::new();
        for (run, (task, now, cross, then)) in (1..).zip(steps) {
            let run = RunId(run);
            let when = if now { When::Now } else { When::Later };
            let within = Within { may_cross_zones: cross, salt: run.0, ..Within::anything(when, &kinds) };
            let ask = Ask::of(&inventory, &task);
            let places = placer.place(&inventory, &ask, &within);
            judge(&specs, &books, &task, &inventory, (when, cross), places.as_ref())?;
            let salted = policy.salted(within.salt).unwrap_or_else(|| policy.clone());
            prop_assert_eq!(&places, &place_once(&inventory, &ask, &within, &salted));
            // What was found is held; then sometimes somebody leaves, or has left.
            let stage = if now { Stage::Staying } else { Stage::Promised };
            for (rank, (ix, take)) in (0_u32..).zip(places.into_iter().flatten()) {
                inventory.hold_at(ix, take, run, rank, stage);
                books.given.push((take.named(inventory.node(ix).spec()), stage));
                held.push((ix, run, rank, take));
            }
            if let Some(&(ix, run, rank, _)) = held.get(then) {
                if books.given[then].1 == Stage::Staying {
                    inventory.restage_at(ix, run, rank, Stage::Vacating);
                    books.given[then].1 = Stage::Vacating;
                } else {
                    inventory.release_at(ix, run, rank);
                    books.given.remove(then);
                    held.remove(then);
                }
            }
            prop_assert!(!inventory.nodes().any(crate::inventory::Node::is_overcommitted));
        }
    }
}
