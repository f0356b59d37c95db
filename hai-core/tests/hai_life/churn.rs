//! How often one task may be suspended for others, and slices that are worth their swap.

use hai_core::engine::Churn;
use hai_core::model::Priority::*;
use hai_core::model::*;

use crate::support::{Lab, secs};
use crate::task;

/// One device, and one suspension free; then one for every ten minutes of running. `t1` was suspended once and is back
/// since second 100.
fn churned(borrow: bool) -> Lab {
    let mut lab = Lab::hai(|config| {
        config.churn = Some(Churn { free: 1, every: secs(600) });
        config.borrow = borrow;
    })
    .with_devices(1);
    lab.leave_after = Span::from_ms(1);
    lab.submit(task("t1"));
    lab.settle();
    lab.submit(task("high1").user("v").prio(High));
    lab.pass(secs(100));
    assert_eq!(lab.when("suspend t1 for high1"), [0], "the first is free");
    lab.finish("high1");
    assert_eq!(lab.settle(), ["start t1"]);
    lab
}

#[test]
fn a_task_is_suspended_for_others_at_most_once_in_so_much_of_its_running() {
    let mut lab = churned(false);
    lab.pass(secs(50));
    lab.submit(task("high2").user("v").prio(ExtremeHigh));
    lab.pass(secs(3600));
    assert_eq!(lab.when("suspend t1 for high2"), [700]);
    assert_eq!(lab.when("start high2"), [700]);
}

#[test]
fn how_often_a_task_was_suspended_outlives_a_restart() {
    let mut lab = churned(false);
    lab.restart();
    lab.submit(task("high2").user("v").prio(ExtremeHigh));
    lab.pass(secs(3600));
    assert_eq!(lab.when("suspend t1 for high2"), [700]);
}

#[test]
fn what_must_leave_leaves_whatever_its_budget() {
    let mut lab = churned(false);
    lab.hold("t1");
    assert_eq!(lab.settle(), ["suspend t1: held"]);
}

#[test]
fn without_a_budget_a_better_task_suspends_at_once_every_time() {
    let mut lab = Lab::hai(|_| {}).with_devices(1);
    lab.submit(task("t1"));
    lab.settle();
    for name in ["high1", "high2", "high3"] {
        lab.submit(task(name).user("v").prio(High));
        lab.settle();
        assert_eq!(lab.holders(), [name].into());
        lab.finish(name);
        lab.settle();
    }
    assert_eq!(lab.suspensions("t1"), 3);
}

/// One device for two users; slices of a minute. Leaving takes 30 s, and so a swap does.
fn slow_swaps(slice_swaps: u32) -> Lab {
    let mut lab = Lab::hai(|config| {
        config.timing.slice = secs(60);
        config.slice_swaps = slice_swaps;
    })
    .with_devices(1);
    lab.leave_after = secs(30);
    lab.submit(task("t1").grace(60, 60));
    lab.submit(task("t2").user("v").grace(60, 60));
    lab.pass(secs(1000));
    lab
}

#[test]
fn a_slice_is_not_shorter_than_so_many_swaps() {
    let lab = slow_swaps(10);
    // Nothing is known of a task's swap before its first.
    assert_eq!(lab.when("suspend t1 for t2"), [60, 480]);
    assert_eq!(lab.when("suspend t2 for t1"), [150, 810]);
}

#[test]
fn without_such_a_bound_a_slice_is_as_long_as_the_operator_says() {
    let lab = slow_swaps(0);
    assert_eq!(lab.when("suspend t1 for t2")[..3], [60, 240, 420]);
}

#[test]
fn starting_counts_as_a_part_of_the_swap() {
    let mut lab = Lab::hai(|config| config.timing.slice = secs(60)).with_devices(1);
    lab.leave_after = Span::from_ms(1);
    lab.start_after = Some(secs(20));
    lab.submit(task("t1"));
    lab.submit(task("t2").user("v"));
    lab.pass(secs(1000));
    // It executes from second 20 on, and what it takes to start it is known then.
    assert_eq!(lab.when("suspend t1 for t2")[0], 220);
}
