//! Durations learned from the jobs that ended, where a trace brings no predictions.

use std::collections::{BTreeMap, VecDeque};

use super::HeliosJob;

/// How many of the last durations of a kind count.
const KEPT: usize = 8;
/// What a job is taken to last, in seconds, before anything ended.
const UNKNOWN: f64 = 3600.0;

/// The last durations, by user and devices, by user, and of all.
#[derive(Debug, Default)]
pub(super) struct Learned {
    alike: BTreeMap<(u32, u32), VecDeque<i64>>,
    users: BTreeMap<u32, VecDeque<i64>>,
    all: VecDeque<i64>,
}

impl Learned {
    /// How long a job will last, in seconds: what came with it, or the mean of the last ones most like it.
    pub(super) fn predict(&self, job: &HeliosJob) -> f64 {
        if let Some(predicted) = job.predicted {
            return predicted;
        }
        let alike = self.alike.get(&(job.user, job.gpus));
        let last = alike.or_else(|| self.users.get(&job.user)).unwrap_or(&self.all);
        if last.is_empty() { UNKNOWN } else { last.iter().sum::<i64>() as f64 / last.len() as f64 }
    }

    pub(super) fn ended(&mut self, job: &HeliosJob) {
        let alike = self.alike.entry((job.user, job.gpus)).or_default();
        for last in [alike, self.users.entry(job.user).or_default(), &mut self.all] {
            last.push_back(job.duration);
            if last.len() > KEPT {
                last.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_alike_are_asked_first() {
        let job =
            |user, gpus, duration| HeliosJob { number: 0, user, vc: 0, gpus, submit: 0, duration, predicted: None };
        let mut learned = Learned::default();
        assert_eq!(learned.predict(&job(1, 1, 0)), UNKNOWN);
        learned.ended(&job(1, 1, 10));
        learned.ended(&job(1, 2, 30));
        assert_eq!(learned.predict(&job(1, 1, 0)), 10.0);
        assert_eq!(learned.predict(&job(1, 4, 0)), 20.0);
        assert_eq!(learned.predict(&job(2, 4, 0)), 20.0);
        for _ in 0..KEPT {
            learned.ended(&job(1, 1, 50));
        }
        assert_eq!(learned.predict(&job(1, 1, 0)), 50.0);
        assert_eq!(learned.predict(&HeliosJob { predicted: Some(7.0), ..job(1, 1, 0) }), 7.0);
    }
}
