//! Which of the nodes that will do is taken.
//!
//! See [`PlacementPolicy`] for what an operator chooses from and [`Scorer`] for adding one. Whether a node will do at all
//! is no business of a scorer: filters stand apart, in [`super::Ask::allows`] and [`Seat::capacity`]. How a gang lies in
//! the network is none either: see [`super::Placer::place`].

mod best_fit;
mod clustering;
mod cutting_stock;
mod dot_product;
mod fgd;
mod first_fit;
mod packing;
mod random;
mod tightest;
mod weighted;
mod worst_fit;

use std::fmt::Debug;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use best_fit::BestFit;
pub use clustering::GpuClustering;
pub use cutting_stock::CuttingStock;
pub use dot_product::DotProduct;
pub use fgd::{Fgd, Typical};
pub use first_fit::FirstFit;
pub use packing::GpuPacking;
pub use random::Random;
pub use tightest::Tightest;
pub use weighted::{Weighted, WeightedPolicy};
pub use worst_fit::WorstFit;

use super::seat::{Card, Seat};
use crate::inventory::MILLI_PER_DEVICE;
use crate::model::Devices;

/// The best score.
pub const SCORE_MAX: u32 = 1_000_000;
/// One hundredth of it, which is as fine as the published simulators of most policies score.
const PERCENT: u32 = SCORE_MAX / 100;
/// The processors of the machine that scores are relative to, in thousandths of a core.
const CPU_MILLI_NORM: u64 = 128_000;
/// Its devices, in thousandths.
const DEVICE_MILLI_NORM: u64 = 8_000;

/// Judges places. Equal scores go to the node that joined first.
pub trait Scorer: Debug + Send + Sync {
    /// How good the seat is, from 0 to [`SCORE_MAX`]; at least one worker fits on it.
    fn score(&self, seat: &Seat<'_>) -> u32;

    /// Where the seat stands among all, less is better, below 2^48. What a scorer says here counts if it judges alone;
    /// by default it is the score.
    fn key(&self, seat: &Seat<'_>) -> u64 {
        u64::from(SCORE_MAX.saturating_sub(self.score(seat)))
    }

    /// The device that the next part of one should go to; by default the fullest.
    fn card(&self, seat: &Seat<'_>) -> Option<Card> {
        seat.fullest_card()
    }

    /// The scorer for one task, if it judges the same seat differently for different tasks. No order of nodes is kept
    /// for such a scorer: every question looks at all of them.
    fn salted(&self, _salt: u64) -> Option<Arc<dyn Scorer>> {
        None
    }
}

/// How places are chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PlacementPolicy {
    /// The least precious devices, then the fewest left over; see [`Tightest`].
    #[default]
    Tightest,
    /// The node that joined first; see [`FirstFit`].
    FirstFit,
    /// The least left over of processors and devices; see [`BestFit`].
    BestFit,
    /// The most left over of both; see [`WorstFit`].
    WorstFit,
    /// Any node; see [`Random`].
    Random {
        /// What the draws start from.
        #[serde(default)]
        seed: u64,
    },
    /// The least alike of request and room; see [`DotProduct`].
    DotProduct,
    /// Used devices before unused ones, used nodes before unused ones; see [`GpuPacking`].
    GpuPacking,
    /// Beside work that asked for as many devices; see [`GpuClustering`].
    GpuClustering,
    /// The least fragmentation; see [`Fgd`].
    Fgd {
        /// What work is expected.
        typical: Vec<Typical>,
    },
    /// The least cut off, starved and fragmented; see [`CuttingStock`].
    CuttingStock {
        /// What work is expected.
        typical: Vec<Typical>,
    },
    /// Several at once; see [`Weighted`].
    Weighted(Vec<WeightedPolicy>),
}

/// A placement policy at work.
#[derive(Clone, Debug)]
pub struct Policy {
    scorer: Arc<dyn Scorer>,
}

impl Default for Policy {
    fn default() -> Self {
        Self::of(&PlacementPolicy::default())
    }
}

impl Policy {
    /// The stock policy with these settings.
    #[must_use]
    pub fn of(policy: &PlacementPolicy) -> Self {
        match policy {
            PlacementPolicy::Tightest => Self::custom(Tightest),
            PlacementPolicy::FirstFit => Self::custom(FirstFit),
            PlacementPolicy::BestFit => Self::custom(BestFit),
            PlacementPolicy::WorstFit => Self::custom(WorstFit),
            PlacementPolicy::Random { seed } => Self::custom(Random::new(*seed)),
            PlacementPolicy::DotProduct => Self::custom(DotProduct),
            PlacementPolicy::GpuPacking => Self::custom(GpuPacking),
            PlacementPolicy::GpuClustering => Self::custom(GpuClustering),
            PlacementPolicy::Fgd { typical } => Self::custom(Fgd::new(typical.clone())),
            PlacementPolicy::CuttingStock { typical } => Self::custom(CuttingStock::new(typical.clone())),
            PlacementPolicy::Weighted(parts) => Self::custom(Weighted::of(parts)),
        }
    }

    /// A policy of one's own.
    #[must_use]
    pub fn custom(scorer: impl Scorer + 'static) -> Self {
        Policy { scorer: Arc::new(scorer) }
    }

    pub(super) fn judge(&self, seat: &Seat<'_>) -> u64 {
        self.scorer.key(seat)
    }

    pub(super) fn card(&self, seat: &Seat<'_>) -> Option<Card> {
        if seat.ask.request().devices.is_part() { self.scorer.card(seat) } else { None }
    }

    pub(super) fn salted(&self, salt: u64) -> Option<Policy> {
        self.scorer.salted(salt).map(|scorer| Policy { scorer })
    }
}

/// What is left of the devices of a seat, in thousandths of one, the next worker left aside.
fn device_milli_left(seat: &Seat<'_>) -> u64 {
    let whole = u64::from(seat.room.devices.count_ones()) * u64::from(MILLI_PER_DEVICE);
    let shared =
        seat.room.shared().iter().map(|shared| u64::from(MILLI_PER_DEVICE.saturating_sub(shared.milli.into())));
    whole + shared.sum::<u64>()
}

/// What the next worker would take of the devices, in thousandths of one.
fn device_milli_asked(seat: &Seat<'_>) -> u64 {
    let whole = u64::from(MILLI_PER_DEVICE);
    match seat.ask.request().devices {
        Devices::WholeNode => seat.make.len() as u64 * whole,
        Devices::Count(count) => u64::from(count) * whole,
        Devices::Share(_) | Devices::Memory(_) => seat.fullest_card().map_or(0, |card| card.takes.milli.into()),
    }
}

/// What the next worker would take of the processors, in thousandths of a core.
fn cpu_milli_asked(seat: &Seat<'_>) -> u64 {
    match seat.ask.request().devices {
        Devices::WholeNode => seat.room.cpu_milli.into(),
        _ => seat.ask.request().cpu_milli.into(),
    }
}

/// A hundredth for each of `percent`, at most all.
fn of_percent(percent: u64) -> u32 {
    u32::try_from(percent.min(100)).unwrap_or(100) * PERCENT
}
