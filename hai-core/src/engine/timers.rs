//! When time alone changes something: timers, the earliest first.

use std::cmp::Reverse;
use std::hash::BuildHasherDefault;

use priority_queue::PriorityQueue;
use rustc_hash::FxHasher;

use crate::inventory::NodeIx;
use crate::model::{RunId, TaskId, Time};

/// Something that happens by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Timer {
    /// A refused or failed task is tried again.
    BackOff(TaskId),
    /// A task that was asked to start late may start.
    NotBefore(TaskId),
    /// A run is not protected from better priorities any more.
    Protected(RunId),
    /// A run's slice is over.
    Slice(RunId),
    /// A run counts as the next level down.
    Demotion(RunId),
    /// A task has run for as long as it may.
    Limit(RunId),
    /// A lease was not renewed.
    Lease(RunId),
    /// A run's devices were idle for too long.
    Idle(RunId),
    /// A run that is beyond its right has to leave.
    Notice(RunId),
    /// A node that refused a start may be tried again.
    CoolDown(NodeIx),
    /// A right expires.
    RightExpiry,
}

/// All timers that are set.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    // The timer itself is part of the priority, so that equal times have an order.
    queue: PriorityQueue<Timer, Reverse<(Time, Timer)>, BuildHasherDefault<FxHasher>>,
}

impl Timers {
    /// Sets a timer, or moves it.
    pub(super) fn set(&mut self, timer: Timer, at: Time) {
        self.queue.push(timer, Reverse((at, timer)));
    }

    /// Takes a timer back, if it is set.
    pub(super) fn cancel(&mut self, timer: Timer) {
        self.queue.remove(&timer);
    }

    /// The earliest time at which one goes off.
    pub(super) fn next(&self) -> Option<Time> {
        self.queue.peek().map(|(_, Reverse((at, _)))| *at)
    }

    /// Takes the earliest timer that is due.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.queue.pop().map(|(timer, _)| timer)
    }
}
