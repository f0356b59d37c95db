//! Teams that share, borrow and lend.

use hai_core::engine::FactError;
use hai_core::model::Priority::*;
use hai_core::model::*;
use hai_core::rights::TeamError;

use crate::support::{Lab, group, secs, user};
use crate::{NOTHING, task};

fn team_name(name: &str) -> TeamName {
    TeamName::new(name).unwrap()
}

/// A team of `lab` with so many devices of its own; lends and borrows without a bound.
fn team(name: &str, members: &[&str], devices: u32) -> Team {
    Team {
        name: team_name(name),
        parent: Some(team_name("lab")),
        members: members.iter().map(|name| user(name)).collect(),
        pools: vec![Pool {
            group: group("g"),
            own: Allowance::devices(devices),
            borrow: Allowance::UNLIMITED,
            lend: Allowance::UNLIMITED,
        }],
    }
}

/// Four devices; `a` (user `u`) and `b` (user `v`) have two each, and their members any right within those.
fn two_teams(borrow: bool, change: impl FnOnce(&mut Team, &mut Team)) -> Lab {
    let mut lab = Lab::hai(|config| config.borrow = borrow).with_devices(4);
    lab.team(Team { name: team_name("lab"), parent: None, members: [].into(), pools: Vec::new() });
    let (mut a, mut b) = (team("a", &["u"], 2), team("b", &["v"], 2));
    change(&mut a, &mut b);
    lab.team(a);
    lab.team(b);
    lab
}

fn submit_of(lab: &mut Lab, owner: &str, count: u32) {
    for index in 0..count {
        lab.submit(task(&format!("{owner}{index}")).user(owner));
    }
}

#[test]
fn members_of_a_team_share_what_is_its_own() {
    let mut lab = Lab::hai(|_| {}).with_devices(4);
    lab.team(Team { parent: None, ..team("a", &["u", "v"], 3) });
    submit_of(&mut lab, "u", 2);
    submit_of(&mut lab, "v", 2);
    lab.settle();
    assert_eq!(lab.holders(), ["u0", "u1", "v0"].into());
    match lab.why("v1") {
        Verdict::TeamUsed { team, used, .. } => {
            assert_eq!((team.as_str(), used.devices), ("a", Amount::whole(3)));
        }
        other => panic!("{other:?}"),
    }
    lab.finish("u0");
    assert_eq!(lab.settle(), ["start v1"]);
}

#[test]
fn without_borrowing_a_team_leaves_idle_what_is_not_its_own() {
    let mut lab = two_teams(false, |_, _| {});
    submit_of(&mut lab, "u", 3);
    lab.settle();
    assert_eq!(lab.holders(), ["u0", "u1"].into());
    assert_eq!(lab.pass(secs(3600)), NOTHING);
}

#[test]
fn a_team_borrows_what_its_sibling_does_not_use_and_gives_it_back() {
    let mut lab = two_teams(true, |_, _| {});
    submit_of(&mut lab, "u", 5);
    assert_eq!(lab.settle(), ["start u0", "start u1", "start u2 borrowed", "start u3 borrowed"]);
    lab.submit(task("v0").user("v").prio(Low));
    assert_eq!(lab.settle(), ["promise v0", "suspend u3 for v0", "start v0"], "the newest of the borrowed");
    lab.submit(task("v1").user("v").prio(Low));
    lab.settle();
    assert_eq!(lab.holders(), ["u0", "u1", "v0", "v1"].into());
    lab.submit(task("x").user("v").prio(Low));
    assert_eq!(lab.settle(), NOTHING, "what is the other's own can not be taken");
    lab.cancel("x");
    lab.finish("v0");
    lab.finish("v1");
    lab.settle();
    assert_eq!(lab.holders(), ["u0", "u1", "u2", "u3"].into());
}

/// Rights of one team are used by the best of its work, as those of the cluster are.
#[test]
#[ignore = "waits for the displacing of lesser work of the same team when its pool is used up"]
fn within_a_team_a_better_priority_displaces_a_lesser() {
    let mut lab = two_teams(false, |_, _| {});
    for name in ["low1", "low2"] {
        lab.submit(task(name).prio(Low));
    }
    lab.settle();
    lab.submit(task("high").prio(High));
    assert_eq!(lab.settle(), ["promise high", "suspend low2 for high", "start high"]);
}

#[test]
fn a_team_lends_no_more_than_it_wants_to() {
    let mut lab = two_teams(true, |_, b| b.pools[0].lend = Allowance::devices(1));
    submit_of(&mut lab, "u", 4);
    lab.settle();
    assert_eq!(lab.holders().len(), 3);
    assert!(matches!(lab.why("u3"), Verdict::TeamUsed { .. }), "{:?}", lab.why("u3"));
}

#[test]
fn a_team_borrows_no_more_than_it_may() {
    let mut lab = two_teams(true, |a, _| a.pools[0].borrow = Allowance::devices(1));
    submit_of(&mut lab, "u", 4);
    lab.settle();
    assert_eq!(lab.holders().len(), 3);
}

