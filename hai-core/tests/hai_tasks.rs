//! The life of a task under the default policy: holding, stopping, failing, losing nodes, back-off, and its verdicts.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use hai_core::engine::FactError;
use hai_core::model::Priority::*;
use hai_core::model::*;
use support::{Lab, TaskBuilder, secs};

const NOTHING: [&str; 0] = [];

/// A task of user `u` at `NORMAL` for one device.
fn task(name: &str) -> TaskBuilder {
    support::task(name).prio(Normal).devices(1)
}

/// One device that everybody may have.
fn slot() -> Lab {
    Lab::hai(|_| {}).with_devices(1)
}

/// One device, and `t1` on it.
fn running() -> Lab {
    let mut lab = slot();
    lab.submit(task("t1"));
    assert_eq!(lab.settle(), ["start t1"]);
    lab
}

/// Two nodes, and `t1` with a worker on each.
fn gang() -> Lab {
    let mut lab = Lab::hai(|_| {}).with_nodes(2);
    lab.submit(task("t1").nodes(2));
    assert_eq!(lab.settle(), ["start t1"]);
    lab
}

fn lost() -> WorkerExit {
    WorkerExit::of(WorkerFate::Lost { reason: "the node does not answer".to_owned() })
}

fn refused() -> WorkerExit {
    WorkerExit::of(WorkerFate::Refused { reason: "no space left on device".to_owned(), cause: RefusalCause::Task })
}

#[track_caller]
fn back_off(lab: &Lab) -> Time {
    match lab.why("t1") {
        Verdict::BackOff { until, reason } => {
            assert!(reason.contains("no space left"), "{reason}");
            until
        }
        other => panic!("t1 backs off, but its verdict is {other:?}"),
    }
}

// --- running and ending

#[test]
fn a_task_runs_and_succeeds() {
    let mut lab = slot();
    lab.start_after = Some(secs(3));
    lab.submit(task("t1"));
    assert_eq!(lab.why("t1"), Verdict::NotYetSeen);
    assert_eq!(lab.state("t1"), TaskState::Waiting);
    assert_eq!(lab.round(), ["start t1"]);
    assert_eq!((lab.state("t1"), lab.verdict("t1")), (TaskState::Starting, None));
    lab.pass(secs(3));
    assert_eq!(lab.state("t1"), TaskState::Running);
    let run = lab.engine.run(lab.run_of("t1")).unwrap();
    assert_eq!((run.attempt, run.phase, run.started_at), (1, RunPhase::Running, Some(Time::ZERO + secs(3))));
    lab.pass(secs(10));
    lab.finish("t1");
    assert_eq!(lab.settle(), NOTHING);
    assert_eq!(lab.outcome("t1"), Outcome::Succeeded);
    assert_eq!(lab.run_end("t1"), RunEnd::Completed);
    assert_eq!(lab.engine.task(lab.id("t1")), None);
    assert_eq!(lab.engine.next_deadline(), None);
}

