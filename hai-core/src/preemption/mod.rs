//! Who yields: the cheapest set of runs whose leaving makes room for a task.
//!
//! See [`plan`] for the primary entry point.
//!
//! Choosing victims exactly is a covering problem (NP-hard for gangs), so two greedy sets are made and the better one
//! is taken: the shortest prefix of all candidates in yield order, and the cheapest nodes first (on each node the exact
//! best set, as long as there are few). Both are pruned until no victim can be spared. A set is better if it is cheaper in its most valuable class, then in the next; within a
//! class by work lost, then by number, then by age (the newest leave).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::inventory::{Inventory, NodeIx};
use crate::model::{Placement, Priority, RunId, TaskSpec};
use crate::placement::{Hypothesis, Policy};

/// Nodes with more runs than this are emptied greedily.
const EXACT_RUNS_MAX: usize = 8;
/// With more nodes than this in question, all of them are.
const EXACT_NODES_MAX: usize = 64;

/// How good a run's claim to its place is; a smaller one yields to a greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// Within its right. Borrowed work yields to all that is.
    pub entitled: bool,
    /// The level it counts as.
    pub level: Priority,
}

/// A run that may be told to leave.
#[derive(Clone, Debug)]
pub struct Yielder {
    /// The run.
    pub run: RunId,
    /// Its claim.
    pub claim: Claim,
    /// What its leaving would cost, in device-milliseconds.
    pub loss: u64,
    /// The nodes it is on.
    pub nodes: Vec<NodeIx>,
}

/// Who leaves, and where the task then goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Runs that leave, in yield order.
    pub victims: Vec<RunId>,
    /// Where the task goes.
    pub placement: Placement,
}

/// Sorts candidates so that those who should leave first come first.
pub fn sort_cheapest_first(yielders: &mut [Yielder]) {
    yielders.sort_by_key(|yielder| (yielder.claim, yielder.loss, Reverse(yielder.run)));
}

/// Finds victims among `yielders`, which stand in yield order, so that the task fits and `also` holds for the set.
///
/// `also` must be monotone: true for a set, true for every larger one. With `strict_order` only the first of the two
/// greedy sets is looked at. `None` if the task would not fit even if all left.
#[must_use]
pub fn plan(
    inventory: &Inventory,
    spec: &TaskSpec,
    yielders: &[Yielder],
    strict_order: bool,
    also: impl Fn(&BTreeSet<RunId>) -> bool,
) -> Option<Plan> {
    let touched: BTreeSet<NodeIx> = yielders.iter().flat_map(|yielder| yielder.nodes.iter().copied()).collect();
    let policy = Policy::default();
    let hypothesis = Hypothesis::new(inventory, spec, &touched, &policy);
    let by_run: BTreeMap<RunId, &Yielder> = yielders.iter().map(|yielder| (yielder.run, yielder)).collect();
    let fits = |set: &BTreeSet<RunId>| {
        let nodes = set.iter().flat_map(|run| by_run[run].nodes.iter().copied()).collect();
        hypothesis.fits(&nodes, |run| set.contains(&run)) && also(set)
    };

    let prefix = shortest_prefix(yielders, &fits)?;
    let mut best = pruned(yielders, prefix, &fits);
    if !strict_order
        && best.len() > 1
        && let Some(set) = cheapest_nodes(&hypothesis, yielders, &fits)
    {
        let other = pruned(yielders, set, &fits);
        if cost(yielders.iter(), &other) < cost(yielders.iter(), &best) {
            best = other;
        }
    }
    let placement = hypothesis.place(|run| best.contains(&run))?;
    let victims = yielders.iter().map(|yielder| yielder.run).filter(|run| best.contains(run)).collect();
    Some(Plan { victims, placement })
}

/// The shortest prefix that fits. Fitting is monotone, and mostly a few are enough: doubling finds a length that is,
/// halving the shortest.
fn shortest_prefix(yielders: &[Yielder], fits: &impl Fn(&BTreeSet<RunId>) -> bool) -> Option<BTreeSet<RunId>> {
    let prefix = |len: usize| -> BTreeSet<RunId> { yielders[..len].iter().map(|yielder| yielder.run).collect() };
    let (mut too_short, mut enough) = (0, 1.min(yielders.len()));
    while !fits(&prefix(enough)) {
        if enough == yielders.len() {
            return None;
        }
        too_short = enough + 1;
        enough = (enough * 2).min(yielders.len());
    }
    while too_short < enough {
        let middle = usize::midpoint(too_short, enough);
        if fits(&prefix(middle)) {
            enough = middle;
        } else {
            too_short = middle + 1;
        }
    }
    Some(prefix(enough))
}

