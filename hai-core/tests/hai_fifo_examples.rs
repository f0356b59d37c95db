//! The worked examples of the upstream rule set, one test each and named by its id, under [`Policy::HaiFifo`].
//!
//! Where upstream has a bug the wanted result stands here. Upstream starts a task in the tick in which it suspends
//! others for it; here the task is promised the place first, and starts once the others have left.
//!
//! [`Policy::HaiFifo`]: hai_core::engine::Policy::HaiFifo

mod support;

use std::collections::BTreeSet;

use hai_core::engine::{EngineConfig, Policy};
use hai_core::model::Priority::*;
use hai_core::model::*;
use support::{Lab, node, secs, task};

const NOTHING: [&str; 0] = [];

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

/// A whole-node task of somebody else that nothing in the examples can displace: upstream's jupyter session.
fn jupyter(lab: &mut Lab, name: &str) {
    lab.right("jupyter", ExtremeHigh, 10);
    lab.submit(task(name).user("jupyter").prio(ExtremeHigh).rank(-1.0));
}

#[track_caller]
fn assert_no_room(lab: &Lab, name: &str) -> Lack {
    match lab.why(name) {
        Verdict::NoRoom { lack } => lack,
        other => panic!("{name} lacks room, but its verdict is: {other:?}"),
    }
}

#[track_caller]
fn assert_blocked(lab: &Lab, name: &str, by: &str) {
    assert_eq!(lab.why(name), Verdict::Blocked { by: lab.id(by) }, "{name}");
}

#[track_caller]
fn assert_no_right(lab: &Lab, name: &str, asked: u32, allowed: u32) {
    match lab.why(name) {
        Verdict::NoRight { asked: has_asked, allowed: is_allowed, .. } => {
            assert_eq!((has_asked.nodes, is_allowed.nodes), (Amount::whole(asked), Limit::at_most(allowed)), "{name}");
        }
        other => panic!("{name} lacks a right, but its verdict is: {other:?}"),
    }
}

#[track_caller]
fn assert_right_used(lab: &Lab, name: &str, asked: u32, used: u32, allowed: u32) {
    match lab.why(name) {
        Verdict::RightUsed { asked: has_asked, used: is_used, allowed: is_allowed, .. } => {
            let found = (has_asked.nodes, is_used.nodes, is_allowed.nodes);
            assert_eq!(found, (Amount::whole(asked), Amount::whole(used), Limit::at_most(allowed)), "{name}");
        }
        other => panic!("{name}'s right is used, but its verdict is: {other:?}"),
    }
}

#[test]
fn e1_a_task_takes_whole_nodes_with_all_that_they_have() {
    let mut lab = Lab::fifo(4);
    lab.right("u", High, 10);
    lab.submit(task("t1").nodes(2));
    assert_eq!(lab.round(), ["start t1"]);
    assert_eq!(lab.nodes_of("t1").len(), 2);
    for worker in &lab.placement("t1").workers {
        let devices: Vec<_> = worker.devices.iter().map(ToString::to_string).collect();
        let expected: Vec<_> = (0..8).map(|index| format!("{}-{index}", worker.node)).collect();
        assert_eq!(devices, expected, "all eight, in the node's order");
        assert_eq!((worker.cpu_milli, worker.memory_mib), (118_000, (512 - 23) * 1024));
        assert!(worker.whole_node);
    }
    assert_eq!(lab.verdict("t1"), None, "what runs does not wait");
}

#[test]
fn e2_the_first_that_does_not_fit_blocks_all_behind_it() {
    let mut lab = Lab::fifo(4);
    lab.right("u", High, 10);
    lab.submit(task("t1").nodes(3));
    lab.submit(task("t2").nodes(2));
    lab.submit(task("t3").nodes(1));
    assert_eq!(lab.settle(), ["start t1"]);
    let lack = assert_no_room(&lab, "t2");
    assert_eq!((lack.workers, lack.nodes, lack.usable_nodes, lack.empty_nodes), (2, 4, 4, 1));
    assert_blocked(&lab, "t3", "t2");
}

