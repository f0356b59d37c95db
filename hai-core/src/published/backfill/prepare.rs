//! Jobs of logs and workloads, as the simulators take them.

use super::BatchJob;
use crate::trace::{BatsimWorkload, SwfJob};

/// What is made of a log before it is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwfPreparation {
    /// A job counts with what it asked for, and only where that is unknown with what it had; otherwise the other way round.
    pub by_request: bool,
    /// A job without an estimate is taken to have given its running time; otherwise it is left out.
    pub keep_without_estimate: bool,
    /// A job that ran longer than its estimate ends with it; otherwise the estimate is what it ran.
    pub clip: bool,
}

impl SwfPreparation {
    /// What the published figures on KTH-SP2 were made with ("strong filter").
    pub const STRONG: Self = SwfPreparation { by_request: true, keep_without_estimate: false, clip: true };
    /// For logs without estimates: everybody knows how long their job will run.
    pub const CLAIRVOYANT: Self = SwfPreparation { keep_without_estimate: true, ..Self::STRONG };

    /// The job as it is played on so many processors; `None` where it is left out: it did not run, is of unknown size, or
    /// larger than the machine.
    #[must_use]
    pub fn prepare(&self, job: &SwfJob, processors: u32) -> Option<BatchJob> {
        let run = job.run.filter(|run| *run > 0.0)?;
        let positive = |size: Option<u32>| size.filter(|size| *size > 0);
        let (requested, allocated) = (positive(job.requested), positive(job.allocated));
        let size = if self.by_request { requested.or(allocated) } else { allocated.or(requested) }?;
        let estimate = match job.estimate.filter(|estimate| *estimate > 0.0) {
            Some(estimate) => estimate,
            None if self.keep_without_estimate => run,
            None => return None,
        };
        let (run, estimate) = if self.clip { (run.min(estimate), estimate) } else { (run, estimate.max(run)) };
        (size <= processors).then_some(BatchJob { number: job.number, submit: job.submit, run, estimate, size })
    }
}

/// The jobs of a workload of Batsim, numbered by the digits at the end of their names, or by their place.
#[must_use]
pub fn batsim_jobs(workload: &BatsimWorkload) -> Vec<BatchJob> {
    let jobs = workload.jobs.iter().zip(0..);
    jobs.map(|(job, place)| BatchJob {
        number: job.name.rsplit('!').next().and_then(|digits| digits.parse().ok()).unwrap_or(place),
        submit: job.submit,
        run: job.delay.min(job.walltime),
        estimate: job.walltime,
        size: job.size,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_prepared_as_asked() {
        let job = SwfJob {
            number: 1,
            submit: 5.0,
            wait: None,
            run: Some(30.0),
            allocated: Some(8),
            requested: None,
            estimate: Some(20.0),
            status: Some(1),
            user: None,
            queue: None,
        };
        let strong = SwfPreparation::STRONG;
        let made = strong.prepare(&job, 8).unwrap();
        assert_eq!((made.size, made.run, made.estimate), (8, 20.0, 20.0));
        assert_eq!(strong.prepare(&job, 7), None);
        assert_eq!(strong.prepare(&SwfJob { run: Some(0.0), ..job.clone() }, 8), None);
        let asked = strong.prepare(&SwfJob { requested: Some(4), ..job.clone() }, 8).unwrap();
        assert_eq!(asked.size, 4);
        let had = SwfPreparation { by_request: false, clip: false, ..strong };
        let made = had.prepare(&SwfJob { requested: Some(4), ..job.clone() }, 8).unwrap();
        assert_eq!((made.size, made.run, made.estimate), (8, 30.0, 30.0));
        let unknown = SwfJob { estimate: None, ..job };
        assert_eq!(strong.prepare(&unknown, 8), None);
        assert_eq!(SwfPreparation::CLAIRVOYANT.prepare(&unknown, 8).unwrap().estimate, 30.0);
    }
}
