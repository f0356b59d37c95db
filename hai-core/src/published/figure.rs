//! A figure that was published, beside the one that comes out here.

use serde::{Deserialize, Serialize};

/// One figure of an experiment, ours beside theirs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is, e.g. "tiresias, mean JCT".
    pub name: String,
    /// Its unit, e.g. "s" or "%"; empty for a count.
    pub unit: String,
    /// What comes out here.
    pub ours: f64,
    /// What was published.
    pub theirs: f64,
    /// With how many digits behind the point it was published.
    pub digits: u8,
    /// How far ours may be from theirs and still count as met, in its unit; 0: to the printed digit.
    pub tolerance: f64,
}

impl Figure {
    /// A figure that is met where all its printed digits are.
    pub fn exact(name: impl Into<String>, unit: impl Into<String>, ours: f64, theirs: f64, digits: u8) -> Self {
        Figure { name: name.into(), unit: unit.into(), ours, theirs, digits, tolerance: 0.0 }
    }

    /// The same, with some distance allowed.
    #[must_use]
    pub fn within(self, tolerance: f64) -> Self {
        Figure { tolerance, ..self }
    }

    /// Ours less theirs.
    #[must_use]
    pub fn difference(&self) -> f64 {
        self.ours - self.theirs
    }

    /// Whether ours is theirs, as far as that is asked.
    #[must_use]
    pub fn is_met(&self) -> bool {
        let printed = |value: f64| format!("{value:.*}", usize::from(self.digits));
        printed(self.ours) == printed(self.theirs) || self.difference().abs() <= self.tolerance
    }
}
