//! Exact sums of charges. A sum of [`Amount`]s stops at the greatest amount, and taking back from such a sum would
//! lose what is still held; these do not stop.

use std::ops::{Add, AddAssign, Sub};

use crate::model::{Allowance, Amount, Charge, Limit};

/// What stands for "unlimited": above each sum of 2^32 of the greatest amounts, and so small that 2^26 of it can be
/// added up.
const BOUNDLESS: i128 = 1 << 100;

/// Nodes and devices in thousandths; each counts on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) nodes: i128,
    pub(super) devices: i128,
}

impl Tally {
    pub(super) const ZERO: Tally = Tally { nodes: 0, devices: 0 };

    pub(super) fn of(charge: Charge) -> Self {
        Tally { nodes: i128::from(charge.nodes.as_milli()), devices: i128::from(charge.devices.as_milli()) }
    }

    pub(super) fn limit(allowance: Allowance) -> Self {
        let one = |limit: Limit| match limit {
            Limit::AtMost(most) => i128::from(most.as_milli()),
            Limit::Unlimited => BOUNDLESS,
        };
        Tally { nodes: one(allowance.nodes), devices: one(allowance.devices) }
    }

    /// As a charge: nothing if it is negative, the greatest amount if it is more than that.
    pub(super) fn charge(self) -> Charge {
        let one = |sum: i128| Amount::from_milli(u64::try_from(sum.max(0)).unwrap_or(u64::MAX));
        Charge { nodes: one(self.nodes), devices: one(self.devices) }
    }

    /// As an allowance: what is beyond all amounts is no limit.
    pub(super) fn allowance(self) -> Allowance {
        let one = |most: i128| match u64::try_from(most) {
            Ok(milli) => Limit::AtMost(Amount::from_milli(milli)),
            Err(_) if most < 0 => Limit::AtMost(Amount::ZERO),
            Err(_) => Limit::Unlimited,
        };
        Allowance { nodes: one(self.nodes), devices: one(self.devices) }
    }

    pub(super) fn zip(self, other: Tally, f: impl Fn(i128, i128) -> i128) -> Self {
        Tally { nodes: f(self.nodes, other.nodes), devices: f(self.devices, other.devices) }
    }

    pub(super) fn max(self, other: Tally) -> Self {
        self.zip(other, i128::max)
    }

    pub(super) fn min(self, other: Tally) -> Self {
        self.zip(other, i128::min)
    }

    /// How much of it is beyond `limit`, never negative.
    pub(super) fn beyond(self, limit: Tally) -> Self {
        (self - limit).max(Tally::ZERO)
    }

    /// How much of it is beyond `limit`, in the units of which `of` has any.
    pub(super) fn beyond_where(self, limit: Tally, of: Tally) -> Self {
        self.beyond(limit).zip(of, |beyond, of| if of > 0 { beyond } else { 0 })
    }

    pub(super) fn is_zero(self) -> bool {
        self == Tally::ZERO
    }
}

impl Add for Tally {
    type Output = Tally;
    fn add(self, other: Tally) -> Tally {
        self.zip(other, |a, b| a + b)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        *self = *self + other;
    }
}

impl Sub for Tally {
    type Output = Tally;
    fn sub(self, other: Tally) -> Tally {
        self.zip(other, |a, b| a - b)
    }
}
