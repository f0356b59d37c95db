//! Backfilling on one machine of many processors, by the rules of two published simulators.
//!
//! pyss (the simulator behind E. Gaussier et al., "Improving Backfilling by using Machine Learning to Predict Running Times",
//! SC 2015) counts processors and handles one event after the other; Batsim with batsched (P.-F. Dutot et al., JSSPP 2016)
//! gives out processors by number and handles all events of a moment together. EASY is D. Lifka's, JSSPP 1995; its variant
//! that fills holes with the shortest first is D. Tsafrir et al.'s, TPDS 2007. Conservative backfilling reserves for everybody
//! (A. Mu'alem and D. Feitelson, TPDS 2001).

mod conservative;
mod easy;
mod experiment;
mod prepare;
mod timetable;

pub(super) use experiment::{BATSIM, KTH};
pub use prepare::{SwfPreparation, batsim_jobs};

use std::collections::BTreeSet;

use timetable::{Count, Numbered, Room, Timetable};

/// A job for a number of processors.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchJob {
    /// Its number in the log.
    pub number: u64,
    /// When it is submitted, in seconds.
    pub submit: f64,
    /// How long it runs, in seconds; above 0.
    pub run: f64,
    /// How long it is said to run at most, in seconds; not below `run`.
    pub estimate: f64,
    /// How many processors it takes. At least 1.
    pub size: u32,
}

/// Who passes the first in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backfill {
    /// Nobody (FCFS).
    Nobody,
    /// Those that do not delay the first one (EASY).
    Easy(Filler),
    /// Those that delay nobody before them: each has a reservation.
    Conservative(Compress),
}

/// In which order holes are filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filler {
    /// First come, first served.
    InTurn,
    /// The shortest estimate first (SJBF).
    Shortest,
}

/// What becomes of reservations when a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compress {
    /// One after the other is taken out and put back where it fits earliest, while the others stay; so none becomes later.
    OneByOne,
    /// All are taken out and made anew, and that at every event.
    Anew,
}

/// How events of one moment are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moments {
    /// One after the other, submissions before ends; after each it is seen who starts; a submission is looked at only if the
    /// new job fits what is free.
    EventByEvent,
    /// All together, ends before submissions; then it is seen once who starts.
    Together,
}

/// The rules of one simulator and policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackfillRules {
    /// Who passes the first in the queue.
    pub backfill: Backfill,
    /// How events of one moment are handled.
    pub moments: Moments,
    /// Processors have numbers, and a job keeps the same ones all the time; otherwise they are only counted.
    pub numbered: bool,
}

impl BackfillRules {
    /// pyss, first come, first served.
    pub const FCFS: Self =
        BackfillRules { backfill: Backfill::Nobody, moments: Moments::EventByEvent, numbered: false };
    /// pyss, EASY.
    pub const EASY: Self = BackfillRules { backfill: Backfill::Easy(Filler::InTurn), ..Self::FCFS };
    /// pyss, EASY that fills with the shortest first.
    pub const EASY_SJBF: Self = BackfillRules { backfill: Backfill::Easy(Filler::Shortest), ..Self::FCFS };
    /// pyss, conservative.
    pub const CONSERVATIVE: Self = BackfillRules { backfill: Backfill::Conservative(Compress::OneByOne), ..Self::FCFS };
    /// Batsim, EASY.
    pub const BATSIM_EASY: Self = BackfillRules { moments: Moments::Together, numbered: true, ..Self::EASY };
    /// Batsim, conservative.
    pub const BATSIM_CONSERVATIVE: Self =
        BackfillRules { backfill: Backfill::Conservative(Compress::OneByOne), ..Self::BATSIM_EASY };

    /// All that were published, with the names they are asked for by.
    pub const PUBLISHED: [(&'static str, Self); 6] = [
        ("fcfs", Self::FCFS),
        ("easy", Self::EASY),
        ("easy-sjbf", Self::EASY_SJBF),
        ("conservative", Self::CONSERVATIVE),
        ("batsim-easy", Self::BATSIM_EASY),
        ("batsim-conservative", Self::BATSIM_CONSERVATIVE),
    ];
}

/// What became of one job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchOutcome {
    /// When it started, in seconds; `None` where it needs more processors than there are.
    pub start: Option<f64>,
    /// When it ended, in seconds.
    pub end: Option<f64>,
    /// On which processors, where they have numbers.
    pub processors: Vec<u32>,
}

