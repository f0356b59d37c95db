//! A random node, the same for the same seed and task. Draws are made by SplitMix64: G. L. Steele Jr. et al., Fast
//! Splittable Pseudorandom Number Generators, OOPSLA 2014.

use std::sync::Arc;

use super::{SCORE_MAX, Scorer};
use crate::placement::{Card, Seat};

/// Takes any of the nodes that will do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random {
    seed: u64,
}

/// One step of SplitMix64.
const fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// Draws that start from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Random { seed }
    }

    fn draw(self, seat: &Seat<'_>) -> u64 {
        mix(mix(self.seed) ^ seat.node.ix().index() as u64)
    }
}

impl Scorer for Random {
    fn score(&self, seat: &Seat<'_>) -> u32 {
        u32::try_from(self.draw(seat) % (u64::from(SCORE_MAX) + 1)).unwrap_or(SCORE_MAX)
    }

    fn key(&self, seat: &Seat<'_>) -> u64 {
        self.draw(seat) >> 17
    }

    fn card(&self, seat: &Seat<'_>) -> Option<Card> {
        seat.cards().min_by_key(|card| mix(self.draw(seat) ^ u64::from(card.device)))
    }

    fn salted(&self, salt: u64) -> Option<Arc<dyn Scorer>> {
        Some(Arc::new(Random { seed: mix(self.seed ^ mix(salt)) }))
    }
}
