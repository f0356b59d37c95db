//! How a worker stands, judged by its directory alone; and settling what a dead shim could not write down any more.

use std::io;

use hai_core::model::{RefusalCause, WorkerExit, WorkerFate};

use super::files::{DONE, EXIT, LEAVE, ORDER, RankDir, SUSPEND};
use super::journal::{Journal, Lock};
use super::order::WorkerOrder;
use super::process::{ProcessMark, Remains, boot_id};
use crate::cluster::logs;

/// How a worker stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Standing {
    /// Nothing was executed, nobody is about to.
    NotBegun,
    /// A shim holds the lock but has not said who it is: it is about to begin, or just leaving.
    Unclear,
    /// This shim watches over it.
    Watched(ProcessMark),
    /// It is no more, or never was.
    Ended(WorkerExit),
}

/// What to do with a worker that nobody has begun.
#[derive(Clone, Debug)]
pub(crate) enum NotBegun {
    /// It may still be begun.
    Keep,
    /// Nobody may begin it from now on: it ends like this.
    End(WorkerFate),
}

/// Judges a worker. One whose shim is dead is ended for good: its processes are killed and its exit is written.
/// Takes up to some seconds if they will not die, so it must not be called where others wait.
pub(crate) fn settle(dir: &RankDir, not_begun: NotBegun) -> Standing {
    match try_settle(dir, not_begun) {
        Ok(standing) => standing,
        Err(error) => {
            tracing::warn!(dir = %dir.path().display(), %error, "a worker's directory can not be used; taken as lost");
            Remains::of(dir, &Journal::default()).kill();
            Standing::Ended(lost(format!("its directory {} can not be used: {error}", dir.path().display())))
        }
    }
}

fn try_settle(dir: &RankDir, not_begun: NotBegun) -> io::Result<Standing> {
    let Some(_lock) = Lock::take(dir)? else {
        return Ok(Journal::read(dir).claim.map_or(Standing::Unclear, |claim| Standing::Watched(claim.shim)));
    };
    // From here on no shim can begin: it would have to take the lock.
    match dir.read::<WorkerExit>(EXIT) {
        Ok(Some(exit)) => return Ok(Standing::Ended(exit)),
        Ok(None) => {}
        Err(error) => {
            Remains::of(dir, &Journal::default()).kill();
            return Ok(end(dir, lost(format!("how it ended can not be read: {error}"))));
        }
    }
    let journal = Journal::read(dir);
    if journal.claimed {
        return Ok(end(dir, orphaned(dir, &journal)));
    }
    if dir.has(LEAVE) {
        return Ok(end(dir, never_executed()));
    }
    if let Err(error) = dir.read::<WorkerOrder>(ORDER).and_then(|order| order.ok_or(io::ErrorKind::NotFound.into())) {
        return Ok(end(dir, lost(format!("its order can not be read: {error}"))));
    }
    match not_begun {
        NotBegun::Keep => Ok(Standing::NotBegun),
        NotBegun::End(fate) => Ok(end(dir, WorkerExit::of(fate))),
    }
}

/// A worker that was told to leave before it was executed.
pub(crate) fn never_executed() -> WorkerExit {
    WorkerExit::of(WorkerFate::Killed { signal: rustix::process::Signal::TERM.as_raw() }).after_signal()
}

pub(crate) fn lost(reason: String) -> WorkerExit {
    WorkerExit::of(WorkerFate::Lost { reason })
}

/// This machine is short of something that a worker needs to begin, whichever worker that is.
pub(crate) fn refused(reason: String) -> WorkerFate {
    WorkerFate::Refused { reason, cause: RefusalCause::Node }
}

/// Ends what a dead shim left, and says what is known of it.
fn orphaned(dir: &RankDir, journal: &Journal) -> WorkerExit {
    let stubborn = Remains::of(dir, journal).kill();
    let other_boot = journal.claim.as_ref().is_some_and(|claim| boot_id().is_ok_and(|now| now != claim.boot_id));
    let mut reason = match other_boot {
        true => "the machine was restarted while it ran".to_owned(),
        false => "the process that watched over it was killed".to_owned(),
    };
    if stubborn > 0 {
        reason.push_str(&format!("; {stubborn} of its processes can not be killed"));
    }
    WorkerExit { signalled: dir.has(SUSPEND), declared_done: dir.has(DONE), ..lost(reason) }
}

/// Writes down how a worker ended. The caller holds the lock.
fn end(dir: &RankDir, exit: WorkerExit) -> Standing {
    if let Err(error) = dir.write_reserved(EXIT, &exit) {
        // It is told all the same; after a restart it is found out again.
        tracing::warn!(dir = %dir.path().display(), %error, "how a worker ended can not be written down");
    }
    if let Ok(Some(order)) = dir.read::<WorkerOrder>(ORDER) {
        logs::close(&order.log_dir);
    }
    Standing::Ended(exit)
}

#[cfg(test)]
mod tests {
    use super::super::journal::{Claim, Started};
    use super::*;
    use std::fs;

    fn fixture() -> (tempfile::TempDir, RankDir) {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let dir = RankDir::new(temp.path());
        (temp, dir)
    }

    #[test]
    fn an_exit_that_is_written_counts() {
        let (_temp, dir) = fixture();
        let exit = WorkerExit::exited(3).after_signal();
        dir.write(EXIT, &exit).expect("written");
        assert_eq!(settle(&dir, NotBegun::Keep), Standing::Ended(exit));
    }

    #[test]
    fn garbage_is_a_lost_worker_and_stays_one() {
        let (_temp, dir) = fixture();
        fs::write(dir.file(ORDER), b"\xff not json").expect("written");
        let Standing::Ended(exit) = settle(&dir, NotBegun::Keep) else { panic!("it ended") };
        assert!(matches!(&exit.fate, WorkerFate::Lost { reason } if reason.contains("order")), "{exit:?}");
        assert_eq!(settle(&dir, NotBegun::Keep), Standing::Ended(exit));
        fs::write(dir.file(EXIT), b"{").expect("written");
        let Standing::Ended(exit) = settle(&dir, NotBegun::Keep) else { panic!("it ended") };
        assert!(matches!(&exit.fate, WorkerFate::Lost { reason } if reason.contains("how it ended")), "{exit:?}");
    }

    #[test]
    fn a_claim_of_another_boot_is_lost_with_its_machine() {
        let (_temp, dir) = fixture();
        let shim = ProcessMark { pid: 1, start_ticks: 1 };
        let lock = Lock::take(&dir).expect("a lock file").expect("free");
        lock.write_claim(&Claim { boot_id: "another".into(), shim }).expect("written");
        lock.write_started(&Started { worker: shim }).expect("written");
        drop(lock);
        let Standing::Ended(exit) = settle(&dir, NotBegun::Keep) else { panic!("it ended") };
        assert!(matches!(&exit.fate, WorkerFate::Lost { reason } if reason.contains("restarted")), "{exit:?}");
    }

    #[test]
    fn a_missing_directory_is_a_lost_worker() {
        let (temp, _) = fixture();
        let dir = RankDir::new(temp.path().join("missing"));
        assert!(matches!(
            settle(&dir, NotBegun::Keep),
            Standing::Ended(WorkerExit { fate: WorkerFate::Lost { .. }, .. })
        ));
    }
}
