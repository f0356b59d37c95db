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
use smallvec::{SmallVec, smallvec};

use super::{SCORE_MAX, Scorer, cpu_milli_asked, of_percent};
use crate::inventory::{Inventory, MILLI_PER_DEVICE, Make, Node, Room, bits, narrow};
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
    classes: Vec<Class>,
    /// What classes want of the kind of their devices, each wish once.
    wishes: Vec<WorkerRequest>,
    weight: i128,
}

/// A class of work, as far as fragmentation is about it.
#[derive(Clone, Copy, Debug)]
struct Class {
    weight: u32,
    cpu_milli: u32,
    devices: Devices,
    /// Its place in the list of wishes.
    wish: usize,
}

/// What is left of a device, in thousandths; of devices that can not be had at all nothing is.
#[derive(Clone, Copy, Debug)]
struct Left {
    device: u8,
    milli: u32,
}

type Lefts = SmallVec<[Left; 8]>;

/// A place as the classes see it.
struct Sight<'a> {
    make: &'a Make,
    lefts: Lefts,
    /// For each wish the devices of kinds that will do, one bit each.
    usable: SmallVec<[u64; 4]>,
}

/// Devices of which a class could have what it needs, and what is left of them.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: usize,
    milli: u64,
}

impl Fgd {
    /// Fragmentation as this work would see it.
    #[must_use]
    pub fn new(typical: Vec<Typical>) -> Self {
        let mut fgd = Fgd { classes: Vec::new(), wishes: Vec::new(), weight: 0 };
        for Typical { request, weight } in typical {
            let (cpu_milli, devices) = (request.cpu_milli, request.devices);
            // What a wish for kinds leaves aside is made alike.
            let devices_alike = match devices {
                Devices::Memory(_) => devices,
                Devices::Share(_) => Devices::Share(MILLI_PER_DEVICE),
                Devices::WholeNode | Devices::Count(_) => Devices::Count(0),
            };
            let wish = WorkerRequest { devices: devices_alike, cpu_milli: 0, memory_mib: 0, ..request };
            let at = fgd.wishes.iter().position(|known| *known == wish).unwrap_or(fgd.wishes.len());
            if at == fgd.wishes.len() {
                fgd.wishes.push(wish);
            }
            fgd.classes.push(Class { weight, cpu_milli, devices, wish: at });
            fgd.weight += i128::from(weight);
        }
        fgd
    }

    /// The classes that make up at least 95 of 100 of what was submitted, the most frequent first: what the authors take
    /// as the expected work. Equally frequent classes stay in the order in which they were given.
    #[must_use]
    pub fn typical(submitted: impl IntoIterator<Item = (WorkerRequest, u32)>) -> Vec<Typical> {
        let mut classes: Vec<Typical> =
            submitted.into_iter().map(|(request, weight)| Typical { request, weight }).collect();
        classes.sort_by_key(|class| std::cmp::Reverse(class.weight));
        let total: u64 = classes.iter().map(|class| u64::from(class.weight)).sum();
        let mut sum = 0_u64;
        let enough = classes.iter().position(|class| {
            sum += u64::from(class.weight);
            sum * 100 >= total * 95
        });
        classes.truncate(enough.map_or(0, |at| at + 1));
        classes
    }

    /// The sum of all weights.
    #[must_use]
    pub fn weight(&self) -> i128 {
        self.weight
    }

    /// The fragmentation of a node with so much room, in thousandths of a device, times the sum of all weights.
    #[must_use]
    pub fn fragmentation(&self, inventory: &Inventory, node: &Node, room: &Room) -> i128 {
        let sight = self.sight(inventory, inventory.make_of(node), room);
        let idle: i128 = sight.lefts.iter().map(|left| i128::from(left.milli)).sum();
        let satisfied = self.classes.iter().filter(|class| class.cpu_milli <= room.cpu_milli).map(|class| {
            let sum = sight.sum(class, u64::MAX);
            i128::from(class.weight) * i128::from(class.satisfied(sum, sight.make))
        });
        self.weight * idle - satisfied.sum::<i128>()
    }

