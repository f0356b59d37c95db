//! Random numbers whose stream never changes: SplitMix64, in integers alone. G. L. Steele Jr. et al., Fast Splittable
//! Pseudorandom Number Generators, OOPSLA 2014.

use serde::{Deserialize, Serialize};

/// A stream of numbers that follows from its seed, on every machine and in every version of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The stream of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        SplitMix64(seed)
    }

    /// The stream number `index` of those that belong to this one's state; each is as good as one with a seed of its own.
    #[must_use]
    pub const fn split(&self, index: u64) -> Self {
        SplitMix64(mix(mix(self.0) ^ index.wrapping_mul(GAMMA)))
    }

    /// The next number, from all 64-bit numbers alike.
    pub const fn next(&mut self) -> u64 {
        let drawn = mix(self.0);
        self.0 = self.0.wrapping_add(GAMMA);
        drawn
    }

    /// A number below `bound`, 0 if that is 0. The fixed-point product of D. Lemire, Fast Random Integer Generation in an
    /// Interval, ACM TOMACS 2019, without its rejection: a bound of 2^32 is off by at most one in 2^32.
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.next() as u128 * bound as u128) >> 64) as u64
    }
}

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// One step of SplitMix64.
const fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(GAMMA);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_that_of_the_paper() {
        // The reference implementation's first numbers for the seed 1234567.
        let mut random = SplitMix64::new(1_234_567);
        let drawn: Vec<_> = (0..5).map(|_| random.next()).collect();
        let known = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(drawn, known);
    }

    #[test]
    fn numbers_below_a_bound_are_below_it_and_all_come() {
        let mut random = SplitMix64::new(7);
        let mut seen = [0_u32; 10];
        for _ in 0..10_000 {
            seen[usize::try_from(random.below(10)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&times| (850..1150).contains(&times)), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn split_streams_differ() {
        let random = SplitMix64::new(3);
        let firsts: std::collections::BTreeSet<_> = (0..1000).map(|index| random.split(index).next()).collect();
        assert_eq!(firsts.len(), 1000);
    }
}
