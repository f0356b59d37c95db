//! Finds out in which format a trace is, and reads any of them.

use std::fmt;
use std::io::Read;
use std::str::FromStr;

use crate::model::WorkerRequest;

use super::{Job, NativeCsv, NativeLines, Philly, TraceError, peers};

/// A format of traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Format {
    /// hai's task file of comma-separated values.
    Csv,
    /// hai's task file of JSON lines.
    Lines,
    /// The Philly list.
    Philly,
    /// SenseTime's Helios.
    Helios,
    /// Muri's cuts of Philly.
    Muri,
    /// The pods of Alibaba's openb.
    Openb,
    /// The Standard Workload Format.
    Swf,
    /// Batsim's workloads, which are read whole.
    Batsim,
    /// hai's event log; see [`Workload::load`](crate::log::Workload::load).
    Log,
}

impl Format {
    /// All there are.
    pub const ALL: [Format; 9] = [
        Format::Csv,
        Format::Lines,
        Format::Philly,
        Format::Helios,
        Format::Muri,
        Format::Openb,
        Format::Swf,
        Format::Batsim,
        Format::Log,
    ];

    /// What people write for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Lines => "jsonl",
            Format::Philly => "philly",
            Format::Helios => "helios",
            Format::Muri => "muri",
            Format::Openb => "openb",
            Format::Swf => "swf",
            Format::Batsim => "batsim",
            Format::Log => "hai-log",
        }
    }

    /// The format of a file that begins so; `None` if it is none of those known. A few kilobytes are enough.
    #[must_use]
    pub fn detect(head: &[u8]) -> Option<Format> {
        let head = String::from_utf8_lossy(head);
        let line = head.lines().find(|line| !line.trim().is_empty())?.trim();
        if line.starts_with('{') {
            return Some(if line.contains("\"format\":\"hai-log\"") {
                Format::Log
            // Its object goes over many lines, unless it has no space at all.
            } else if line == "{" || line.contains("\"nb_res\"") {
                Format::Batsim
            } else {
                Format::Lines
            });
        }
        if line.starts_with(';') {
            return Some(Format::Swf);
        }
        let columns: Vec<&str> = line.split(',').map(|name| name.trim().trim_matches('"')).collect();
        let has = |names: &[&str]| names.iter().all(|name| columns.contains(name));
        if has(&["submit", "duration"]) {
            Some(Format::Csv)
        } else if has(&["vc", "submit_time", "num_gpus", "duration"]) {
            Some(Format::Philly)
        } else if has(&["user", "vc", "gpu_num", "submit_time", "duration"]) {
            Some(Format::Helios)
        } else if has(&["num_gpu", "submit_time", "iterations", "iteration_time"]) {
            Some(Format::Muri)
        } else if has(&["name", "cpu_milli", "num_gpu", "gpu_milli"]) {
            Some(Format::Openb)
        } else if line.split_whitespace().count() == 18 {
            Some(Format::Swf)
        } else {
            None
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Format {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Format::ALL.map(Format::word).join(", ");
        Format::ALL
            .into_iter()
            .find(|format| format.word() == text)
            .ok_or_else(|| format!("`{text}` is no format of traces; there are {}", known()))
    }
}

/// The jobs of a file of rows.
///
/// # Errors
/// The file's first line is not what the format says; an event log is read by [`Workload`](crate::log::Workload).
pub fn open<'a>(
    format: Format,
    read: impl Read + 'a,
) -> Result<Box<dyn Iterator<Item = Result<Job, TraceError>> + 'a>, TraceError> {
    Ok(match format {
        Format::Csv => Box::new(NativeCsv::open(read)?),
        Format::Lines => Box::new(NativeLines::new(read)),
        Format::Philly => Box::new(Philly::open(read)?),
        Format::Helios => Box::new(peers::helios(read)?),
        Format::Muri => Box::new(peers::muri(read)?),
        Format::Openb => Box::new(peers::openb(read)?),
        Format::Swf => Box::new(peers::swf(read)),
        Format::Batsim => Box::new(peers::batsim(read)?),
        Format::Log => return Err(TraceError::line(0, "an event log has no rows of jobs")),
    })
}

/// How a job that only says its number of devices is asked for on nodes of eight: workers, and what each gets.
#[must_use]
pub fn gang(devices: u32) -> (u32, WorkerRequest) {
    if devices < 8 {
        return (1, WorkerRequest::devices(devices));
    }
    let each = [8, 4, 2].into_iter().find(|each| devices.is_multiple_of(*each)).unwrap_or(1);
    (devices / each, WorkerRequest::devices(each))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_found_out_by_their_first_line() {
        for (head, format) in [
            ("submit,duration,devices\n", Some(Format::Csv)),
            ("\n{\"submit\":0}\n", Some(Format::Lines)),
            ("job_id,src_row,vc,submit_time,num_gpus,duration\n", Some(Format::Philly)),
            ("{\"format\":\"hai-log\",\"version\":1}\n", Some(Format::Log)),
            ("{\n  \"nb_res\": 32,\n", Some(Format::Batsim)),
            ("{\"nb_res\":32,\"jobs\":[]}", Some(Format::Batsim)),
            ("a,b\n", None),
            ("", None),
        ] {
            assert_eq!(Format::detect(head.as_bytes()), format, "{head}");
        }
    }

    #[test]
    fn a_gang_has_as_many_devices_as_were_asked() {
        for devices in 1..200 {
            let (workers, request) = gang(devices);
            assert_eq!(workers * request.devices.count(), devices);
            assert!(request.devices.count() <= 8);
        }
    }
}
