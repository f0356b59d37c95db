//! The engine alone in forty lines of code: machines, rights and tasks in; decisions out; what became of them in again.
//!
//! `cargo run -p hai-examples --example forty_lines`.

use std::sync::Arc;

use hai_core::engine::{Engine, EngineConfig};
use hai_core::model::*;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    work()?.iter().for_each(|line| println!("{line}"));
    Ok(())
}

fn work() -> Result<Vec<String>, Error> {
    // The engine reads no clock: the time is an argument everywhere.
    let (mut engine, mut now, mut told) = (Engine::new(EngineConfig::default()), Time::ZERO, Vec::new());
    let group = GroupName::new("default")?;
    let mut node = NodeSpec::new(NodeName::new("lab-1")?, group.clone(), 16_000, 64 << 10);
    node.devices.push(DeviceSpec::new(DeviceId::new("gpu-0")?, ModelName::new("RTX 3070")?, 8 << 10));
    engine.observe(now, &Fact::NodeSet { node })?;
    let right = RightRow::new(RightKey::default(), Allowance::UNLIMITED);
    engine.observe(now, &Fact::RightSet { right })?;
    for (name, user, level) in [("sweep", "alice", Priority::Normal), ("train", "bob", Priority::High)] {
        let spec = TaskSpec::new(name, UserName::new(user)?, group.clone(), level, WorkerRequest::devices(1));
        engine.observe(now, &Fact::Submitted { task: engine.next_task_id(), spec: Arc::new(spec) })?;
    }
    loop {
        let round = engine.schedule(now);
        told.extend(round.verdicts.iter().map(|(task, verdict)| format!("task {task} waits: {verdict}")));
        for action in round.actions() {
            let Decision::Start { task, run, placement, .. } = action else { continue };
            told.push(format!("task {task} starts on {}", placement.workers[0].node));
            // Here a program would be executed, and this would be told once it runs and once it has ended.
            engine.observe(now, &Fact::WorkerStarted { run: *run, rank: 0 })?;
            now += Span::from_mins(10);
            engine.observe(now, &Fact::WorkerEnded { run: *run, rank: 0, exit: WorkerExit::exited(0) })?;
        }
        if round.is_empty() {
            return Ok(told);
        }
    }
}

#[test]
fn the_better_one_runs_first_and_both_run() {
    let told = work().expect("all names are good");
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("task 1 waits: no room now"), "{told:?}");
    assert_eq!(told[1..], ["task 2 starts on lab-1", "task 1 starts on lab-1"]);
}

#[test]
fn it_has_forty_lines_of_code_at_most() {
    let text = include_str!("forty_lines.rs").lines().take_while(|line| *line != "#[test]").map(str::trim);
    let lines = text.filter(|line| !line.is_empty() && !line.starts_with("//")).count();
    assert!(lines <= 40, "it has {lines}");
}
