//! The book of rights: rows, teams and use together.
//!
//! See [`Book`] for the primary entry point.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use super::Part;
use super::bill::{Bill, Held, Weights};
use super::ids::{BucketIx, GroupIx, Ix, ModelIx, Names, TeamIx, UserIx};
use super::pool::{Chain, Forest, PoolIx};
use super::rows::{Bound, Resolved, RightError, Rows, Scope, Whom};
use super::tally::Tally;
use super::teams::{TeamError, Teams};
use crate::model::{
    Allowance, Charge, GroupName, ModelName, Priority, RightKey, RightRow, Team, TeamName, Time, UserName,
};

mod looks;
mod over;
mod setup;
#[cfg(test)]
mod tests;

pub(crate) use looks::PoolLook;
pub use over::Over;

/// What is allowed, and what is used of it.
///
/// # Buckets
/// Use is counted by **bucket**: a user, a group of nodes, a fixed level. Whole-node work counts in nodes and all other
/// in devices; the two never mix, and what a run does not use never keeps it from anything. Work that uses neither
/// needs no right.
///
/// # What one bucket may hold
/// - Of the rows that give and match, the most specific one counts: one that names the user before one that names a team
///   before one that names neither; among those one that names the group, then one that names the level. A row that
///   leaves something out applies to each user, group and level on its own.
/// - A user is in the teams that list him and in all that those are parts of. Teams' rows that name a group or not and
///   a level or not alike are equally specific, however high the team stands: of those the greatest counts, nodes and
///   devices each on its own.
/// - All caps that match bound that, whomever they name; the least counts. Rows for a model bound what is held of that
///   model in the same way.
/// - No row that gives: nothing. From the time that it expires on, a row counts no more; tell the book with
///   [`Book::expire`].
///
/// # What teams may hold
/// A team's [`Pool`](crate::model::Pool) in a group bounds what its members and those of its parts hold there together,
/// at all levels. A team without a pool in a group bounds nothing there, and its parts' pools count as parts of the
/// next pool above. A user in several teams is charged to each of them, once. A team's own is at most that of the
/// pool above it.
///
/// Work **within right** needs, in each pool that it is charged to, that all work within right there stays within the
/// pool's own. Borrowed work is never in its way: it yields.
///
/// **Borrowed** work is what is beyond the bucket's rows, or beyond a team's own. It is not held against the rows, but
/// takes part in what teams lend each other. For each pool, nodes and devices each on its own:
/// - it *keeps* what it does not lend: `own - min(own, lend)`;
/// - it *uses* all that its members and its parts' members hold, borrowed or not, those who leave included;
/// - it *reserves* what its parts keep and do not use: for each part, the greater of what the part reserves itself and
///   of what it keeps beyond its use;
/// - it *holds* what it uses and reserves together.
///
/// Borrowed work may start if afterwards every pool which then holds more than before holds no more than its own and
/// what it may `borrow`; one without a pool above, no more than its own. Where a tree of teams has pools, but the team at
/// its root has none, the pools without one above them lend to each other: together they hold no more than what is their
/// own. So a team may use its own and what its siblings lend and do not use, up to its `borrow`, and further up what its
/// parent may borrow in the same way. A user without teams may borrow without a bound.
///
/// # Names and numbers
/// Users, teams, groups, models and buckets have dense numbers, which stay as they are while the book lives and say
/// nothing about order; what is listed is listed by name. Methods panic when given a number of another book.
///
/// # Complexity
/// [`Book::standing`], [`Book::may_borrow`], [`Book::add`] and [`Book::subtract`] do a little work for each pool that the
/// bucket is charged to and allocate nothing. What rows come to is kept by bucket until rows change. A change of teams
/// works out all pools anew.
#[derive(Clone, Debug, Default)]
pub struct Book {
    users: Names<UserName, UserIx>,
    groups: Names<GroupName, GroupIx>,
    team_names: Names<TeamName, TeamIx>,
    models: Names<ModelName, ModelIx>,
    weights: Weights,
    rows: Rows,
    teams: Teams,
    /// By user: all teams that he is in, directly or not.
    memberships: Vec<SmallVec<[TeamIx; 2]>>,
    forest: Forest,
    chain_of: BTreeMap<(UserIx, GroupIx), u32>,
    chains: Vec<Chain>,
    bucket_of: BTreeMap<(UserIx, GroupIx, Priority), BucketIx>,
    buckets: Vec<Entry>,
    /// Changes whenever every bucket's right could.
    version: u64,
    /// By user: changes whenever only the rights of his buckets could.
    user_versions: Vec<u64>,
    /// Some bucket may be of an older version.
    unsettled: bool,
    /// Buckets that hold more than they may.
    over: BTreeSet<BucketIx>,
}

