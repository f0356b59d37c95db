//! Rights that change, cards that are shared, and clusters that are smaller than was thought.

use hai_core::engine::{Engine, FactError};
use hai_core::model::Priority::*;
use hai_core::model::*;
use hai_core::rights::TeamError;

use crate::support::{Lab, group, node, secs, user};
use crate::{NOTHING, devices, task};

/// The lines of the runs that a fact would let leave, worked out on a copy.
fn preview(lab: &Lab, fact: &Fact) -> Vec<TaskId> {
    let mut copy: Engine = lab.engine.clone();
    copy.observe(lab.now, fact).expect("a fact that can be");
    let round = copy.schedule(lab.now);
    let leaves = |decision: &Decision| match decision {
        Decision::Suspend { task, .. } => Some(*task),
        _ => None,
    };
    round.decisions.iter().filter_map(leaves).collect()
}

fn team(name: &str, parent: Option<&str>, members: &[&str], devices: Option<u32>) -> Team {
    let pool = |devices| Pool {
        group: group("g"),
        own: Allowance::devices(devices),
        borrow: Allowance::devices(0),
        lend: Allowance::UNLIMITED,
    };
    Team {
        name: TeamName::new(name).unwrap(),
        parent: parent.map(|name| TeamName::new(name).unwrap()),
        members: members.iter().map(|name| user(name)).collect(),
        pools: devices.map(pool).into_iter().collect(),
    }
}

