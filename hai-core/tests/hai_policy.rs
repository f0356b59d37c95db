//! The time-sharing rules of the default policy, one scenario each: order, rights and borrowing, slices, victims, holes.

mod support;

use std::collections::BTreeSet;

use hai_core::engine::{EngineConfig, Timing};
use hai_core::model::Priority::*;
use hai_core::model::*;
use support::{Lab, TaskBuilder, secs};

const NOTHING: [&str; 0] = [];

/// A task of user `u` at `NORMAL` for one device.
fn task(name: &str) -> TaskBuilder {
    support::task(name).prio(Normal).devices(1)
}

/// One device that everybody may have.
fn slot(change: impl FnOnce(&mut EngineConfig)) -> Lab {
    Lab::hai(change).with_devices(1)
}

fn slices_of(span: Span) -> impl FnOnce(&mut EngineConfig) {
    move |config| config.timing.slice = span
}

fn defaults(_: &mut EngineConfig) {}

/// Every start so far, with the second it was decided in.
fn starts(lab: &Lab) -> Vec<(u64, &str)> {
    lab.history.iter().filter_map(|(at, line)| Some((*at, line.strip_prefix("start ")?))).collect()
}

// --- rule 1: order

#[test]
fn better_priority_first_then_rank_then_submission() {
    let mut lab = slot(defaults);
    for (name, priority) in [("n1", Normal), ("h1", High), ("h2", High), ("low", Low), ("above", AboveNormal)] {
        lab.submit(task(name).prio(priority));
    }
    lab.submit(task("h0").prio(High).rank(0.5));
    for next in ["h0", "h1", "h2", "above", "n1", "low"] {
        assert_eq!(lab.settle(), [format!("start {next}")]);
        lab.finish(next);
    }
}

#[test]
fn a_resumed_task_keeps_its_place() {
    let mut lab = slot(defaults);
    lab.submit(task("t1"));
    assert_eq!(lab.settle(), ["start t1"]);
    lab.submit(task("t2"));
    lab.submit(task("high").user("v").prio(High));
    assert_eq!(lab.settle(), ["promise high", "suspend t1 for high", "start high"]);
    lab.finish("high");
    assert_eq!(lab.settle(), ["start t1"]);
    lab.finish("t1");
    assert_eq!(lab.settle(), ["start t2"]);
}

#[test]
fn an_urgent_wait_that_becomes_urgent_displaces_and_one_that_yields_is_displaced() {
    let mut lab = slot(defaults);
    lab.submit(task("t1"));
    lab.submit(task("t2"));
    assert_eq!(lab.settle(), ["start t1"]);
    lab.reprioritise("t2", High);
    assert_eq!(lab.settle(), ["promise t2", "suspend t1 for t2", "start t2"]);
    lab.reprioritise("t2", Low);
    assert_eq!(lab.settle(), ["promise t1", "recharge t2 LOW", "suspend t2 for t1", "start t1"]);
}

// --- rule 2: rights and borrowing

#[test]
fn without_borrowing_a_used_right_leaves_devices_idle() {
    let mut lab = Lab::hai_without_rights(defaults).with_devices(2);
    lab.right_devices("u", Normal, 1);
    lab.submit(task("t1"));
    lab.submit(task("t2"));
    lab.submit(task("t3").devices(2));
    assert_eq!(lab.settle(), ["start t1"]);
    let one = Charge { devices: Amount::whole(1), ..Charge::NOTHING };
    let (user, group, priority, allowed) = (support::user("u"), support::group("g"), Normal, Allowance::devices(1));
    let expected =
        Verdict::RightUsed { user: user.clone(), group: group.clone(), priority, asked: one, used: one, allowed };
    assert_eq!(lab.why("t2"), expected);
    let two = Charge { devices: Amount::whole(2), ..Charge::NOTHING };
    assert_eq!(lab.why("t3"), Verdict::NoRight { user, group, priority, asked: two, allowed });
    lab.finish("t1");
    assert_eq!(lab.settle(), ["start t2"]);
}

#[test]
fn the_most_specific_right_counts() {
    let mut lab = Lab::hai_without_rights(defaults).with_devices(8);
    let mut set = |user: Option<&str>, group: Option<&str>, priority, devices| {
        let (user, group) = (user.map(support::user), group.map(support::group));
        let key = RightKey { user, group, priority, ..RightKey::default() };
        lab.tell(Fact::RightSet { right: RightRow::new(key, Allowance::devices(devices)) });
    };
    set(None, None, None, 1);
    set(None, Some("g"), Some(Normal), 2);
    set(Some("v"), None, None, 3);
    for name in ["u1", "u2", "u3"] {
        lab.submit(task(name));
    }
    for name in ["v1", "v2", "v3", "v4"] {
        lab.submit(task(name).user("v"));
    }
    for name in ["h1", "h2"] {
        lab.submit(task(name).prio(High));
    }
    lab.settle();
    assert_eq!(lab.holders(), BTreeSet::from(["u1", "u2", "v1", "v2", "v3", "h1"]));
}

