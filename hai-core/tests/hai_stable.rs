//! What random clusters found (`stability.rs`, `oracles.rs`), told as scenarios: who takes whose place, and that it ends.

mod support;

use hai_core::model::Priority::*;
use hai_core::model::*;
use support::{Lab, TaskBuilder, group, node, secs};

const LONG: u64 = 4_000;

/// A task of a user for so many devices.
fn task(name: &str, owner: &str, priority: Priority, devices: u32) -> TaskBuilder {
    support::task(name).user(owner).prio(priority).devices(devices)
}

/// All suspensions for others so far.
fn suspensions(lab: &Lab) -> Vec<&str> {
    lab.history.iter().map(|(_, line)| line.as_str()).filter(|line| line.starts_with("suspend")).collect()
}

#[test]
fn a_whole_node_with_slices_of_devices_can_be_promised() {
    let mut lab = Lab::hai(|_| {});
    lab.node(node("n0").devices(1));
    lab.change_node("n0", |node| node.devices[0].mig_profile = Some("1g.5gb".parse().unwrap()));
    lab.submit(support::task("a"));
    lab.settle();
    lab.hold("a");
    lab.submit(support::task("b"));
    assert_eq!(lab.settle(), ["promise b", "suspend a: held", "start b"]);
}

#[test]
fn a_gang_that_may_not_cross_zones_gets_room_within_one() {
    let mut lab = Lab::hai(|config| config.cross_zone_tasks = Some(0));
    for (name, zone) in [("n0", "z1"), ("n1", "z1"), ("n2", "z2")] {
        let mut spec = node(name).devices(1);
        spec = spec.with(|node| node.location.zone = PlaceName::new(zone).ok());
        lab.node(spec);
    }
    for name in ["a0", "a1", "a2"] {
        lab.submit(task(name, "a", Low, 1));
        lab.settle();
    }
    lab.submit(task("gang", "b", High, 1).workers(2));
    lab.settle();
    assert_eq!(suspensions(&lab), ["suspend a0 for gang", "suspend a1 for gang"], "the newest is in the other zone");
    assert_eq!(lab.nodes_of("gang"), ["n0".to_owned(), "n1".to_owned()].into());
}

/// `b` had its place before nodes were kept for `a0`; it fills no hole.
#[test]
fn who_had_a_place_before_nodes_were_kept_does_not_give_way_at_once() {
    let mut lab = Lab::hai(|config| {
        config.reserve_after = Some(secs(1));
        config.timing.slice = secs(1_000_000);
        config.timing.demote_after = secs(150);
    });
    lab.node(node("n0").devices(2));
    lab.submit(task("a0", "a", Normal, 2));
    lab.submit(task("a1", "a", AboveNormal, 2));
    lab.submit(task("b", "b", AboveNormal, 2));
    lab.pass(secs(LONG));
    assert_eq!(suspensions(&lab), ["suspend a1 for b"], "since `a1` fell to NORMAL, and nobody else for anybody");
}

#[test]
fn for_what_no_slice_will_free_nodes_are_kept_without_a_time_and_only_once() {
    let mut lab = Lab::hai_without_rights(|config| {
        config.reserve_after = Some(secs(1));
        config.timing.slice = secs(50);
    });
    lab.node(node("n0").devices(1));
    lab.right("a", Low, 2);
    lab.submit(support::task("auto").user("a").prio(Auto));
    lab.submit(support::task("low").user("a").prio(Low));
    assert_eq!(lab.pass(secs(LONG)), ["start auto", "reserve low"]);
    assert!(matches!(lab.why("low"), Verdict::Reserved { by: None, .. }), "{:?}", lab.why("low"));
}

/// Once the right to `HIGH` is used by `b`'s other work, `auto` counts as `LOW` and takes no place of that level.
#[test]
fn an_auto_task_takes_turns_at_the_level_that_it_has_now() {
    let mut lab = Lab::hai_without_rights(|config| {
        config.reserve_after = None;
        config.timing.slice = secs(50);
    });
    lab.node(node("n0").devices(3));
    lab.node(node("n1").devices(3));
    let right = |priority, allowance| {
        let key = RightKey { group: Some(group("g")), priority: Some(priority), ..RightKey::default() };
        RightRow::new(key, allowance)
    };
    lab.set_right(right(High, Allowance { nodes: Limit::at_most(1), devices: Limit::at_most(4) }));
    lab.set_right(right(Low, Allowance::devices(100)));
    lab.submit(support::task("whole").user("b").prio(High));
    lab.submit(task("auto", "b", Auto, 3));
    lab.submit(support::task("other").user("c").prio(High));
    lab.submit(task("fixed", "b", High, 3).not_suspendable());
    lab.pass(secs(LONG));
    assert_eq!(lab.suspensions("auto"), 1, "{:?}", lab.history);
    assert!(lab.holders().contains("fixed"), "{:?}", lab.history);
    let lines = suspensions(&lab);
    assert!(!lines.contains(&"suspend other for auto"), "{lines:?}");
}
