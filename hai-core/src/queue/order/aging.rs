//! Levels that rise with waiting.

use serde::{Deserialize, Serialize};

use crate::model::{Priority, Span, Time};

/// A waiting task counts as one level better for each full `every` that it has waited, at most `cap` levels, and never
/// better than the best. `AUTO` is no level and stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Aging {
    /// How long it waits for each level, in milliseconds. With no time at all it counts as `cap` levels better at once.
    pub every: Span,
    /// The most levels that it rises.
    pub cap: u8,
}

impl Aging {
    /// What a task of this level counts as that has waited since then.
    #[must_use]
    pub fn level(&self, level: Priority, since: Time, now: Time) -> Priority {
        let Some(at) = place(level) else { return level };
        Priority::LEVELS[at.saturating_sub(self.steps(since, now))]
    }

    /// When it will count as better than it does now; `None` if never.
    #[must_use]
    pub fn next_change(&self, level: Priority, since: Time, now: Time) -> Option<Time> {
        let at = place(level)?;
        let steps = self.steps(since, now);
        if steps >= at.min(usize::from(self.cap)) {
            return None;
        }
        let next = u64::try_from(steps).unwrap_or(u64::MAX).saturating_add(1);
        let wait = Span::from_ms(self.every.as_ms().saturating_mul(next));
        let change = since + wait;
        // Beyond the end of time there is no time to tell.
        (change > now && change.since(since) == wait).then_some(change)
    }

    fn steps(&self, since: Time, now: Time) -> usize {
        let steps = now.since(since).as_ms().checked_div(self.every.as_ms()).unwrap_or(u64::MAX);
        usize::try_from(steps.min(self.cap.into())).unwrap_or(usize::MAX)
    }
}

/// How many levels are better.
fn place(level: Priority) -> Option<usize> {
    Priority::LEVELS.iter().position(|&known| known == level)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_task_rises_one_level_at_a_time_up_to_the_cap() {
        let aging = Aging { every: Span::from_ms(10), cap: 2 };
        let (since, at) = (Time::from_ms(100), |ms| Time::from_ms(ms));
        for (now, level, next) in [
            (90, Priority::Low, Some(110)),
            (100, Priority::Low, Some(110)),
            (109, Priority::Low, Some(110)),
            (110, Priority::BelowNormal, Some(120)),
            (120, Priority::UnderNormal, None),
            (900, Priority::UnderNormal, None),
        ] {
            assert_eq!(aging.level(Priority::Low, since, at(now)), level, "{now}");
            assert_eq!(aging.next_change(Priority::Low, since, at(now)), next.map(at), "{now}");
        }
        assert_eq!(aging.level(Priority::VeryHigh, since, at(900)), Priority::ExtremeHigh);
        assert_eq!(aging.next_change(Priority::VeryHigh, since, at(110)), None);
        assert_eq!(aging.level(Priority::Auto, since, at(900)), Priority::Auto);
        assert_eq!(aging.next_change(Priority::Auto, since, at(100)), None);
        let at_once = Aging { every: Span::ZERO, cap: 1 };
        assert_eq!(at_once.level(Priority::Low, since, since), Priority::BelowNormal);
        let late = Aging { every: Span::from_ms(1 << 63), cap: 1 };
        assert_eq!(late.next_change(Priority::Low, Time::from_ms(-1), Time::from_ms(-1)), None);
    }

    proptest! {
        #[test]
        fn nothing_changes_before_the_next_change(
            every: u64, cap: u8, since: i64, at in 0..8_usize, waited in prop_oneof![any::<u64>(), 0..1000_u64],
        ) {
            let aging = Aging { every: Span::from_ms(every), cap };
            let (level, since) = (Priority::LEVELS[at], Time::from_ms(since));
            let now = since + Span::from_ms(waited);
            let counts = aging.level(level, since, now);
            prop_assert!(counts >= level);
            if let Some(next) = aging.next_change(level, since, now) {
                prop_assert!(next > now);
                prop_assert_eq!(aging.level(level, since, next - Span::from_ms(1)), counts);
                prop_assert!(aging.level(level, since, next) > counts);
            }
        }
    }
}
