//! Rights that are cut, expire or count by model: who gives back, when, and what it is charged.

use hai_core::engine::EngineConfig;
use hai_core::model::Priority::*;
use hai_core::model::*;

use crate::support::{Lab, group, node, secs, user};
use crate::{NOTHING, task};

/// Four devices, all used by `u`, who has a right to each of them; cuts are noticed a minute ahead.
fn full(change: impl FnOnce(&mut EngineConfig)) -> Lab {
    let mut lab = Lab::hai_without_rights(|config| {
        config.cut_grace = secs(60);
        change(config);
    })
    .with_devices(4);
    lab.right_devices("u", Normal, 4);
    for name in ["t1", "t2", "t3", "t4"] {
        lab.submit(task(name));
    }
    assert_eq!(lab.settle().len(), 4);
    lab
}

fn row(change: impl FnOnce(&mut RightKey), allowance: Allowance) -> RightRow {
    let mut key = RightKey::default();
    change(&mut key);
    RightRow::new(key, allowance)
}

#[test]
fn a_cut_gives_notice_to_the_last_in_rank_who_leave_when_it_is_over() {
    let mut lab = full(|_| {});
    lab.right_devices("u", Normal, 2);
    assert_eq!(lab.round(), ["notice t3", "notice t4"]);
    assert_eq!(lab.engine.next_deadline(), Some(lab.now + secs(60)));
    assert_eq!(lab.holders().len(), 4, "they may stay until then");
    lab.pass(secs(3600));
    assert_eq!(lab.when("suspend t4: right lost"), [60]);
    assert_eq!(lab.when("suspend t3: right lost"), [60]);
    assert_eq!(lab.holders(), ["t1", "t2"].into());
    assert!(matches!(lab.why("t3"), Verdict::RightUsed { .. }), "{:?}", lab.why("t3"));
}

#[test]
fn a_notice_counts_on_across_a_restart() {
    let mut lab = full(|_| {});
    lab.right_devices("u", Normal, 3);
    assert_eq!(lab.round(), ["notice t4"]);
    lab.pass(secs(50));
    lab.restart();
    assert_eq!(lab.pass(secs(9)), NOTHING);
    assert_eq!(lab.pass(secs(1)), ["suspend t4: right lost"]);
}

#[test]
fn a_right_that_is_given_back_in_time_ends_the_notice() {
    let mut lab = full(|_| {});
    lab.right_devices("u", Normal, 2);
    lab.round();
    lab.pass(secs(30));
    lab.right_devices("u", Normal, 3);
    assert_eq!(lab.round(), ["notice t3 over"]);
    lab.right_devices("u", Normal, 4);
    assert_eq!(lab.round(), ["notice t4 over"]);
    assert_eq!(lab.pass(secs(3600)), NOTHING);
}

#[test]
fn a_task_that_ends_in_time_saves_another() {
    let mut lab = full(|_| {});
    lab.right_devices("u", Normal, 3);
    assert_eq!(lab.round(), ["notice t4"]);
    lab.finish("t1");
    assert_eq!(lab.round(), ["notice t4 over"]);
    assert_eq!(lab.pass(secs(3600)), NOTHING);
}

#[test]
fn a_second_cut_does_not_lengthen_the_first_notice() {
    let mut lab = full(|_| {});
    lab.right_devices("u", Normal, 3);
    lab.round();
    lab.pass(secs(30));
    lab.right_devices("u", Normal, 2);
    assert_eq!(lab.round(), ["notice t3"]);
    lab.pass(secs(3600));
    assert_eq!(lab.when("suspend t4: right lost"), [60]);
    assert_eq!(lab.when("suspend t3: right lost"), [90]);
}

#[test]
fn a_promise_is_taken_back_at_once_and_before_any_run_is_noticed() {
    let mut lab = Lab::hai_without_rights(|config| config.cut_grace = secs(60)).with_devices(2);
    lab.right_devices("u", Normal, 2);
    lab.right_devices("v", Low, 1);
    lab.submit(task("low").user("v").prio(Low));
    lab.submit(task("t1"));
    lab.settle();
    lab.submit(task("t2"));
    assert_eq!(lab.round(), ["promise t2", "suspend low for t2"]);
    lab.right_devices("u", Normal, 1);
    assert_eq!(lab.round(), ["withdraw t2"]);
    assert_eq!(lab.settle(), ["start low"]);
}

