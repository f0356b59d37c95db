//! Single cases of what the engine says: rights, teams, kept nodes, refusals; why a task runs where it does; who displaced
//! it, by which rule, and what that cost.

mod support;

use hai_core::explain::help::Change;
use hai_core::explain::why::{Basis, Because, NodeRefusal, RightStanding, StayReason, Why};
use hai_core::explain::{Limits, Then, what_would_help, why};
use hai_core::model::*;
use support::{Lab, node, secs, task, user};

fn ask(lab: &Lab, name: &str) -> Why {
    why(&lab.engine, lab.id(name)).expect("it is unfinished")
}

fn changes(lab: &Lab, name: &str) -> Vec<Change> {
    let helps = what_would_help(&lab.engine, lab.id(name), &Limits::default());
    helps.singles.into_iter().map(|help| help.change).collect()
}

#[test]
fn who_was_displaced_is_told_for_whom_by_which_rule_and_what_was_lost() {
    let mut lab = Lab::hai(|_| {}).with_devices(2);
    lab.submit(task("t1").user("a").devices(2).prio(Priority::Normal));
    lab.pass(secs(100));
    lab.checkpoint("t1", 1);
    lab.pass(secs(50));
    lab.submit(task("t2").user("b").devices(2).prio(Priority::VeryHigh));
    lab.pass(secs(1));
    let leaving = ask(&lab, "t1").left.expect("it leaves");
    assert!(leaving.leaving_until.is_some());
    assert_eq!(leaving.lost_ms, 2 * 51_000, "two devices since the checkpoint");
    lab.pass(secs(9));
    let left = ask(&lab, "t1").left.expect("it left");
    assert_eq!(left.rule, Some(YieldRule::BetterLevel));
    assert_eq!(left.winner.as_ref().and_then(|winner| winner.task), Some(lab.id("t2")));
    // It took two seconds to leave, and nobody said that it saved anything.
    assert_eq!((left.lost_ms, left.restart_ms, left.leaving_until), (2 * 52_000, 2 * 60_000, None));
    assert_eq!(left.ran, secs(150));
    // It is remembered across a restart, and of a winner that is over too.
    lab.finish("t2");
    lab.restart();
    assert_eq!(ask(&lab, "t1").left.map(|left| left.winner), Some(left.winner.clone()));
    let mut hidden = ask(&lab, "t1");
    hidden.hide_others(&user("a"));
    assert_eq!(hidden.left.and_then(|left| left.winner).and_then(|winner| winner.task), None);
}

#[test]
fn a_slice_that_is_over_is_told_as_such() {
    let mut lab = Lab::hai(|config| config.timing.slice = secs(60)).with_devices(1);
    lab.submit(task("t1").user("a").devices(1));
    lab.pass(secs(10));
    lab.submit(task("t2").user("b").devices(1));
    lab.round();
    let stays = &ask(&lab, "t2").yielding.expect("somebody is there").stays;
    assert_eq!((stays[0].why, stays[0].from), (StayReason::SliceNotOver, Some(Time::ZERO + secs(60))));
    lab.pass(secs(60));
    assert_eq!(ask(&lab, "t1").left.and_then(|left| left.rule), Some(YieldRule::SliceOver));
}

#[test]
fn a_running_task_is_told_why_there_and_for_how_long() {
    let mut lab = Lab::hai(|config| {
        config.timing.protected = secs(30);
        config.timing.slice = secs(60);
    });
    lab.node(node("large").devices_of(4, "A100", 80));
    lab.node(node("small").devices_of(4, "T4", 16));
    lab.submit(task("t1").user("a").devices(1).models(&["A100", "T4"]));
    lab.pass(secs(5));
    let run = ask(&lab, "t1").running.expect("it runs");
    let rated = run.rated.as_ref().expect("it is on a node");
    assert_eq!((rated.node.as_str(), rated.place, rated.of), ("large", 1, 2));
    assert_eq!(rated.next.as_ref().map(|(name, _)| name.as_str()), Some("small"));
    assert_eq!((run.liking, run.basis), (0, Basis::WithinRight { level: Priority::High }));
    assert_eq!(run.protected_until, Some(Time::ZERO + secs(30)));
    assert_eq!(run.slice_until, Some(Time::ZERO + secs(60)));
}

