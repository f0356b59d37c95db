//! What there is and who is where, as one document; and the engine that knows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::engine::{Engine, EngineConfig, FactError};
use crate::inventory::MILLI_PER_DEVICE;
use crate::model::{
    Decision, DeviceId, DevicePart, DeviceSpec, Devices, Fact, NodeName, NodeSpec, Placement, Priority, RightRow,
    RunId, TaskId, TaskSpec, Team, Time, WorkerExit, WorkerPlacement,
};

/// A cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Document {
    /// When that is, in milliseconds since 1970. All times in the document are not later.
    pub now: Time,
    /// How it is decided.
    pub config: EngineConfig,
    /// The machines. Their order breaks ties between equal ones.
    pub nodes: Vec<NodeSpec>,
    /// Users who share rights.
    pub teams: Vec<Team>,
    /// Who may hold how much.
    pub rights: Vec<RightRow>,
    /// What waits and runs.
    pub tasks: Vec<TaskEntry>,
}

/// A task that is not over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TaskEntry {
    /// Its number; a smaller one was submitted earlier.
    pub id: TaskId,
    /// What is asked.
    pub spec: TaskSpec,
    /// When; left out for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitted_at: Option<Time>,
    /// Somebody holds it until it is released.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Where it runs; left out if it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunEntry>,
}

/// Where a task runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RunEntry {
    /// Its workers, by rank.
    pub workers: Vec<WorkerEntry>,
    /// The level whose right it is charged to; left out for the task's own, and for `LOW` if that is `AUTO`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Priority>,
    /// It runs on what others leave unused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub borrowed: bool,
    /// Since when it runs; left out if it is only being started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it last saved its work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpointed_at: Option<Time>,
}

/// Where one worker runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkerEntry {
    /// The node.
    pub node: NodeName,
    /// Its devices; may be left out if it has the whole node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceId>,
    /// It is done, and holds nothing any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
}

/// What of a document can not be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct PlanError {
    /// Which entry, such as `tasks[3].run.workers[0]`.
    pub at: String,
    /// What is wrong with it.
    pub problem: String,
}

impl PlanError {
    fn new(at: impl Into<String>, problem: impl ToString) -> Self {
        PlanError { at: at.into(), problem: problem.to_string() }
    }
}

/// Something that happened on the way to the document's moment. Of one moment, in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Submit,
    Start,
    Run,
    Checkpoint,
}

/// What is given to whom, so that nothing is given twice.
#[derive(Default)]
struct Given<'a> {
    devices: BTreeMap<&'a DeviceId, (TaskId, u32)>,
    whole: BTreeMap<&'a NodeName, TaskId>,
    used: BTreeMap<&'a NodeName, TaskId>,
}

impl Document {
    /// The engine that knows all of it.
    pub(super) fn build(&self) -> Result<Engine, PlanError> {
        let mut engine = Engine::new(self.config.clone());
        let begun = self.begun();
        let tell = |engine: &mut Engine, at: String, now: Time, fact: Fact| -> Result<(), PlanError> {
            engine.observe(now, &fact).map(drop).map_err(|error: FactError| PlanError::new(at, error))
        };
        for (number, team) in self.teams.iter().enumerate() {
            tell(&mut engine, format!("teams[{number}]"), begun, Fact::TeamSet { team: team.clone() })?;
        }
        for (number, right) in self.rights.iter().enumerate() {
            tell(&mut engine, format!("rights[{number}]"), begun, Fact::RightSet { right: right.clone() })?;
        }
        let mut nodes: BTreeMap<&NodeName, &NodeSpec> = BTreeMap::new();
        for (number, node) in self.nodes.iter().enumerate() {
            if nodes.insert(&node.name, node).is_some() {
                return Err(PlanError::new(
                    format!("nodes[{number}].name"),
                    format!("{} stands there twice", node.name),
                ));
            }
            tell(&mut engine, format!("nodes[{number}]"), begun, Fact::NodeSet { node: node.clone() })?;
        }
        let mut given = Given::default();
        let mut placements: Vec<Option<Placement>> = Vec::with_capacity(self.tasks.len());
        for (number, task) in self.tasks.iter().enumerate() {
            let place = |run: &'_ RunEntry| place(task, run, &nodes).map_err(|error| error.of_task(number));
            let placement = task.run.as_ref().map(place).transpose()?;
            if let Some(run) = &task.run {
                given.give(task, run, &nodes).map_err(|error| error.of_task(number))?;
            }
            placements.push(placement);
        }
        for (at, step, number) in self.steps()? {
            let task = &self.tasks[number];
            let path = || format!("tasks[{number}]");
            match step {
                Step::Submit => {
                    let spec = Arc::new(task.spec.clone());
                    tell(&mut engine, path(), at, Fact::Submitted { task: task.id, spec })?;
                    if task.held && task.run.is_none() {
                        tell(&mut engine, path(), at, Fact::Held { task: task.id })?;
                    }
                }
                Step::Start => {
                    let (Some(run), Some(placement)) = (&task.run, placements[number].take()) else { continue };
                    start(&mut engine, at, task, run, placement).map_err(|error| PlanError::new(path(), error))?;
                }
                Step::Run => {
                    let Some(run) = &task.run else { continue };
                    let id = run_id(&engine, task.id);
                    for (rank, worker) in (0..).zip(&run.workers) {
                        tell(&mut engine, path(), at, Fact::WorkerStarted { run: id, rank })?;
                        if worker.done {
                            let exit = WorkerExit::exited(0);
                            tell(&mut engine, path(), at, Fact::WorkerEnded { run: id, rank, exit })?;
                        }
                    }
                }
                Step::Checkpoint => {
                    let fact = Fact::Checkpointed { run: run_id(&engine, task.id), whole_life_state: 0 };
                    tell(&mut engine, path(), at, fact)?;
                }
            }
        }
        Ok(engine)
    }