#[test]
fn with_borrowing_what_is_cut_borrows_when_its_notice_is_over() {
    let mut lab = full(|config| config.borrow = true);
    lab.right_devices("u", Normal, 3);
    assert_eq!(lab.round(), ["notice t4"]);
    lab.pass(secs(3600));
    assert_eq!(lab.when("recharge t4 NORMAL borrowed"), [60]);
    assert_eq!(lab.holders().len(), 4);
    lab.right_devices("v", Low, 1);
    lab.submit(task("low").user("v").prio(Low));
    assert_eq!(lab.round(), ["promise low", "suspend t4 for low"]);
}

#[test]
fn what_can_not_be_suspended_keeps_its_place_until_it_ends() {
    let mut lab = Lab::hai_without_rights(|config| config.cut_grace = secs(60)).with_devices(2);
    lab.right_devices("u", Normal, 2);
    lab.submit(task("t1"));
    lab.submit(task("fixed").not_suspendable());
    lab.settle();
    lab.right_devices("u", Normal, 1);
    assert_eq!(lab.round(), ["notice t1"], "the other one is later in rank, but can not leave");
    lab.pass(secs(3600));
    assert_eq!(lab.holders(), ["fixed"].into());
    lab.right_devices("u", Normal, 0);
    assert_eq!(lab.pass(secs(3600)), NOTHING);
    lab.finish("fixed");
    lab.settle();
    assert_eq!(lab.outcome("fixed"), Outcome::Succeeded);
}

#[test]
fn without_a_grace_a_cut_counts_at_once() {
    let mut lab = full(|config| config.cut_grace = Span::ZERO);
    lab.right_devices("u", Normal, 3);
    assert_eq!(lab.round(), ["suspend t4: right lost"]);
}

#[test]
fn a_cut_of_one_user_changes_nothing_for_another() {
    let mut lab = Lab::hai_without_rights(|_| {}).with_devices(2);
    lab.right_devices("u", Normal, 1);
    lab.right_devices("v", Normal, 1);
    lab.submit(task("t1"));
    lab.submit(task("t2").user("v"));
    lab.settle();
    lab.right_devices("u", Normal, 0);
    assert_eq!(lab.settle(), ["suspend t1: right lost"]);
}

// --- expiry

#[test]
fn a_right_counts_until_it_expires() {
    let mut lab = Lab::hai_without_rights(|_| {}).with_devices(1);
    let expires = Some(Time::ZERO + secs(100));
    lab.set_right(RightRow { expires, ..row(|key| key.user = Some(user("u")), Allowance::devices(1)) });
    lab.submit(task("t1"));
    assert_eq!(lab.settle(), ["start t1"]);
    lab.restart();
    lab.pass(secs(3600));
    assert_eq!(lab.when("suspend t1: right lost"), [100]);
    assert!(matches!(lab.why("t1"), Verdict::NoRight { .. }), "{:?}", lab.why("t1"));
}

#[test]
fn behind_a_right_that_expires_stands_the_less_specific_one() {
    let mut lab = Lab::hai_without_rights(|_| {}).with_devices(3);
    lab.set_right(row(|_| {}, Allowance::devices(1)));
    let expires = Some(Time::ZERO + secs(100));
    lab.set_right(RightRow { expires, ..row(|key| key.user = Some(user("u")), Allowance::devices(3)) });
    for name in ["t1", "t2", "t3"] {
        lab.submit(task(name));
    }
    lab.settle();
    lab.pass(secs(3600));
    assert_eq!(lab.holders(), ["t1"].into());
    assert_eq!(lab.when("suspend t3: right lost"), [100]);
}

#[test]
fn a_right_that_was_prolonged_does_not_expire() {
    let mut lab = Lab::hai_without_rights(|_| {}).with_devices(1);
    let until = |second| RightRow { expires: Some(Time::ZERO + secs(second)), ..row(|_| {}, Allowance::devices(1)) };
    lab.set_right(until(100));
    lab.submit(task("t1"));
    lab.settle();
    lab.set_right(until(1000));
    lab.pass(secs(3600));
    assert_eq!(lab.when("suspend t1: right lost"), [1000]);
}

// --- caps, models, weights

