//! Worst fit: the opposite of [`super::BestFit`], which evens out the load.
//!
//! D. S. Johnson, Near-Optimal Bin Packing Algorithms, PhD thesis, MIT, 1973.

use super::best_fit::percent_left;
use super::{Scorer, of_percent};
use crate::placement::Seat;

/// Takes the node with the most processors and devices left over.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorstFit;

impl Scorer for WorstFit {
    fn score(&self, seat: &Seat<'_>) -> u32 {
        of_percent(percent_left(seat))
    }
}
