//! What a run uses of rights, given what it holds.

use smallvec::SmallVec;

use super::ids::{Ix, ModelIx};
use crate::model::{Amount, Charge};

/// What a device counts whose model was given no weight: itself.
pub const WEIGHT_MILLI_DEFAULT: u64 = 1000;

/// What a run uses. It is worked out once, when the run gets its place, and given back as it was: a weight that changes
/// later counts for later runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    /// In all.
    pub charge: Charge,
    /// Of each model, by number; of a node that holds several, one node of each. Nodes without devices are of no model.
    pub by_model: SmallVec<[(ModelIx, Charge); 1]>,
}

/// A thing that a run holds.
#[derive(Clone, Copy, Debug)]
pub enum Held<'a> {
    /// A whole node.
    Node {
        /// The models of its devices, in any order, as often as they like.
        models: &'a [ModelIx],
    },
    /// A device on a shared node, or a part of one.
    Device {
        /// Its model.
        model: ModelIx,
        /// Thousandths of it; 1000 for all.
        milli: u32,
    },
}

/// How much a device of each model counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Weights {
    /// By model, in thousandths.
    milli: Vec<u64>,
}

impl Weights {
    pub(super) fn set(&mut self, model: ModelIx, milli: u64) {
        if self.milli.len() <= model.at() {
            self.milli.resize(model.at() + 1, WEIGHT_MILLI_DEFAULT);
        }
        self.milli[model.at()] = milli;
    }

    /// A part of a device counts as the same part of its model's weight, rounded up.
    pub(super) fn cost(&self, model: ModelIx, milli: u32) -> Amount {
        let weight = self.milli.get(model.at()).copied().unwrap_or(WEIGHT_MILLI_DEFAULT);
        let cost = (u128::from(milli) * u128::from(weight)).div_ceil(1000);
        Amount::from_milli(u64::try_from(cost).unwrap_or(u64::MAX))
    }
}

impl Bill {
    /// A bill that names no model: what is asked for before a place is known, or work that no model's bound is for.
    #[must_use]
    pub fn of_charge(charge: Charge) -> Self {
        Bill { charge, by_model: SmallVec::new() }
    }

    /// The same so many times.
    #[must_use]
    pub fn times(&self, count: u32) -> Self {
        let count = u64::from(count);
        let by_model = self.by_model.iter().map(|&(model, charge)| (model, charge.times(count))).collect();
        Bill { charge: self.charge.times(count), by_model }
    }

    pub(super) fn add(&mut self, held: Held<'_>, weights: &Weights) {
        match held {
            Held::Node { models } => {
                let node = Charge { nodes: Amount::whole(1), devices: Amount::ZERO };
                self.charge += node;
                for (at, &model) in models.iter().enumerate() {
                    if !models[..at].contains(&model) {
                        self.add_model(model, node);
                    }
                }
            }
            Held::Device { model, milli } => {
                let device = Charge { nodes: Amount::ZERO, devices: weights.cost(model, milli) };
                self.charge += device;
                self.add_model(model, device);
            }
        }
    }

    fn add_model(&mut self, model: ModelIx, charge: Charge) {
        match self.by_model.binary_search_by_key(&model, |&(model, _)| model) {
            Ok(at) => self.by_model[at].1 += charge,
            Err(at) => self.by_model.insert(at, (model, charge)),
        }
    }
}

impl<'a> std::iter::Sum<&'a Bill> for Bill {
    fn sum<I: Iterator<Item = &'a Bill>>(bills: I) -> Bill {
        bills.fold(Bill::default(), |mut sum, bill| {
            sum.charge += bill.charge;
            for &(model, charge) in &bill.by_model {
                sum.add_model(model, charge);
            }
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_costs_its_part_of_the_weight_rounded_up() {
        let (small, large) = (ModelIx::of(0), ModelIx::of(1));
        let mut weights = Weights::default();
        weights.set(large, 2500);
        for (model, milli, cost) in [
            (small, 1000, 1000),
            (small, 333, 333),
            (large, 1000, 2500),
            (large, 333, 833), // 832.5
            (large, 1, 3),     // 2.5
            (large, 0, 0),
        ] {
            assert_eq!(weights.cost(model, milli).as_milli(), cost, "{model:?} {milli}");
        }
        weights.set(small, u64::MAX);
        assert_eq!(weights.cost(small, u32::MAX), Amount::MAX);
    }

    #[test]
    fn a_bill_counts_nodes_once_and_each_model_on_its_own() {
        let (small, large) = (ModelIx::of(0), ModelIx::of(1));
        let mut weights = Weights::default();
        weights.set(large, 2000);
        let mut bill = Bill::default();
        bill.add(Held::Node { models: &[large, small, large] }, &weights);
        bill.add(Held::Device { model: large, milli: 500 }, &weights);
        bill.add(Held::Node { models: &[] }, &weights);
        let charge = |nodes, milli| Charge { nodes: Amount::whole(nodes), devices: Amount::from_milli(milli) };
        assert_eq!(bill.charge, charge(2, 1000));
        assert_eq!(bill.by_model[..], [(small, charge(1, 0)), (large, charge(1, 1000))]);
    }
}
