//! Muri's simulator (Y. Zhao et al., SIGCOMM 2022), a descendant of Tiresias's (Gu et al., NSDI 2019): one cluster, events in
//! fractions of seconds.
//!
//! What to know before comparing with other simulators: a job that runs loses its start overhead **at every event** of the
//! whole cluster, not only when it starts, so progress depends on how often jobs come and go; and under the shortest-first
//! policies placement is made from scratch at each event, so that moving a job is free. Sums are made in the published
//! order, so that doubles come out the same.

mod experiment;
mod levels;
mod shortest;

pub(super) use experiment::EXPERIMENT;

use crate::trace::MuriRow;

/// A job of Muri's traces, as its simulator takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct MuriJob {
    /// Its number in the trace.
    pub number: u64,
    /// How many devices it holds.
    pub gpus: u32,
    /// When it is submitted, in seconds.
    pub submit: f64,
    /// How many iterations it makes.
    pub iterations: f64,
    /// How long one takes, in seconds.
    pub iteration_time: f64,
    /// What it loses at every event while it runs, in seconds.
    pub overhead: f64,
}

/// Who runs.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum MuriPolicy {
    /// The shortest remaining time first ("shortest"); with `by_service` the shortest remaining time times devices
    /// ("shortest-gpu", SRSF).
    Shortest {
        /// Whether remaining time counts once per device.
        by_service: bool,
    },
    /// Tiresias with three levels ("dlas-gpu"): a job falls a level when it held so many device-seconds; first come, first
    /// served within a level; devices are counted, nodes do not matter.
    Levels {
        /// Up to how many device-seconds a job stays in the first and the second level.
        limits: [f64; 2],
    },
}

impl MuriPolicy {
    /// SRTF.
    pub const SRTF: Self = MuriPolicy::Shortest { by_service: false };
    /// SRSF.
    pub const SRSF: Self = MuriPolicy::Shortest { by_service: true };
    /// Tiresias-L.
    pub const TIRESIAS_L: Self = MuriPolicy::Levels { limits: [3250.0, 7200.0] };

    /// All that were published, with the names they are asked for by.
    pub const PUBLISHED: [(&'static str, Self); 3] =
        [("srtf", Self::SRTF), ("srsf", Self::SRSF), ("tiresias-l", Self::TIRESIAS_L)];
}

/// The cluster: nodes of equal size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MuriCluster {
    /// How many nodes.
    pub nodes: u32,
    /// How many devices each has.
    pub per_node: u32,
}

impl MuriCluster {
    /// The published one: 8 nodes with 8 devices each.
    pub const PUBLISHED: Self = MuriCluster { nodes: 8, per_node: 8 };
}

/// What became of one job.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MuriOutcome {
    /// When it first started, in seconds.
    pub start: Option<f64>,
    /// When it ended, in seconds; `None` where it never did.
    pub end: Option<f64>,
    /// How often it was preempted.
    pub preemptions: u32,
}

/// One stretch of time in which a job held its devices, wherever they were: the shortest-first policies move jobs at every
/// event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MuriStretch {
    /// Which job, by its place in the list that was played.
    pub job: usize,
    /// From when, in seconds.
    pub from: f64,
    /// Until when, in seconds, exclusive.
    pub until: f64,
}

/// A whole list of jobs, played.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MuriPlayed {
    /// What became of each job, in the order of the list.
    pub outcomes: Vec<MuriOutcome>,
    /// When each job ran, in the order in which they left.
    pub stretches: Vec<MuriStretch>,
    /// Since when each job runs, if it does.
    since: Vec<Option<f64>>,
}

impl MuriPlayed {
    fn new(jobs: usize) -> Self {
        MuriPlayed { outcomes: vec![MuriOutcome::default(); jobs], stretches: Vec::new(), since: vec![None; jobs] }
    }

    /// A job runs, from now on or as before.
    fn runs(&mut self, job: usize, now: f64) {
        self.outcomes[job].start.get_or_insert(now);
        self.since[job].get_or_insert(now);
    }

    fn leaves(&mut self, job: usize, now: f64) {
        let from = self.since[job].take();
        self.stretches.extend(from.map(|from| MuriStretch { job, from, until: now }));
    }

    fn preempt(&mut self, job: usize, now: f64) {
        self.outcomes[job].preemptions += 1;
        self.leaves(job, now);
    }

    fn end(&mut self, job: usize, now: f64) {
        self.outcomes[job].end = Some(now);
        self.leaves(job, now);
    }
}

