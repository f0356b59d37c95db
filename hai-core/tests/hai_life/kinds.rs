//! Interactive, background and unsuspendable work.

use hai_core::engine::FactError;
use hai_core::model::Priority::*;
use hai_core::model::*;

use crate::support::{Lab, TaskBuilder, node, secs};
use crate::{NOTHING, devices, running, task};

// --- interactive

fn notebook(name: &str) -> TaskBuilder {
    task(name).interactive(secs(3600), Some(secs(600)))
}

#[test]
fn a_lease_that_nobody_renews_ends_the_task() {
    let mut lab = running(notebook("t1"));
    lab.pass(secs(7200));
    assert_eq!(lab.when("stop t1"), [3600]);
    assert_eq!(lab.outcome("t1"), Outcome::Stopped);
}

#[test]
fn a_renewed_lease_begins_anew() {
    let mut lab = running(notebook("t1"));
    lab.pass(secs(3000));
    lab.renew("t1");
    lab.restart();
    lab.pass(secs(7200));
    assert_eq!(lab.when("stop t1"), [6600]);
}

#[test]
fn a_lease_counts_from_the_start_and_not_from_the_submission() {
    let mut lab = running(task("t1"));
    lab.submit(notebook("t2"));
    lab.pass(secs(10_000));
    lab.finish("t1");
    lab.pass(secs(10_000));
    assert_eq!(lab.when("stop t2"), [13_600]);
}

#[test]
fn only_leases_can_be_renewed() {
    let mut lab = running(task("t1"));
    let task = lab.id("t1");
    assert_eq!(lab.try_tell(Fact::Renewed { task }), Err(FactError::NoLease { task }));
}

#[test]
fn an_idle_notebook_gives_its_place_to_who_waits_and_comes_back_when_asked() {
    let mut lab = running(notebook("t1"));
    lab.submit(task("t2"));
    lab.pass(secs(100));
    lab.idle("t1", true);
    lab.pass(secs(1000));
    assert_eq!(lab.when("suspend t1: idle"), [700]);
    assert_eq!(lab.when("start t2"), [702]);
    assert_eq!((lab.state("t1"), lab.why("t1")), (TaskState::Held, Verdict::Held));
    lab.finish("t2");
    assert_eq!(lab.pass(secs(3600)), NOTHING);
    lab.release("t1");
    assert_eq!(lab.settle(), ["start t1"]);
}

#[test]
fn a_notebook_that_is_used_again_stays() {
    let mut lab = running(notebook("t1"));
    lab.idle("t1", true);
    lab.pass(secs(599));
    lab.idle("t1", false);
    lab.pass(secs(600));
    lab.idle("t1", true);
    lab.restart();
    assert_eq!(lab.pass(secs(599)), NOTHING);
    assert_eq!(lab.pass(secs(1)), ["suspend t1: idle"]);
}

#[test]
fn idle_training_stays() {
    let mut lab = running(task("t1"));
    lab.idle("t1", true);
    assert_eq!(lab.pass(secs(86_400)), NOTHING);
}

#[test]
fn a_notebook_without_an_idle_time_stays_for_its_lease() {
    let mut lab = running(task("t1").interactive(secs(3600), None));
    lab.idle("t1", true);
    lab.pass(secs(7200));
    assert_eq!(lab.when("stop t1"), [3600]);
}

// --- background

#[test]
fn background_work_needs_no_right_and_fills_what_nobody_wants() {
    let mut lab = Lab::hai_without_rights(|_| {}).with_devices(3);
    lab.right_devices("u", Normal, 1);
    lab.submit(task("b1").user("x").background());
    lab.submit(task("b2").user("x").background());
    lab.submit(task("t1"));
    lab.submit(task("t2"));
    lab.settle();
    assert_eq!(lab.holders(), ["b1", "b2", "t1"].into(), "t2 has no right");
}

#[test]
fn background_work_yields_to_all_other_work_and_disturbs_none() {
    let mut lab = devices(1);
    lab.submit(task("low").prio(Low));
    lab.submit(task("back").prio(ExtremeHigh).user("v").background());
    assert_eq!(lab.settle(), ["start low"]);
    assert_eq!(lab.pass(secs(86_400)), NOTHING);
    lab.finish("low");
    lab.settle();
    assert_eq!(lab.holders(), ["back"].into());
    lab.submit(task("low2").prio(Low));
    assert_eq!(lab.settle(), ["promise low2", "suspend back for low2", "start low2"]);
}

#[test]
fn background_work_yields_to_its_owners_other_work() {
    let mut lab = devices(1);
    lab.submit(task("back").background());
    lab.settle();
    lab.submit(task("t1"));
    assert_eq!(lab.settle(), ["promise t1", "suspend back for t1", "start t1"]);
}

