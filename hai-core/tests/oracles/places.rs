//! Whether workers fit, found by trying everything, with books of its own.

use hai_core::model::*;

/// What is left of all nodes once some have taken theirs.
#[derive(Clone)]
pub(crate) struct Rooms<'a>(Vec<Room<'a>>);

#[derive(Clone)]
struct Room<'a> {
    spec: &'a NodeSpec,
    cards: Vec<Card>,
    cpu_milli: u32,
    memory_mib: u64,
    workers: u32,
    taken_whole: bool,
}

/// How much of a device is taken.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Card {
    wholly: bool,
    milli: u32,
    memory_mib: u64,
}

impl<'a> Rooms<'a> {
    /// Nobody has taken anything.
    pub(crate) fn of(nodes: &'a [NodeSpec]) -> Self {
        let room = |spec: &'a NodeSpec| Room {
            spec,
            cards: vec![Card::default(); spec.devices.len()],
            cpu_milli: spec.cpu_milli,
            memory_mib: spec.memory_mib,
            workers: 0,
            taken_whole: false,
        };
        Rooms(nodes.iter().map(room).collect())
    }

    /// A worker takes its place. Panics if it is taken already: nobody may be given what another one has.
    pub(crate) fn take(&mut self, place: &WorkerPlacement) {
        let room = self.0.iter_mut().find(|room| room.spec.name == place.node).expect("a node of the cluster");
        assert!(room.admits(place), "{place:?} is taken");
        room.take(place);
    }
}

impl Room<'_> {
    fn admits(&self, place: &WorkerPlacement) -> bool {
        let devices = place.devices.iter().all(|id| {
            let Some(at) = self.spec.devices.iter().position(|device| device.id == *id) else { return false };
            let (card, device) = (self.cards[at], &self.spec.devices[at]);
            match place.part {
                None => card == Card::default(),
                Some(part) => {
                    !card.wholly
                        && card.milli + part.milli <= 1000
                        && card.memory_mib + part.memory_mib <= device.memory_mib
                }
            }
        });
        devices
            && !self.taken_whole
            && (!place.whole_node || self.workers == 0)
            && place.cpu_milli <= self.cpu_milli
            && place.memory_mib <= self.memory_mib
    }

    fn take(&mut self, place: &WorkerPlacement) {
        for id in &place.devices {
            let at = self.spec.devices.iter().position(|device| device.id == *id).expect("a device of the node");
            let card = &mut self.cards[at];
            match place.part {
                None => card.wholly = true,
                Some(part) => {
                    card.milli += part.milli;
                    card.memory_mib += part.memory_mib;
                }
            }
        }
        self.cpu_milli -= place.cpu_milli;
        self.memory_mib -= place.memory_mib;
        self.workers += 1;
        self.taken_whole |= place.whole_node;
    }
}

/// Whether new workers of a task may be on a node, its room left aside.
fn is_open(node: &NodeSpec, task: &TaskSpec) -> bool {
    let none = Constraints::default();
    let constraints = task.constraints.as_deref().unwrap_or(&none);
    node.ready
        && !node.cordoned
        && node.group == task.group
        && node.taints.is_subset(&task.tolerates)
        && constraints.labels.iter().all(|(label, value)| node.labels.get(label) == Some(value))
        && (constraints.zones.is_empty()
            || node.location.zone.as_ref().is_some_and(|zone| constraints.zones.contains(zone)))
}

