//! The jobs of public traces as hai's tasks: Helios, Muri, openb, Batsim and the Standard Workload Format.
//!
//! What a trace does not say is chosen here and nowhere else: a job of more than seven devices is a gang on nodes of eight
//! ([`gang`](super::gang)); a processor of Batsim or the Standard Workload Format is a device, each a worker of its own; a pod of openb runs from when it
//! was scheduled until it was deleted, and one that never was lasts for ever. Only Helios, openb and the Standard Workload
//! Format know users; others' jobs belong to `somebody`.

use std::io::Read;

use crate::model::{GroupName, NameError, Priority, Span, TaskSpec, Time, UserName, WorkerRequest};
use crate::sim::{Ending, Work};

use super::{
    BatsimJob, BatsimWorkload, HeliosRow, HeliosTrace, Job, MuriRow, MuriTrace, OpenbPod, OpenbPods, SwfJob, SwfTrace,
    TraceError, gang,
};

/// The jobs of one format.
#[derive(Debug)]
pub(super) struct Peer<I> {
    rows: I,
}

/// Rows that know on which line the last one stood.
pub(super) trait Lines {
    fn line(&self) -> u64;
}

impl<R: Read> Lines for HeliosTrace<R> {
    fn line(&self) -> u64 {
        self.line()
    }
}

impl<R: Read> Lines for MuriTrace<R> {
    fn line(&self) -> u64 {
        self.line()
    }
}

impl<R: Read> Lines for OpenbPods<R> {
    fn line(&self) -> u64 {
        self.line()
    }
}

impl<R: Read> Lines for SwfTrace<R> {
    fn line(&self) -> u64 {
        self.line()
    }
}

/// A row that can be a task, if what it says can be asked.
pub(super) trait IntoJob {
    fn job(self, line: u64) -> Result<Job, TraceError>;
}

impl<T: IntoJob, I: Iterator<Item = Result<T, TraceError>> + Lines> Iterator for Peer<I> {
    type Item = Result<Job, TraceError>;
    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next()?;
        Some(row.and_then(|row| row.job(self.rows.line())))
    }
}

/// Jobs of Helios.
pub(super) fn helios<R: Read>(read: R) -> Result<Peer<HeliosTrace<R>>, TraceError> {
    Ok(Peer { rows: HeliosTrace::open(read)? })
}

/// Jobs of Muri.
pub(super) fn muri<R: Read>(read: R) -> Result<Peer<MuriTrace<R>>, TraceError> {
    Ok(Peer { rows: MuriTrace::open(read)? })
}

/// Pods of openb.
pub(super) fn openb<R: Read>(read: R) -> Result<Peer<OpenbPods<R>>, TraceError> {
    Ok(Peer { rows: OpenbPods::open(read)? })
}

/// Jobs of the Standard Workload Format.
pub(super) fn swf<R: Read>(read: R) -> Peer<SwfTrace<R>> {
    Peer { rows: SwfTrace::new(read) }
}

/// Jobs of a workload of Batsim; where it is wrong is told as far as it is wrong JSON, else by the number of the job.
pub(super) fn batsim(read: impl Read) -> Result<impl Iterator<Item = Result<Job, TraceError>>, TraceError> {
    let workload = BatsimWorkload::read(read)?;
    Ok((1..).zip(workload.jobs).map(|(number, job): (u64, BatsimJob)| {
        let name = job.name.clone();
        let told = |error: TraceError| TraceError::line(0, format!("job {name:?}: {}", error.what));
        job.job(number).map_err(told)
    }))
}

fn seconds(value: f64) -> Span {
    // What is negative or not finite becomes nothing.
    Span::from_ms((value.clamp(0.0, 4e12) * 1000.0).round() as u64)
}

fn spec(
    line: u64,
    name: String,
    user: &str,
    group: &str,
    workers: u32,
    request: WorkerRequest,
) -> Result<TaskSpec, TraceError> {
    let named = |error: NameError| TraceError::line(line, error.to_string());
    let user = UserName::new(user).map_err(named)?;
    let group = GroupName::new(group).map_err(named)?;
    let mut spec = TaskSpec::new(name, user, group, Priority::Normal, request);
    spec.workers = workers;
    spec.check().map_err(|error| TraceError::column(line, error.field, error.problem))?;
    Ok(spec)
}

impl IntoJob for HeliosRow {
    fn job(self, line: u64) -> Result<Job, TraceError> {
        let (workers, request) = gang(self.gpus);
        let mut spec = spec(line, self.number.to_string(), &self.user, &self.vc, workers, request)?;
        spec.expected = self.predicted.filter(|predicted| *predicted > 0.0).map(seconds);
        let span = |seconds: i64| Span::from_secs(u64::try_from(seconds).unwrap_or(0));
        Ok(Job { line, submit: Time::ZERO + span(self.submit), spec, work: Work::of(span(self.duration)) })
    }
}

impl IntoJob for MuriRow {
    fn job(self, line: u64) -> Result<Job, TraceError> {
        let (workers, request) = gang(self.gpus);
        let spec = spec(line, format!("{} {}", self.number, self.model), "somebody", "default", workers, request)?;
        let needs = Span::from_ms(self.iterations.saturating_mul(self.iteration_ms));
        Ok(Job { line, submit: Time::ZERO + Span::from_ms(self.submit_ms), spec, work: Work::of(needs) })
    }
}

