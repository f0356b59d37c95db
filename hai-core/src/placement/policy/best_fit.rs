//! Best fit over processors and devices: the node with the least left over of both, each counted for half.
//!
//! R. Panigrahy et al., Heuristics for Vector Bin Packing, Microsoft Research, 2011; in the form in which Q. Weng et
//! al., Beware of Fragmentation, USENIX ATC 2023, compare with it, hundredths of the score included.

use super::{
    CPU_MILLI_NORM, DEVICE_MILLI_NORM, Scorer, cpu_milli_asked, device_milli_asked, device_milli_left, of_percent,
};
use crate::placement::Seat;

/// Takes the node with the least processors and devices left over.
#[derive(Clone, Copy, Debug, Default)]
pub struct BestFit;

/// What is left over in hundredths of the machine of reference, rounded up: half by processors, half by devices.
pub(super) fn percent_left(seat: &Seat<'_>) -> u64 {
    let cpu = u64::from(seat.room.cpu_milli).saturating_sub(cpu_milli_asked(seat));
    let devices = device_milli_left(seat).saturating_sub(device_milli_asked(seat));
    // 100 (cpu / norm + devices / norm) / 2, over one denominator.
    let numerator = u128::from(cpu) * u128::from(DEVICE_MILLI_NORM) + u128::from(devices) * u128::from(CPU_MILLI_NORM);
    let percent = (50 * numerator).div_ceil(u128::from(CPU_MILLI_NORM * DEVICE_MILLI_NORM));
    u64::try_from(percent).unwrap_or(u64::MAX)
}

impl Scorer for BestFit {
    fn score(&self, seat: &Seat<'_>) -> u32 {
        of_percent(100_u64.saturating_sub(percent_left(seat)))
    }
}
