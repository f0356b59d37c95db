//! The shortest first, by what is expected in all.

use serde::{Deserialize, Serialize};

use super::{Key, Order, UNKNOWN, Usage, Waiting};
use crate::model::{Span, Time};

/// By the time that the task is expected to run in all; tasks of which nothing is expected come after all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ShortestExpected {}

impl Order for ShortestExpected {
    fn key(&self, task: &Waiting<'_>, _: &Usage, _: Time) -> Key {
        Key::new(task, task.spec.expected.map_or(UNKNOWN, |expected: Span| expected.as_ms().into()))
    }

    fn is_static(&self) -> bool {
        true
    }
}