#[test]
fn a_worker_that_fails_stops_the_others_and_fails_the_task() {
    let mut lab = gang();
    lab.end_worker("t1", 1, WorkerExit::exited(3));
    assert_eq!(lab.round(), ["stop t1"]);
    assert_eq!(lab.state("t1"), TaskState::Stopping);
    assert_eq!(lab.settle(), NOTHING);
    match lab.outcome("t1") {
        Outcome::Failed { reason } => assert!(reason.contains('1') && reason.contains("exit status 3"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(lab.run_end("t1"), RunEnd::Failed { .. }));
}

#[test]
fn a_worker_that_is_killed_or_can_not_be_executed_fails_the_task() {
    let killed = WorkerFate::Killed { signal: 9 };
    let absent = WorkerFate::NotExecuted { reason: "no such command: trian.py".to_owned() };
    for fate in [killed, absent] {
        let mut lab = running();
        lab.end_worker("t1", 0, WorkerExit::of(fate.clone()));
        assert_eq!(lab.settle(), NOTHING);
        match lab.outcome("t1") {
            Outcome::Failed { reason } => assert!(reason.contains(&fate.to_string()), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_worker_that_is_done_waits_for_the_others() {
    let mut lab = gang();
    lab.end_worker("t1", 0, WorkerExit::exited(0));
    assert_eq!(lab.settle(), NOTHING);
    assert_eq!(lab.state("t1"), TaskState::Running);
    lab.end_worker("t1", 1, WorkerExit::exited(0));
    assert_eq!(lab.settle(), NOTHING);
    assert_eq!(lab.outcome("t1"), Outcome::Succeeded);
}

// --- suspending

#[test]
fn a_suspended_task_goes_on_with_the_number_that_it_left() {
    let mut lab = running();
    assert_eq!(lab.whole_life_state_of("t1"), 0);
    lab.checkpoint("t1", 7);
    lab.submit(task("high").prio(High));
    assert_eq!(lab.round(), ["promise high", "suspend t1 for high"]);
    lab.checkpoint("t1", 9);
    assert_eq!(lab.settle(), ["start high"]);
    assert_eq!(lab.engine.task(lab.id("t1")).unwrap().whole_life_state, 9);
    assert_eq!(lab.run_end("t1"), RunEnd::Suspended);
    lab.finish("high");
    assert_eq!(lab.settle(), ["start t1"]);
    assert_eq!(lab.whole_life_state_of("t1"), 9, "what is saved while leaving counts");
    assert_eq!(lab.engine.task(lab.id("t1")).unwrap().runs, 2);
}

#[test]
fn a_worker_that_fails_after_the_signal_is_forgiven() {
    let mut lab = running();
    lab.leave_after = secs(100);
    lab.hold("t1");
    assert_eq!(lab.round(), ["suspend t1: held"]);
    lab.end_worker("t1", 0, WorkerExit::exited(1).after_signal());
    lab.release("t1");
    assert_eq!(lab.round(), ["start t1"]);
}

#[test]
fn a_worker_that_declares_itself_done_while_leaving_has_succeeded() {
    let mut lab = running();
    lab.leave_after = secs(100);
    lab.hold("t1");
    lab.round();
    lab.end_worker("t1", 0, WorkerExit { declared_done: true, ..WorkerExit::exited(0).after_signal() });
    assert_eq!(lab.round(), NOTHING);
    assert_eq!(lab.outcome("t1"), Outcome::Succeeded);
}

#[test]
fn a_worker_that_ends_by_itself_before_the_signal_reaches_it_has_ended_so() {
    for (exit, outcome) in [(0, "succeeded"), (1, "failed")] {
        let mut lab = running();
        lab.leave_after = secs(100);
        lab.hold("t1");
        lab.round();
        lab.end_worker("t1", 0, WorkerExit::exited(exit));
        assert_eq!(lab.round(), NOTHING);
        assert_eq!(lab.outcome("t1").word(), outcome);
    }
}

#[test]
fn time_spent_running_is_counted() {
    let mut lab = running();
    lab.pass(secs(90));
    lab.leave_after = Span::ZERO;
    lab.hold("t1");
    assert_eq!(lab.settle(), ["suspend t1: held"]);
    assert_eq!(lab.engine.task(lab.id("t1")).unwrap().ran, secs(90));
}

// --- holding

#[test]
fn a_held_task_leaves_and_waits_until_it_is_released() {
    let mut lab = running();
    lab.submit(task("t2"));
    lab.hold("t1");
    assert_eq!(lab.round(), ["promise t2", "suspend t1: held"]);
    assert_eq!(lab.settle(), ["start t2"]);
    assert_eq!((lab.state("t1"), lab.why("t1")), (TaskState::Held, Verdict::Held));
    lab.finish("t2");
    assert_eq!(lab.pass(secs(3600)), NOTHING);
    lab.release("t1");
    assert_eq!(lab.settle(), ["start t1"]);
}

#[test]
fn a_waiting_task_can_be_held() {
    let mut lab = slot();
    lab.submit(task("t1"));
    lab.hold("t1");
    assert_eq!(lab.settle(), NOTHING);
    assert_eq!((lab.state("t1"), lab.why("t1")), (TaskState::Held, Verdict::Held));
    lab.submit(task("t2").rank(9.0));
    assert_eq!(lab.settle(), ["start t2"]);
}

#[test]
fn a_task_released_before_it_has_left_leaves_and_comes_back() {
    let mut lab = running();
    lab.hold("t1");
    assert_eq!(lab.round(), ["suspend t1: held"]);
    lab.release("t1");
    assert_eq!(lab.round(), NOTHING);
    assert_eq!(lab.why("t1"), Verdict::Leaving { until: lab.now + secs(10) });
    assert_eq!(lab.settle(), ["start t1"]);
}

#[test]
fn only_what_is_held_can_be_released() {
    let mut lab = running();
    let task = lab.id("t1");
    assert_eq!(lab.try_tell(Fact::Released { task }), Err(FactError::NotHeld { task }));
    assert_eq!(lab.settle(), NOTHING);
}

#[test]
fn a_promised_task_that_is_held_gives_its_place_back() {
    let mut lab = running();
    lab.submit(task("high").prio(High));
    lab.round();
    lab.hold("high");
    let said = lab.round();
    assert!(said == NOTHING || said == ["withdraw high"], "{said:?}");
    assert_eq!(lab.settle(), ["start t1"], "it had to leave, but nobody needs its place any more");
    assert_eq!(lab.why("high"), Verdict::Held);
}

// --- stopping

#[test]
fn a_waiting_task_is_stopped_at_once() {
    let mut lab = running();
    lab.submit(task("t2"));
    lab.round();
    lab.cancel("t2");
    assert_eq!(lab.settle(), NOTHING);
    assert_eq!(lab.outcome("t2"), Outcome::Stopped);
    lab.finish("t1");
    assert_eq!(lab.settle(), NOTHING);
}

#[test]
fn a_running_task_is_stopped_within_its_grace() {
    let mut lab = running();
    lab.cancel("t1");
    assert_eq!(lab.round(), ["stop t1"]);
    assert_eq!(lab.state("t1"), TaskState::Stopping);
    assert_eq!(lab.settle(), NOTHING);
    assert_eq!(lab.outcome("t1"), Outcome::Stopped);
    assert_eq!(lab.run_end("t1"), RunEnd::Stopped);
}

#[test]
fn a_starting_task_is_stopped() {
    let mut lab = slot();
    lab.start_after = None;
    lab.submit(task("t1"));
    assert_eq!(lab.round(), ["start t1"]);
    lab.cancel("t1");
    assert_eq!(lab.round(), ["stop t1"]);
    assert_eq!(lab.settle(), NOTHING);
    assert_eq!(lab.outcome("t1"), Outcome::Stopped);
}

#[test]
fn a_promised_task_is_stopped_and_its_place_goes_to_others() {
    let mut lab = running();
    lab.submit(task("high").prio(High));
    lab.round();
    lab.cancel("high");
    let said = lab.round();
    assert!(said == NOTHING || said == ["withdraw high"], "{said:?}");
    assert_eq!(lab.outcome("high"), Outcome::Stopped);
    assert_eq!(lab.settle(), ["start t1"]);
}

#[test]
fn a_suspending_task_is_stopped_and_does_not_come_back() {
    let mut lab = running();
    lab.submit(task("high").prio(High));
    lab.round();
    lab.cancel("t1");
    let said = lab.settle();
    assert!(said == ["start high"] || said == ["stop t1", "start high"], "{said:?}");
    assert_eq!(lab.outcome("t1"), Outcome::Stopped);
    lab.finish("high");
    assert_eq!(lab.settle(), NOTHING);
}

#[test]
fn a_held_task_is_stopped() {
    let mut lab = running();
    lab.hold("t1");
    lab.settle();
    lab.cancel("t1");
    assert_eq!(lab.settle(), NOTHING);
    assert_eq!(lab.outcome("t1"), Outcome::Stopped);
}

#[test]
fn a_finished_task_is_unknown() {
    let mut lab = running();
    lab.finish("t1");
    lab.settle();
    let task = lab.id("t1");
    for fact in [Fact::Cancelled { task }, Fact::Held { task }, Fact::Released { task }] {
        assert_eq!(lab.try_tell(fact), Err(FactError::UnknownTask { task }));
    }
}

#[test]
fn what_is_told_twice_is_no_news() {
    let mut lab = running();
    let (task, run) = (lab.id("t1"), lab.run_of("t1"));
    assert_eq!(lab.try_tell(Fact::WorkerStarted { run, rank: 0 }), Ok(false));
    lab.leave_after = secs(100);
    lab.hold("t1");
    assert_eq!(lab.try_tell(Fact::Held { task }), Ok(false));
    assert_eq!(lab.round(), ["suspend t1: held"]);
    assert_eq!(lab.try_tell(Fact::Held { task }), Ok(false));
    assert_eq!(lab.round(), NOTHING);
}

#[test]
fn numbers_of_tasks_grow() {
    let mut lab = running();
    let spec = Arc::new(task("t2").spec());
    let last = lab.id("t1");
    let stale = lab.try_tell(Fact::Submitted { task: last, spec: spec.clone() });
    assert_eq!(stale, Err(FactError::StaleTaskId { task: last, last }));
    assert_eq!(lab.try_tell(Fact::Submitted { task: TaskId(last.0 + 10), spec }), Ok(true));
    assert_eq!(lab.engine.next_task_id(), TaskId(last.0 + 11));
}

// --- trouble

#[test]
fn a_refused_start_is_tried_later_and_later() {
    let mut lab = slot();
    lab.start_after = None;
    lab.submit(task("t1"));
    assert_eq!(lab.round(), ["start t1"]);
    for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        lab.end_worker("t1", 0, refused());
        assert_eq!(lab.round(), NOTHING);
        assert_eq!(back_off(&lab), lab.now + secs(wait));
        assert_eq!(lab.engine.next_deadline(), Some(lab.now + secs(wait)));
        assert_eq!(lab.pass(secs(wait)), ["start t1"]);
    }
}

#[test]
fn a_start_that_works_ends_the_row_of_refusals() {
    let mut lab = slot();
    lab.start_after = None;
    lab.submit(task("t1"));
    lab.round();
    for wait in [1, 2] {
        lab.end_worker("t1", 0, refused());
        lab.pass(secs(wait));
    }
    lab.tell(Fact::WorkerStarted { run: lab.run_of("t1"), rank: 0 });
    lab.hold("t1");
    lab.settle();
    lab.release("t1");
    assert_eq!(lab.round(), ["start t1"]);
    lab.end_worker("t1", 0, refused());
    lab.round();
    assert_eq!(back_off(&lab), lab.now + secs(1));
}

#[test]
fn others_use_the_place_while_a_task_backs_off() {
    let mut lab = slot();
    lab.start_after = None;
    lab.submit(task("t1"));
    lab.round();
    lab.submit(task("low").user("v").prio(Low));
    lab.end_worker("t1", 0, refused());
    assert_eq!(lab.round(), ["start low"]);
    assert_eq!(lab.pass(secs(1)), ["promise t1", "suspend low for t1"]);
}

#[test]
fn a_worker_refused_takes_the_rest_of_its_gang_along() {
    let mut lab = Lab::hai(|_| {}).with_nodes(2);
    lab.start_after = None;
    lab.submit(task("t1").nodes(2));
    assert_eq!(lab.round(), ["start t1"]);
    lab.tell(Fact::WorkerStarted { run: lab.run_of("t1"), rank: 0 });
    lab.end_worker("t1", 1, refused());
    let said = lab.round();
    assert!(said.len() == 1 && said[0].starts_with("suspend t1"), "{said:?}");
    assert_eq!(lab.pass(secs(2)), NOTHING);
    assert_eq!(back_off(&lab), lab.now + secs(1), "it is counted from when the last worker has left");
    assert_eq!(lab.pass(secs(1)), ["start t1"]);
    assert!(matches!(lab.run_end_of_attempt("t1", 1), RunEnd::Lost { .. }));
}

#[test]
fn a_lost_worker_takes_its_gang_to_other_places() {
    let mut lab = gang();
    let (first, second) = (lab.placement("t1").workers[0].node.clone(), lab.placement("t1").workers[1].node.clone());
    lab.checkpoint("t1", 5);
    lab.not_ready(first.as_str());
    lab.end_worker("t1", 0, lost());
    assert_eq!(lab.round(), ["suspend t1: worker 0 lost"]);
    assert_eq!(lab.settle(), NOTHING);
    assert!(matches!(lab.run_end("t1"), RunEnd::Lost { .. }));
    assert_eq!(lab.state("t1"), TaskState::Suspended);
    lab.node(support::node("n2"));
    assert_eq!(lab.settle(), ["start t1"]);
    assert_eq!(lab.nodes_of("t1"), BTreeSet::from([second.to_string(), "n2".to_owned()]));
    assert_eq!(lab.whole_life_state_of("t1"), 5);
}

#[test]
fn a_worker_lost_on_a_ready_node_is_started_again() {
    let mut lab = running();
    lab.end_worker("t1", 0, lost());
    assert_eq!(lab.settle(), ["start t1"]);
}

#[test]
fn a_removed_node_is_left() {
    let mut lab = gang();
    lab.tell(Fact::NodeRemoved { node: NodeName::new("n1").unwrap() });
    assert_eq!(lab.round(), ["suspend t1: n1 lost"]);
    assert_eq!(lab.settle(), NOTHING);
    assert!(matches!(lab.why("t1"), Verdict::NeverFits { .. }), "{:?}", lab.why("t1"));
    assert_eq!(lab.engine.nodes().count(), 1);
}

// --- verdicts

#[test]
fn the_second_of_a_shape_waits_behind_the_first() {
    let mut lab = running();
    lab.submit(task("t2"));
    lab.submit(task("t3"));
    lab.submit(task("t4").devices(0));
    assert_eq!(lab.settle(), ["start t4"]);
    assert!(matches!(lab.why("t2"), Verdict::NoRoom { .. }));
    assert_eq!(lab.why("t3"), Verdict::Behind { head: lab.id("t2") });
    lab.cancel("t2");
    lab.settle();
    assert!(matches!(lab.why("t3"), Verdict::NoRoom { .. }), "it is the first now");
}

#[test]
fn a_promise_names_who_is_leaving_and_until_when() {
    let mut lab = Lab::hai(|_| {}).with_devices(2);
    lab.submit(task("t1").grace(5, 60));
    lab.submit(task("t2").grace(1, 1));
    lab.settle();
    lab.submit(task("high").prio(High).devices(2));
    lab.round();
    let leaving = vec![lab.id("t1"), lab.id("t2")];
    assert_eq!(lab.why("high"), Verdict::Promised { leaving, until: lab.now + secs(65) });
    assert_eq!(lab.why("t1"), Verdict::Leaving { until: lab.now + secs(65) });
    assert_eq!(lab.why("t2"), Verdict::Leaving { until: lab.now + secs(2) });
    lab.end_worker("t2", 0, WorkerExit::exited(0).after_signal());
    lab.round();
    assert_eq!(lab.why("high"), Verdict::Promised { leaving: vec![lab.id("t1")], until: lab.now + secs(65) });
}

#[test]
fn a_verdict_changes_with_what_is_lacking() {
    let mut lab = Lab::hai_without_rights(|_| {});
    lab.submit(task("t1").devices(2));
    lab.round();
    assert!(matches!(lab.why("t1"), Verdict::NoSuchGroup { .. } | Verdict::NoRight { .. }));
    lab.anything_goes();
    lab.round();
    assert!(matches!(lab.why("t1"), Verdict::NoSuchGroup { .. }));
    lab.node(support::node("n0").devices(1));
    lab.round();
    assert!(matches!(lab.why("t1"), Verdict::NeverFits { .. }));
    lab.node(support::node("n0").devices(2).not_ready());
    lab.round();
    match lab.why("t1") {
        Verdict::NoRoom { lack } => {
            assert_eq!((lack.nodes, lack.usable_nodes, lack.devices, lack.free_devices), (1, 0, 0, 0));
        }
        other => panic!("{other:?}"),
    }
    lab.ready("n0");
    assert_eq!(lab.round(), ["start t1"]);
    assert_eq!(lab.verdict("t1"), None);
}

#[test]
fn nodes_show_what_is_free_and_who_is_there() {
    let mut lab = Lab::hai(|_| {}).with_nodes(1);
    lab.submit(task("t1").devices(3).cores(8).gib(9));
    lab.settle();
    let view = lab.engine.nodes().next().unwrap();
    assert_eq!((view.free_devices, view.free_cpu_milli, view.free_memory_mib), (5, 110_000, 480 * 1024));
    let (task, run) = (lab.id("t1"), lab.run_of("t1"));
    let place = lab.placement("t1").workers[0].clone();
    assert_eq!(view.workers, [NodeWorker { run, task, rank: 0, place, phase: Some(RunPhase::Running) }]);
}
