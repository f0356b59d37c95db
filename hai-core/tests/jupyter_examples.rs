//! The worked examples J1 to J8 of the open-source HAI platform's notebooks, in the words of this scheduler: a notebook
//! is an interactive task, a spot notebook is background work, and a node shared by notebooks is a node like any other.
//! Where the rule differs here by design, the example says so.

mod support;

use std::collections::BTreeSet;

use hai_core::engine::EngineConfig;
use hai_core::model::Priority::*;
use hai_core::model::*;
use hai_core::placement::PlacementPolicy;
use support::{Lab, NodeBuilder, TaskBuilder, node, secs, task};

const NOTHING: [&str; 0] = [];

/// A notebook on processors alone, beside others: eight cores and so many GiB.
fn shared(name: &str, gib: u64) -> TaskBuilder {
    exclusive(name).devices(0).cores(8).gib(gib)
}

/// A notebook that has a node of its own.
fn exclusive(name: &str) -> TaskBuilder {
    task(name).prio(Normal).nodes(1).interactive(secs(86_400), None)
}

/// A node for notebooks, with so many GiB and no devices.
fn host(name: &str, gib: u64) -> NodeBuilder {
    node(name).devices(0).cores(64).gib(gib)
}

fn lab_of(nodes: impl IntoIterator<Item = NodeBuilder>) -> Lab {
    lab_with(|_| {}, nodes)
}

fn lab_with(change: impl FnOnce(&mut EngineConfig), nodes: impl IntoIterator<Item = NodeBuilder>) -> Lab {
    let mut lab = Lab::hai(change);
    nodes.into_iter().for_each(|node| lab.node(node));
    lab
}

/// Three notebooks of 16, 16 and 40 GiB on two nodes of 64.
fn j1(policy: PlacementPolicy) -> Lab {
    let mut lab = lab_with(|config| config.placement = policy, [host("j0", 64), host("j1", 64)]);
    for (name, gib) in [("a", 16), ("b", 16), ("c", 40)] {
        lab.submit(shared(name, gib));
        assert_eq!(lab.settle(), [format!("start {name}")]);
    }
    lab
}

/// Upstream puts a notebook where the fewest are. Here the tightest fit is the rule, so that large ones find room later.
#[test]
fn j1_shared_notebooks_are_put_where_they_fit_tightest() {
    let lab = j1(PlacementPolicy::Tightest);
    assert_eq!(lab.nodes_of("a"), lab.nodes_of("b"));
    assert!(lab.nodes_of("c").is_disjoint(&lab.nodes_of("a")), "40 GiB more would be too much for the first node");
    for name in ["a", "b", "c"] {
        let place = &lab.placement(name).workers[0];
        assert_eq!((place.cpu_milli, place.devices.len()), (8000, 0));
    }
}

/// The operator may have it as upstream: spread, and a node with one small notebook still takes the large one.
#[test]
fn j1_an_operator_may_spread_notebooks() {
    let lab = j1(PlacementPolicy::WorstFit);
    assert!(lab.nodes_of("a").is_disjoint(&lab.nodes_of("b")));
    assert_eq!(lab.nodes_of("c").len(), 1);
}

/// One node of 32 GiB: of 20, 20 and 8 GiB the second does not fit, and the third does not wait for it.
#[test]
fn j2_a_notebook_that_does_not_fit_holds_up_no_other() {
    let mut lab = lab_of([host("j0", 32)]);
    for (name, gib) in [("a", 20), ("b", 20), ("c", 8)] {
        lab.submit(shared(name, gib));
    }
    assert_eq!(lab.settle(), ["start a", "start c"]);
    assert!(matches!(lab.why("b"), Verdict::NoRoom { .. }), "{:?}", lab.why("b"));
    lab.finish("a");
    assert_eq!(lab.settle(), ["start b"]);
}

/// A node of 64 GiB with a notebook of 20 on it takes another one beside it.
#[test]
fn j2b_notebooks_share_a_node_that_has_room() {
    let mut lab = lab_of([host("j0", 64)]);
    lab.submit(shared("a", 20));
    lab.settle();
    lab.submit(shared("b", 20));
    assert_eq!(lab.settle(), ["start b"]);
    assert_eq!(lab.holders(), ["a", "b"].into());
    assert_eq!(lab.nodes_of("a"), lab.nodes_of("b"));
}

/// Upstream a quota bounds the memory and the number of one's notebooks. Here rights count nodes and devices: what needs
/// processors and memory alone needs no right, and only the node bounds it.
#[test]
fn j3_a_notebook_without_devices_needs_no_right() {
    let mut lab = Lab::hai_without_rights(|_| {});
    lab.node(host("j0", 64));
    lab.submit(shared("a", 30));
    lab.submit(shared("b", 4));
    assert_eq!(lab.settle(), ["start a", "start b"]);
}

