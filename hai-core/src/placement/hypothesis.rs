//! "If these left": placing a task as if some runs were gone.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use super::ask::Ask;
use super::field::{Field, Scope, Sketch};
use super::lack::variants;
use super::overlay::Overlay;
use super::placer::{NodeOrder, Within, by_models};
use super::policy::Policy;
use super::ranking::Ranking;
use super::seat::Seat;
use super::{Places, gang};
use crate::inventory::{Inventory, KindSet, Node, NodeIx, Room, When};
use crate::model::RunId;

/// Placing a task as if some of a given set of runs had left.
///
/// How much fits with everybody in place is counted once; who leaves is then told node by node, and only that node is
/// counted anew. Of an elastic gang the fewest workers must fit.
#[derive(Debug)]
pub struct Hypothesis<'a> {
    inventory: &'a Inventory,
    ask: &'a Ask,
    policy: &'a Policy,
    within: Within<'a>,
    /// The order of all nodes with everybody in place, if it is known.
    order: Option<&'a Ranking>,
    need: u64,
    /// Kinds of which all workers may take together, and how many workers fit in each part of the network that they must
    /// share.
    variants: Vec<(KindSet, BTreeMap<Scope, u64>)>,
    touched: BTreeMap<NodeIx, Touched>,
    /// How many sums are enough.
    enough: usize,
}

/// A part of the network that all workers must be in, and kinds of devices of which all must take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    variant: usize,
    scope: Scope,
}

/// A node that some of the runs are on.
#[derive(Debug)]
struct Touched {
    scope: Scope,
    /// How many workers fit, by variant.
    fitting: SmallVec<[u32; 1]>,
}

impl<'a> Hypothesis<'a> {
    /// Nobody has left. `touched` are the nodes that the runs in question are on.
    ///
    /// For a task of one worker, only they are looked at: it is asked about for want of a place elsewhere. The same is so
    /// for a gang whose `order` of nodes is known, unless its workers must share something.
    #[must_use]
    pub fn new(
        inventory: &'a Inventory,
        ask: &'a Ask,
        policy: &'a Policy,
        within: Within<'a>,
        order: Option<NodeOrder<'a>>,
        touched: &BTreeSet<NodeIx>,
    ) -> Self {
        let need = u64::from(ask.workers_min());
        let variants = variants(inventory, ask).into_iter().map(|kinds| (kinds.and(within.kinds), BTreeMap::new()));
        let within = Within { when: When::Later, ..within };
        let mut hypothesis = Hypothesis {
            inventory,
            ask,
            policy,
            within,
            order: order.map(|order| order.0).filter(|_| need > 1),
            need,
            variants: variants.collect(),
            touched: BTreeMap::new(),
            enough: 0,
        };
        if need == 1 {
            for &ix in touched {
                hypothesis.take_in(ix, true);
            }
        } else if let Some(order) =
            hypothesis.order.filter(|_| !ask.is_tied() && !ask.wants_one_model() && hypothesis.within.may_cross_zones)
        {
            hypothesis.take_over(order, touched);
        } else if let Some(group) = ask.group(inventory) {
            for ix in inventory.group_nodes(group) {
                hypothesis.take_in(ix, touched.contains(&ix));
            }
        }
        hypothesis
    }

    /// Takes from the order how many workers fit, which is known there already.
    fn take_over(&mut self, order: &Ranking, touched: &BTreeSet<NodeIx>) {
        let avoided: u64 = self.within.avoid.iter().map(|&ix| u64::from(order.fits(ix))).sum();
        let sum = order.total() - avoided;
        self.enough = usize::from(sum >= self.need);
        for (_, sums) in &mut self.variants {
            sums.insert(Scope::All, sum);
        }
        for &ix in touched {
            let Some(node) = self.inventory.get(ix) else { continue };
            if self.ask.allows(self.inventory, node) && !self.within.avoids(ix) {
                let fitting = SmallVec::from_elem(order.fits(ix), 1);
                self.touched.insert(ix, Touched { scope: Scope::All, fitting });
            }
        }
    }

    fn take_in(&mut self, ix: NodeIx, touched: bool) {
        let Some(node) = self.inventory.get(ix) else { return };
        if !self.ask.allows(self.inventory, node) || self.within.avoids(ix) {
            return;
        }
        if !touched && !self.ask.may_fit_on(self.inventory, ix) {
            return;
        }
        let scope = match Scope::of(self.inventory, self.ask, node) {
            Scope::All if !self.within.may_cross_zones => Scope::Place(node.path().zone),
            scope => scope,
        };
        let room = node.room_at(When::Later);
        let mut fitting = SmallVec::new();
        for (kinds, sums) in &mut self.variants {
            let fits = fits_in(self.inventory, self.ask, kinds, node, &room);
            fitting.push(fits);
            let sum = sums.entry(scope).or_default();
            self.enough -= usize::from(*sum >= self.need);
            *sum += u64::from(fits);
            self.enough += usize::from(*sum >= self.need);
        }
        if touched {
            self.touched.insert(ix, Touched { scope, fitting });
        }
    }

