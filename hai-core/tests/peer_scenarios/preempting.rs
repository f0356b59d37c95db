//! Who makes room, for whom, and how often.

use hai_core::engine::Policy;
use hai_core::model::Priority::*;
use hai_core::model::*;

use crate::support::{Lab, group, node, secs, user};
use crate::{NOTHING, assert_one_way, devices, suspensions, task};

fn tenant(name: &str, members: &[&str], devices: u32) -> Team {
    let pool = Pool {
        group: group("g"),
        own: Allowance::devices(devices),
        borrow: Allowance::UNLIMITED,
        lend: Allowance::UNLIMITED,
    };
    Team {
        name: TeamName::new(name).unwrap(),
        parent: Some(TeamName::new("all").unwrap()),
        members: members.iter().map(|name| user(name)).collect(),
        pools: vec![pool],
    }
}

/// KU#3779, KU#7101, KU#14543: two tenants with devices of their own, and one who has none and takes what is idle. However
/// heavy the one tenant's tasks are, who was displaced does not come back to displace: the number of suspensions is bounded
/// by the number of arrivals, and nobody is suspended for somebody that was suspended for them.
#[test]
fn tenants_and_guests_do_not_displace_each_other_for_ever() {
    let mut lab = Lab::hai(|config| config.borrow = true).with_devices(6);
    lab.team(Team { parent: None, pools: Vec::new(), ..tenant("all", &[], 0) });
    lab.team(tenant("heavy", &["h"], 3));
    lab.team(tenant("light", &["l"], 3));
    lab.team(tenant("guests", &["w"], 0));
    for index in 0..6 {
        lab.submit(task(&format!("guest{index}")).user("w"));
    }
    lab.settle();
    assert_eq!(lab.holders().len(), 6, "idle devices are lent");
    for index in 0..3 {
        lab.submit(task(&format!("heavy{index}")).user("h").devices(2));
        lab.submit(task(&format!("light{index}")).user("l"));
        lab.settle();
    }
    let arrivals = 6;
    let so_far = suspensions(&lab).len();
    assert!(so_far <= 2 * arrivals, "{:?}", suspensions(&lab));
    assert_one_way(&lab);
    for name in ["heavy0", "light0", "light1", "light2"] {
        assert_eq!(lab.state(name), TaskState::Running, "{name} is within its tenant's own");
    }
    lab.pass(secs(30 * 86_400));
    assert_eq!(suspensions(&lab).len(), so_far, "nothing new happened, so nobody is suspended any more");
}

/// KU#13662: of two who leave for a gang the one is gone much sooner. What it left stays promised to the gang: nobody
/// who comes meanwhile gets it, not even one of the gang's own priority.
#[test]
fn what_is_freed_for_a_gang_stays_promised_to_it() {
    let mut lab = devices(2);
    lab.leave_after = secs(600);
    lab.submit(task("slow").prio(Low).grace(600, 600));
    lab.submit(task("quick").prio(Low).grace(600, 600));
    lab.settle();
    lab.submit(task("gang").user("v").prio(High).devices(2));
    assert_eq!(lab.round(), ["promise gang", "suspend quick for gang", "suspend slow for gang"]);
    lab.pass(secs(5));
    lab.end_worker("quick", 0, WorkerExit::exited(0).after_signal());
    lab.submit(task("normal").user("w"));
    lab.submit(task("equal").user("x").prio(High));
    assert_eq!(lab.pass(secs(500)), NOTHING);
    assert!(matches!(lab.why("gang"), Verdict::Promised { .. }), "{:?}", lab.why("gang"));
    lab.end_worker("slow", 0, WorkerExit::exited(0).after_signal());
    assert_eq!(lab.round(), ["start gang"]);
}

/// KU#13662, the other half: a preemptor that gives up gives its place to others at once.
#[test]
fn what_is_freed_for_one_who_gives_up_is_for_all() {
    let mut lab = devices(2);
    lab.submit(task("low").prio(Low).devices(2));
    lab.settle();
    lab.submit(task("gang").user("v").prio(High).devices(2));
    lab.round();
    lab.submit(task("normal").user("w"));
    lab.cancel("gang");
    let said = lab.settle();
    assert!(said.contains(&"start normal".to_owned()), "{said:?}");
}

