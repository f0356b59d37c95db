//! What is allowed, and what is used of it: rows, caps, models and teams, worked out from scratch whenever it is asked for.
//!
//! The rules are those that stand at `rights::book::Book`, written down a second time by name.

use std::collections::{BTreeMap, BTreeSet};

use hai_core::model::*;

use super::books::{Books, Holder};

/// User, group and level whose use is counted together.
pub(crate) type Bucket = (UserName, GroupName, Priority);

/// What a run uses of rights.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bill {
    pub(crate) charge: Charge,
    pub(crate) by_model: BTreeMap<ModelName, Charge>,
}

/// What makes devices count alike.
pub(crate) type Kind = (ModelName, u64);

/// More than all that there can be in a story.
const BOUNDLESS: i128 = 1 << 80;

/// Nodes or devices.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    Nodes,
    Devices,
}

impl Unit {
    const ALL: [Unit; 2] = [Unit::Nodes, Unit::Devices];

    pub(crate) fn of(self, charge: Charge) -> i128 {
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

    /// Whether `charge` goes beside what is used; what is not asked for is not in the way.
    fn fits(self, limit: i128, charge: Charge, used: i128) -> bool {
        self.of(charge) == 0 || self.of(charge) + used <= limit
    }
}

pub(crate) fn plus(a: Charge, b: Charge) -> Charge {
    Charge { nodes: a.nodes + b.nodes, devices: a.devices + b.devices }
}

pub(crate) fn allows(allowance: Allowance, charge: Charge) -> bool {
    allowance.nodes.allows(charge.nodes) && allowance.devices.allows(charge.devices)
}

impl Bill {
    pub(crate) fn of(charge: Charge) -> Self {
        Bill { charge, by_model: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, other: &Bill) {
        self.charge = plus(self.charge, other.charge);
        for (model, charge) in &other.by_model {
            let sum = self.by_model.entry(model.clone()).or_default();
            *sum = plus(*sum, *charge);
        }
    }

    pub(crate) fn times(&self, count: u32) -> Self {
        (0..count).fold(Bill::default(), |mut sum, _| {
            sum.add(self);
            sum
        })
    }
}

// --- what things cost

impl Books {
    /// A part of a device costs the same part of its model's weight, rounded up.
    fn cost(&self, model: &ModelName, milli: u32) -> Charge {
        let weight = self.config.weights.get(model).map_or(1000, |weight| weight.as_milli());
        Charge { devices: Amount::from_milli((u64::from(milli) * weight).div_ceil(1000)), ..Charge::NOTHING }
    }

    /// What one worker uses, by the cards that it got.
    pub(crate) fn bill_of(&self, place: &WorkerPlacement) -> Bill {
        let node = &self.nodes[&place.node];
        let models = place.devices.iter().map(|id| &node.devices.iter().find(|it| it.id == *id).unwrap().model);
        let mut bill = Bill::default();
        if place.whole_node {
            bill.charge = Charge { nodes: Amount::whole(1), ..Charge::NOTHING };
            bill.by_model = models.map(|model| (model.clone(), bill.charge)).collect();
            return bill;
        }
        for model in models {
            let charge = self.cost(model, place.part.map_or(1000, |part| part.milli));
            bill.add(&Bill { charge, by_model: [(model.clone(), charge)].into() });
        }
        bill
    }

    /// What a worker would use if it had devices of one kind alone.
    pub(crate) fn bill_of_kind(&self, request: &WorkerRequest, (model, memory_mib): &Kind) -> Bill {
        let charge = match request.devices {
            Devices::WholeNode => Charge { nodes: Amount::whole(1), ..Charge::NOTHING },
            Devices::Count(count) => {
                Charge { devices: self.cost(model, 1000).devices.times(count.into()), ..Charge::NOTHING }
            }
            Devices::Share(_) | Devices::Memory(_) => self.cost(model, part_of(request.devices, *memory_mib).milli),
        };
        Bill { charge, by_model: [(model.clone(), charge)].into() }
    }

    /// What a holder uses with those of its workers that are alive.
    pub(crate) fn bill(&self, holder: Holder) -> Bill {
        let mut sum = Bill::default();
        match holder {
            Holder::Run(run) => {
                let run = &self.runs[&run];
                run.alive().for_each(|rank| sum.add(&run.bills[rank as usize]));
            }
            Holder::Promise(task) => self.promises[&task].bills.iter().for_each(|bill| sum.add(bill)),
        }
        sum
    }

