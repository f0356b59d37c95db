//! A task's place among those that wait in its group, and why others are before it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::who::{Named, Other, count};
use crate::engine::{Engine, LineKey};
use crate::model::{Claim, Priority, TaskId, UserName};

/// Where a task stands in the line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LineLink {
    /// Its place; 1 for the first.
    pub place: u32,
    /// How many wait in the group, itself included.
    pub of: u32,
    /// Its claim, and what waiting made of its level.
    pub claim: Claim,
    /// Who is before it, for each reason; the first in line first.
    pub ahead: Vec<Ahead>,
}

/// Those who are before it for one reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ahead {
    /// Why.
    pub because: Because,
    /// Who.
    pub who: Named,
}

/// Why one waiting task comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Because {
    /// It is within its owner's right, and this one is not.
    WithinRight,
    /// It is of a better level.
    BetterLevel,
    /// It counts as of a better level since it has waited so long.
    WaitedLong,
    /// The order that the operator chose prefers it.
    Order,
    /// It was given a better rank.
    Rank,
    /// It was submitted earlier.
    Earlier,
}

pub(super) fn look(engine: &mut Engine, id: TaskId, named: usize) -> Option<LineLink> {
    let group = engine.look_spec(id)?.group.clone();
    let dealt = engine.look_dealt(&group);
    let mine = engine.look_line_key(id, &dealt)?;
    let waiting = engine.look_waiting(&group);
    let of = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
    let mut before: Vec<(LineKey, TaskId)> =
        waiting.into_iter().filter_map(|task| Some((engine.look_line_key(task, &dealt)?, task))).collect();
    before.retain(|(key, task)| *task != id && *key < mine);
    before.sort_unstable();
    let mut ahead: Vec<(Because, Vec<Other>)> = Vec::new();
    for (key, task) in &before {
        let spec = engine.look_spec(*task)?;
        let other = Other::new(*task, &spec.user, key.claim.0.level);
        let rank = spec.custom_rank.is_some() || engine.look_spec(id)?.custom_rank.is_some();
        let because = because(key, &mine, spec.priority, rank);
        match ahead.iter_mut().find(|(known, _)| *known == because) {
            Some((_, who)) => who.push(other),
            None => ahead.push((because, vec![other])),
        }
    }
    Some(LineLink {
        place: u32::try_from(before.len()).unwrap_or(u32::MAX).saturating_add(1),
        of,
        claim: mine.claim.0,
        ahead: ahead.into_iter().map(|(because, who)| Ahead { because, who: Named::of(who, named) }).collect(),
    })
}

/// What puts the one before the other, which comes later.
fn because(theirs: &LineKey, mine: &LineKey, level: Priority, ranked: bool) -> Because {
    let (a, b) = (theirs.claim.0, mine.claim.0);
    match () {
        () if a.entitled != b.entitled => Because::WithinRight,
        () if a.level != b.level && level <= b.level && level != Priority::Auto => Because::WaitedLong,
        () if a.level != b.level => Because::BetterLevel,
        () if theirs.owner != mine.owner || theirs.member.0 != mine.member.0 => Because::Order,
        () if ranked && theirs.member.1 != mine.member.1 => Because::Rank,
        () => Because::Earlier,
    }
}

impl LineLink {
    pub(super) fn hide_others(&mut self, from: &UserName) {
        self.ahead.iter_mut().for_each(|ahead| ahead.who.hide_from(from));
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Because::WithinRight => "within right, and this one is not",
            Because::BetterLevel => "better priority",
            Because::WaitedLong => "waited so long that it counts as a better priority",
            Because::Order => "preferred by the order that the operator chose",
            Because::Rank => "better rank",
            Because::Earlier => "submitted earlier",
        })
    }
}

/// One sentence for people.
impl fmt::Display for LineLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.of == 1 {
            return f.write_str("nobody else waits in this group");
        }
        if self.ahead.is_empty() {
            return write!(f, "it is the first of {} that wait in this group", count(self.of, "task"));
        }
        write!(f, "it is number {} of {} that wait in this group; before it: ", self.place, count(self.of, "task"))?;
        for (index, ahead) in self.ahead.iter().enumerate() {
            write!(f, "{}{} ({})", if index == 0 { "" } else { "; " }, ahead.who, ahead.because)?;
        }
        Ok(())
    }
}
