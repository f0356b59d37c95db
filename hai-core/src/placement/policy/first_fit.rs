//! First fit: D. S. Johnson, Near-Optimal Bin Packing Algorithms, PhD thesis, MIT, 1973.

use super::{SCORE_MAX, Scorer};
use crate::placement::Seat;

/// Takes the node that joined first.
#[derive(Clone, Copy, Debug, Default)]
pub struct FirstFit;

impl Scorer for FirstFit {
    fn score(&self, _seat: &Seat<'_>) -> u32 {
        SCORE_MAX
    }
}