#[test]
fn a_cap_bounds_what_other_rows_give() {
    let mut lab = Lab::hai_without_rights(|_| {}).with_devices(4);
    lab.right_devices("u", Normal, 4);
    lab.set_right(row(|key| (key.cap, key.group) = (true, Some(group("g"))), Allowance::devices(2)));
    for name in ["t1", "t2", "t3"] {
        lab.submit(task(name));
    }
    lab.settle();
    assert_eq!(lab.holders(), ["t1", "t2"].into());
    lab.tell(Fact::RightRemoved { key: RightKey { cap: true, group: Some(group("g")), ..RightKey::default() } });
    assert_eq!(lab.settle(), ["start t3"]);
}

#[test]
fn a_cap_gives_nothing() {
    let mut lab = Lab::hai_without_rights(|_| {}).with_devices(1);
    lab.set_right(row(|key| key.cap = true, Allowance::UNLIMITED));
    lab.submit(task("t1"));
    assert_eq!(lab.settle(), NOTHING);
    assert!(matches!(lab.why("t1"), Verdict::NoRight { .. }));
}

/// One node with two `A100` and one with two `RTX`; everybody may have all but `bound`.
fn two_models(bound: RightRow, change: impl FnOnce(&mut EngineConfig)) -> Lab {
    let mut lab = Lab::hai(change);
    lab.node(node("n0").devices_of(2, "A100", 80));
    lab.node(node("n1").devices_of(2, "RTX", 24));
    lab.set_right(bound);
    lab
}

#[test]
fn a_row_for_a_model_bounds_that_model_alone() {
    let a100 = Some(ModelName::new("A100").unwrap());
    let mut lab = two_models(row(|key| key.model = a100, Allowance::devices(1)), |_| {});
    for name in ["t1", "t2", "t3", "t4"] {
        lab.submit(task(name));
    }
    lab.settle();
    let (ours, theirs): (Vec<_>, Vec<_>) =
        lab.holders().into_iter().partition(|name| lab.nodes_of(name).contains("n0"));
    assert_eq!((ours.len(), theirs.len()), (1, 2), "three run, one of them on the A100s");
    lab.submit(task("v1").user("v").models(&["A100"]));
    assert_eq!(lab.settle(), ["start v1"], "the bound is for each user on their own");
}

#[test]
fn who_insists_on_a_model_waits_for_the_right_to_it() {
    let a100 = Some(ModelName::new("A100").unwrap());
    let mut lab = two_models(row(|key| key.model = a100, Allowance::devices(1)), |_| {});
    lab.submit(task("t1").models(&["A100"]));
    lab.submit(task("t2").models(&["A100"]));
    assert_eq!(lab.settle(), ["start t1"]);
    assert!(matches!(lab.why("t2"), Verdict::RightUsed { .. }), "{:?}", lab.why("t2"));
    lab.finish("t1");
    assert_eq!(lab.settle(), ["start t2"]);
}

#[test]
fn a_device_is_charged_by_the_weight_of_its_model() {
    let a100 = ModelName::new("A100").unwrap();
    let mut lab = two_models(row(|key| key.user = Some(user("u")), Allowance::devices(3)), |config| {
        config.weights.insert(a100, Amount::whole(2));
    });
    lab.submit(task("big").models(&["A100"]));
    lab.submit(task("big2").models(&["A100"]));
    lab.submit(task("small").models(&["RTX"]));
    lab.submit(task("small2").models(&["RTX"]));
    lab.settle();
    assert_eq!(lab.holders(), ["big", "small"].into());
    lab.finish("big");
    lab.settle();
    assert_eq!(lab.holders(), ["small", "big2"].into(), "first come, first served");
    lab.finish("small");
    assert_eq!(lab.settle(), ["start small2"]);
}

#[test]
fn an_auto_task_whose_level_is_cut_goes_on_at_another() {
    let mut lab = Lab::hai_without_rights(|config| config.cut_grace = secs(60)).with_devices(2);
    lab.right_devices("u", High, 1);
    lab.right_devices("u", Low, 1);
    lab.submit(task("t").prio(Auto));
    lab.settle();
    assert_eq!(lab.level_of("t"), High);
    lab.right_devices("u", High, 0);
    assert_eq!(lab.settle(), ["recharge t LOW"]);
    assert_eq!(lab.holders(), ["t"].into());
}
