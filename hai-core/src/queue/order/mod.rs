//! In which order the waiting tasks of one level are tried: policies as values of one trait.
//!
//! See [`Order`] for the primary entry point and [`OrderPolicy`] for the stock of policies. To add one, write a file with
//! a type that implements [`Order`], and give it a variant of [`OrderPolicy`].

mod aging;
mod decay;
mod earliest_deadline;
mod fair;
mod fifo;
mod least_attained_service;
mod shortest_expected;
mod shortest_remaining;
mod usage;

use serde::{Deserialize, Serialize};

pub use aging::Aging;
pub use earliest_deadline::EarliestDeadline;
pub use fair::Fair;
pub use fifo::Fifo;
pub use least_attained_service::LeastAttainedService;
pub use shortest_expected::ShortestExpected;
pub use shortest_remaining::ShortestRemaining;
pub use usage::{Account, AccountIx, Usage, UsageRow};

use crate::model::{Rank, Span, TaskId, TaskSpec, Time};

/// Puts waiting tasks in an order.
pub trait Order: std::fmt::Debug + Send + Sync {
    /// Where a waiting task stands inside one level; a smaller key goes first.
    fn key(&self, task: &Waiting<'_>, usage: &Usage, now: Time) -> Key;

    /// Whether a task's key stays as it is while the task waits. Otherwise it has to be asked for anew whenever it
    /// matters.
    fn is_static(&self) -> bool;
}

/// What an order may look at.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    /// The task.
    pub task: TaskId,
    /// What was submitted.
    pub spec: &'a TaskSpec,
    /// Whose use counts for it.
    pub account: AccountIx,
    /// How long it has run, all runs together.
    pub ran: Span,
    /// What it has had, all runs together, in device-milliseconds.
    pub attained: u64,
}

/// A place in the order; the smallest goes first. Equal values go by rank, then by the number of the submission, so
/// that no two tasks have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// What the policy says.
    pub value: u128,
    /// The task's rank.
    pub rank: Rank,
    /// The task.
    pub task: TaskId,
}

/// What stands for a value that nobody knows: behind all that are known.
const UNKNOWN: u128 = u128::MAX;

/// The stock of orders. In a configuration it is a table with the name as `policy`, e.g.
/// `{ policy = "fair", half_life = 604800000 }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "policy", rename_all = "kebab-case")]
pub enum OrderPolicy {
    /// First come, first served.
    Fifo(Fifo),
    /// Who used less lately goes first.
    Fair(Fair),
    /// What is expected to run the shortest in all goes first.
    ShortestExpected(ShortestExpected),
    /// What is expected to have the least left to run goes first.
    ShortestRemaining(ShortestRemaining),
    /// What has had the least so far goes first, in steps.
    LeastAttainedService(LeastAttainedService),
    /// What is needed the soonest goes first.
    EarliestDeadline(EarliestDeadline),
}

impl Key {
    fn new(task: &Waiting<'_>, value: u128) -> Self {
        Key { value, rank: task.spec.rank(task.task), task: task.task }
    }
}

impl Default for OrderPolicy {
    fn default() -> Self {
        OrderPolicy::Fifo(Fifo {})
    }
}

impl OrderPolicy {
    /// After how long use counts half; `None` where use does not matter.
    #[must_use]
    pub fn half_life(&self) -> Option<Span> {
        match self {
            OrderPolicy::Fair(fair) => Some(fair.half_life),
            _ => None,
        }
    }

    fn order(&self) -> &dyn Order {
        match self {
            OrderPolicy::Fifo(order) => order,
            OrderPolicy::Fair(order) => order,
            OrderPolicy::ShortestExpected(order) => order,
            OrderPolicy::ShortestRemaining(order) => order,
            OrderPolicy::LeastAttainedService(order) => order,
            OrderPolicy::EarliestDeadline(order) => order,
        }
    }
}

impl Order for OrderPolicy {
    fn key(&self, task: &Waiting<'_>, usage: &Usage, now: Time) -> Key {
        self.order().key(task, usage, now)
    }

    fn is_static(&self) -> bool {
        self.order().is_static()
    }
}

#[cfg(test)]
mod tests;
