//! The rules of the book once more, worked out from scratch and by name, and random sequences that compare the two.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::book::{Book, BucketUse, Over, Standing};
use super::{Bill, BucketIx, Held, ModelIx, Part};
use crate::model::{
    Allowance, Amount, Charge, GroupName, Limit, ModelName, Pool, Priority, RightKey, RightRow, Team, TeamName, Time,
    UserName,
};

const USERS: usize = 5;
const TEAMS: usize = 6;
const GROUPS: usize = 2;
const MODELS: usize = 2;
const LEVELS: [Priority; 2] = [Priority::High, Priority::Low];
const PARTS: [Part; 5] = [Part::Staying, Part::Leaving, Part::Promised, Part::Borrowed, Part::Returning];
/// So many times as many sequences as proptest would try.
const TIMES: u32 = 40;
/// More than all that is used in a test.
const BOUNDLESS: i128 = 1 << 90;

fn user(at: usize) -> UserName {
    UserName::new(format!("u{at}")).expect("a name")
}
fn team(at: usize) -> TeamName {
    TeamName::new(format!("t{at}")).expect("a name")
}
fn group(at: usize) -> GroupName {
    GroupName::new(format!("g{at}")).expect("a name")
}
fn model(at: usize) -> ModelName {
    ModelName::new(format!("m{at}")).expect("a name")
}

/// What a run uses, by name.
#[derive(Clone, Debug)]
struct NaiveRun {
    user: UserName,
    group: GroupName,
    level: Priority,
    part: Part,
    charge: Charge,
    by_model: BTreeMap<ModelName, Charge>,
}

#[derive(Clone, Debug, Default)]
struct Naive {
    rows: BTreeMap<RightKey, RightRow>,
    teams: BTreeMap<TeamName, Team>,
    runs: BTreeMap<u32, NaiveRun>,
}

/// Nodes or devices.
#[derive(Clone, Copy, Debug)]
enum Unit {
    Nodes,
    Devices,
}

impl Unit {
    const ALL: [Unit; 2] = [Unit::Nodes, Unit::Devices];

    fn of(self, charge: Charge) -> i128 {
        match self {
            Unit::Nodes => charge.nodes.as_milli().into(),
            Unit::Devices => charge.devices.as_milli().into(),
        }
    }

    fn limit(self, allowance: Allowance) -> i128 {
        let limit = match self {
            Unit::Nodes => allowance.nodes,
            Unit::Devices => allowance.devices,
        };
        match limit {
            Limit::AtMost(most) => most.as_milli().into(),
            Limit::Unlimited => BOUNDLESS,
        }
    }
}

impl Naive {
    fn parent(&self, team: &TeamName) -> Option<TeamName> {
        self.teams.get(team)?.parent.clone()
    }

    fn line(&self, team: &TeamName) -> Vec<TeamName> {
        let mut line = vec![team.clone()];
        while let Some(parent) = self.parent(line.last().expect("it has a first")) {
            line.push(parent);
        }
        line
    }

    fn teams_of(&self, user: &UserName) -> BTreeSet<TeamName> {
        let direct = self.teams.values().filter(|team| team.members.contains(user));
        direct.flat_map(|team| self.line(&team.name)).collect()
    }

    fn right(&self, user: &UserName, group: &GroupName, level: Priority, model: Option<&ModelName>) -> Allowance {
        let teams = self.teams_of(user);
        let matching = self.rows.values().filter(|row| {
            let key = &row.key;
            key.user.as_ref().is_none_or(|of| of == user)
                && key.team.as_ref().is_none_or(|of| teams.contains(of))
                && key.group.as_ref().is_none_or(|of| of == group)
                && key.priority.is_none_or(|of| of == level)
        });
        let bounds = |row: &&RightRow| row.key.model.as_ref() == model && (row.key.cap || model.is_some());
        let bound = matching.clone().filter(bounds).map(|row| row.allowance).fold(Allowance::UNLIMITED, Allowance::min);
        if model.is_some() {
            return bound;
        }
        let rank =
            |key: &RightKey| (key.user.is_some(), key.team.is_some(), key.group.is_some(), key.priority.is_some());
        let gives: Vec<_> = matching.filter(|row| row.key.model.is_none() && !row.key.cap).collect();
        let best = gives.iter().map(|row| rank(&row.key)).max();
        let best = gives.iter().filter(|row| Some(rank(&row.key)) == best).map(|row| row.allowance);
        best.fold(Allowance::NOTHING, Allowance::max).min(bound)
    }