    /// The earliest time in the document.
    fn begun(&self) -> Time {
        let times = self.tasks.iter().flat_map(|task| {
            let run = task.run.as_ref();
            [task.submitted_at, run.and_then(|run| run.started_at), run.and_then(|run| run.checkpointed_at)]
        });
        times.flatten().chain([self.now]).min().unwrap_or(self.now)
    }

    /// What happened, in order: tasks in the order of their numbers, each started and saved after it came.
    fn steps(&self) -> Result<Vec<(Time, Step, usize)>, PlanError> {
        let mut numbers: Vec<usize> = (0..self.tasks.len()).collect();
        numbers.sort_by_key(|&number| self.tasks[number].id);
        let mut steps = Vec::new();
        let mut known = BTreeSet::new();
        let mut last = self.begun();
        for number in numbers {
            let task = &self.tasks[number];
            if !known.insert(task.id) {
                return Err(PlanError::new(format!("tasks[{number}].id"), format!("{} stands there twice", task.id)));
            }
            let past = |field: &str, at: Time| {
                if at <= self.now {
                    return Ok(at);
                }
                Err(PlanError::new(
                    format!("tasks[{number}].{field}"),
                    format!("{at} is after now, which is {}", self.now),
                ))
            };
            // A smaller number came earlier, whatever the clocks said.
            last = last.max(past("submitted_at", task.submitted_at.unwrap_or(self.now).min(self.now.max(last)))?);
            if let Some(at) = task.submitted_at {
                past("submitted_at", at)?;
            }
            steps.push((last, Step::Submit, number));
            let Some(run) = &task.run else { continue };
            let started_at = run.started_at.map(|at| past("run.started_at", at)).transpose()?;
            let begun = started_at.unwrap_or(self.now).max(last);
            steps.push((begun, Step::Start, number));
            if started_at.is_some() {
                steps.push((begun, Step::Run, number));
                if let Some(at) = run.checkpointed_at {
                    steps.push((past("run.checkpointed_at", at)?.max(begun), Step::Checkpoint, number));
                }
            }
        }
        steps.sort_by_key(|&(at, step, number)| (at, step, self.tasks[number].id));
        // Submissions stand in the order of their numbers, since no later number was given an earlier time.
        Ok(steps)
    }
}

impl PlanError {
    fn of_task(self, number: usize) -> Self {
        PlanError { at: format!("tasks[{number}].{}", self.at), ..self }
    }
}

fn run_id(engine: &Engine, task: TaskId) -> RunId {
    engine.task(task).and_then(|task| task.run).unwrap_or(RunId(0))
}

fn start(
    engine: &mut Engine,
    at: Time,
    task: &TaskEntry,
    run: &RunEntry,
    placement: Placement,
) -> Result<(), FactError> {
    let level = run.level.unwrap_or(match task.spec.priority {
        Priority::Auto => Priority::Low,
        level => level,
    });
    let entitled = !run.borrowed && !task.spec.kind.is_background();
    let start =
        Decision::Start { task: task.id, run: engine.next_run_id(), placement, level, entitled, whole_life_state: 0 };
    engine.replay(at, &[start])
}

