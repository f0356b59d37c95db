//! The least served first, in steps.

use serde::{Deserialize, Serialize};

use super::{Key, Order, Usage, Waiting};
use crate::model::Time;

/// By what the task has had, devices times time, in queues: the first queue is for tasks that had less than the first
/// threshold, and so on; inside a queue it is first come, first served. Short tasks are over before they leave the first
/// queue, without anybody knowing beforehand that they are short.
///
/// It is discretized two-dimensional least attained service (Gu et al., "Tiresias: A GPU Cluster Manager for
/// Distributed Deep Learning", NSDI 2019, §3.3), without its promotion of tasks that starve; see
/// [`Aging`](super::Aging) for that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct LeastAttainedService {
    /// Where one queue ends and the next begins, in device-milliseconds, in any order. Without any it is first come, first
    /// served.
    pub thresholds: Vec<u64>,
}

impl Default for LeastAttainedService {
    /// Two queues that meet at one device-hour.
    fn default() -> Self {
        LeastAttainedService { thresholds: vec![3_600_000] }
    }
}

impl Order for LeastAttainedService {
    fn key(&self, task: &Waiting<'_>, _: &Usage, _: Time) -> Key {
        let queue = self.thresholds.iter().filter(|&&end| end <= task.attained).count();
        Key::new(task, queue as u128)
    }

    fn is_static(&self) -> bool {
        true
    }
}