/// Whether a bill is within right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Within the bucket's right and all its teams' own, now.
    Now,
    /// Within once those that are leaving have left.
    Later,
    /// Not while others of the bucket run.
    Used,
    /// Not while others of this team run.
    TeamUsed(TeamIx),
    /// Never: alone it would be too much.
    Never,
}

/// What is used of one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketUse {
    /// Within right, by runs that stay.
    pub staying: Charge,
    /// Within right, by runs that were told to leave.
    pub leaving: Charge,
    /// Within right, by runs that are promised a place.
    pub promised: Charge,
    /// Borrowed, by runs that stay or are promised a place.
    pub borrowed: Charge,
    /// Borrowed, by runs that were told to leave.
    pub returning: Charge,
}

/// What is used of one team's pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUse {
    /// Within right, by runs that stay or are promised a place.
    pub committed: Charge,
    /// Within right, by runs that were told to leave.
    pub leaving: Charge,
    /// Borrowed, by runs that stay or are promised a place.
    pub borrowed: Charge,
    /// Borrowed, by runs that were told to leave.
    pub returning: Charge,
}

/// What a team may hold in a group, and what it does. Of a team without a pool there it is what its parts' pools come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolView {
    /// Its own, which bounds what is within right.
    pub own: Allowance,
    /// What it may hold with all that it borrows.
    pub most: Allowance,
    /// Within right, by runs that stay or are promised a place.
    pub committed: Charge,
    /// All that it uses, and what its parts keep for themselves.
    pub held: Charge,
}

/// Who may have been waiting for what a bucket gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waiter {
    /// Tasks of this user in the bucket's group that were told [`Standing::Used`].
    User(UserIx),
    /// Tasks in the bucket's group that were told this team: by [`Standing::TeamUsed`], or by [`Book::may_borrow`].
    Team(TeamIx),
}

/// What is used of one model.
#[derive(Clone, Copy, Debug)]
struct ModelUse {
    model: ModelIx,
    committed: Tally,
    /// What of that is promised.
    promised: Tally,
    leaving: Tally,
}

/// One bucket.
#[derive(Clone, Debug)]
struct Entry {
    user: UserIx,
    group: GroupIx,
    level: Priority,
    chain: u32,
    /// Of which version of the rows `right` is.
    version: u64,
    right: Resolved,
    /// By part.
    used: [Tally; 5],
    /// Within right, by model.
    by_model: SmallVec<[ModelUse; 1]>,
}

/// How one sum stands to one limit; a greater one is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Now,
    Later,
    Used,
    Never,
}

impl Fit {
    /// Looks only at the units that the charge has any of.
    fn of(limit: Tally, charge: Tally, committed: Tally, leaving: Tally) -> Fit {
        let one = |limit: i128, charge: i128, committed: i128, leaving: i128| match charge {
            0 => Fit::Now,
            charge if charge > limit => Fit::Never,
            charge if charge + committed > limit => Fit::Used,
            charge if charge + committed + leaving > limit => Fit::Later,
            _ => Fit::Now,
        };
        let nodes = one(limit.nodes, charge.nodes, committed.nodes, leaving.nodes);
        nodes.max(one(limit.devices, charge.devices, committed.devices, leaving.devices))
    }
}

impl ModelUse {
    const fn none(model: ModelIx) -> Self {
        ModelUse { model, committed: Tally::ZERO, promised: Tally::ZERO, leaving: Tally::ZERO }
    }
}

impl Entry {
    fn sum(&self, part: Part) -> Tally {
        self.used[part as usize]
    }

    fn committed(&self) -> Tally {
        self.sum(Part::Staying) + self.sum(Part::Promised)
    }

    /// Whether more is committed within right than `right` allows, with the first model of which that is so.
    fn excess(&self, right: &Resolved) -> Option<(Option<ModelIx>, Tally)> {
        let beyond = self.committed().beyond(Tally::limit(right.allowance));
        if !beyond.is_zero() {
            return Some((None, beyond));
        }
        right.models.iter().find_map(|&(model, bound)| {
            let beyond = self.of_model(model).committed.beyond(Tally::limit(bound));
            (!beyond.is_zero()).then_some((Some(model), beyond))
        })
    }