#[test]
fn auto_takes_the_best_level_with_a_right_left() {
    let mut lab = Lab::hai_without_rights(defaults).with_devices(2);
    lab.right_devices("u", ExtremeHigh, 1);
    lab.right_devices("u", Normal, 2);
    lab.right_devices("v", High, 2);
    lab.submit(task("a1").prio(Auto));
    lab.submit(task("a2").prio(Auto));
    assert_eq!(lab.settle(), ["start a1", "start a2"]);
    assert_eq!((lab.level_of("a1"), lab.level_of("a2")), (ExtremeHigh, Normal));
    assert_eq!(lab.engine.task(lab.id("a1")).unwrap().level, Some(ExtremeHigh));
    lab.submit(task("h").user("v").prio(High));
    assert_eq!(lab.settle(), ["promise h", "suspend a2 for h", "start h"]);
}

#[test]
fn a_right_that_is_cut_ends_the_run_that_is_later_in_rank() {
    let mut lab = Lab::hai_without_rights(defaults).with_devices(2);
    lab.right_devices("u", Normal, 2);
    lab.submit(task("t1"));
    lab.submit(task("t2"));
    assert_eq!(lab.settle(), ["start t1", "start t2"]);
    lab.right_devices("u", Normal, 1);
    assert_eq!(lab.settle(), ["suspend t2: right lost"]);
    assert!(matches!(lab.why("t2"), Verdict::RightUsed { .. }));
}

/// Two devices; `u` has a right to one of them.
fn borrowing() -> Lab {
    let mut lab = Lab::hai_without_rights(|config| config.borrow = true).with_devices(2);
    lab.right_devices("u", High, 1);
    lab.right_devices("v", Low, 2);
    lab.submit(task("t1").prio(High));
    lab.submit(task("t2").prio(High));
    assert_eq!(lab.settle(), ["start t1", "start t2 borrowed"]);
    lab
}

#[test]
fn borrowed_work_yields_to_entitled_work_of_any_priority() {
    let mut lab = borrowing();
    lab.submit(task("t3").user("v").prio(Low));
    assert_eq!(lab.settle(), ["promise t3", "suspend t2 for t3", "start t3"]);
    assert!(lab.verdict("t2").is_some());
    lab.finish("t3");
    assert_eq!(lab.settle(), ["start t2 borrowed"]);
}

#[test]
fn borrowed_work_becomes_entitled_when_the_right_is_free_again() {
    let mut lab = borrowing();
    lab.finish("t1");
    assert_eq!(lab.settle(), ["recharge t2 HIGH"]);
    lab.submit(task("t3").user("v").prio(Low));
    lab.submit(task("t4").user("v").prio(Low));
    assert_eq!(lab.settle(), ["start t3"], "there is one free device, and t2 does not yield any more");
}

#[test]
fn a_task_beyond_its_right_never_displaces_entitled_work() {
    let mut lab = Lab::hai_without_rights(|config| config.borrow = true).with_devices(1);
    lab.right_devices("v", Low, 1);
    lab.submit(task("t1").user("v").prio(Low));
    assert_eq!(lab.settle(), ["start t1"]);
    lab.submit(task("t2").user("u").prio(ExtremeHigh));
    assert_eq!(lab.pass(secs(86_400)), NOTHING);
    lab.finish("t1");
    assert_eq!(lab.settle(), ["start t2 borrowed"]);
}

#[test]
fn with_borrowing_a_cut_right_makes_the_run_a_borrowed_one() {
    let mut lab = borrowing();
    lab.right_devices("u", High, 0);
    let said = lab.settle();
    assert_eq!(said, ["recharge t1 HIGH borrowed"]);
}

// --- rule 3: who interrupts whom, and when

#[test]
fn the_same_user_and_priority_never_interrupts() {
    let mut lab = slot(slices_of(secs(60)));
    lab.submit(task("t1"));
    assert_eq!(lab.settle(), ["start t1"]);
    lab.submit(task("t2").rank(-1.0));
    assert_eq!(lab.pass(secs(86_400)), NOTHING);
    assert!(matches!(lab.why("t2"), Verdict::NoRoom { .. }));
}

