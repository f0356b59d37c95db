//! "If these left": placing a task as if some runs were gone.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use super::ask::Ask;
use super::field::{Scope, Sketch};
use super::lack::variants;
use super::placer::{Within, by_models};
use super::policy::Policy;
use super::seat::Seat;
use super::{gang, named};
use crate::inventory::{Inventory, KindSet, NodeIx, When};
use crate::model::{Placement, RunId, TaskSpec};

/// Placing a task as if some of a given set of runs had left.
///
/// How much fits with everybody in place is looked up once; each question then costs in proportion to the nodes that
/// the leaving runs are on. Of an elastic gang the fewest workers must fit.
#[derive(Debug)]
pub struct Hypothesis<'a> {
    inventory: &'a Inventory,
    ask: Ask,
    policy: &'a Policy,
    need: u64,
    /// Nodes with at least one of the runs on them that take new work.
    touched: BTreeMap<NodeIx, Scope>,
    variants: Vec<Variant>,
}

/// Kinds of which all workers may take together.
#[derive(Debug)]
struct Variant {
    kinds: KindSet,
    /// How many workers fit as things are, in each part of the network that they must share.
    sums: BTreeMap<Scope, u64>,
    /// How many of them on touched nodes.
    touched: BTreeMap<NodeIx, u32>,
    /// Whether the task fits as things are.
    fits: bool,
}

impl<'a> Hypothesis<'a> {
    /// `touched` are the nodes that the runs in question are on.
    #[must_use]
    pub fn new(inventory: &'a Inventory, spec: &TaskSpec, touched: &BTreeSet<NodeIx>, policy: &'a Policy) -> Self {
        let ask = Ask::of(inventory, spec);
        let need = u64::from(ask.workers_min());
        let new = |kinds| Variant { kinds, sums: BTreeMap::new(), touched: BTreeMap::new(), fits: false };
        let mut variants: Vec<Variant> = variants(inventory, &ask).into_iter().map(new).collect();
        let mut taking = BTreeMap::new();
        for ix in inventory.group(&spec.group) {
            let node = inventory.node(ix);
            if !ask.allows(inventory, node) {
                continue;
            }
            let scope = Scope::of(inventory, &ask, node);
            let room = node.room_at(When::Later);
            let is_touched = touched.contains(&ix);
            if is_touched {
                taking.insert(ix, scope);
            }
            for variant in &mut variants {
                let fits = Seat::new(inventory, &ask, &variant.kinds, node, &room).capacity();
                if is_touched {
                    variant.touched.insert(ix, fits);
                }
                if fits > 0 {
                    let sum = variant.sums.entry(scope).or_default();
                    *sum += u64::from(fits);
                    variant.fits |= *sum >= need;
                }
            }
        }
        Hypothesis { inventory, ask, policy, need, touched: taking, variants }
    }

    /// Whether all workers would fit if the runs for which `leaves` is true left; those are on `nodes` alone.
    #[must_use]
    pub fn fits(&self, nodes: &BTreeSet<NodeIx>, leaves: impl Fn(RunId) -> bool + Copy) -> bool {
        self.variants.iter().any(|variant| {
            if variant.fits {
                return true;
            }
            let mut gained: SmallVec<[(Scope, u64); 2]> = SmallVec::new();
            for &ix in nodes {
                let (Some(&scope), Some(&before)) = (self.touched.get(&ix), variant.touched.get(&ix)) else { continue };
                let gain = u64::from(self.fitting(ix, &variant.kinds, leaves).saturating_sub(before));
                match gained.iter_mut().find(|(known, _)| *known == scope) {
                    Some((_, sum)) => *sum += gain,
                    None => gained.push((scope, gain)),
                }
            }
            gained.iter().any(|(scope, gain)| variant.sums.get(scope).copied().unwrap_or(0) + gain >= self.need)
        })
    }

    /// Where all workers would be if the runs for which `leaves` is true left; `None` if they would not fit.
    #[must_use]
    pub fn place(&self, leaves: impl Fn(RunId) -> bool + Copy) -> Option<Placement> {
        let kinds = KindSet::all();
        let within = Within::anything(When::Later, &kinds);
        let places = by_models(self.inventory, &self.ask, &within, |within| {
            let sketch = Sketch::of(self.inventory, &self.ask, within, self.policy, |node| {
                self.touched.contains_key(&node.ix()).then(|| node.room_later_without(leaves))
            });
            gang::place(self.inventory, &self.ask, within, &sketch, self.policy)
        })?;
        Some(named(self.inventory, &places))
    }

    /// How many workers would fit on one node.
    #[must_use]
    pub fn on_node(&self, ix: NodeIx, leaves: impl Fn(RunId) -> bool + Copy) -> usize {
        let fitting = self.variants.iter().map(|variant| self.fitting(ix, &variant.kinds, leaves));
        fitting.max().unwrap_or(0) as usize
    }

    fn fitting(&self, ix: NodeIx, kinds: &KindSet, leaves: impl Fn(RunId) -> bool) -> u32 {
        let node = self.inventory.node(ix);
        let room = node.room_later_without(leaves);
        Seat::new(self.inventory, &self.ask, kinds, node, &room).capacity()
    }

    /// Nodes with at least one of the runs on them that take new work.
    pub fn touched(&self) -> impl ExactSizeIterator<Item = NodeIx> + '_ {
        self.touched.keys().copied()
    }
}
