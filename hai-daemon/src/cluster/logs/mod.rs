//! The output of workers: written as size-bounded segments, by shims or from what Kubernetes keeps, read by absolute offset.
//!
//! See [`LogReader`] for the primary entry point. The output of one worker lies in `LOG_DIR/TASK/RUN/RANK/` in files
//! named by the offset of their first byte, e.g. `00000000000000065536.log`. Offsets count the bytes that were kept,
//! from 0 and without gaps; when the bound is reached the oldest file goes, so that reading begins later. While the
//! worker executes there is also a file `writing`.

mod reader;
mod writer;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hai_core::model::{RunId, TaskId};
use serde::{Deserialize, Serialize};

pub use reader::{LogChunk, LogReader};
pub(crate) use writer::LogWriter;

/// There as long as more may be written. Its removal, unlike its creation, never fails on a full disk.
const WRITING: &str = "writing";
const SUFFIX: &str = ".log";

/// How much of a worker's output is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogBound {
    /// In all segments together, in bytes.
    pub(crate) bytes_max: u64,
    /// How many files it is spread over; the oldest is dropped as a whole.
    pub(crate) segments_max: u32,
}

/// Where the output of one worker lies.
#[must_use]
pub fn log_dir_of(log_dir: &Path, task: TaskId, run: RunId, rank: u32) -> PathBuf {
    log_dir.join(task.to_string()).join(run.to_string()).join(rank.to_string())
}

/// Removes what was kept, to begin anew.
pub(crate) fn clear(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Says that nothing more will be written.
pub(crate) fn close(dir: &Path) {
    match fs::remove_file(dir.join(WRITING)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(dir = %dir.display(), %error, "a log can not be marked as complete");
        }
        _ => {}
    }
}

/// A file of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    /// The offset of its first byte.
    start: u64,
    path: PathBuf,
}

impl Segment {
    fn new(dir: &Path, start: u64) -> Self {
        Segment { start, path: dir.join(format!("{start:020}{SUFFIX}")) }
    }
}

/// The segments that are there, in order; none if there is no directory.
fn segments(dir: &Path) -> io::Result<Vec<Segment>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let start = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse().ok());
        if let Some(start) = start {
            found.push(Segment { start, path: entry.path() });
        }
    }
    found.sort_unstable_by_key(|segment| segment.start);
    Ok(found)
}