    fn pool(&self, team: &TeamName, group: &GroupName) -> Option<&Pool> {
        self.teams.get(team)?.pools.iter().find(|pool| pool.group == *group)
    }

    /// The pools that a user is charged to, without hubs.
    fn pools_of(&self, user: &UserName, group: &GroupName) -> BTreeSet<TeamName> {
        self.teams_of(user).into_iter().filter(|team| self.pool(team, group).is_some()).collect()
    }

    fn root(&self, team: &TeamName) -> TeamName {
        self.line(team).pop().expect("it has a last")
    }

    /// The pool above a pool; a root without a pool counts as one.
    fn above(&self, team: &TeamName, group: &GroupName) -> Option<TeamName> {
        let line = self.line(team);
        let above = line[1..].iter().find(|above| self.pool(above, group).is_some());
        above.or(if line.len() > 1 { line.last() } else { None }).cloned()
    }

    fn pooled(&self, group: &GroupName) -> BTreeSet<TeamName> {
        let pooled: BTreeSet<_> = self.teams.keys().filter(|team| self.pool(team, group).is_some()).cloned().collect();
        let roots: Vec<_> = pooled.iter().map(|team| self.root(team)).collect();
        pooled.into_iter().chain(roots).collect()
    }

    fn parts(&self, team: &TeamName, group: &GroupName) -> Vec<TeamName> {
        self.pooled(group).into_iter().filter(|part| self.above(part, group).as_ref() == Some(team)).collect()
    }

    fn is_charged(&self, run: &NaiveRun, team: &TeamName, group: &GroupName) -> bool {
        let pools = self.pools_of(&run.user, group);
        let below = |pool: &TeamName| self.line(pool).contains(team);
        run.group == *group && pools.iter().any(below)
    }

    fn uses(&self, team: &TeamName, group: &GroupName, unit: Unit, parts: &[Part]) -> i128 {
        let runs = self.runs.values().filter(|run| parts.contains(&run.part) && self.is_charged(run, team, group));
        runs.map(|run| unit.of(run.charge)).sum()
    }

    fn own(&self, team: &TeamName, group: &GroupName, unit: Unit) -> i128 {
        match self.pool(team, group) {
            None => self.parts(team, group).iter().map(|part| self.own(part, group, unit)).sum(),
            Some(pool) => {
                let own = unit.limit(pool.own);
                let above = self.above(team, group).filter(|above| self.pool(above, group).is_some());
                above.map_or(own, |above| own.min(self.own(&above, group, unit)))
            }
        }
    }

    fn most(&self, team: &TeamName, group: &GroupName, unit: Unit) -> i128 {
        let own = self.own(team, group, unit);
        match self.pool(team, group) {
            Some(pool) if self.above(team, group).is_some() => own + unit.limit(pool.borrow),
            _ => own,
        }
    }

    fn reserves(&self, team: &TeamName, group: &GroupName, unit: Unit, parts: &[Part]) -> i128 {
        let reserved = self.parts(team, group).into_iter().map(|part| {
            let own = self.own(&part, group, unit);
            let lend = self.pool(&part, group).map_or(BOUNDLESS, |pool| unit.limit(pool.lend));
            let kept = own - own.min(lend);
            self.reserves(&part, group, unit, parts).max(kept - self.uses(&part, group, unit, parts))
        });
        reserved.sum()
    }

