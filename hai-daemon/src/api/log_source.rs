//! Where the API reads the output of workers from.

use std::fmt;
use std::io;

use hai_core::model::{RunId, TaskId};

/// The output of workers, by offset. It may still grow, and lose its beginning.
pub trait LogSource: fmt::Debug + Send + Sync + 'static {
    /// Reads up to `bytes_max` bytes from `offset` on, or from the first one that is kept if that is later; nothing at
    /// the end. A worker that has written nothing (yet) has an empty log. May block.
    ///
    /// # Errors
    /// What the file system says.
    fn read(&self, worker: WorkerLog, offset: u64, bytes_max: usize) -> io::Result<LogPart>;
}

/// Whose output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerLog {
    /// The task.
    pub task: TaskId,
    /// The run.
    pub run: RunId,
    /// Which worker of it.
    pub rank: u32,
}

/// A part of a worker's output. Offsets count bytes from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPart {
    /// The offset of the first byte.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The offset of the oldest byte that is kept.
    pub first_available: u64,
    /// The offset after the newest byte.
    pub end: u64,
    /// Nothing comes after these bytes, and nothing will.
    pub complete: bool,
}

impl LogPart {
    /// The offset after the last byte, to read on at.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}
