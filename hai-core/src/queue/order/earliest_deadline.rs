//! The most urgent first.

use serde::{Deserialize, Serialize};

use super::{Key, Order, UNKNOWN, Usage, Waiting};
use crate::model::Time;

/// By the time at which the owner needs the task done, be it past or not; tasks without one come after all others. On one
/// machine it meets all deadlines if any order does (Liu and Layland, "Scheduling Algorithms for Multiprogramming in a
/// Hard-Real-Time Environment", 1973, §7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EarliestDeadline {}

impl Order for EarliestDeadline {
    fn key(&self, task: &Waiting<'_>, _: &Usage, _: Time) -> Key {
        // Shifted, so that times before 1970 keep their order too.
        let value = |deadline: Time| u128::from(deadline.as_ms().abs_diff(i64::MIN));
        Key::new(task, task.spec.deadline.map_or(UNKNOWN, value))
    }

    fn is_static(&self) -> bool {
        true
    }
}
