//! Who is on the nodes that would do for a task, and why they stay.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::who::{Named, Other};
use crate::engine::{Engine, LineKey, Manner, RunLook, Seating};
use crate::inventory::KindSet;
use crate::model::{Claim, TaskId, TaskSpec, Time, UserName};
use crate::placement::{Ask, Seat};

/// Who would have to make room, and why they do not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct YieldLink {
    /// What the task has to set against them.
    pub claim: Claim,
    /// Those on nodes that would do, by why they stay; those nearest to leaving first.
    pub stays: Vec<Stays>,
    /// Runs of the group on nodes that would not do anyway.
    pub elsewhere: u32,
}

/// Those who stay for one reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stays {
    /// Why.
    pub why: StayReason,
    /// Who.
    pub who: Named,
    /// When the first of them may be told to leave, if that is known.
    pub from: Option<Time>,
}

/// Why a run stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StayReason {
    /// It was told to leave already; its place goes to another, or is not enough.
    Leaving,
    /// It would yield, but even if all such did there would not be room enough.
    NotEnough,
    /// Its level protects it for a time after its start.
    Protected,
    /// It is of the same level, and its slice is not over.
    SliceNotOver,
    /// It can not be suspended.
    NotSuspendable,
    /// It is its owner's own work of the same priority.
    OwnWork,
    /// It is within its right, and this task would only borrow.
    BorrowersTakeNothing,
    /// It has a better claim: a better level, or a right where this task has none.
    BetterClaim,
    /// It is of another group, which the node belonged to when it started.
    OtherGroup,
    /// Strict order (`hai-fifo`): it comes before this task.
    BeforeInOrder,
}

pub(super) fn look(engine: &mut Engine, id: TaskId, named: usize) -> Option<YieldLink> {
    let spec = engine.look_spec(id)?.clone();
    let seating = engine.look_seating(id);
    let fifo = engine.look_config().policy == crate::engine::Policy::HaiFifo;
    let mine = if fifo {
        let dealt = engine.look_dealt(&spec.group);
        engine.look_line_key(id, &dealt)
    } else {
        None
    };
    let inventory = engine.look_inventory();
    let ask = Ask::of(inventory, &spec);
    let everything = KindSet::all();
    let would_do = |run: &RunLook<'_>| {
        run.nodes.iter().any(|&ix| {
            let Some(node) = inventory.get(ix) else { return false };
            let empty = node.room_later_without(|_| true);
            ask.allows(inventory, node)
                && seating.avoid.binary_search(&ix).is_err()
                && Seat::new(inventory, &ask, &everything, node, &empty).capacity() > 0
        })
    };
    let mut stays: Vec<(StayReason, Vec<Other>, Option<Time>)> = Vec::new();
    let mut elsewhere = 0;
    for run in engine.look_runs(&spec.group) {
        if !would_do(&run) {
            elsewhere += 1;
            continue;
        }
        let (why, from) = match &mine {
            Some(mine) => (in_strict_order(mine, &run), None),
            None => reason(engine, id, &spec, &seating, &run),
        };
        let other = Other::new(run.task, &run.spec.user, run.claim.level);
        match stays.iter_mut().find(|(known, ..)| *known == why) {
            Some((_, who, first)) => {
                who.push(other);
                *first = (*first).into_iter().chain(from).min();
            }
            None => stays.push((why, vec![other], from)),
        }
    }
    stays.sort_by_key(|(why, ..)| *why);
    let stays = stays.into_iter().map(|(why, who, from)| Stays { why, who: Named::of(who, named), from });
    Some(YieldLink { claim: seating.claim, stays: stays.collect(), elsewhere })
}

