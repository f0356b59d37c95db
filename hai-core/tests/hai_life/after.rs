//! Tasks that wait for others to end.

use std::sync::Arc;

use hai_core::engine::FactError;
use hai_core::model::Priority::*;
use hai_core::model::*;

use crate::support::{Lab, secs};
use crate::{NOTHING, devices, failed, failure, running, task};

fn on(task: TaskId) -> Dependency {
    Dependency { task, ended: DependsOn::Success }
}

/// `t2` waits for the success of `t1`, `t3` for that of `t2`, and `t4` for any end of `t3`. There is room for all.
fn chain() -> Lab {
    let mut lab = devices(4);
    let t1 = lab.submit(task("t1"));
    let t2 = lab.submit(task("t2").after(&[t1]));
    let t3 = lab.submit(task("t3").after(&[t2]));
    lab.submit(task("t4").after_any(&[t3]));
    assert_eq!(lab.settle(), ["start t1"]);
    lab
}

#[test]
fn a_task_starts_when_what_it_follows_has_succeeded() {
    let mut lab = chain();
    for (name, waits_for) in [("t2", "t1"), ("t3", "t2"), ("t4", "t3")] {
        assert_eq!(lab.why(name), Verdict::After { tasks: vec![lab.id(waits_for)] });
    }
    assert_eq!(lab.pass(secs(86_400)), NOTHING);
    for (name, next) in [("t1", "t2"), ("t2", "t3"), ("t3", "t4")] {
        lab.finish(name);
        assert_eq!(lab.settle(), [format!("start {next}")]);
    }
}

#[test]
fn a_failure_goes_down_the_chain_and_stops_at_who_follows_any_end() {
    let mut lab = chain();
    lab.end_worker("t1", 0, failed());
    assert_eq!(lab.settle(), ["start t4"]);
    for (name, other) in [("t2", "t1"), ("t3", "t2")] {
        let reason = failure(&lab, name);
        assert!(reason.contains(&format!("task {}", lab.id(other))), "{name}: {reason}");
    }
}

#[test]
fn what_was_stopped_has_not_succeeded() {
    let mut lab = chain();
    lab.cancel("t1");
    assert_eq!(lab.settle(), ["stop t1", "start t4"]);
    assert_eq!(lab.outcome("t1"), Outcome::Stopped);
    failure(&lab, "t3");
}

#[test]
fn a_task_that_will_be_tried_again_has_not_ended() {
    let mut lab = devices(2);
    let t1 = lab.submit(task("t1").retries(1, secs(10)));
    lab.submit(task("t2").after_any(&[t1]));
    assert_eq!(lab.settle(), ["start t1"]);
    lab.end_worker("t1", 0, failed());
    assert_eq!(lab.pass(secs(10)), ["start t1"]);
    lab.end_worker("t1", 0, failed());
    assert_eq!(lab.settle(), ["start t2"]);
}

#[test]
fn all_that_a_task_follows_must_have_ended() {
    let mut lab = devices(4);
    let (t1, t2) = (lab.submit(task("t1")), lab.submit(task("t2")));
    lab.submit(task("t3").after(&[t1]).after_any(&[t2]));
    assert_eq!(lab.settle(), ["start t1", "start t2"]);
    lab.end_worker("t2", 0, failed());
    assert_eq!(lab.settle(), NOTHING);
    assert_eq!(lab.why("t3"), Verdict::After { tasks: vec![t1] });
    lab.finish("t1");
    assert_eq!(lab.settle(), ["start t3"]);
}

#[test]
fn a_cycle_is_refused_and_named_and_changes_nothing() {
    let mut lab = devices(3);
    let t1 = lab.submit(task("t1"));
    let t2 = lab.submit(task("t2").after(&[t1]));
    let t3 = lab.submit(task("t3").after(&[t2]));
    let error = lab.try_tell(Fact::MustFollow { task: t1, after: vec![on(t3)] }).unwrap_err();
    assert_eq!(error, FactError::DependencyCycle { cycle: vec![t1, t3, t2] });
    assert_eq!(error.to_string(), "after: task 1, task 3, task 2 would wait for each other for ever");
    assert_eq!(lab.settle(), ["start t1"]);
}

