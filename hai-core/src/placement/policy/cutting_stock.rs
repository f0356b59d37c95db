//! Keeps devices whole for the work that is expected: what is left of a device is worth what it can still be cut into, and
//! processors are kept for the devices beside them. A policy of hai's own.
//!
//! A node is taken where three things grow the least, all in thousandths of a device:
//!
//! - **Offcut.** Parts of devices are cut from whole ones as paper from rolls (P. C. Gilmore and R. E. Gomory, A Linear
//!   Programming Approach to the Cutting-Stock Problem, Operations Research 9(6), 1961). The expected classes of parts have
//!   *prices*: the dual values of "cut all that is expected from as few devices as can be". A rest of a device is worth
//!   the dearest set of parts that it still holds. If most parts are of 810 thousandths, what they leave is worth nothing, and
//!   a part of 160 that fits there should go there; in a rest that holds a 470 it would cost the price of that.
//! - **Starving.** Idle devices for which the node has no processors left, at the mean ratio of the expected work.
//! - **Fragmentation**, as [`super::Fgd`] counts it, which sees what fits at all.
//!
//! The first two count [`STRUCTURE`] times: fragmentation tells what is lost now, they tell what will be. As with [`super::Fgd`] the
//! sum counts in steps of [`STEP`], so that places that are nearly as good are taken in the order of nodes and work stays
//! together.

use std::collections::BTreeMap;

use super::fgd::Typical;
use super::{Fgd, SCORE_MAX, Scorer, cpu_milli_asked, device_milli_asked, device_milli_left};
use crate::inventory::MILLI_PER_DEVICE;
use crate::model::Devices;
use crate::placement::{Card, Seat};

/// How much more offcut and starving count than fragmentation.
const STRUCTURE: i128 = 20;
/// Differences below this are none, in thousandths of a device.
const STEP: i128 = 40;
/// Millionths.
const MICRO: u64 = 1_000_000;
/// The worth of a whole device, in millionths of one.
const WHOLE: i128 = MICRO as i128;
/// Where cost is nothing, among keys.
const KEY_OF_NOTHING: i128 = 1 << 40;

/// Takes the node, and for a part the device, where the least is cut off, starved and fragmented.
#[derive(Clone, Debug, Default)]
pub struct CuttingStock {
    fgd: Fgd,
    /// What a rest of a device is worth, by its thousandths, in millionths of a device.
    worth: Vec<u64>,
    /// What classes that want devices ask for together: thousandths of cores and of devices.
    cpu: i128,
    devices: i128,
}

impl CuttingStock {
    /// For work of these classes. Prices are of parts of any device: models and memory are left aside.
    #[must_use]
    pub fn new(typical: Vec<Typical>) -> Self {
        let (mut cpu, mut devices) = (0, 0);
        let mut parts: BTreeMap<u32, u64> = BTreeMap::new();
        for Typical { request, weight } in &typical {
            let milli = match request.devices {
                Devices::Share(milli) => {
                    let milli = milli.clamp(1, MILLI_PER_DEVICE);
                    *parts.entry(milli).or_default() += u64::from(*weight);
                    milli
                }
                Devices::Count(count) => count.saturating_mul(MILLI_PER_DEVICE),
                Devices::WholeNode | Devices::Memory(_) => 0,
            };
            if milli > 0 {
                cpu += i128::from(*weight) * i128::from(request.cpu_milli);
                devices += i128::from(*weight) * i128::from(milli);
            }
        }
        parts.retain(|_, weight| *weight > 0);
        let parts: Vec<(usize, u64)> = parts.into_iter().map(|(milli, weight)| (milli as usize, weight)).collect();
        CuttingStock { fgd: Fgd::new(typical), worth: worth(&parts), cpu, devices }
    }

    /// What a rest of a device is worth, in millionths of one.
    pub(crate) fn worth(&self, milli: u32) -> i128 {
        if milli >= MILLI_PER_DEVICE {
            return WHOLE;
        }
        self.worth.get(milli as usize).map_or(0, |worth| i128::from(*worth))
    }

    /// Thousandths of devices that no processors are left for.
    fn starving(&self, idle_milli: u64, cpu_milli: u64) -> i128 {
        if self.cpu == 0 {
            return 0;
        }
        let short = i128::from(idle_milli) * self.cpu - i128::from(cpu_milli) * self.devices;
        short.max(0) / self.cpu
    }

