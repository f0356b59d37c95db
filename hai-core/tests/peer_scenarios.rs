//! What went wrong in other schedulers, as scenarios that must go well here. Every test names the report it is taken from:
//! KU is Kueue, VO Volcano, KA KAI-Scheduler, AR Armada, HQ HyperQueue, K8 Kubernetes.

#[path = "peer_scenarios/preempting.rs"]
mod preempting;
#[path = "peer_scenarios/queueing.rs"]
mod queueing;
#[path = "peer_scenarios/rights.rs"]
mod rights;
mod support;
#[path = "peer_scenarios/trouble.rs"]
mod trouble;

use std::collections::BTreeSet;

use hai_core::model::Priority::*;
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

/// All suspensions for others so far: who for whom.
fn suspensions(lab: &Lab) -> Vec<(String, String)> {
    let pair = |line: &String| {
        let (victim, winner) = line.strip_prefix("suspend ")?.split_once(" for ")?;
        Some((victim.to_owned(), winner.to_owned()))
    };
    lab.history.iter().filter_map(|(_, line)| pair(line)).collect()
}

/// Nobody was suspended for somebody who was suspended for them.
#[track_caller]
fn assert_one_way(lab: &Lab) {
    let pairs: BTreeSet<(String, String)> = suspensions(lab).into_iter().collect();
    for (victim, winner) in &pairs {
        assert!(!pairs.contains(&(winner.clone(), victim.clone())), "{victim} and {winner} suspend each other");
    }
}