    pub(crate) fn charge(&self, holder: Holder) -> Charge {
        self.bill(holder).charge
    }
}

/// What a part takes of a device with so much memory.
pub(crate) fn part_of(devices: Devices, memory_mib: u64) -> DevicePart {
    match devices {
        Devices::Share(milli) => DevicePart { milli, memory_mib: memory_mib * u64::from(milli) / 1000 },
        Devices::Memory(mib) => {
            let milli = (mib * 1000 / memory_mib).clamp(1, 1000);
            DevicePart { milli: u32::try_from(milli).unwrap(), memory_mib: mib }
        }
        Devices::WholeNode | Devices::Count(_) => unreachable!("it asks for no part"),
    }
}

// --- what rows give and bound

impl Books {
    /// All teams that list the user, and those that they are parts of.
    fn teams_of(&self, user: &UserName) -> BTreeSet<TeamName> {
        let direct = self.teams.values().filter(|team| team.members.contains(user));
        direct.flat_map(|team| self.team_line(&team.name)).collect()
    }

    /// The team, what it is a part of, and so on.
    pub(crate) fn team_line(&self, team: &TeamName) -> Vec<TeamName> {
        let mut line = vec![team.clone()];
        while let Some(parent) = self.teams.get(line.last().unwrap()).and_then(|team| team.parent.clone()) {
            line.push(parent);
        }
        line
    }

    /// Whether a team has one pool in a group, and is no part of itself.
    pub(crate) fn can_be_team(&self, team: &Team) -> bool {
        let groups: BTreeSet<&GroupName> = team.pools.iter().map(|pool| &pool.group).collect();
        let above = team.parent.iter().flat_map(|parent| self.team_line(parent));
        groups.len() == team.pools.len() && above.into_iter().all(|above| above != team.name)
    }

    fn matching<'a>(&'a self, bucket: &'a Bucket) -> impl Iterator<Item = (&'a RightKey, Allowance)> {
        let teams = self.teams_of(&bucket.0);
        self.rights.iter().filter_map(move |(key, (allowance, _))| {
            let matches = key.user.as_ref().is_none_or(|name| *name == bucket.0)
                && key.team.as_ref().is_none_or(|team| teams.contains(team))
                && key.group.as_ref().is_none_or(|name| *name == bucket.1)
                && key.priority.is_none_or(|only| only == bucket.2);
            matches.then_some((key, *allowance))
        })
    }

    /// What a bucket may hold, models apart.
    pub(crate) fn allowance_of(&self, bucket: &Bucket) -> Allowance {
        let rank = |key: &RightKey| {
            let whom = if key.user.is_some() { 2 } else { u8::from(key.team.is_some()) };
            (whom, key.group.is_some(), key.priority.is_some())
        };
        let of_all = || self.matching(bucket).filter(|(key, _)| key.model.is_none());
        let best = of_all().filter(|(key, _)| !key.cap).map(|(key, _)| rank(key)).max();
        let given = of_all().filter(|(key, _)| !key.cap && Some(rank(key)) == best);
        let given = given.map(|(_, allowance)| allowance).reduce(Allowance::max).unwrap_or(Allowance::NOTHING);
        of_all().filter(|(key, _)| key.cap).fold(given, |least, (_, cap)| least.min(cap))
    }

    /// What a bucket may hold of one model.
    fn bound_of(&self, bucket: &Bucket, model: &ModelName) -> Allowance {
        let rows = self.matching(bucket).filter(|(key, _)| key.model.as_ref() == Some(model));
        rows.fold(Allowance::UNLIMITED, |least, (_, bound)| least.min(bound))
    }

    pub(crate) fn bucket(&self, task: TaskId, level: Priority) -> Bucket {
        let spec = self.spec(task);
        (spec.user.clone(), spec.group.clone(), level)
    }

    /// Everybody who is charged to somebody, whether within right, and to which bucket.
    pub(crate) fn charged(&self) -> impl Iterator<Item = (Holder, bool, Bucket)> + '_ {
        let of_task = |task: TaskId| !self.spec(task).kind.is_background();
        let running = self.runs.iter().filter(move |(_, run)| of_task(run.task));
        let running = running.map(|(id, run)| (Holder::Run(*id), run.entitled, self.bucket(run.task, run.level)));
        let promised = self.promises.iter().filter(move |(task, _)| of_task(**task));
        let promised = promised
            .map(|(task, promise)| (Holder::Promise(*task), promise.entitled, self.bucket(*task, promise.level)));
        running.chain(promised)
    }

