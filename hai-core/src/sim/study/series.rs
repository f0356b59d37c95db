//! Levels over time, as means over a bounded number of equal spans.

use serde::{Deserialize, Serialize};

use crate::model::{Span, Time};

/// More spans than this are never kept; then two become one.
const BUCKETS_MAX: usize = 480;

/// Levels over time. Each has a number; what it was before and between is summed by span.
#[derive(Clone, Debug)]
pub(super) struct Meters {
    start: Time,
    width: Span,
    now: Time,
    levels: Vec<u64>,
    /// Level times milliseconds, by level and span.
    areas: Vec<Vec<u128>>,
}

/// A level over time, ready to be drawn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// When the first span begins.
    pub start: Time,
    /// How long each is, in milliseconds.
    pub width: Span,
    /// By name: the mean over each span.
    pub levels: Vec<(String, Vec<f64>)>,
}

impl Meters {
    pub(super) fn new(start: Time, width: Span, count: usize) -> Self {
        let width = width.max(Span::from_ms(1));
        Meters { start, width, now: start, levels: vec![0; count], areas: vec![Vec::new(); count] }
    }

    pub(super) fn width(&self) -> Span {
        self.width
    }

    fn bucket(&self, at: Time) -> usize {
        usize::try_from(at.since(self.start).as_ms() / self.width.as_ms()).unwrap_or(usize::MAX)
    }

    /// When the span ends in which the time is that they are at.
    pub(super) fn next_boundary(&self) -> Time {
        self.start + Span::from_ms((self.bucket(self.now) as u64 + 1).saturating_mul(self.width.as_ms()))
    }

    /// The time moves on.
    pub(super) fn advance(&mut self, to: Time) {
        while self.bucket(to) >= BUCKETS_MAX {
            self.halve();
        }
        while self.now < to {
            let (at, until) = (self.bucket(self.now), self.next_boundary().min(to));
            let span = u128::from(until.since(self.now).as_ms());
            for (level, areas) in self.levels.iter().zip(&mut self.areas) {
                if *level > 0 {
                    add(areas, at, u128::from(*level) * span);
                }
            }
            self.now = until;
        }
    }

    /// Two spans become one.
    fn halve(&mut self) {
        self.width = self.width + self.width;
        for areas in &mut self.areas {
            *areas = areas.chunks(2).map(|pair| pair.iter().sum()).collect();
        }
    }

    pub(super) fn add(&mut self, level: usize, more: u64) {
        self.levels[level] = self.levels[level].saturating_add(more);
    }

    pub(super) fn take(&mut self, level: usize, less: u64) {
        debug_assert!(self.levels[level] >= less, "level {level}");
        self.levels[level] = self.levels[level].saturating_sub(less);
    }

    /// Something that happens at one moment, as if it lasted one millisecond.
    pub(super) fn point(&mut self, level: usize, amount: u64) {
        let at = self.bucket(self.now).min(BUCKETS_MAX - 1);
        add(&mut self.areas[level], at, u128::from(amount));
    }

    pub(super) fn level(&self, level: usize) -> u64 {
        self.levels[level]
    }

    /// The mean of a level over each span, divided by `unit`; of the last span as far as time came.
    pub(super) fn means(&self, level: usize, unit: f64) -> Vec<f64> {
        let over = |at: usize| {
            let begin = self.start + Span::from_ms(at as u64 * self.width.as_ms());
            self.width.min(self.now.since(begin)).as_ms().max(1) as f64
        };
        self.sums(level, unit).into_iter().enumerate().map(|(at, sum)| sum / over(at)).collect()
    }

    /// The area of a level in each span, divided by `unit`.
    pub(super) fn sums(&self, level: usize, unit: f64) -> Vec<f64> {
        let spans = if self.now > self.start { self.bucket(self.now - Span::from_ms(1)) + 1 } else { 0 };
        let areas = &self.areas[level];
        (0..spans.max(areas.len())).map(|at| areas.get(at).copied().unwrap_or(0) as f64 / unit).collect()
    }

    pub(super) fn start(&self) -> Time {
        self.start
    }
}

fn add(areas: &mut Vec<u128>, at: usize, amount: u128) {
    if areas.len() <= at {
        areas.resize(at + 1, 0);
    }
    areas[at] += amount;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_up_stays_when_spans_become_wider() {
        let mut meters = Meters::new(Time::ZERO, Span::from_ms(10), 2);
        meters.add(0, 3);
        meters.advance(Time::from_ms(25));
        meters.point(1, 7);
        assert_eq!(meters.means(0, 1.0), [3.0, 3.0, 3.0]);
        assert_eq!(meters.sums(1, 1.0), [0.0, 0.0, 7.0]);
        meters.take(0, 1);
        let far = Time::from_ms(10 * BUCKETS_MAX as i64 + 1);
        meters.advance(far);
        assert_eq!(meters.width(), Span::from_ms(20));
        assert_eq!(meters.sums(0, 1.0)[..3], [60.0, 45.0, 40.0]);
        let total: f64 = meters.sums(0, 1.0).iter().sum();
        assert_eq!(total, 3.0 * 25.0 + 2.0 * (far.as_ms() - 25) as f64);
        assert_eq!(meters.sums(1, 1.0).iter().sum::<f64>(), 7.0);
        for step in 0..40 {
            meters.advance(Time::from_ms(10_000 << step));
            assert!(meters.sums(0, 1.0).len() <= BUCKETS_MAX);
        }
    }
}