    fn of_model(&self, model: ModelIx) -> ModelUse {
        let none = ModelUse::none(model);
        self.by_model.iter().find(|used| used.model == model).copied().unwrap_or(none)
    }

    fn change(&mut self, part: Part, charge: Tally, by_model: &[(ModelIx, Charge)], sign: i128) {
        let signed = |tally: Tally| Tally { nodes: tally.nodes * sign, devices: tally.devices * sign };
        let sum = &mut self.used[part as usize];
        *sum = (*sum + signed(charge)).max(Tally::ZERO);
        if matches!(part, Part::Borrowed | Part::Returning) {
            return;
        }
        for &(model, charge) in by_model {
            let at = self.by_model.iter().position(|used| used.model == model).unwrap_or_else(|| {
                self.by_model.push(ModelUse::none(model));
                self.by_model.len() - 1
            });
            let used = &mut self.by_model[at];
            let add = |sum: &mut Tally| *sum = (*sum + signed(Tally::of(charge))).max(Tally::ZERO);
            add(if part == Part::Leaving { &mut used.leaving } else { &mut used.committed });
            if part == Part::Promised {
                add(&mut used.promised);
            }
        }
    }
}

impl Book {
    /// Adds a run's bill to one part of a bucket's use.
    pub fn add(&mut self, bucket: BucketIx, part: Part, bill: &Bill) {
        self.change(bucket, part, bill, 1);
    }

    /// Takes a run's bill from the part of the bucket's use that it was added to. What is not there can not be taken.
    pub fn subtract(&mut self, bucket: BucketIx, part: Part, bill: &Bill) {
        self.change(bucket, part, bill, -1);
    }

    /// Moves a run's bill from one part of a bucket's use to another.
    pub fn move_part(&mut self, bucket: BucketIx, from: Part, to: Part, bill: &Bill) {
        if from == to {
            return;
        }
        self.subtract(bucket, from, bill);
        self.add(bucket, to, bill);
    }

    fn change(&mut self, bucket: BucketIx, part: Part, bill: &Bill, sign: i128) {
        self.refresh(bucket);
        let entry = &mut self.buckets[bucket.at()];
        let mut charge = Tally::of(bill.charge);
        if sign < 0 {
            charge = charge.min(entry.sum(part));
        }
        entry.change(part, charge, &bill.by_model, sign);
        let chain = &self.chains[entry.chain as usize];
        if sign < 0 {
            self.forest.subtract(chain, part, charge);
        } else {
            self.forest.add(chain, part, charge);
        }
        self.mark(bucket);
    }

    /// Whether a bill would be within right. A user's own right is looked at before his teams', the lowest team first.
    #[must_use]
    pub fn standing(&self, bucket: BucketIx, bill: &Bill) -> Standing {
        let entry = &self.buckets[bucket.at()];
        if entry.version == self.version_of(entry.user) {
            self.stand(entry, &entry.right, bill)
        } else {
            self.stand(entry, &self.resolve(entry), bill)
        }
    }

    fn stand(&self, entry: &Entry, right: &Resolved, bill: &Bill) -> Standing {
        let charge = Tally::of(bill.charge);
        let mut fit = Fit::of(Tally::limit(right.allowance), charge, entry.committed(), entry.sum(Part::Leaving));
        for &(model, bound) in &right.models {
            if let Some(&(_, charge)) = bill.by_model.iter().find(|(of, _)| *of == model) {
                let used = entry.of_model(model);
                fit = fit.max(Fit::of(Tally::limit(bound), Tally::of(charge), used.committed, used.leaving));
            }
        }
        let mut team_used = None;
        for link in &self.chains[entry.chain as usize] {
            let pool = self.forest.pool(link.pool);
            let Some((committed, leaving)) = pool.entitled() else { continue };
            match Fit::of(pool.own, charge, committed, leaving) {
                Fit::Used => team_used = team_used.or(Some(pool.team)),
                team => fit = fit.max(team),
            }
        }
        match (fit, team_used) {
            (Fit::Never, _) => Standing::Never,
            (Fit::Used, _) => Standing::Used,
            (Fit::Now | Fit::Later, Some(team)) => Standing::TeamUsed(team),
            (Fit::Later, None) => Standing::Later,
            (Fit::Now, None) => Standing::Now,
        }
    }

