//! Trying who leaves: what fits is counted anew only on the nodes that a run is on.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::{Question, Yielder, nodes_of};
use crate::inventory::NodeIx;
use crate::model::{Devices, Placement, RunId};
use crate::placement::{self, Hypothesis, Part};

/// A set of candidates that leave, and whether the task would fit then.
#[derive(Debug)]
pub(super) struct Trial<'a> {
    question: &'a Question<'a>,
    hypothesis: Hypothesis<'a>,
    yielders: &'a [Yielder],
    leaves: Vec<bool>,
    /// Candidates by node, in yield order.
    here: BTreeMap<NodeIx, SmallVec<[usize; 8]>>,
}

impl<'a> Trial<'a> {
    /// Nobody leaves.
    pub(super) fn new(question: &'a Question<'a>, yielders: &'a [Yielder]) -> Self {
        let Question { inventory, ask, policy, within, order } = *question;
        let hypothesis = Hypothesis::new(inventory, ask, policy, within, order, &nodes_of(yielders));
        let mut here: BTreeMap<NodeIx, SmallVec<[usize; 8]>> =
            hypothesis.touched().map(|ix| (ix, SmallVec::new())).collect();
        for (at, yielder) in yielders.iter().enumerate() {
            for ix in &yielder.nodes {
                if let Some(here) = here.get_mut(ix) {
                    here.push(at);
                }
            }
        }
        Trial { question, hypothesis, yielders, leaves: vec![false; yielders.len()], here }
    }

    pub(super) fn yielders(&self) -> &'a [Yielder] {
        self.yielders
    }

    /// Nodes that any candidate is on and that may get the task.
    pub(super) fn nodes(&self) -> Vec<NodeIx> {
        self.here.keys().copied().collect()
    }

    /// Candidates on a node, in yield order.
    pub(super) fn candidates_on(&self, ix: NodeIx) -> &[usize] {
        self.here.get(&ix).map_or(&[], |here| here)
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
            let Some(here) = self.here.get(ix) else { continue };
            let (yielders, leaves) = (self.yielders, &self.leaves);
            let gone = |run| here.iter().any(|&other| leaves[other] && yielders[other].run == run);
            self.hypothesis.set_leaving(*ix, gone);
        }
    }

    /// Whether the task would fit.
    pub(super) fn fits(&self) -> bool {
        self.hypothesis.fits()
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
    pub(super) fn would_fit_on(&self, ix: NodeIx, leaving: &[usize]) -> u32 {
        self.hypothesis.on_node(ix, |run| leaving.iter().any(|&at| self.yielders[at].run == run))
    }

    /// How many devices a candidate has a hold on at a node.
    pub(super) fn devices_on(&self, ix: NodeIx, at: usize) -> u32 {
        let run = self.yielders[at].run;
        let holds = self.question.inventory.node(ix).holds().iter().filter(|hold| hold.run == run);
        holds.map(|hold| hold.take.devices.count_ones()).sum()
    }

    /// Cheap: whether a worker might fit on a node once so many devices more are free there.
    pub(super) fn may_fit_with(&self, ix: NodeIx, freed: u32) -> bool {
        match self.question.ask.request().devices {
            Devices::Count(count) => self.question.inventory.free_later(ix) + freed >= count,
            Devices::WholeNode | Devices::Share(_) | Devices::Memory(_) => true,
        }
    }

    /// The fewest workers that must fit.
    pub(super) fn need(&self) -> u64 {
        self.hypothesis.need()
    }

    /// The parts of the network, and kinds of devices, that workers on a node may be counted for.
    pub(super) fn parts_of(&self, ix: NodeIx) -> SmallVec<[Part; 1]> {
        self.hypothesis.parts_of(ix)
    }

    /// How many workers would fit on a node if just these left, for each of its parts.
    pub(super) fn would_fit_each(&self, ix: NodeIx, leaving: &[usize]) -> SmallVec<[u32; 1]> {
        self.hypothesis.on_node_each(ix, |run| leaving.iter().any(|&at| self.yielders[at].run == run))
    }

    /// How many workers fit on the nodes that no candidate is on, by part.
    pub(super) fn elsewhere(&self) -> BTreeMap<Part, u64> {
        self.hypothesis.elsewhere()
    }

    /// Where the task would be.
    pub(super) fn place(&self) -> Option<Placement> {
        let mut gone = self.runs();
        gone.sort_unstable();
        let places = self.hypothesis.place(|run| gone.binary_search(&run).is_ok())?;
        Some(placement::named(self.question.inventory, &places))
    }
}
