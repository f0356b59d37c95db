//! How good a claim to a place is.

use serde::{Deserialize, Serialize};

use super::Priority;

/// How good a run's claim to its place is; a smaller one yields to a greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Claim {
    /// Within its right. Borrowed work yields to all that is.
    pub entitled: bool,
    /// The level it counts as; background work counts as [`Priority::Auto`], below all levels.
    pub level: Priority,
}

impl Claim {
    /// The claim of work that only takes what nobody else wants.
    pub const BACKGROUND: Claim = Claim { entitled: false, level: Priority::Auto };
}