    /// Whether a promised bill may be used now: within right together with all that stays and leaves. Promises, of whomever,
    /// are not used yet.
    #[must_use]
    pub fn may_start(&self, bucket: BucketIx, bill: &Bill) -> bool {
        let entry = &self.buckets[bucket.at()];
        let (charge, nothing) = (Tally::of(bill.charge), Tally::ZERO);
        let right = if entry.version == self.version_of(entry.user) { &entry.right } else { &self.resolve(entry) };
        let leaving = entry.sum(Part::Leaving);
        let of_models = right.models.iter().all(|&(model, bound)| {
            let used = entry.of_model(model);
            bill.by_model.iter().all(|&(of, charge)| {
                let stays = used.committed - used.promised;
                of != model || Fit::of(Tally::limit(bound), Tally::of(charge), stays, used.leaving) == Fit::Now
            })
        });
        let of_teams = self.chains[entry.chain as usize].iter().all(|link| {
            let pool = self.forest.pool(link.pool);
            pool.in_use().is_none_or(|(stays, leaves)| Fit::of(pool.own, charge, stays, leaves) == Fit::Now)
        });
        Fit::of(Tally::limit(right.allowance), charge, entry.sum(Part::Staying), leaving.max(nothing)) == Fit::Now
            && of_models
            && of_teams
    }

    /// The group of a bucket.
    #[must_use]
    pub fn bucket_group(&self, bucket: BucketIx) -> GroupIx {
        self.buckets[bucket.at()].group
    }

    /// Whether a bill may run as borrowed work, now.
    ///
    /// # Errors
    /// The team whose limit is in the way: it may borrow no more, or its parts lend no more. What it waits for is
    /// [`Waiter::Team`] of that team.
    pub fn may_borrow(&self, bucket: BucketIx, bill: &Bill) -> Result<(), TeamIx> {
        let chain = &self.chains[self.buckets[bucket.at()].chain as usize];
        match self.forest.in_the_way(chain, Tally::of(bill.charge)) {
            Some(pool) => Err(self.forest.pool(pool).team),
            None => Ok(()),
        }
    }

