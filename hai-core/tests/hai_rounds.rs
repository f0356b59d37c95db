//! A round of the default policy is decided as one: what it starts or promises it does not take back, and nobody leaves
//! for a task that then gets no place.

mod support;

use hai_core::engine::EngineConfig;
use hai_core::model::Priority::*;
use support::{Lab, TaskBuilder, secs};

const NOTHING: [&str; 0] = [];

fn task(name: &str) -> TaskBuilder {
    support::task(name).prio(Normal).devices(1)
}

fn short_slices(config: &mut EngineConfig) {
    config.timing.slice = secs(600);
}

#[test]
fn a_hole_that_a_turn_needs_is_not_filled_in_the_same_round() {
    let mut lab = Lab::hai(short_slices).with_devices(2);
    lab.submit(task("t1"));
    lab.settle();
    lab.submit(task("wide").user("v").devices(2));
    lab.submit(task("low").user("w").prio(Low).not_before(600));
    assert_eq!(lab.settle(), NOTHING);
    // The slice of t1 is over in the round in which low may start.
    assert_eq!(lab.pass(secs(620)), ["promise wide", "suspend t1 for wide", "start wide"]);
}

#[test]
fn an_equal_fills_no_hole_that_is_kept_and_wanted_in_the_same_round() {
    let mut lab = Lab::hai(|_| {}).with_devices(2);
    for (name, owner) in [("t1", "u"), ("t2", "w")] {
        lab.submit(task(name).user(owner).not_suspendable());
    }
    lab.settle();
    lab.submit(task("wide").user("v").devices(2));
    lab.pass(secs(2000));
    assert!(lab.engine.verdict(lab.id("wide")).is_some());
    for name in ["t1", "t2"] {
        lab.finish(name);
    }
    // By its rank it is tried first, and it may fill what is kept for wide.
    lab.submit(task("first").user("x").rank(0.5));
    assert_eq!(lab.settle(), ["promise wide", "start wide"]);
    assert_eq!(lab.holders(), ["wide"].into());
}

#[test]
fn nobody_leaves_for_a_task_that_would_lose_the_place_to_the_same_owners_work() {
    let mut lab = Lab::hai(short_slices).with_devices(1);
    lab.submit(task("old").prio(AboveNormal));
    lab.settle();
    lab.submit(task("new").prio(AboveNormal));
    lab.submit(task("other").user("v"));
    // After 30 minutes old is an equal of other's, and its slice is over. But new is better than other.
    assert_eq!(lab.pass(secs(3600)), NOTHING);
    lab.restart();
    assert_eq!(lab.settle(), NOTHING);
    lab.cancel("new");
    assert_eq!(lab.settle(), ["promise other", "suspend old for other", "start other"]);
}

#[test]
fn of_what_a_round_took_back_no_number_is_left() {
    let mut lab = Lab::hai(short_slices).with_devices(1);
    lab.submit(task("old").prio(AboveNormal));
    lab.settle();
    let before = lab.engine.snapshot();
    lab.submit(task("new").prio(AboveNormal));
    lab.submit(task("other").user("v"));
    lab.pass(secs(1800));
    for name in ["new", "other"] {
        lab.cancel(name);
    }
    lab.settle();
    lab.finish("old");
    lab.submit(task("next"));
    lab.settle();
    let first = lab.run_of("next");
    let json = serde_json::to_value(before).expect("plain data");
    assert_eq!(serde_json::to_value(first).ok().as_ref(), json.get("next_run"), "the run after old's");
}
