//! Trying changes in copies of an engine, and finding the smallest that does.

use super::{Change, Help, Limits, Then, placed};
use crate::engine::Engine;
use crate::model::TaskId;

/// A search for what helps one task.
#[derive(Clone, Copy)]
pub(super) struct Search<'a> {
    pub(super) base: &'a Engine,
    pub(super) task: TaskId,
    /// Copies made so far.
    pub(super) copies: u32,
    pub(super) limits: Limits,
    /// Nothing was left out for want of copies.
    pub(super) complete: bool,
}

impl Search<'_> {
    /// What a change brings about in the next round, if it helps.
    pub(super) fn attempt(&mut self, change: &Change) -> Option<Then> {
        if self.copies >= self.limits.copies {
            self.complete = false;
            return None;
        }
        self.copies += 1;
        let mut copy = self.base.clone();
        if !change.apply(&mut copy, self.task) {
            return None;
        }
        let round = copy.schedule(copy.now());
        placed(&copy, &round, self.task)
    }

    /// A change that has no smaller one.
    pub(super) fn whether(&mut self, change: Change) -> Option<Help> {
        let then = self.attempt(&change)?;
        Some(Help { change, then })
    }

    /// The smallest of the changes `make(1)`, …, `make(most)` that helps, where the one before it does not. `guess` is where
    /// that may be.
    pub(super) fn least(&mut self, most: u64, guess: u64, make: impl Fn(u64) -> Change) -> Option<Help> {
        if most == 0 {
            return None;
        }
        let guess = guess.clamp(1, most);
        let (mut no, mut yes, mut then) = match self.attempt(&make(guess)) {
            Some(then) if guess == 1 => return Some(Help { change: make(1), then }),
            Some(then) => match self.attempt(&make(guess - 1)) {
                Some(better) => (0, guess - 1, better),
                None if !self.complete => return None,
                None => return Some(Help { change: make(guess), then }),
            },
            None if guess == most => return None,
            None => (guess, most, self.attempt(&make(most))?),
        };
        while yes - no > 1 {
            let middle = no + (yes - no) / 2;
            match self.attempt(&make(middle)) {
                Some(better) => (yes, then) = (middle, better),
                None if !self.complete => return None,
                None => no = middle,
            }
        }
        Some(Help { change: make(yes), then })
    }
}
