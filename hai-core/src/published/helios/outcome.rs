//! What a played job list came to: when each job ran, and the figures that papers print of it.

use super::HeliosJob;
use super::nodes::Place;

/// What became of one job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// When it first started, in seconds; `None` where it never did.
    pub start: Option<i64>,
    /// When it ended, in seconds; `None` where it never did.
    pub end: Option<i64>,
    /// How long it waited, in seconds: until its first start, and between each preemption and the start after it.
    pub queue: i64,
    /// How often it was preempted.
    pub preemptions: u32,
}

/// One stretch of time in which a job held its devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Which job, by its place in the list that was played.
    pub job: usize,
    /// From when, in seconds.
    pub from: i64,
    /// Until when, in seconds, exclusive.
    pub until: i64,
    /// On which nodes of its virtual cluster, and on how many devices of each; nothing where devices are only counted.
    pub place: Place,
}

/// A whole list of jobs, played.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// What became of each job, in the order of the list.
    pub outcomes: Vec<Outcome>,
    /// When each job ran, by job and then by time.
    pub stretches: Vec<Stretch>,
}

/// The figures that the papers on the Helios traces print.
#[derive(Clone, Debug, PartialEq)]
pub struct Totals {
    /// How many jobs ended.
    pub ended: usize,
    /// How many never ended: nothing that they fit on ever became free.
    pub stuck: usize,
    /// The mean of end less submission, in seconds.
    pub jct_mean: f64,
    /// Its median, in seconds.
    pub jct_p50: f64,
    /// Its 99th percentile, in seconds.
    pub jct_p99: f64,
    /// The mean over the jobs of at most eight devices, in seconds.
    pub jct_small: f64,
    /// The mean over the jobs of more than eight devices, in seconds.
    pub jct_large: f64,
    /// The mean of the waiting, in seconds.
    pub queue_mean: f64,
    /// Its 99th percentile, in seconds.
    pub queue_p99: f64,
    /// Its 99.9th percentile, in seconds.
    pub queue_p999: f64,
    /// How many waited at all.
    pub queued: usize,
    /// How many preemptions there were.
    pub preemptions: u64,
    /// The last end less the beginning of the window, in seconds.
    pub makespan: i64,
}

impl Totals {
    /// Adds up what became of these jobs, from a beginning on that the makespan is counted from.
    #[must_use]
    pub fn of(jobs: &[HeliosJob], outcomes: &[Outcome], begin: i64) -> Self {
        let mut jct = Vec::with_capacity(jobs.len());
        let mut queue = Vec::with_capacity(jobs.len());
        let (mut small, mut large) = (Vec::new(), Vec::new());
        let (mut preemptions, mut last) = (0, begin);
        for (job, outcome) in jobs.iter().zip(outcomes) {
            preemptions += u64::from(outcome.preemptions);
            let Some(end) = outcome.end else { continue };
            last = last.max(end);
            jct.push(end - job.submit);
            queue.push(outcome.queue);
            if job.gpus <= 8 { &mut small } else { &mut large }.push(end - job.submit);
        }
        jct.sort_unstable();
        queue.sort_unstable();
        Totals {
            ended: jct.len(),
            stuck: jobs.len() - jct.len(),
            jct_mean: mean(&jct),
            jct_p50: percentile(&jct, 0.5),
            jct_p99: percentile(&jct, 0.99),
            jct_small: mean(&small),
            jct_large: mean(&large),
            queue_mean: mean(&queue),
            queue_p99: percentile(&queue, 0.99),
            queue_p999: percentile(&queue, 0.999),
            queued: queue.iter().filter(|&&waited| waited > 0).count(),
            preemptions,
            makespan: last - begin,
        }
    }
}

impl Played {
    /// How much of so many devices the jobs held between two times, as a part of 1.
    #[must_use]
    pub fn occupancy(&self, jobs: &[HeliosJob], devices: u64, from: i64, until: i64) -> f64 {
        let held: i128 = self
            .stretches
            .iter()
            .map(|stretch| {
                let seconds = stretch.until.min(until) - stretch.from.max(from);
                i128::from(seconds.max(0)) * i128::from(jobs[stretch.job].gpus)
            })
            .sum();
        let all = i128::from(devices) * i128::from((until - from).max(0));
        if all == 0 { 0.0 } else { held as f64 / all as f64 }
    }
}

/// The mean; 0 of nothing.
#[must_use]
pub fn mean(values: &[i64]) -> f64 {
    let sum: i128 = values.iter().map(|&value| i128::from(value)).sum();
    if values.is_empty() { 0.0 } else { sum as f64 / values.len() as f64 }
}

/// A percentile of values in ascending order, straight between its two neighbours; 0 of nothing.
#[must_use]
pub fn percentile(sorted: &[i64], part: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let at = part * last as f64;
    let below = (at as usize).min(last);
    let above = (below + 1).min(last);
    let (low, high) = (sorted[below] as f64, sorted[above] as f64);
    low + (high - low) * (at - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_lies_between_its_neighbours() {
        assert_eq!(percentile(&[1, 2, 3, 10], 0.5), 2.5);
        assert_eq!(percentile(&[1, 2, 3, 10], 1.0), 10.0);
        assert_eq!(percentile(&[7], 0.99), 7.0);
        assert_eq!(percentile(&[], 0.99), 0.0);
    }
}