#[test]
fn a_better_priority_interrupts_at_once_even_the_same_users() {
    let mut lab = slot(defaults);
    lab.submit(task("t1"));
    assert_eq!(lab.settle(), ["start t1"]);
    lab.submit(task("t2").prio(AboveNormal));
    assert_eq!(lab.round(), ["promise t2", "suspend t1 for t2"]);
    assert_eq!(lab.state("t1"), TaskState::Suspending);
    assert_eq!(lab.state("t2"), TaskState::Promised);
    assert_eq!(lab.settle(), ["start t2"]);
    assert_eq!(lab.state("t1"), TaskState::Suspended);
    let yielded = lab.engine.task(lab.id("t1")).unwrap().yielded.unwrap();
    assert_eq!(yielded, Yielded { at: Time::ZERO, reason: YieldReason::For { task: lab.id("t2") } });
}

#[test]
fn a_better_priority_waits_for_the_protected_minutes() {
    let mut lab = slot(|config| config.timing.protected = secs(900));
    lab.submit(task("t1"));
    assert_eq!(lab.settle(), ["start t1"]);
    lab.pass(secs(60));
    lab.submit(task("t2").prio(ExtremeHigh));
    assert_eq!(lab.round(), NOTHING);
    assert!(matches!(lab.why("t2"), Verdict::NoRoom { .. }));
    assert_eq!(lab.engine.next_deadline(), Some(Time::ZERO + secs(900)));
    lab.pass(secs(3600));
    assert_eq!(lab.when("suspend t1 for t2"), [900]);
    assert_eq!(lab.when("start t2"), [902]);
}

#[test]
fn protection_is_set_for_each_level() {
    let mut lab = slot(|config| {
        let protected = Timing { protected: secs(900), ..Timing::default() };
        config.levels.insert(Low, protected);
    });
    lab.submit(task("low").prio(Low));
    assert_eq!(lab.settle(), ["start low"]);
    lab.submit(task("normal"));
    assert_eq!(lab.settle(), NOTHING);
    lab.pass(secs(902));
    assert_eq!(lab.when("start normal"), [902]);
    lab.submit(task("high").prio(High));
    assert_eq!(lab.round(), ["promise high", "suspend normal for high"], "NORMAL is not protected");
}

#[test]
fn equals_take_turns_when_the_slice_is_over() {
    let mut lab = slot(slices_of(secs(600)));
    lab.submit(task("t1").user("u"));
    lab.submit(task("t2").user("v"));
    assert_eq!(lab.settle(), ["start t1"]);
    assert_eq!(lab.engine.next_deadline(), Some(Time::ZERO + secs(600)));
    lab.pass(secs(2400));
    assert_eq!(starts(&lab), [(0, "t1"), (602, "t2"), (1204, "t1"), (1806, "t2")]);
    assert_eq!(lab.when("suspend t1 for t2")[0], 600);
}

#[test]
fn among_equals_the_longest_waiting_is_next() {
    let mut lab = slot(slices_of(secs(600)));
    for (name, user) in [("t1", "u"), ("t2", "v"), ("t3", "w")] {
        lab.submit(task(name).user(user));
    }
    lab.pass(secs(2400));
    assert_eq!(starts(&lab), [(0, "t1"), (602, "t2"), (1204, "t3"), (1806, "t1")]);
}

#[test]
fn a_slice_that_is_over_interrupts_nothing_while_nobody_waits() {
    let mut lab = slot(slices_of(secs(60)));
    lab.submit(task("t1"));
    assert_eq!(lab.settle(), ["start t1"]);
    assert_eq!(lab.pass(secs(3600)), NOTHING);
    assert_eq!(lab.engine.next_deadline(), None);
    lab.submit(task("t2").user("v"));
    assert_eq!(lab.settle(), ["promise t2", "suspend t1 for t2", "start t2"], "its slice is long over");
}

#[test]
fn a_lower_priority_never_takes_a_turn() {
    let mut lab = slot(slices_of(secs(60)));
    lab.submit(task("t1").prio(High));
    lab.submit(task("t2").user("v").prio(Normal));
    lab.settle();
    lab.pass(secs(86_400));
    assert_eq!(starts(&lab), [(0, "t1")]);
}

