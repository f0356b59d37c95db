//! The cheapest victims for a gang, exactly, where few runs and nodes are in question.
//!
//! What sets of runs cost adds up class by class, and what is cheaper stays so when the same is added to both. So the
//! cheapest victims for so many workers on some nodes are made of the cheapest for fewer on each of them: a knapsack, in
//! which workers are the weight. Runs with workers on several nodes tie these together; of them all sets are tried that
//! are not dearer than the best that is known.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::trial::Trial;
use crate::inventory::NodeIx;
use crate::model::{Claim, RunId};
use crate::placement::Part;

/// So many sets of runs are looked at on all nodes together, at most: each costs a look at a node.
const SETS_MAX: usize = 2048;
/// So many ways of adding a node to a part of a plan are looked at, at most.
const STEPS_MAX: usize = 1 << 15;
/// Gangs that need more workers are not looked at.
const WORKERS_MAX: u64 = 16;

/// What a set costs: by class, the most valuable first, the work lost and the number of runs; then its newest run.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Sum {
    classes: SmallVec<[(u64, u32); 4]>,
    newest: Reverse<Option<RunId>>,
}

/// Candidates that leave, and what that costs.
#[derive(Clone, Debug, Default)]
struct Set {
    sum: Sum,
    leaving: SmallVec<[usize; 8]>,
}

/// One node: which candidates that are on it alone should leave for so many workers, given who else leaves.
struct Node {
    /// Candidates here that are on other nodes too, by their place among all of these.
    tied: SmallVec<[usize; 4]>,
    /// For each way to share out workers; for each set of those who are tied, one bit each: by workers that then fit, the
    /// fewest first, the cheapest that leave besides.
    offers: Vec<Vec<Vec<(u64, Set)>>>,
    parts: SmallVec<[Part; 1]>,
}

struct Search<'a> {
    need: u64,
    nodes: &'a [Node],
    /// Workers that fit on other nodes.
    elsewhere: &'a BTreeMap<Part, u64>,
    tied: &'a [Set],
    steps: usize,
    best: Set,
}

/// A cheaper set of victims than `known`, if there is one; looked for only where that takes little.
pub(super) fn cheaper(trial: &Trial<'_>, known: &[usize]) -> Option<Vec<usize>> {
    let need = trial.need();
    let nodes: Vec<NodeIx> = trial.nodes();
    let sets = nodes.iter().map(|&ix| 1_usize << trial.candidates_on(ix).len().min(20)).sum::<usize>();
    if !(2..=WORKERS_MAX).contains(&need) || sets > SETS_MAX {
        return None;
    }
    let classes = Classes::of(trial);
    let tied_ids: Vec<usize> = (0..trial.yielders().len())
        .filter(|at| nodes.iter().filter(|&&ix| trial.candidates_on(ix).contains(at)).count() > 1)
        .collect();
    let tied: Vec<Set> = tied_ids.iter().map(|&at| classes.set(trial, &[at])).collect();
    let looked_at: Vec<Node> = nodes.iter().map(|&ix| Node::look_at(trial, &classes, ix, &tied_ids)).collect();
    let best = classes.set(trial, known);
    let elsewhere = trial.elsewhere();
    let mut search = Search { need, nodes: &looked_at, elsewhere: &elsewhere, tied: &tied, steps: 0, best };
    search.try_tied(0, &mut SmallVec::new(), &classes.set(trial, &[]));
    let mut found = search.best.leaving.into_vec();
    found.sort_unstable();
    (found != known).then_some(found)
}

/// The claims that candidates have, the most valuable first.
struct Classes(SmallVec<[Claim; 4]>);

impl Classes {
    fn of(trial: &Trial<'_>) -> Self {
        let mut claims: SmallVec<[Claim; 4]> = trial.yielders().iter().map(|yielder| yielder.claim).collect();
        claims.sort_unstable_by_key(|&claim| Reverse(claim));
        claims.dedup();
        Classes(claims)
    }

    fn set(&self, trial: &Trial<'_>, leaving: &[usize]) -> Set {
        let mut classes: SmallVec<[(u64, u32); 4]> = SmallVec::from_elem((0, 0), self.0.len());
        for yielder in leaving.iter().map(|&at| &trial.yielders()[at]) {
            if let Some(at) = self.0.iter().position(|&claim| claim == yielder.claim) {
                classes[at] = (classes[at].0.saturating_add(yielder.loss), classes[at].1 + 1);
            }
        }
        let newest = Reverse(leaving.iter().map(|&at| trial.yielders()[at].run).max());
        Set { sum: Sum { classes, newest }, leaving: leaving.into() }
    }
}

