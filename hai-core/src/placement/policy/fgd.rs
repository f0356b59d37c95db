//! Fragmentation gradient descent: Q. Weng et al., Beware of Fragmentation: Scheduling GPU-Sharing Workloads with
//! Fragmentation Gradient Descent, USENIX ATC 2023, sections 3 and 4.
//!
//! Seen by one class of work, what is idle of a node's devices is *fragment* as far as the class can not use it: all of
//! it if the class does not fit there, else what is left of devices that are too full for it. The fragmentation of a node
//! is the mean of that over the classes that are expected, and a task goes where it makes that grow the least.
//!
//! The gain is squeezed into hundredths by a logistic curve as in the authors' simulator. The rounding matters: most
//! nodes then score the same, so that the order of nodes decides and work stays together; without it about one percent
//! less of their cluster is given out. Nothing here is floating: gains are compared with the places where the curve
//! crosses each hundredth.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{SCORE_MAX, Scorer, cpu_milli_asked, of_percent};
use crate::inventory::{MILLI_PER_DEVICE, Make, bits, narrow};
use crate::model::{Devices, WorkerRequest};
use crate::placement::{Card, Seat};

/// Where 100 / (1 + exp(-x)) reaches 51, 52, ... 99, in millionths of x = 1/1000: 10^9 ln(n / (100 - n)), rounded up.
#[rustfmt::skip]
const CROSSINGS: [i128; 49] = [
    40_005_335, 80_042_708, 120_144_312, 160_342_651, 200_670_696, 241_162_057, 281_851_153, 322_773_393, 363_965_378,
    405_465_109, 447_312_219, 489_548_226, 532_216_814, 575_364_145, 619_039_209, 663_294_218, 708_185_058,
    753_771_803, 800_119_301, 847_297_861, 895_384_048, 944_461_609, 994_622_576, 1_045_968_556, 1_098_612_289,
    1_152_679_510, 1_208_311_206, 1_265_666_374, 1_324_925_415, 1_386_294_362, 1_450_010_176, 1_516_347_490,
    1_585_627_264, 1_658_228_077, 1_734_601_056, 1_815_289_967, 1_900_958_762, 1_992_430_165, 2_090_741_097,
    2_197_224_578, 2_313_634_930, 2_442_347_036, 2_586_689_345, 2_751_535_314, 2_944_438_980, 3_178_053_831,
    3_476_098_690, 3_891_820_299, 4_595_119_851,
];
/// Millionths.
const MICRO: i128 = 1_000_000;

/// A class of work that is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Typical {
    /// What each of its workers asks for.
    pub request: WorkerRequest,
    /// How often it comes, relative to the others.
    pub weight: u32,
}

/// Takes the node, and for a part the device, where the expected fragmentation grows the least.
#[derive(Clone, Debug, Default)]
pub struct Fgd {
    typical: Vec<Typical>,
    weight: i128,
}

/// What is left of each device, in thousandths; devices that can not be had at all have nothing left.
type Lefts = SmallVec<[(u8, u32); 8]>;

impl Fgd {
    /// Fragmentation as this work would see it.
    #[must_use]
    pub fn new(typical: Vec<Typical>) -> Self {
        let weight = typical.iter().map(|class| i128::from(class.weight)).sum();
        Fgd { typical, weight }
    }

    /// The classes that make up at least 95 of 100 of what was submitted, the most frequent first: what the authors take
    /// as the expected work. Equally frequent classes stand in descending order of their requests.
    #[must_use]
    pub fn typical(submitted: impl IntoIterator<Item = (WorkerRequest, u32)>) -> Vec<Typical> {
        let mut classes: Vec<Typical> =
            submitted.into_iter().map(|(request, weight)| Typical { request, weight }).collect();
        classes.sort_by(|a, b| (b.weight, &b.request).cmp(&(a.weight, &a.request)));
        let total: u64 = classes.iter().map(|class| u64::from(class.weight)).sum();
        let mut sum = 0_u64;
        let enough = classes.iter().position(|class| {
            sum += u64::from(class.weight);
            sum * 100 >= total * 95
        });
        classes.truncate(enough.map_or(0, |at| at + 1));
        classes
    }

    /// The fragmentation of a node, in thousandths of a device, times the sum of all weights.
    fn fragmentation(&self, usable: &[u64], make: &Make, lefts: &Lefts, cpu_milli: u64) -> i128 {
        let idle: i128 = lefts.iter().map(|&(_, left)| i128::from(left)).sum();
        let classes = self.typical.iter().zip(usable);
        let satisfied: i128 = classes
            .map(|(class, &usable)| {
                i128::from(class.weight) * satisfied(&class.request, usable, make, lefts, cpu_milli)
            })
            .sum();
        self.weight * idle - satisfied
    }

