//! What a right comes to on cards of several kinds: what they cost, and what is left out.

use hai_core::engine::EngineConfig;
use hai_core::model::Priority::*;
use hai_core::model::*;

use crate::support::{Lab, node, secs};
use crate::{NOTHING, task};

/// Everybody has a right to so many devices at each level; an `H100` counts as two.
fn weighted(devices: u32, change: impl FnOnce(&mut EngineConfig)) -> Lab {
    let mut lab = Lab::hai_without_rights(|config| {
        config.weights = [(ModelName::new("H100").unwrap(), Amount::whole(2))].into();
        change(config);
    });
    lab.set_right(RightRow::new(RightKey::default(), Allowance::devices(devices)));
    lab
}

#[test]
fn a_node_with_cheaper_cards_lets_those_start_who_had_no_right_to_the_others() {
    let mut lab = weighted(1, |_| {});
    lab.node(node("n0").devices_of(1, "H100", 80));
    lab.submit(task("t1"));
    assert_eq!(lab.settle(), NOTHING);
    assert!(matches!(lab.why("t1"), Verdict::NoRight { .. }), "{:?}", lab.why("t1"));
    lab.node(node("n1").devices_of(1, "A100", 40));
    assert_eq!(lab.settle(), ["start t1"]);
    assert_eq!(lab.nodes_of("t1"), ["n1".to_owned()].into());
}

#[test]
fn a_group_without_such_cards_is_no_lack_of_right() {
    let mut lab = weighted(4, |_| {});
    lab.node(node("n0").devices_of(1, "A100", 40));
    lab.node(node("m0").devices_of(1, "H100", 80).group("other"));
    lab.submit(task("large").device_gib(80));
    lab.submit(task("nowhere").group("nowhere"));
    lab.settle();
    assert!(matches!(lab.why("large"), Verdict::NeverFits { .. }), "{:?}", lab.why("large"));
    assert!(matches!(lab.why("nowhere"), Verdict::NoSuchGroup { .. }), "{:?}", lab.why("nowhere"));
}

#[test]
fn what_a_right_leaves_out_may_be_borrowed() {
    let mut lab = weighted(3, |config| config.borrow = true);
    lab.node(node("n0").devices_of(1, "A100", 40).and_devices_of(2, "H100", 80));
    lab.submit(task("t1").devices(3));
    assert_eq!(lab.settle(), ["start t1 borrowed"], "its right would be enough for three of the A100");
    // Two cards that cost three together are within right, though two of the dear ones would not be.
    let mut lab = weighted(3, |config| config.borrow = true);
    lab.node(node("n0").devices_of(1, "A100", 40).and_devices_of(1, "H100", 80));
    lab.submit(task("t1").devices(2));
    assert_eq!(lab.settle(), ["start t1"]);
}

#[test]
fn an_auto_task_takes_the_level_whose_right_has_what_is_free() {
    let mut lab = weighted(8, |_| {});
    lab.right_devices("u", ExtremeHigh, 1);
    lab.node(node("n0").devices_of(1, "H100", 80));
    lab.node(node("n1").devices_of(1, "A100", 40));
    lab.submit(task("t1").models(&["A100"]).not_suspendable());
    lab.settle();
    lab.submit(task("auto").prio(Auto));
    lab.settle();
    assert_eq!(lab.nodes_of("t1"), ["n1".to_owned()].into());
    assert_eq!((lab.level_of("auto"), lab.nodes_of("auto")), (VeryHigh, ["n0".to_owned()].into()));
}

#[test]
fn a_run_is_charged_as_before_when_its_node_is_described_anew_across_a_restart() {
    let mut lab = weighted(1, |_| {});
    lab.node(node("n0").devices_of(1, "A100", 40));
    lab.submit(task("t1"));
    assert_eq!(lab.settle(), ["start t1"]);
    lab.node(node("n0").devices_of(1, "H100", 80));
    assert_eq!(lab.settle(), NOTHING);
    lab.restart();
    assert_eq!(lab.settle(), NOTHING, "what it holds costs what it did when it was given");
}

#[test]
fn a_promised_part_of_a_card_that_turns_out_to_be_another_is_promised_anew() {
    let mut lab = Lab::hai(|_| {});
    lab.node(node("n0").devices_of(1, "A100", 40));
    lab.submit(task("low").prio(Low).grace(0, 100));
    lab.settle();
    lab.submit(task("part").share(500).user("v"));
    lab.round();
    lab.node(node("n0").devices_of(1, "H100", 80));
    lab.pass(secs(300));
    let part = lab.placement("part").workers[0].part.expect("a part");
    assert_eq!((part.milli, part.memory_mib), (500, 40 * 1024));
}