    /// What it costs in steps to take the best device for a part, or the node for all else, and that device.
    fn cost(&self, seat: &Seat<'_>) -> (i128, Option<Card>) {
        let (idle, cpu) = (device_milli_left(seat), u64::from(seat.room.cpu_milli));
        let idle_after = idle.saturating_sub(device_milli_asked(seat));
        let cpu_after = cpu.saturating_sub(cpu_milli_asked(seat));
        let starved = self.starving(idle_after, cpu_after) - self.starving(idle, cpu);
        let mut best: (i128, Option<Card>) = (i128::MAX, None);
        for (card, gain) in self.fgd.gains(seat) {
            // What is cut off beyond what is taken; of whole devices nothing is.
            let offcut = card.map_or(0, |card| {
                let left = card.milli.saturating_sub(card.takes.milli);
                let lost = self.worth(card.milli) - self.worth(left);
                lost / (WHOLE / i128::from(MILLI_PER_DEVICE)) - i128::from(card.milli - left)
            });
            let fragmented = -gain / self.fgd.weight().max(1);
            let cost = (fragmented + STRUCTURE * (offcut + starved)).div_euclid(STEP);
            let liked = |card: Option<Card>| card.map(|card| card.liking);
            if best.0 == i128::MAX || (liked(best.1) == liked(card) && cost < best.0) {
                best = (cost, card);
            }
        }
        best
    }
}

/// What each rest of a device is worth, by its thousandths, in millionths of a device.
///
/// Prices are found by multiplicative weights (S. A. Plotkin, D. B. Shmoys and E. Tardos, Fast Approximation Algorithms for
/// Fractional Packing and Covering Problems, Mathematics of Operations Research 20(2), 1995): the dearest cut of a device
/// is made again and again, and each time what is in it becomes cheaper, the rarer the work the more. The mean of the prices
/// on the way is near the dual values.
fn worth(parts: &[(usize, u64)]) -> Vec<u64> {
    /// Cuts that are made, and how many of the first are left out of the mean.
    const CUTS: u32 = 1500;
    const CUTS_SKIPPED: u32 = 500;
    /// How much cheaper one of all parts becomes when it is cut, in millionths; one of a rarer class more.
    const CHEAPER: u64 = 1000;
    let whole = MILLI_PER_DEVICE as usize;
    if parts.is_empty() {
        return vec![0; whole];
    }
    let total: u64 = parts.iter().map(|(_, weight)| weight).sum();
    // Cut in the largest unit that all parts are multiples of.
    let unit = parts.iter().fold(whole, |unit, (milli, _)| gcd(unit, *milli));
    let sizes: Vec<usize> = parts.iter().map(|(milli, _)| milli / unit).collect();
    let steps: Vec<u64> = parts.iter().map(|(_, weight)| (CHEAPER * total / weight).min(MICRO / 4)).collect();
    let mut prices = vec![1_u64 << 40; parts.len()];
    let mut means = vec![0_u64; parts.len()];
    let mut best = vec![(0, usize::MAX); whole / unit + 1];
    for cut in 0..CUTS {
        dearest(&sizes, &prices, &mut best);
        let top = best.last().map_or(1, |(worth, _)| *worth).max(1);
        if cut >= CUTS_SKIPPED {
            for (mean, price) in means.iter_mut().zip(&prices) {
                *mean += u64::try_from(u128::from(*price) * u128::from(MICRO) / u128::from(top)).unwrap_or(u64::MAX);
            }
        }
        let mut left = best.len() - 1;
        while left > 0 {
            let part = best[left].1;
            let Some(size) = sizes.get(part) else {
                left -= 1;
                continue;
            };
            let less = u128::from(prices[part]) * u128::from(steps[part]) / u128::from(MICRO);
            prices[part] -= u64::try_from(less).unwrap_or(u64::MAX);
            left -= size;
        }
        // Only how they stand to each other counts.
        if prices.iter().all(|price| *price < 1 << 38) {
            prices.iter_mut().for_each(|price| *price <<= 2);
        }
    }
    dearest(&sizes, &means, &mut best);
    let top = best.last().map_or(1, |(worth, _)| *worth).max(1);
    (0..whole)
        .map(|milli| {
            u64::try_from(u128::from(best[milli / unit].0) * u128::from(MICRO) / u128::from(top)).unwrap_or(MICRO)
        })
        .collect()
}

