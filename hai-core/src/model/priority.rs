//! The priority levels, from `EXTREME_HIGH` down to `LOW`, and `AUTO`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A priority level; a greater one goes first. `Auto` takes the best level that the user's rights still allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// The best level at which the user has a right left, chosen anew whenever the task's turn comes.
    Auto,
    /// 0
    Low,
    /// 5
    BelowNormal,
    /// 8
    UnderNormal,
    /// 10
    Normal,
    /// 20; counts as `Normal` once the task has run for 30 minutes (a policy setting).
    AboveNormal,
    /// 30
    High,
    /// 40
    VeryHigh,
    /// 50
    ExtremeHigh,
}

/// No level has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a priority; the levels are EXTREME_HIGH, VERY_HIGH, HIGH, ABOVE_NORMAL, NORMAL, UNDER_NORMAL, BELOW_NORMAL, LOW and AUTO"
)]
pub struct ParsePriorityError(String);

impl Priority {
    /// The fixed levels, best first; `Auto` is not among them.
    pub const LEVELS: [Priority; 8] = [
        Priority::ExtremeHigh,
        Priority::VeryHigh,
        Priority::High,
        Priority::AboveNormal,
        Priority::Normal,
        Priority::UnderNormal,
        Priority::BelowNormal,
        Priority::Low,
    ];

    /// The level's number: 50, 40, 30, 20, 10, 8, 5, 0, and −1 for `Auto`.
    #[must_use]
    pub const fn number(self) -> i8 {
        match self {
            Priority::Auto => -1,
            Priority::Low => 0,
            Priority::BelowNormal => 5,
            Priority::UnderNormal => 8,
            Priority::Normal => 10,
            Priority::AboveNormal => 20,
            Priority::High => 30,
            Priority::VeryHigh => 40,
            Priority::ExtremeHigh => 50,
        }
    }

    /// The level's name as people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Priority::Auto => "AUTO",
            Priority::Low => "LOW",
            Priority::BelowNormal => "BELOW_NORMAL",
            Priority::UnderNormal => "UNDER_NORMAL",
            Priority::Normal => "NORMAL",
            Priority::AboveNormal => "ABOVE_NORMAL",
            Priority::High => "HIGH",
            Priority::VeryHigh => "VERY_HIGH",
            Priority::ExtremeHigh => "EXTREME_HIGH",
        }
    }

    /// The level with this number, if there is one.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Priority> {
        Self::LEVELS.into_iter().chain([Priority::Auto]).find(|level| i64::from(level.number()) == number)
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Reads a name in any case, with `-` or `_`, or a level's number.
impl FromStr for Priority {
    type Err = ParsePriorityError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.trim().to_ascii_uppercase().replace('-', "_");
        Self::LEVELS
            .into_iter()
            .chain([Priority::Auto])
            .find(|level| level.name() == name)
            .or_else(|| text.trim().parse().ok().and_then(Self::from_number))
            .ok_or_else(|| ParsePriorityError(text.to_owned()))
    }
}

impl Serialize for Priority {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_reads_back_by_name_and_number() {
        for level in Priority::LEVELS.into_iter().chain([Priority::Auto]) {
            assert_eq!(level.name().parse(), Ok(level));
            assert_eq!(level.name().to_lowercase().replace('_', "-").parse(), Ok(level));
            assert_eq!(level.number().to_string().parse(), Ok(level));
        }
        assert!("URGENT".parse::<Priority>().unwrap_err().to_string().contains("EXTREME_HIGH"));
    }
}
