//! A window of time, as it is asked for.

use chrono::{DateTime, Utc};
use hai_core::model::{Span, Time};

use super::problem::{ApiError, Kind};
use crate::scheduler::wall_clock;

/// From one moment until before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: Time,
    pub(super) to: Time,
}

impl Window {
    /// Until now where nothing else is said, and `length` long.
    pub(super) fn read(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>, length: Span) -> Result<Self, ApiError> {
        let to = to.map_or_else(wall_clock, Time::from);
        let before = || Time::from_ms(to.as_ms().saturating_sub_unsigned(length.as_ms()));
        let from = from.map_or_else(before, Time::from);
        if from >= to {
            return Err(invalid("from", "is not before `to`, which is now if it is left out"));
        }
        Ok(Window { from, to })
    }

    pub(super) fn length(self) -> Span {
        self.to.since(self.from)
    }
}

pub(super) fn invalid(field: &'static str, problem: impl std::fmt::Display) -> ApiError {
    ApiError::new(Kind::InvalidParameter, format!("{field}: {problem}")).at(field)
}
