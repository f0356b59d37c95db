//! Starts that a node refuses, and whose fault that is.

use hai_core::model::Priority::*;
use hai_core::model::*;

use crate::support::{Lab, node, secs};
use crate::{NOTHING, task};

const TAKEN: &str = "a stranger took 3 GiB";

/// So many nodes of one device; nobody reports starts but the test.
fn nodes(count: u32) -> Lab {
    let mut lab = Lab::hai(|_| {});
    lab.start_after = None;
    for index in 0..count {
        lab.node(node(&format!("n{index}")).devices(1));
    }
    lab
}

fn started(lab: &mut Lab, name: &str) {
    lab.tell(Fact::WorkerStarted { run: lab.run_of(name), rank: 0 });
}

#[test]
fn a_task_that_a_node_refused_goes_elsewhere_at_once() {
    let mut lab = nodes(2);
    lab.submit(task("t1"));
    assert_eq!(lab.round(), ["start t1"]);
    let first = lab.nodes_of("t1");
    lab.refuse("t1", 0, RefusalCause::Node, TAKEN);
    assert_eq!(lab.round(), ["start t1"]);
    assert!(lab.nodes_of("t1").is_disjoint(&first));
    lab.submit(task("t2"));
    assert_eq!(lab.round(), NOTHING, "nobody gets the node that refused");
    assert_eq!(lab.pass(secs(9)), NOTHING);
    assert_eq!(lab.pass(secs(1)), ["start t2"]);
    assert_eq!(lab.nodes_of("t2"), first);
}

#[test]
fn a_node_that_refuses_again_and_again_cools_down_for_longer_and_longer() {
    let mut lab = nodes(1);
    for (name, wait) in
        [("t1", 10), ("t2", 20), ("t3", 40), ("t4", 80), ("t5", 160), ("t6", 320), ("t7", 600), ("t8", 600)]
    {
        lab.submit(task(name));
        assert_eq!(lab.round(), [format!("start {name}")]);
        lab.refuse(name, 0, RefusalCause::Node, TAKEN);
        assert_eq!(lab.round(), NOTHING);
        lab.cancel(name);
        assert_eq!(lab.engine.next_deadline(), Some(lab.now + secs(wait)));
        lab.submit(task(&format!("probe{wait}")));
        assert_eq!(lab.pass(secs(wait - 1)), NOTHING);
        lab.cancel(&format!("probe{wait}"));
        assert_eq!(lab.pass(secs(1)), NOTHING);
    }
}

#[test]
fn a_start_that_works_makes_the_next_refusal_the_first() {
    let mut lab = nodes(1);
    lab.submit(task("t1"));
    lab.round();
    lab.refuse("t1", 0, RefusalCause::Node, TAKEN);
    assert_eq!(lab.pass(secs(10)), ["start t1"]);
    started(&mut lab, "t1");
    lab.finish("t1");
    lab.submit(task("t2"));
    assert_eq!(lab.round(), ["start t2"]);
    lab.refuse("t2", 0, RefusalCause::Node, TAKEN);
    lab.round();
    assert_eq!(lab.engine.next_deadline(), Some(lab.now + secs(10)));
}

#[test]
fn a_cool_down_outlives_a_restart() {
    let mut lab = nodes(1);
    lab.submit(task("t1"));
    lab.round();
    lab.refuse("t1", 0, RefusalCause::Node, TAKEN);
    lab.round();
    lab.pass(secs(4));
    lab.restart();
    assert_eq!(lab.pass(secs(5)), NOTHING);
    assert_eq!(lab.pass(secs(1)), ["start t1"]);
    lab.refuse("t1", 0, RefusalCause::Node, TAKEN);
    lab.round();
    assert_eq!(lab.engine.next_deadline(), Some(lab.now + secs(20)));
}

#[test]
fn a_promise_on_a_node_that_refuses_is_taken_back() {
    let mut lab = Lab::hai(|_| {});
    lab.leave_after = secs(5);
    lab.node(node("n0").devices(2));
    lab.submit(task("low").prio(Low));
    lab.settle();
    lab.start_after = None;
    lab.submit(task("t1").user("v"));
    assert_eq!(lab.round(), ["start t1"]);
    lab.submit(task("high").user("w").prio(High));
    assert_eq!(lab.round(), ["promise high", "suspend low for high"]);
    lab.refuse("t1", 0, RefusalCause::Node, TAKEN);
    assert_eq!(lab.round(), ["withdraw high"]);
    assert_eq!(lab.pass(secs(9)), NOTHING);
    let said = lab.pass(secs(1));
    assert!(said.contains(&"start high".to_owned()), "{said:?}");
}

#[test]
fn a_refused_task_does_not_win_again_by_being_first() {
    let mut lab = nodes(1);
    lab.submit(task("bad").prio(High));
    lab.submit(task("t2"));
    assert_eq!(lab.round(), ["start bad"]);
    lab.refuse("bad", 0, RefusalCause::Task, "image not found");
    assert_eq!(lab.round(), ["start t2"]);
    started(&mut lab, "t2");
    lab.finish("t2");
    assert_eq!(lab.pass(secs(1)), ["start bad"]);
}

/// A task that every node refuses, whatever it says of the cause, does not take one node after the other out of use.
#[test]
fn a_task_that_node_after_node_refuses_waits_itself() {
    let mut lab = nodes(8);
    lab.submit(task("bad").prio(High));
    assert_eq!(lab.round(), ["start bad"]);
    for _ in 0..2 {
        lab.refuse("bad", 0, RefusalCause::Node, TAKEN);
        assert_eq!(lab.round(), ["start bad"]);
    }
    lab.refuse("bad", 0, RefusalCause::Node, TAKEN);
    assert_eq!(lab.round(), NOTHING);
    match lab.why("bad") {
        Verdict::BackOff { until, reason } => assert!(until > lab.now && reason.contains(TAKEN), "{reason}"),
        other => panic!("{other:?}"),
    }
    for index in 0..6 {
        lab.submit(task(&format!("t{index}")));
    }
    assert_eq!(lab.round().len(), 5, "three of eight nodes cool down");
}