    fn holds(&self, team: &TeamName, group: &GroupName, unit: Unit, parts: &[Part]) -> i128 {
        self.uses(team, group, unit, parts) + self.reserves(team, group, unit, parts)
    }

    fn in_bucket(&self, like: &NaiveRun, parts: &[Part]) -> Vec<&NaiveRun> {
        let same = |run: &&NaiveRun| (&run.user, &run.group, run.level) == (&like.user, &like.group, like.level);
        self.runs.values().filter(same).filter(|run| parts.contains(&run.part)).collect()
    }

    /// Whether a new run would be within all limits beside work in these parts: the user's, and each team's.
    fn within(&self, new: &NaiveRun, parts: &[Part]) -> (bool, bool) {
        let fits = |unit: Unit, charge: Charge, used: i128, limit: i128| {
            unit.of(charge) == 0 || unit.of(charge) + used <= limit
        };
        let beside = self.in_bucket(new, parts);
        let right = self.right(&new.user, &new.group, new.level, None);
        let by_right = Unit::ALL.iter().all(|&unit| {
            let used = beside.iter().map(|run| unit.of(run.charge)).sum();
            let by_model = new.by_model.iter().all(|(model, &charge)| {
                let of_model = |run: &&NaiveRun| run.by_model.get(model).map_or(0, |&charge| unit.of(charge));
                let bound = self.right(&new.user, &new.group, new.level, Some(model));
                fits(unit, charge, beside.iter().map(of_model).sum(), unit.limit(bound))
            });
            by_model && fits(unit, new.charge, used, unit.limit(right))
        });
        let by_teams = self.pools_of(&new.user, &new.group).iter().all(|team| {
            Unit::ALL.iter().all(|&unit| {
                let used = self.uses(team, &new.group, unit, parts);
                fits(unit, new.charge, used, self.own(team, &new.group, unit))
            })
        });
        (by_right, by_teams)
    }

    fn may_borrow(&self, new: &NaiveRun) -> BTreeSet<TeamName> {
        let mut after = self.clone();
        after.runs.insert(u32::MAX, NaiveRun { part: Part::Borrowed, ..new.clone() });
        let refuses = |team: &TeamName| {
            Unit::ALL.iter().any(|&unit| {
                let held = after.holds(team, &new.group, unit, &PARTS);
                held > self.holds(team, &new.group, unit, &PARTS) && held > self.most(team, &new.group, unit)
            })
        };
        self.pooled(&new.group).into_iter().filter(refuses).collect()
    }
}

const LIMITS: [Part; 2] = [Part::Staying, Part::Promised];
const ENTITLED: [Part; 3] = [Part::Staying, Part::Promised, Part::Leaving];
const COMMITTED: [Part; 3] = [Part::Staying, Part::Promised, Part::Borrowed];

/// Something that happens to the books.
#[derive(Clone, Debug)]
enum Op {
    Row(RightRow),
    RemoveRow(prop::sample::Index),
    Team(Team),
    RemoveTeam(usize),
    Expire(i64),
    /// Starts within right or borrowed if that may be, else not at all; forced, whatever the rules say.
    Start {
        user: usize,
        group: usize,
        level: usize,
        held: Vec<(usize, u32, bool)>,
        promised: bool,
        forced: Option<usize>,
    },
    Leave(prop::sample::Index),
    End(prop::sample::Index),
    Cure,
}

fn limit() -> impl Strategy<Value = Limit> {
    prop_oneof![
        8 => (0..8_u32).prop_map(Limit::at_most),
        1 => Just(Limit::Unlimited),
        1 => Just(Limit::AtMost(Amount::MAX)),
    ]
}

fn allowance() -> impl Strategy<Value = Allowance> {
    (limit(), limit()).prop_map(|(nodes, devices)| Allowance { nodes, devices })
}

fn some<T: std::fmt::Debug>(range: std::ops::Range<usize>, name: fn(usize) -> T) -> impl Strategy<Value = Option<T>> {
    prop::option::of(range).prop_map(move |at| at.map(name))
}

