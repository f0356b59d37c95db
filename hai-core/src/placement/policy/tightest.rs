//! The tightest fit: least precious devices first, and of those the nodes with the fewest left.
//!
//! Best fit in the order of what is dear: D. S. Johnson et al., Worst-Case Performance Bounds for Simple
//! One-Dimensional Packing Algorithms, SIAM J. Comput. 3(4), 1974, with device memory for the price of a device.

use super::{SCORE_MAX, Scorer};
use crate::placement::Seat;

/// Takes the node whose devices have the least memory, then the one with the fewest free devices; a part goes to the
/// device with the least left.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tightest;

/// What is free besides: devices, and for a part what is left of the device it goes to.
fn left(seat: &Seat<'_>) -> u64 {
    let free = u64::from(seat.room.devices.count_ones());
    if !seat.ask.request().devices.is_part() {
        return free;
    }
    let milli = seat.fullest_card().map_or(0, |card| u64::from(card.milli));
    milli << 7 | free
}

/// The memory of the device that is given, or of the dearest on the node, in MiB.
fn memory_mib(seat: &Seat<'_>) -> u32 {
    if seat.ask.request().devices.is_part() {
        seat.fullest_card().map_or(0, |card| card.has_mib)
    } else {
        seat.make.memory_mib_max()
    }
}

impl Scorer for Tightest {
    fn score(&self, seat: &Seat<'_>) -> u32 {
        let memory = u64::from(memory_mib(seat));
        // Half of the score for cheap devices (80 GiB halve it), half for few left over.
        let half = u64::from(SCORE_MAX / 2);
        let cheap = half * 81_920 / (memory + 81_920);
        let most = if seat.ask.request().devices.is_part() { 1000 << 7 | 64 } else { 64 };
        let tight = half - half * left(seat).min(most) / most;
        u32::try_from(cheap + tight).unwrap_or(SCORE_MAX)
    }

    fn key(&self, seat: &Seat<'_>) -> u64 {
        // A part leaves at most 1000 << 7 | 64, which takes 17 bits; 31 are left for the memory.
        u64::from(memory_mib(seat).min(u32::MAX >> 1)) << 17 | left(seat)
    }
}
