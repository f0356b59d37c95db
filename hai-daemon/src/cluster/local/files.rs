//! One worker's directory: the names in it, and writing that a full disk can not stop.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a worker must do; written once by the daemon.
pub(crate) const ORDER: &str = "order.json";
/// Held by the shim as long as it lives; says what it did.
pub(crate) const LOCK: &str = "lock";
/// The daemon wants the worker to leave.
pub(crate) const LEAVE: &str = "leave.json";
/// How the worker ended.
pub(crate) const EXIT: &str = "exit.json";
/// What the shim has to complain about.
pub(crate) const SHIM_LOG: &str = "shim.log";
/// `HAI_SUSPEND_FILE`.
pub(crate) const SUSPEND: &str = "suspend";
/// `HAI_ANSWER_FILE`.
pub(crate) const ANSWER: &str = "answer";
/// `HAI_DONE_FILE`.
pub(crate) const DONE: &str = "done";
/// Where a worker starts that named no directory.
pub(crate) const WORK: &str = "work";
/// `HAI_STATE_FILE`, in the run's directory: its workers share it.
pub(crate) const STATE: &str = "state";

/// Room that is set aside for each file that must be writable on a full disk, in bytes.
const RESERVE_BYTES: u64 = 4096;
/// The most a file of ours is read, in bytes; an order holds a whole environment, which the kernel bounds too.
pub(crate) const READ_BYTES_MAX: u64 = 16 << 20;

/// The directory of one worker.
#[derive(Clone, Debug)]
pub(crate) struct RankDir {
    path: PathBuf,
}

impl RankDir {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        RankDir { path: path.into() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The file that this worker's run writes its `whole_life_state` to.
    pub(crate) fn state_file(&self) -> PathBuf {
        self.path.parent().unwrap_or(&self.path).join(STATE)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.file(name).exists()
    }

    /// Reads a JSON file; `None` if there is none.
    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        match read_bounded(&self.file(name), READ_BYTES_MAX) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a JSON file so that readers see all of it or none.
    pub(crate) fn write<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        self.write_into(name, &format!(".{name}.new"), value)
    }

    /// Sets room aside for a file that [`RankDir::write_reserved`] will write.
    pub(crate) fn reserve(&self, name: &str) -> io::Result<()> {
        let file = private().create(true).truncate(true).open(self.file(&reserve_name(name)))?;
        reserve(&file, FallocateFlags::empty())
    }

    /// Writes a JSON file of up to 4 KiB into the room set aside for it, so that readers see all of it or none.
    pub(crate) fn write_reserved<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        self.write_into(name, &reserve_name(name), value)
    }

    /// Writes a JSON file that is not there yet and that nobody reads meanwhile.
    pub(crate) fn create<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        private().create_new(true).open(self.file(name))?.write_all(&serde_json::to_vec(value)?)
    }

    /// Appends a line to [`SHIM_LOG`], if that can be done.
    pub(crate) fn complain(&self, problem: &str) {
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(self.file(SHIM_LOG));
        // There is nobody else to tell.
        let _ = log.and_then(|mut log| writeln!(log, "{problem}"));
    }

    fn write_into<T: Serialize>(&self, name: &str, temp: &str, value: &T) -> io::Result<()> {
        let bytes = serde_json::to_vec(value)?;
        let temp = self.file(temp);
        // Not truncated before it is written: that would give the room away.
        let mut file = private().create(true).truncate(false).open(&temp)?;
        file.write_all(&bytes)?;
        file.set_len(bytes.len() as u64)?;
        fs::rename(temp, self.file(name))
    }

    /// Creates an empty file; fine if it exists.
    pub(crate) fn touch(&self, name: &str) -> io::Result<()> {
        private().create(true).truncate(false).open(self.file(name)).map(drop)
    }

    /// What marks a process as a descendant of this worker, whatever it has become: a variable of its environment.
    pub(crate) fn environment_mark(&self) -> Vec<u8> {
        let mut mark = b"HAI_SUSPEND_FILE=".to_vec();
        mark.extend_from_slice(OsStr::as_bytes(self.file(SUSPEND).as_os_str()));
        mark
    }
}

/// Sets room aside at the beginning of a file.
pub(crate) fn reserve(file: &File, flags: FallocateFlags) -> io::Result<()> {
    match rustix::fs::fallocate(file, flags, 0, RESERVE_BYTES) {
        // Some file systems can not; there a full disk can cost more than output.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        result => result.map_err(io::Error::from),
    }
}

fn reserve_name(name: &str) -> String {
    format!(".{name}.reserve")
}

/// For writing, readable by the owner alone: an environment may hold secrets.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// Reads a whole file unless it is longer than `bytes_max`.
pub(crate) fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    use std::io::Read;
    // A pipe in the place of a file must not make the reader wait.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let problem = format!("{} is longer than {bytes_max} bytes", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_file_is_whole_and_leaves_no_reserve() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let dir = RankDir::new(temp.path());
        dir.reserve(EXIT).expect("room");
        assert_eq!(dir.read::<Vec<u32>>(EXIT).expect("readable"), None);
        dir.write_reserved(EXIT, &vec![1, 2, 3]).expect("written");
        assert_eq!(dir.read::<Vec<u32>>(EXIT).expect("readable"), Some(vec![1, 2, 3]));
        assert_eq!(fs::read_dir(temp.path()).expect("a directory").count(), 1);
    }

    #[test]
    fn garbage_and_huge_files_are_errors() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let dir = RankDir::new(temp.path());
        fs::write(dir.file(EXIT), b"{").expect("written");
        assert!(dir.read::<u32>(EXIT).is_err());
        fs::write(dir.file(STATE), [b'1'; 100]).expect("written");
        assert!(read_bounded(&dir.file(STATE), 99).is_err());
        assert!(read_bounded(&dir.file(STATE), 100).is_ok());
    }
}
