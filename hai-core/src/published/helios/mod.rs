//! The simulators of the Helios family: virtual clusters, each played alone, second by second in effect.
//!
//! Two published simulators read the same trace with almost the same rules: the artifact of the Helios paper (Q. Hu et al.,
//! "Characterization and Prediction of Deep Learning Workloads in Large-Scale GPU Datacenters", SC 2021) and Lucid's (Q. Hu
//! et al., ASPLOS 2023). Both step one second at a time: jobs that end release their devices, jobs that are submitted join
//! the queue, the policy chooses, jobs are placed. Here only the seconds in which something can change are played; what
//! comes out is the same for every job. What differs between policies and simulators is in [`Rules`].

mod backfilled;
mod experiment;
mod learned;
mod nodes;
mod outcome;
mod philly;
mod preempting;
mod rules;
mod waiting;

pub use backfilled::play_backfill;
pub use experiment::oracle;
pub(super) use experiment::{PHILLY, VENUS};
pub use nodes::Place;
pub use outcome::{Outcome, Played, Stretch, Totals, mean, percentile};
pub use rules::{Overhead, Rules, Selection, Ties, Turn, Walk};

use std::collections::BTreeMap;

use crate::trace::{HeliosRow, VirtualCluster};

/// A job of a Helios trace.
#[derive(Clone, Debug, PartialEq)]
pub struct HeliosJob {
    /// Its number in the trace.
    pub number: u64,
    /// Its user, by a number of their own.
    pub user: u32,
    /// Its virtual cluster, by its place in the list of those.
    pub vc: u32,
    /// How many devices it holds. At least 1.
    pub gpus: u32,
    /// When it is submitted, in seconds.
    pub submit: i64,
    /// How long it runs, in seconds. At least 1.
    pub duration: i64,
    /// How long it was predicted to run, in seconds, where somebody did.
    pub predicted: Option<f64>,
}

/// The time within which jobs must be submitted to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first second.
    pub from: i64,
    /// The last second, inclusive.
    pub until: i64,
}

impl Window {
    /// September 2020 in the cluster Venus, as both papers cut it: to the 26th, 23:59:00.
    pub const VENUS_SEPTEMBER: Self = Window { from: 13_219_200, until: 13_219_200 + 2_246_340 };
}

/// The jobs of a trace that are played: on devices, in a virtual cluster that is known, and in the window. They come out by
/// submission, in the order of the rows where that is equal.
#[must_use]
pub fn jobs_of(rows: &[HeliosRow], clusters: &[VirtualCluster], window: Option<Window>) -> Vec<HeliosJob> {
    let vcs: BTreeMap<&str, u32> = clusters.iter().map(|vc| vc.name.as_str()).zip(0..).collect();
    let mut users = BTreeMap::new();
    let mut jobs: Vec<(u64, HeliosJob)> = Vec::with_capacity(rows.len());
    for row in rows {
        let inside = window.is_none_or(|window| (window.from..=window.until).contains(&row.submit));
        let Some(&vc) = vcs.get(row.vc.as_str()).filter(|_| inside && row.gpus > 0) else { continue };
        let next = users.len() as u32;
        let user = *users.entry(row.user.as_str()).or_insert(next);
        let (number, gpus, submit, duration) = (row.number, row.gpus, row.submit, row.duration);
        jobs.push((row.row, HeliosJob { number, user, vc, gpus, submit, duration, predicted: row.predicted }));
    }
    jobs.sort_by_key(|(row, job)| (job.submit, *row));
    jobs.into_iter().map(|(_, job)| job).collect()
}

/// Plays jobs on virtual clusters with so many nodes each.
///
/// A job that is larger than its virtual cluster never starts, and those that it blocks do not either; a job whose virtual
/// cluster is not in the list never starts.
#[must_use]
pub fn play(jobs: &[HeliosJob], nodes: &[u32], rules: &Rules) -> Played {
    let mut by_vc: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (at, job) in jobs.iter().enumerate() {
        if let Some(vc) = by_vc.get_mut(job.vc as usize) {
            vc.push(at);
        }
    }
    let mut played =
        Played { outcomes: vec![Outcome::default(); jobs.len()], stretches: Vec::with_capacity(jobs.len()) };
    for (mut list, &nodes) in by_vc.into_iter().zip(nodes) {
        match rules.ties {
            Ties::Listed => list.sort_by_key(|&at| jobs[at].submit),
            Ties::Number => list.sort_by_key(|&at| (jobs[at].submit, jobs[at].number)),
        }
        let mut books = Books { played: &mut played };
        match rules.preemption {
            None => waiting::play(jobs, &list, nodes, rules, &mut books),
            Some(overhead) => preempting::play(jobs, &list, nodes, rules, overhead, &mut books),
        }
    }
    played.stretches.sort_unstable_by_key(|stretch| (stretch.job, stretch.from));
    played
}

