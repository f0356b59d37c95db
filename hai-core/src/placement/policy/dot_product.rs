//! The dot product of request and room: R. Grandl et al., Multi-Resource Packing for Cluster Schedulers (Tetris),
//! SIGCOMM 2014, section 3.2.
//!
//! In the form in which Q. Weng et al., Beware of Fragmentation, USENIX ATC 2023, compare with it: both vectors are
//! relative to the largest machine, and the smaller product wins.

use super::{
    CPU_MILLI_NORM, DEVICE_MILLI_NORM, Scorer, cpu_milli_asked, device_milli_asked, device_milli_left, of_percent,
};
use crate::placement::Seat;

/// Takes the node where what is left has the smallest dot product with what is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct DotProduct;

impl Scorer for DotProduct {
    fn score(&self, seat: &Seat<'_>) -> u32 {
        let square = |norm: u64| u128::from(norm) * u128::from(norm);
        let cpu = u128::from(seat.room.cpu_milli) * u128::from(cpu_milli_asked(seat));
        let devices = u128::from(device_milli_left(seat)) * u128::from(device_milli_asked(seat));
        // 100 (1 - product / 2) over one denominator, rounded down.
        let numerator = 50 * (cpu * square(DEVICE_MILLI_NORM) + devices * square(CPU_MILLI_NORM));
        let percent = numerator.div_ceil(square(CPU_MILLI_NORM) * square(DEVICE_MILLI_NORM));
        of_percent(100_u64.saturating_sub(u64::try_from(percent).unwrap_or(u64::MAX)))
    }
}