/// Spares everybody who can be spared, the dearest first.
fn pruned(yielders: &[Yielder], mut set: BTreeSet<RunId>, fits: &impl Fn(&BTreeSet<RunId>) -> bool) -> BTreeSet<RunId> {
    for yielder in yielders.iter().rev() {
        if set.remove(&yielder.run) && !fits(&set) {
            set.insert(yielder.run);
        }
    }
    set
}

/// Empties nodes, the cheapest first, until the task fits.
fn cheapest_nodes(
    hypothesis: &Hypothesis<'_>,
    yielders: &[Yielder],
    fits: &impl Fn(&BTreeSet<RunId>) -> bool,
) -> Option<BTreeSet<RunId>> {
    let mut on_node: BTreeMap<NodeIx, Vec<&Yielder>> = BTreeMap::new();
    for yielder in yielders {
        for &ix in &yielder.nodes {
            on_node.entry(ix).or_default().push(yielder);
        }
    }
    let mut offers = Vec::new();
    for ix in hypothesis.touched() {
        let Some(here) = on_node.get(&ix) else { continue };
        let exact = here.len() <= EXACT_RUNS_MAX && hypothesis.touched().len() <= EXACT_NODES_MAX;
        let leaving = if exact { best_on_node(hypothesis, ix, here) } else { first_on_node(hypothesis, ix, here) };
        if let Some(leaving) = leaving {
            offers.push((cost(here.iter().copied(), &leaving), ix, leaving));
        }
    }
    offers.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let mut set = BTreeSet::new();
    for (_, _, leaving) in offers {
        set.extend(leaving);
        if fits(&set) {
            return Some(set);
        }
    }
    None
}

/// The first runs in yield order that make room for one worker on a node, those spared that can be.
fn first_on_node(hypothesis: &Hypothesis<'_>, ix: NodeIx, here: &[&Yielder]) -> Option<BTreeSet<RunId>> {
    let mut leaving = BTreeSet::new();
    let fits = |leaving: &BTreeSet<RunId>| hypothesis.on_node(ix, |run| leaving.contains(&run)) > 0;
    for yielder in here {
        if fits(&leaving) {
            break;
        }
        leaving.insert(yielder.run);
    }
    for yielder in here.iter().rev() {
        if leaving.remove(&yielder.run) && !fits(&leaving) {
            leaving.insert(yielder.run);
        }
    }
    fits(&leaving).then_some(leaving)
}

/// The cheapest runs that make room for one worker on a node, all sets looked at.
fn best_on_node(hypothesis: &Hypothesis<'_>, ix: NodeIx, here: &[&Yielder]) -> Option<BTreeSet<RunId>> {
    let subsets = (0_u32..1 << here.len()).map(|bits| -> BTreeSet<RunId> {
        here.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0).map(|(_, yielder)| yielder.run).collect()
    });
    subsets
        .filter(|leaving| hypothesis.on_node(ix, |run| leaving.contains(&run)) > 0)
        .min_by_key(|leaving| cost(here.iter().copied(), leaving))
}

/// What a set of victims costs, by class from the most valuable down: work lost, number; at last its newest run, which
/// should be as new as can be.
type Cost = (Vec<(Claim, u64, usize)>, Reverse<Option<RunId>>);

fn cost<'a>(yielders: impl Iterator<Item = &'a Yielder>, set: &BTreeSet<RunId>) -> Cost {
    let mut classes: BTreeMap<Claim, (u64, usize)> = BTreeMap::new();
    for yielder in yielders.filter(|yielder| set.contains(&yielder.run)) {
        let (loss, count) = classes.entry(yielder.claim).or_default();
        *loss = loss.saturating_add(yielder.loss);
        *count += 1;
    }
    let classes = classes.into_iter().rev().map(|(claim, (loss, count))| (claim, loss, count)).collect();
    (classes, Reverse(set.last().copied()))
}
