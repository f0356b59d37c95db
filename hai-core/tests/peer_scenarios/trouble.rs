//! Nodes that go and come back, strangers, restarts, and how a run ends that was told to leave.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use hai_core::backend::{Command, Driver, DriverError, MemoryCluster, MemoryStore, Submitted};
use hai_core::engine::EngineConfig;
use hai_core::model::Priority::*;
use hai_core::model::*;

use crate::support::{Lab, TaskBuilder, node, secs};
use crate::{NOTHING, devices, task};

/// VO#5805: a node of a running gang is lost and comes back, while an equal gang of another user waits. The gang is never
/// left to run in part, and is the first to go on.
#[test]
fn a_gang_that_lost_a_node_leaves_whole_and_is_first_to_go_on() {
    let mut lab = Lab::hai(|_| {}).with_nodes(2);
    lab.submit(task("gang").nodes(2));
    lab.settle();
    lab.submit(task("fresh").user("v").nodes(2));
    assert_eq!(lab.settle(), NOTHING);
    lab.checkpoint("gang", 7);
    lab.not_ready("n0");
    assert_eq!(lab.settle(), ["suspend gang: n0 lost"]);
    assert!(lab.holders().is_empty(), "no part of it is left");
    lab.ready("n0");
    assert_eq!(lab.settle(), ["start gang"]);
    assert_eq!((lab.placement("gang").workers.len(), lab.whole_life_state_of("gang")), (2, 7));
    assert!(matches!(lab.why("fresh"), Verdict::NoRoom { .. }), "{:?}", lab.why("fresh"));
}

/// VO#4970, K8#72043: strangers take what was thought free between the decision and the start. The task is planned anew
/// elsewhere, nodes that refused are left alone for a while, and no task is lost however often that happens.
#[test]
fn a_task_whose_nodes_are_taken_by_strangers_is_planned_anew() {
    let mut lab = Lab::hai(|_| {}).with_nodes(3);
    lab.start_after = None;
    lab.submit(task("gang").nodes(2));
    assert_eq!(lab.round(), ["start gang"]);
    let mut tries = 1;
    while lab.second() < 3600 {
        if lab.state("gang") == TaskState::Starting {
            let run = lab.run_of("gang");
            lab.refuse("gang", 0, RefusalCause::Node, "a stranger took the node");
            lab.tell(Fact::WorkerStarted { run, rank: 1 });
        }
        tries += lab.pass(secs(5)).iter().filter(|line| *line == "start gang").count();
    }
    assert!((5..200).contains(&tries), "it was tried {tries} times in an hour");
    lab.start_after = Some(Span::ZERO);
    if lab.state("gang") == TaskState::Starting {
        for rank in 0..2 {
            lab.tell(Fact::WorkerStarted { run: lab.run_of("gang"), rank });
        }
    }
    lab.pass(secs(1200));
    assert_eq!(lab.state("gang"), TaskState::Running);
    lab.finish("gang");
    lab.settle();
    assert_eq!(lab.outcome("gang"), Outcome::Succeeded);
}

/// AR#4340, skypilot#7117: the process ends and starts anew at every moment around a suspension. The task is visible as
/// suspended, and goes on once.
#[test]
fn a_suspended_task_survives_restarts_and_goes_on_once() {
    for restart_at in 0..6 {
        let mut lab = devices(1);
        let at = |step: u32, lab: &mut Lab| {
            if step == restart_at {
                lab.restart();
            }
        };
        lab.submit(task("low").prio(Low));
        lab.settle();
        lab.checkpoint("low", 3);
        at(0, &mut lab);
        lab.submit(task("high").user("v").prio(High));
        at(1, &mut lab);
        assert_eq!(lab.round(), ["promise high", "suspend low for high"]);
        at(2, &mut lab);
        assert_eq!(lab.state("low"), TaskState::Suspending);
        assert_eq!(lab.settle(), ["start high"]);
        at(3, &mut lab);
        assert_eq!(lab.state("low"), TaskState::Suspended);
        assert_eq!(lab.round(), NOTHING);
        lab.finish("high");
        at(4, &mut lab);
        assert_eq!(lab.settle(), ["start low"]);
        at(5, &mut lab);
        assert_eq!(lab.settle(), NOTHING);
        let view = lab.engine.task(lab.id("low")).unwrap();
        assert_eq!((view.state, view.runs, view.whole_life_state), (TaskState::Running, 2, 3));
    }
}

/// How a task on one device ends, or goes on, that was told to leave and then ended in this way.
fn after_leaving(exit: WorkerExit) -> (RunEnd, TaskState, i64) {
    let mut lab = devices(1);
    lab.leave_after = secs(100);
    lab.submit(task("t").grace(100, 100));
    lab.settle();
    lab.checkpoint("t", 5);
    lab.hold("t");
    assert_eq!(lab.round(), ["suspend t: held"]);
    lab.end_worker("t", 0, exit);
    lab.round();
    let saved = lab.engine.task(lab.id("t")).map_or(-1, |view| view.whole_life_state);
    (lab.run_end("t"), lab.state("t"), saved)
}