#[test]
fn above_normal_counts_as_normal_after_half_an_hour() {
    let mut lab = slot(slices_of(secs(600)));
    lab.submit(task("t1").user("u").prio(AboveNormal));
    lab.submit(task("t2").user("v").prio(Normal));
    assert_eq!(lab.settle(), ["start t1"]);
    lab.pass(secs(2500));
    assert_eq!(lab.when("suspend t1 for t2"), [1800]);
    assert_eq!(lab.when("suspend t2 for t1"), [2402], "t1 is an equal now: it waits for t2's slice");
}

#[test]
fn the_half_hour_is_counted_over_all_runs() {
    let mut lab = slot(slices_of(secs(60)));
    lab.leave_after = Span::from_ms(1);
    lab.submit(task("t1").user("u").prio(AboveNormal));
    lab.submit(task("t2").user("v").prio(Normal));
    lab.pass(secs(1200));
    lab.submit(task("high").user("w").prio(High));
    lab.pass(secs(1000));
    lab.finish("high");
    lab.pass(secs(700));
    assert_eq!(starts(&lab), [(0, "t1"), (1200, "high"), (2200, "t1"), (2800, "t2"), (2860, "t1")]);
}

// --- rule 5: holes

#[test]
fn a_hole_is_filled_by_lower_work_which_gives_way_later() {
    let mut lab = Lab::hai(defaults).with_nodes(2);
    lab.cordon("n1");
    lab.submit(task("gang").prio(High).nodes(2));
    lab.submit(task("low").user("v").prio(Low).nodes(1));
    assert_eq!(lab.settle(), ["start low"]);
    assert!(matches!(lab.why("gang"), Verdict::NoRoom { .. }));
    lab.uncordon("n1");
    assert_eq!(lab.settle(), ["promise gang", "suspend low for gang", "start gang"]);
}

#[test]
fn what_is_set_aside_is_no_hole() {
    let mut lab = Lab::hai(defaults).with_nodes(2);
    lab.submit(task("t1").nodes(1));
    assert_eq!(lab.settle(), ["start t1"]);
    lab.submit(task("gang").prio(High).nodes(2));
    assert_eq!(lab.round(), ["promise gang", "suspend t1 for gang"]);
    lab.submit(task("low").user("v").prio(Low).nodes(1));
    assert_eq!(lab.round(), NOTHING);
    assert_eq!(lab.settle(), ["start gang"]);
}

#[test]
fn nobody_is_interrupted_for_a_start_that_can_not_follow() {
    let mut lab = Lab::hai(defaults).with_nodes(2);
    lab.submit(task("best").user("v").prio(ExtremeHigh).nodes(1));
    lab.submit(task("t1").nodes(1));
    assert_eq!(lab.settle(), ["start best", "start t1"]);
    lab.submit(task("gang").prio(High).nodes(2));
    assert_eq!(lab.round(), NOTHING);
    assert!(matches!(lab.why("gang"), Verdict::NoRoom { .. }));
    assert_eq!(lab.pass(secs(3600)), ["reserve gang"]);
    assert!(matches!(lab.why("gang"), Verdict::Reserved { by: None, .. }));
}

#[test]
fn a_promise_is_overtaken_by_a_better_task() {
    let mut lab = slot(defaults);
    lab.submit(task("t1"));
    assert_eq!(lab.settle(), ["start t1"]);
    lab.submit(task("t2").prio(High));
    assert_eq!(lab.round(), ["promise t2", "suspend t1 for t2"]);
    lab.submit(task("t3").prio(ExtremeHigh));
    assert_eq!(lab.round(), ["promise t3", "withdraw t2"]);
    assert_eq!(lab.settle(), ["start t3"]);
    lab.finish("t3");
    assert_eq!(lab.settle(), ["start t2"]);
}

// --- rule 7: who yields

#[test]
fn the_lowest_priority_yields_first() {
    let mut lab = Lab::hai(defaults).with_devices(3);
    lab.submit(task("low").prio(Low));
    lab.submit(task("below").prio(BelowNormal));
    lab.submit(task("normal"));
    lab.settle();
    lab.submit(task("high").user("v").prio(High));
    assert_eq!(lab.round(), ["promise high", "suspend low for high"]);
}

#[test]
fn borrowed_work_yields_before_entitled_work() {
    let mut lab = borrowing();
    lab.finish("t1");
    lab.right_devices("u", High, 0);
    lab.submit(task("t3").user("v").prio(Low));
    lab.settle();
    assert_eq!(lab.holders(), BTreeSet::from(["t2", "t3"]));
    lab.right_devices("w", ExtremeHigh, 1);
    lab.submit(task("t4").user("w").prio(ExtremeHigh));
    assert_eq!(lab.round(), ["promise t4", "suspend t2 for t4"], "t2 is HIGH, but borrowed; t3 is LOW");
}