fn row() -> impl Strategy<Value = RightRow> {
    let whom = prop_oneof![
        some(0..USERS, user).prop_map(|user| (user, None)),
        some(0..TEAMS, team).prop_map(|team| (None, team)),
    ];
    let level = prop::option::of(0..LEVELS.len()).prop_map(|at| at.map(|at| LEVELS[at]));
    let bounds = prop_oneof![4 => Just((false, false)), 1 => Just((true, false)), 1 => any::<(bool, bool)>()];
    (whom, some(0..GROUPS, group), level, 0..MODELS, bounds, allowance(), prop::option::of(0..20_i64)).prop_map(
        |((user, team), group, priority, of, (cap, by_model), allowance, expires)| RightRow {
            key: RightKey { user, team, group, priority, model: by_model.then(|| model(of)), cap },
            allowance,
            expires: expires.map(Time::from_ms),
        },
    )
}

fn any_team() -> impl Strategy<Value = Team> {
    let pools = prop::collection::vec(prop::option::weighted(0.7, (allowance(), allowance(), allowance())), GROUPS);
    let members = prop::collection::btree_set(0..USERS, 0..3);
    (0..TEAMS, some(0..TEAMS, team), members, pools).prop_map(|(name, parent, members, pools)| Team {
        name: team(name),
        parent,
        members: members.into_iter().map(user).collect(),
        pools: (pools.into_iter().enumerate())
            .filter_map(|(at, pool)| pool.map(|(own, borrow, lend)| Pool { group: group(at), own, borrow, lend }))
            .collect(),
    })
}

fn op() -> impl Strategy<Value = Op> {
    let held = prop::collection::vec(
        (0..MODELS, prop_oneof![9 => 0..3000_u32, 1 => Just(u32::MAX)], prop::bool::weighted(0.3)),
        0..3,
    );
    let start =
        (0..USERS, 0..GROUPS, 0..LEVELS.len(), held, any::<bool>(), prop::option::weighted(0.1, 0..PARTS.len()));
    prop_oneof![
        3 => row().prop_map(Op::Row),
        1 => any::<prop::sample::Index>().prop_map(Op::RemoveRow),
        2 => any_team().prop_map(Op::Team),
        1 => (0..TEAMS).prop_map(Op::RemoveTeam),
        1 => (0..20_i64).prop_map(Op::Expire),
        10 => start.prop_map(|(user, group, level, held, promised, forced)| {
            Op::Start { user, group, level, held, promised, forced }
        }),
        2 => any::<prop::sample::Index>().prop_map(Op::Leave),
        3 => any::<prop::sample::Index>().prop_map(Op::End),
        1 => Just(Op::Cure),
    ]
}

/// Both books, and the bills that were written.
#[derive(Default)]
struct Pair {
    naive: Naive,
    book: Book,
    bills: BTreeMap<u32, (BucketIx, Bill)>,
    next: u32,
}

impl Pair {
    fn row(&mut self, row: RightRow) {
        self.book.set(row.clone()).expect("rows are well made");
        self.naive.rows.insert(row.key.clone(), row);
    }

    fn team(&mut self, team: Team) {
        let cycle = team.parent.as_ref().is_some_and(|parent| self.naive.line(parent).contains(&team.name));
        assert_eq!(self.book.set_team(team.clone()).is_err(), cycle);
        if !cycle {
            self.naive.teams.insert(team.name.clone(), team);
        }
    }

    fn bill(&mut self, held: &[(usize, u32, bool)]) -> (Bill, Charge, BTreeMap<ModelName, Charge>) {
        let models: Vec<ModelIx> = (0..MODELS).map(|at| self.book.model(&model(at))).collect();
        let things = held.iter().map(|&(at, milli, whole)| match whole {
            true => Held::Node { models: &models[at..=at] },
            false => Held::Device { model: models[at], milli },
        });
        let bill = self.book.bill_of(things);
        let mut by_model = BTreeMap::new();
        let mut sum = Charge::NOTHING;
        for &(at, milli, whole) in held {
            let charge = match whole {
                true => Charge { nodes: Amount::whole(1), devices: Amount::ZERO },
                false => Charge { nodes: Amount::ZERO, devices: Amount::from_milli(milli.into()) },
            };
            *by_model.entry(model(at)).or_insert(Charge::NOTHING) += charge;
            sum += charge;
        }
        (bill, sum, by_model)
    }