#[test]
fn a_task_without_devices_takes_only_the_place_that_it_needs_though_its_owner_has_too_much() {
    let config = EngineConfig { policy: Policy::HaiFifo, cut_grace: secs(60), ..EngineConfig::default() };
    let mut lab = Lab::new(config);
    for name in ["n0", "n1"] {
        lab.node(node(name).cores(8));
    }
    lab.right("u", High, 2);
    lab.submit(task("t1").nodes(1));
    lab.submit(task("t2").nodes(1));
    lab.settle();
    // Both are on notice, and may stay for now.
    lab.right("u", High, 0);
    lab.round();
    assert_eq!(lab.holders(), BTreeSet::from(["t1", "t2"]));
    lab.submit(task("x").devices(0).cores(4));
    lab.round();
    assert_eq!(lab.state("x"), TaskState::Promised);
    assert_eq!((lab.suspensions("t1"), lab.suspensions("t2")), (0, 1), "{:?}", lab.why("x"));
}

/// Four nodes, t1 and t2 with two of them each.
fn e3() -> Lab {
    let mut lab = Lab::fifo(4);
    lab.right("u", High, 10);
    lab.right("v", ExtremeHigh, 10);
    lab.submit(task("t1").nodes(2));
    lab.submit(task("t2").nodes(2));
    assert_eq!(lab.settle(), ["start t1", "start t2"]);
    lab
}

#[test]
fn e3_a_better_priority_displaces_as_many_as_it_needs() {
    let mut lab = e3();
    lab.submit(task("t3").user("v").prio(ExtremeHigh).nodes(3));
    assert_eq!(lab.round(), ["promise t3", "suspend t1 for t3", "suspend t2 for t3"]);
    let until = lab.now + secs(10);
    let leaving = vec![lab.id("t1"), lab.id("t2")];
    assert_eq!(lab.why("t3"), Verdict::Promised { leaving, until });
    assert_eq!(lab.why("t1"), Verdict::Leaving { until });
    assert_eq!(lab.settle(), ["start t3"]);
    assert_eq!(lab.nodes_of("t3").len(), 3);
    assert_no_room(&lab, "t1");
    assert_blocked(&lab, "t2", "t1");
}

#[test]
fn e3b_the_newest_of_the_lowest_priority_yields_whole() {
    let mut lab = e3();
    let of_t2 = lab.nodes_of("t2");
    lab.submit(task("t3").user("v").prio(ExtremeHigh).nodes(1));
    assert_eq!(lab.round(), ["promise t3", "suspend t2 for t3"]);
    assert_eq!(lab.settle(), ["start t3"]);
    assert!(lab.nodes_of("t3").is_subset(&of_t2));
    assert_eq!(lab.state("t1"), TaskState::Running);
    assert_no_room(&lab, "t2");
}

#[test]
fn e4_rights_are_dealt_in_order_and_smaller_tasks_may_pass() {
    let mut lab = Lab::fifo(8);
    lab.right("u", High, 4);
    for (name, nodes) in [("t1", 3), ("t2", 2), ("t3", 1), ("t4", 5)] {
        lab.submit(task(name).nodes(nodes));
    }
    assert_eq!(lab.settle(), ["start t1", "start t3"]);
    // What was dealt to those before it counts; t3 passed it with the rest.
    assert_right_used(&lab, "t2", 2, 3, 4);
    assert_no_right(&lab, "t4", 5, 4);
}

#[test]
fn e5_auto_takes_the_best_level_that_has_enough_left() {
    let mut lab = Lab::fifo(8);
    for (level, nodes) in [(ExtremeHigh, 1), (High, 4), (Low, 8)] {
        lab.right("u", level, nodes);
    }
    for (name, nodes) in [("t1", 2), ("t2", 1), ("t3", 3), ("t4", 9)] {
        lab.submit(task(name).prio(Auto).nodes(nodes));
    }
    assert_eq!(lab.settle(), ["start t1", "start t2", "start t3"]);
    assert_eq!((lab.level_of("t1"), lab.level_of("t2"), lab.level_of("t3")), (High, ExtremeHigh, Low));
    assert_no_right(&lab, "t4", 9, 8);
    assert_eq!(lab.engine.task(lab.id("t1")).unwrap().spec.priority, Auto, "what was asked stays");
}

#[test]
fn e6_an_auto_task_without_any_right_stops_nobody_else() {
    let mut lab = Lab::fifo(2);
    lab.right("v", High, 10);
    lab.submit(task("t1").user("u").prio(Auto));
    lab.submit(task("t2").user("v"));
    assert_eq!(lab.settle(), ["start t2"]);
    assert_no_right(&lab, "t1", 1, 0);
}

