//! How long things last, counted in bins that grow with the length: eight an octave, so that a quantile is right within an
//! eighth. Bounded, in integers alone, and old counts fade.
//!
//! The bins are those of G. Tene's HdrHistogram (linear within an octave). Once the counts add up to a bound all of them
//! are halved, so that what was seen long ago weighs less and less; that is how Linux and TCP age their estimates too.

use serde::{Deserialize, Serialize};

use crate::model::Span;

/// What one observation weighs, so that it fades in seven halvings and not at once.
pub(super) const WEIGHT: u32 = 64;
/// Once so many observations are in, all are halved.
const OBSERVATIONS_MAX: u32 = 1024;
/// Bins in an octave, as a power of two.
const FINE: u32 = 3;

/// Counts of spans.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Histogram {
    /// Bins that hold something, by number, with their weight.
    bins: Vec<(u16, u32)>,
}

/// The bin of a length in milliseconds.
fn bin_of(ms: u64) -> u16 {
    let octave = (u64::BITS - 1).saturating_sub(ms.leading_zeros());
    let bin = if octave < FINE { ms } else { u64::from((octave - FINE) << FINE) + (ms >> (octave - FINE)) };
    u16::try_from(bin).unwrap_or(u16::MAX)
}

/// The least length that is in a bin.
fn least(bin: u16) -> u64 {
    let (bin, fine) = (u64::from(bin), 1_u64 << FINE);
    if bin < 2 * fine {
        return bin;
    }
    let octave = u32::try_from((bin >> FINE) - 1).unwrap_or(u32::MAX);
    (fine + (bin & (fine - 1)))
        .checked_shl(octave)
        .filter(|least| least.leading_zeros() < 64 - FINE)
        .unwrap_or(u64::MAX)
}

/// How many lengths are in a bin.
fn width(bin: u16) -> u64 {
    least(bin.saturating_add(1)).saturating_sub(least(bin)).max(1)
}

impl Histogram {
    /// Takes a length in.
    pub fn add(&mut self, span: Span) {
        let bin = bin_of(span.as_ms());
        match self.bins.binary_search_by_key(&bin, |&(known, _)| known) {
            Ok(at) => self.bins[at].1 += WEIGHT,
            Err(at) => self.bins.insert(at, (bin, WEIGHT)),
        }
        if self.weight() >= u64::from(WEIGHT * OBSERVATIONS_MAX) {
            for (_, weight) in &mut self.bins {
                *weight /= 2;
            }
            self.bins.retain(|&(_, weight)| weight > 0);
        }
    }

    /// What all that it holds weighs, 64 for each fresh observation.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.bins.iter().map(|&(_, weight)| u64::from(weight)).sum()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bins.is_empty()
    }

    /// What of it is longer than `beyond`, by weight. Within a bin all lengths are taken to be alike.
    #[must_use]
    pub fn weight_beyond(&self, beyond: Span) -> u64 {
        self.parts(beyond.as_ms()).map(|(_, _, weight)| weight).sum()
    }

    /// Bins as far as they lie beyond a length: from, how long, weight.
    fn parts(&self, beyond: u64) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        let first = self.bins.partition_point(|&(bin, _)| least(bin.saturating_add(1)) <= beyond);
        self.bins[first..].iter().map(move |&(bin, weight)| {
            let (from, width) = (least(bin), width(bin));
            if from >= beyond {
                return (from, width, u64::from(weight));
            }
            let rest = width - (beyond - from);
            let part = u128::from(weight) * u128::from(rest) / u128::from(width);
            (beyond, rest, u64::try_from(part).unwrap_or(0))
        })
    }

    /// The length that `share` of 2^32 of what is longer than `beyond` does not exceed; `None` if nothing is longer.
    #[must_use]
    pub fn quantile(&self, share: u32, beyond: Span) -> Option<Span> {
        let total = self.weight_beyond(beyond);
        if total == 0 {
            return None;
        }
        let mut target = (u128::from(total) * u128::from(share)) >> 32;
        for (from, width, weight) in self.parts(beyond.as_ms()) {
            let weight = u128::from(weight);
            if target < weight {
                let within = u128::from(width) * target / weight;
                return Some(Span::from_ms(from.saturating_add(u64::try_from(within).unwrap_or(0))));
            }
            target -= weight;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bins_follow_each_other_without_a_hole() {
        for bin in 0..490_u16 {
            assert_eq!(bin_of(least(bin)), bin);
            assert_eq!(bin_of(least(bin + 1) - 1), bin, "{bin}");
            assert!(width(bin) * 8 <= least(bin).max(8), "{bin}");
        }
        assert_eq!(bin_of(u64::MAX), 8 * 61 + 7);
    }

    proptest! {
        /// Against the sorted list: a quantile lies in the bin of the length that is there in the list.
        #[test]
        fn a_quantile_is_that_of_the_sorted_list(
            mut list in prop::collection::vec((0..40_u32, any::<u64>()).prop_map(|(bits, ms)| ms >> (24 + bits % 40)), 1..300),
            share in any::<u32>(),
            beyond in 0..1_000_000_u64,
        ) {
            let mut histogram = Histogram::default();
            for &ms in &list {
                histogram.add(Span::from_ms(ms));
            }
            list.sort_unstable();
            let rank = usize::try_from((list.len() as u128 * u128::from(share)) >> 32).unwrap();
            let found = histogram.quantile(share, Span::ZERO).unwrap().as_ms();
            prop_assert_eq!(bin_of(found), bin_of(list[rank]));
            // What is conditional lies beyond, and as much lies beyond as the list says, within one bin.
            let longer = list.iter().filter(|&&ms| bin_of(ms) > bin_of(beyond)).count() as u64;
            let at_least = list.iter().filter(|&&ms| bin_of(ms) >= bin_of(beyond)).count() as u64;
            let weight = histogram.weight_beyond(Span::from_ms(beyond));
            prop_assert!(weight >= longer * 64 && weight <= at_least * 64);
            if let Some(rest) = histogram.quantile(share, Span::from_ms(beyond)) {
                prop_assert!(rest.as_ms() >= beyond);
            }
        }

        #[test]
        fn it_reads_back_as_it_was_written(list in prop::collection::vec(any::<u64>(), 0..50)) {
            let mut histogram = Histogram::default();
            for &ms in &list {
                histogram.add(Span::from_ms(ms));
            }
            let text = serde_json::to_string(&histogram).unwrap();
            prop_assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), histogram);
        }
    }

    #[test]
    fn what_is_old_fades_and_what_is_kept_is_bounded() {
        let mut histogram = Histogram::default();
        for _ in 0..2000 {
            histogram.add(Span::from_secs(1));
        }
        for _ in 0..8000 {
            histogram.add(Span::from_secs(1000));
        }
        assert!(histogram.weight() < u64::from(WEIGHT * OBSERVATIONS_MAX));
        let short = histogram.weight() - histogram.weight_beyond(Span::from_secs(10));
        assert!(short * 50 < histogram.weight(), "{histogram:?}");
    }
}