/// KU#14570: in one round two users want the one node that is empty, and two more want room to be made. Every node is
/// given once, and those who make room make it for one each.
#[test]
fn one_round_gives_a_place_once() {
    let mut lab = Lab::hai(|_| {}).with_nodes(3);
    lab.submit(task("low0").prio(Low).nodes(1));
    lab.submit(task("low1").prio(Low).nodes(1));
    lab.settle();
    for owner in ["a", "b", "c", "d"] {
        lab.submit(task(owner).user(owner).prio(High).nodes(1));
    }
    let said = lab.round();
    assert_eq!(said.iter().filter(|line| line.starts_with("start")).count(), 1, "{said:?}");
    assert_eq!(said.iter().filter(|line| line.starts_with("promise")).count(), 2, "{said:?}");
    assert_eq!(said.iter().filter(|line| line.starts_with("suspend")).count(), 2, "{said:?}");
    lab.settle();
    let nodes: Vec<_> = lab.holders().into_iter().flat_map(|name| lab.nodes_of(name)).collect();
    assert_eq!(nodes.len(), 3);
    assert_eq!(nodes.into_iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
    assert!(matches!(lab.why("d"), Verdict::NoRoom { .. }), "{:?}", lab.why("d"));
}

/// KU#11980: four equal tasks of four users share two devices by slices. All four have run when two slices are over, and
/// over a long time they run equally often.
#[test]
fn equals_share_by_slices_and_none_starves() {
    let mut lab = Lab::hai(|config| config.timing.slice = secs(600)).with_devices(2);
    let names = ["a", "b", "c", "d"];
    for name in names {
        lab.submit(task(name).user(name));
    }
    lab.pass(secs(2 * 602));
    for name in names {
        assert!(!lab.when(&format!("start {name}")).is_empty(), "{name} did not run in two slices");
    }
    lab.pass(secs(40 * 602));
    let runs = names.map(|name| lab.when(&format!("start {name}")).len());
    assert!(runs.iter().max().unwrap() - runs.iter().min().unwrap() <= 1, "{runs:?}");
}

/// VO#5984: one device is needed, and eleven runs could each give one. Exactly one leaves.
#[test]
fn no_more_leave_than_are_needed() {
    let mut lab = devices(11);
    for index in 0..11 {
        lab.submit(task(&format!("low{index}")).prio(Low));
    }
    lab.settle();
    lab.submit(task("high").user("v").prio(High));
    lab.settle();
    assert_eq!(suspensions(&lab).len(), 1);
    assert_eq!(lab.holders().len(), 11);
}

/// VO#5984 as it was: the victim is a gang that has ten workers more than it must have. A run leaves whole, and comes back
/// at once with one worker less: the other ten devices are not lost to it.
#[test]
fn an_elastic_gang_gives_one_worker_and_keeps_the_others() {
    let mut lab = devices(11);
    lab.submit(task("gang").prio(Low).workers(11).with(|spec| spec.workers_min = Some(1)));
    lab.settle();
    assert_eq!(lab.placement("gang").workers.len(), 11);
    lab.submit(task("high").user("v").prio(High));
    lab.settle();
    assert_eq!(lab.holders(), ["gang", "high"].into());
    assert_eq!(lab.placement("gang").workers.len(), 10);
    assert_eq!(suspensions(&lab).len(), 1);
}

/// AR#5071: a victim would fit elsewhere. The plan that is told is what happens: it leaves, the winner has the place that
/// was promised, and the victim goes on at the other place in a run of its own.
#[test]
fn a_victim_that_fits_elsewhere_leaves_and_goes_on_there() {
    let mut lab = Lab::hai(|_| {});
    lab.node(node("n0").devices_of(1, "A100", 80));
    lab.submit(task("low").prio(Low));
    lab.settle();
    lab.node(node("n1").devices_of(1, "RTX", 24));
    lab.submit(task("high").user("v").prio(High).models(&["A100"]));
    assert_eq!(lab.round(), ["promise high", "suspend low for high"]);
    let said = lab.settle();
    assert_eq!(said, ["start high", "start low"]);
    assert_eq!((lab.nodes_of("high"), lab.nodes_of("low")), (["n0".to_owned()].into(), ["n1".to_owned()].into()));
    assert_eq!(lab.engine.task(lab.id("low")).unwrap().runs, 2);
    assert_eq!(lab.pass(secs(86_400)), NOTHING);
}

/// The matcher of the open-source HAI platform gave a task that had to take nodes in use the free ones besides. A task
/// gets as many nodes as it asked for, all different, and no more runs leave than that needs; under both rule sets.
#[test]
fn a_task_that_takes_nodes_in_use_gets_as_many_as_it_asked_for() {
    for policy in [Policy::Hai, Policy::HaiFifo] {
        let mut lab = Lab::hai(|config| config.policy = policy).with_nodes(4);
        for name in ["low0", "low1", "low2"] {
            lab.submit(task(name).prio(Low).nodes(1));
        }
        lab.settle();
        lab.submit(task("t").user("v").prio(High).nodes(3));
        lab.settle();
        assert_eq!((lab.nodes_of("t").len(), lab.placement("t").workers.len()), (3, 3));
        assert_eq!(suspensions(&lab).len(), 2, "{policy:?}");
        assert_eq!(lab.holders().len(), 2, "{policy:?}: the fourth node is not left idle");
    }
}
