//! Teams as a tree.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{GroupName, Team, TeamName, UserName};

/// Why a team can not be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TeamError {
    /// It would be a part of itself.
    #[error("team {} would be a part of itself: {}", teams[0], path(teams))]
    Cycle {
        /// The team, its parent, and so on up to the one whose parent is the team.
        teams: Vec<TeamName>,
    },
    /// Two of its pools are in one group.
    #[error("team {team} has two pools in group {group}")]
    TwoPools {
        /// The team.
        team: TeamName,
        /// The group.
        group: GroupName,
    },
}

fn path(teams: &[TeamName]) -> String {
    let names: Vec<&str> = teams.iter().chain(teams.first()).map(TeamName::as_str).collect();
    names.join(" in ")
}

/// All teams by name. A parent that nobody described is a team without users and pools.
#[derive(Clone, Debug, Default)]
pub(super) struct Teams {
    teams: BTreeMap<TeamName, Team>,
}

/// One team on a walk over all of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit<'a> {
    pub(super) name: &'a TeamName,
    /// What is known of it.
    pub(super) team: Option<&'a Team>,
    /// Where in the walk its parent is.
    pub(super) parent: Option<usize>,
    /// Where in the walk the team is that it and its parents are in.
    pub(super) root: usize,
}

impl Teams {
    /// Puts a team in, or changes it; false if that changes nothing.
    pub(super) fn set(&mut self, team: Team) -> Result<bool, TeamError> {
        let mut groups = BTreeSet::new();
        if let Some(pool) = team.pools.iter().find(|pool| !groups.insert(&pool.group)) {
            return Err(TeamError::TwoPools { team: team.name.clone(), group: pool.group.clone() });
        }
        // What stands so far has no cycle, so the walk ends.
        let above: Vec<_> = team.parent.iter().flat_map(|parent| self.line(parent)).collect();
        if let Some(end) = above.iter().position(|&name| *name == team.name) {
            let teams = std::iter::once(&team.name).chain(above[..end].iter().copied()).cloned().collect();
            return Err(TeamError::Cycle { teams });
        }
        if self.teams.get(&team.name) == Some(&team) {
            return Ok(false);
        }
        self.teams.insert(team.name.clone(), team);
        Ok(true)
    }

    /// Takes a team away; false if there was none. Its parts stay, as parts of a team that is not described.
    pub(super) fn remove(&mut self, name: &TeamName) -> bool {
        self.teams.remove(name).is_some()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Team> {
        self.teams.values()
    }

    /// The team, its parent, that one's parent, and so on.
    pub(super) fn line<'a>(&'a self, name: &'a TeamName) -> impl Iterator<Item = &'a TeamName> {
        std::iter::successors(Some(name), |&name| self.teams.get(name)?.parent.as_ref())
    }

    /// The teams that list a user, by name.
    pub(super) fn of_user<'a>(&'a self, user: &'a UserName) -> impl Iterator<Item = &'a TeamName> {
        self.teams.values().filter(|team| team.members.contains(user)).map(|team| &team.name)
    }

    /// All teams, each before its parts, those of one parent by name.
    pub(super) fn walk(&self) -> Vec<Visit<'_>> {
        let mut parts: BTreeMap<&TeamName, BTreeSet<&TeamName>> = BTreeMap::new();
        let mut roots = BTreeSet::new();
        for team in self.teams.values() {
            match &team.parent {
                Some(parent) => {
                    parts.entry(parent).or_default().insert(&team.name);
                    if !self.teams.contains_key(parent) {
                        roots.insert(parent);
                    }
                }
                None => {
                    roots.insert(&team.name);
                }
            }
        }
        let mut visits: Vec<Visit<'_>> = Vec::new();
        let mut open: Vec<(&TeamName, Option<usize>)> = roots.into_iter().rev().map(|name| (name, None)).collect();
        while let Some((name, parent)) = open.pop() {
            let at = visits.len();
            let root = parent.map_or(at, |parent| visits[parent].root);
            visits.push(Visit { name, team: self.teams.get(name), parent, root });
            open.extend(parts.get(name).into_iter().flatten().rev().map(|&part| (part, Some(at))));
        }
        visits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TeamName {
        TeamName::new(text).expect("a name")
    }

    fn team(text: &str, parent: Option<&str>) -> Team {
        Team { name: name(text), parent: parent.map(name), members: BTreeSet::new(), pools: Vec::new() }
    }

    #[test]
    fn a_cycle_is_refused_and_named() {
        let mut teams = Teams::default();
        assert_eq!(teams.set(team("c", Some("b"))), Ok(true));
        assert_eq!(teams.set(team("b", Some("a"))), Ok(true));
        assert_eq!(teams.set(team("b", Some("a"))), Ok(false));
        let error = teams.set(team("a", Some("c"))).unwrap_err();
        assert_eq!(error, TeamError::Cycle { teams: vec![name("a"), name("c"), name("b")] });
        assert_eq!(error.to_string(), "team a would be a part of itself: a in c in b in a");
        assert_eq!(
            teams.set(team("a", Some("a"))).unwrap_err().to_string(),
            "team a would be a part of itself: a in a"
        );
        assert_eq!(teams.set(team("a", None)), Ok(true));
    }

    #[test]
    fn a_walk_meets_parents_first_and_those_that_nobody_described() {
        let mut teams = Teams::default();
        for (part, parent) in [("z", Some("y")), ("b", Some("a")), ("y", Some("a")), ("m", None)] {
            teams.set(team(part, parent)).expect("no cycle");
        }
        let walk: Vec<_> = teams.walk().iter().map(|visit| (visit.name.as_str(), visit.parent, visit.root)).collect();
        assert_eq!(walk, [("a", None, 0), ("b", Some(0), 0), ("y", Some(0), 0), ("z", Some(2), 0), ("m", None, 4)]);
    }
}
