//! `[[team]]`: what is read, and what is refused with which words.

use hai_core::model::{Allowance, Amount, Limit};
use hai_daemon::config::Config;

use super::{parse, problem, problems, same};

#[test]
fn teams_say_what_they_share() {
    let config = parse(
        r#"
        [[team]]
        name = "vision"
        parent = "lab"
        members = ["bob", "ada"]
        [[team.pool]]
        group = "default"
        devices = 2.5
        borrow = { devices = 4 }
        lend = { nodes = "unlimited" }
        [[team.pool]]
        group = "old"
        nodes = 1
        [[team]]
        name = "lab"
        "#,
    );
    let [vision, lab] = &config.teams[..] else { panic!("two teams: {:?}", config.teams) };
    assert_eq!((vision.parent.as_ref(), lab.parent.as_ref()), (Some(&lab.name), None));
    assert_eq!(vision.members.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ada", "bob"]);
    let [now, old] = &vision.pools[..] else { panic!("two pools") };
    let devices = |milli| Allowance { nodes: Limit::at_most(0), devices: Limit::AtMost(Amount::from_milli(milli)) };
    assert_eq!((now.own, now.borrow), (devices(2500), devices(4000)));
    assert_eq!(now.lend, Allowance { nodes: Limit::Unlimited, devices: Limit::at_most(0) });
    assert_eq!((old.borrow, old.lend), (Allowance::UNLIMITED, Allowance::UNLIMITED), "nothing bounds what is not said");
    assert!(lab.members.is_empty() && lab.pools.is_empty());
    assert_eq!(config.rights, Config::default().rights, "teams alone take no rights away");
    same(&parse(&config.show()), &config);
}

#[test]
fn a_circle_of_teams_is_told_at_each_of_them_alone() {
    let team = |name: &str, parent: &str| format!("[[team]]\nname = {name:?}\nparent = {parent:?}\n");
    let text = [team("a", "b"), team("b", "c"), team("c", "b")].concat();
    assert_eq!(
        problems(&text),
        [
            "hai.toml:4:1: team b would be a part of itself: b in c in b",
            "hai.toml:7:1: team c would be a part of itself: c in b in c",
        ]
    );
    parse(&[team("a", "b"), team("b", "c")].concat());
}

#[test]
fn a_wrong_team_is_told_with_what_would_be_right() {
    let table = [
        (
            "[[team]]\nname = \"a\"\nmember = [\"ada\"]".to_owned(),
            "3:1: unknown key `member` in [[team]]; did you mean `members`?",
        ),
        (
            "[[team]]\nname = \"a\"\nmembers = [\"a b\"]".to_owned(),
            "3:11: members: a user name \"a b\" has ' ' in it; allowed are letters, digits and - _ . @",
        ),
        (
            "[[team]]\nname = \"a\"\n[[team.pool]]\ngroup = \"g\"\ndevices = 1\nborrow = 1".to_owned(),
            "6:10: borrow is a table, not a single value",
        ),
        ("[[team]]\nname = \"a\"\n[[team]]\nname = \"a\"".to_owned(), "3:1: there are two teams named `a`; keep one"),
        ("[[team]]\nname = \"a\"\nparent = \"a\"".to_owned(), "1:1: team a would be a part of itself: a in a"),
        (
            "[[team]]\nname = \"a\"\n[[team.pool]]\ngroup = \"g\"".to_owned(),
            "3:1: this [[team.pool]] does not say what is the team's own; write nodes = … or devices = …, a number or \"unlimited\"",
        ),
        (
            "[[team]]\nname = \"a\"\npool = [{ group = \"g\", nodes = 1 }, { group = \"g\", nodes = 2 }]".to_owned(),
            "1:1: team a has two pools in group g; keep one",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(problem(&text), format!("hai.toml:{expected}"), "{text}");
    }
}
