//! The engine's state as data: what can not be derived is kept, all else is built up again.

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::inventory::Stage;
use crate::model::{NodeName, NodeSpec, RightRow, RunId, Span, TaskId, Team, Time};

use super::state::{Derived, Phase, Run, Status, Task};
use super::timers::Timer;
use super::{Engine, EngineConfig};
use crate::queue::order::Usage;

/// All of an engine's state, to be kept and restored. Its inside may change between versions: `schema` tells which it is.
/// A state of an older schema is read by every later version (one that does not say is of the first); a newer one is
/// refused when it is deserialised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EngineState {
    #[serde(default = "first_schema", deserialize_with = "known_schema")]
    pub(super) schema: u32,
    pub(super) now: Time,
    pub(super) last_task: TaskId,
    pub(super) next_run: RunId,
    /// In the order in which they joined, which breaks ties between equal nodes.
    pub(super) nodes: Vec<NodeSpec>,
    /// Of those, the ones that were removed and still have somebody on them.
    pub(super) gone: Vec<usize>,
    pub(super) rights: Vec<RightRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) teams: Vec<Team>,
    pub(super) tasks: Vec<(TaskId, Task)>,
    pub(super) runs: Vec<(RunId, Run)>,
    /// Tasks that ended without success, as far as they are remembered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) failed: Vec<TaskId>,
    /// For whom nodes are kept: which, until when, and since when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) kept: Vec<(TaskId, Vec<NodeName>, Option<Time>, Time)>,
    /// For each of them the first run that was settled after it, and the longest grace that is counted on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) kept_from: Vec<(RunId, Span)>,
    /// What users used, if the order looks at that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<Usage>,
    /// Nodes that refused starts: how often in a row, and until when they get no other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) cooling: Vec<(NodeName, u32, Time)>,
    /// With which configuration it came about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) config: Option<Box<EngineConfig>>,
}

impl EngineState {
    /// The schema that is written, and the newest that is read.
    pub const SCHEMA: u32 = 2;

    /// The schema that this state was written with.
    #[must_use]
    pub const fn schema(&self) -> u32 {
        self.schema
    }

    /// When it was: the time of the last fact or round in it.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// The configuration of the engine that it was taken from; older states do not say.
    #[must_use]
    pub fn config(&self) -> Option<&EngineConfig> {
        self.config.as_deref()
    }
}

const fn first_schema() -> u32 {
    1
}

fn known_schema<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let schema = u32::deserialize(deserializer)?;
    if (first_schema()..=EngineState::SCHEMA).contains(&schema) {
        return Ok(schema);
    }
    Err(de::Error::custom(format_args!(
        "the state has schema {schema}, this version reads {} to {}; read it with the version that wrote it, or a later one",
        first_schema(),
        EngineState::SCHEMA
    )))
}

pub(super) fn take(engine: &Engine) -> EngineState {
    let nodes = || engine.inventory.nodes_joined();
    EngineState {
        schema: EngineState::SCHEMA,
        now: engine.now,
        last_task: engine.last_task,
        next_run: engine.next_run,
        nodes: nodes().map(|node| node.spec().clone()).collect(),
        gone: nodes().enumerate().filter(|(_, node)| node.is_gone()).map(|(index, _)| index).collect(),
        rights: engine.book.rows().collect(),
        teams: engine.book.teams().cloned().collect(),
        tasks: engine.tasks.iter().map(|(id, task)| (id, task.clone())).collect(),
        runs: engine.runs.iter().map(|(id, run)| (id, run.clone())).collect(),
        failed: engine.after.failed().collect(),
        kept: engine
            .reservations
            .iter()
            .map(|(&task, kept)| {
                let names = kept.nodes.iter().filter(|ix| engine.inventory.get(**ix).is_some());
                let names = names.map(|&ix| engine.inventory.node(ix).spec().name.clone()).collect();
                (task, names, kept.by, kept.at)
            })
            .collect(),
        kept_from: engine.reservations.values().map(|kept| (kept.first_run, kept.grace)).collect(),
        usage: engine.counts_usage.then(|| engine.usage.clone()),
        cooling: engine.cooling.iter().map(|(name, &(times, until))| (name.clone(), times, until)).collect(),
        config: Some(Box::new(engine.config.clone())),
    }
}

