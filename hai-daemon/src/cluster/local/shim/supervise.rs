//! From a worker's first moment to its last: the suspend protocol, its orphans, its end.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::Duration;

use hai_core::model::{Grace, WorkerExit, WorkerFate};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, getpgid, kill_process, kill_process_group, waitid,
};
use tokio::time::{Instant, sleep_until};

use super::super::files::{ANSWER, DONE, LEAVE, RankDir, SUSPEND};
use super::super::journal::{Lock, Started};
use super::super::launch::GO;
use super::super::order::{Leave, WorkerOrder};
use super::super::process::{ProcessMark, children};
use super::Signals;
use super::output::Output;

/// How long what the worker leaves behind may take to die; what sleeps in the kernel can take for ever.
const KILL_WAIT_MAX: Duration = Duration::from_secs(5);
const KILL_RETRY: Duration = Duration::from_millis(1);

/// A worker that was told to leave.
#[derive(Debug)]
struct Leaving {
    since: Instant,
    grace: Grace,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has until then to say that it heard.
    Answer,
    /// It has until then to go.
    Finish,
    /// It was killed; only the kernel can be waited for.
    Killed,
}

/// Writes down that the worker executes, and tells the daemon.
pub(super) fn announce(dir: &RankDir, lock: &Lock, worker: &Child, mut daemon: &UnixStream) {
    let leader = Pid::from_raw(worker.id().cast_signed()).ok_or_else(|| io::ErrorKind::NotFound.into());
    let written = leader.and_then(ProcessMark::of).and_then(|worker| lock.write_started(&Started { worker }));
    if let Err(error) = written {
        dir.complain(&format!("the worker's start can not be written down: {error}"));
    }
    // The daemon may be gone; the next one finds the file.
    let _ = daemon.write_all(&[GO]);
}

/// Sees the worker through to its end.
pub(super) async fn supervise(
    dir: &RankDir,
    order: &WorkerOrder,
    worker: Child,
    output: Output,
    mut signals: Signals,
) -> io::Result<WorkerExit> {
    let leader = Pid::from_raw(worker.id().cast_signed()).ok_or(io::ErrorKind::NotFound)?;
    let mut leaving: Option<Leaving> = None;
    let status = loop {
        if let Some(status) = ended(leader)? {
            break status;
        }
        tokio::select! {
            _ = signals.leave.recv() => tell_to_leave(dir, order, leader, &mut leaving)?,
            _ = signals.child.recv() => reap_orphans(leader),
            () = due(&leaving) => {
                if let Some(leaving) = &mut leaving {
                    leaving.advance(dir, leader);
                }
            }
        }
    };
    end_group(dir, leader).await;
    let declared_done = dir.has(DONE);
    let log_lost_bytes = output.finish().await;
    let fate = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => WorkerFate::Exited { code },
        (None, Some(signal)) => WorkerFate::Killed { signal },
        (None, None) => WorkerFate::Lost { reason: format!("it ended strangely: {status:?}") },
    };
    Ok(WorkerExit { fate, signalled: leaving.is_some(), declared_done, log_lost_bytes })
}

/// How the worker ended, if it has. It stays a zombie, so that its number stays its own.
fn ended(leader: Pid) -> io::Result<Option<WaitIdStatus>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(leader), options)?)
}

fn tell_to_leave(dir: &RankDir, order: &WorkerOrder, leader: Pid, leaving: &mut Option<Leaving>) -> io::Result<()> {
    let grace = dir.read::<Leave>(LEAVE).ok().flatten().map_or(order.grace, |leave| leave.grace);
    if let Some(leaving) = leaving {
        // Told again: only the grace may have changed. It counts from the first time.
        leaving.grace = grace;
        return Ok(());
    }
    if ended(leader)?.is_some() {
        return Ok(());
    }
    if let Err(error) = dir.touch(SUSPEND) {
        dir.complain(&format!("the suspend file can not be made; the worker gets the signal alone: {error}"));
    }
    send(dir, leader, Signal::TERM);
    *leaving = Some(Leaving { since: Instant::now(), grace, stage: Stage::Answer });
    Ok(())
}

/// Signals the worker's group, and the worker itself if it moved to another one.
fn send(dir: &RankDir, leader: Pid, signal: Signal) {
    let moved = getpgid(Some(leader)).is_ok_and(|group| group != leader);
    let sent = kill_process_group(leader, signal);
    let sent = if moved { kill_process(leader, signal) } else { sent };
    if let Err(error) = sent {
        dir.complain(&format!("the worker can not be sent signal {}: {error}", signal.as_raw()));
    }
}

async fn due(leaving: &Option<Leaving>) {
    match leaving.as_ref().and_then(Leaving::due) {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Leaving {
    /// When patience ends; `None` for never.
    fn due(&self) -> Option<Instant> {
        match self.stage {
            Stage::Answer => self.since.checked_add(self.grace.answer.to_std()),
            Stage::Finish => self.since.checked_add(self.grace.total().to_std()),
            Stage::Killed => None,
        }
    }

    fn advance(&mut self, dir: &RankDir, leader: Pid) {
        self.stage = match self.stage {
            Stage::Answer if dir.has(ANSWER) => Stage::Finish,
            Stage::Answer | Stage::Finish => {
                send(dir, leader, Signal::KILL);
                Stage::Killed
            }
            Stage::Killed => Stage::Killed,
        };
    }
}

/// Lets the kernel forget what the worker abandoned and what then ended.
fn reap_orphans(leader: Pid) {
    children().into_iter().filter(|child| *child != leader).for_each(reap);
}

fn reap(child: Pid) {
    // Still running, or reaped already: both are fine.
    let _ = waitid(WaitId::Pid(child), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
}

/// Ends everything that descends from the worker, which has ended itself.
async fn end_group(dir: &RankDir, leader: Pid) {
    // While the leader is a zombie the group's number can not be another's. No such group: it was alone.
    let _ = kill_process_group(leader, Signal::KILL);
    let give_up = Instant::now() + KILL_WAIT_MAX;
    loop {
        // What a killed process leaves behind becomes a child in turn.
        let left: Vec<Pid> = children().into_iter().filter(|child| *child != leader).collect();
        if left.is_empty() {
            break;
        }
        if Instant::now() >= give_up {
            dir.complain(&format!("{} processes that the worker left behind can not be killed", left.len()));
            break;
        }
        for child in left {
            let _ = kill_process(child, Signal::KILL);
            reap(child);
        }
        tokio::time::sleep(KILL_RETRY).await;
    }
    reap(leader);
}

#[cfg(test)]
mod tests {
    use super::*;
    use hai_core::model::Span;

    #[test]
    fn patience_counts_from_the_first_signal() {
        let since = Instant::now();
        let grace = Grace { answer: Span::from_secs(5), finish: Span::from_secs(7) };
        let mut leaving = Leaving { since, grace, stage: Stage::Answer };
        assert_eq!(leaving.due(), Some(since + Duration::from_secs(5)));
        leaving.stage = Stage::Finish;
        assert_eq!(leaving.due(), Some(since + Duration::from_secs(12)));
        // However long the grace, nothing overflows.
        leaving.grace.finish = Span::MAX;
        assert!(leaving.due().is_none_or(|due| due > since + Duration::from_hours(24)));
        leaving.stage = Stage::Killed;
        assert_eq!(leaving.due(), None);
    }
}
