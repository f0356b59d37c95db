//! Jobs of Microsoft's Philly, as the simulators of Pollux and Sia ship them: M. Jeon et al., Analysis of Large-Scale
//! Multi-Tenant GPU Clusters for DNN Training Workloads, USENIX ATC 2019.
//!
//! Columns: `job_id`, `vc` (the virtual cluster, a group here), `submit_time` in seconds, `num_gpus`, `duration` in seconds.
//! Nothing is told of users; each virtual cluster counts as one.

use std::io::Read;

use crate::model::{GroupName, Priority, TaskSpec, Time, UserName};
use crate::sim::Work;

use super::job::seconds;
use super::{Job, Row, Table, TraceError, gang};

/// The jobs of such a file.
#[derive(Debug)]
pub struct Philly<R> {
    table: Table<R>,
}

impl<R: Read> Philly<R> {
    /// Reads the column names.
    ///
    /// # Errors
    /// The file can not be read, or a column is missing.
    pub fn open(read: R) -> Result<Self, TraceError> {
        Ok(Philly { table: Table::open(read, &["job_id", "vc", "submit_time", "num_gpus", "duration"])? })
    }
}

impl<R: Read> Iterator for Philly<R> {
    type Item = Result<Job, TraceError>;
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.table.next_row()?.and_then(|row| job(&row)))
    }
}

fn job(row: &Row<'_>) -> Result<Job, TraceError> {
    let span = |column: &str| seconds(row.text(column)).map_err(|what| row.wrong(column, what));
    let vc = row.text("vc");
    let user = UserName::new(vc).map_err(|error| row.wrong("vc", error.to_string()))?;
    let group = GroupName::new(vc).map_err(|error| row.wrong("vc", error.to_string()))?;
    let (workers, request) = gang(row.number("num_gpus")?);
    let mut spec = TaskSpec::new(row.text("job_id"), user, group, Priority::Normal, request);
    spec.workers = workers;
    spec.check().map_err(|error| row.wrong("num_gpus", error.to_string()))?;
    Ok(Job { line: row.line(), submit: Time::ZERO + span("submit_time")?, spec, work: Work::of(span("duration")?) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Span;

    #[test]
    fn jobs_are_read_and_large_ones_are_gangs_of_nodes() {
        let text = "job_id,src_row,vc,submit_time,num_gpus,duration\n0,31566,7f04ca,0,16,2240194\n1,5,7f04ca,7,1,60\n\
            2,5,7f 04,7,1,60\n3,5,a,7,0x,60\n";
        let mut jobs = Philly::open(text.as_bytes()).unwrap();
        let first = jobs.next().unwrap().unwrap();
        assert_eq!((first.spec.workers, first.spec.request.devices.count()), (2, 8));
        assert_eq!(first.work.needs, Span::from_secs(2_240_194));
        assert_eq!(first.spec.group.as_str(), "7f04ca");
        let second = jobs.next().unwrap().unwrap();
        assert_eq!((second.line, second.spec.workers, second.submit), (3, 1, Time::ZERO + Span::from_secs(7)));
        assert!(jobs.next().unwrap().unwrap_err().to_string().starts_with("line 4, column vc: "));
        assert!(jobs.next().unwrap().unwrap_err().to_string().starts_with("line 5, column num_gpus: "));
        assert!(jobs.next().is_none());
    }
}