/// The figures that Muri's simulator prints.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MuriTotals {
    /// How many jobs ended.
    pub ended: usize,
    /// The mean of end less submission, in seconds.
    pub jct_mean: f64,
    /// The value at place ⌊0.99 n⌋ in ascending order, in seconds.
    pub jct_p99: f64,
    /// The last end, in seconds.
    pub makespan: f64,
    /// How many preemptions there were.
    pub preemptions: u64,
}

impl MuriTotals {
    /// Adds up what became of these jobs.
    #[must_use]
    pub fn of(jobs: &[MuriJob], outcomes: &[MuriOutcome]) -> Self {
        let ends = jobs.iter().zip(outcomes).filter_map(|(job, outcome)| Some((outcome.end?, job)));
        let mut jct: Vec<f64> = ends.clone().map(|(end, job)| end - job.submit).collect();
        jct.sort_by(f64::total_cmp);
        let jct_mean = if jct.is_empty() { 0.0 } else { jct.iter().sum::<f64>() / jct.len() as f64 };
        MuriTotals {
            ended: jct.len(),
            jct_mean,
            jct_p99: jct.get(jct.len() * 99 / 100).copied().unwrap_or(0.0),
            makespan: ends.map(|(end, _)| end).fold(0.0, f64::max),
            preemptions: outcomes.iter().map(|outcome| u64::from(outcome.preemptions)).sum(),
        }
    }
}

/// The jobs of a trace as the simulator takes them, by submission; all submitted at 0 in the variants that the paper calls
/// `_pr`.
#[must_use]
pub fn jobs_of(rows: &[MuriRow], at_once: bool) -> Vec<MuriJob> {
    let mut jobs: Vec<MuriJob> = rows
        .iter()
        .map(|row| MuriJob {
            number: row.number,
            gpus: row.gpus,
            submit: if at_once { 0.0 } else { row.submit_ms as f64 / 1000.0 },
            iterations: row.iterations as f64,
            iteration_time: row.iteration_ms as f64 * 1.015 / 1000.0,
            overhead: overhead(&row.model, row.gpus),
        })
        .collect();
    jobs.sort_by(|one, other| one.submit.total_cmp(&other.submit));
    jobs
}

/// What starting costs, in seconds, as it was measured for 1, 2, 4, 8, 16 and 32 devices.
fn overhead(model: &str, gpus: u32) -> f64 {
    let measured = match model {
        "vgg16" => [7.0, 7.0, 8.0, 9.0, 9.0, 10.0],
        "vgg19" => [7.0, 7.0, 8.0, 9.0, 10.0, 10.0],
        "resnet18" => [4.0, 5.0, 5.0, 7.0, 7.0, 7.0],
        "shufflenet_v2_x1_0" => [4.0, 4.0, 5.0, 5.0, 7.0, 8.0],
        "a2c" => [38.0, 39.0, 39.0, 46.0, 46.0, 46.0],
        "dqn" => [5.0, 5.0, 6.0, 6.0, 8.0, 8.0],
        _ => [10.0; 6],
    };
    [1, 2, 4, 8, 16, 32].iter().position(|&known| known == gpus).map_or(10.0, |at| measured[at])
}

/// Plays jobs, which must be in the order of their submission.
///
/// A job that fits not even the empty cluster never ends.
#[must_use]
pub fn play(jobs: &[MuriJob], cluster: MuriCluster, policy: MuriPolicy) -> Vec<MuriOutcome> {
    play_whole(jobs, cluster, policy).outcomes
}

/// The same, and when each job held its devices.
#[must_use]
pub fn play_whole(jobs: &[MuriJob], cluster: MuriCluster, policy: MuriPolicy) -> MuriPlayed {
    match policy {
        MuriPolicy::Shortest { by_service } => shortest::play(jobs, cluster, by_service),
        MuriPolicy::Levels { limits } => levels::play(jobs, cluster, limits),
    }
}

/// How far one job is.
#[derive(Clone, Debug)]
struct Progress {
    /// Iterations that are left.
    iterations: f64,
    /// When it was last looked at.
    checked: f64,
    runs: bool,
}

impl Progress {
    fn new(job: &MuriJob) -> Self {
        Progress { iterations: job.iterations, checked: job.submit, runs: false }
    }

    /// Time passes: what ran got on by all but the overhead.
    fn pass(&mut self, job: &MuriJob, now: f64) {
        if self.runs {
            let ran = (now - self.checked - job.overhead).max(0.0);
            self.iterations -= ran / job.iteration_time;
        }
        self.checked = now;
    }

