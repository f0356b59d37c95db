//! Trying who leaves: what fits is counted anew only on the nodes that a run is on.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::{Yielder, nodes_of};
use crate::inventory::{Inventory, NodeIx};
use crate::model::{Placement, RunId, TaskSpec};
use crate::placement::Hypothesis;

/// A node that some candidate is on.
#[derive(Debug)]
struct Touched {
    /// Candidates on it, in yield order.
    here: SmallVec<[usize; 8]>,
    /// How many workers fit while those leave who do.
    fitting: usize,
}

/// A set of candidates that leave, and whether the task would fit then.
#[derive(Debug)]
pub(super) struct Trial<'a> {
    hypothesis: Hypothesis<'a>,
    yielders: &'a [Yielder],
    workers: usize,
    leaves: Vec<bool>,
    nodes: BTreeMap<NodeIx, Touched>,
    fitting: usize,
}

impl<'a> Trial<'a> {
    /// Nobody leaves.
    pub(super) fn new(inventory: &'a Inventory, spec: &'a TaskSpec, yielders: &'a [Yielder]) -> Self {
        let touched = nodes_of(yielders);
        let hypothesis = Hypothesis::new(inventory, spec, &touched);
        let mut nodes: BTreeMap<NodeIx, Touched> = hypothesis
            .touched()
            .map(|ix| (ix, Touched { here: SmallVec::new(), fitting: hypothesis.on_node(ix, |_| false) }))
            .collect();
        for (at, yielder) in yielders.iter().enumerate() {
            for ix in &yielder.nodes {
                if let Some(node) = nodes.get_mut(ix) {
                    node.here.push(at);
                }
            }
        }
        let fitting = hypothesis.elsewhere() + nodes.values().map(|node| node.fitting).sum::<usize>();
        let workers = spec.workers_min() as usize;
        Trial { hypothesis, yielders, workers, leaves: vec![false; yielders.len()], nodes, fitting }
    }

    pub(super) fn yielders(&self) -> &'a [Yielder] {
        self.yielders
    }

    /// Nodes that any candidate is on and that take the task.
    pub(super) fn nodes(&self) -> Vec<NodeIx> {
        self.nodes.keys().copied().collect()
    }

    /// Candidates on a node, in yield order.
    pub(super) fn candidates_on(&self, ix: NodeIx) -> &[usize] {
        self.nodes.get(&ix).map_or(&[], |node| &node.here)
    }

    pub(super) fn let_leave(&mut self, at: usize) {
        self.set(at, true);
    }

    pub(super) fn let_stay(&mut self, at: usize) {
        self.set(at, false);
    }

    pub(super) fn let_all_stay(&mut self) {
        for at in self.leaving() {
            self.let_stay(at);
        }
    }

    fn set(&mut self, at: usize, leaves: bool) {
        if std::mem::replace(&mut self.leaves[at], leaves) == leaves {
            return;
        }
        for ix in &self.yielders[at].nodes {
            let Some(node) = self.nodes.get_mut(ix) else { continue };
            let (yielders, leaves) = (self.yielders, &self.leaves);
            let now = self
                .hypothesis
                .on_node(*ix, |run| node.here.iter().any(|&other| leaves[other] && yielders[other].run == run));
            self.fitting = self.fitting + now - node.fitting;
            node.fitting = now;
        }
    }

    /// Whether the task would fit.
    pub(super) fn fits(&self) -> bool {
        self.fitting >= self.workers
    }

    /// Who leaves, in yield order.
    pub(super) fn leaving(&self) -> Vec<usize> {
        self.leaves.iter().enumerate().filter(|(_, leaves)| **leaves).map(|(at, _)| at).collect()
    }

    /// The same as runs.
    pub(super) fn runs(&self) -> Vec<RunId> {
        self.leaving().into_iter().map(|at| self.yielders[at].run).collect()
    }

    /// How many workers would fit on a node if just these left.
    pub(super) fn would_fit_on(&self, ix: NodeIx, leaving: &[usize]) -> usize {
        self.hypothesis.on_node(ix, |run| leaving.iter().any(|&at| self.yielders[at].run == run))
    }

    /// Where the task would be.
    pub(super) fn place(&self) -> Option<Placement> {
        self.hypothesis
            .place(|run| self.yielders.iter().enumerate().any(|(at, yielder)| self.leaves[at] && yielder.run == run))
    }
}