#[test]
fn a_right_says_who_has_it_and_how_much_more_would_do() {
    let mut lab = Lab::hai_without_rights(|_| {}).with_devices(8);
    lab.right_devices("a", Priority::High, 4);
    lab.submit(task("t1").user("a").devices(3));
    lab.submit(task("t2").user("a").devices(2));
    lab.pass(secs(1));
    let right = ask(&lab, "t2").right.expect("it needs one");
    let level = right.nearest().expect("one level");
    assert_eq!(right.standing, RightStanding::Used);
    assert_eq!(level.short.devices, Amount::whole(1));
    assert_eq!(level.holders.iter().map(|holder| holder.who.task).collect::<Vec<_>>(), [Some(lab.id("t1"))]);
    let found = changes(&lab, "t2");
    let raised = found.iter().find_map(|change| match change {
        Change::MoreRight { row, by } => Some((row.allowance.devices, by.devices)),
        _ => None,
    });
    assert_eq!(raised, Some((Limit::at_most(5), Amount::whole(1))));
    assert!(found.contains(&Change::FewerDevices { from: Devices::Count(2), to: Devices::Count(1) }), "{found:?}");
}

#[test]
fn a_team_that_is_in_the_way_is_named_and_its_pool_can_be_raised() {
    let mut lab = Lab::hai(|_| {}).with_devices(8);
    let pool = Pool {
        group: support::group("g"),
        own: Allowance::devices(4),
        borrow: Allowance::NOTHING,
        lend: Allowance::NOTHING,
    };
    let name = TeamName::new("lab").expect("it is a name");
    let members = [user("a"), user("b")].into();
    lab.team(Team { name: name.clone(), parent: None, members, pools: vec![pool] });
    lab.submit(task("t1").user("a").devices(3));
    lab.submit(task("t2").user("b").devices(3));
    lab.pass(secs(1));
    let reason = ask(&lab, "t2");
    assert!(reason.to_string().contains("team lab may hold 4 GPUs together and holds 3 GPUs"), "{reason}");
    let by = Charge { nodes: Amount::ZERO, devices: Amount::whole(2) };
    let found = changes(&lab, "t2");
    assert!(found.contains(&Change::MorePool { team: name, group: support::group("g"), by }), "{found:?}");
}

