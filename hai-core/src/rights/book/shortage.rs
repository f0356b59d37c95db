//! What a bill lacks of teams' pools, and who could give it back.

use smallvec::SmallVec;

use super::super::bill::Bill;
use super::super::ids::{BucketIx, Ix};
use super::super::pool::PoolIx;
use super::super::tally::Tally;
use super::Book;

/// By how much pools would hold more within right than is their own, each of those where that is so.
#[derive(Clone, Debug, Default)]
pub struct Shortage {
    pools: SmallVec<[(PoolIx, Tally); 2]>,
}

/// What one run would give back of a [`Shortage`], by pool.
#[derive(Clone, Debug)]
pub struct Share {
    pools: SmallVec<[Tally; 2]>,
}

impl Shortage {
    /// Whether these give back enough.
    #[must_use]
    pub fn is_covered_by<'a>(&self, shares: impl IntoIterator<Item = &'a Share>) -> bool {
        let mut missing: SmallVec<[Tally; 2]> = self.pools.iter().map(|&(_, missing)| missing).collect();
        for share in shares {
            missing.iter_mut().zip(&share.pools).for_each(|(missing, &given)| *missing = missing.beyond(given));
        }
        missing.into_iter().all(Tally::is_zero)
    }
}

impl Book {
    /// What the pools that a bucket is charged to lack for a bill within right, those who leave left aside.
    #[must_use]
    pub fn shortage(&self, bucket: BucketIx, bill: &Bill) -> Shortage {
        let charge = Tally::of(bill.charge);
        let lacking = |link: &super::super::pool::Link| {
            let pool = self.forest.pool(link.pool);
            let (committed, _) = pool.entitled()?;
            let missing = (committed + charge).beyond_where(pool.own, charge);
            (!missing.is_zero()).then_some((link.pool, missing))
        };
        Shortage { pools: self.chains[self.buckets[bucket.at()].chain as usize].iter().filter_map(lacking).collect() }
    }

    /// What a run would give back that uses a bill of a bucket within right; `None` if that helps nowhere.
    #[must_use]
    pub fn share(&self, shortage: &Shortage, bucket: BucketIx, bill: &Bill) -> Option<Share> {
        let chain = &self.chains[self.buckets[bucket.at()].chain as usize];
        let charge = Tally::of(bill.charge);
        let given = |&(pool, missing): &(PoolIx, Tally)| match chain.iter().any(|link| link.pool == pool) {
            true => charge.min(missing),
            false => Tally::ZERO,
        };
        let pools: SmallVec<[Tally; 2]> = shortage.pools.iter().map(given).collect();
        pools.iter().any(|given| !given.is_zero()).then_some(Share { pools })
    }

    /// Whether any team bounds what its members hold.
    #[must_use]
    pub fn has_pools(&self) -> bool {
        !self.forest.is_empty()
    }
}