#[test]
fn the_least_work_since_a_checkpoint_is_lost() {
    let mut lab = Lab::hai(defaults).with_devices(2);
    lab.submit(task("saved"));
    lab.submit(task("newer"));
    lab.settle();
    lab.pass(secs(600));
    lab.checkpoint("saved", 1);
    lab.pass(secs(60));
    lab.submit(task("high").prio(High));
    assert_eq!(lab.round(), ["promise high", "suspend saved for high"]);
}

#[test]
fn work_is_counted_in_device_seconds() {
    let mut lab = Lab::hai(defaults).with_devices(3);
    lab.submit(task("small").devices(1));
    lab.submit(task("big").devices(2));
    lab.settle();
    lab.pass(secs(600));
    lab.submit(task("high").prio(High).devices(1));
    assert_eq!(lab.round(), ["promise high", "suspend small for high"]);
}

#[test]
fn starting_again_costs_too() {
    let mut lab = Lab::hai(|config| config.restart_cost = secs(60)).with_devices(5);
    lab.submit(task("small").devices(1));
    lab.submit(task("big").devices(4));
    lab.settle();
    lab.pass(secs(100));
    lab.checkpoint("big", 1);
    lab.submit(task("high").prio(High).devices(1));
    assert_eq!(lab.round(), ["promise high", "suspend small for high"], "160 device-seconds against 240");
}

#[test]
fn among_plans_that_lose_the_same_the_fewest_yield() {
    let mut lab = Lab::hai(defaults).with_devices(4);
    lab.submit(task("two").devices(2));
    lab.submit(task("one1").devices(1));
    lab.submit(task("one2").devices(1));
    lab.settle();
    lab.pass(secs(600));
    lab.submit(task("high").prio(High).devices(2));
    assert_eq!(lab.round(), ["promise high", "suspend two for high"]);
}

#[test]
fn one_that_loses_little_yields_before_two_that_each_lose_less() {
    let mut lab = Lab::hai(|config| config.restart_cost = secs(60)).with_devices(4);
    lab.submit(task("two").devices(2));
    lab.submit(task("one1").devices(1));
    lab.submit(task("one2").devices(1));
    lab.settle();
    lab.pass(secs(50));
    lab.checkpoint("two", 1);
    lab.submit(task("high").prio(High).devices(2));
    assert_eq!(lab.round(), ["promise high", "suspend two for high"], "120 device-seconds against twice 110");
}

#[test]
fn among_equal_plans_the_newest_yield_and_no_more_than_needed() {
    let mut lab = Lab::hai(defaults).with_devices(4);
    for name in ["t1", "t2", "t3", "t4"] {
        lab.submit(task(name));
    }
    lab.settle();
    lab.submit(task("high").prio(High).devices(2));
    assert_eq!(lab.round(), ["promise high", "suspend t3 for high", "suspend t4 for high"]);
}

#[test]
fn the_node_whose_work_is_least_makes_room() {
    let mut lab = Lab::hai(defaults).with_nodes(2);
    lab.submit(task("many").devices(8));
    lab.submit(task("few").devices(3));
    lab.settle();
    assert_ne!(lab.nodes_of("many"), lab.nodes_of("few"));
    lab.submit(task("high").prio(High).nodes(1));
    assert_eq!(lab.round(), ["promise high", "suspend few for high"]);
}

#[test]
fn the_protected_never_yield() {
    let mut lab = Lab::hai(|config| {
        config.levels.insert(Low, Timing { protected: secs(3600), ..Timing::default() });
    })
    .with_devices(2);
    lab.submit(task("low").prio(Low));
    lab.submit(task("normal"));
    lab.settle();
    lab.pass(secs(60));
    lab.submit(task("high").prio(High));
    assert_eq!(lab.round(), ["promise high", "suspend normal for high"]);
}

/// A run whose task's priority was changed counts as its owner's work of the new one at once: no other of that displaces it.
#[test]
fn a_new_priority_tells_at_once_whose_work_a_run_is() {
    let mut lab = Lab::hai(|_| {}).with_devices(1);
    lab.submit(task("t1").user("a").devices(1).prio(Priority::Low));
    lab.pass(secs(1));
    lab.reprioritise("t1", Priority::Auto);
    lab.pass(secs(1));
    lab.submit(task("t2").user("a").devices(1).prio(Priority::Auto));
    lab.pass(secs(1));
    assert_eq!(lab.state("t1"), TaskState::Running, "what it waits for is no reason to displace its own");
}