#[test]
fn e7_custom_rank_goes_before_the_order_of_submission() {
    let mut lab = Lab::fifo(2);
    lab.right("u", High, 10);
    lab.submit(task("t1").nodes(2));
    lab.submit(task("t2").nodes(2).rank(0.5));
    assert_eq!(lab.settle(), ["start t2"]);
    assert_no_room(&lab, "t1");
}

#[test]
fn e7b_a_better_rank_displaces_even_the_same_users_same_priority() {
    let mut lab = Lab::fifo(2);
    lab.right("u", High, 10);
    lab.submit(task("t1").nodes(2));
    assert_eq!(lab.settle(), ["start t1"]);
    lab.submit(task("t2").nodes(2).rank(0.5));
    assert_eq!(lab.round(), ["promise t2", "suspend t1 for t2"]);
    assert_eq!(lab.settle(), ["start t2"]);
}

/// Two nodes with t1 on both of them, then `more` nodes beside.
fn e8(more: u32) -> Lab {
    let mut lab = Lab::fifo(2);
    lab.right("u", High, 10);
    lab.submit(task("t1").nodes(2));
    assert_eq!(lab.settle(), ["start t1"]);
    for index in 2..2 + more {
        lab.node(node(&format!("n{index}")));
    }
    lab
}

#[test]
fn e8_a_task_whose_nodes_are_lost_goes_on_elsewhere() {
    let mut lab = e8(2);
    lab.not_ready("n0");
    lab.not_ready("n1");
    let said = lab.round();
    assert!(said == ["suspend t1: n0 lost"] || said == ["suspend t1: n1 lost"], "{said:?}");
    assert!(matches!(lab.why("t1"), Verdict::Leaving { .. }));
    assert_eq!(lab.settle(), ["start t1"]);
    assert_eq!(lab.nodes_of("t1"), names(&["n2", "n3"]));
}

#[test]
fn e8b_a_task_whose_nodes_are_lost_waits_if_there_are_no_others() {
    let mut lab = e8(2);
    for lost in ["n0", "n2", "n3"] {
        lab.not_ready(lost);
    }
    assert_eq!(lab.settle(), ["suspend t1: n0 lost"]);
    let lack = assert_no_room(&lab, "t1");
    assert_eq!((lack.workers, lack.placeable, lack.usable_nodes, lack.nodes), (2, 1, 1, 4));
}

#[test]
fn e8c_the_task_on_the_lost_node_yields_and_no_other() {
    let mut lab = e8(2);
    lab.submit(task("t2").nodes(2));
    assert_eq!(lab.settle(), ["start t2"]);
    lab.not_ready("n0");
    assert_eq!(lab.round(), ["suspend t1: n0 lost"]);
    assert_eq!(lab.state("t2"), TaskState::Running);
    assert_eq!(lab.settle(), ["promise t1", "suspend t2 for t1", "start t1"], "t1 is older, and queued now: E22");
}

#[test]
fn e9_nothing_starts_on_nodes_that_others_hold() {
    let mut lab = Lab::fifo(3);
    lab.right("u", High, 10);
    jupyter(&mut lab, "j1");
    jupyter(&mut lab, "j2");
    assert_eq!(lab.settle(), ["start j1", "start j2"]);
    lab.submit(task("t1").nodes(2));
    assert_eq!(lab.settle(), NOTHING);
    let lack = assert_no_room(&lab, "t1");
    assert_eq!((lack.placeable, lack.empty_nodes), (1, 1));
}

#[test]
fn e9b_a_resumed_task_does_not_start_on_the_nodes_that_it_had() {
    let mut lab = Lab::fifo(3);
    lab.right("u", High, 10);
    lab.submit(task("t1").nodes(2));
    assert_eq!(lab.settle(), ["start t1"]);
    jupyter(&mut lab, "j1");
    jupyter(&mut lab, "j2");
    lab.settle();
    assert_eq!(lab.holders(), BTreeSet::from(["j1", "j2"]));
    assert_eq!(lab.settle(), NOTHING);
    assert_no_room(&lab, "t1");
    lab.finish("j1");
    assert_eq!(lab.settle(), ["start t1"]);
    assert!(lab.nodes_of("t1").is_disjoint(&lab.nodes_of("j2")));
}