#[test]
fn nodes_are_counted_by_what_they_are_refused_for() {
    let mut lab = Lab::hai(|_| {});
    lab.node(node("gone").not_ready());
    lab.node(node("shut").cordoned());
    lab.node(node("left").draining());
    lab.node(node("spot").taint("spot"));
    lab.node(node("little").devices_of(8, "A100", 40));
    lab.node(node("other").devices_of(8, "T4", 80));
    lab.node(node("few").devices(1));
    lab.node(node("slow").cores(2));
    lab.node(node("used"));
    lab.submit(task("t1").user("a").devices(7).models(&["A100"]).device_gib(80).cores(4));
    lab.submit(task("t2").user("a").devices(2).models(&["A100"]).device_gib(80).cores(4));
    lab.pass(secs(1));
    let nodes = ask(&lab, "t2").nodes.expect("it waits");
    let refused = |why: &NodeRefusal| {
        let all = nodes.classes.iter().flat_map(|class| &class.refused);
        all.filter(|refused| refused.why == *why)
            .flat_map(|refused| refused.first.clone())
            .map(|name| name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(refused(&NodeRefusal::NotReady), ["gone"]);
    assert_eq!(refused(&NodeRefusal::Cordoned), ["shut"]);
    assert_eq!(refused(&NodeRefusal::Draining), ["left"]);
    assert_eq!(refused(&NodeRefusal::Taint { taint: "spot".to_owned() }), ["spot"]);
    assert_eq!(refused(&NodeRefusal::DeviceMemory { most_mib: 40 << 10 }), ["little"]);
    assert_eq!(refused(&NodeRefusal::ModelNotAsked), ["other"]);
    assert_eq!(refused(&NodeRefusal::TooFewDevices { has: 1 }), ["few"]);
    assert_eq!(refused(&NodeRefusal::TooFewCores { has_milli: 2000 }), ["slow"]);
    assert_eq!(refused(&NodeRefusal::DevicesInUse { free: 1 }), ["used"]);
    let found = changes(&lab, "t2");
    for wanted in [
        Change::FewerDevices { from: Devices::Count(2), to: Devices::Count(1) },
        Change::LessDeviceMemory { from: 80 << 10, to: 40 << 10 },
        Change::LessCores { from: 4000, to: 2000 },
        Change::AlsoModel { model: ModelName::new("T4").expect("it is a name") },
        Change::Tolerates { taint: "spot".to_owned() },
        Change::NodeReady { node: NodeName::new("gone").expect("it is a name") },
        Change::Uncordoned { node: NodeName::new("shut").expect("it is a name") },
        Change::Undrained { node: NodeName::new("left").expect("it is a name") },
    ] {
        assert!(found.contains(&wanted), "{wanted:?} is not among {found:?}");
    }
}

#[test]
fn refused_starts_are_counted_and_the_last_is_told() {
    let mut lab = Lab::hai(|_| {}).with_devices(1);
    lab.start_after = None;
    lab.submit(task("t1").user("a").devices(1));
    lab.round();
    lab.refuse("t1", 0, RefusalCause::Task, "no such image");
    lab.round();
    let refused = ask(&lab, "t1").refused.expect("it was refused");
    assert_eq!((refused.refusals, refused.again_at), (1, Some(Time::ZERO + secs(1))));
    assert_eq!(refused.last.map(|last| (last.reason, last.node)), Some(("no such image".to_owned(), None)));
}

#[test]
fn kept_nodes_are_told_and_who_must_leave_them_alone_what_to_do() {
    let mut lab = Lab::hai(|config| config.reserve_after = Some(secs(60))).with_nodes(2);
    lab.submit(task("t1").user("a").devices(8).not_suspendable().limit(secs(1000)));
    lab.round();
    lab.submit(task("gang").user("b").nodes(2));
    lab.pass(secs(1));
    let kept = ask(&lab, "gang").kept.expect("some will be");
    assert!(kept.nodes.is_empty() && kept.from == Time::ZERO + secs(60), "{kept:?}");
    lab.pass(secs(70));
    let kept = ask(&lab, "gang").kept.expect("they are");
    assert_eq!((kept.nodes.len(), kept.by.is_some()), (2, true));
    // It could run until the gang's time, if it were over by then, or gave way.
    lab.submit(task("t2").user("c").devices(1).not_suspendable().limit(secs(5000)));
    lab.pass(secs(1));
    let reason = ask(&lab, "t2");
    let nodes = reason.nodes.expect("it waits");
    assert_eq!(nodes.count_refused(|why| matches!(why, NodeRefusal::KeptFor { .. })), 2);
    let found = changes(&lab, "t2");
    assert!(found.contains(&Change::Suspendable), "{found:?}");
    let limit =
        found.iter().find_map(|change| if let Change::ShorterLimit { to, .. } = change { Some(*to) } else { None });
    assert!(limit.is_some_and(|to| to < secs(1000) && to > secs(800)), "{found:?}");
}

#[test]
fn the_line_says_who_is_before_and_why() {
    let mut lab = Lab::hai(|_| {}).with_devices(1);
    lab.submit(task("run").user("z").devices(1).prio(Priority::ExtremeHigh));
    lab.round();
    lab.submit(task("early").user("a").devices(1));
    lab.submit(task("late").user("b").devices(1));
    lab.submit(task("ranked").user("c").devices(1).rank(0.5));
    lab.submit(task("better").user("d").devices(1).prio(Priority::VeryHigh));
    lab.pass(secs(1));
    let line = ask(&lab, "late").line.expect("it waits");
    assert_eq!((line.place, line.of), (4, 4));
    let ahead: Vec<_> = line.ahead.iter().map(|ahead| (ahead.because, ahead.who.first[0].task)).collect();
    let expected = [(Because::BetterLevel, "better"), (Because::Rank, "ranked"), (Because::Earlier, "early")];
    assert_eq!(ahead, expected.map(|(because, name)| (because, Some(lab.id(name)))));
}

#[test]
fn what_can_never_fit_is_told_the_least_that_would() {
    let mut lab = Lab::hai(|_| {}).with_devices(4);
    lab.submit(task("run").user("z").devices(4).prio(Priority::ExtremeHigh));
    lab.round();
    lab.submit(task("huge").user("a").devices(6));
    lab.pass(secs(1));
    let helps = what_would_help(&lab.engine, lab.id("huge"), &Limits::default());
    let fewer = Change::FewerDevices { from: Devices::Count(6), to: Devices::Count(4) };
    assert!(helps.singles.iter().any(|help| help.change == fewer && help.then == Then::Fits), "{helps:?}");
    let text = helps.section().to_string();
    assert!(text.contains("ask for 4 GPUs a worker instead of 6 GPUs"), "{text}");
}
