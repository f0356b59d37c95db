//! Who may hold how much, and who holds how much.
//!
//! See [`book::Book`] for the primary entry point: rows, teams, and what is used.

mod bill;
pub mod book;
mod ids;
#[cfg(test)]
mod oracle;
mod pool;
mod rows;
mod tally;
mod teams;

pub use bill::{Bill, Held, WEIGHT_MILLI_DEFAULT};
pub use ids::{BucketIx, GroupIx, ModelIx, TeamIx, UserIx};
pub use rows::RightError;
pub use teams::TeamError;

/// Which part of a bucket's use is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Within right, by runs that stay.
    Staying,
    /// Within right, by runs that were told to leave.
    Leaving,
    /// Within right, by runs that are promised a place.
    Promised,
    /// Borrowed, by runs that stay or are promised a place.
    Borrowed,
    /// Borrowed, by runs that were told to leave.
    Returning,
}