/// Everything one worker could be given on a node. Of devices that are alike and used alike, any is as good as another.
fn options(node: usize, all: &[Rooms<'_>], request: &WorkerRequest) -> Vec<WorkerPlacement> {
    let spec = all[0].0[node].spec;
    // A slice is given out as a whole.
    let divisible = |device: &DeviceSpec| device.mig_profile.is_none() || !request.devices.is_part();
    let will_do = |device: &DeviceSpec| request.accepts(device) && device.health.is_healthy() && divisible(device);
    let accepted: Vec<usize> = (0..spec.devices.len()).filter(|&at| will_do(&spec.devices[at])).collect();
    let ids = |devices: &[usize]| devices.iter().map(|&at| spec.devices[at].id.clone()).collect();
    let place = |devices: &[usize], part: Option<DevicePart>| WorkerPlacement {
        node: spec.name.clone(),
        whole_node: false,
        devices: ids(devices),
        part,
        cpu_milli: request.cpu_milli,
        memory_mib: request.memory_mib,
    };
    let part = |device: usize, milli: u64, memory_mib: u64| {
        let milli = u32::try_from(milli.max(1)).expect("no more than a whole one");
        place(&[device], Some(DevicePart { milli, memory_mib }))
    };
    let looks = |at: usize| {
        let device = &spec.devices[at];
        (&device.model, device.memory_mib, all.iter().map(|rooms| rooms.0[node].cards[at]).collect::<Vec<_>>())
    };
    let mut found: Vec<(Vec<usize>, WorkerPlacement)> = Vec::new();
    match request.devices {
        Devices::WholeNode => {
            let every: Vec<usize> = (0..spec.devices.len()).collect();
            let well = spec.devices.iter().all(|device| device.health.is_healthy());
            let kind = !request.is_picky() || (!every.is_empty() && accepted == every);
            let enough = request.cpu_milli <= spec.cpu_milli && request.memory_mib <= spec.memory_mib;
            if well && kind && enough {
                let (cpu_milli, memory_mib) = (spec.cpu_milli, spec.memory_mib);
                let whole = WorkerPlacement { whole_node: true, cpu_milli, memory_mib, ..place(&every, None) };
                found.push((every, whole));
            }
        }
        Devices::Count(count) => {
            for set in (0_u32..1 << accepted.len()).filter(|set| set.count_ones() == count) {
                let devices: Vec<usize> =
                    (0..accepted.len()).filter(|at| set & (1 << at) != 0).map(|at| accepted[at]).collect();
                found.push((devices.clone(), place(&devices, None)));
            }
        }
        Devices::Share(milli) => {
            let mib = |at: usize| spec.devices[at].memory_mib * u64::from(milli) / 1000;
            found.extend(accepted.iter().map(|&at| (vec![at], part(at, milli.into(), mib(at)))));
        }
        Devices::Memory(mib) => {
            let milli = |at: usize| 1000 * mib / spec.devices[at].memory_mib;
            found.extend(accepted.iter().map(|&at| (vec![at], part(at, milli(at), mib))));
        }
    }
    found.retain(|(_, place)| all.iter().all(|rooms| rooms.0[node].admits(place)));
    let mut seen = Vec::new();
    found.retain(|(devices, _)| {
        let mut alike: Vec<_> = devices.iter().map(|&at| looks(at)).collect();
        alike.sort();
        !seen.contains(&alike) && {
            seen.push(alike);
            true
        }
    });
    found.into_iter().map(|(_, place)| place).collect()
}

/// Whether workers of a task may be together, as far as that is not about room.
pub(crate) fn together(nodes: &[NodeSpec], task: &TaskSpec, workers: &[WorkerPlacement], may_cross: bool) -> bool {
    let node = |place: &WorkerPlacement| nodes.iter().find(|node| node.name == place.node).expect("a node");
    let none = Constraints::default();
    let constraints = task.constraints.as_deref().unwrap_or(&none);
    let near = |same: &dyn Fn(&Location, &Location) -> bool| {
        let first = workers.first().map(node);
        workers
            .iter()
            .map(node)
            .all(|node| first.is_none_or(|first| node.name == first.name || same(&node.location, &first.location)))
    };
    let apart = task.distinct_nodes || task.request.devices == Devices::WholeNode;
    let distinct =
        || workers.iter().enumerate().all(|(at, place)| workers[..at].iter().all(|other| other.node != place.node));
    let mut models = workers.iter().flat_map(|place| {
        node(place).devices.iter().filter(|device| place.devices.contains(&device.id)).map(|device| &device.model)
    });
    let one_model = {
        let first = models.next();
        models.all(|model| Some(model) == first)
    };
    (!apart || distinct())
        && (!constraints.one_leaf || near(&|a, b| a.leaf.is_some() && a == b))
        && (!constraints.one_zone || near(&|a, b| a.zone.is_some() && a.zone == b.zone))
        && (may_cross || near(&|a, b| a.zone == b.zone))
        && (!task.request.same_model || one_model)
}

/// The most workers of a task that fit into every one of some rooms at once, up to as many as it has.
pub(crate) fn most_workers(nodes: &[NodeSpec], all: &[Rooms<'_>], task: &TaskSpec, may_cross: bool) -> usize {
    let search = Search { nodes, task, may_cross };
    search.most(all, 0, &mut Vec::new(), task.workers as usize)
}

/// Whether the fewest workers that are worth a start fit.
pub(crate) fn fits(nodes: &[NodeSpec], rooms: Rooms<'_>, task: &TaskSpec, may_cross: bool) -> bool {
    let search = Search { nodes, task, may_cross };
    let least = task.workers_min() as usize;
    search.most(&[rooms], 0, &mut Vec::new(), least) == least
}

struct Search<'a> {
    nodes: &'a [NodeSpec],
    task: &'a TaskSpec,
    may_cross: bool,
}

impl Search<'_> {
    /// Workers are alike, so nodes are taken in order.
    fn most(&self, all: &[Rooms<'_>], from: usize, workers: &mut Vec<WorkerPlacement>, enough: usize) -> usize {
        let mut best = workers.len();
        for node in from..self.nodes.len() {
            if best == enough {
                break;
            }
            if !is_open(&self.nodes[node], self.task) {
                continue;
            }
            for place in options(node, all, &self.task.request) {
                if best == enough {
                    break;
                }
                workers.push(place);
                if together(self.nodes, self.task, workers, self.may_cross) {
                    let mut with = all.to_vec();
                    with.iter_mut().for_each(|rooms| rooms.0[node].take(&workers[workers.len() - 1]));
                    best = best.max(self.most(&with, node, workers, enough));
                }
                workers.pop();
            }
        }
        best
    }
}
