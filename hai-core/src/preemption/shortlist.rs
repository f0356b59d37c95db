//! The candidates that a plan is made from: all that may yield if they are few, the promising ones if they are many.
//!
//! For one worker the cheapest victims mostly are among the first in yield order. Where many of one node have to leave,
//! as for whole nodes and gangs, they are not: then the nodes are compared by what emptying them would cost, which takes
//! a look at every node of the group but none at the runs in their order.

use std::collections::{BTreeSet, BinaryHeap};

use smallvec::SmallVec;

use super::{OnNode, Owner, Question, Yielder, Yielders, sort_cheapest_first};
use crate::inventory::NodeIx;
use crate::model::{Claim, Devices, GroupName, RunId, Time};
use crate::placement::Seat;

/// Up to so many, all are candidates.
const ALL_MAX: usize = 512;
/// So many of the first in yield order are tried for one worker, one number after the other, before nodes are compared.
const FIRST: [usize; 3] = [16, 64, 256];
/// So many nodes more than workers are candidates, since a plan can do better than the estimate.
const SPARE_NODES: usize = 32;

/// For whom room is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Winner<'a> {
    /// What it asks, and where.
    pub question: Question<'a>,
    /// Its group.
    pub group: &'a GroupName,
    /// Runs with a lesser claim than this yield.
    pub below: Claim,
    /// The winner's: its own work of the same priority never yields to it.
    pub owner: Owner,
    /// When that is.
    pub now: Time,
}

impl Winner<'_> {
    fn may_tell(&self, claim: Claim, owner: Owner, yields_from: Time) -> bool {
        claim < self.below && owner != self.owner && yields_from <= self.now
    }
}

/// Candidates for leaving on these nodes alone, in yield order; the flag is that of [`candidates`].
pub fn candidates_on(yielders: &Yielders, winner: &Winner<'_>, nodes: &[NodeIx]) -> (Vec<Yielder>, bool) {
    let mut spared = false;
    let mut runs: Vec<RunId> = Vec::new();
    for there in nodes.iter().flat_map(|&ix| yielders.on_node(ix)).filter(|there| there.claim < winner.below) {
        if winner.may_tell(there.claim, there.owner, there.yields_from) {
            runs.push(there.run);
        } else {
            spared = true;
        }
    }
    runs.sort_unstable();
    runs.dedup();
    let mut found: Vec<Yielder> = runs.into_iter().filter_map(|run| yielders.yielder(run, winner.now)).collect();
    sort_cheapest_first(&mut found);
    (found, spared)
}

/// Candidates for leaving, in yield order. The flag tells whether some were left out that yield to others than this winner,
/// or later.
#[must_use]
pub fn candidates(yielders: &Yielders, winner: &Winner<'_>) -> (Vec<Yielder>, bool) {
    let group = winner.group;
    let mut spared = false;
    let mut first = Vec::new();
    let few = yielders.count(group) <= ALL_MAX;
    let alone = winner.question.ask.workers_min() == 1;
    let most = match (few, alone) {
        (true, _) => ALL_MAX,
        (false, true) => FIRST[FIRST.len() - 1],
        // Of a gang's victims hardly any are among the first.
        (false, false) => 1,
    };
    for yielder in yielders.cheapest_first(group, winner.below, winner.now) {
        let known = yielders.get(yielder.run);
        if !known.is_some_and(|known| winner.may_tell(known.claim, known.owner, known.yields_from)) {
            spared = true;
            continue;
        }
        first.push(yielder);
        let enough = !few && alone && FIRST.contains(&first.len()) && makes_room(yielders, winner, &first);
        if enough {
            return (first, spared);
        }
        if first.len() == most {
            break;
        }
    }
    if few || first.len() < most {
        return (first, spared);
    }
    (on_cheapest_nodes(yielders, winner), spared)
}

/// Whether one worker would fit on some node if all of these left.
fn makes_room(yielders: &Yielders, winner: &Winner<'_>, leaving: &[Yielder]) -> bool {
    let mut runs: Vec<RunId> = leaving.iter().map(|yielder| yielder.run).collect();
    runs.sort_unstable();
    let devices = |run: RunId| yielders.get(run).map_or(0, |listed| listed.devices);
    let mut freed: Vec<(NodeIx, u32)> =
        leaving.iter().flat_map(|yielder| yielder.nodes.iter().map(|&ix| (ix, devices(yielder.run)))).collect();
    freed.sort_unstable();
    freed.chunk_by(|a, b| a.0 == b.0).any(|here| {
        let ix = here[0].0;
        let freed = here.iter().fold(0_u32, |sum, (_, devices)| sum.saturating_add(*devices));
        let enough = match winner.question.ask.request().devices {
            Devices::Count(_) => freed >= missing(winner, ix),
            Devices::WholeNode | Devices::Share(_) | Devices::Memory(_) => true,
        };
        enough && fits_without(winner, ix, |run| runs.binary_search(&run).is_ok())
    })
}

fn fits_without(winner: &Winner<'_>, ix: NodeIx, leaves: impl Fn(RunId) -> bool) -> bool {
    let Question { inventory, ask, within, .. } = winner.question;
    let Some(node) = inventory.get(ix) else { return false };
    if !ask.allows(inventory, node) || within.avoid.binary_search(&ix).is_ok() {
        return false;
    }
    let room = node.room_later_without(leaves);
    ask.may_fit_in(&room) && Seat::new(inventory, ask, within.kinds, node, &room).capacity() > 0
}