/// The same example where there is a right that can be used up: the second notebook asks for more of a device than is
/// left of it, and says so.
#[test]
fn j3_a_notebook_beyond_its_owners_right_waits_for_the_first() {
    let mut lab = Lab::hai_without_rights(|_| {});
    lab.node(node("j0").devices(2));
    lab.right_devices("u", Normal, 1);
    let asked = |name: &str, milli| exclusive(name).share(milli);
    lab.submit(asked("a", 900));
    lab.submit(asked("b", 200));
    assert_eq!(lab.settle(), ["start a"]);
    match lab.why("b") {
        Verdict::RightUsed { used, allowed, .. } => {
            assert_eq!((used.devices, allowed), (Amount::from_milli(900), Allowance::devices(1)));
        }
        other => panic!("{other:?}"),
    }
    lab.finish("a");
    assert_eq!(lab.settle(), ["start b"]);
}

/// A notebook that wants a node of its own is put on the idle one, and background work on the other goes on.
#[test]
fn j4_an_exclusive_notebook_takes_an_idle_node_before_one_with_background_work() {
    let mut lab = lab_of([node("j0"), node("j1")]);
    lab.submit(task("back").prio(Normal).nodes(1).background());
    lab.settle();
    let busy = lab.nodes_of("back");
    lab.submit(exclusive("a"));
    assert_eq!(lab.settle(), ["start a"]);
    assert!(lab.nodes_of("a").is_disjoint(&busy));
    lab.submit(exclusive("b"));
    assert_eq!(lab.settle(), ["promise b", "suspend back for b", "start b"], "now there is no idle one");
    assert_eq!(lab.nodes_of("b"), busy);
}

/// Upstream labels the node of an exclusive notebook, so that nobody else is put there, and takes the label off some time
/// after. Here a whole node is shared with nobody, and is everybody's again in the same round.
#[test]
fn j5_the_node_of_an_exclusive_notebook_is_its_alone() {
    let mut lab = lab_of([node("j0")]);
    lab.submit(exclusive("a"));
    lab.settle();
    let labels = lab.engine.nodes().next().map(|view| view.spec.labels);
    lab.submit(shared("b", 1).user("v"));
    lab.submit(task("back").devices(1).background());
    assert_eq!(lab.settle(), NOTHING);
    assert_eq!(labels, Some(std::collections::BTreeMap::new()), "nobody changes what the cluster says of a node");
    lab.finish("a");
    lab.settle();
    assert_eq!(lab.holders(), BTreeSet::from(["b", "back"]));
}

/// A notebook on a node that is not ready leaves it, and goes on where it can.
#[test]
fn j6_a_notebook_leaves_a_node_that_is_not_ready() {
    let mut lab = lab_of([node("j0"), node("j1").cordoned()]);
    lab.submit(exclusive("a"));
    lab.settle();
    lab.not_ready("j0");
    assert_eq!(lab.settle(), ["suspend a: j0 lost"]);
    assert_eq!(lab.state("a"), TaskState::Suspended);
    lab.uncordon("j1");
    assert_eq!(lab.settle(), ["start a"]);
}

/// A notebook whose owner's right is taken away leaves, and says why it waits.
#[test]
fn j7_a_notebook_whose_right_is_taken_away_leaves() {
    let mut lab = Lab::hai_without_rights(|_| {});
    lab.node(node("j0"));
    let key = RightKey { user: Some(support::user("u")), ..RightKey::default() };
    lab.set_right(RightRow::new(key.clone(), Allowance::nodes(1)));
    lab.submit(exclusive("a"));
    assert_eq!(lab.settle(), ["start a"]);
    lab.tell(Fact::RightRemoved { key });
    assert_eq!(lab.settle(), ["suspend a: right lost"]);
    assert!(matches!(lab.why("a"), Verdict::NoRight { .. }), "{:?}", lab.why("a"));
}

/// Spot notebooks have what nobody else wants. When their node is wanted, the one that runs leaves. Upstream stops those
/// that still wait; here they stay in the queue, and have the node again when it is idle.
#[test]
fn j8_spot_notebooks_give_way_and_come_back() {
    let mut lab = lab_of([node("j0")]);
    let spot = |name: &str| task(name).user("guest").nodes(1).background();
    lab.submit(spot("runs"));
    lab.submit(spot("waits"));
    lab.settle();
    assert_eq!(lab.holders(), ["runs"].into());
    lab.submit(task("t").prio(Low).nodes(1));
    assert_eq!(lab.settle(), ["promise t", "suspend runs for t", "start t"]);
    assert_eq!((lab.state("runs"), lab.state("waits")), (TaskState::Suspended, TaskState::Waiting));
    assert_eq!(lab.pass(secs(86_400)), NOTHING);
    lab.finish("t");
    lab.settle();
    assert_eq!(lab.holders(), ["runs"].into());
}
