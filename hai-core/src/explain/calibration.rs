//! How good forecasts were, and what is to be made of the next ones for that.
//!
//! A rollout knows nothing of users who all become busy in the week before a deadline, or of durations that drift. So
//! every forecast is remembered until its task starts, and then scored: by how much would its waiting time have had to be
//! longer or shorter for the task to start right then? Of the latest scores the nine tenths quantile is what the next p90
//! is multiplied by, so that it holds nine times out of ten if what comes is like what was; the same with the median. That is
//! split conformal prediction with a multiplicative score (J. Lei et al., Distribution-Free Predictive Inference for
//! Regression, JASA 2018) over a window that moves with the times (I. Gibbs, E. Candès, Adaptive Conformal Inference Under
//! Distribution Shift, NeurIPS 2021).

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::model::{Span, TaskId, Time};

/// Scores that are kept.
const SCORES_MAX: usize = 256;
/// With fewer a forecast does not count as tried.
const SCORES_MIN: usize = 20;
/// What is said at first is trusted as if so many forecasts had been right on the spot before. Ten are the fewest of which
/// nine tenths are fewer than all: so the first that is late counts at once, and by as much as it was late.
const TRUSTED: usize = 10;
/// Forecasts of tasks that have not started; the oldest are forgotten.
const OPEN_MAX: usize = 4096;
/// Is added to both sides of a score, so that waits of seconds do not count as right or wrong by factors.
const SLACK_MS: u64 = 60_000;
/// A score of one: the forecast was right on the spot.
const ONE: u64 = 1 << 10;
/// Corrections are at most so much either way.
const FACTOR_MAX: u64 = 16;

/// Scores of past forecasts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Calibration {
    /// In the order in which they were made.
    open: BTreeMap<TaskId, Open>,
    p50: VecDeque<u64>,
    p90: VecDeque<u64>,
}

/// A forecast whose task has not started.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Open {
    at: Time,
    p50: Span,
    p90: Span,
}

fn score(actual: Span, forecast: Span) -> u64 {
    let (actual, forecast) = (actual.as_ms().saturating_add(SLACK_MS), forecast.as_ms().saturating_add(SLACK_MS));
    u64::try_from(u128::from(actual) * u128::from(ONE) / u128::from(forecast)).unwrap_or(u64::MAX)
}

fn keep(scores: &mut VecDeque<u64>, score: u64) {
    if scores.len() >= SCORES_MAX {
        scores.pop_front();
    }
    scores.push_back(score);
}

impl Calibration {
    /// Remembers that rollouts, uncorrected, said at `at` that a task waits so long. The first forecast of a task counts.
    pub fn said(&mut self, task: TaskId, at: Time, p50: Span, p90: Span) {
        self.open.entry(task).or_insert(Open { at, p50, p90 });
        if self.open.len() > OPEN_MAX {
            self.open.pop_first();
        }
    }

    /// A task started for the first time.
    pub fn started(&mut self, task: TaskId, at: Time) {
        if let Some(open) = self.open.remove(&task) {
            let actual = at.since(open.at);
            keep(&mut self.p50, score(actual, open.p50));
            keep(&mut self.p90, score(actual, open.p90));
        }
    }

    /// A task will never start.
    pub fn forget(&mut self, task: TaskId) {
        self.open.remove(&task);
    }

    /// How many forecasts were scored, of those that are remembered.
    #[must_use]
    pub fn scored(&self) -> usize {
        self.p90.len()
    }

    /// Whether these are enough to tell how good forecasts are.
    #[must_use]
    pub fn is_tried(&self) -> bool {
        self.scored() >= SCORES_MIN
    }

    /// The waiting times that rollouts say, corrected at `now` by what came of those before.
    #[must_use]
    pub fn correct(&self, now: Time, p50: Span, p90: Span) -> (Span, Span) {
        let late = |wait: fn(&Open) -> Span| {
            // Who has waited for longer than was said is known to be late, if not yet by how much.
            let open = self.open.values().map(move |open| (now.since(open.at), wait(open)));
            open.filter(|(waited, said)| waited > said).map(|(waited, said)| score(waited, said))
        };
        let p50 = correct(p50, factor(self.p50.iter().copied().chain(late(|open| open.p50)).collect(), 5));
        let p90 = correct(p90, factor(self.p90.iter().copied().chain(late(|open| open.p90)).collect(), 9));
        (p50, p90.max(p50))
    }
}

/// The least factor that would have been enough so many times out of ten.
fn factor(mut scores: Vec<u64>, tenths: usize) -> u64 {
    scores.extend([ONE; TRUSTED]);
    let rank = ((scores.len() + 1) * tenths).div_ceil(10).min(scores.len()) - 1;
    let (_, &mut score, _) = scores.select_nth_unstable(rank);
    score.clamp(ONE / FACTOR_MAX, ONE * FACTOR_MAX)
}

fn correct(wait: Span, factor: u64) -> Span {
    let scaled = u128::from(wait.as_ms().saturating_add(SLACK_MS)) * u128::from(factor) / u128::from(ONE);
    Span::from_ms(u64::try_from(scaled).unwrap_or(u64::MAX).saturating_sub(SLACK_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(hours: u64) -> Span {
        Span::from_mins(60 * hours)
    }

    #[test]
    fn without_experience_nothing_is_corrected() {
        let (p50, p90) = Calibration::default().correct(Time::ZERO, hours(1), hours(2));
        assert_eq!((p50, p90), (hours(1), hours(2)));
    }

    #[test]
    fn forecasts_that_were_too_short_are_made_longer() {
        let mut calibration = Calibration::default();
        for task in 0..100 {
            // Waits from 3 to 300 times what p90 said, in hundredths.
            calibration.said(TaskId(task), Time::ZERO, hours(100), hours(100));
            calibration.started(TaskId(task), Time::ZERO + hours(3 * (task + 1)));
        }
        let (p50, p90) = calibration.correct(Time::ZERO, hours(100), hours(100));
        let near = |found: Span, wanted: u64| found > hours(wanted - 2) && found < hours(wanted + 2);
        // The ten that are trusted stand at 100 hours: the 46th and the 90th of the hundred.
        assert!(near(p50, 138) && near(p90, 270), "{p50} {p90}");
    }

    #[test]
    fn who_is_late_counts_before_it_has_started() {
        let mut calibration = Calibration::default();
        for task in 0..40 {
            calibration.said(TaskId(task), Time::ZERO, hours(1), hours(1));
        }
        assert_eq!(calibration.correct(Time::ZERO, hours(1), hours(1)).1, hours(1));
        assert!(calibration.correct(Time::ZERO + hours(8), hours(1), hours(1)).1 > hours(7));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut calibration = Calibration::default();
        for task in 0..10_000 {
            calibration.said(TaskId(task), Time::ZERO, hours(1), hours(1));
            if task % 2 == 0 {
                calibration.started(TaskId(task), Time::ZERO + hours(1));
            }
        }
        assert_eq!((calibration.open.len(), calibration.scored()), (OPEN_MAX, SCORES_MAX));
    }
}
