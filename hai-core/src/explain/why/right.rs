//! The right that a task needs: which row gives it, how much it is, and who uses it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::who::{Named, Other, count, list};
use crate::engine::{DealLook, Engine, RunLook};
use crate::model::{
    Allowance, Amount, Charge, GroupName, Limit, ModelName, Priority, RightRow, TaskId, TeamName, UserName,
};
use crate::rights::book::Standing;
use crate::rights::{Bill, BucketIx, Part};

/// What a task's owner may hold, what of that is used, and by whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RightLink {
    /// The owner.
    pub user: UserName,
    /// The group asked for.
    pub group: GroupName,
    /// What the fewest workers that are worth a start need together.
    pub asked: Charge,
    /// How it stands to the best of the levels.
    pub standing: RightStanding,
    /// The level that it would be charged to now.
    pub charged_to: Option<Priority>,
    /// Every level that it may be charged to, the best first: one, but for an AUTO task.
    pub levels: Vec<LevelRight>,
    /// Whether it may run beyond its right.
    pub borrowing: Borrowing,
}

/// A right of one level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelRight {
    /// The level.
    pub level: Priority,
    /// How the task stands to it.
    pub standing: RightStanding,
    /// The rows that give it. No row: nothing is given.
    pub given_by: Vec<RightRow>,
    /// The caps and the rows for models that bound it.
    pub bounded_by: Vec<RightRow>,
    /// What may be held at once, models and teams left aside.
    pub allowed: Allowance,
    /// What runs that stay hold of it.
    pub staying: Charge,
    /// What is promised of it.
    pub promised: Charge,
    /// What runs that are leaving still hold of it.
    pub leaving: Charge,
    /// What tasks before this one were dealt of it, waiting ones too; only in strict order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dealt: Option<Charge>,
    /// What is held beyond it, on borrowed capacity.
    pub borrowed: Charge,
    /// What the task needs of it with a device of the kind that is best for it.
    pub asked: Charge,
    /// How much more would be enough, those who are leaving left aside; nothing if it is enough.
    pub short: Charge,
    /// Bounds on single models.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelRight>,
    /// The pools of its teams, from the user's up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<TeamRight>,
    /// Who holds it, the most first.
    pub holders: Vec<Holder>,
    /// How many more hold something of it.
    pub more_holders: u32,
}

/// A bound on what is held of one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelRight {
    /// The model.
    pub model: ModelName,
    /// What may be held of it.
    pub allowed: Allowance,
    /// What is, and stays.
    pub used: Charge,
    /// How much more would be enough for the task.
    pub short: Charge,
}

/// What a team may hold together in the group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TeamRight {
    /// The team.
    pub team: TeamName,
    /// What is its own.
    pub own: Allowance,
    /// How much more it may borrow.
    pub borrow: Allowance,
    /// How much of its own it lends.
    pub lend: Allowance,
    /// What is held within right, and stays.
    pub used: Charge,
    /// What is borrowed, and stays.
    pub borrowed: Charge,
    /// What is leaving.
    pub leaving: Charge,
    /// How much more of its own would be enough for the task.
    pub short: Charge,
    /// Whose tasks hold it, the most first.
    pub holders: Named,
}

/// A task that holds something of a right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// The task.
    pub who: Other,
    /// What it holds.
    pub charge: Charge,
    /// It is leaving.
    pub leaving: bool,
}

/// How a task stands to a right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RightStanding {
    /// It is enough.
    Enough,
    /// It is enough once those that are leaving have left.
    EnoughLater,
    /// Other tasks of its owner use it.
    Used,
    /// What its team may hold is used.
    TeamUsed {
        /// The team.
        team: TeamName,
    },
    /// It would not be enough for the task alone.
    TooSmall,
}

/// Whether a task may run beyond its right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "borrowing", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Borrowing {
    /// The operator does not let work run beyond its right.
    Off,
    /// It may take what is idle; it then yields to all work within its right.
    May,
    /// It could, but its team may hold no more.
    TeamInTheWay {
        /// The team.
        team: TeamName,
    },
}