    fn sight<'a>(&self, inventory: &Inventory, make: &'a Make, room: &Room) -> Sight<'a> {
        let whole = bits(room.devices).map(|device| Left { device, milli: MILLI_PER_DEVICE });
        let mut lefts: Lefts = whole.collect();
        if !room.shared().is_empty() {
            lefts.extend(room.shared().iter().map(|shared| Left { device: shared.device, milli: shared.left(0).0 }));
            lefts.sort_unstable_by_key(|left| left.device);
        }
        let usable = self.wishes.iter().map(|wish| {
            let kinds = make.kinds().iter().filter(|(kind, _)| inventory.catalogue().kind(*kind).suits(wish));
            kinds.fold(0, |mask, (_, devices)| mask | devices)
        });
        Sight { make, lefts, usable: usable.collect() }
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
        let mut best: Option<(u64, Option<Card>)> = None;
        for (card, gain) in self.gains(seat) {
            let percent = self.percent(gain);
            let liked = |card: Option<Card>| card.map(|card| card.liking);
            if best.is_none_or(|best| liked(best.1) == liked(card) && percent > best.0) {
                best = Some((percent, card));
            }
        }
        best.unwrap_or_default()
    }

    /// By how much fragmentation would fall, times the sum of all weights: for each device that a part may go to, the
    /// best-liked first and one of those that are as good as each other; for all else once, for the node.
    pub(super) fn gains(&self, seat: &Seat<'_>) -> SmallVec<[(Option<Card>, i128); 8]> {
        let sight = self.sight(seat.inventory, seat.make, seat.room);
        let cpu_before = u64::from(seat.room.cpu_milli);
        let cpu_after = cpu_before.saturating_sub(cpu_milli_asked(seat));
        if seat.ask.request().devices.is_part() {
            return self.gains_by_card(seat, &sight, cpu_before, cpu_after);
        }
        let taken = seat.take(None).map_or(0, |take| take.devices);
        let idle =
            sight.lefts.iter().filter(|left| taken & (1 << left.device) != 0).map(|left| left.milli).sum::<u32>();
        // What is satisfied less afterwards; what is no more idle is no fragment either.
        let mut lost = 0_i128;
        for class in &self.classes {
            let cpu_milli = u64::from(class.cpu_milli);
            if cpu_milli > cpu_before {
                continue;
            }
            let before = class.satisfied(sight.sum(class, u64::MAX), sight.make);
            let after = if cpu_milli > cpu_after {
                0
            } else if taken == 0 {
                before
            } else {
                class.satisfied(sight.sum(class, !taken), sight.make)
            };
            lost += i128::from(class.weight) * i128::from(before - after);
        }
        smallvec![(None, self.weight * i128::from(idle) - lost)]
    }

    fn gains_by_card(
        &self,
        seat: &Seat<'_>,
        sight: &Sight<'_>,
        cpu_before: u64,
        cpu_after: u64,
    ) -> SmallVec<[(Option<Card>, i128); 8]> {
        let mut cards: SmallVec<[Card; 8]> = seat.cards().collect();
        cards.sort_by_key(|card| (card.liking, card.device));
        // Devices of one kind with as much left are as good as each other: the first stands for all.
        let alike = |a: &Card, b: &Card| Card { device: a.device, ..*b } == *a && sight.sees_alike(a.device, b.device);
        let mut kept = 0;
        for at in 0..cards.len() {
            if !cards[..kept].iter().any(|card| alike(card, &cards[at])) {
                cards[kept] = cards[at];
                kept += 1;
            }
        }
        cards.truncate(kept);
        let mut lost: SmallVec<[i128; 8]> = smallvec![0; cards.len()];
        for class in &self.classes {
            let cpu_milli = u64::from(class.cpu_milli);
            if cpu_milli > cpu_before {
                continue;
            }
            let all = sight.sum(class, u64::MAX);
            let before = class.satisfied(all, sight.make);
            if before == 0 {
                // A part that is given out satisfies nobody who was not satisfied before.
                continue;
            }
            let weight = i128::from(class.weight);
            if cpu_milli > cpu_after {
                lost.iter_mut().for_each(|lost| *lost += weight * i128::from(before));
                continue;
            }
            let usable = sight.usable[class.wish];
            for (lost, card) in lost.iter_mut().zip(&cards) {
                let need = class.need(sight.make, card.device);
                if usable & (1 << card.device) == 0 || card.milli < need {
                    continue;
                }
                let left = card.milli.saturating_sub(card.takes.milli);
                let sum = if left >= need {
                    Sum { count: all.count, milli: all.milli - u64::from(card.milli - left) }
                } else {
                    Sum { count: all.count - 1, milli: all.milli - u64::from(card.milli) }
                };
                *lost += weight * i128::from(before - class.satisfied(sum, sight.make));
            }
        }
        let gain = |(card, lost): (Card, i128)| {
            let taken = card.takes.milli.min(card.milli);
            (Some(card), self.weight * i128::from(taken) - lost)
        };
        cards.into_iter().zip(lost).map(gain).collect()
    }
}

impl Class {
    /// The least that must be left of a device, in thousandths.
    fn need(&self, make: &Make, device: u8) -> u32 {
        match self.devices {
            Devices::Share(milli) => milli,
            Devices::Memory(mib) => {
                let milli =
                    u64::from(narrow(mib)) * u64::from(MILLI_PER_DEVICE) / u64::from(make.memory_mib(device).max(1));
                u32::try_from(milli.max(1)).unwrap_or(u32::MAX)
            }
            Devices::WholeNode | Devices::Count(_) => MILLI_PER_DEVICE,
        }
    }

    /// What of idle devices it could use, in thousandths, if there are processors for it.
    fn satisfied(&self, sum: Sum, make: &Make) -> u64 {
        let enough = match self.devices {
            Devices::Count(0) => false,
            Devices::WholeNode => sum.count == make.len(),
            devices => sum.count >= devices.count() as usize,
        };
        if enough { sum.milli } else { 0 }
    }
}

impl Sight<'_> {
    /// The devices among `devices` that the class could use.
    fn sum(&self, class: &Class, devices: u64) -> Sum {
        let mask = self.usable[class.wish] & devices;
        let mut sum = Sum::default();
        for left in &self.lefts {
            if mask & (1 << left.device) != 0 && left.milli >= class.need(self.make, left.device) {
                sum.count += 1;
                sum.milli += u64::from(left.milli);
            }
        }
        sum
    }

    /// Whether all classes think the same of two devices.
    fn sees_alike(&self, a: u8, b: u8) -> bool {
        self.usable.iter().all(|mask| (mask >> a) & 1 == (mask >> b) & 1)
    }
}

impl Scorer for Fgd {
    fn score(&self, seat: &Seat<'_>) -> u32 {
        of_percent(self.best(seat).0).min(SCORE_MAX)
    }

    fn card(&self, seat: &Seat<'_>) -> Option<Card> {
        self.best(seat).1
    }
}
