//! Which of the nodes that will do is taken.
//!
//! See [`PlacementPolicy`] for what an operator chooses from and [`Scorer`] for adding one. Whether a node will do at all
//! is no business of a scorer: filters stand apart, in [`super::Ask::allows`] and [`Seat::capacity`].

mod tightest;

use std::fmt::Debug;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use tightest::Tightest;

use super::seat::{Card, Seat};

/// The best score.
pub const SCORE_MAX: u32 = 1_000_000;

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
}

/// How places are chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlacementPolicy {
    /// The least precious devices, then the fewest left over; see [`Tightest`].
    #[default]
    Tightest,
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
}