#[test]
fn e10_a_task_gets_exactly_its_size_and_never_a_node_twice() {
    let mut lab = Lab::fifo(3);
    lab.right("u", High, 10);
    lab.right("v", ExtremeHigh, 10);
    jupyter(&mut lab, "j");
    lab.submit(task("t1").nodes(2));
    assert_eq!(lab.settle(), ["start j", "start t1"]);
    lab.node(node("n3"));
    lab.submit(task("t2").user("v").prio(ExtremeHigh).nodes(2));
    assert_eq!(lab.round(), ["promise t2", "suspend t1 for t2"]);
    assert_eq!(lab.settle(), ["start t2"]);
    assert_eq!(lab.placement("t2").workers.len(), 2);
    assert_eq!(lab.nodes_of("t2").len(), 2);
    assert!(lab.nodes_of("t2").is_disjoint(&lab.nodes_of("j")));
}

#[test]
fn e10b_a_task_that_needs_every_other_node_gets_them() {
    let mut lab = Lab::fifo(2);
    lab.right("u", High, 10);
    lab.right("v", ExtremeHigh, 10);
    jupyter(&mut lab, "j");
    lab.submit(task("t1"));
    assert_eq!(lab.settle(), ["start j", "start t1"]);
    lab.node(node("n3"));
    lab.submit(task("t2").user("v").prio(ExtremeHigh).nodes(2));
    assert_eq!(lab.round(), ["promise t2", "suspend t1 for t2"]);
    let of_t1 = lab.nodes_of("t1");
    assert_eq!(lab.settle(), ["start t2"]);
    assert_eq!(lab.nodes_of("t2"), &of_t1 | &names(&["n3"]));
}

#[test]
fn e11_groups_do_not_wait_for_each_other() {
    let mut lab = Lab::fifo(0);
    lab.node(node("a0").group("A"));
    lab.node(node("b0").group("B"));
    lab.anything_goes();
    lab.submit(task("t1").group("A").nodes(2));
    lab.submit(task("t2").group("B").nodes(1));
    assert_eq!(lab.settle(), ["start t2"]);
    assert!(matches!(lab.why("t1"), Verdict::NeverFits { .. }));
}

#[test]
fn e12_a_group_without_nodes_is_named() {
    let mut lab = Lab::fifo(1);
    lab.anything_goes();
    lab.submit(task("t1").group("nowhere"));
    assert_eq!(lab.settle(), NOTHING);
    assert_eq!(lab.why("t1"), Verdict::NoSuchGroup { group: support::group("nowhere") });
}

#[test]
fn e13_a_worker_that_is_done_frees_its_node_and_counts_no_more() {
    let mut lab = Lab::fifo(3);
    lab.right("u", High, 3);
    lab.submit(task("t1").nodes(2));
    assert_eq!(lab.settle(), ["start t1"]);
    let freed = lab.placement("t1").workers[0].node.to_string();
    let kept = lab.placement("t1").workers[1].node.to_string();
    lab.end_worker("t1", 0, WorkerExit::exited(0));
    lab.submit(task("t2").nodes(2));
    assert_eq!(lab.settle(), ["start t2"]);
    assert!(lab.nodes_of("t2").contains(&freed) && !lab.nodes_of("t2").contains(&kept));
    assert_eq!(lab.state("t1"), TaskState::Running);
    lab.end_worker("t1", 1, WorkerExit::exited(0));
    assert_eq!(lab.outcome("t1"), Outcome::Succeeded);
}

#[test]
fn e14_a_cordoned_node_takes_nothing_and_order_holds() {
    let mut lab = Lab::fifo(2);
    lab.right("u", High, 10);
    lab.cordon("n1");
    lab.submit(task("t1").nodes(2));
    lab.submit(task("t2").nodes(1));
    assert_eq!(lab.settle(), NOTHING);
    let lack = assert_no_room(&lab, "t1");
    assert_eq!((lack.usable_nodes, lack.nodes), (1, 2));
    assert_blocked(&lab, "t2", "t1");
    lab.uncordon("n1");
    assert_eq!(lab.settle(), ["start t1"]);
}

#[test]
fn e15_rights_are_counted_for_each_priority_on_its_own() {
    let mut lab = Lab::fifo(8);
    lab.right("u", High, 4);
    lab.right("u", ExtremeHigh, 4);
    lab.submit(task("t1").nodes(4));
    lab.submit(task("t2").prio(ExtremeHigh).nodes(4));
    lab.submit(task("t3").prio(ExtremeHigh).nodes(1));
    assert_eq!(lab.settle(), ["start t1", "start t2"]);
    assert_right_used(&lab, "t3", 1, 4, 4);
}