impl Set {
    /// This set and one that has no run in common with it.
    fn and(&self, other: &Set) -> Set {
        let mut both = self.clone();
        for (class, more) in both.sum.classes.iter_mut().zip(&other.sum.classes) {
            *class = (class.0.saturating_add(more.0), class.1 + more.1);
        }
        both.sum.newest = Reverse(both.sum.newest.0.max(other.sum.newest.0));
        both.leaving.extend_from_slice(&other.leaving);
        both
    }
}

impl Node {
    fn look_at(trial: &Trial<'_>, classes: &Classes, ix: NodeIx, tied_ids: &[usize]) -> Self {
        let (tied, alone): (Vec<usize>, Vec<usize>) =
            trial.candidates_on(ix).iter().partition(|at| tied_ids.contains(at));
        let parts = trial.parts_of(ix);
        let mut offers: Vec<Vec<Vec<(u64, Set)>>> = vec![vec![Vec::new(); 1 << tied.len()]; parts.len()];
        let chosen = |of: &[usize], bits: usize| -> SmallVec<[usize; 8]> {
            of.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0).map(|(_, candidate)| *candidate).collect()
        };
        for bits_alone in 0..1_usize << alone.len() {
            let leaving = chosen(&alone, bits_alone);
            let set = classes.set(trial, &leaving);
            for bits_tied in 0..1_usize << tied.len() {
                let mut all = leaving.clone();
                all.extend(chosen(&tied, bits_tied));
                let fitting = trial.would_fit_each(ix, &all);
                for (offers, fits) in offers.iter_mut().zip(fitting) {
                    let offers = &mut offers[bits_tied];
                    let fits = u64::from(fits).min(trial.need());
                    match offers.binary_search_by_key(&fits, |&(fits, _)| fits) {
                        Ok(at) if offers[at].1.sum > set.sum => offers[at].1 = set.clone(),
                        Ok(_) => {}
                        Err(at) => offers.insert(at, (fits, set.clone())),
                    }
                }
            }
        }
        let tied = tied.iter().filter_map(|at| tied_ids.iter().position(|id| id == at)).collect();
        Node { tied, offers, parts }
    }
}

impl Search<'_> {
    /// Tries all sets of those who are tied that hold `chosen`, and of the others only those from `from` on.
    fn try_tied(&mut self, from: usize, chosen: &mut SmallVec<[usize; 8]>, set: &Set) {
        if set.sum >= self.best.sum || self.steps > STEPS_MAX {
            return;
        }
        let parts: std::collections::BTreeSet<Part> =
            self.nodes.iter().flat_map(|node| node.parts.iter().copied()).collect();
        for part in parts {
            self.fill(part, chosen, set);
        }
        for at in from..self.tied.len() {
            chosen.push(at);
            self.try_tied(at + 1, chosen, &set.and(&self.tied[at]));
            chosen.pop();
        }
    }

    /// The cheapest who leave besides, so that all workers fit into one part of the network.
    fn fill(&mut self, part: Part, chosen: &[usize], set: &Set) {
        let need = self.need as usize;
        let begin = self.elsewhere.get(&part).copied().unwrap_or(0).min(self.need) as usize;
        let mut cheapest: Vec<Option<Set>> = vec![None; need + 1];
        cheapest[begin] = Some(set.clone());
        for node in self.nodes {
            let Some(way) = node.parts.iter().position(|&known| known == part) else { continue };
            let bits = node.tied.iter().enumerate().filter(|(_, at)| chosen.contains(at));
            let bits = bits.fold(0, |bits, (at, _)| bits | 1 << at);
            let mut next: Vec<Option<Set>> = vec![None; need + 1];
            for (workers, so_far) in cheapest.iter().enumerate() {
                let Some(so_far) = so_far else { continue };
                for (more, besides) in &node.offers[way][bits] {
                    self.steps += 1;
                    let both = so_far.and(besides);
                    let slot = &mut next[(workers + *more as usize).min(need)];
                    if both.sum < self.best.sum && slot.as_ref().is_none_or(|known| both.sum < known.sum) {
                        *slot = Some(both);
                    }
                }
            }
            cheapest = next;
        }
        if let Some(Some(found)) = cheapest.pop()
            && found.sum < self.best.sum
        {
            self.best = found;
        }
    }
}
