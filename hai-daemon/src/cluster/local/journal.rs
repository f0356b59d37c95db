//! The lock file of one worker: who holds it decides, and what is written in it has happened and never happens again.
//!
//! It has up to two lines, each written at once into room that was set aside: the [`Claim`], then the [`Started`].

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::FallocateFlags;
use serde::{Deserialize, Serialize};

use super::files::{LOCK, READ_BYTES_MAX, RankDir, read_bounded, reserve};
use super::process::ProcessMark;

/// Written before a worker is executed: from then on nobody may execute it (again).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// Which boot of the machine; process ids mean nothing in another.
    pub(crate) boot_id: String,
    /// The shim that claimed; also the session in which the worker lives.
    pub(crate) shim: ProcessMark,
}

/// Written once a worker executes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    /// The worker, which leads its process group.
    pub(crate) worker: ProcessMark,
}

/// What a lock file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Journal {
    /// The worker was, or is about to be, executed; also when what is written can not be understood.
    pub(crate) claimed: bool,
    pub(crate) claim: Option<Claim>,
    pub(crate) started: Option<Started>,
}

/// The lock on a worker, held until this is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Makes the lock file, with room for all that will be written into it.
    pub(crate) fn make(dir: &RankDir) -> io::Result<()> {
        reserve(&open(dir)?, FallocateFlags::KEEP_SIZE)
    }

    /// Takes the lock; `None` if somebody holds it. Never makes the directory.
    pub(crate) fn take(dir: &RankDir) -> io::Result<Option<Self>> {
        let file = open(dir)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    pub(crate) fn write_claim(&self, claim: &Claim) -> io::Result<()> {
        self.write(claim)
    }

    pub(crate) fn write_started(&self, started: &Started) -> io::Result<()> {
        self.write(started)
    }

    fn write<T: Serialize>(&self, value: &T) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        (&self.file).write_all(&line)
    }
}

impl Journal {
    /// What is written so far; can be read whoever holds the lock.
    pub(crate) fn read(dir: &RankDir) -> Self {
        let text = match read_bounded(&dir.file(LOCK), READ_BYTES_MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Journal::default(),
            // Taken for the worse.
            Err(_) => return Journal { claimed: true, ..Journal::default() },
        };
        let mut lines = text.split(|byte| *byte == b'\n');
        let claim = lines.next().and_then(|line| serde_json::from_slice(line).ok());
        let started = lines.next().and_then(|line| serde_json::from_slice(line).ok());
        Journal { claimed: !text.is_empty(), claim, started }
    }
}

fn open(dir: &RankDir) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(dir.file(LOCK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_lock_is_taken_once() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let dir = RankDir::new(temp.path());
        let held = Lock::take(&dir).expect("a lock file");
        assert!(held.is_some());
        assert!(Lock::take(&dir).expect("a lock file").is_none());
        drop(held);
        assert!(Lock::take(&dir).expect("a lock file").is_some());
    }

    #[test]
    fn what_is_written_is_read_and_garbage_counts_as_a_claim() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let dir = RankDir::new(temp.path());
        assert_eq!(Journal::read(&dir), Journal::default());
        Lock::make(&dir).expect("a lock file");
        assert_eq!(Journal::read(&dir), Journal::default());
        let process = ProcessMark { pid: 5, start_ticks: 6 };
        let (claim, started) = (Claim { boot_id: "b".into(), shim: process }, Started { worker: process });
        let lock = Lock::take(&dir).expect("a lock file").expect("free");
        lock.write_claim(&claim).expect("written");
        assert_eq!(Journal::read(&dir), Journal { claimed: true, claim: Some(claim.clone()), started: None });
        lock.write_started(&started).expect("written");
        assert_eq!(Journal::read(&dir), Journal { claimed: true, claim: Some(claim), started: Some(started) });
        fs::write(dir.file(LOCK), b"\0\0").expect("written");
        assert_eq!(Journal::read(&dir), Journal { claimed: true, claim: None, started: None });
    }
}