    /// Nodes with at least one of the runs on them that may get the task.
    pub fn touched(&self) -> impl ExactSizeIterator<Item = NodeIx> + '_ {
        self.touched.keys().copied()
    }

    /// On this node, those have left for which `leaves` is true, and nobody else.
    pub fn set_leaving(&mut self, ix: NodeIx, leaves: impl Fn(RunId) -> bool) {
        let Some(touched) = self.touched.get_mut(&ix) else { return };
        let node = self.inventory.node(ix);
        let room = node.room_later_without(leaves);
        for ((kinds, sums), before) in self.variants.iter_mut().zip(&mut touched.fitting) {
            let fits = fits_in(self.inventory, self.ask, kinds, node, &room);
            let sum = sums.entry(touched.scope).or_default();
            self.enough -= usize::from(*sum >= self.need);
            *sum = *sum + u64::from(fits) - u64::from(*before);
            self.enough += usize::from(*sum >= self.need);
            *before = fits;
        }
    }

    /// Whether the task fits.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.enough > 0
    }

    /// How many workers would fit on one node if just those left for which `leaves` is true.
    #[must_use]
    pub fn on_node(&self, ix: NodeIx, leaves: impl Fn(RunId) -> bool) -> u32 {
        self.on_node_each(ix, leaves).into_iter().max().unwrap_or(0)
    }

    /// The same for each of the node's parts.
    #[must_use]
    pub fn on_node_each(&self, ix: NodeIx, leaves: impl Fn(RunId) -> bool) -> SmallVec<[u32; 1]> {
        let node = self.inventory.node(ix);
        let room = node.room_later_without(leaves);
        let fitting = |(kinds, _): &(KindSet, _)| fits_in(self.inventory, self.ask, kinds, node, &room);
        self.variants.iter().map(fitting).collect()
    }

    /// The fewest workers that must fit.
    #[must_use]
    pub fn need(&self) -> u64 {
        self.need
    }

    /// The parts that workers on one of the touched nodes are counted for.
    #[must_use]
    pub fn parts_of(&self, ix: NodeIx) -> SmallVec<[Part; 1]> {
        let scope = self.touched.get(&ix).map(|touched| touched.scope);
        scope
            .into_iter()
            .flat_map(|scope| (0..self.variants.len()).map(move |variant| Part { variant, scope }))
            .collect()
    }

    /// How many workers fit on nodes that are not touched, by part.
    #[must_use]
    pub fn elsewhere(&self) -> BTreeMap<Part, u64> {
        let mut elsewhere = BTreeMap::new();
        for (variant, (_, sums)) in self.variants.iter().enumerate() {
            elsewhere.extend(sums.iter().map(|(&scope, &sum)| (Part { variant, scope }, sum)));
        }
        for touched in self.touched.values() {
            for (variant, &fits) in touched.fitting.iter().enumerate() {
                if let Some(sum) = elsewhere.get_mut(&Part { variant, scope: touched.scope }) {
                    *sum -= u64::from(fits);
                }
            }
        }
        elsewhere
    }

    /// Where all workers would be if those left for which `leaves` is true; `None` if they would not fit.
    #[must_use]
    pub fn place(&self, leaves: impl Fn(RunId) -> bool) -> Option<Places> {
        by_models(self.inventory, self.ask, &self.within, |within| {
            if let Some(order) = self.order.filter(|order| order.kinds() == within.kinds) {
                let rooms = self.touched.keys().map(|&ix| (ix, self.inventory.node(ix).room_later_without(&leaves)));
                let overlay = Overlay::of(order, self.inventory, self.ask, within, self.policy, rooms);
                return gang::place(self.inventory, self.ask, within, &overlay, self.policy);
            }
            let group = self.ask.group(self.inventory).filter(|_| self.need > 1).into_iter();
            let all = group.flat_map(|group| self.inventory.group_nodes(group));
            let nodes = all.chain(self.touched.keys().copied().filter(|_| self.need == 1));
            let sketch = Sketch::of(self.inventory, self.ask, within, self.policy, nodes, |node| {
                self.touched.contains_key(&node.ix()).then(|| node.room_later_without(&leaves))
            });
            gang::place(self.inventory, self.ask, within, &sketch, self.policy)
        })
    }
}

/// How many workers fit on a node in so much room.
fn fits_in(inventory: &Inventory, ask: &Ask, kinds: &KindSet, node: &Node, room: &Room) -> u32 {
    if ask.may_fit_in(room) { Seat::new(inventory, ask, kinds, node, room).capacity() } else { 0 }
}