pub(super) fn look(engine: &mut Engine, id: TaskId, named: usize) -> Option<RightLink> {
    let spec = engine.look_spec(id)?.clone();
    if Charge::of(&spec).is_nothing() {
        return None;
    }
    let bills = engine.look_bills(id);
    let deal = engine.look_deal(id);
    let charged_to = if let Some(deal) = &deal { deal.level } else { engine.look_level(id) };
    let mut levels = Vec::new();
    for (level, bucket) in engine.look_buckets(id) {
        let standing = engine.look_standing(id, level);
        let mut found = look_level(engine, (level, bucket), standing, &bills, named);
        if let Some(deal) = &deal {
            found.deal(deal, Charge::of(&spec));
        }
        levels.push(found);
    }
    let borrowing = match engine.look_borrowing(id) {
        (false, _) => Borrowing::Off,
        (true, None) => Borrowing::May,
        (true, Some(team)) => Borrowing::TeamInTheWay { team },
    };
    // The engine tells an AUTO task of the best level that could ever do.
    let best = levels.iter().map(|level| &level.standing).min_by_key(|standing| standing.rank());
    let standing = best.cloned().unwrap_or(RightStanding::TooSmall);
    let asked = levels.first().map_or(Charge::of(&spec), |level| level.asked);
    Some(RightLink {
        user: spec.user.clone(),
        group: spec.group.clone(),
        asked,
        standing,
        charged_to,
        levels,
        borrowing,
    })
}

