//! A simulation at full size: made-up tasks on 10,000 nodes with 8 devices each, policy `hai`, with all that is measured.
//!
//! Arguments: how many tasks (1,000,000), how many nodes (10,000), what share of the devices they would keep busy in percent
//! (90), and a policy by name (`hai`).

use std::ops::ControlFlow;
use std::time::Instant;

use hai_core::model::{Devices, Time};
use hai_core::sim::study::{ClusterFile, Load, Options, Profile, named, play};

/// The most memory that the process ever had, in MiB, as Linux tells it.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|word| word.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

/// Devices times milliseconds that the tasks need.
fn work(load: &Load) -> u128 {
    let devices = |devices: Devices| u128::from(devices.count());
    let tasks = load.tasks().iter();
    tasks
        .map(|task| {
            devices(task.spec.request.devices) * u128::from(task.spec.workers) * u128::from(task.work.needs.as_ms())
        })
        .sum()
}

fn main() {
    let mut words = std::env::args().skip(1);
    let mut number = |default: u64| words.next().and_then(|word| word.parse().ok()).unwrap_or(default);
    let (tasks, nodes, percent) = (number(1_000_000), number(10_000), number(90).max(1));
    let policy = words.next().unwrap_or_else(|| "hai".into());
    let since = Instant::now();
    let cluster = format!(
        r#"{{"node": [{{"name": "n", "count": {nodes}, "devices": 8, "per_leaf": 250}}],
        "conduct": {{"start": "5s", "leave": "5s"}}}}"#
    );
    let cluster = serde_json::from_str::<ClusterFile>(&cluster).expect("a cluster").build().expect("a good cluster");
    let profile = Profile::laboratory().expect("plain names");
    let load = profile.draw(usize::try_from(tasks).expect("it fits"), Time::ZERO, 1).expect("plain names");
    let span = load.last().expect("a task").since(Time::ZERO).as_ms();
    let offered = work(&load) as f64 / (span as f64 * cluster.devices() as f64);
    let denser = (percent as f64 / 100.0 / offered * 1000.0).round() as u32;
    let load = load.denser(denser.max(1));
    println!(
        "{tasks} tasks on {nodes} nodes, {percent} % offered, made in {:.1?}, {} MiB",
        since.elapsed(),
        peak_mib()
    );
    let (config, submits) = named(&policy, &load).expect("a policy");
    let options = Options { submits, ..Options::default() };
    let since = Instant::now();
    let outcome = play(&cluster, &load, config, 1, &options, &mut |_| ControlFlow::Continue(()));
    let figures = outcome.expect("a good cluster").figures;
    println!(
        "{policy}: {:.1?}, at most {} MiB; {} events, {} rounds, {} starts, {} suspensions, occupancy {:.1} %, waiting {:.0} s",
        since.elapsed(),
        peak_mib(),
        figures.events,
        figures.rounds,
        figures.starts,
        figures.suspensions,
        figures.occupancy,
        figures.waiting.mean
    );
    assert_eq!(figures.succeeded, tasks);
}