/// Why a run does not leave for the task, and from when on it may be told to.
fn reason(
    engine: &Engine,
    id: TaskId,
    spec: &TaskSpec,
    seating: &Seating,
    run: &RunLook<'_>,
) -> (StayReason, Option<Time>) {
    let (mine, now) = (seating.claim, engine.now());
    if let Manner::Leaving { until } = run.manner {
        return (StayReason::Leaving, Some(until));
    }
    if run.spec.group != spec.group {
        return (StayReason::OtherGroup, None);
    }
    let promised = run.manner == Manner::Promised;
    if !mine.entitled {
        return (StayReason::BorrowersTakeNothing, None);
    }
    if engine.look_fills(run.id, id) {
        return (StayReason::NotEnough, None);
    }
    let protected = || {
        // What has not begun to execute is protected from then on.
        let until = run.protected_until;
        let is_protected = !promised && until.is_none_or(|until| until > now) && engine.look_protects(run.id);
        is_protected.then_some((StayReason::Protected, until))
    };
    match run.claim.cmp(&mine) {
        std::cmp::Ordering::Greater => (StayReason::BetterClaim, None),
        _ if run.owner == seating.owner => (StayReason::OwnWork, None),
        _ if !run.spec.suspendable && !promised => (StayReason::NotSuspendable, run.ends_by),
        std::cmp::Ordering::Less => protected().unwrap_or((StayReason::NotEnough, None)),
        std::cmp::Ordering::Equal if run.spec.user == spec.user => (StayReason::OwnWork, None),
        std::cmp::Ordering::Equal => match run.slice_until {
            Some(until) if until <= now && run.manner == Manner::Running => (StayReason::NotEnough, None),
            until => (StayReason::SliceNotOver, until.filter(|until| *until > now)),
        },
    }
}

/// The same under strict order, where those who come later make room for who comes before.
fn in_strict_order(mine: &LineKey, run: &RunLook<'_>) -> StayReason {
    if matches!(run.manner, Manner::Leaving { .. }) {
        return StayReason::Leaving;
    }
    let theirs = (std::cmp::Reverse(run.level), run.spec.rank(run.task), run.task);
    // Who was dealt no right comes after all who were.
    let claim = mine.claim.0;
    if !claim.entitled || theirs < (std::cmp::Reverse(claim.level), mine.member.1, mine.member.2) {
        return StayReason::BeforeInOrder;
    }
    if run.spec.suspendable { StayReason::NotEnough } else { StayReason::NotSuspendable }
}

impl YieldLink {
    pub(super) fn hide_others(&mut self, from: &UserName) {
        self.stays.iter_mut().for_each(|stays| stays.who.hide_from(from));
    }
}

impl fmt::Display for StayReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StayReason::Leaving => "leaving already",
            StayReason::NotEnough => "would make room, but that would not be enough",
            StayReason::Protected => "it started lately and is not suspended so soon",
            StayReason::SliceNotOver => "of the same priority, and its slice of time is not over",
            StayReason::NotSuspendable => "can not be suspended",
            StayReason::OwnWork => "work of the same user and priority is not suspended for each other",
            StayReason::BorrowersTakeNothing => "this task is beyond its right, so nobody has to make room for it",
            StayReason::BetterClaim => "of a better priority, or within their right",
            StayReason::OtherGroup => "of another group, to which the node belonged before",
            StayReason::BeforeInOrder => "before this task in the queue",
        })
    }
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.who, self.why)?;
        match (self.why, self.from) {
            (StayReason::Leaving, Some(at)) => write!(f, " (gone by {at})"),
            (StayReason::NotSuspendable, Some(at)) => write!(f, " (its time limit ends at {at})"),
            (_, Some(at)) => write!(f, " (until {at}{})", if self.who.count > 1 { " at the soonest" } else { "" }),
            (_, None) => Ok(()),
        }
    }
}

/// One sentence for people.
impl fmt::Display for YieldLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stays.is_empty() {
            return f.write_str("nobody is on a node that would do");
        }
        for (index, stays) in self.stays.iter().enumerate() {
            write!(f, "{}{stays}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
