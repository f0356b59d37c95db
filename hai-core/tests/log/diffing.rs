//! What a change would have made of a log's work.

use std::convert::Infallible;

use hai_core::backend::{Command, Record};
use hai_core::engine::{EngineConfig, Policy};
use hai_core::log::{Change, Diff, Header, LogReader, Workload};
use hai_core::model::*;

use super::stories::{config, lines, records};
use crate::sim::{Sim, submit};
use crate::support::{node, secs, task, user};

fn workload(records: &[Record]) -> Workload {
    let lines = lines(&Header::new(EngineConfig::default()), records);
    Workload::read(LogReader::open(lines.into_iter().map(Ok::<_, Infallible>)).unwrap()).unwrap()
}

fn row(name: &str, devices: u32) -> RightRow {
    RightRow::new(RightKey { user: Some(user(name)), ..RightKey::default() }, Allowance::devices(devices))
}

/// Two devices. Ann may hold one at a time and submits two tasks of 100 s; Bob cancels his, and Ann's third runs at the end.
fn day() -> Vec<Record> {
    let mut sim = Sim::new(EngineConfig::default(), [node("n0").devices(2)], 0);
    let rights = [row("ann", 1), row("bob", 1)].map(|right| Command::Tell(Fact::RightSet { right }));
    sim.step(rights.into()).unwrap();
    sim.step((0..2).map(|_| submit(task("t").user("ann").devices(1).spec())).collect()).unwrap();
    sim.settle();
    sim.step(vec![submit(task("t").user("bob").devices(1).spec())]).unwrap();
    sim.settle();
    sim.now += secs(50);
    sim.step(vec![Command::Tell(Fact::Cancelled { task: TaskId(3) })]).unwrap();
    sim.cluster.end(RunId(2), 0, WorkerExit::of(WorkerFate::Killed { signal: 15 }).after_signal());
    sim.settle();
    sim.now += secs(50);
    sim.cluster.end(RunId(1), 0, WorkerExit::exited(0));
    sim.settle();
    sim.now += secs(100);
    sim.cluster.end(RunId(3), 0, WorkerExit::exited(0));
    sim.settle();
    sim.step(vec![submit(task("last").user("ann").devices(1).spec())]).unwrap();
    sim.settle();
    sim.now += secs(30);
    sim.step(vec![submit(task("never").user("ann").devices(1).spec())]).unwrap();
    sim.store.inner.kept().records
}

#[test]
fn the_work_in_a_log_is_what_its_tasks_ran() {
    let workload = workload(&day());
    let work = |task| workload.work(TaskId(task));
    assert_eq!((work(1), work(2), work(3)), (Some(secs(100)), Some(secs(100)), None));
    assert_eq!((work(4), work(5)), (Some(secs(30)), Some(Span::ZERO)));
    assert_eq!(workload.censored().into_iter().collect::<Vec<_>>(), [TaskId(4), TaskId(5)]);
}

#[test]
fn nothing_changed_is_no_difference() {
    let same = workload(&day()).compare(&Change::default(), 10);
    assert!(same.is_empty() && same.before == same.after, "{same:?}");
    assert_eq!((same.before.tasks, same.before.ended), (3, 3));
    // The log's own decisions are met: Ann's second waited for the first, 100 s.
    assert_eq!((same.before.waited, same.before.lost, same.before.suspensions), (secs(100), Span::ZERO, 0));
}

#[test]
fn more_right_lets_the_second_task_start_at_once() {
    let change = Change { rights: Some(vec![row("ann", 2), row("bob", 1)]), ..Change::default() };
    let diff = workload(&day()).compare(&change, 10);
    let second = diff.tasks.iter().find(|task| task.task == TaskId(2)).expect("it comes off otherwise");
    assert_eq!((second.before.waited, second.after.waited), (secs(100), Span::ZERO));
    assert_eq!((second.user.as_str(), second.censored), ("ann", false));
    assert_eq!((diff.before.waited, diff.after.waited), (secs(100), secs(50)), "now Bob waits, until he gives up");
    let first = &diff.rounds[0];
    assert_eq!(diff.rounds_differ, 3, "the start, Bob's end, and the start that comes too late");
    let text = first.to_string();
    assert!(text.contains("+ start task 2 ") && text.contains("- start task 3 "), "{text}");
    assert!(!text.contains("task 1 "), "what is the same is not told: {text}");
}

#[test]
fn a_lost_node_stops_all() {
    let change = Change { nodes: Some(Vec::new()), ..Change::default() };
    let diff = workload(&day()).compare(&change, 3);
    assert_eq!((diff.after.ended, diff.after.device_ms), (1, 0), "only the cancelled one ends");
    assert_eq!((diff.rounds.len(), diff.rounds_differ), (3, 5));
}

/// Random logs under the other policy: both sides know the same tasks, and the same twice gives the same.
#[test]
fn random_logs_are_compared_under_other_rules() {
    let mut differ = 0;
    for seed in 0..12 {
        let workload = workload(&records(seed, 60));
        assert_eq!(*workload.config(), config(seed));
        let policy = if config(seed).policy == Policy::Hai { Policy::HaiFifo } else { Policy::Hai };
        let change = Change { config: Some(EngineConfig { policy, ..config(seed) }), ..Change::default() };
        let compare = || -> Diff { workload.compare(&change, 5) };
        let diff = compare();
        assert_eq!(diff, compare());
        assert_eq!(diff.before.tasks, diff.after.tasks);
        assert!(workload.compare(&Change::default(), 5).is_empty());
        differ += usize::from(!diff.is_empty());
    }
    assert!(differ > 6, "{differ}");
}
