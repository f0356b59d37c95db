//! A laboratory on paper: an engine, and a cluster that does at once what it is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use hai_core::engine::{Engine, EngineConfig};
use hai_core::model::*;

/// An engine, its clock, and the names of its tasks.
pub(crate) struct Lab {
    engine: Engine,
    now: Time,
    names: BTreeMap<TaskId, String>,
}

/// A name that stands in this program.
fn good<T>(name: Result<T, NameError>) -> T {
    name.expect("the names in this program are good")
}

pub(crate) fn group() -> GroupName {
    good(GroupName::new("default"))
}

pub(crate) fn model(name: &str) -> ModelName {
    good(ModelName::new(name))
}

pub(crate) fn user(name: &str) -> UserName {
    good(UserName::new(name))
}

pub(crate) fn team(name: &str) -> TeamName {
    good(TeamName::new(name))
}

pub(crate) fn place(name: &str) -> PlaceName {
    good(PlaceName::new(name))
}

pub(crate) fn profile(name: &str) -> MigProfile {
    good(MigProfile::new(name))
}

/// A node with as many devices of a model.
pub(crate) fn node(name: &str, devices: u32, of: &str, gib: u64) -> NodeSpec {
    let device = |index| DeviceSpec::new(good(DeviceId::new(format!("{name}-{index}"))), model(of), gib << 10);
    let devices = (0..devices).map(device).collect();
    NodeSpec { devices, ..NodeSpec::new(good(NodeName::new(name)), group(), 64_000, 256 << 10) }
}

/// A `NORMAL` task of alice with one worker.
pub(crate) fn task(name: &str, request: WorkerRequest) -> TaskSpec {
    TaskSpec::new(name, user("alice"), group(), Priority::Normal, request)
}

/// The same of somebody else, at another level.
pub(crate) fn of(owner: &str, priority: Priority, task: TaskSpec) -> TaskSpec {
    TaskSpec { user: user(owner), priority, ..task }
}

impl Lab {
    /// A laboratory with these nodes, where everybody may have everything.
    pub(crate) fn new(config: EngineConfig, nodes: impl IntoIterator<Item = NodeSpec>) -> Self {
        let mut lab = Lab { engine: Engine::new(config), now: Time::ZERO, names: BTreeMap::new() };
        lab.right(RightKey::default(), Allowance::UNLIMITED);
        for node in nodes {
            lab.tell(&Fact::NodeSet { node });
        }
        lab
    }

    /// Tells the engine something that it takes.
    pub(crate) fn tell(&mut self, fact: &Fact) {
        self.engine.observe(self.now, fact).expect("the examples tell nothing wrong");
    }

    /// Tells the engine something that it refuses.
    pub(crate) fn refused(&mut self, fact: &Fact) -> String {
        self.engine.observe(self.now, fact).expect_err("this is wrong").to_string()
    }

    pub(crate) fn right(&mut self, key: RightKey, allowance: Allowance) {
        self.tell(&Fact::RightSet { right: RightRow::new(key, allowance) });
    }

    pub(crate) fn submit(&mut self, spec: TaskSpec) -> TaskId {
        let task = self.engine.next_task_id();
        self.names.insert(task, spec.name.clone());
        self.tell(&Fact::Submitted { task, spec: Arc::new(spec) });
        task
    }

    pub(crate) fn pass(&mut self, time: Span) {
        self.now += time;
    }

    /// The present run of a task.
    pub(crate) fn run(&self, task: TaskId) -> RunId {
        self.engine.task(task).and_then(|task| task.run).expect("it runs")
    }

    /// All workers of a task end with this status.
    pub(crate) fn end(&mut self, task: TaskId, code: i32) {
        self.end_run(self.run(task), &WorkerExit::exited(code));
    }

    fn end_run(&mut self, run: RunId, exit: &WorkerExit) {
        let workers = self.engine.run(run).map_or(0, |run| run.workers.len());
        for rank in (0..).take(workers) {
            // The first failure may end the whole run.
            if self.engine.run(run).is_some() {
                self.tell(&Fact::WorkerEnded { run, rank, exit: exit.clone() });
            }
        }
    }

    /// Why a task waits, in one sentence.
    pub(crate) fn why(&self, task: TaskId) -> String {
        let verdict = self.engine.verdict(task).expect("it waits");
        format!("{} waits: {verdict}", self.names[&task])
    }

    /// Decides, and does what was decided, until there is nothing more to decide.
    pub(crate) fn settle(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            let round = self.engine.schedule(self.now);
            if round.decisions.is_empty() {
                return told;
            }
            for decision in &round.decisions {
                told.extend(self.tale(decision));
                match decision {
                    Decision::Start { run, placement, .. } => {
                        for rank in (0..).take(placement.workers.len()) {
                            self.tell(&Fact::WorkerStarted { run: *run, rank });
                        }
                    }
                    Decision::Suspend { run, .. } | Decision::Stop { run, .. } => {
                        self.end_run(*run, &WorkerExit::exited(0).after_signal());
                    }
                    _ => {}
                }
            }
        }
    }

    fn tale(&self, decision: &Decision) -> Option<String> {
        let name = |task: &TaskId| &self.names[task];
        Some(match decision {
            Decision::Start { task, placement, .. } => {
                let places: Vec<String> = placement.workers.iter().map(where_it_is).collect();
                format!("start {} on {}", name(task), places.join(", "))
            }
            Decision::Suspend { task, reason, .. } => format!("suspend {}: {reason}", name(task)),
            Decision::Stop { task, .. } => format!("stop {}", name(task)),
            Decision::Reserve { task, nodes, by } => {
                let nodes: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
                let by =
                    by.map_or("some time".to_owned(), |by| format!("{} min", by.since(Time::ZERO).as_ms() / 60_000));
                format!("keep {} for {}, by {by}", nodes.join(", "), name(task))
            }
            Decision::Notice { run, until: Some(_) } => {
                let task = self.engine.run(*run)?.task;
                format!("give {} notice", name(&task))
            }
            _ => return None,
        })
    }
}

fn where_it_is(worker: &WorkerPlacement) -> String {
    let devices: Vec<&str> = worker.devices.iter().map(DeviceId::as_str).collect();
    match worker.part {
        Some(part) => format!("{}/1000 of {}", part.milli, devices.join(" + ")),
        None if worker.whole_node || devices.is_empty() => worker.node.to_string(),
        None => devices.join(" + "),
    }
}