    /// Everybody within a right, by bucket.
    pub(crate) fn entitled(&self) -> impl Iterator<Item = (Holder, Bucket)> + '_ {
        self.charged().filter(|(_, entitled, _)| *entitled).map(|(holder, _, bucket)| (holder, bucket))
    }

    /// What is used of a bucket by those for whom `counts` is true.
    pub(crate) fn used(&self, bucket: &Bucket, counts: impl Fn(Holder) -> bool) -> Bill {
        let mut sum = Bill::default();
        for (holder, theirs) in self.entitled() {
            if theirs == *bucket && counts(holder) {
                sum.add(&self.bill(holder));
            }
        }
        sum
    }

    /// Whether so much would be within right beside all for whom `counts` is true.
    pub(crate) fn within(&self, bucket: &Bucket, bill: &Bill, counts: impl Fn(Holder) -> bool) -> bool {
        let used = self.used(bucket, &counts);
        let allowed = self.allowance_of(bucket);
        Unit::ALL.iter().all(|unit| {
            let by_model = bill.by_model.iter().all(|(model, charge)| {
                let used = used.by_model.get(model).map_or(0, |charge| unit.of(*charge));
                unit.fits(unit.limit(self.bound_of(bucket, model)), *charge, used)
            });
            let by_team = self.pools_of(bucket).iter().all(|team| {
                let used = self.pool_used(team, &bucket.1, *unit, &|holder, entitled| entitled && counts(holder));
                unit.fits(self.own(team, &bucket.1, *unit), bill.charge, used)
            });
            by_model && by_team && unit.fits(unit.limit(allowed), bill.charge, unit.of(used.charge))
        })
    }
}

// --- what teams hold together

/// Who counts, given whether within right.
type Counts<'a> = &'a dyn Fn(Holder, bool) -> bool;

impl Books {
    fn pool(&self, team: &TeamName, group: &GroupName) -> Option<&Pool> {
        self.teams.get(team)?.pools.iter().find(|pool| pool.group == *group)
    }

    /// The pools that bound what a bucket holds.
    fn pools_of(&self, bucket: &Bucket) -> Vec<TeamName> {
        self.teams_of(&bucket.0).into_iter().filter(|team| self.pool(team, &bucket.1).is_some()).collect()
    }

    /// All teams with a pool in a group, and the teams that those without one above them are parts of in the end, which
    /// lend to each other as if that team had a pool of all that is theirs.
    fn pooled(&self, group: &GroupName) -> BTreeSet<TeamName> {
        let pooled = self.teams.keys().filter(|team| self.pool(team, group).is_some());
        pooled.flat_map(|team| [team.clone(), self.team_line(team).pop().unwrap()]).collect()
    }

    fn above(&self, team: &TeamName, group: &GroupName) -> Option<TeamName> {
        let line = self.team_line(team);
        let next = line[1..].iter().find(|above| self.pool(above, group).is_some());
        next.or_else(|| line[1..].last()).cloned()
    }

    fn parts(&self, team: &TeamName, group: &GroupName) -> Vec<TeamName> {
        self.pooled(group).into_iter().filter(|part| self.above(part, group).as_ref() == Some(team)).collect()
    }

    /// Whether what a bucket holds is charged to a team.
    pub(crate) fn is_charged(&self, bucket: &Bucket, team: &TeamName) -> bool {
        self.pools_of(bucket).iter().any(|pool| self.team_line(pool).contains(team))
    }

    fn own(&self, team: &TeamName, group: &GroupName, unit: Unit) -> i128 {
        let Some(pool) = self.pool(team, group) else {
            return self.parts(team, group).iter().map(|part| self.own(part, group, unit)).sum();
        };
        let above = self.above(team, group).filter(|above| self.pool(above, group).is_some());
        above.map_or(BOUNDLESS, |above| self.own(&above, group, unit)).min(unit.limit(pool.own))
    }

    fn most(&self, team: &TeamName, group: &GroupName, unit: Unit) -> i128 {
        let borrow = match self.pool(team, group) {
            Some(pool) if self.above(team, group).is_some() => unit.limit(pool.borrow),
            _ => 0,
        };
        self.own(team, group, unit) + borrow
    }

