//! What may be submitted next: pieces of the recent past, drawn at random and put one behind the other.
//!
//! Whole blocks of two hours are drawn, so that bursts and sweeps stay together (the moving block bootstrap; H. R. Künsch,
//! Annals of Statistics 1989), and from the same time of another day where days are known, since people sleep (the seasonal
//! block bootstrap; D. N. Politis, 2001). How long what was drawn runs is drawn too.

use std::sync::Arc;

use crate::model::{Span, TaskSpec, Time};
use crate::sim::{Input, SplitMix64, Work};

use super::durations::Known;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// How long a piece is.
const BLOCK: i64 = 2 * HOUR;
/// A past that is shorter says nothing about what comes.
const PAST_MIN: i64 = HOUR;

/// A submission of the past, as it may come again.
#[derive(Clone, Debug)]
pub(super) struct Past<'a> {
    pub(super) at: Time,
    pub(super) spec: Arc<TaskSpec>,
    pub(super) known: Known<'a>,
}

/// Submissions to come, without end as far as `until`.
pub(super) struct Future<'p, 'a> {
    past: &'p [Past<'a>],
    from: i64,
    now: i64,
    until: i64,
    block: i64,
    random: SplitMix64,
    /// Blocks that were drawn.
    drawn: i64,
    /// What is left of the last of them, and how much later it comes again.
    rest: std::ops::Range<usize>,
    shift: i64,
}

/// Whether a past that begins then says anything about what comes.
pub(super) fn says_something(from: Time, now: Time) -> bool {
    now.as_ms().saturating_sub(from.as_ms()) >= PAST_MIN
}

impl<'p, 'a> Future<'p, 'a> {
    /// Draws from `past`, which is in order and complete since `from`.
    pub(super) fn new(past: &'p [Past<'a>], from: Time, now: Time, until: Time, random: SplitMix64) -> Self {
        let block = BLOCK.min(now.as_ms().saturating_sub(from.as_ms()));
        let until = if past.is_empty() || !says_something(from, now) { i64::MIN } else { until.as_ms() };
        let (from, now) = (from.as_ms(), now.as_ms());
        Future { past, from, now, until, block, random, drawn: 0, rest: 0..0, shift: 0 }
    }

    /// Where the piece comes from that is put at `at`.
    fn source(&mut self, at: i64) -> i64 {
        let latest = self.now - self.block;
        // The latest day on which that time of day is past; from there as many days back as are known.
        let same_time = at - (at - latest).max(0).div_euclid(DAY) * DAY;
        let same_time = if same_time > latest { same_time - DAY } else { same_time };
        let days = (same_time - self.from).div_euclid(DAY) + 1;
        if days < 1 || latest - self.from < DAY {
            return self.from + self.below(latest - self.from + 1);
        }
        let day = self.below(days);
        let apart = self.below(2 * HOUR + 1) - HOUR;
        (same_time - day * DAY + apart).clamp(self.from, latest)
    }

    fn below(&mut self, bound: i64) -> i64 {
        i64::try_from(self.random.below(u64::try_from(bound).unwrap_or(0))).unwrap_or(0)
    }
}

impl Iterator for Future<'_, '_> {
    type Item = Input;

    fn next(&mut self) -> Option<Input> {
        loop {
            if let Some(past) = self.rest.next().and_then(|at| self.past.get(at)) {
                let at = Time::from_ms(past.at.as_ms() + self.shift);
                let needs = past.known.draw(Span::ZERO, &mut self.random);
                return Some(Input::submit(at, Arc::clone(&past.spec), Work::of(needs)));
            }
            let at = self.now + self.drawn * self.block;
            if at >= self.until {
                return None;
            }
            self.drawn += 1;
            let source = self.source(at);
            let end = source + self.block;
            let first = self.past.partition_point(|past| past.at.as_ms() < source);
            self.rest = first..self.past.partition_point(|past| past.at.as_ms() < end);
            self.shift = at - source;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::durations::Durations;
    use crate::model::{GroupName, Priority, UserName, WorkerRequest};

    /// Submissions at these hours.
    fn arrivals(hours: &[i64], now: i64, until: i64, seed: u64) -> Vec<i64> {
        let durations = Durations::default();
        let (user, group) = (UserName::new("u").unwrap(), GroupName::new("g").unwrap());
        let spec = Arc::new(TaskSpec::new("t", user, group, Priority::Normal, WorkerRequest::devices(1)));
        let past: Vec<Past<'_>> = hours
            .iter()
            .map(|hour| Past { at: Time::from_ms(hour * HOUR), spec: Arc::clone(&spec), known: durations.of(&spec) })
            .collect();
        let time = |hour: i64| Time::from_ms(hour * HOUR);
        let future = Future::new(&past, time(0), time(now), time(until), SplitMix64::new(seed));
        future.map(|input| input.at().as_ms()).collect()
    }

    #[test]
    fn what_comes_is_as_much_as_came_and_in_order() {
        let hourly: Vec<i64> = (0..240).collect();
        for seed in 0..20 {
            let drawn = arrivals(&hourly, 240, 480, seed);
            assert!(drawn.is_sorted());
            assert_eq!(drawn.len(), 240);
            assert!(drawn.iter().all(|&at| (240 * HOUR..480 * HOUR).contains(&at)));
        }
    }

    #[test]
    fn days_repeat() {
        // Ten submissions a day, at 12 o'clock.
        let past: Vec<i64> = (0..100).map(|number| number / 10 * 24 + 12).collect();
        for seed in 0..20 {
            let drawn = arrivals(&past, 240, 480, seed);
            assert!(drawn.iter().all(|at| (10..=15).contains(&(at / HOUR % 24))), "{drawn:?}");
            assert!((50..200).contains(&drawn.len()), "{}", drawn.len());
        }
    }

    #[test]
    fn of_a_short_past_nothing_is_drawn_and_a_short_one_is_repeated() {
        assert!(arrivals(&[0, 0, 0], 0, 100, 1).is_empty());
        assert!(arrivals(&[], 10, 100, 1).is_empty());
        let drawn = arrivals(&[0, 1, 2, 3, 4], 5, 100, 1);
        assert!((60..130).contains(&drawn.len()), "{}", drawn.len());
    }
}