/// All who may yield on the nodes that are cheapest to make room on.
///
/// Nodes are looked at by the least claim that has to leave there, which sums tell; once there are enough nodes, only those
/// are looked at that can be cheaper than the dearest of them, and only whether a worker fits there is worked out in full.
fn on_cheapest_nodes(yielders: &Yielders, winner: &Winner<'_>) -> Vec<Yielder> {
    let may_leave = |there: &OnNode| winner.may_tell(there.claim, there.owner, there.yields_from);
    let Question { inventory, ask, .. } = winner.question;
    let mut open: Vec<(Claim, NodeIx)> = Vec::new();
    let mut claims: BTreeSet<Claim> = BTreeSet::new();
    for ix in ask.group(inventory).into_iter().flat_map(|group| inventory.group_nodes(group)) {
        let here = yielders.by_claim(ix);
        let least = match ask.request().devices {
            Devices::WholeNode => here.greatest(winner.below),
            _ => here.least(missing(winner, ix), winner.below),
        };
        if let Some(least) = least {
            if open.last().is_none_or(|&(last, _)| last != least) {
                claims.insert(least);
            }
            open.push((least, ix));
        }
    }
    let wanted = ask.workers_min() as usize + SPARE_NODES;
    // The dearest on top.
    let mut nodes: BinaryHeap<((Claim, u64), NodeIx)> = BinaryHeap::with_capacity(wanted + 1);
    for claim in claims {
        if nodes.len() == wanted && nodes.peek().is_some_and(|((dearest, _), _)| *dearest < claim) {
            break;
        }
        for &(_, ix) in open.iter().filter(|(least, _)| *least == claim) {
            let (least, need) = (yielders.by_claim(ix), missing(winner, ix));
            let bound = ((claim, least.loss(need, winner.below, winner.now)), ix);
            if nodes.len() == wanted && nodes.peek().is_some_and(|dearest| bound >= *dearest) {
                continue;
            }
            if !may_hold(winner, ix) {
                continue;
            }
            let here = yielders.on_node(ix);
            let Some(estimate) = estimate(here, winner, need, may_leave) else { continue };
            let node = (estimate, ix);
            if nodes.len() == wanted && nodes.peek().is_some_and(|dearest| node >= *dearest) {
                continue;
            }
            if fits_without(winner, ix, |run| here.iter().any(|there| there.run == run && may_leave(there))) {
                nodes.push(node);
                if nodes.len() > wanted {
                    nodes.pop();
                }
            }
        }
    }
    let here = nodes.iter().flat_map(|&(_, ix)| yielders.on_node(ix)).filter(|there| may_leave(there));
    let mut runs: Vec<RunId> = here.map(|there| there.run).collect();
    runs.sort_unstable();
    runs.dedup();
    let mut found: Vec<Yielder> = runs.into_iter().filter_map(|run| yielders.yielder(run, winner.now)).collect();
    sort_cheapest_first(&mut found);
    found
}

/// Cheap: false only if no worker would fit on a node even if it were empty.
fn may_hold(winner: &Winner<'_>, ix: NodeIx) -> bool {
    let Question { inventory, ask, .. } = winner.question;
    let Some(node) = inventory.get(ix) else { return false };
    match ask.request().devices {
        Devices::Count(count) => ask.fit(inventory, node.make()).accepted.count_ones() >= count,
        Devices::WholeNode | Devices::Share(_) | Devices::Memory(_) => true,
    }
}

/// How many devices somebody has to leave on a node at the least.
fn missing(winner: &Winner<'_>, ix: NodeIx) -> u32 {
    match winner.question.ask.request().devices {
        Devices::WholeNode => u32::MAX,
        devices => devices.count().saturating_sub(winner.question.inventory.free_later(ix)).max(1),
    }
}

/// What making room for one worker on a node would cost at the least: the greatest claim among those who leave, and their
/// loss. `None` if too few may leave.
fn estimate(
    here: &[OnNode],
    winner: &Winner<'_>,
    missing: u32,
    may_leave: impl Fn(&OnNode) -> bool,
) -> Option<(Claim, u64)> {
    let mut leaving: SmallVec<[(Claim, u64, u32); 16]> = SmallVec::new();
    let (mut claim, mut loss, mut devices) = (Claim::BACKGROUND, 0_u64, 0_u32);
    for there in here.iter().filter(|there| may_leave(there)) {
        let lost = there.loss.at(winner.now, there.devices);
        claim = claim.max(there.claim);
        loss = loss.saturating_add(lost);
        devices = devices.saturating_add(there.devices);
        leaving.push((there.claim, lost, there.devices));
    }
    if devices < missing && matches!(winner.question.ask.request().devices, Devices::Count(1..)) {
        return None;
    }
    if devices <= missing {
        return Some((claim, loss));
    }
    leaving.sort_unstable();
    let mut missing = missing;
    (claim, loss) = (Claim::BACKGROUND, 0);
    for (theirs, lost, devices) in leaving {
        if missing == 0 {
            break;
        }
        claim = claim.max(theirs);
        loss = loss.saturating_add(lost);
        missing = missing.saturating_sub(devices);
    }
    Some((claim, loss))
}