#[test]
fn e16_an_older_task_displaces_newer_ones_of_its_priority() {
    let mut lab = Lab::fifo(4);
    lab.right("u", High, 10);
    lab.submit(task("t1").nodes(4));
    lab.hold("t1");
    lab.submit(task("t2").nodes(2));
    lab.submit(task("t3").nodes(2));
    assert_eq!(lab.settle(), ["start t2", "start t3"]);
    lab.release("t1");
    assert_eq!(lab.round(), ["promise t1", "suspend t2 for t1", "suspend t3 for t1"]);
    assert_eq!(lab.settle(), ["start t1"]);
}

#[test]
fn e17_without_a_right_a_task_never_runs() {
    let mut lab = Lab::fifo(4);
    lab.submit(task("t1"));
    assert_eq!(lab.settle(), NOTHING);
    assert_no_right(&lab, "t1", 1, 0);
    lab.right("u", High, 1);
    assert_eq!(lab.settle(), ["start t1"]);
}

#[test]
fn e18_a_task_that_can_never_fit_neither_empties_nor_blocks_the_group() {
    let mut lab = Lab::fifo(4);
    lab.right("u", High, 10);
    lab.right("v", ExtremeHigh, 20);
    lab.submit(task("t1").nodes(2));
    assert_eq!(lab.settle(), ["start t1"]);
    lab.submit(task("t2").user("v").prio(ExtremeHigh).nodes(5));
    assert_eq!(lab.settle(), NOTHING);
    match lab.why("t2") {
        Verdict::NeverFits { lack } => assert_eq!((lack.workers, lack.nodes), (5, 4)),
        other => panic!("{other:?}"),
    }
    lab.submit(task("t3").nodes(1));
    assert_eq!(lab.settle(), ["start t3"]);
    assert_eq!(lab.holders(), BTreeSet::from(["t1", "t3"]));
}

#[test]
fn e19_nothing_is_suspended_until_a_start_can_follow() {
    let mut lab = Lab::fifo(4);
    lab.right("u", High, 10);
    lab.right("v", ExtremeHigh, 10);
    lab.right("w", VeryHigh, 10);
    lab.submit(task("t1").nodes(2));
    lab.submit(task("t2").user("v").prio(ExtremeHigh).nodes(2));
    assert_eq!(lab.settle(), ["start t1", "start t2"]);
    lab.submit(task("t3").user("w").prio(VeryHigh).nodes(3));
    assert_eq!(lab.settle(), NOTHING);
    assert_no_room(&lab, "t3");
    lab.finish("t2");
    assert_eq!(lab.round(), ["promise t3", "suspend t1 for t3"]);
    assert_eq!(lab.settle(), ["start t3"]);
}

#[test]
fn e20_beyond_a_lowered_right_the_later_in_rank_yields() {
    let mut lab = Lab::fifo(4);
    lab.right("u", High, 4);
    lab.submit(task("t1").nodes(2));
    lab.submit(task("t2").nodes(2));
    assert_eq!(lab.settle(), ["start t1", "start t2"]);
    lab.right("u", High, 2);
    assert_eq!(lab.settle(), ["suspend t2: right lost"]);
    assert_eq!(lab.state("t1"), TaskState::Running);
    assert_right_used(&lab, "t2", 2, 2, 2);
}

#[test]
fn e21_auto_levels_are_dealt_anew_by_age() {
    let mut lab = Lab::fifo(8);
    lab.right("u", ExtremeHigh, 2);
    lab.right("u", Low, 8);
    lab.submit(task("t1").prio(Auto).nodes(2));
    lab.hold("t1");
    lab.submit(task("t2").prio(Auto).nodes(2));
    assert_eq!(lab.settle(), ["start t2"]);
    assert_eq!(lab.level_of("t2"), ExtremeHigh);
    lab.release("t1");
    assert_eq!(lab.settle(), ["recharge t2 LOW", "start t1"]);
    assert_eq!(lab.level_of("t1"), ExtremeHigh);
    assert_eq!(lab.state("t2"), TaskState::Running);
}

#[test]
fn e22_a_resumed_task_keeps_its_old_place() {
    let mut lab = Lab::fifo(2);
    lab.right("u", High, 10);
    lab.submit(task("t1").nodes(2));
    assert_eq!(lab.settle(), ["start t1"]);
    lab.hold("t1");
    assert_eq!(lab.settle(), ["suspend t1: held"]);
    lab.submit(task("t5").nodes(2));
    assert_eq!(lab.settle(), ["start t5"]);
    lab.release("t1");
    assert_eq!(lab.round(), ["promise t1", "suspend t5 for t1"]);
    assert_eq!(lab.settle(), ["start t1"]);
}

