//! First come, first served.

use serde::{Deserialize, Serialize};

use super::{Key, Order, Usage, Waiting};
use crate::model::Time;

/// By rank: the number of the submission, which a resumed task keeps, unless its owner chose another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Fifo {}

impl Order for Fifo {
    fn key(&self, task: &Waiting<'_>, _: &Usage, _: Time) -> Key {
        Key::new(task, 0)
    }

    fn is_static(&self) -> bool {
        true
    }
}
