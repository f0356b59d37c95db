//! Devices that misbehave: suspect, draining, probing, sick, a stranger's, and back.

use hai_core::model::DeviceHealth as Health;
use hai_core::model::Priority::*;
use hai_core::model::*;

use crate::support::Lab;
use crate::{NOTHING, devices, running, task};

fn suspect() -> Health {
    Health::Suspect { reason: "XID 63".to_owned() }
}

fn draining() -> Health {
    Health::Draining { reason: "row remapping is pending".to_owned() }
}

fn sick() -> Health {
    Health::Sick { reason: "XID 79: fallen off the bus".to_owned() }
}

fn stranger() -> Health {
    Health::Stranger { process: "python (4711)".to_owned() }
}

/// The verdict of a task that waits for room on a device that is not free.
#[track_caller]
fn assert_no_room(lab: &Lab, name: &str) {
    assert!(matches!(lab.why(name), Verdict::NoRoom { .. }), "{:?}", lab.why(name));
}

#[test]
fn a_device_that_is_not_well_gets_no_new_work() {
    for health in [suspect(), draining(), Health::Probing, sick(), stranger()] {
        let mut lab = devices(1);
        lab.device("n0", 0, health);
        lab.submit(task("t1"));
        assert_eq!(lab.settle(), NOTHING);
        assert_no_room(&lab, "t1");
        lab.device("n0", 0, Health::Healthy);
        assert_eq!(lab.settle(), ["start t1"]);
    }
}

#[test]
fn what_runs_on_a_suspect_device_stays_and_nothing_follows_it() {
    for health in [suspect(), stranger()] {
        let mut lab = running(task("t1"));
        lab.device("n0", 0, health);
        lab.submit(task("high").user("v").prio(High));
        assert_eq!(lab.settle(), NOTHING, "nobody leaves for a place that can not be had");
        lab.finish("t1");
        assert_eq!(lab.settle(), NOTHING);
        assert_no_room(&lab, "high");
        lab.device("n0", 0, Health::Healthy);
        assert_eq!(lab.settle(), ["start high"]);
    }
}

#[test]
fn what_runs_on_a_device_that_must_be_left_goes_on_elsewhere() {
    for health in [draining(), sick()] {
        let mut lab = devices(2);
        lab.submit(task("t1"));
        lab.settle();
        let before = lab.devices_of("t1");
        let index = usize::from(before.contains("n0-1"));
        lab.checkpoint("t1", 5);
        lab.device("n0", index, health);
        assert_eq!(lab.round(), [format!("suspend t1: n0-{index} of n0 lost")]);
        assert_eq!(lab.settle(), ["start t1"]);
        assert!(lab.devices_of("t1").is_disjoint(&before));
        assert_eq!(lab.whole_life_state_of("t1"), 5);
    }
}

#[test]
fn only_who_is_on_the_device_leaves() {
    let mut lab = devices(3);
    for name in ["t1", "t2", "t3"] {
        lab.submit(task(name));
    }
    lab.settle();
    let victim = ["t1", "t2", "t3"].into_iter().find(|name| lab.devices_of(name).contains("n0-1")).unwrap();
    lab.device("n0", 1, sick());
    assert_eq!(lab.settle(), [format!("suspend {victim}: n0-1 of n0 lost")]);
    assert_eq!(lab.holders().len(), 2);
}

#[test]
fn a_gang_leaves_whole_when_one_of_its_devices_must_be_left() {
    let mut lab = Lab::hai(|_| {}).with_nodes(3);
    lab.submit(task("t1").nodes(2));
    lab.settle();
    let bad = lab.placement("t1").workers[1].node.to_string();
    lab.device(&bad, 3, draining());
    assert_eq!(lab.round(), [format!("suspend t1: {bad}-3 of {bad} lost")]);
    lab.settle();
    let view = lab.engine.task(lab.id("t1")).unwrap();
    match view.state {
        TaskState::Running => assert!(view.runs == 2 && lab.placement("t1").workers.len() == 2),
        state => panic!("two nodes are left for t1, and it is {state:?}"),
    }
}

#[test]
fn a_device_goes_from_suspect_over_draining_and_probing_back_to_work() {
    let mut lab = running(task("t1"));
    lab.device("n0", 0, suspect());
    assert_eq!(lab.settle(), NOTHING);
    lab.device("n0", 0, draining());
    assert_eq!(lab.settle(), ["suspend t1: n0-0 of n0 lost"]);
    assert_eq!(lab.state("t1"), TaskState::Suspended);
    lab.device("n0", 0, Health::Probing);
    assert_eq!(lab.settle(), NOTHING);
    assert_no_room(&lab, "t1");
    lab.restart();
    assert_eq!(lab.settle(), NOTHING);
    lab.device("n0", 0, Health::Healthy);
    assert_eq!(lab.settle(), ["start t1"]);
}

#[test]
fn a_promise_on_a_device_that_fell_ill_is_taken_back() {
    for health in [suspect(), sick(), stranger()] {
        let mut lab = running(task("t1"));
        lab.submit(task("high").user("v").prio(High));
        assert_eq!(lab.round(), ["promise high", "suspend t1 for high"]);
        lab.device("n0", 0, health);
        assert_eq!(lab.round(), ["withdraw high"]);
        assert_eq!(lab.settle(), NOTHING);
        lab.device("n0", 0, Health::Healthy);
        assert_eq!(lab.settle(), ["start high"]);
    }
}