fn look_level(
    engine: &Engine,
    (level, bucket): (Priority, BucketIx),
    standing: Standing,
    bills: &[Bill],
    named: usize,
) -> LevelRight {
    let book = engine.look_book();
    let used = book.used(bucket);
    let allowed = book.allowance(bucket);
    let committed = used.staying + used.promised;
    let models = book.models_of(bucket);
    let short_of = |bill: &Bill| -> (Charge, Vec<ModelRight>) {
        let in_bill = book.models_in(bill);
        let of_models = models.iter().map(|(model, bound, used, _)| {
            let charge = in_bill.iter().find(|(of, _)| of == model).map_or(Charge::NOTHING, |(_, charge)| *charge);
            ModelRight { model: model.clone(), allowed: *bound, used: *used, short: short(*bound, *used, charge) }
        });
        (short(allowed, committed, bill.charge), of_models.collect())
    };
    let place = |bill: &&Bill| {
        let (short, models) = short_of(bill);
        let model = models.iter().map(|model| model.short).sum::<Charge>();
        (short.nodes + short.devices + model.nodes + model.devices, bill.charge.devices)
    };
    let best = bills.iter().min_by_key(place).cloned().unwrap_or_default();
    let (short_here, models) = short_of(&best);
    let (group, teams) = (book.group_name(book.bucket_group(bucket)), book.pools_of(bucket));
    let mut here: Vec<(RunLook<'_>, bool)> = engine
        .look_runs(group)
        .filter(|run| !run.charge.is_nothing())
        .filter_map(|run| Some((run.bucket? == bucket, run)))
        .map(|(same, run)| (run, same))
        .collect();
    here.sort_by_key(|(run, _)| (std::cmp::Reverse((run.charge.nodes, run.charge.devices)), run.task));
    let other = |run: &RunLook<'_>| Other::new(run.task, &run.spec.user, run.level);
    let mine = || here.iter().filter(|(run, same)| *same && run.entitled).map(|(run, _)| run);
    let leaves = |run: &RunLook<'_>| matches!(run.part, Part::Leaving | Part::Returning);
    let holders: Vec<Holder> =
        mine().take(named).map(|run| Holder { who: other(run), charge: run.charge, leaving: leaves(run) }).collect();
    let more_holders = u32::try_from(mine().count() - holders.len()).unwrap_or(u32::MAX);
    let team_right = |pool: crate::rights::book::PoolLook| {
        let team = book.find_team(&pool.team);
        let theirs = here.iter().filter(|(run, _)| {
            run.entitled && run.bucket.zip(team).is_some_and(|(bucket, team)| book.is_charged_to(bucket, team))
        });
        TeamRight {
            short: short(pool.own, pool.used.committed, best.charge),
            used: pool.used.committed,
            borrowed: pool.used.borrowed,
            leaving: pool.used.leaving + pool.used.returning,
            holders: Named::of(theirs.map(|(run, _)| other(run)), named),
            team: pool.team,
            own: pool.own,
            borrow: pool.borrow,
            lend: pool.lend,
        }
    };
    LevelRight {
        level,
        standing: RightStanding::of(standing, |team| book.team_name(team).clone()),
        given_by: book.rows_that_give(bucket),
        bounded_by: book.rows_that_bound(bucket),
        allowed,
        staying: used.staying,
        promised: used.promised,
        leaving: used.leaving,
        dealt: None,
        borrowed: used.borrowed,
        asked: best.charge,
        short: short_here,
        models,
        teams: teams.into_iter().map(team_right).collect(),
        holders,
        more_holders,
    }
}

impl LevelRight {
    /// Where rights are dealt in strict order, what those before it were dealt counts, whether they run or wait; what others
    /// hold is taken back from them.
    fn deal(&mut self, deal: &DealLook, asked: Charge) {
        let before =
            deal.before.iter().find(|(level, _)| *level == self.level).map_or(Charge::NOTHING, |(_, dealt)| *dealt);
        self.dealt = Some(before);
        self.short = short(self.allowed, before, asked);
        self.standing = match &self.standing {
            RightStanding::TooSmall => RightStanding::TooSmall,
            _ if !self.allowed.covers(before + asked) => RightStanding::Used,
            RightStanding::Enough => RightStanding::Enough,
            _ => RightStanding::EnoughLater,
        };
    }

    /// What stands in the task's way of what is allowed.
    #[must_use]
    pub fn taken(&self) -> Charge {
        self.dealt.unwrap_or(self.staying + self.promised)
    }
}

/// How much more than `allowed` is needed for a charge beside what is used, in the units that the charge has any of.
fn short(allowed: Allowance, used: Charge, charge: Charge) -> Charge {
    let one = |limit: Limit, used: Amount, charge: Amount| match limit {
        Limit::AtMost(most) if !charge.is_zero() => (used + charge).minus(most),
        _ => Amount::ZERO,
    };
    Charge {
        nodes: one(allowed.nodes, used.nodes, charge.nodes),
        devices: one(allowed.devices, used.devices, charge.devices),
    }
}

impl RightStanding {
    fn of(standing: Standing, name: impl Fn(crate::rights::TeamIx) -> TeamName) -> Self {
        match standing {
            Standing::Now => RightStanding::Enough,
            Standing::Later => RightStanding::EnoughLater,
            Standing::Used => RightStanding::Used,
            Standing::TeamUsed(team) => RightStanding::TeamUsed { team: name(team) },
            Standing::Never => RightStanding::TooSmall,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            RightStanding::Enough => 0,
            RightStanding::EnoughLater => 1,
            RightStanding::Used => 2,
            RightStanding::TeamUsed { .. } => 3,
            RightStanding::TooSmall => 4,
        }
    }

    /// Whether the right is not in the way, at least once others have left.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        matches!(self, RightStanding::Enough | RightStanding::EnoughLater)
    }
}

impl RightLink {
    pub(super) fn hide_others(&mut self, from: &UserName) {
        for level in &mut self.levels {
            level.holders.iter_mut().for_each(|holder| holder.who.hide_from(from));
            level.teams.iter_mut().for_each(|team| team.holders.hide_from(from));
        }
    }

    /// The level whose right is nearest to being enough.
    #[must_use]
    pub fn nearest(&self) -> Option<&LevelRight> {
        let short = |level: &LevelRight| level.short.nodes + level.short.devices;
        self.levels.iter().min_by_key(|level| (level.standing.rank(), short(level)))
    }
}