// --- the rules themselves, where no example covers them

#[test]
fn r_asg_1_rights_are_dealt_by_rank_and_not_by_priority() {
    let mut lab = Lab::fifo(4);
    lab.right("u", ExtremeHigh, 1);
    lab.submit(task("t1").prio(Auto));
    lab.submit(task("t2").prio(ExtremeHigh));
    assert_eq!(lab.settle(), ["start t1"]);
    assert_eq!(lab.level_of("t1"), ExtremeHigh);
    assert_right_used(&lab, "t2", 1, 1, 1);
}

#[test]
fn r_asg_1_a_running_task_has_no_better_claim_to_a_right_than_an_older_waiting_one() {
    let mut lab = Lab::fifo(4);
    lab.right("u", High, 2);
    lab.submit(task("t1").nodes(2));
    lab.hold("t1");
    lab.submit(task("t2").nodes(2));
    assert_eq!(lab.settle(), ["start t2"]);
    lab.release("t1");
    assert_eq!(lab.round(), ["promise t1", "suspend t2 for t1"], "two nodes are idle, the right is not");
    assert_eq!(lab.settle(), ["start t1"]);
    assert_right_used(&lab, "t2", 2, 2, 2);
}

#[test]
fn r_asg_2_a_right_is_used_up_to_its_last_node_and_no_further() {
    let mut lab = Lab::fifo(4);
    lab.right("u", High, 2);
    for name in ["t1", "t2", "t3"] {
        lab.submit(task(name));
    }
    assert_eq!(lab.settle(), ["start t1", "start t2"]);
    lab.finish("t1");
    assert_eq!(lab.settle(), ["start t3"]);
}

#[test]
fn r_asg_3_what_has_used_its_right_blocks_nobody_in_its_group() {
    let mut lab = Lab::fifo(4);
    lab.right("u", High, 2);
    lab.right("v", High, 10);
    lab.submit(task("t1").nodes(1));
    lab.submit(task("t2").nodes(2));
    lab.submit(task("t3").user("v").nodes(3));
    assert_eq!(lab.settle(), ["start t1", "start t3"]);
    assert_right_used(&lab, "t2", 2, 1, 2);
}

#[test]
fn r_asg_4_auto_waits_if_its_levels_are_used_and_gives_up_only_if_none_is_ever_enough() {
    let mut lab = Lab::fifo(4);
    lab.right("u", High, 1);
    lab.right("u", Low, 2);
    lab.submit(task("t1").prio(Low).nodes(1));
    lab.submit(task("t2").prio(Auto).nodes(2));
    lab.submit(task("t3").prio(Auto).nodes(3));
    assert_eq!(lab.settle(), ["start t1"]);
    assert!(matches!(lab.why("t2"), Verdict::RightUsed { .. }), "{:?}", lab.why("t2"));
    assert_no_right(&lab, "t3", 3, 2);
    lab.finish("t1");
    assert_eq!(lab.settle(), ["start t2"]);
    assert_eq!(lab.level_of("t2"), Low);
}

#[test]
fn r_asg_5_the_queue_is_ordered_by_priority_then_rank_then_number() {
    let mut lab = Lab::fifo(1);
    lab.anything_goes();
    lab.submit(task("normal").prio(Normal));
    lab.submit(task("older").prio(High).rank(7.0));
    lab.submit(task("newer").prio(High).rank(7.0));
    lab.submit(task("ranked").prio(High).rank(6.5));
    lab.submit(task("highest").prio(VeryHigh));
    for next in ["highest", "ranked", "older", "newer", "normal"] {
        assert_eq!(lab.settle(), [format!("start {next}")]);
        lab.finish(next);
    }
}

#[test]
fn r_asg_6_order_is_strict_for_what_shares_nodes_too() {
    let mut lab = Lab::fifo(1);
    lab.anything_goes();
    lab.submit(task("t1").devices(6));
    lab.submit(task("t2").devices(4));
    lab.submit(task("t3").devices(2));
    assert_eq!(lab.settle(), ["start t1"]);
    let lack = assert_no_room(&lab, "t2");
    assert_eq!((lack.devices, lack.free_devices), (8, 2));
    assert_blocked(&lab, "t3", "t2");
    lab.finish("t1");
    assert_eq!(lab.settle(), ["start t2", "start t3"]);
}
