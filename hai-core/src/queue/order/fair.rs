//! Fair shares over time.

use serde::{Deserialize, Serialize};

use super::{Key, Order, Usage, Waiting};
use crate::model::{Span, Time};

/// By what the owner used in the group, where use counts half after each half-life: who used less goes first. It is the
/// usage term of Slurm's classic fair-share factor (Multifactor Priority Plugin, "Fair-share", with
/// `PriorityDecayHalfLife`), with the same share for each user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Fair {
    /// After how long use counts half, in milliseconds; [`Span::MAX`] for never. [`Usage`] must have the same.
    pub half_life: Span,
}

impl Default for Fair {
    /// A week.
    fn default() -> Self {
        Fair { half_life: Span::from_mins(7 * 24 * 60) }
    }
}

impl Order for Fair {
    fn key(&self, task: &Waiting<'_>, usage: &Usage, now: Time) -> Key {
        Key::new(task, usage.exact(task.account, now))
    }

    fn is_static(&self) -> bool {
        false
    }
}
