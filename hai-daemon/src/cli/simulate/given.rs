//! What a trace or a log gives to be played.

use std::io::{BufRead, Read};

use hai_core::engine::EngineConfig;
use hai_core::log::{LogReader, Workload};
use hai_core::sim::study::{Cluster, Load};
use hai_core::trace::{Format, TraceError, open};

use crate::cli::error::CliError;

/// Bad lines that are told of when they are left out.
const BAD_TOLD: usize = 3;

/// What a trace gives.
#[derive(Default)]
pub(crate) struct Given {
    pub(crate) load: Load,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) config: Option<EngineConfig>,
    pub(crate) bad_lines: u64,
    pub(crate) bad_told: Vec<TraceError>,
}

pub(super) fn bad(file: &str, problem: &dyn std::fmt::Display) -> CliError {
    CliError::BadFile { file: file.to_owned(), problem: problem.to_string() }
}

/// Reads a trace of this name.
///
/// # Errors
/// [`CliError`] names the file, and the line and column as far as there are some.
pub(crate) fn given(
    name: &str,
    mut input: Box<dyn BufRead>,
    format: Option<Format>,
    skip_bad_lines: bool,
) -> Result<Given, CliError> {
    let head = input.fill_buf().map_err(|source| CliError::File { what: name.to_owned(), source })?;
    if head.is_empty() {
        return Err(bad(name, &"it is empty"));
    }
    let format = format.or_else(|| Format::detect(head)).ok_or_else(|| {
        let formats = Format::ALL.map(Format::word).join(", ");
        bad(name, &format!("its format is not known by its first line; say it with --format ({formats})"))
    })?;
    if format == Format::Log {
        return log(name, input);
    }
    let mut read = Given::default();
    let jobs = open(format, input as Box<dyn Read>).map_err(|error| bad(name, &error))?;
    for job in jobs {
        match job {
            Ok(job) => read.load.push(job),
            Err(error) if skip_bad_lines => {
                read.bad_lines += 1;
                if read.bad_told.len() < BAD_TOLD {
                    read.bad_told.push(error);
                }
            }
            Err(error) => {
                let hint = "--skip-bad-lines leaves such lines out";
                return Err(bad(name, &format!("{error} ({hint})")));
            }
        }
    }
    read.load.sort();
    Ok(read)
}

fn log(name: &str, input: impl BufRead) -> Result<Given, CliError> {
    let reader = LogReader::open(input.lines()).map_err(|error| bad(name, &error))?;
    let workload = Workload::read(reader).map_err(|error| bad(name, &error))?;
    let cluster = workload.cluster().map_err(|error| bad(name, &error))?;
    Ok(Given {
        load: workload.load(),
        cluster: Some(cluster),
        config: Some(workload.config().clone()),
        ..Given::default()
    })
}
