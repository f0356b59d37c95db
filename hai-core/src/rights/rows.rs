//! Rows of rights, and what they come to for one user in one group at one level.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use super::ids::{GroupIx, ModelIx, TeamIx, UserIx};
use crate::model::{Allowance, Priority, RightKey, RightRow, Time};

/// Why a row can not be a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RightError {
    /// It names a user and a team.
    #[error("a right is for a user or for the members of a team, not for both")]
    UserAndTeam,
    /// It names `AUTO`, which is no level.
    #[error("a right is for a fixed level, or for every one; AUTO takes what there is")]
    Auto,
}

/// Whom a row is for, the most specific first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whom {
    User(UserIx),
    Team(TeamIx),
    Everyone,
}

/// Where a row counts; `None` for everywhere.
pub(super) type Scope = (Whom, Option<GroupIx>, Option<Priority>);

/// What a row bounds that does not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bound {
    All,
    /// Two rows may bound a model in one scope, as a row and as a cap.
    Model {
        model: ModelIx,
        cap: bool,
    },
}

/// What one user may hold in one group at one level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) allowance: Allowance,
    /// Bounds on what is held of single models.
    pub(super) models: SmallVec<[(ModelIx, Allowance); 1]>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    rows: BTreeMap<RightKey, (Allowance, Option<Time>)>,
    expiries: BTreeSet<(Time, RightKey)>,
    /// Rows that give, by number.
    gives: BTreeMap<Scope, Allowance>,
    /// Rows that bound, by number.
    bounds: BTreeMap<(Scope, Bound), Allowance>,
    /// How many rows are for a model.
    of_models: usize,
}

impl Rows {
    /// Gives or changes a row; false if that changes nothing.
    pub(super) fn set(&mut self, row: RightRow, scope: Scope, bound: Option<Bound>) -> bool {
        let new = (row.allowance, row.expires);
        let old = self.rows.insert(row.key.clone(), new);
        if old == Some(new) {
            return false;
        }
        self.of_models += usize::from(old.is_none() && row.key.model.is_some());
        if let Some((_, Some(time))) = old {
            self.expiries.remove(&(time, row.key.clone()));
        }
        if let Some(time) = row.expires {
            self.expiries.insert((time, row.key));
        }
        match bound {
            None => self.gives.insert(scope, row.allowance),
            Some(bound) => self.bounds.insert((scope, bound), row.allowance),
        };
        true
    }

    /// Takes a row away; false if there was none.
    pub(super) fn remove(&mut self, key: &RightKey, scope: Scope, bound: Option<Bound>) -> bool {
        let Some((_, expires)) = self.rows.remove(key) else { return false };
        self.of_models -= usize::from(key.model.is_some());
        if let Some(time) = expires {
            self.expiries.remove(&(time, key.clone()));
        }
        match bound {
            None => self.gives.remove(&scope),
            Some(bound) => self.bounds.remove(&(scope, bound)),
        };
        true
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = RightRow> + '_ {
        self.rows.iter().map(|(key, &(allowance, expires))| RightRow { key: key.clone(), allowance, expires })
    }

    pub(super) fn next_expiry(&self) -> Option<Time> {
        self.expiries.first().map(|&(time, _)| time)
    }

    /// A row that is over by now.
    pub(super) fn expired(&self, now: Time) -> Option<RightKey> {
        self.expiries.first().filter(|(time, _)| *time <= now).map(|(_, key)| key.clone())
    }

    /// Whether any row is for a model.
    pub(super) fn bounds_models(&self) -> bool {
        self.of_models > 0
    }

    /// What the rows come to for a user who is in these teams.
    pub(super) fn resolve(&self, user: UserIx, teams: &[TeamIx], group: GroupIx, level: Priority) -> Resolved {
        let mut resolved = Resolved { allowance: Allowance::NOTHING, models: SmallVec::new() };
        if level == Priority::Auto {
            return resolved;
        }
        let places = [(Some(group), Some(level)), (Some(group), None), (None, Some(level)), (None, None)];
        // One look tells whether there is anything for somebody; for most there is not.
        let has_rows =
            |whom: Whom| self.gives.range((whom, None, None)..).next().is_some_and(|((of, ..), _)| *of == whom);
        let gives = |whom: Whom, (group, level)| self.gives.get(&(whom, group, level)).copied();
        let first_of =
            |whom: Whom| has_rows(whom).then(|| places.iter().find_map(|&place| gives(whom, place))).flatten();
        let teams_with_rows: SmallVec<[Whom; 4]> =
            teams.iter().map(|&team| Whom::Team(team)).filter(|&of| has_rows(of)).collect();
        let of_teams = |place| teams_with_rows.iter().filter_map(|&team| gives(team, place)).reduce(Allowance::max);
        resolved.allowance = first_of(Whom::User(user))
            .or_else(|| places.iter().find_map(|&place| of_teams(place)))
            .or_else(|| first_of(Whom::Everyone))
            .unwrap_or(Allowance::NOTHING);
        let whoms = [Whom::User(user), Whom::Everyone].into_iter().chain(teams.iter().map(|&team| Whom::Team(team)));
        for whom in whoms {
            let first = ((whom, None, None), Bound::All);
            if self.bounds.range(first..).next().is_some_and(|(((of, ..), _), _)| *of == whom) {
                for (group, level) in places {
                    self.bound(&mut resolved, (whom, group, level));
                }
            }
        }
        resolved
    }

    /// Lowers what is resolved so far by all rows of one scope that bound.
    fn bound(&self, resolved: &mut Resolved, scope: Scope) {
        for (&(_, bound), &limit) in self.bounds.range((scope, Bound::All)..).take_while(|((at, _), _)| *at == scope) {
            match bound {
                Bound::All => resolved.allowance = resolved.allowance.min(limit),
                Bound::Model { model, .. } => match resolved.models.binary_search_by_key(&model, |&(model, _)| model) {
                    Ok(at) => resolved.models[at].1 = resolved.models[at].1.min(limit),
                    Err(at) => resolved.models.insert(at, (model, limit)),
                },
            }
        }
    }
}