    /// How much time is left, in seconds.
    fn left(&self, job: &MuriJob) -> f64 {
        self.iterations * job.iteration_time
    }
}

/// The next event: when, how many jobs are submitted then, and who ends.
fn next_event(jobs: &[MuriJob], next: usize, ends: Option<(f64, Vec<usize>)>) -> Option<(f64, usize, Vec<usize>)> {
    let arrival = jobs.get(next).map(|job| job.submit);
    let arrivals = |now: f64| jobs[next..].iter().take_while(|job| job.submit == now).count();
    match (arrival, ends) {
        (None, None) => None,
        (Some(now), None) => Some((now, arrivals(now), Vec::new())),
        (Some(now), Some((end, _))) if now < end => Some((now, arrivals(now), Vec::new())),
        (Some(now), Some((end, who))) if now == end => Some((now, arrivals(now), who)),
        (_, Some((end, who))) => Some((end, 0, who)),
    }
}

/// Who of those that run ends first, and when: all that end at exactly that moment.
fn first_ends(jobs: &[MuriJob], progress: &[Progress], runnable: &[usize], now: f64) -> Option<(f64, Vec<usize>)> {
    let mut first: Option<(f64, Vec<usize>)> = None;
    for &at in runnable.iter().filter(|&&at| progress[at].runs) {
        let end = now + progress[at].left(&jobs[at]);
        match &mut first {
            Some((time, who)) if *time == end => who.push(at),
            Some((time, _)) if *time < end => {}
            _ => first = Some((end, vec![at])),
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: u64, gpus: u32, submit: f64, seconds: f64) -> MuriJob {
        MuriJob { number, gpus, submit, iterations: seconds, iteration_time: 1.0, overhead: 10.0 }
    }

    fn times(jobs: &[MuriJob], policy: MuriPolicy) -> Vec<(Option<f64>, Option<f64>, u32)> {
        let outcomes = play(jobs, MuriCluster { nodes: 1, per_node: 8 }, policy);
        outcomes.iter().map(|outcome| (outcome.start, outcome.end, outcome.preemptions)).collect()
    }

    #[test]
    fn every_event_costs_those_that_run_their_overhead() {
        let jobs = [job(0, 4, 0.0, 100.0), job(1, 4, 50.0, 200.0)];
        // At 50 the first has run 40; it ends at 110, when the second has run 50.
        let got = times(&jobs, MuriPolicy::SRTF);
        assert_eq!(got, [(Some(0.0), Some(110.0), 0), (Some(50.0), Some(260.0), 0)]);
    }

    #[test]
    fn the_shortest_preempts_and_service_counts_devices() {
        let jobs = [job(0, 2, 0.0, 300.0), job(1, 8, 100.0, 100.0)];
        // The first has 210 left: it yields by time, but not by service (420 against 800).
        assert_eq!(times(&jobs, MuriPolicy::SRTF), [(Some(0.0), Some(410.0), 1), (Some(100.0), Some(200.0), 0)]);
        assert_eq!(times(&jobs, MuriPolicy::SRSF), [(Some(0.0), Some(310.0), 0), (Some(310.0), Some(410.0), 0)]);
    }

    #[test]
    fn a_job_falls_a_level_after_so_much_service() {
        let jobs = [job(0, 8, 0.0, 1000.0), job(1, 8, 1.0, 100.0)];
        // ⌈3250 / 8⌉ = 407: the second runs from then to 507, or it would have to wait to the end.
        let got = times(&jobs, MuriPolicy::TIRESIAS_L);
        assert_eq!((got[1], got[0].2), ((Some(407.0), Some(507.0), 0), 1));
    }

    #[test]
    fn far_in_the_future_time_goes_on() {
        let jobs: Vec<MuriJob> = (0..40).map(|at| job(at, 3, 1e12 + 0.1 * at as f64, 5000.3)).collect();
        assert!(times(&jobs, MuriPolicy::TIRESIAS_L).iter().all(|job| job.1.is_some()));
    }

    #[test]
    fn what_can_never_run_ends_the_play() {
        let jobs = [job(0, 9, 0.0, 10.0), job(1, 1, 1.0, 5.0)];
        for (name, policy) in MuriPolicy::PUBLISHED {
            let got = times(&jobs, policy);
            assert_eq!((got[0].1, got[1].1), (None, Some(6.0)), "{name}");
        }
        assert!(play(&[], MuriCluster::PUBLISHED, MuriPolicy::SRTF).is_empty());
    }
}