    fn start(&mut self, run: NaiveRun, bill: Bill, forced: Option<Part>) {
        let bucket = self.book.bucket(&run.user, &run.group, run.level);
        let standing = self.book.standing(bucket, &bill);
        self.check_standing(&run, standing);
        let refusals = self.naive.may_borrow(&run);
        let may_borrow = self.book.may_borrow(bucket, &bill);
        match may_borrow {
            Ok(()) => assert!(refusals.is_empty(), "{refusals:?}"),
            Err(team) => assert!(refusals.contains(self.book.team_name(team)), "{refusals:?}"),
        }
        let part = match (forced, standing) {
            (Some(part), _) => part,
            (None, Standing::Now) => run.part,
            (None, Standing::Later) => Part::Promised,
            (None, _) if may_borrow.is_ok() => Part::Borrowed,
            (None, _) => return,
        };
        self.book.add(bucket, part, &bill);
        self.naive.runs.insert(self.next, NaiveRun { part, ..run });
        self.bills.insert(self.next, (bucket, bill));
        self.next += 1;
    }

    fn check_standing(&self, run: &NaiveRun, standing: Standing) {
        let alone = self.naive.within(run, &[]);
        let committed = self.naive.within(run, &LIMITS);
        let all = self.naive.within(run, &ENTITLED);
        match standing {
            Standing::Never => assert!(!alone.0 || !alone.1),
            Standing::Used => assert!(alone == (true, true) && !committed.0),
            Standing::TeamUsed(team) => {
                assert!(alone == (true, true) && committed.0 && !committed.1);
                assert!(self.naive.pools_of(&run.user, &run.group).contains(self.book.team_name(team)));
            }
            Standing::Later => assert!(committed == (true, true) && all != (true, true)),
            Standing::Now => assert!(all == (true, true)),
        }
    }

    fn move_to(&mut self, id: u32, part: Part) {
        let run = self.naive.runs.get_mut(&id).expect("it is there");
        let (bucket, bill) = &self.bills[&id];
        self.book.move_part(*bucket, run.part, part, bill);
        run.part = part;
    }

    fn leave(&mut self, id: u32) {
        match self.naive.runs[&id].part {
            Part::Staying | Part::Promised => self.move_to(id, Part::Leaving),
            Part::Borrowed => self.move_to(id, Part::Returning),
            Part::Leaving | Part::Returning => {}
        }
    }

    fn end(&mut self, id: u32) {
        let run = self.naive.runs.remove(&id).expect("it is there");
        let (bucket, bill) = self.bills.remove(&id).expect("every run has a bill");
        self.book.subtract(bucket, run.part, &bill);
    }

    /// Takes back what is too much, one run at a time; each must be found.
    fn cure(&mut self) {
        while let Some(over) = self.book.over().first().cloned() {
            let matches =
                |by: Charge, charge: Charge| Unit::ALL.iter().any(|unit| unit.of(by) > 0 && unit.of(charge) > 0);
            let (id, _) = (self.naive.runs.iter())
                .rev()
                .find(|(id, run)| match &over {
                    Over::Bucket { bucket, model, by } => {
                        let charge = match model {
                            None => run.charge,
                            Some(model) => {
                                (run.by_model.get(self.book.model_name(*model))).copied().unwrap_or_default()
                            }
                        };
                        self.bills[id].0 == *bucket && LIMITS.contains(&run.part) && matches(*by, charge)
                    }
                    Over::Own { team, group, by } => {
                        let charged = self.book.is_charged_to(self.bills[id].0, *team);
                        let here = self.book.find_group(&run.group) == Some(*group);
                        charged && here && LIMITS.contains(&run.part) && matches(*by, run.charge)
                    }
                    Over::Borrowed { team, group, by } => {
                        let charged = self.book.is_charged_directly(self.bills[id].0, *team);
                        let here = self.book.find_group(&run.group) == Some(*group);
                        charged && here && run.part == Part::Borrowed && matches(*by, run.charge)
                    }
                })
                .unwrap_or_else(|| panic!("nobody can cure {over:?}"));
            let id = *id;
            if let Over::Borrowed { .. } = over {
                self.check_helps(id);
            }
            self.leave(id);
        }
        self.check_cured();
    }

