//! Backfilling on virtual clusters, for comparison: it counts devices, and knows how long jobs run.

use super::{Books, HeliosJob, Outcome, Place, Played};
use crate::published::backfill::{BackfillRules, BatchJob, play as play_batch};

/// Plays jobs on virtual clusters with so many devices each, by the rules of a backfilling simulator.
///
/// Estimates are the true durations. Nodes do not matter, so a job may start where no placement on nodes would let it: what
/// comes out is a bound for backfilling rather than a schedule.
#[must_use]
pub fn play_backfill(jobs: &[HeliosJob], devices: &[u32], rules: &BackfillRules) -> Played {
    let mut played = Played { outcomes: vec![Outcome::default(); jobs.len()], stretches: Vec::new() };
    let mut books = Books { played: &mut played };
    for (vc, &devices) in (0..).zip(devices) {
        let list: Vec<usize> = (0..jobs.len()).filter(|&at| jobs[at].vc == vc).collect();
        let batch: Vec<BatchJob> = list
            .iter()
            .map(|&at| {
                let HeliosJob { number, submit, duration, gpus, .. } = jobs[at];
                let duration = duration.max(1) as f64;
                BatchJob { number, submit: submit as f64, run: duration, estimate: duration, size: gpus }
            })
            .collect();
        for (&at, outcome) in list.iter().zip(play_batch(&batch, devices, rules)) {
            if let (Some(start), Some(end)) = (outcome.start, outcome.end) {
                books.start(at, jobs[at].submit, start as i64);
                books.end(at, start as i64, end as i64, &Place::new());
            }
        }
    }
    played.stretches.sort_unstable_by_key(|stretch| (stretch.job, stretch.from));
    played
}