    /// Who may profit when something of this bucket is given back, or told to leave. Only tasks in the bucket's group
    /// are meant.
    pub fn freed(&self, bucket: BucketIx) -> impl Iterator<Item = Waiter> + '_ {
        let entry = &self.buckets[bucket.at()];
        let chain = &self.chains[entry.chain as usize];
        let teams = chain.iter().map(|link| Waiter::Team(self.forest.pool(link.pool).team));
        std::iter::once(Waiter::User(entry.user)).chain(teams)
    }

    /// Whether what one bucket gives back may be of use to another: they are the same, or some team is charged for both.
    #[must_use]
    pub fn share_a_limit(&self, a: BucketIx, b: BucketIx) -> bool {
        let chain = |bucket: BucketIx| &self.chains[self.buckets[bucket.at()].chain as usize];
        a == b || chain(a).iter().any(|link| chain(b).iter().any(|other| other.pool == link.pool))
    }

    /// Whether what a bucket uses is charged to a team.
    #[must_use]
    pub fn is_charged_to(&self, bucket: BucketIx, team: TeamIx) -> bool {
        let chain = &self.chains[self.buckets[bucket.at()].chain as usize];
        chain.iter().any(|link| self.forest.pool(link.pool).team == team)
    }

    /// Whether what a bucket uses is charged to a team, and to none of its parts.
    #[must_use]
    pub fn is_charged_directly(&self, bucket: BucketIx, team: TeamIx) -> bool {
        let chain = &self.chains[self.buckets[bucket.at()].chain as usize];
        chain.iter().any(|link| link.lowest && self.forest.pool(link.pool).team == team)
    }

    /// What the rows come to for somebody, whether or not the book has heard of them; pools bound it besides.
    #[must_use]
    pub fn right_of(&self, user: &UserName, group: &GroupName, level: Priority) -> Allowance {
        // Numbers that no row has stand for names that no row has.
        let (nobody, nowhere) = (UserIx::of(u32::MAX), GroupIx::of(u32::MAX));
        let user = self.users.find(user);
        let teams = user.and_then(|user| self.memberships.get(user.at())).map_or(&[][..], |teams| teams);
        let group = self.groups.find(group).unwrap_or(nowhere);
        self.rows.resolve(user.unwrap_or(nobody), teams, group, level).allowance
    }

    /// What somebody holds within right: all runs that stay, leave or are promised a place.
    #[must_use]
    pub fn held_by(&self, user: &UserName, group: &GroupName, level: Priority) -> Charge {
        let bucket = self.users.find(user).zip(self.groups.find(group));
        let bucket = bucket.and_then(|(user, group)| self.bucket_of.get(&(user, group, level)));
        let used = bucket.map(|&bucket| self.used(bucket)).unwrap_or_default();
        used.staying + used.leaving + used.promised
    }

    /// What a bucket may hold within right, models apart.
    #[must_use]
    pub fn allowance(&self, bucket: BucketIx) -> Allowance {
        let entry = &self.buckets[bucket.at()];
        if entry.version == self.version_of(entry.user) { entry.right.allowance } else { self.resolve(entry).allowance }
    }

    /// Whether any row bounds what is held of a model.
    #[must_use]
    pub fn bounds_models(&self) -> bool {
        self.rows.bounds_models()
    }

    /// The bounds on what a bucket may hold of single models.
    #[must_use]
    pub fn model_bounds(&self, bucket: BucketIx) -> SmallVec<[(ModelIx, Allowance); 1]> {
        self.resolve(&self.buckets[bucket.at()]).models
    }

    /// What is used of a bucket. Sums that no amount can tell stand as the greatest amount.
    #[must_use]
    pub fn used(&self, bucket: BucketIx) -> BucketUse {
        let entry = &self.buckets[bucket.at()];
        let of = |part: Part| entry.sum(part).charge();
        BucketUse {
            staying: of(Part::Staying),
            leaving: of(Part::Leaving),
            promised: of(Part::Promised),
            borrowed: of(Part::Borrowed),
            returning: of(Part::Returning),
        }
    }

    /// What is used of a team's pool in a group; `None` if it has none there.
    #[must_use]
    pub fn pool_use(&self, team: TeamIx, group: GroupIx) -> Option<PoolUse> {
        let pool = self.forest.pool(self.forest.find(team, group)?);
        let of = |part: Part| pool.sum(part).charge();
        Some(PoolUse {
            committed: pool.committed().charge(),
            leaving: of(Part::Leaving),
            borrowed: of(Part::Borrowed),
            returning: of(Part::Returning),
        })
    }

    /// What a team that a bucket is charged to may hold, and does.
    #[must_use]
    pub fn pool_view(&self, bucket: BucketIx, team: TeamIx) -> Option<PoolView> {
        let chain = &self.chains[self.buckets[bucket.at()].chain as usize];
        let pools = chain.iter().map(|link| self.forest.pool(link.pool));
        pools.into_iter().find(|pool| pool.team == team).map(super::pool::PoolState::view)
    }

    /// All buckets that were ever asked for, by user, group and level.
    pub fn buckets(&self) -> impl Iterator<Item = BucketIx> + '_ {
        let mut buckets: Vec<_> = self.bucket_of.values().copied().collect();
        buckets.sort_unstable_by_key(|&bucket| self.bucket_name(bucket));
        buckets.into_iter()
    }

    /// Whose bucket it is, where, and at which level.
    #[must_use]
    pub fn bucket_name(&self, bucket: BucketIx) -> (&UserName, &GroupName, Priority) {
        let entry = &self.buckets[bucket.at()];
        (self.users.name(entry.user), self.groups.name(entry.group), entry.level)
    }

    /// A user's name.
    #[must_use]
    pub fn user_name(&self, user: UserIx) -> &UserName {
        self.users.name(user)
    }

    /// A group's name.
    #[must_use]
    pub fn group_name(&self, group: GroupIx) -> &GroupName {
        self.groups.name(group)
    }

    /// A team's name.
    #[must_use]
    pub fn team_name(&self, team: TeamIx) -> &TeamName {
        self.team_names.name(team)
    }

    /// A model's name.
    #[must_use]
    pub fn model_name(&self, model: ModelIx) -> &ModelName {
        self.models.name(model)
    }

    /// Works out what a run that holds these things uses.
    pub fn bill_of<'a>(&self, held: impl IntoIterator<Item = Held<'a>>) -> Bill {
        let mut bill = Bill::default();
        for held in held {
            bill.add(held, &self.weights);
        }
        bill
    }
}