    fn is_in_one_team(&self, run: &NaiveRun) -> bool {
        self.naive.teams.values().filter(|team| team.members.contains(&run.user)).count() == 1
    }

    /// What a run gives back is held too much somewhere.
    fn check_helps(&self, id: u32) {
        let run = &self.naive.runs[&id];
        let mut after = self.naive.clone();
        after.runs.remove(&id);
        let helps = |team: &TeamName, unit: Unit| {
            let held = self.naive.holds(team, &run.group, unit, &COMMITTED);
            held > self.naive.most(team, &run.group, unit) && after.holds(team, &run.group, unit, &COMMITTED) < held
        };
        let mut pooled = self.naive.pooled(&run.group).into_iter();
        // In several teams at once, what is given back can free less than what is then reserved.
        assert!(!self.is_in_one_team(run) || pooled.any(|team| Unit::ALL.iter().any(|&unit| helps(&team, unit))));
    }

    /// Nothing within right is beyond a limit, and nothing borrowed that giving back would help.
    fn check_cured(&self) {
        for run in self.naive.runs.values() {
            let beside = self.naive.in_bucket(run, &LIMITS);
            for unit in Unit::ALL {
                let sum: i128 = beside.iter().map(|run| unit.of(run.charge)).sum();
                assert!(sum <= unit.limit(self.naive.right(&run.user, &run.group, run.level, None)));
                for at in 0..MODELS {
                    let name = model(at);
                    let used = beside.iter().filter_map(|run| run.by_model.get(&name)).map(|&charge| unit.of(charge));
                    let bound = self.naive.right(&run.user, &run.group, run.level, Some(&name));
                    assert!(used.sum::<i128>() <= unit.limit(bound));
                }
            }
        }
        for group in (0..GROUPS).map(group) {
            for team in self.naive.pooled(&group) {
                for unit in Unit::ALL {
                    let own = self.naive.own(&team, &group, unit);
                    let hub = self.naive.pool(&team, &group).is_none();
                    assert!(hub || self.naive.uses(&team, &group, unit, &LIMITS) <= own, "{team} in {group}");
                    self.check_borrowed(&team, &group, unit);
                }
            }
        }
    }

    fn check_borrowed(&self, team: &TeamName, group: &GroupName, unit: Unit) {
        let held = self.naive.holds(team, group, unit, &COMMITTED);
        if held <= self.naive.most(team, group, unit) {
            return;
        }
        for (id, run) in &self.naive.runs {
            if run.part == Part::Borrowed && self.is_in_one_team(run) && self.naive.is_charged(run, team, group) {
                let mut after = self.naive.clone();
                after.runs.remove(id);
                assert!(after.holds(team, group, unit, &COMMITTED) >= held, "{team} in {group}: {run:?} would help");
            }
        }
    }

    fn check_sums(&self) {
        for bucket in self.book.buckets() {
            let (user, group, level) = self.book.bucket_name(bucket);
            let like = NaiveRun {
                user: user.clone(),
                group: group.clone(),
                level,
                part: Part::Staying,
                charge: Charge::NOTHING,
                by_model: BTreeMap::new(),
            };
            let sum = |part: Part| self.naive.in_bucket(&like, &[part]).iter().map(|run| run.charge).sum();
            let used = BucketUse {
                staying: sum(Part::Staying),
                leaving: sum(Part::Leaving),
                promised: sum(Part::Promised),
                borrowed: sum(Part::Borrowed),
                returning: sum(Part::Returning),
            };
            assert_eq!(self.book.used(bucket), used);
            assert_eq!(self.book.allowance(bucket), self.naive.right(user, group, level, None));
        }
    }