/// Slurm's preemption: a task that is told to leave may be done just then, save and leave, or crash while it saves. It is
/// known which of these happened.
#[test]
fn how_a_run_ended_that_was_told_to_leave_is_known() {
    let done = WorkerExit::exited(0);
    assert_eq!(after_leaving(done), (RunEnd::Completed, TaskState::Finished, -1), "by itself, before it heard");
    let saved = WorkerExit::exited(0).after_signal();
    assert_eq!(after_leaving(saved), (RunEnd::Suspended, TaskState::Held, 5));
    let declared = WorkerExit { declared_done: true, ..WorkerExit::exited(0).after_signal() };
    assert_eq!(after_leaving(declared), (RunEnd::Completed, TaskState::Finished, -1));
    // Whatever it was about to save is lost, but not what it had saved before.
    let crashed = WorkerExit::of(WorkerFate::Killed { signal: 11 }).after_signal();
    assert_eq!(after_leaving(crashed), (RunEnd::Suspended, TaskState::Held, 5));
    let (end, state, _) = after_leaving(WorkerExit::exited(3));
    assert!(matches!(end, RunEnd::Failed { .. }) && state == TaskState::Finished, "{end:?}: it failed before it heard");
}

/// The in-memory store and cluster never wait, so a future is ready when it is first asked.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the store or the cluster waits"),
    }
}

type MemoryDriver = Driver<MemoryStore, MemoryCluster>;

fn submit(builder: TaskBuilder) -> Command {
    let program = Program { command: vec!["train".to_owned()], ..Program::default() };
    Command::Submit(Box::new(Submitted { spec: builder.spec(), program }))
}

/// Lets the driver take in all that the cluster has to say.
fn hear(driver: &mut MemoryDriver, now: Time) {
    loop {
        let said = {
            let mut next = pin!(driver.next());
            match next.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(command) => command,
                Poll::Pending => return,
            }
        };
        ready(driver.step(now, vec![said])).unwrap();
    }
}

fn anything_goes() -> Command {
    Command::Tell(Fact::RightSet { right: RightRow::new(RightKey::default(), Allowance::UNLIMITED) })
}

/// VO#5074: two replicas start at once over one store. Only the one that took the lease last decides; the other learns of
/// it with its next step, and has started nothing.
#[test]
fn of_two_replicas_one_decides() {
    let (store, cluster) = (MemoryStore::default(), MemoryCluster::new([node("n0").devices(1).spec()]));
    let open = || ready(Driver::open(EngineConfig::default(), store.clone(), cluster.clone(), Time::ZERO)).unwrap();
    let mut first = open();
    ready(first.step(Time::ZERO, vec![anything_goes()])).unwrap();
    let mut second = open();
    let refused = ready(first.step(Time::ZERO, vec![submit(task("a"))]));
    assert!(matches!(refused, Err(DriverError::Fenced)), "{refused:?}");
    assert!(cluster.executing().is_empty());
    ready(second.step(Time::ZERO, vec![submit(task("b"))])).unwrap();
    let executing = cluster.executing();
    assert_eq!(executing.len(), 1);
    assert_eq!(store.kept().tasks.len(), 1, "what the first was told is not stored");
}

/// AR#4340 as it was: the daemon restarts while a task leaves, and again while it waits.
#[test]
fn a_driver_that_restarts_knows_who_was_suspended() {
    let (store, cluster) = (MemoryStore::default(), MemoryCluster::new([node("n0").devices(1).spec()]));
    cluster.set_obedient(false);
    let now = Time::ZERO;
    let open = || ready(Driver::open(EngineConfig::default(), store.clone(), cluster.clone(), now)).unwrap();
    let mut driver = open();
    ready(driver.step(now, vec![anything_goes(), submit(task("low").prio(Low))])).unwrap();
    hear(&mut driver, now);
    ready(driver.step(now, vec![submit(task("high").user("v").prio(High))])).unwrap();
    drop(driver);
    let mut driver = open();
    let low = TaskId(1);
    assert_eq!(driver.engine().task(low).unwrap().state, TaskState::Suspending);
    let run = cluster.executing()[0].0.run;
    cluster.end(run, 0, WorkerExit::exited(0).after_signal());
    hear(&mut driver, now);
    drop(driver);
    let mut driver = open();
    assert_eq!(driver.engine().task(low).unwrap().state, TaskState::Suspended);
    assert_eq!(cluster.executing().len(), 1, "the better one");
    let run = cluster.executing()[0].0.run;
    cluster.end(run, 0, WorkerExit::exited(0));
    hear(&mut driver, now);
    let executing = cluster.executing();
    assert_eq!((executing.len(), executing[0].0.task), (1, low));
    assert_eq!(driver.engine().task(low).unwrap().runs, 2);
    let starts = store.decisions().into_iter().filter(|decision| matches!(decision, Decision::Start { .. })).count();
    assert_eq!(starts, 3, "each once: the lesser, the better, the lesser again");
}
