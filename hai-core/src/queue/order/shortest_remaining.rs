//! The shortest first, by what is left.

use serde::{Deserialize, Serialize};

use super::{Key, Order, UNKNOWN, Usage, Waiting};
use crate::model::{Span, Time};

/// By the time that the task is expected to run still: nothing for one that ran longer than was expected; tasks of which
/// nothing is expected come after all others. With times that are known it keeps the mean time in the system least on
/// one machine (Schrage, "A proof of the optimality of the shortest remaining processing time discipline", 1968).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ShortestRemaining {}

impl Order for ShortestRemaining {
    fn key(&self, task: &Waiting<'_>, _: &Usage, _: Time) -> Key {
        // A task does not run while it waits, so that what is left stays the same.
        Key::new(task, task.spec.expected.map_or(UNKNOWN, |expected: Span| (expected - task.ran).as_ms().into()))
    }

    fn is_static(&self) -> bool {
        true
    }
}
