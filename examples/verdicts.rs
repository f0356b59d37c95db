//! Asking the engine itself, without driver, store or cluster, why tasks wait.
//!
//! `cargo run -p hai-examples --example verdicts`. Every waiting task has a verdict: data with the numbers in it, and
//! one sentence for people.

use std::sync::Arc;

use hai_core::backend::Command;
use hai_core::engine::{Engine, EngineConfig};
use hai_core::model::{Allowance, Fact, Priority, RightKey, RightRow, TaskId, Time, UserName, Verdict};
use hai_examples::{machine, submit};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    for (name, verdict) in ask()? {
        println!("{name:<10} {}", verdict.map_or("runs".to_owned(), |verdict| verdict.to_string()));
    }
    Ok(())
}

fn ask() -> Result<Vec<(String, Option<Verdict>)>, Error> {
    let now = Time::ZERO;
    let mut engine = Engine::new(EngineConfig::default());
    engine.observe(now, &Fact::NodeSet { node: machine("lab-1", 2)? })?;
    for (user, devices) in [("alice", 4), ("bob", 1)] {
        let key = RightKey { user: Some(UserName::new(user)?), ..RightKey::default() };
        let allowance = Allowance::devices(devices);
        engine.observe(now, &Fact::RightSet { right: RightRow::new(key, allowance) })?;
    }
    let wanted = [
        ("train", "alice", Priority::High, 2),
        ("sweep", "alice", Priority::Normal, 1),
        ("sweep-2", "alice", Priority::Normal, 1),
        ("huge", "alice", Priority::Normal, 4),
        ("greedy", "bob", Priority::Normal, 2),
        ("stranger", "carol", Priority::High, 1),
    ];
    for (name, user, priority, devices) in wanted {
        let Command::Submit(submitted) = submit(name, user, priority, devices)? else { continue };
        let fact = Fact::Submitted { task: engine.next_task_id(), spec: Arc::new(submitted.spec) };
        engine.observe(now, &fact)?;
    }
    engine.schedule(now);
    let verdict = |id: u64| engine.verdict(TaskId(id));
    Ok(wanted.iter().zip(1..).map(|((name, ..), id)| ((*name).to_owned(), verdict(id))).collect())
}

#[test]
fn everybody_is_told_why() {
    let verdicts: Vec<_> = ask().expect("all names are good").into_iter().map(|(_, verdict)| verdict).collect();
    assert_eq!(verdicts[0], None);
    assert!(matches!(verdicts[1], Some(Verdict::NoRoom { .. })), "{verdicts:?}");
    assert!(matches!(verdicts[2], Some(Verdict::Behind { .. })), "{verdicts:?}");
    assert!(matches!(verdicts[3], Some(Verdict::NeverFits { .. })), "{verdicts:?}");
    assert!(matches!(verdicts[4], Some(Verdict::NoRight { .. })), "{verdicts:?}");
    assert!(matches!(verdicts[5], Some(Verdict::NoRight { .. })), "{verdicts:?}");
}