    /// How good it is that fragmentation falls by `gain`, in hundredths.
    pub(crate) fn percent(&self, gain: i128) -> u64 {
        if self.weight == 0 {
            return 50;
        }
        let reached = |gain: i128| CROSSINGS.partition_point(|crossing| gain * MICRO >= crossing * self.weight) as u64;
        // The curve is symmetric about a half, and meets no hundredth but that exactly.
        if gain >= 0 { 50 + reached(gain) } else { 49 - reached(-gain) }
    }

    /// The hundredths of the best device for a part, or of the node for all else, and that device.
    fn best(&self, seat: &Seat<'_>) -> (u64, Option<Card>) {
        let mut lefts: Lefts = bits(seat.room.devices).map(|device| (device, MILLI_PER_DEVICE)).collect();
        lefts.extend(seat.room.shared().iter().map(|shared| (shared.device, shared.left(0).0)));
        lefts.sort_unstable();
        let usable: SmallVec<[u64; 48]> = self.typical.iter().map(|class| usable(seat, &class.request)).collect();
        let cpu_milli = u64::from(seat.room.cpu_milli);
        let before = self.fragmentation(&usable, seat.make, &lefts, cpu_milli);
        let cpu_milli = cpu_milli.saturating_sub(cpu_milli_asked(seat));
        if !seat.ask.request().devices.is_part() {
            let taken = seat.take(None).map_or(0, |take| take.devices);
            lefts.retain(|(device, _)| taken & (1 << *device) == 0);
            return (self.percent(before - self.fragmentation(&usable, seat.make, &lefts, cpu_milli)), None);
        }
        let mut cards: SmallVec<[Card; 8]> = seat.cards().collect();
        cards.sort_by_key(|card| (card.liking, card.device));
        let mut best: (u64, Option<Card>) = (0, None);
        for (at, card) in cards.iter().enumerate() {
            // Devices of one kind with as much left are as good as each other.
            let alike = |other: &Card| Card { device: card.device, ..*other } == *card;
            if cards[..at].iter().any(|other| alike(other) && kinds_alike(&usable, other.device, card.device)) {
                continue;
            }
            let mut after = lefts.clone();
            for (_, left) in after.iter_mut().filter(|(device, _)| *device == card.device) {
                *left = left.saturating_sub(card.takes.milli);
            }
            let percent = self.percent(before - self.fragmentation(&usable, seat.make, &after, cpu_milli));
            let better = best.1.is_none_or(|best_card| best_card.liking == card.liking && percent > best.0);
            if better {
                best = (percent, Some(*card));
            }
        }
        best
    }
}

/// Whether all classes think the same of two devices.
fn kinds_alike(usable: &[u64], a: u8, b: u8) -> bool {
    usable.iter().all(|mask| (mask >> a) & 1 == (mask >> b) & 1)
}

/// The devices of a seat's node that are of a kind that will do for a class, one bit each.
fn usable(seat: &Seat<'_>, request: &WorkerRequest) -> u64 {
    let kinds = seat.make.kinds().iter();
    kinds
        .filter(|(kind, _)| seat.inventory.catalogue().kind(*kind).suits(request))
        .fold(0, |mask, (_, devices)| mask | devices)
}

/// What of a node's idle devices a class could use, in thousandths.
fn satisfied(request: &WorkerRequest, usable: u64, make: &Make, lefts: &Lefts, cpu_milli: u64) -> i128 {
    if u64::from(request.cpu_milli) > cpu_milli {
        return 0;
    }
    let need = |device: u8| match request.devices {
        Devices::Share(milli) => milli,
        Devices::Memory(mib) => {
            let milli =
                u64::from(narrow(mib)) * u64::from(MILLI_PER_DEVICE) / u64::from(make.memory_mib(device).max(1));
            u32::try_from(milli.max(1)).unwrap_or(u32::MAX)
        }
        Devices::WholeNode | Devices::Count(_) => MILLI_PER_DEVICE,
    };
    let (mut count, mut sum) = (0, 0);
    for &(device, left) in lefts {
        if usable & (1 << device) != 0 && left >= need(device) {
            count += 1;
            sum += i128::from(left);
        }
    }
    let enough = match request.devices {
        Devices::Count(0) => false,
        Devices::WholeNode => count == make.len(),
        devices => count >= devices.count() as usize,
    };
    if enough { sum } else { 0 }
}

impl Scorer for Fgd {
    fn score(&self, seat: &Seat<'_>) -> u32 {
        of_percent(self.best(seat).0).min(SCORE_MAX)
    }

    fn card(&self, seat: &Seat<'_>) -> Option<Card> {
        self.best(seat).1
    }
}
