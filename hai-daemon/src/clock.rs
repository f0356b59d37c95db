//! The time that the scheduler goes by: it goes on evenly, whatever happens to the machine's clock.
//!
//! Somebody may set the machine's clock, or its correction may be late. Were the scheduler's time that clock's, an hour
//! forward would use up everybody's time limits at once; an hour back would stop all its timers for an hour, since a log's
//! time never goes back. So its time goes on by the kernel's count of what has passed, sleep of the machine included, and
//! comes to meet the clock by going a little faster or slower.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hai_core::model::Time;
use rustix::time::{ClockId, clock_gettime};

/// By what part of the time that passes it comes to meet the machine's clock: an hour's difference is gone after ten.
const SLEW: i64 = 10;
/// A clock that is further ahead was not set by mistake: it was wrong before, as on a machine that hears the time late.
const STEP_FROM: Duration = Duration::from_secs(24 * 60 * 60);

static CLOCK: Mutex<Option<Steady>> = Mutex::new(None);

/// The time now. In one process it never goes back.
#[must_use]
pub fn now() -> Time {
    go_on(None)
}

/// The time now, which from now on is not before `last`, where a log ends.
pub fn not_before(last: Time) -> Time {
    go_on(Some(last))
}

fn go_on(last: Option<Time>) -> Time {
    let (wall, passed) = (chrono::Utc::now().timestamp_micros(), since_boot());
    let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let clock = clock.get_or_insert(Steady { at: wall, seen: passed });
    clock.go_on(wall, passed);
    if let Some(last) = last {
        clock.at = clock.at.max(last.as_ms().saturating_mul(1000));
    }
    Time::from_ms(clock.at.div_euclid(1000))
}

/// Time since the machine was started, in microseconds.
fn since_boot() -> i64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1000)
}

/// A time and when it was read, both in microseconds.
#[derive(Debug)]
struct Steady {
    at: i64,
    seen: i64,
}

impl Steady {
    /// Goes on to when the machine's clock says `wall`, and `passed` since its start.
    fn go_on(&mut self, wall: i64, passed: i64) {
        let elapsed = passed.saturating_sub(self.seen).max(0);
        self.seen = passed;
        self.at = self.at.saturating_add(elapsed);
        let ahead = wall.saturating_sub(self.at);
        if i128::from(ahead) >= i128::try_from(STEP_FROM.as_micros()).unwrap_or(i128::MAX) {
            self.at = wall;
        } else {
            self.at += ahead.clamp(-elapsed / SLEW, elapsed / SLEW);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3600 * SECOND;

    /// A clock that is right.
    fn right(at: i64) -> Steady {
        Steady { at, seen: 7 * HOUR }
    }

    #[test]
    fn it_is_the_machine_s_clock_as_long_as_that_is_right() {
        let mut clock = right(1000 * HOUR);
        for second in 1..100 {
            // The clock is kept right by a few parts in a million.
            let wall = 1000 * HOUR + second * SECOND + second * 50;
            clock.go_on(wall, 7 * HOUR + second * SECOND);
            assert_eq!(clock.at, wall);
        }
        // The machine slept: both clocks say so.
        clock.go_on(1009 * HOUR, 16 * HOUR);
        assert!((clock.at - 1009 * HOUR).abs() < SECOND);
    }

    #[test]
    fn an_hour_forward_or_back_is_caught_up_with_in_ten_hours_and_no_second_is_jumped_or_stands_still() {
        for jump in [HOUR, -HOUR] {
            let mut clock = right(1000 * HOUR);
            let mut last = clock.at;
            for second in 1..=10 * 3600 {
                clock.go_on(1000 * HOUR + jump + second * SECOND, 7 * HOUR + second * SECOND);
                let passed = clock.at - last;
                assert!((SECOND * 9 / 10..=SECOND * 11 / 10).contains(&passed), "{passed} in second {second}");
                last = clock.at;
            }
            assert_eq!(clock.at, 1010 * HOUR + jump);
        }
    }

    #[test]
    fn a_clock_that_was_years_late_is_followed_at_once_and_one_that_is_years_early_never_goes_back() {
        let mut clock = right(0);
        clock.go_on(500_000 * HOUR, 7 * HOUR + 1);
        assert_eq!(clock.at, 500_000 * HOUR);
        clock.go_on(0, 8 * HOUR);
        assert_eq!(clock.at, 500_000 * HOUR + HOUR - HOUR / 10);
        // Nor does it if what has passed were ever told wrong.
        let at = clock.at;
        clock.go_on(0, 7 * HOUR);
        assert_eq!(clock.at, at);
    }

    #[test]
    fn it_is_one_clock_and_can_be_moved_on_only() {
        let first = now();
        assert_eq!(not_before(Time::ZERO).as_ms() / 60_000, first.as_ms() / 60_000);
        let later = Time::from_ms(first.as_ms() + 60_000);
        assert!(not_before(later) >= later && now() >= later);
    }
}
