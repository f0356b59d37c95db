//! Who yields: the cheapest set of runs whose leaving makes room for a task.
//!
//! See [`Yielders`] for who may have to, and [`plan`] for who then does.
//!
//! Choosing victims exactly is a covering problem (NP-hard for gangs), so two greedy sets are made and the better one
//! is taken: the shortest prefix of all candidates in yield order, and the cheapest nodes first (on each node the exact
//! best set, as long as there are few). Both are pruned until no victim can be spared. For one worker that is the best
//! set; for a gang a better one is looked for exactly where few runs and nodes are in question (`exact.rs`). A set is better if it is cheaper
//! in its most valuable class, then in the next; within a class by work lost, then by number, then by age (the newest
//! leave). On a large cluster the candidates are first cut down to a short list (`shortlist.rs`).

mod exact;
mod shortlist;
mod trial;
mod yielders;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

pub use shortlist::{Winner, candidates, candidates_on};
use trial::Trial;
pub use yielders::{Listed, Loss, OnNode, Owner, Yielders};

use crate::inventory::{Inventory, NodeIx};
use crate::model::{Claim, Placement, RunId};
use crate::placement::{Ask, NodeOrder, Policy, Within};

/// Nodes with more runs than this are emptied greedily.
const EXACT_RUNS_MAX: usize = 8;
/// With more nodes than this in question, all of them are.
const EXACT_NODES_MAX: usize = 64;

/// A run that may be told to leave.
#[derive(Clone, Debug)]
pub struct Yielder {
    /// The run.
    pub run: RunId,
    /// Its claim.
    pub claim: Claim,
    /// What its leaving would cost, in device-milliseconds.
    pub loss: u64,
    /// The nodes it is on, each once.
    pub nodes: SmallVec<[NodeIx; 1]>,
}

/// What room is to be made for, and where.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// All machines.
    pub inventory: &'a Inventory,
    /// What is asked for.
    pub ask: &'a Ask,
    /// How places are chosen.
    pub policy: &'a Policy,
    /// What the place must keep within; it is always one for later.
    pub within: Within<'a>,
    /// How the request likes all nodes as they are, if that is known.
    pub order: Option<NodeOrder<'a>>,
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
    question: &Question<'_>,
    yielders: &[Yielder],
    strict_order: bool,
    also: impl Fn(&[RunId]) -> bool,
) -> Option<Plan> {
    let mut trial = Trial::new(question, yielders);
    let fits = |trial: &Trial<'_>| trial.fits() && also(&trial.runs());
    let prefix = (0..yielders.len()).find(|&next| {
        trial.let_leave(next);
        fits(&trial)
    });
    prefix?;
    prune(&mut trial, &fits);
    let mut best = trial.leaving();
    if !strict_order && best.len() > 1 {
        trial.let_all_stay();
        if empty_cheapest_nodes(&mut trial, &fits) {
            prune(&mut trial, &fits);
            let other = trial.leaving();
            if cost(yielders, &other) < cost(yielders, &best) {
                best = other;
            }
        }
        if let Some(cheapest) = exact::cheaper(&trial, &best) {
            trial.let_all_stay();
            for &at in &cheapest {
                trial.let_leave(at);
            }
            if fits(&trial) {
                best = cheapest;
            }
        }
    }
    trial.let_all_stay();
    for &at in &best {
        trial.let_leave(at);
    }
    let placement = trial.place()?;
    Some(Plan { victims: best.into_iter().map(|at| yielders[at].run).collect(), placement })
}

/// Spares everybody who can be spared, the dearest first.
fn prune(trial: &mut Trial<'_>, fits: &impl Fn(&Trial<'_>) -> bool) {
    for at in trial.leaving().into_iter().rev() {
        trial.let_stay(at);
        if !fits(trial) {
            trial.let_leave(at);
        }
    }
}

/// Empties nodes, the cheapest first, until the task fits. False if it does not even then.
fn empty_cheapest_nodes(trial: &mut Trial<'_>, fits: &impl Fn(&Trial<'_>) -> bool) -> bool {
    let mut offers = Vec::new();
    let exact_nodes = trial.nodes().len() <= EXACT_NODES_MAX;
    for ix in trial.nodes() {
        let here = trial.candidates_on(ix);
        let leaving = if exact_nodes && here.len() <= EXACT_RUNS_MAX {
            best_on_node(trial, ix)
        } else {
            first_on_node(trial, ix)
        };
        if let Some(leaving) = leaving {
            offers.push((cost(trial.yielders(), &leaving), ix, leaving));
        }
    }
    offers.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    for (_, _, leaving) in offers {
        for at in leaving {
            trial.let_leave(at);
        }
        if fits(trial) {
            return true;
        }
    }
    false
}

/// The first candidates in yield order that make room for one worker on a node, those spared that can be.
fn first_on_node(trial: &Trial<'_>, ix: NodeIx) -> Option<Vec<usize>> {
    let here = trial.candidates_on(ix);
    let fits = |leaving: &[usize]| trial.would_fit_on(ix, leaving) > 0;
    let enough = (0..=here.len()).find(|&count| fits(&here[..count]))?;
    let mut leaving = here[..enough].to_vec();
    for at in here[..enough].iter().rev() {
        let without: Vec<usize> = leaving.iter().copied().filter(|other| other != at).collect();
        if fits(&without) {
            leaving = without;
        }
    }
    Some(leaving)
}

/// The cheapest candidates that make room for one worker on a node, all sets looked at.
fn best_on_node(trial: &Trial<'_>, ix: NodeIx) -> Option<Vec<usize>> {
    let here = trial.candidates_on(ix);
    let devices: SmallVec<[u32; EXACT_RUNS_MAX]> = here.iter().map(|&at| trial.devices_on(ix, at)).collect();
    // Cheap, since most sets free too little.
    let enough = |bits: &u32| {
        let freed = devices.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0).map(|(_, devices)| devices);
        trial.may_fit_with(ix, freed.sum())
    };
    let subsets = (0_u32..1 << here.len()).filter(enough).map(|bits| -> Vec<usize> {
        here.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0).map(|(_, candidate)| *candidate).collect()
    });
    subsets.filter(|leaving| trial.would_fit_on(ix, leaving) > 0).min_by_key(|leaving| cost(trial.yielders(), leaving))
}

/// What a set of victims costs, by class from the most valuable down: work lost, number; at last its newest run, which
/// should be as new as can be.
type Cost = (SmallVec<[(Claim, u64, usize); 2]>, Reverse<Option<RunId>>);

/// `set` holds places in `yielders`, which stand in yield order.
fn cost(yielders: &[Yielder], set: &[usize]) -> Cost {
    let mut classes: BTreeMap<Claim, (u64, usize)> = BTreeMap::new();
    for yielder in set.iter().map(|&at| &yielders[at]) {
        let (loss, count) = classes.entry(yielder.claim).or_default();
        *loss = loss.saturating_add(yielder.loss);
        *count += 1;
    }
    let newest = set.iter().map(|&at| yielders[at].run).max();
    (classes.into_iter().rev().map(|(claim, (loss, count))| (claim, loss, count)).collect(), Reverse(newest))
}

/// Nodes that any of these are on, in order.
fn nodes_of(yielders: &[Yielder]) -> BTreeSet<NodeIx> {
    yielders.iter().flat_map(|yielder| yielder.nodes.iter().copied()).collect()
}