#[test]
fn background_work_keeps_its_place_from_borrowed_work_and_comes_after_it() {
    let mut lab = Lab::hai_without_rights(|config| config.borrow = true).with_devices(1);
    lab.submit(task("back").background());
    lab.settle();
    assert_eq!(lab.holders(), ["back"].into());
    lab.submit(task("more").user("w").background());
    lab.submit(task("t1").user("v"));
    lab.settle();
    assert_eq!(lab.holders(), ["back"].into());
    lab.finish("back");
    lab.settle();
    assert_eq!(lab.holders(), ["t1"].into());
}

#[test]
fn background_work_yields_before_all_other_work() {
    let mut lab = devices(3);
    lab.submit(task("low").prio(Low));
    lab.submit(task("back").background());
    lab.submit(task("normal"));
    lab.settle();
    lab.submit(task("high").user("v").prio(High));
    assert_eq!(lab.round(), ["promise high", "suspend back for high"]);
}

#[test]
fn background_work_charges_nobody() {
    let mut lab = Lab::hai_without_rights(|_| {}).with_devices(2);
    lab.right_devices("u", Normal, 1);
    lab.submit(task("back").background());
    lab.settle();
    lab.submit(task("t1"));
    assert_eq!(lab.settle(), ["start t1"]);
}

// --- what can not be suspended

#[test]
fn what_can_not_be_suspended_yields_to_nobody() {
    let mut lab = Lab::hai(|config| config.timing.slice = secs(60)).with_devices(1);
    lab.submit(task("t1").prio(Low).not_suspendable());
    lab.settle();
    lab.submit(task("high").user("v").prio(ExtremeHigh));
    lab.submit(task("equal").user("w").prio(Low));
    assert_eq!(lab.pass(secs(1000)), NOTHING);
    assert!(matches!(lab.why("high"), Verdict::NoRoom { .. }), "{:?}", lab.why("high"));
    lab.finish("t1");
    assert_eq!(lab.settle(), ["start high"]);
}

#[test]
fn another_one_yields_in_its_stead() {
    let mut lab = devices(2);
    lab.submit(task("fixed").prio(Low).not_suspendable());
    lab.submit(task("normal"));
    lab.settle();
    lab.submit(task("high").user("v").prio(High));
    assert_eq!(lab.settle(), ["promise high", "suspend normal for high", "start high"]);
}

#[test]
fn its_owner_may_hold_it_and_a_lost_node_ends_its_run_all_the_same() {
    let mut lab = running(task("t1").not_suspendable());
    lab.hold("t1");
    assert_eq!(lab.settle(), ["suspend t1: held"]);
    lab.release("t1");
    assert_eq!(lab.settle(), ["start t1"]);
    lab.not_ready("n0");
    assert_eq!(lab.settle(), ["suspend t1: n0 lost"]);
}

/// Two whole nodes, a run on one of them, and a gang of two that has waited so long that both are kept for it.
fn reserved() -> Lab {
    let mut lab = Lab::hai(|config| config.reserve_after = Some(secs(60)));
    lab.node(node("n0"));
    lab.node(node("n1"));
    lab.submit(task("t1").prio(ExtremeHigh).nodes(1).limit(secs(1000)));
    lab.submit(task("gang").user("v").prio(High).nodes(2));
    lab.pass(secs(60));
    assert_eq!(lab.when("reserve gang"), [60]);
    assert!(matches!(lab.why("gang"), Verdict::Reserved { .. }), "{:?}", lab.why("gang"));
    lab
}

#[test]
fn what_can_not_be_suspended_fills_a_hole_only_if_it_is_over_in_time() {
    let mut lab = reserved();
    lab.submit(task("long").nodes(1).not_suspendable().limit(secs(100_000)));
    lab.submit(task("endless").user("w").nodes(1).not_suspendable());
    assert_eq!(lab.round(), NOTHING);
    let gang = lab.id("gang");
    assert_eq!(lab.why("long"), Verdict::WouldDelay { task: gang });
    assert_eq!(lab.why("endless"), Verdict::WouldDelay { task: gang });
    lab.submit(task("short").user("x").nodes(1).not_suspendable().limit(secs(300)));
    assert_eq!(lab.round(), ["start short"]);
    lab.pass(secs(2000));
    let started = lab.when("start gang");
    assert!(started.len() == 1 && started[0] <= 1010, "{started:?}");
}

#[test]
fn what_can_be_suspended_fills_the_hole_and_gives_way() {
    let mut lab = reserved();
    lab.submit(task("filler").user("w").prio(High).nodes(1));
    assert_eq!(lab.round(), ["start filler"], "{:?}", lab.verdict("filler"));
    lab.pass(secs(2000));
    let started = lab.when("start gang");
    assert!(started.len() == 1 && started[0] <= 1020, "{started:?}");
    assert_eq!(lab.suspensions("filler"), 1);
}
