//! When time alone changes something: timers, the earliest first.

use std::cmp::Reverse;

use priority_queue::PriorityQueue;

use crate::model::{RunId, TaskId, Time};

/// Something that happens by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// A refused task is tried again.
    BackOff(TaskId),
    /// A run is not protected from better priorities any more.
    Protected(RunId),
    /// A run's slice is over.
    Slice(RunId),
    /// A run counts as the next level down.
    Demotion(RunId),
}

/// All timers that are set.
#[derive(Clone, Debug, Default)]
pub struct Timers {
    // The timer itself is part of the priority, so that equal times have an order.
    queue: PriorityQueue<Timer, Reverse<(Time, Timer)>>,
}

impl Timers {
    /// Sets a timer, or moves it.
    pub fn set(&mut self, timer: Timer, at: Time) {
        self.queue.push(timer, Reverse((at, timer)));
    }

    /// Takes a timer back, if it is set.
    pub fn cancel(&mut self, timer: Timer) {
        self.queue.remove(&timer);
    }

    /// The earliest time at which one goes off.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.queue.peek().map(|(_, Reverse((at, _)))| *at)
    }

    /// Takes the earliest timer that is due.
    pub fn pop_due(&mut self, now: Time) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.queue.pop().map(|(timer, _)| timer)
    }
}
