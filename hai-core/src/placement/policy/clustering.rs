//! GPU clustering: work that asked for as many devices goes to the same nodes.
//!
//! W. Xiao et al., Gandiva: Introspective Cluster Scheduling for Deep Learning, OSDI 2018, section 3 (affinity); with
//! the numbers of the simulator of Q. Weng et al., Beware of Fragmentation, USENIX ATC 2023.

use super::{DEVICE_MILLI_NORM, Scorer, device_milli_left, of_percent};
use crate::inventory::Take;
use crate::model::Devices;
use crate::placement::Seat;

/// Prefers nodes with work that asked for as many devices, and fuller nodes among them.
#[derive(Clone, Copy, Debug, Default)]
pub struct GpuClustering;

/// What kind of work it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tag {
    Share,
    Devices(u32),
}

fn tag_of(take: &Take) -> Option<Tag> {
    match (take.part(), take.devices.count_ones()) {
        (Some(_), _) => Some(Tag::Share),
        (None, 0) => None,
        (None, count) => Some(Tag::Devices(count)),
    }
}

impl Scorer for GpuClustering {
    fn score(&self, seat: &Seat<'_>) -> u32 {
        let asked = match seat.ask.request().devices {
            Devices::Count(0) => return 0,
            Devices::Count(count) => Tag::Devices(count),
            Devices::WholeNode => Tag::Devices(u32::try_from(seat.make.len()).unwrap_or(u32::MAX)),
            Devices::Share(_) | Devices::Memory(_) => Tag::Share,
        };
        let fullness = 25 * DEVICE_MILLI_NORM.saturating_sub(device_milli_left(seat)) / DEVICE_MILLI_NORM;
        let (mut same, mut other) = (false, false);
        for tag in seat.node.holds().iter().filter_map(|hold| tag_of(&hold.take)) {
            same |= tag == asked;
            other |= tag != asked;
        }
        let company = match (same, other) {
            (true, false) => 75,
            (true, true) => 50,
            (false, false) => 25,
            (false, true) => 0,
        };
        of_percent(fullness + company)
    }
}