    fn apply(&mut self, op: Op) {
        let pick = |runs: &BTreeMap<u32, NaiveRun>, at: prop::sample::Index| {
            (!runs.is_empty()).then(|| *runs.keys().nth(at.index(runs.len())).expect("an index within"))
        };
        match op {
            Op::Row(row) => self.row(row),
            Op::RemoveRow(at) => {
                let keys: Vec<_> = self.naive.rows.keys().cloned().collect();
                if !keys.is_empty() {
                    assert!(self.book.remove(at.get(&keys)));
                    self.naive.rows.remove(at.get(&keys));
                }
            }
            Op::Team(team) => self.team(team),
            Op::RemoveTeam(at) => {
                assert_eq!(self.book.remove_team(&team(at)), self.naive.teams.remove(&team(at)).is_some());
            }
            Op::Expire(now) => {
                let now = Time::from_ms(now);
                let before = self.naive.rows.len();
                self.naive.rows.retain(|_, row| row.expires.is_none_or(|expires| expires > now));
                assert_eq!(self.book.expire(now), self.naive.rows.len() < before);
                assert_eq!(self.book.next_expiry(), self.naive.rows.values().filter_map(|row| row.expires).min());
            }
            Op::Start { user: of, group: at, level, held, promised, forced } => {
                let (bill, charge, by_model) = self.bill(&held);
                let part = if promised { Part::Promised } else { Part::Staying };
                let run = NaiveRun { user: user(of), group: group(at), level: LEVELS[level], part, charge, by_model };
                self.start(run, bill, forced.map(|at| PARTS[at]));
            }
            Op::Leave(at) => pick(&self.naive.runs, at).into_iter().for_each(|id| self.leave(id)),
            Op::End(at) => pick(&self.naive.runs, at).into_iter().for_each(|id| self.end(id)),
            Op::Cure => self.cure(),
        }
    }
}

/// The same sequences each time, unless `PROPTEST_RNG_SEED` says which; `PROPTEST_CASES` sets how many.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    let rng_seed = match config.rng_seed {
        RngSeed::Random => RngSeed::Fixed(20_261_124),
        fixed => fixed,
    };
    ProptestConfig { rng_seed, cases: config.cases.saturating_mul(TIMES), failure_persistence: None, ..config }
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn the_book_says_what_the_rules_say(ops in prop::collection::vec(op(), 1..60)) {
        let mut pair = Pair::default();
        for op in ops {
            pair.apply(op);
        }
        pair.check_sums();
        pair.cure();
        for id in pair.bills.keys().copied().collect::<Vec<_>>() {
            pair.end(id);
        }
        pair.check_sums();
        prop_assert!(pair.book.over().is_empty());
    }

    /// Once rights and teams stand, no start takes them beyond what they allow.
    #[test]
    fn what_the_book_admits_is_never_too_much(
        rows in prop::collection::vec(row(), 0..8),
        teams in prop::collection::vec(any_team(), 0..8),
        starts in prop::collection::vec(op(), 1..40),
    ) {
        let mut pair = Pair::default();
        rows.into_iter().for_each(|row| pair.row(row));
        teams.into_iter().for_each(|team| pair.team(team));
        for op in starts {
            match op {
                Op::Start { user, group, level, held, promised, forced: _ } => {
                    pair.apply(Op::Start { user, group, level, held, promised, forced: None });
                }
                Op::Leave(_) | Op::End(_) => pair.apply(op),
                _ => continue,
            }
            let too_much = pair.book.over();
            // Work within right may start where others borrow; then those have to give back.
            prop_assert!(too_much.iter().all(|over| matches!(over, Over::Borrowed { .. })), "{:?}", too_much);
        }
    }
}
