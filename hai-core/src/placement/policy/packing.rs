//! GPU packing: used devices first, then unused devices of used nodes, then unused nodes.
//!
//! Q. Weng et al., MLaaS in the Wild, NSDI 2022, section 5; with the numbers of the simulator of Q. Weng et al., Beware
//! of Fragmentation, USENIX ATC 2023.

use smallvec::SmallVec;

use super::{Scorer, of_percent};
use crate::model::Devices;
use crate::placement::Seat;

/// Fills used devices before unused ones and used nodes before unused ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct GpuPacking;

impl Scorer for GpuPacking {
    fn score(&self, seat: &Seat<'_>) -> u32 {
        let untouched = u64::from(seat.room.devices.count_ones());
        let devices = seat.make.len() as u64;
        let percent = match seat.ask.request().devices {
            Devices::Count(0) => 0,
            _ if untouched == devices => 33_u64.saturating_sub(untouched).max(untouched),
            Devices::WholeNode => 33,
            Devices::Count(count) => 50_u64.saturating_sub(count.into()).max(33),
            Devices::Share(_) | Devices::Memory(_) => {
                let lefts: SmallVec<[u32; 8]> = seat.cards().map(|card| card.milli).collect();
                match lefts.iter().min() {
                    Some(&left) if left < 1000 => 100_u64.saturating_sub(u64::from(left / 10 / 10)).max(50),
                    _ => 49,
                }
            }
        };
        of_percent(percent)
    }
}
