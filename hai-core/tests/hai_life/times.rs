//! Not before, not longer than, and trying again.

use hai_core::model::*;

use crate::support::{Lab, node, secs};
use crate::{NOTHING, devices, failed, failure, running, task};

#[test]
fn a_task_does_not_start_before_its_time() {
    let mut lab = devices(1);
    lab.submit(task("t1").not_before(100));
    assert_eq!(lab.round(), NOTHING);
    let at = Time::ZERO + secs(100);
    assert_eq!(lab.why("t1"), Verdict::NotBefore { at });
    assert_eq!(lab.engine.next_deadline(), Some(at));
    lab.restart();
    lab.pass(secs(200));
    assert_eq!(lab.when("start t1"), [100]);
}

#[test]
fn a_time_that_is_over_holds_nothing_up() {
    let mut lab = devices(1);
    lab.pass(secs(50));
    lab.submit(task("t1").not_before(50));
    assert_eq!(lab.settle(), ["start t1"]);
}

#[test]
fn a_task_must_wait_for_its_time_and_for_what_it_follows() {
    let mut lab = devices(2);
    let t1 = lab.submit(task("t1"));
    lab.submit(task("t2").after(&[t1]).not_before(100));
    assert_eq!(lab.settle(), ["start t1"]);
    lab.finish("t1");
    lab.pass(secs(200));
    assert_eq!(lab.when("start t2"), [100]);
}

#[test]
fn a_task_fails_when_it_has_run_to_its_limit() {
    let mut lab = running(task("t1").limit(secs(60)).retries(3, secs(10)));
    lab.pass(secs(600));
    assert_eq!(lab.when("stop t1"), [60]);
    let reason = failure(&lab, "t1");
    assert!(reason.contains("limit"), "{reason}");
    assert_eq!(lab.when("start t1"), [0], "it would only be too long again");
}

#[test]
fn the_limit_counts_all_runs_together_and_no_waiting() {
    let mut lab = running(task("t1").limit(secs(60)));
    lab.leave_after = Span::ZERO;
    lab.pass(secs(40));
    lab.hold("t1");
    lab.settle();
    lab.pass(secs(1000));
    lab.release("t1");
    lab.restart();
    lab.pass(secs(100));
    assert_eq!(lab.when("start t1"), [0, 1040]);
    assert_eq!(lab.when("stop t1"), [1060]);
}

#[test]
fn a_task_that_ends_within_its_limit_has_succeeded() {
    let mut lab = running(task("t1").limit(secs(60)));
    lab.pass(secs(59));
    lab.finish("t1");
    assert_eq!(lab.pass(secs(100)), NOTHING);
    assert_eq!(lab.outcome("t1"), Outcome::Succeeded);
    assert_eq!(lab.engine.next_deadline(), None);
}

/// The verdict of a task that failed and will be tried again: until when.
#[track_caller]
fn back_off(lab: &Lab, name: &str) -> Time {
    match lab.why(name) {
        Verdict::BackOff { until, reason } => {
            assert!(reason.contains("exit status 1"), "{reason}");
            until
        }
        other => panic!("{name} backs off, but its verdict is {other:?}"),
    }
}

#[test]
fn a_failed_task_is_tried_again_after_twice_the_time_each_and_then_no_more() {
    let mut lab = running(task("t1").retries(3, secs(10)));
    for wait in [10, 20, 40] {
        lab.end_worker("t1", 0, failed());
        assert_eq!(lab.round(), NOTHING);
        assert_eq!(back_off(&lab, "t1"), lab.now + secs(wait));
        assert_eq!(lab.pass(secs(wait - 1)), NOTHING);
        assert_eq!(lab.pass(secs(1)), ["start t1"]);
    }
    assert_eq!(lab.engine.task(lab.id("t1")).unwrap().runs, 4);
    lab.end_worker("t1", 0, failed());
    assert_eq!(lab.settle(), NOTHING);
    failure(&lab, "t1");
}

#[test]
fn tries_and_waits_outlive_a_restart() {
    let mut lab = running(task("t1").retries(2, secs(10)));
    lab.end_worker("t1", 0, failed());
    lab.round();
    lab.restart();
    assert_eq!(lab.pass(secs(10)), ["start t1"]);
    lab.restart();
    lab.end_worker("t1", 0, failed());
    lab.round();
    assert_eq!(back_off(&lab, "t1"), lab.now + secs(20));
}

#[test]
fn a_second_try_goes_on_from_what_was_saved() {
    let mut lab = running(task("t1").retries(1, secs(10)));
    lab.checkpoint("t1", 42);
    lab.end_worker("t1", 0, failed());
    lab.pass(secs(10));
    assert_eq!(lab.whole_life_state_of("t1"), 42);
    lab.finish("t1");
    lab.settle();
    assert_eq!(lab.outcome("t1"), Outcome::Succeeded);
}

#[test]
fn others_have_the_place_between_two_tries() {
    let mut lab = running(task("t1").retries(1, secs(10)));
    lab.submit(task("t2"));
    lab.end_worker("t1", 0, failed());
    assert_eq!(lab.settle(), ["start t2"]);
    lab.finish("t2");
    assert_eq!(lab.pass(secs(10)), ["start t1"]);
}

/// Two nodes of one device each.
fn two_nodes() -> Lab {
    let mut lab = Lab::hai(|_| {});
    lab.node(node("n0").devices(1));
    lab.node(node("n1").devices(1));
    lab
}

/// Where the first worker of a task is.
fn place(lab: &Lab, name: &str) -> String {
    lab.placement(name).workers[0].node.to_string()
}

#[test]
fn the_node_where_a_task_failed_is_left_aside() {
    let mut lab = two_nodes();
    lab.submit(task("t1").retries(5, secs(1)));
    lab.settle();
    let first = place(&lab, "t1");
    lab.end_worker("t1", 0, failed());
    assert_eq!(lab.pass(secs(1)), ["start t1"]);
    assert_ne!(place(&lab, "t1"), first);
    lab.submit(task("t2"));
    assert_eq!(lab.settle(), ["start t2"], "the node is as good as any to others");
    assert_eq!(place(&lab, "t2"), first);
}

#[test]
fn the_node_where_a_task_failed_is_used_if_no_other_will_do() {
    let mut lab = two_nodes();
    lab.submit(task("t1").retries(5, secs(1)));
    lab.settle();
    let first = place(&lab, "t1");
    lab.cordon(if first == "n0" { "n1" } else { "n0" });
    lab.end_worker("t1", 0, failed());
    assert_eq!(lab.pass(secs(1)), ["start t1"]);
    assert_eq!(place(&lab, "t1"), first);
}

#[test]
fn who_says_that_nodes_are_not_to_blame_may_be_put_where_it_failed() {
    let mut lab = two_nodes();
    let retries = Retries { limit: 5, back_off: secs(1), avoid_nodes: false };
    lab.submit(task("t1").with(|spec| spec.retries = Some(retries)));
    lab.settle();
    let first = place(&lab, "t1");
    lab.submit(task("t2"));
    lab.settle();
    lab.end_worker("t1", 0, failed());
    assert_eq!(lab.pass(secs(1)), ["start t1"]);
    assert_eq!(place(&lab, "t1"), first);
}