/// Where the workers of a run are, given what each of them asked for.
fn place(task: &TaskEntry, run: &RunEntry, nodes: &BTreeMap<&NodeName, &NodeSpec>) -> Result<Placement, PlanError> {
    let spec = &task.spec;
    let count = u32::try_from(run.workers.len()).unwrap_or(u32::MAX);
    if !(spec.workers_min()..=spec.workers).contains(&count) {
        return Err(PlanError::new("run.workers", format!("there are {count}, the task has {}", spec.workers)));
    }
    if run.level == Some(Priority::Auto) {
        return Err(PlanError::new("run.level", "AUTO is no level that a run is charged to"));
    }
    let mut workers: SmallVec<[WorkerPlacement; 1]> = SmallVec::new();
    for (rank, worker) in run.workers.iter().enumerate() {
        let at = |field: &str| format!("run.workers[{rank}].{field}");
        let node = nodes
            .get(&worker.node)
            .ok_or_else(|| PlanError::new(at("node"), format!("there is no node {}", worker.node)))?;
        let whole_node = spec.request.devices == Devices::WholeNode;
        let ids: SmallVec<[DeviceId; 1]> = if whole_node && worker.devices.is_empty() {
            node.devices.iter().map(|device| device.id.clone()).collect()
        } else {
            worker.devices.iter().cloned().collect()
        };
        let devices = ids
            .iter()
            .map(|id| {
                node.devices
                    .iter()
                    .find(|device| device.id == *id)
                    .ok_or_else(|| PlanError::new(at("devices"), format!("{} has no device {id}", node.name)))
            })
            .collect::<Result<Vec<&DeviceSpec>, PlanError>>()?;
        let wanted = match spec.request.devices {
            Devices::WholeNode => node.devices.len(),
            Devices::Count(count) => count as usize,
            Devices::Share(_) | Devices::Memory(_) => 1,
        };
        if devices.len() != wanted {
            let problem = format!("there are {}, the request is for {wanted}", devices.len());
            return Err(PlanError::new(at("devices"), problem));
        }
        let (cpu_milli, memory_mib) = if whole_node {
            (node.cpu_milli, node.memory_mib)
        } else {
            (spec.request.cpu_milli, spec.request.memory_mib)
        };
        let part = devices.first().and_then(|device| part(spec.request.devices, device));
        workers.push(WorkerPlacement {
            node: worker.node.clone(),
            whole_node,
            devices: ids,
            part,
            cpu_milli,
            memory_mib,
        });
    }
    Ok(Placement { workers })
}

/// What a part takes of a device.
fn part(devices: Devices, device: &DeviceSpec) -> Option<DevicePart> {
    let whole = u64::from(MILLI_PER_DEVICE);
    match devices {
        Devices::Share(milli) => {
            let milli = milli.clamp(1, MILLI_PER_DEVICE);
            Some(DevicePart { milli, memory_mib: device.memory_mib * u64::from(milli) / whole })
        }
        Devices::Memory(mib) => {
            let milli = mib.saturating_mul(whole).checked_div(device.memory_mib).unwrap_or(whole).clamp(1, whole);
            Some(DevicePart { milli: u32::try_from(milli).unwrap_or(MILLI_PER_DEVICE), memory_mib: mib })
        }
        Devices::WholeNode | Devices::Count(_) => None,
    }
}

impl<'a> Given<'a> {
    /// Notes what a run has, unless somebody else has it.
    fn give(
        &mut self,
        task: &'a TaskEntry,
        run: &'a RunEntry,
        nodes: &BTreeMap<&'a NodeName, &'a NodeSpec>,
    ) -> Result<(), PlanError> {
        let whole = task.spec.request.devices == Devices::WholeNode;
        for (rank, worker) in run.workers.iter().enumerate().filter(|(_, worker)| !worker.done) {
            let at = |field: &str| format!("run.workers[{rank}].{field}");
            let taken = |holder: TaskId, what: &dyn std::fmt::Display| format!("task {holder} has {what} already");
            let other = self.whole.get(&worker.node).or_else(|| self.used.get(&worker.node).filter(|_| whole));
            if let Some(&holder) = other {
                return Err(PlanError::new(at("node"), taken(holder, &worker.node)));
            }
            if whole {
                self.whole.insert(&worker.node, task.id);
            }
            self.used.insert(&worker.node, task.id);
            let Some(node) = nodes.get(&worker.node) else { continue };
            for id in &worker.devices {
                let Some(device) = node.devices.iter().find(|device| device.id == *id) else { continue };
                let milli = part(task.spec.request.devices, device).map_or(MILLI_PER_DEVICE, |part| part.milli);
                let (holder, used) = self.devices.entry(&device.id).or_insert((task.id, 0));
                *used += milli;
                if *used > MILLI_PER_DEVICE {
                    return Err(PlanError::new(at("devices"), taken(*holder, id)));
                }
            }
        }
        Ok(())
    }
}