pub(super) fn restore(mut engine: Engine, state: EngineState) -> Engine {
    engine.now = state.now;
    engine.last_task = state.last_task;
    engine.next_run = state.next_run;
    let nodes: Vec<_> = state.nodes.into_iter().map(|spec| engine.inventory.set(spec)).collect();
    for team in state.teams {
        let _ = engine.book.set_team(team);
    }
    for right in state.rights {
        // What was good when it was stored is good now.
        let _ = engine.book.set(right);
    }
    // What was worked out by another engine may not be true of this one.
    for (id, task) in state.tasks {
        engine.tasks.insert(
            id,
            Task { queued: Derived::default(), account: Derived::default(), usage: Derived::default(), ..task },
        );
    }
    for (id, run) in state.runs {
        engine.runs.insert(id, Run { bill: Derived::default(), ..run });
    }
    engine.after.remember_failed(state.failed);
    for (name, times, until) in state.cooling {
        restore_cooling(&mut engine, name, times, until);
    }
    let runs: Vec<RunId> = engine.runs.keys().collect();
    for id in runs {
        restore_run(&mut engine, id);
    }
    for index in state.gone {
        if let Some(&ix) = nodes.get(index) {
            engine.inventory.remove(ix);
        }
    }
    // What runs hold is part of it, so it takes the place of what was counted just now.
    if let (true, Some(mut usage)) = (engine.counts_usage, state.usage) {
        usage.set_half_life(engine.usage.half_life(), engine.now);
        engine.usage = usage;
    }
    let tasks: Vec<TaskId> = engine.tasks.keys().collect();
    for id in tasks {
        engine.task_mut(id).usage = Derived::default();
        restore_task(&mut engine, id);
    }
    engine.set_expiry_timer();
    for (index, (task, nodes, by, at)) in state.kept.into_iter().enumerate() {
        if engine.tasks.contains(task) {
            // Older states do not say; then it goes by the time.
            let since = || engine.runs.iter().find(|(_, run)| run.decided_at >= at).map(|(id, _)| id);
            let from = state.kept_from.get(index).copied();
            let first_run = from.map(|(run, _)| run).or_else(since).unwrap_or(engine.next_run);
            engine.keep_nodes(task, &nodes, by);
            if let Some(kept) = engine.reservations.get_mut(&task) {
                (kept.at, kept.first_run) = (at, first_run);
                kept.grace = from.map_or(kept.grace, |(_, grace)| grace);
            }
        }
    }
    // Everything is looked at once more; what has not changed is decided as before.
    engine.agenda.promises = true;
    engine.agenda.rights_cut = true;
    engine.agenda.rights_freed = true;
    engine.changed_tasks.clear();
    engine.changed_runs.clear();
    engine
}

fn restore_run(engine: &mut Engine, id: RunId) {
    let run = engine.run_ref(id);
    let stage = match run.phase {
        Phase::Promised => Stage::Promised,
        Phase::Starting | Phase::Running => Stage::Staying,
        Phase::Vacating { .. } => Stage::Vacating,
    };
    let places: Vec<_> = run.alive().map(|rank| (rank, run.placement.workers[rank].clone())).collect();
    let (is_promised, listed) = (run.phase == Phase::Promised, stage != Stage::Vacating);
    for (rank, place) in places {
        let rank = u32::try_from(rank).expect("ranks are bounded by `WORKERS_MAX`");
        engine.inventory.hold(&place, id, rank, stage);
    }
    engine.note_crossing(id);
    engine.write_bill(id);
    engine.charge(id);
    if is_promised {
        engine.promised.insert(id);
    }
    if listed {
        engine.list(id);
    }
    engine.set_run_timers(id);
    engine.set_life_timers(id);
    if let Some(until) = engine.run_ref(id).notice {
        engine.give_notice(id, Some(until));
    }
    engine.agenda.runs.insert(id);
}

fn restore_cooling(engine: &mut Engine, name: NodeName, times: u32, until: Time) {
    if let Some(ix) = engine.inventory.find(&name).filter(|_| until > engine.now) {
        engine.inventory.cool(ix, Some(until));
        engine.timers.set(Timer::CoolDown(ix), until);
    }
    engine.cooling.insert(name, (times, until));
}

fn restore_task(engine: &mut Engine, id: TaskId) {
    engine.agenda.verdicts.insert(id);
    let spec = std::sync::Arc::clone(&engine.task_ref(id).spec);
    engine.task_mut(id).awaits = 0;
    engine.follow(id, &spec.after);
    match engine.task_ref(id).status.clone() {
        Status::Waiting => engine.enqueue(id),
        Status::BackOff { until, .. } => {
            engine.fifo_register(id);
            engine.timers.set(Timer::BackOff(id), until);
        }
        Status::NotBefore => {
            engine.fifo_register(id);
            let at = engine.task_ref(id).spec.not_before.unwrap_or(engine.now);
            engine.timers.set(Timer::NotBefore(id), at);
        }
        Status::After | Status::Held | Status::Run(_) => engine.fifo_register(id),
    }
}