/// What an allowance says of the unit that a charge counts in.
pub(crate) fn bound(allowed: Allowance, asked: Charge) -> String {
    let (limit, unit) = if asked.nodes.is_zero() { (allowed.devices, "GPU") } else { (allowed.nodes, "whole node") };
    match limit {
        Limit::Unlimited => format!("any number of {unit}s"),
        Limit::AtMost(most) => amount(most, unit),
    }
}

/// `1 GPU`, `0.5 GPUs`, `2 whole nodes`.
pub(crate) fn amount(amount: Amount, unit: &str) -> String {
    if amount == Amount::whole(1) { format!("1 {unit}") } else { format!("{amount} {unit}s") }
}

/// A charge as people say it.
pub(crate) fn charge(charge: Charge) -> String {
    match (charge.nodes.is_zero(), charge.devices.is_zero()) {
        (true, true) => "nothing".to_owned(),
        (true, false) => amount(charge.devices, "GPU"),
        (false, true) => amount(charge.nodes, "whole node"),
        (false, false) => format!("{} and {}", amount(charge.nodes, "whole node"), amount(charge.devices, "GPU")),
    }
}

/// One sentence for people.
impl fmt::Display for RightLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RightLink { user, group, .. } = self;
        let Some(level) = self.charged_to.and_then(|to| self.levels.iter().find(|level| level.level == to)) else {
            return match self.nearest() {
                Some(level) => write!(f, "{user} has no right left in group {group}: {level}"),
                None => write!(f, "{user} has no right in group {group}"),
            };
        };
        write!(f, "{user} has the right to it in group {group}: {level}")
    }
}

/// What one level allows, what is used, and by whom.
impl fmt::Display for LevelRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (used, asked) = (self.taken(), self.asked);
        let holders: Vec<String> = self
            .holders
            .iter()
            .filter(|holder| !holder.leaving)
            .map(|holder| match holder.who.task {
                Some(task) => format!("task {task} has {}", charge(holder.charge)),
                None => charge(holder.charge),
            })
            .collect();
        let mut by = list(&holders);
        if self.more_holders > 0 && !by.is_empty() {
            by = format!("{by}, {} have the rest", count(self.more_holders, "more task"));
        }
        write!(f, "at {} {} may be held at once", self.level, bound(self.allowed, asked))?;
        match (used.is_nothing(), by.is_empty()) {
            (true, _) if self.dealt.is_some() => f.write_str(", tasks before it in order were dealt none of it")?,
            (false, _) if self.dealt.is_some() => {
                write!(f, ", tasks before it in order were dealt {} of that, whether they run or wait", charge(used))?;
            }
            (true, _) => f.write_str(", none of it is used")?,
            (false, true) => write!(f, ", {} used", is_or_are(used))?,
            (false, false) => write!(f, ", {} used ({by})", is_or_are(used))?,
        }
        write!(f, ", this task needs {}", charge(asked))?;
        for bound_of in self.models.iter().filter(|of| !of.short.is_nothing()) {
            let ModelRight { model, allowed, used, .. } = bound_of;
            write!(f, "; but of {model} only {} may be held at once", bound(*allowed, bound_of.short))?;
            if !used.is_nothing() {
                write!(f, ", and {} used", is_or_are(*used))?;
            }
        }
        if let RightStanding::TeamUsed { team } = &self.standing
            && let Some(pool) = self.teams.iter().find(|pool| pool.team == *team)
        {
            write!(f, "; but {pool}")?;
        }
        Ok(())
    }
}

fn is_or_are(used: Charge) -> String {
    let one = used.nodes + used.devices == Amount::whole(1);
    format!("{} {}", charge(used), if one { "is" } else { "are" })
}

/// What a team may hold, and what it does.
impl fmt::Display for TeamRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.used.nodes.is_zero() && self.short.nodes.is_zero() {
            Charge { nodes: Amount::ZERO, devices: Amount::whole(1) }
        } else {
            Charge { nodes: Amount::whole(1), devices: Amount::ZERO }
        };
        write!(f, "team {} may hold {} together and holds {}", self.team, bound(self.own, unit), charge(self.used))?;
        if self.holders.count > 0 {
            write!(f, " ({})", self.holders)?;
        }
        Ok(())
    }
}