/// The figures that both simulators print.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BatchTotals {
    /// How many jobs ended.
    pub ended: usize,
    /// The mean of start less submission, in seconds.
    pub wait_mean: f64,
    /// The longest of them, in seconds.
    pub wait_max: f64,
    /// The mean of end less submission (flow, turnaround), in seconds.
    pub flow_mean: f64,
    /// The longest of them, in seconds.
    pub flow_max: f64,
    /// The mean of flow by running time.
    pub slowdown_mean: f64,
    /// The mean of max(1, flow / max(10 s, running time)).
    pub bounded_slowdown_mean: f64,
    /// The last end, in seconds.
    pub makespan: f64,
}

impl BatchTotals {
    /// Adds up what became of these jobs.
    #[must_use]
    pub fn of(jobs: &[BatchJob], outcomes: &[BatchOutcome]) -> Self {
        let mut totals = BatchTotals::default();
        for (job, outcome) in jobs.iter().zip(outcomes) {
            let (Some(start), Some(end)) = (outcome.start, outcome.end) else { continue };
            let (wait, flow) = (start - job.submit, end - job.submit);
            totals.ended += 1;
            totals.wait_mean += wait;
            totals.wait_max = totals.wait_max.max(wait);
            totals.flow_mean += flow;
            totals.flow_max = totals.flow_max.max(flow);
            totals.slowdown_mean += flow / job.run;
            totals.bounded_slowdown_mean += (flow / job.run.max(10.0)).max(1.0);
            totals.makespan = totals.makespan.max(end);
        }
        let ended = totals.ended.max(1) as f64;
        let sums = [&mut totals.wait_mean, &mut totals.flow_mean, &mut totals.slowdown_mean];
        for sum in sums.into_iter().chain([&mut totals.bounded_slowdown_mean]) {
            *sum /= ended;
        }
        totals
    }
}

/// Plays jobs on so many processors. They are taken in the order of their submission, and of the list where that is equal.
#[must_use]
pub fn play(jobs: &[BatchJob], processors: u32, rules: &BackfillRules) -> Vec<BatchOutcome> {
    if rules.numbered {
        play_on::<Numbered>(jobs, processors, rules)
    } else {
        play_on::<Count>(jobs, processors, rules)
    }
}

fn play_on<R: Room>(jobs: &[BatchJob], processors: u32, rules: &BackfillRules) -> Vec<BatchOutcome> {
    let mut order: Vec<usize> = (0..jobs.len()).filter(|&at| (1..=processors).contains(&jobs[at].size)).collect();
    order.sort_by(|&one, &other| jobs[one].submit.total_cmp(&jobs[other].submit));
    let mut machine = Machine {
        jobs,
        outcomes: vec![BatchOutcome::default(); jobs.len()],
        table: Timetable::<R>::new(processors),
        rooms: vec![None; jobs.len()],
        ends: BTreeSet::new(),
        started: 0,
    };
    match rules.backfill {
        Backfill::Nobody => easy::play(&mut machine, &order, None, rules.moments),
        Backfill::Easy(filler) => easy::play(&mut machine, &order, Some(filler), rules.moments),
        Backfill::Conservative(compress) => conservative::play(&mut machine, &order, compress, rules.moments),
    }
    machine.outcomes
}

/// A time that is never NaN, in order.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Moment(f64);

impl Eq for Moment {}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Who runs, and what is free.
struct Machine<'a, R> {
    jobs: &'a [BatchJob],
    outcomes: Vec<BatchOutcome>,
    table: Timetable<R>,
    /// What each job has, or has reserved.
    rooms: Vec<Option<R>>,
    /// When running jobs end; of one moment, those that started first come first.
    ends: BTreeSet<(Moment, u64, usize)>,
    started: u64,
}

