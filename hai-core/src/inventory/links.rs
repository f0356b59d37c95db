//! How the devices of a node are joined, and which of them lie best together.
//!
//! Choosing the k devices with the best total of links is the heaviest k-subgraph problem (NP-hard), but a node has few
//! devices: with up to eight to choose from all sets are looked at, beyond that devices are taken one by one.

use smallvec::SmallVec;

use crate::model::{DEVICES_PER_NODE_MAX, LinkKind, NodeSpec};

/// With at most so many devices to choose from, all sets of them are looked at.
const EXACT_DEVICES_MAX: u32 = 8;

/// How the devices of a node are joined: for each pair a weight, greater for closer; zero where nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Links {
    /// Devices per row of `weights`; zero if no two are joined.
    devices: u8,
    weights: Box<[u8]>,
}

/// What one link counts in a total. Each is worth more than any number of the next weaker kind between the eight
/// devices of a common machine would suggest: a transfer over NVLink is about ten times as fast as over PCIe.
const fn weight(kind: LinkKind) -> u8 {
    match kind {
        LinkKind::NvLink => 64,
        LinkKind::PcieSwitch => 16,
        LinkKind::HostBridge => 4,
        LinkKind::Numa => 1,
    }
}

/// The devices of a mask, in their order.
pub(crate) fn bits(mut mask: u64) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        if mask == 0 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "a mask has 64 bits")]
        let bit = mask.trailing_zeros() as u8;
        mask &= mask - 1;
        Some(bit)
    })
}

impl Links {
    /// The links of a node. Where two devices are joined more than once the closest link counts; links that name no
    /// device are left out.
    #[must_use]
    pub fn of(spec: &NodeSpec) -> Self {
        let devices = spec.devices.len().min(DEVICES_PER_NODE_MAX);
        let mut weights = vec![0; devices * devices].into_boxed_slice();
        for link in &spec.links {
            let (a, b) = (usize::from(link.a), usize::from(link.b));
            if a != b && a < devices && b < devices {
                for at in [a * devices + b, b * devices + a] {
                    weights[at] = weights[at].max(weight(link.kind));
                }
            }
        }
        match u8::try_from(devices) {
            Ok(devices) if weights.iter().any(|&weight| weight > 0) => Links { devices, weights },
            _ => Links::default(),
        }
    }

    /// Whether no two devices are known to be joined.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.devices == 0
    }

    /// The weight of the link between two devices.
    #[must_use]
    pub fn between(&self, a: u8, b: u8) -> u32 {
        if a >= self.devices || b >= self.devices {
            return 0;
        }
        u32::from(self.weights[usize::from(a) * usize::from(self.devices) + usize::from(b)])
    }

    /// The total of all links inside a set of devices.
    #[must_use]
    pub fn within(&self, devices: u64) -> u32 {
        bits(devices).map(|a| bits(devices).filter(|&b| b > a).map(|b| self.between(a, b)).sum::<u32>()).sum()
    }

    fn to(&self, device: u8, others: u64) -> u32 {
        bits(others).map(|other| self.between(device, other)).sum()
    }

    /// Of `free` the `count` devices with the best total of links, those to `beside` included; on ties the set that
    /// leaves the best-joined rest, then the one with the smallest numbers. All of `free` if that is not more.
    #[must_use]
    pub fn best(&self, free: u64, count: u32, beside: u64) -> u64 {
        if free.count_ones() <= count {
            return free;
        }
        if self.is_empty() || count == 0 {
            return bits(free).take(count as usize).fold(0, |mask, device| mask | 1 << device);
        }
        if free.count_ones() <= EXACT_DEVICES_MAX {
            self.best_exact(free, count, beside)
        } else {
            self.best_greedy(free, count, beside)
        }
    }

    fn best_exact(&self, free: u64, count: u32, beside: u64) -> u64 {
        let devices: SmallVec<[u8; 8]> = bits(free).collect();
        let mut best = (0, 0, 0);
        for choice in 1_u32..1 << devices.len() {
            if choice.count_ones() != count {
                continue;
            }
            let set = bits(u64::from(choice)).fold(0_u64, |mask, at| mask | 1 << devices[usize::from(at)]);
            let joined = self.within(set) + bits(set).map(|device| self.to(device, beside)).sum::<u32>();
            let left = self.within(free & !set);
            if best.2 == 0 || (joined, left) > (best.0, best.1) {
                best = (joined, left, set);
            }
        }
        best.2
    }

    /// Starts from each device in turn and adds what is joined best to those taken.
    fn best_greedy(&self, free: u64, count: u32, beside: u64) -> u64 {
        let mut best = (0, 0, 0);
        for first in bits(free) {
            let mut set = 1_u64 << first;
            while set.count_ones() < count {
                let Some((_, next)) = bits(free & !set)
                    .map(|device| (self.to(device, set | beside), device))
                    .max_by_key(|&(joined, device)| (joined, std::cmp::Reverse(device)))
                else {
                    break;
                };
                set |= 1 << next;
            }
            let joined = self.within(set) + bits(set).map(|device| self.to(device, beside)).sum::<u32>();
            let left = self.within(free & !set);
            if best.2 == 0 || (joined, left) > (best.0, best.1) {
                best = (joined, left, set);
            }
        }
        best.2
    }
}