#[test]
fn a_task_can_not_follow_itself() {
    let mut lab = devices(1);
    let id = lab.engine.next_task_id();
    let spec = Arc::new(task("t1").after(&[id]).spec());
    let refused = lab.try_tell(Fact::Submitted { task: id, spec });
    assert_eq!(refused, Err(FactError::DependencyCycle { cycle: vec![id] }));
    assert_eq!(lab.engine.next_task_id(), id, "the number is still free");
}

#[test]
fn a_task_can_not_follow_one_that_is_not() {
    let mut lab = devices(1);
    let id = lab.engine.next_task_id();
    let stranger = TaskId(id.0 + 7);
    let spec = Arc::new(task("t1").after_any(&[stranger]).spec());
    let refused = lab.try_tell(Fact::Submitted { task: id, spec });
    assert_eq!(refused, Err(FactError::UnknownDependency { task: stranger }));
}

#[test]
fn what_has_ended_already_counts_by_how_it_ended() {
    let mut lab = devices(4);
    let (good, bad) = (lab.submit(task("good")), lab.submit(task("bad")));
    lab.settle();
    lab.finish("good");
    lab.end_worker("bad", 0, failed());
    lab.settle();
    lab.submit(task("t1").after(&[good]));
    lab.submit(task("t2").after_any(&[bad]));
    assert_eq!(lab.settle(), ["start t1", "start t2"]);
    let id = lab.engine.next_task_id();
    let spec = Arc::new(task("t3").after(&[good, bad]).spec());
    assert_eq!(lab.try_tell(Fact::Submitted { task: id, spec }), Err(FactError::DependencyFailed { task: bad }));
}

#[test]
fn what_has_started_can_not_be_made_to_follow() {
    let mut lab = running(task("t1"));
    let t2 = lab.submit(task("t2"));
    let t1 = lab.id("t1");
    let refused = lab.try_tell(Fact::MustFollow { task: t1, after: vec![on(t2)] });
    assert_eq!(refused, Err(FactError::HasStarted { task: t1 }));
}

#[test]
fn what_waits_can_be_made_to_follow_and_gives_its_promise_back() {
    let mut lab = running(task("t1"));
    let high = lab.submit(task("high").user("v").prio(High));
    assert_eq!(lab.round(), ["promise high", "suspend t1 for high"]);
    lab.tell(Fact::MustFollow { task: high, after: vec![on(lab.id("t1"))] });
    assert_eq!(lab.settle(), ["start t1"], "nobody needs its place now");
    assert_eq!(lab.why("high"), Verdict::After { tasks: vec![lab.id("t1")] });
    lab.finish("t1");
    assert_eq!(lab.settle(), ["start high"]);
}

#[test]
fn a_held_task_stays_held_when_what_it_follows_ends() {
    let mut lab = chain();
    lab.hold("t2");
    lab.finish("t1");
    assert_eq!(lab.settle(), NOTHING);
    assert_eq!(lab.why("t2"), Verdict::Held);
    lab.release("t2");
    assert_eq!(lab.settle(), ["start t2"]);
}

#[test]
fn a_task_that_is_released_early_still_follows() {
    let mut lab = chain();
    lab.hold("t2");
    lab.settle();
    lab.release("t2");
    assert_eq!(lab.settle(), NOTHING);
    assert_eq!(lab.why("t2"), Verdict::After { tasks: vec![lab.id("t1")] });
    lab.finish("t1");
    assert_eq!(lab.settle(), ["start t2"]);
}

#[test]
fn who_follows_whom_outlives_a_restart() {
    let mut lab = chain();
    lab.restart();
    assert_eq!(lab.settle(), NOTHING);
    lab.finish("t1");
    assert_eq!(lab.settle(), ["start t2"]);
    lab.end_worker("t2", 0, failed());
    assert_eq!(lab.settle(), ["start t4"]);
    lab.restart();
    let id = lab.engine.next_task_id();
    let spec = Arc::new(task("t5").after(&[lab.id("t2")]).spec());
    let refused = lab.try_tell(Fact::Submitted { task: id, spec });
    assert_eq!(refused, Err(FactError::DependencyFailed { task: lab.id("t2") }));
}
