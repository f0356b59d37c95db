//! Who yields: the cheapest set of runs whose leaving makes room for a task.
//!
//! See [`plan`] for the primary entry point.
//!
//! Choosing victims exactly is a covering problem (NP-hard for gangs), so two greedy sets are made and the better one
//! is taken: the shortest prefix of all candidates in yield order, and the cheapest nodes first. Both are pruned until
//! no victim can be spared. A set is better if it is cheaper in its most valuable class, then in the next; within a
//! class by work lost, then by number, then by age (the newest leave).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::inventory::{Inventory, NodeIx};
use crate::model::{Placement, Priority, RunId, TaskSpec};
use crate::placement::Hypothesis;

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
    let hypothesis = Hypothesis::new(inventory, spec, &touched);
    let fits = |set: &BTreeSet<RunId>| hypothesis.place(|run| set.contains(&run)).is_some() && also(set);

    let prefix = shortest_prefix(yielders, &fits)?;
    let mut best = pruned(yielders, prefix, &fits);
    if !strict_order
        && best.len() > 1
        && let Some(set) = cheapest_nodes(&hypothesis, yielders, &fits)
    {
        let other = pruned(yielders, set, &fits);
        if cost(yielders, &other) < cost(yielders, &best) {
            best = other;
        }
    }
    let placement = hypothesis.place(|run| best.contains(&run))?;
    let victims = yielders.iter().map(|yielder| yielder.run).filter(|run| best.contains(run)).collect();
    Some(Plan { victims, placement })
}

/// The shortest prefix that fits; fitting is monotone, so halving finds it.
fn shortest_prefix(yielders: &[Yielder], fits: &impl Fn(&BTreeSet<RunId>) -> bool) -> Option<BTreeSet<RunId>> {
    let prefix = |len: usize| -> BTreeSet<RunId> { yielders[..len].iter().map(|yielder| yielder.run).collect() };
    if !fits(&prefix(yielders.len())) {
        return None;
    }
    let (mut too_short, mut enough) = (0, yielders.len());
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
    for &ix in hypothesis.touched() {
        let Some(here) = on_node.get(&ix) else { continue };
        let mut leaving = BTreeSet::new();
        for yielder in here {
            if hypothesis.on_node(ix, |run| leaving.contains(&run)) > 0 {
                break;
            }
            leaving.insert(yielder.run);
        }
        for yielder in here.iter().rev() {
            if leaving.remove(&yielder.run) && hypothesis.on_node(ix, |run| leaving.contains(&run)) == 0 {
                leaving.insert(yielder.run);
            }
        }
        if hypothesis.on_node(ix, |run| leaving.contains(&run)) > 0 {
            offers.push((cost(yielders, &leaving), ix, leaving));
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

/// What a set of victims costs, by class from the most valuable down: work lost, number; at last its newest run, which
/// should be as new as can be.
type Cost = (Vec<(Claim, u64, usize)>, Reverse<Option<RunId>>);

fn cost(yielders: &[Yielder], set: &BTreeSet<RunId>) -> Cost {
    let mut classes: BTreeMap<Claim, (u64, usize)> = BTreeMap::new();
    for yielder in yielders.iter().filter(|yielder| set.contains(&yielder.run)) {
        let (loss, count) = classes.entry(yielder.claim).or_default();
        *loss = loss.saturating_add(yielder.loss);
        *count += 1;
    }
    let classes = classes.into_iter().rev().map(|(claim, (loss, count))| (claim, loss, count)).collect();
    (classes, Reverse(set.last().copied()))
}