/// KA#1783: a right is cut below its use. The last in rank leave until what is left is within it, no more, nobody else,
/// and it is known before who they will be.
#[test]
fn a_cut_below_use_converges_and_can_be_previewed() {
    let mut lab = Lab::hai_without_rights(|_| {}).with_devices(6);
    lab.right_devices("u", Normal, 4);
    lab.right_devices("v", Normal, 2);
    for name in ["t0", "t1", "t2", "t3"] {
        lab.submit(task(name));
    }
    lab.submit(task("other").user("v").devices(2));
    lab.settle();
    let key =
        RightKey { user: Some(user("u")), group: Some(group("g")), priority: Some(Normal), ..RightKey::default() };
    let cut = Fact::RightSet { right: RightRow::new(key, Allowance::devices(1)) };
    let leaving = preview(&lab, &cut);
    assert_eq!(lab.round(), NOTHING, "a preview changes nothing");
    lab.tell(cut);
    assert_eq!(lab.settle(), ["t1", "t2", "t3"].map(|name| format!("suspend {name}: right lost")));
    assert_eq!(leaving.into_iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
    assert_eq!(lab.holders(), ["other", "t0"].into());
    assert_eq!(lab.pass(secs(86_400)), NOTHING, "it has converged");
}

/// KA#1783: a team moves to another parent, whose pool is too small for both of its parts then.
#[test]
fn a_team_that_moves_brings_its_use_along() {
    let mut lab = devices(8);
    lab.team(team("big", None, &[], Some(6)));
    lab.team(team("small", None, &[], Some(2)));
    lab.team(team("part", Some("big"), &["u"], None));
    lab.team(team("stays", Some("small"), &["v"], None));
    for index in 0..3 {
        lab.submit(task(&format!("t{index}")));
    }
    lab.submit(task("first").user("v"));
    lab.settle();
    assert_eq!(lab.holders().len(), 4);
    let moved = Fact::TeamSet { team: team("part", Some("small"), &["u"], None) };
    let leaving = preview(&lab, &moved).len();
    lab.tell(moved);
    lab.settle();
    assert_eq!((lab.holders().len(), leaving), (2, 2), "as many as the pool has stay");
    assert_eq!(lab.pass(secs(86_400)), NOTHING);
    assert!(matches!(lab.why("t2"), Verdict::TeamUsed { .. } | Verdict::RightUsed { .. }), "{:?}", lab.why("t2"));
}

/// KA#1783: a limit below the right it limits counts; what can not be is refused by name.
#[test]
fn a_limit_below_a_right_counts_and_nonsense_is_refused() {
    let mut lab = Lab::hai_without_rights(|_| {}).with_devices(4);
    lab.right_devices("u", Normal, 4);
    let cap = RightKey { user: Some(user("u")), cap: true, ..RightKey::default() };
    lab.set_right(RightRow::new(cap, Allowance::devices(1)));
    lab.submit(task("t0"));
    lab.submit(task("t1"));
    assert_eq!(lab.settle(), ["start t0"]);
    lab.team(team("a", None, &[], None));
    lab.team(team("b", Some("a"), &[], None));
    let refused = lab.try_tell(Fact::TeamSet { team: team("a", Some("b"), &[], None) });
    match refused {
        Err(FactError::TeamSpec(TeamError::Cycle { teams })) => assert_eq!(teams.len(), 2),
        other => panic!("{other:?}"),
    }
}

/// KA#1792, HAMi-core#95: parts of cards of 8 and 12 GiB, asked for in MiB, beside whole cards. No card holds more than it
/// has, and no card is shared and whole at a time.
#[test]
fn parts_of_a_card_never_exceed_it_and_exclude_the_whole() {
    let mut lab = Lab::hai(|_| {});
    lab.node(node("n0").devices_of(1, "RTX 3070", 8).and_devices_of(1, "RTX 3060", 12));
    for (name, mib) in [("a", 5000), ("b", 5000), ("c", 6000), ("d", 3000), ("e", 9000)] {
        lab.submit(task(name).memory_mib(mib));
    }
    lab.submit(task("whole").user("v").prio(Low));
    lab.settle();
    let used = |device: &str| -> u64 {
        let mine = |name: &&str| lab.devices_of(name).contains(device);
        let parts = lab.holders().into_iter().filter(mine).map(|name| lab.placement(name).workers[0].part);
        parts.map(|part| part.expect("a part").memory_mib).sum()
    };
    let (small, large) = (used("n0-0"), used("n0-1"));
    assert!(small <= 8192 && large <= 12_288, "{small} and {large}");
    assert!(small + large >= 16_000, "the greater part is used: {small} and {large}");
    assert!(!lab.holders().contains("whole"), "no card is empty");
    let names: Vec<String> = lab.holders().into_iter().map(str::to_owned).collect();
    for name in &names {
        if lab.devices_of(name).contains("n0-0") {
            lab.finish(name);
        }
    }
    for name in ["a", "b", "c", "d", "e"] {
        if lab.state(name) == TaskState::Waiting {
            lab.cancel(name);
        }
    }
    assert_eq!(lab.settle(), ["start whole"], "the card is empty now");
    assert_eq!(lab.devices_of("whole"), ["n0-0".to_owned()].into());
}

/// KA#1792: what a part of a card costs depends on the card that it is on, not on the smallest or largest of the cluster.
#[test]
fn a_part_is_charged_by_the_card_it_is_on() {
    for (model, milli) in [("RTX 3070", 750), ("RTX 3060", 500)] {
        let mut lab = Lab::hai_without_rights(|_| {});
        lab.node(node("n0").devices_of(2, "RTX 3070", 8).and_devices_of(2, "RTX 3060", 12));
        lab.right_devices("u", Normal, 1);
        lab.submit(task("a").memory_mib(6 * 1024).models(&[model]));
        assert_eq!(lab.settle(), ["start a"]);
        lab.submit(task("b").share(501).models(&[model]));
        assert_eq!(lab.settle(), NOTHING);
        match lab.why("b") {
            Verdict::RightUsed { used, .. } => assert_eq!(used.devices, Amount::from_milli(milli), "{model}"),
            other => panic!("{other:?}"),
        }
    }
}

/// VO#3301: a node has less than its runs hold. Nothing is negative, what is there is not given again, and it is used
/// again when it is back.
#[test]
fn a_node_that_shrinks_under_use_is_no_trouble() {
    let mut lab = Lab::hai(|_| {});
    lab.node(node("n0").devices(4).cores(16).gib(64));
    for name in ["a", "b", "c", "d"] {
        lab.submit(task(name).cores(4).gib(16));
    }
    lab.settle();
    lab.node(node("n0").devices(2).cores(6).gib(20));
    lab.settle();
    let view = lab.engine.nodes().next().unwrap();
    assert_eq!((view.free_devices, view.free_cpu_milli, view.free_memory_mib), (0, 0, 0));
    lab.submit(task("e").user("v").devices(0).cores(1));
    assert_eq!(lab.settle(), NOTHING);
    let names: Vec<String> = lab.holders().into_iter().map(str::to_owned).collect();
    names.iter().for_each(|name| lab.finish(name));
    assert_eq!(lab.settle(), ["start e"]);
    lab.node(node("n0").devices(4).cores(16).gib(64));
    lab.submit(task("f").devices(4).cores(15).gib(64));
    assert_eq!(lab.settle(), ["start f"]);
}

/// VO#3127: more is guaranteed than there is. All that there is is used, and who waits is told that there is no room.
#[test]
fn rights_beyond_the_cluster_promise_nothing_that_is_not() {
    let mut lab = Lab::hai_without_rights(|_| {}).with_devices(2);
    for owner in ["u", "v"] {
        lab.right_devices(owner, Normal, u32::MAX);
        for index in 0..2 {
            lab.submit(task(&format!("{owner}{index}")).user(owner));
        }
    }
    lab.settle();
    assert_eq!(lab.holders(), ["u0", "u1"].into());
    assert!(matches!(lab.why("v0"), Verdict::NoRoom { .. }), "{:?}", lab.why("v0"));
}

/// VO#4261: tasks are known before any node is, as after a restart. They wait, say what for, and start when nodes come.
#[test]
fn tasks_may_come_before_nodes() {
    let mut lab = Lab::hai(|_| {});
    lab.submit(task("a"));
    lab.submit(task("gang").nodes(2));
    assert_eq!(lab.settle(), NOTHING);
    assert!(matches!(lab.why("gang"), Verdict::NoSuchGroup { .. }), "{:?}", lab.why("gang"));
    lab.restart();
    lab.node(node("n0").devices(1));
    assert_eq!(lab.settle(), ["start a"]);
    assert!(matches!(lab.why("gang"), Verdict::NeverFits { .. }), "{:?}", lab.why("gang"));
    lab.node(node("n1"));
    lab.node(node("n2"));
    assert_eq!(lab.settle(), ["start gang"]);
}