/// For each length the worth of its dearest cut, and a part that is in it (`usize::MAX`: none).
fn dearest(sizes: &[usize], prices: &[u64], best: &mut [(u64, usize)]) {
    best[0] = (0, usize::MAX);
    for length in 1..best.len() {
        // What is worth no more than with a unit less is left at that: offcut is taken last.
        let mut found = (best[length - 1].0, usize::MAX);
        for (at, (size, price)) in sizes.iter().zip(prices).enumerate() {
            if let Some(rest) = length.checked_sub(*size)
                && best[rest].0 + price > found.0
            {
                found = (best[rest].0 + price, at);
            }
        }
        best[length] = found;
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Scorer for CuttingStock {
    fn score(&self, seat: &Seat<'_>) -> u32 {
        let middle = i128::from(SCORE_MAX / 2);
        u32::try_from((middle - self.cost(seat).0).clamp(0, i128::from(SCORE_MAX))).unwrap_or(0)
    }

    fn key(&self, seat: &Seat<'_>) -> u64 {
        u64::try_from((KEY_OF_NOTHING + self.cost(seat).0).clamp(0, 2 * KEY_OF_NOTHING)).unwrap_or(0)
    }

    fn card(&self, seat: &Seat<'_>) -> Option<Card> {
        self.cost(seat).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WorkerRequest;

    fn stock(parts: &[(u32, u32)]) -> CuttingStock {
        let typical = parts.iter().map(|&(milli, weight)| Typical { request: WorkerRequest::share(milli), weight });
        CuttingStock::new(typical.collect())
    }

    /// Near the exact dual value, in thousandths.
    fn near(stock: &CuttingStock, milli: u32, expected: i128) {
        let worth = stock.worth(milli) / 1000;
        assert!((worth - expected).abs() <= 40, "{milli}: {worth}, not {expected}");
    }

    #[test]
    fn a_rest_is_worth_what_can_be_cut_from_it() {
        // Halves only: two to a device, so each is worth half of one, and less than a half is worth nothing.
        let halves = stock(&[(500, 1)]);
        for (milli, worth) in [(499, 0), (500, 500), (999, 500), (1000, 1000)] {
            near(&halves, milli, worth);
        }
        // 600 and 400 in equal numbers always fit together: the duals add up to a device.
        let pair = stock(&[(600, 1), (400, 1)]);
        assert!((pair.worth(600) + pair.worth(400) - WHOLE).abs() < WHOLE / 20);
        // Many more 810 than 160: one 810 needs a device, and there is always a rest for a 160.
        let many = stock(&[(810, 10), (160, 1)]);
        for (milli, worth) in [(190, 0), (810, 1000)] {
            near(&many, milli, worth);
        }
        // Many more 160 than 810: six to a device.
        let few = stock(&[(810, 1), (160, 60)]);
        for (milli, worth) in [(160, 167), (800, 833), (810, 833)] {
            near(&few, milli, worth);
        }
        // Without parts a used device is worth nothing.
        assert_eq!((stock(&[]).worth(999), stock(&[]).worth(1000)), (0, WHOLE));
        assert_eq!(stock(&[(7, 0)]).worth(999), 0);
    }

    #[test]
    fn worth_never_falls_with_more_and_never_exceeds_a_device() {
        let stock = stock(&[(7, 3), (333, 5), (501, 2), (1000, 9)]);
        let all: Vec<i128> = (0..=1000).map(|milli| stock.worth(milli)).collect();
        assert!(all.is_sorted() && all[1000] == WHOLE && all[0] == 0);
    }

    #[test]
    fn devices_starve_by_the_mean_of_the_expected_work() {
        let request = WorkerRequest { cpu_milli: 8000, ..WorkerRequest::devices(1) };
        let stock = CuttingStock::new(vec![Typical { request, weight: 3 }]);
        // Four devices want 32 cores.
        assert_eq!([0, 16_000, 31_000, 32_000, 90_000].map(|cpu| stock.starving(4000, cpu)), [4000, 2000, 125, 0, 0]);
        assert_eq!(CuttingStock::new(Vec::new()).starving(4000, 0), 0);
    }
}
