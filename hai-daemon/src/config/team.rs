//! Reads, checks and shows `[[team]]`: users who share rights.

use std::collections::{BTreeMap, BTreeSet};

use hai_core::model::{Allowance, GroupName, Limit, Pool, Team, TeamName, UserName};

use super::Config;
use super::file::{Findings, Table};
use super::value::Setting;

/// Takes all `[[team]]` over into `config`.
pub(super) fn read_all(top: &mut Table<'_>, config: &mut Config, found: &mut Findings<'_>) {
    for table in top.list("team", "[[team]]", found) {
        let span = table.span.clone();
        if let Some(team) = read_team(table, found) {
            config.origins.insert(format!("team.{}", config.teams.len()), found.place(span));
            config.teams.push(team);
        }
    }
}

fn read_team(mut table: Table<'_>, found: &mut Findings<'_>) -> Option<Team> {
    let before = found.problems.len();
    let name = table.require::<TeamName>("name", "\"vision\"", found);
    let parent = table.take::<TeamName>("parent", found).map(|(parent, _)| parent);
    let members = table.take::<Vec<UserName>>("members", found).map(|(members, _)| members);
    let tables = table.list("pool", "[[team.pool]]", found);
    table.finish(found);
    let pools: Vec<Pool> = tables.into_iter().filter_map(|table| read_pool(table, found)).collect();
    let team = Team { name: name?.0, parent, members: members.into_iter().flatten().collect(), pools };
    (found.problems.len() == before).then_some(team)
}

fn read_pool(mut table: Table<'_>, found: &mut Findings<'_>) -> Option<Pool> {
    let span = table.span.clone();
    let group = table.require::<GroupName>("group", "\"default\"", found);
    let before = found.problems.len();
    let own = read_limits(&mut table, found);
    if own.is_none() && found.problems.len() == before {
        let message = "this [[team.pool]] does not say what is the team's own; write nodes = … or devices = …, a number \
                       or \"unlimited\"";
        found.add(span, message);
    }
    let borrow = read_allowance(&mut table, "borrow", found);
    let lend = read_allowance(&mut table, "lend", found);
    table.finish(found);
    Some(Pool {
        group: group?.0,
        own: own?,
        borrow: borrow.unwrap_or(Allowance::UNLIMITED),
        lend: lend.unwrap_or(Allowance::UNLIMITED),
    })
}

/// `nodes` and `devices`: nothing of what is left out, and `None` if both are.
fn read_limits(table: &mut Table<'_>, found: &mut Findings<'_>) -> Option<Allowance> {
    let nodes = table.take::<Limit>("nodes", found).map(|(nodes, _)| nodes);
    let devices = table.take::<Limit>("devices", found).map(|(devices, _)| devices);
    let any = nodes.is_some() || devices.is_some();
    any.then(|| Allowance { nodes: nodes.unwrap_or_default(), devices: devices.unwrap_or_default() })
}

/// `borrow = { devices = 2 }`
fn read_allowance(table: &mut Table<'_>, key: &'static str, found: &mut Findings<'_>) -> Option<Allowance> {
    let value = table.raw(key)?;
    let mut limits = Table::of(value, key, found)?;
    let allowance = read_limits(&mut limits, found);
    limits.finish(found);
    Some(allowance.unwrap_or(Allowance { nodes: Limit::default(), devices: Limit::default() }))
}

/// What can not be, with the team that it is about.
pub(super) fn problems(teams: &[Team]) -> Vec<(usize, String)> {
    let mut problems = Vec::new();
    let mut first = BTreeMap::new();
    for (index, team) in teams.iter().enumerate() {
        let name = &team.name;
        if first.contains_key(name) {
            problems.push((index, format!("there are two teams named `{name}`; keep one")));
            continue;
        }
        first.insert(name, team);
        let mut groups = BTreeSet::new();
        if let Some(pool) = team.pools.iter().find(|pool| !groups.insert(&pool.group)) {
            problems.push((index, format!("team {name} has two pools in group {}; keep one", pool.group)));
        }
    }
    for (index, team) in teams.iter().enumerate() {
        let mut path = vec![&team.name];
        let mut at = team.parent.as_ref();
        // Whoever only leads into a circle is not a part of it.
        while let Some(parent) = at.filter(|parent| !path.contains(parent)) {
            path.push(parent);
            at = first.get(parent).and_then(|team| team.parent.as_ref());
        }
        if at == Some(&team.name) {
            path.push(&team.name);
            let path: Vec<&str> = path.into_iter().map(TeamName::as_str).collect();
            problems.push((index, format!("team {} would be a part of itself: {}", team.name, path.join(" in "))));
        }
    }
    problems
}

/// A team's keys and pools, without its head.
pub(super) fn show(team: &Team) -> String {
    let mut lines = vec![format!("name = {}", team.name.show())];
    if let Some(parent) = &team.parent {
        lines.push(format!("parent = {}", parent.show()));
    }
    if !team.members.is_empty() {
        lines.push(format!("members = {}", team.members.iter().cloned().collect::<Vec<_>>().show()));
    }
    for pool in &team.pools {
        lines.push("\n[[team.pool]]".to_owned());
        lines.push(format!("group = {}", pool.group.show()));
        lines.push(limits(pool.own, "\n"));
        for (key, allowance) in [("borrow", pool.borrow), ("lend", pool.lend)] {
            if allowance != Allowance::UNLIMITED {
                lines.push(format!("{key} = {{ {} }}", limits(allowance, ", ")));
            }
        }
    }
    lines.join("\n")
}

fn limits(allowance: Allowance, between: &str) -> String {
    format!("nodes = {}{between}devices = {}", allowance.nodes.show(), allowance.devices.show())
}
