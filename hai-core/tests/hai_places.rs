//! Where the default policy puts work: devices by model and memory, whole nodes, gangs, limits of nodes.

mod support;

use std::collections::BTreeSet;

use hai_core::model::Priority::*;
use hai_core::model::*;
use support::{Lab, TaskBuilder, node, task};

const NOTHING: [&str; 0] = [];

fn lab() -> Lab {
    Lab::hai(|_| {})
}

fn job(name: &str) -> TaskBuilder {
    task(name).prio(Normal)
}

#[track_caller]
fn lack(lab: &Lab, name: &str) -> Lack {
    match lab.why(name) {
        Verdict::NoRoom { lack } => lack,
        other => panic!("{name} lacks room, but its verdict is {other:?}"),
    }
}

#[track_caller]
fn assert_never_fits(lab: &Lab, name: &str) {
    assert!(matches!(lab.why(name), Verdict::NeverFits { .. }), "{name}: {:?}", lab.why(name));
}

#[test]
fn a_whole_node_is_shared_with_nobody() {
    let mut lab = lab().with_nodes(1);
    lab.submit(job("part").devices(0).cores(1));
    assert_eq!(lab.settle(), ["start part"]);
    lab.submit(job("whole").nodes(1));
    assert_eq!(lab.settle(), NOTHING);
    assert_eq!(lack(&lab, "whole").empty_nodes, 0);
    lab.finish("part");
    assert_eq!(lab.settle(), ["start whole"]);
    let place = &lab.placement("whole").workers[0];
    assert_eq!((place.whole_node, place.devices.len()), (true, 8));
    assert_eq!((place.cpu_milli, place.memory_mib), (118_000, 489 * 1024));
    lab.submit(job("next").devices(0));
    assert_eq!(lab.settle(), NOTHING, "not even work that needs nothing");
}

#[test]
fn shared_work_gets_devices_of_its_own_and_what_it_asked() {
    let mut lab = lab().with_nodes(1);
    lab.submit(job("t1").devices(3).cores(4).gib(16));
    lab.submit(job("t2").devices(5));
    assert_eq!(lab.settle(), ["start t1", "start t2"]);
    assert_eq!((lab.devices_of("t1").len(), lab.devices_of("t2").len()), (3, 5));
    assert!(lab.devices_of("t1").is_disjoint(&lab.devices_of("t2")));
    let place = &lab.placement("t1").workers[0];
    assert_eq!((place.whole_node, place.cpu_milli, place.memory_mib), (false, 4000, 16 * 1024));
}

#[test]
fn shared_work_packs_so_that_nodes_stay_empty() {
    let mut lab = lab().with_nodes(3);
    for name in ["t1", "t2", "t3", "t4"] {
        lab.submit(job(name).devices(2));
    }
    lab.submit(job("gang").nodes(2));
    assert_eq!(lab.settle(), ["start gang", "start t1", "start t2", "start t3", "start t4"]);
}

#[test]
fn only_devices_of_the_right_model_will_do() {
    let mut lab = lab();
    lab.node(node("n0").devices_of(2, "RTX 3070", 8).and_devices_of(1, "A100", 80));
    lab.node(node("n1").devices_of(4, "A100", 80));
    lab.submit(job("big").devices(1).models(&["A100"]).workers(5));
    lab.submit(job("small").devices(2).models(&["RTX 3070", "RTX 3080"]));
    lab.submit(job("other").devices(1).models(&["H200"]));
    assert_eq!(lab.settle(), ["start big", "start small"]);
    assert_eq!(lab.devices_of("small"), BTreeSet::from(["n0-0".to_owned(), "n0-1".to_owned()]));
    assert_never_fits(&lab, "other");
}

#[test]
fn only_devices_with_enough_memory_will_do() {
    let mut lab = lab();
    lab.node(node("n0").devices_of(2, "small", 8).and_devices_of(2, "large", 80));
    lab.submit(job("t1").devices(2).device_gib(40));
    lab.submit(job("t2").devices(3).device_gib(8));
    lab.submit(job("t3").devices(3).device_gib(40));
    assert_eq!(lab.settle(), ["start t1"]);
    assert_eq!(lab.devices_of("t1"), BTreeSet::from(["n0-2".to_owned(), "n0-3".to_owned()]));
    let lack = lack(&lab, "t2");
    assert_eq!((lack.devices, lack.free_devices, lack.placeable, lack.workers), (4, 2, 0, 1));
    assert_never_fits(&lab, "t3");
}

#[test]
fn a_whole_node_must_be_of_the_right_kind_too() {
    let mut lab = lab();
    lab.node(node("n0").devices_of(1, "RTX 3070", 8).and_devices_of(1, "A100", 80));
    lab.node(node("n1").devices_of(2, "A100", 80).cores(16));
    lab.submit(job("t1").nodes(1).models(&["A100"]).cores(32));
    lab.submit(job("t2").nodes(1).models(&["A100"]).cores(16));
    assert_eq!(lab.settle(), ["start t2"]);
    assert_eq!(lab.nodes_of("t2"), BTreeSet::from(["n1".to_owned()]));
    assert_never_fits(&lab, "t1");
}

#[test]
fn workers_of_one_task_may_share_a_node() {
    let mut lab = lab().with_devices(4);
    lab.submit(job("t1").devices(2).workers(2));
    assert_eq!(lab.settle(), ["start t1"]);
    assert_eq!(lab.devices_of("t1").len(), 4);
}

