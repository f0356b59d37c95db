//! Ten tasks of one laboratory wait, each for another reason, and each is told why and what would help.
//!
//! `cargo run -p hai-examples --example why`. `hai why` prints the same of a task, with times told from where the reader stands.

use std::fmt::Write as _;
use std::sync::Arc;

use hai_core::engine::{Engine, EngineConfig, Timing};
use hai_core::explain::{Limits, what_would_help, why};
use hai_core::model::*;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    for (name, text) in tell()? {
        println!("=== {name}\n{text}\n");
    }
    Ok(())
}

/// The laboratory, and what was submitted by name.
struct Lab {
    engine: Engine,
    now: Time,
    names: Vec<(String, TaskId)>,
}

impl Lab {
    fn observe(&mut self, fact: &Fact) -> Result<(), Error> {
        self.engine.observe(self.now, fact)?;
        Ok(())
    }

    fn node(&mut self, group: &str, name: &str, devices: u32, model: &str, gib: u64) -> Result<(), Error> {
        let mut node = NodeSpec::new(NodeName::new(name)?, GroupName::new(group)?, 32_000, 128 << 10);
        for index in 0..devices {
            let id = DeviceId::new(format!("{name}-{index}"))?;
            node.devices.push(DeviceSpec::new(id, ModelName::new(model)?, gib << 10));
        }
        node.ready = name != "big-2";
        self.observe(&Fact::NodeSet { node })
    }

    fn right(&mut self, user: &str, devices: u32) -> Result<(), Error> {
        let key = RightKey { user: Some(UserName::new(user)?), ..RightKey::default() };
        let allowance = Allowance { nodes: Limit::at_most(0), devices: Limit::at_most(devices) };
        self.observe(&Fact::RightSet { right: RightRow::new(key, allowance) })
    }

    fn submit(
        &mut self,
        name: &str,
        user: &str,
        priority: Priority,
        devices: u32,
        change: impl FnOnce(&mut TaskSpec),
    ) -> Result<TaskId, Error> {
        let (user, group) = (UserName::new(user)?, GroupName::new("gpu")?);
        let mut spec = TaskSpec::new(name, user, group, priority, WorkerRequest::devices(devices));
        change(&mut spec);
        let task = self.engine.next_task_id();
        self.observe(&Fact::Submitted { task, spec: Arc::new(spec) })?;
        self.names.push((name.to_owned(), task));
        Ok(task)
    }

    /// A round, after which all that it started executes.
    fn round(&mut self) -> Result<(), Error> {
        let round = self.engine.schedule(self.now);
        for decision in &round.decisions {
            if let Decision::Start { run, placement, .. } = decision {
                for rank in (0..).take(placement.workers.len()) {
                    self.observe(&Fact::WorkerStarted { run: *run, rank })?;
                }
            }
        }
        Ok(())
    }
}

fn lab() -> Result<Lab, Error> {
    let timing = Timing { protected: Span::from_mins(15), ..Timing::default() };
    let config = EngineConfig { timing, ..EngineConfig::default() };
    let mut lab = Lab { engine: Engine::new(config), now: Time::from_ms(1_800_000_000_000), names: Vec::new() };
    lab.node("gpu", "big-1", 4, "A100", 80)?;
    lab.node("gpu", "big-2", 4, "A100", 80)?;
    lab.node("gpu", "small-1", 2, "RTX 3070", 8)?;
    lab.node("desk", "desk-1", 1, "RTX 3070", 8)?;
    for (user, devices) in [("alice", 100), ("bob", 2), ("dave", 100)] {
        lab.right(user, devices)?;
    }
    let a100 = |spec: &mut TaskSpec| spec.request.models = vec![ModelName::new("A100").expect("it is a name")];
    let small = |spec: &mut TaskSpec| spec.request.models = vec![ModelName::new("RTX 3070").expect("it is a name")];
    // What runs: alice on two of the large GPUs, bob on the two others, dave on the small ones and at the desk.
    let first = lab.submit("alice-runs", "alice", Priority::High, 2, a100)?;
    lab.submit("bob-runs", "bob", Priority::High, 2, a100)?;
    lab.submit("dave-runs", "dave", Priority::Normal, 2, small)?;
    let desk = |spec: &mut TaskSpec| spec.group = GroupName::new("desk").expect("it is a name");
    lab.submit("dave-at-the-desk", "dave", Priority::Normal, 1, desk)?;
    lab.round()?;
    lab.names.clear();
    lab.now += Span::from_mins(5);
    // What waits.
    lab.submit("no right at all", "carol", Priority::Normal, 1, |_| {})?;
    lab.submit("right used up", "bob", Priority::High, 1, a100)?;
    lab.submit("larger than any node", "dave", Priority::Normal, 8, |_| {})?;
    lab.submit("own work in the way", "dave", Priority::Normal, 2, small)?;
    lab.submit("behind another like it", "dave", Priority::Normal, 2, small)?;
    lab.submit("protected work in the way", "alice", Priority::VeryHigh, 1, desk)?;
    lab.submit("a gang for which a node is missing", "alice", Priority::High, 2, |spec| {
        a100(spec);
        spec.workers = 2;
    })?;
    lab.submit("waits for another task", "alice", Priority::High, 1, |spec| {
        spec.after = vec![Dependency { task: first, ended: DependsOn::Success }];
    })?;
    let held = lab.submit("held", "dave", Priority::Low, 0, |_| {})?;
    lab.observe(&Fact::Held { task: held })?;
    let not_before = lab.now + Span::from_mins(60);
    lab.submit("not before its time", "dave", Priority::Low, 0, |spec| spec.not_before = Some(not_before))?;
    lab.round()?;
    Ok(lab)
}

fn tell() -> Result<Vec<(String, String)>, Error> {
    let lab = lab()?;
    let mut texts = Vec::new();
    for (name, task) in &lab.names {
        let Some(why) = why(&lab.engine, *task) else { continue };
        // "task 7 is held: it is held …" would say one thing twice.
        let (state, reason) = (format!("it is {}", why.state.word()), why.to_string());
        let mut text = match reason.strip_prefix(&state) {
            Some(rest) => format!("task {task} is {}{rest}", why.state.word()),
            None => format!("task {task} is {}: {reason}", why.state.word()),
        };
        let helps = what_would_help(&lab.engine, *task, &Limits::default());
        for section in why.sections().iter().chain([&helps.section()]) {
            write!(text, "\n{section}")?;
        }
        texts.push((name.clone(), text));
    }
    Ok(texts)
}

#[test]
fn ten_tasks_are_told_why_and_what_to_do() {
    let texts = tell().expect("all names are good");
    assert_eq!(texts.len(), 10);
    let told: String = texts.iter().map(|(name, text)| format!("=== {name}\n{text}\n\n")).collect();
    // After a change that is meant: `HAI_REWRITE_TEXTS=1 cargo test -p hai-examples --example why`.
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/why.txt");
    if std::env::var_os("HAI_REWRITE_TEXTS").is_some() {
        std::fs::write(path, &told).expect("the texts can be written");
    }
    assert_eq!(told, std::fs::read_to_string(path).expect("the texts are there"));
}
