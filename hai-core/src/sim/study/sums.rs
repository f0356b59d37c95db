//! Areas under what lasts: devices, held devices, waiting tasks, times time.

use crate::model::Span;

/// Sums over the measured time, or over all of it, in thousandths times milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) time: u128,
    pub(super) capacity: u128,
    pub(super) held: u128,
    pub(super) executing: u128,
    pub(super) waiting: u128,
    pub(super) fragments: u128,
    pub(super) busy_time: u128,
    pub(super) busy_capacity: u128,
    pub(super) busy_held: u128,
}

impl Sums {
    /// What was so for a span of time.
    pub(super) fn add(&mut self, levels: [u128; 6], span: Span) {
        let [capacity, held, executing, waiting, waiting_devices, fragments] = levels;
        let span = u128::from(span.as_ms());
        self.time += span;
        self.capacity += capacity * span;
        self.held += held * span;
        self.executing += executing * span;
        self.waiting += waiting * span;
        self.fragments += fragments * span;
        if waiting_devices > 0 {
            self.busy_time += span;
            self.busy_capacity += capacity * span;
            self.busy_held += held * span;
        }
    }
}