impl<R: Room> Machine<'_, R> {
    fn next_end(&self) -> Option<f64> {
        self.ends.first().map(|(time, ..)| time.0)
    }

    /// Writes down that a job runs from now on; its room is taken already.
    fn begin(&mut self, at: usize, now: f64) {
        let end = now + self.jobs[at].run;
        let processors = self.rooms[at].as_ref().map(Room::numbers).unwrap_or_default();
        self.outcomes[at] = BatchOutcome { start: Some(now), end: Some(end), processors };
        self.ends.insert((Moment(end), self.started, at));
        self.started += 1;
    }

    /// Takes a room for a job, for as long as its estimate.
    fn take(&mut self, at: usize, from: f64, room: R) {
        self.table.take(from, from + self.jobs[at].estimate, &room);
        self.rooms[at] = Some(room);
    }

    /// Takes back what was taken for a job that would have started then.
    fn give(&mut self, at: usize, from: f64) {
        if let Some(room) = self.rooms[at].take() {
            self.table.give(from, from + self.jobs[at].estimate, &room);
        }
    }

    /// The first job that ends now leaves; whether there was one.
    fn end_one(&mut self, now: f64) -> bool {
        let Some(&entry) = self.ends.first().filter(|(time, ..)| time.0 == now) else { return false };
        self.ends.remove(&entry);
        let at = entry.2;
        self.give(at, self.outcomes[at].start.unwrap_or(now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: u64, submit: f64, run: f64, estimate: f64, size: u32) -> BatchJob {
        BatchJob { number, submit, run, estimate, size }
    }

    fn starts(jobs: &[BatchJob], rules: &BackfillRules) -> Vec<f64> {
        play(jobs, 10, rules).iter().map(|outcome| outcome.start.unwrap_or(-1.0)).collect()
    }

    #[test]
    fn holes_are_filled_where_the_first_is_not_delayed() {
        let jobs = [
            job(1, 0.0, 100.0, 100.0, 6),
            job(2, 1.0, 50.0, 50.0, 8),
            // Ends before the second may start.
            job(3, 2.0, 90.0, 90.0, 2),
            // Would not end, but leaves enough for it.
            job(4, 3.0, 500.0, 500.0, 2),
            // Would not end, and would take its processors.
            job(5, 4.0, 97.0, 97.0, 2),
        ];
        for rules in [BackfillRules::EASY, BackfillRules::BATSIM_EASY] {
            assert_eq!(starts(&jobs[..4], &rules), [0.0, 100.0, 2.0, 3.0]);
        }
        assert_eq!(starts(&jobs, &BackfillRules::EASY), [0.0, 100.0, 2.0, 3.0, 150.0]);
        assert_eq!(starts(&jobs, &BackfillRules::FCFS), [0.0, 100.0, 100.0, 150.0, 150.0]);
    }

    #[test]
    fn the_shortest_fill_first_where_asked() {
        let jobs = [
            job(1, 0.0, 100.0, 100.0, 8),
            job(2, 1.0, 50.0, 50.0, 10),
            job(3, 2.0, 5.0, 5.0, 2),
            job(4, 3.0, 60.0, 60.0, 2),
            job(5, 4.0, 30.0, 30.0, 2),
        ];
        assert_eq!(starts(&jobs, &BackfillRules::EASY), [0.0, 100.0, 2.0, 7.0, 67.0]);
        assert_eq!(starts(&jobs, &BackfillRules::EASY_SJBF), [0.0, 100.0, 2.0, 37.0, 7.0]);
    }

    #[test]
    fn a_reservation_comes_forward_when_somebody_ends_early() {
        let jobs = [job(1, 0.0, 10.0, 100.0, 10), job(2, 1.0, 50.0, 50.0, 10), job(3, 2.0, 5.0, 5.0, 10)];
        for rules in [BackfillRules::CONSERVATIVE, BackfillRules::BATSIM_CONSERVATIVE] {
            assert_eq!(starts(&jobs, &rules), [0.0, 10.0, 60.0]);
            let anew = BackfillRules { backfill: Backfill::Conservative(Compress::Anew), ..rules };
            assert_eq!(starts(&jobs, &anew), [0.0, 10.0, 60.0]);
        }
    }

    #[test]
    fn what_is_too_large_is_refused_and_blocks_nobody() {
        let jobs = [job(1, 0.0, 10.0, 10.0, 11), job(2, 0.0, 10.0, 10.0, 1)];
        for (name, rules) in BackfillRules::PUBLISHED {
            assert_eq!(starts(&jobs, &rules), [-1.0, 0.0], "{name}");
        }
        assert_eq!(BatchTotals::of(&[], &[]), BatchTotals::default());
    }

    #[test]
    fn the_lowest_numbers_are_taken() {
        let jobs = [job(1, 0.0, 5.0, 5.0, 2), job(2, 0.0, 9.0, 9.0, 2), job(3, 6.0, 5.0, 5.0, 3)];
        let outcomes = play(&jobs, 10, &BackfillRules::BATSIM_EASY);
        assert_eq!(
            outcomes.iter().map(|outcome| outcome.processors.clone()).collect::<Vec<_>>(),
            [vec![0, 1], vec![2, 3], vec![0, 1, 4]]
        );
    }
}
