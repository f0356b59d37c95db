//! Notices when a run writes its `whole_life_state`, through the kernel's file notification: nothing is polled.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hai_core::model::RunId;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use tokio::io::unix::AsyncFd;

use super::files::{self, STATE};
use super::ready::waitable;

/// Longer texts are no number, in bytes.
const STATE_BYTES_MAX: u64 = 64;
/// A run that writes faster than this is told of this often.
const PAUSE: Duration = Duration::from_millis(50);
/// Holds at least one notification, whose name may have 255 bytes.
const BUFFER_BYTES: usize = 8192;

/// One version of a state file. The same number written again is another checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) whole_life_state: i64,
    inode: u64,
    changed: (i64, i64),
}

/// Reads the state of the run in `run_dir`; `None` if it set none, or something that is no number.
pub(crate) fn read(run_dir: &Path) -> Option<Checkpoint> {
    let path = run_dir.join(STATE);
    let metadata = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let bytes = files::read_bounded(&path, STATE_BYTES_MAX).ok()?;
    let Some(whole_life_state) = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok()) else {
        // An empty file is one that is about to be written.
        if !bytes.is_empty() {
            tracing::warn!(path = %path.display(), "a run's state is no whole number; it does not count");
        }
        return None;
    };
    Some(Checkpoint { whole_life_state, inode: metadata.ino(), changed: (metadata.ctime(), metadata.ctime_nsec()) })
}

/// The directories of runs that are watched.
#[derive(Debug)]
pub(crate) struct StateWatch {
    /// `None` if the kernel gives no more of them: checkpoints are then noticed when a worker ends.
    notifier: Option<AsyncFd<Arc<OwnedFd>>>,
    runs: Mutex<BTreeMap<i32, RunId>>,
}

impl StateWatch {
    /// Must be called within a Tokio runtime.
    pub(crate) fn new() -> Self {
        let notifier = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(io::Error::from);
        let notifier = notifier.and_then(|notifier| waitable(Arc::new(notifier)));
        if let Err(error) = &notifier {
            tracing::warn!(%error, "checkpoints can only be noticed when workers end");
        }
        StateWatch { notifier: notifier.ok(), runs: Mutex::default() }
    }

    /// Watches one more run, until its directory is removed.
    pub(crate) fn add(&self, run: RunId, run_dir: &Path) {
        let Some(notifier) = &self.notifier else { return };
        let flags = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        match inotify::add_watch(notifier.get_ref(), run_dir, flags) {
            Ok(watch) => drop(self.runs().insert(watch, run)),
            Err(error) => {
                tracing::warn!(%run, %error, "checkpoints of a run can only be noticed when its workers end");
            }
        }
    }

    /// The runs that may have written their state since the last call; waits until there is one.
    pub(crate) async fn next(&self) -> Vec<RunId> {
        let Some(notifier) = &self.notifier else { return std::future::pending().await };
        loop {
            // Lets a burst of writes become one.
            tokio::time::sleep(PAUSE).await;
            let Ok(mut ready) = notifier.readable().await else { return std::future::pending().await };
            let changed = self.drain(notifier.get_ref());
            ready.clear_ready();
            if !changed.is_empty() {
                return changed;
            }
        }
    }

    fn drain(&self, notifier: &OwnedFd) -> Vec<RunId> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(notifier, &mut buffer);
        let mut runs = self.runs();
        let mut changed = std::collections::BTreeSet::new();
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                changed.extend(runs.values().copied());
            } else if event.events().contains(ReadFlags::IGNORED) {
                runs.remove(&event.wd());
            } else if event.file_name().is_some_and(|name| name.to_bytes() == STATE.as_bytes()) {
                changed.extend(runs.get(&event.wd()));
            }
        }
        changed.into_iter().collect()
    }

    fn runs(&self) -> std::sync::MutexGuard<'_, BTreeMap<i32, RunId>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_whole_numbers_count() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(read(temp.path()), None);
        for (text, state) in
            [("7", Some(7)), (" -3\n", Some(-3)), ("", None), ("1.5", None), ("9999999999999999999", None)]
        {
            fs::write(temp.path().join(STATE), text).expect("written");
            assert_eq!(read(temp.path()).map(|checkpoint| checkpoint.whole_life_state), state, "{text}");
        }
        fs::write(temp.path().join(STATE), [b'1'; 1000]).expect("written");
        assert_eq!(read(temp.path()), None);
        fs::remove_file(temp.path().join(STATE)).expect("removed");
        fs::create_dir(temp.path().join(STATE)).expect("created");
        assert_eq!(read(temp.path()), None);
    }

    #[tokio::test]
    async fn writing_and_renaming_are_noticed() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let watch = StateWatch::new();
        watch.add(RunId(5), temp.path());
        fs::write(temp.path().join("other"), "1").expect("written");
        fs::write(temp.path().join(STATE), "1").expect("written");
        assert_eq!(watch.next().await, [RunId(5)]);
        fs::write(temp.path().join("new"), "2").expect("written");
        fs::rename(temp.path().join("new"), temp.path().join(STATE)).expect("renamed");
        assert_eq!(watch.next().await, [RunId(5)]);
    }
}