#[test]
fn a_loan_that_is_called_back_is_given_back() {
    let mut lab = two_teams(true, |_, _| {});
    submit_of(&mut lab, "u", 4);
    lab.settle();
    let mut b = team("b", &["v"], 2);
    b.pools[0].lend = Allowance::devices(0);
    lab.team(b);
    assert_eq!(lab.settle(), ["suspend u2: right lost", "suspend u3: right lost"]);
}

#[test]
fn a_member_that_leaves_takes_its_use_along() {
    let mut lab = two_teams(false, |a, _| {
        a.members.insert(user("w"));
    });
    submit_of(&mut lab, "u", 2);
    submit_of(&mut lab, "w", 1);
    lab.settle();
    assert_eq!(lab.holders(), ["u0", "u1"].into());
    lab.team(team("a", &["w"], 2));
    assert_eq!(lab.settle(), ["start w0"], "u is bound by no team any more");
}

#[test]
fn of_several_teams_rows_the_greatest_counts_and_ones_own_before_both() {
    let mut lab = Lab::hai_without_rights(|_| {}).with_devices(8);
    for (name, members, devices) in [("a", &["u", "v"][..], 1), ("b", &["v", "w"], 2)] {
        lab.team(Team { parent: None, pools: Vec::new(), ..team(name, members, 0) });
        let key = RightKey { team: Some(team_name(name)), ..RightKey::default() };
        lab.set_right(RightRow::new(key, Allowance::devices(devices)));
    }
    lab.right_devices("w", Normal, 1);
    for owner in ["u", "v", "w"] {
        submit_of(&mut lab, owner, 3);
    }
    lab.settle();
    assert_eq!(lab.holders(), ["u0", "v0", "v1", "w0"].into());
}

#[test]
fn a_team_that_would_be_a_part_of_itself_is_refused() {
    let mut lab = two_teams(false, |_, _| {});
    let lab_team = Team { parent: Some(team_name("a")), ..team("lab", &[], 0) };
    let refused = lab.try_tell(Fact::TeamSet { team: lab_team });
    assert!(matches!(refused, Err(FactError::TeamSpec(TeamError::Cycle { .. }))), "{refused:?}");
}

#[test]
fn teams_and_loans_outlive_a_restart() {
    let mut lab = two_teams(true, |_, _| {});
    submit_of(&mut lab, "u", 5);
    lab.settle();
    lab.restart();
    assert_eq!(lab.settle(), NOTHING);
    lab.submit(task("v0").user("v").prio(Low));
    assert_eq!(lab.settle(), ["promise v0", "suspend u3 for v0", "start v0"]);
}

#[test]
fn a_promise_waits_for_a_teammate_to_leave_and_says_so() {
    let mut lab = Lab::hai(|_| {}).with_devices(4);
    lab.team(Team { parent: None, ..team("a", &["u", "v"], 2) });
    lab.submit(task("u0").devices(2).grace(0, 100));
    lab.settle();
    lab.hold("u0");
    lab.round();
    lab.submit(task("v0").user("v").devices(2));
    assert_eq!(lab.round(), ["promise v0"], "there is room, but the team has no more of its own");
    assert!(
        matches!(lab.why("v0"), Verdict::Promised { leaving, .. } if leaving == [lab.id("u0")]),
        "{:?}",
        lab.why("v0")
    );
    assert_eq!(lab.pass(secs(200)), ["start v0"]);
}

#[test]
fn who_may_not_borrow_is_told_which_team_is_in_the_way() {
    // `lab` has no pool of its own: what its parts own is all that they may hold together.
    let mut lab = two_teams(true, |a, b| {
        (a.pools[0].own, b.pools[0].lend) = (Allowance::devices(0), Allowance::devices(1));
    });
    submit_of(&mut lab, "u", 2);
    assert_eq!(lab.settle(), ["start u0 borrowed"]);
    match lab.why("u1") {
        Verdict::TeamUsed { team, used, allowed, .. } => {
            let told = (team.as_str(), used.devices, allowed.devices);
            assert_eq!(told, ("lab", Amount::whole(2), Limit::at_most(2)), "one that b keeps, and one that u0 has");
        }
        other => panic!("{other:?}"),
    }
    lab.finish("u0");
    assert_eq!(lab.settle(), ["start u1 borrowed"]);
}

#[test]
fn borrowed_work_has_the_right_at_once_that_a_broken_promise_gives_back() {
    let mut lab = Lab::hai(|config| config.borrow = true).with_devices(4);
    lab.right_devices("u", Normal, 3);
    lab.submit(task("v0").user("v").prio(Low).devices(3).grace(0, 100));
    lab.settle();
    lab.submit(task("u1").devices(3));
    assert_eq!(lab.round(), ["promise u1", "suspend v0 for u1"]);
    lab.submit(task("u2"));
    assert_eq!(lab.round(), ["start u2 borrowed"]);
    lab.submit(task("w0").user("w").prio(High).devices(3));
    assert_eq!(lab.round(), ["promise w0", "recharge u2 NORMAL", "withdraw u1"]);
}