#[test]
fn distinct_nodes_are_distinct() {
    let mut lab = lab().with_devices(4);
    lab.submit(job("t1").devices(1).workers(2).distinct());
    assert_eq!(lab.settle(), NOTHING);
    assert_never_fits(&lab, "t1");
    lab.node(node("n1").devices(1));
    assert_eq!(lab.settle(), ["start t1"]);
    assert_eq!(lab.nodes_of("t1").len(), 2);
}

#[test]
fn a_gang_starts_as_a_whole_or_not_at_all() {
    let mut lab = lab().with_nodes(3);
    lab.submit(job("t1").nodes(1));
    assert_eq!(lab.settle(), ["start t1"]);
    lab.submit(job("gang").nodes(3));
    assert_eq!(lab.settle(), NOTHING);
    let lack = lack(&lab, "gang");
    assert_eq!((lack.workers, lack.placeable, lack.empty_nodes), (3, 2, 2));
    lab.finish("t1");
    assert_eq!(lab.settle(), ["start gang"]);
}

#[test]
fn processors_and_memory_are_given_out_once() {
    let mut lab = lab();
    lab.node(node("n0").cores(8).gib(32));
    lab.submit(job("t1").devices(0).cores(5).gib(4));
    lab.submit(job("t2").devices(0).cores(4).gib(4));
    lab.submit(job("t3").devices(1).cores(1).gib(29));
    lab.submit(job("t4").devices(1).cores(3).gib(28));
    lab.submit(job("t5").devices(0).cores(9));
    assert_eq!(lab.settle(), ["start t1", "start t4"]);
    assert!(matches!(lab.why("t2"), Verdict::NoRoom { .. }));
    assert!(matches!(lab.why("t3"), Verdict::NoRoom { .. }));
    assert_never_fits(&lab, "t5");
    lab.submit(job("high").prio(High).devices(0).cores(5));
    assert_eq!(lab.round(), ["promise high", "suspend t1 for high"], "t4 has too few processors to give");
}

#[test]
fn a_node_that_takes_no_new_work_keeps_what_it_has() {
    let mut lab = lab().with_nodes(1);
    lab.submit(job("t1").devices(1));
    assert_eq!(lab.settle(), ["start t1"]);
    lab.cordon("n0");
    lab.submit(job("t2").devices(1));
    assert_eq!(lab.settle(), NOTHING);
    assert_eq!(lab.state("t1"), TaskState::Running);
    assert_eq!(lack(&lab, "t2").usable_nodes, 0);
    lab.uncordon("n0");
    assert_eq!(lab.settle(), ["start t2"]);
}

#[test]
fn tainted_nodes_take_only_what_tolerates_them() {
    let mut lab = lab();
    lab.node(node("n0").taint("spot").taint("slow"));
    lab.submit(job("no").nodes(1));
    lab.submit(job("half").nodes(1).tolerates("spot"));
    lab.submit(job("yes").nodes(1).tolerates("spot").tolerates("slow"));
    assert_eq!(lab.settle(), ["start yes"]);
    assert!(lab.verdict("no").is_some() && lab.verdict("half").is_some());
}

#[test]
fn sick_and_strange_devices_are_given_to_nobody() {
    let mut lab = lab().with_devices(3);
    lab.device("n0", 0, DeviceHealth::Sick { reason: "Xid 79".to_owned() });
    lab.device("n0", 1, DeviceHealth::Stranger { process: "python3 (4711)".to_owned() });
    lab.submit(job("t1").devices(1));
    lab.submit(job("t2").devices(1));
    lab.submit(job("whole").nodes(1));
    assert_eq!(lab.settle(), ["start t1"]);
    assert_eq!(lab.devices_of("t1"), BTreeSet::from(["n0-2".to_owned()]));
    lab.finish("t1");
    assert_eq!(lab.settle(), ["start t2"], "a whole node is one with all its devices");
    lab.finish("t2");
    assert_eq!(lab.settle(), NOTHING);
    lab.device("n0", 0, DeviceHealth::Healthy);
    lab.device("n0", 1, DeviceHealth::Healthy);
    assert_eq!(lab.settle(), ["start whole"]);
}

#[test]
fn a_task_stays_in_its_group() {
    let mut lab = lab();
    lab.node(node("a0").group("a"));
    lab.node(node("b0").group("b"));
    lab.submit(job("t1").group("a").nodes(2));
    lab.submit(job("t2").group("b").nodes(1));
    lab.submit(job("t3").group("c").nodes(1));
    assert_eq!(lab.settle(), ["start t2"]);
    assert_never_fits(&lab, "t1");
    assert_eq!(lab.why("t3"), Verdict::NoSuchGroup { group: support::group("c") });
}

#[test]
fn a_node_that_changes_its_group_is_seen_there() {
    let mut lab = lab().with_nodes(1);
    lab.submit(job("t1").group("other").nodes(1));
    assert_eq!(lab.settle(), NOTHING);
    lab.change_node("n0", |node| node.group = support::group("other"));
    assert_eq!(lab.settle(), ["start t1"]);
}

#[test]
fn a_promise_whose_place_is_lost_is_taken_back() {
    let mut lab = lab().with_nodes(2);
    lab.submit(job("t1").nodes(2));
    assert_eq!(lab.settle(), ["start t1"]);
    lab.submit(job("high").prio(High).nodes(1));
    assert_eq!(lab.round(), ["promise high", "suspend t1 for high"]);
    let promised = lab.engine.nodes().find(|node| node.workers.iter().any(|worker| worker.phase.is_none())).unwrap();
    lab.not_ready(promised.spec.name.as_str());
    assert_eq!(lab.round(), ["promise high", "withdraw high"], "t1 leaves the other node as well");
    assert_eq!(lab.settle(), ["start high"]);
    assert!(!lab.nodes_of("high").contains(promised.spec.name.as_str()));
}