/// Where it is written down what becomes of jobs.
struct Books<'a> {
    played: &'a mut Played,
}

impl Books<'_> {
    /// A job starts that waited since then.
    fn start(&mut self, job: usize, waited_since: i64, now: i64) {
        let outcome = &mut self.played.outcomes[job];
        outcome.start.get_or_insert(now);
        outcome.queue += now - waited_since;
    }

    fn preempt(&mut self, job: usize, from: i64, until: i64, place: &Place) {
        self.played.outcomes[job].preemptions += 1;
        self.played.stretches.push(Stretch { job, from, until, place: place.clone() });
    }

    fn end(&mut self, job: usize, from: i64, until: i64, place: &Place) {
        self.played.outcomes[job].end = Some(until);
        self.played.stretches.push(Stretch { job, from, until, place: place.clone() });
    }
}

/// A number whose order is that of the value, whatever its sign.
fn in_order(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: u64, gpus: u32, submit: i64, duration: i64) -> HeliosJob {
        HeliosJob { number, user: 0, vc: 0, gpus, submit, duration, predicted: None }
    }

    fn times(jobs: &[HeliosJob], rules: &Rules) -> Vec<(i64, i64, i64, u32)> {
        let played = play(jobs, &[1], rules);
        let all = played.outcomes.iter();
        all.map(|o| (o.start.unwrap_or(-1), o.end.unwrap_or(-1), o.queue, o.preemptions)).collect()
    }

    #[test]
    fn the_first_in_the_queue_blocks_the_others() {
        let jobs = [job(1, 6, 0, 10), job(2, 4, 1, 5), job(3, 2, 2, 5)];
        assert_eq!(times(&jobs, &Rules::FIFO), [(0, 10, 0, 0), (10, 15, 9, 0), (10, 15, 8, 0)]);
        let skipping = Rules { walk: Walk::Skipping, ..Rules::FIFO };
        assert_eq!(times(&jobs, &skipping), [(0, 10, 0, 0), (10, 15, 9, 0), (2, 7, 0, 0)]);
    }

    #[test]
    fn the_shortest_comes_first_and_of_equals_the_one_that_came_first() {
        let jobs = [job(1, 8, 0, 10), job(2, 8, 1, 7), job(3, 8, 2, 5), job(4, 8, 3, 5)];
        let got = times(&jobs, &Rules::SJF);
        assert_eq!(got.iter().map(|job| job.0).collect::<Vec<_>>(), [0, 20, 10, 15]);
    }

    #[test]
    fn a_burst_is_ordered_by_devices_at_first_and_by_prediction_a_second_later() {
        let mut jobs = [job(1, 3, 0, 10), job(2, 4, 0, 10), job(3, 5, 0, 10), job(4, 6, 0, 10)];
        for (job, predicted) in jobs.iter_mut().zip([40.0, 30.0, 20.0, 10.0]) {
            job.predicted = Some(predicted);
        }
        // 3 and 4 devices go at once; then 6 x 10 comes before 5 x 20.
        let got = times(&jobs, &Rules::QSSF);
        assert_eq!(got.iter().map(|job| job.0).collect::<Vec<_>>(), [0, 0, 20, 10]);
    }

    #[test]
    fn the_shorter_preempts_and_the_overhead_is_run_off() {
        let jobs = [job(1, 8, 0, 100), job(2, 8, 10, 5)];
        // The second ends at 10 + 5 + 1; the first has 90 + 40 left then.
        assert_eq!(times(&jobs, &Rules::SRTF_LUCID), [(0, 147, 6, 1), (10, 16, 0, 0)]);
    }

    #[test]
    fn attained_service_is_looked_at_every_minute() {
        let jobs = [job(1, 8, 1, 4000), job(2, 8, 2, 30)];
        // 18,000 device-seconds are over after 2,251 s, so at the tick 2,340 s the second comes, and runs to 2,371.
        assert_eq!(times(&jobs, &Rules::TIRESIAS), [(60, 4161, 119, 1), (2340, 2371, 2338, 0)]);
    }

    #[test]
    fn what_can_never_run_ends_the_play() {
        let jobs = [job(1, 9, 0, 10), job(2, 1, 1, 5)];
        for (name, rules) in Rules::PUBLISHED {
            assert_eq!(times(&jobs, &rules)[0].1, -1, "{name}");
        }
        assert_eq!(play(&[], &[], &Rules::FIFO), Played::default());
    }

    #[test]
    fn the_order_of_numbers_is_that_of_values() {
        let values = [-1.0e9, -1.5, -0.0, 0.0, 1e-9, 2.0, 3e9];
        assert!(values.windows(2).all(|pair| in_order(pair[0]) < in_order(pair[1])));
    }
}