impl IntoJob for OpenbPod {
    fn job(self, line: u64) -> Result<Job, TraceError> {
        let missing = |column: &str| TraceError::column(line, column, "nothing stands there");
        let created = self.created.ok_or_else(|| missing("creation_time"))?;
        let mut request = self.request(&std::collections::BTreeSet::new());
        // Each of them will do; the first is no better than the others, but has to stand somewhere.
        request.models.clone_from(&self.gpu_spec);
        let user = self.qos.as_deref().unwrap_or("somebody");
        let spec = spec(line, self.name, user, "default", 1, request)?;
        let begun = self.scheduled.unwrap_or(created).max(created);
        let needs = self.deleted.map_or(Span::MAX, |deleted| Span::from_secs(deleted.saturating_sub(begun)));
        let ends = if self.phase.as_deref() == Some("Failed") { Ending::Failure } else { Ending::Success };
        Ok(Job { line, submit: Time::ZERO + Span::from_secs(created), spec, work: Work { needs, ends } })
    }
}

impl IntoJob for SwfJob {
    fn job(self, line: u64) -> Result<Job, TraceError> {
        let missing = |column: &str| TraceError::column(line, column, "it is not known");
        let workers = self.requested.or(self.allocated).filter(|&count| count > 0);
        let workers = workers.ok_or_else(|| missing("procs requested"))?;
        let user = self.user.map_or_else(|| "somebody".to_owned(), |user| format!("user-{user}"));
        let mut spec = spec(line, self.number.to_string(), &user, "default", workers, WorkerRequest::devices(1))?;
        spec.expected = self.estimate.filter(|estimate| *estimate > 0.0).map(seconds);
        let needs = seconds(self.run.ok_or_else(|| missing("run"))?);
        let ends = if self.status == Some(0) { Ending::Failure } else { Ending::Success };
        Ok(Job { line, submit: Time::ZERO + seconds(self.submit), spec, work: Work { needs, ends } })
    }
}

impl IntoJob for BatsimJob {
    fn job(self, line: u64) -> Result<Job, TraceError> {
        let mut spec = spec(line, self.name, "somebody", "default", self.size, WorkerRequest::devices(1))?;
        spec.expected = Some(seconds(self.walltime));
        let needs = seconds(self.delay.min(self.walltime));
        Ok(Job { line, submit: Time::ZERO + seconds(self.submit), spec, work: Work::of(needs) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Format, open};
    use super::*;
    use crate::model::Devices;

    /// The only job of a text, whose format is found out.
    fn only(text: &'static str) -> Result<Job, TraceError> {
        let format = Format::detect(text.as_bytes()).expect("a known format");
        let mut jobs = open(format, text.as_bytes()).expect("it begins well");
        let job = jobs.next().expect("a job");
        assert!(jobs.next().is_none());
        job
    }

    #[test]
    fn jobs_of_every_format_are_tasks() {
        let job = only(
            "row,job_id,user,vc,gpu_num,cpu_num,state,submit_time,duration\n0,7,ucpfn,vcEwI,16,1,COMPLETED,10,97\n",
        )
        .unwrap();
        assert_eq!(
            (job.line, job.spec.workers, job.spec.group.as_str(), job.work.needs.as_ms()),
            (2, 2, "vcEwI", 97_000)
        );
        let job = only("job_id,num_gpu,submit_time,iterations,model_name,batch_size,duration,interval,iteration_time,resource_time_0,resource_time_1,resource_time_2,priority\n3,4,500,1000,bert,128,1,1,886,1,1,1,0\n").unwrap();
        assert_eq!((job.submit.as_ms(), job.work.needs.as_ms(), job.spec.name.as_str()), (500, 886_000, "3 bert"));
        let job = only("name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\np,6000,12288,1,460,T4|P100,LS,Failed,10,50,20\n").unwrap();
        assert_eq!(job.spec.request.devices, Devices::Share(460));
        assert_eq!((job.spec.request.models.len(), job.spec.user.as_str()), (2, "LS"));
        assert_eq!(job.work, Work { needs: Span::from_secs(30), ends: Ending::Failure });
        let job = only("{\"nb_res\": 4, \"jobs\": [{\"id\": 3, \"subtime\": 1.5, \"res\": 2, \"walltime\": 9, \"profile\": \"d\"}], \"profiles\": {\"d\": {\"type\": \"delay\", \"delay\": 4}}}").unwrap();
        assert_eq!((job.spec.workers, job.submit.as_ms(), job.work.needs), (2, 1500, Span::from_secs(4)));
        assert_eq!((job.spec.name.as_str(), job.spec.expected), ("3", Some(Span::from_secs(9))));
        let job = only("; MaxProcs: 100\n5 12 3 60 8 -1 -1 16 120 -1 1 4 2 -1 1 -1 -1 -1\n").unwrap();
        assert_eq!((job.spec.workers, job.spec.expected), (16, Some(Span::from_secs(120))));
        assert_eq!((job.work.needs, job.spec.user.as_str()), (Span::from_secs(60), "user-4"));
    }

    #[test]
    fn what_can_be_no_task_is_told_with_its_line() {
        let text = "user,vc,gpu_num,submit_time,duration\na b,v,1,10,5\n";
        assert!(only(text).unwrap_err().to_string().starts_with("line 2: "));
        let text = "; MaxProcs: 9\n\n5 12 3 60 -1 -1 -1 -1 120 -1 1 4 2 -1 1 -1 -1 -1\n";
        assert_eq!(only(text).unwrap_err().to_string(), "line 3, column procs requested: it is not known");
        let text = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np,1,1,1,1000\n";
        assert_eq!(only(text).unwrap_err().to_string(), "line 2, column creation_time: nothing stands there");
    }
}