    fn pool_used(&self, team: &TeamName, group: &GroupName, unit: Unit, counts: Counts<'_>) -> i128 {
        let here = self.charged().filter(|(holder, entitled, bucket)| {
            bucket.1 == *group && counts(*holder, *entitled) && self.is_charged(bucket, team)
        });
        here.map(|(holder, ..)| unit.of(self.charge(holder))).sum()
    }

    /// What a team uses, and what its parts keep for themselves.
    fn holds(&self, team: &TeamName, group: &GroupName, unit: Unit, counts: Counts<'_>, extra: &Extra<'_>) -> i128 {
        self.pool_used(team, group, unit, counts)
            + extra.on(self, team, unit)
            + self.reserve(team, group, unit, counts, extra)
    }

    fn reserve(&self, team: &TeamName, group: &GroupName, unit: Unit, counts: Counts<'_>, extra: &Extra<'_>) -> i128 {
        let of_part = |part: &TeamName| {
            let own = self.own(part, group, unit);
            let lends = self.pool(part, group).map_or(BOUNDLESS, |pool| unit.limit(pool.lend));
            let used = self.pool_used(part, group, unit, counts) + extra.on(self, part, unit);
            (own - own.min(lends) - used).max(self.reserve(part, group, unit, counts, extra))
        };
        self.parts(team, group).iter().map(of_part).sum()
    }

    /// A team is told to hold so much and to be allowed so much: either within right, or with all that is borrowed.
    pub(crate) fn judge_pool(&self, team: &TeamName, group: &GroupName, allowed: Allowance, used: Charge) {
        let nothing = (UserName::new("nobody").unwrap(), group.clone(), Priority::Low);
        let nothing = Extra(&nothing, Charge::NOTHING);
        let of_all = |of: &dyn Fn(Unit) -> i128| [of(Unit::Nodes), of(Unit::Devices)];
        let told = of_all(&|unit| unit.limit(allowed).min(BOUNDLESS));
        let own = of_all(&|unit| self.own(team, group, unit).min(BOUNDLESS));
        let most = of_all(&|unit| self.most(team, group, unit).min(BOUNDLESS));
        let committed = |unit| self.pool_used(team, group, unit, &|holder, within| within && !self.leaves(holder));
        let held = |unit| self.holds(team, group, unit, &|_, _| true, &nothing);
        let cap = |amount: i128| amount.min(u64::MAX.into());
        let used = of_all(&|unit| unit.of(used));
        let within = told == own && used == of_all(&|unit| cap(committed(unit)));
        let borrowed = told == most && used == of_all(&|unit| cap(held(unit)));
        assert!(within || borrowed, "{team} is told to use {used:?} of {told:?}; its own is {own:?}, at most {most:?}");
    }

    /// Whether so much may be borrowed beside all for whom `counts` is true.
    pub(crate) fn may_borrow(&self, bucket: &Bucket, charge: Charge, counts: impl Fn(Holder) -> bool) -> bool {
        let group = &bucket.1;
        let (nothing, extra) = (Extra(bucket, Charge::NOTHING), Extra(bucket, charge));
        let counts = |holder, _| counts(holder);
        self.pooled(group).iter().all(|team| {
            Unit::ALL.iter().all(|unit| {
                let before = self.holds(team, group, *unit, &counts, &nothing);
                let after = self.holds(team, group, *unit, &counts, &extra);
                after <= before || after <= self.most(team, group, *unit)
            })
        })
    }

    /// Whether a borrower holds too much: some team is beyond what it may hold, less so without it.
    pub(crate) fn borrows_too_much(&self, me: Holder, bucket: &Bucket, counts: impl Fn(Holder) -> bool) -> bool {
        let group = &bucket.1;
        let nothing = Extra(bucket, Charge::NOTHING);
        self.pooled(group).iter().any(|team| {
            Unit::ALL.iter().any(|unit| {
                let with = self.holds(team, group, *unit, &|holder, _| counts(holder), &nothing);
                let without = self.holds(team, group, *unit, &|holder, _| holder != me && counts(holder), &nothing);
                with > self.most(team, group, *unit) && without < with
            })
        })
    }
}

/// What one bucket would hold more.
struct Extra<'a>(&'a Bucket, Charge);

impl Extra<'_> {
    fn on(&self, books: &Books, team: &TeamName, unit: Unit) -> i128 {
        if books.is_charged(self.0, team) { unit.of(self.1) } else { 0 }
    }
}
