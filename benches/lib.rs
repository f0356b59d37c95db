//! Clusters and loads for the benches: the same every time, and as large as asked.

pub mod big;

use std::sync::Arc;

use hai_core::engine::{Engine, EngineConfig};
use hai_core::model::{
    Allowance, Decision, DeviceId, DeviceSpec, Fact, GroupName, ModelName, NodeName, NodeSpec, Priority, RightKey,
    RightRow, Round, RunId, Span, TaskId, TaskSpec, Time, UserName, WorkerExit, WorkerRequest,
};

/// Devices on every node.
pub const DEVICES_PER_NODE: u32 = 8;

/// An engine with its clock, in which every start is reported at once.
#[derive(Clone, Debug)]
pub struct Lab {
    /// The engine.
    pub engine: Engine,
    now: Time,
    executing: Vec<RunId>,
}

/// A user's name.
#[must_use]
pub fn user(number: u64) -> UserName {
    UserName::new(format!("user-{number}")).expect("letters and digits")
}

/// A task of one worker with so many devices.
#[must_use]
pub fn task(owner: UserName, priority: Priority, devices: u32) -> TaskSpec {
    let group = GroupName::new("default").expect("letters");
    TaskSpec::new("bench", owner, group, priority, WorkerRequest::devices(devices))
}

fn node(number: u32) -> NodeSpec {
    let device = |index: u32| {
        let id = DeviceId::new(format!("GPU-{number}-{index}")).expect("printable");
        DeviceSpec::new(id, ModelName::new("A100").expect("printable"), 40 * 1024)
    };
    let name = NodeName::new(format!("node-{number}")).expect("letters and digits");
    let group = GroupName::new("default").expect("letters");
    let devices = (0..DEVICES_PER_NODE).map(device).collect();
    NodeSpec { devices, ..NodeSpec::new(name, group, 128_000, 512 * 1024) }
}

impl Lab {
    /// An empty cluster in which everybody may hold everything.
    ///
    /// # Panics
    /// Never: the facts are made here and good.
    #[must_use]
    pub fn new(config: EngineConfig, nodes: u32) -> Self {
        let mut lab = Lab { engine: Engine::new(config), now: Time::ZERO, executing: Vec::new() };
        lab.tell(&Fact::RightSet { right: RightRow::new(RightKey::default(), Allowance::UNLIMITED) });
        for number in 0..nodes {
            lab.tell(&Fact::NodeSet { node: node(number) });
        }
        lab.round();
        lab
    }

    /// A cluster on which every device is held by a task of one device.
    #[must_use]
    pub fn full(config: EngineConfig, nodes: u32) -> Self {
        let mut lab = Lab::new(config, nodes);
        for number in 0..u64::from(nodes * DEVICES_PER_NODE) {
            lab.submit(task(user(number % 100), Priority::Low, 1));
        }
        lab.round();
        lab
    }

    fn tell(&mut self, fact: &Fact) {
        self.engine.observe(self.now, fact).expect("a good fact");
    }

    /// Submits a task.
    pub fn submit(&mut self, spec: TaskSpec) -> TaskId {
        let task = self.engine.next_task_id();
        self.tell(&Fact::Submitted { task, spec: Arc::new(spec) });
        task
    }

    /// One round; whatever it starts is reported as started.
    pub fn round(&mut self) -> Round {
        self.now += Span::from_ms(1);
        let round = self.engine.schedule(self.now);
        for decision in &round.decisions {
            if let Decision::Start { run, placement, .. } = decision {
                for rank in (0..).take(placement.workers.len()) {
                    self.tell(&Fact::WorkerStarted { run: *run, rank });
                }
                self.executing.push(*run);
            }
        }
        drop(self.engine.drain_changes());
        round
    }

    /// The run of one worker that started `back` starts ago ends well.
    ///
    /// # Panics
    /// If fewer runs execute.
    pub fn finish(&mut self, back: usize) {
        let run = self.executing.remove(self.executing.len() - 1 - back);
        self.tell(&Fact::WorkerEnded { run, rank: 0, exit: WorkerExit::exited(0) });
    }
}
