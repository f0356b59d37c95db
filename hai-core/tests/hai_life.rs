//! The rules of a task's life under the default policy, by theme: what it waits for, how long it stays, whose it is, and
//! what becomes of it when hardware or rights change.

#[path = "hai_life/after.rs"]
mod after;
#[path = "hai_life/cards.rs"]
mod cards;
#[path = "hai_life/churn.rs"]
mod churn;
#[path = "hai_life/concluded.rs"]
mod concluded;
#[path = "hai_life/cuts.rs"]
mod cuts;
#[path = "hai_life/health.rs"]
mod health;
#[path = "hai_life/kinds.rs"]
mod kinds;
#[path = "hai_life/refusals.rs"]
mod refusals;
mod support;
#[path = "hai_life/teams.rs"]
mod teams;
#[path = "hai_life/times.rs"]
mod times;

use hai_core::model::Priority::*;
use hai_core::model::*;
use support::{Lab, TaskBuilder};

const NOTHING: [&str; 0] = [];

/// A task of user `u` at `NORMAL` for one device.
fn task(name: &str) -> TaskBuilder {
    support::task(name).prio(Normal).devices(1)
}

/// One node with so many devices, which everybody may have.
fn devices(count: u32) -> Lab {
    Lab::hai(|_| {}).with_devices(count)
}

/// One device, and `t1` on it.
fn running(t1: TaskBuilder) -> Lab {
    let mut lab = devices(1);
    lab.submit(t1);
    let said = lab.settle();
    assert!(said.len() == 1 && said[0].starts_with("start t1"), "{said:?}");
    lab
}

fn failed() -> WorkerExit {
    WorkerExit::exited(1)
}

/// Why a task failed.
#[track_caller]
fn failure(lab: &Lab, name: &str) -> String {
    match lab.outcome(name) {
        Outcome::Failed { reason } => reason,
        other => panic!("{name} is to have failed, and {other:?}"),
    }
}
