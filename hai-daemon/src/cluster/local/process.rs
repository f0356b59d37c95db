//! Processes of this machine: telling one from another that later got its number, and ending what a lost shim left.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::files::RankDir;
use super::journal::{Claim, Journal, Started};

/// How long processes that were killed may take to be gone; one that sleeps in the kernel can take for ever.
const KILL_WAIT_MAX: Duration = Duration::from_secs(5);
const KILL_RETRY: Duration = Duration::from_millis(2);

/// One process, told apart from a later one with the same number within one boot of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessMark {
    /// Its number.
    pub(crate) pid: i32,
    /// When it began, in clock ticks since the machine's start.
    pub(crate) start_ticks: u64,
}

/// What the kernel says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    state: u8,
    group: i32,
    session: i32,
    start_ticks: u64,
}

impl ProcessMark {
    pub(crate) fn of(pid: Pid) -> io::Result<Self> {
        let pid = pid.as_raw_nonzero().get();
        Ok(ProcessMark { pid, start_ticks: stat(pid)?.start_ticks })
    }

    /// A handle to the process; `None` if it is no more.
    pub(crate) fn open(self) -> io::Result<Option<std::os::fd::OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // The handle can not change hands any more, so this look decides whose it is.
        let same = stat(self.pid).is_ok_and(|stat| stat.start_ticks == self.start_ticks);
        Ok(same.then_some(handle))
    }
}

/// This boot of the machine.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn stat(pid: i32) -> io::Result<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is strange")))
}

fn parse_stat(text: &[u8]) -> Option<Stat> {
    // The second field is the program's name in brackets, and may hold anything.
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let text = std::str::from_utf8(&text[end + 1..]).ok()?;
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse().ok();
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        group: number(2)?,
        session: number(3)?,
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

/// The children of this process, whichever of its threads has them.
pub(crate) fn children() -> Vec<Pid> {
    let mut all = Vec::new();
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        all.extend(text.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
    }
    all
}

/// What is left of a worker whose shim is no more.
#[derive(Debug)]
pub(crate) struct Remains<'a> {
    mark: Vec<u8>,
    claim: Option<&'a Claim>,
    started: Option<&'a Started>,
}

impl<'a> Remains<'a> {
    /// Of the worker of `dir`, whose journal says this.
    pub(crate) fn of(dir: &RankDir, journal: &'a Journal) -> Self {
        let claim = journal.claim.as_ref();
        // Numbers from before the machine's last start belong to strangers now.
        let this_boot = claim.is_some_and(|claim| boot_id().is_ok_and(|now| now == claim.boot_id));
        let started = journal.started.as_ref().filter(|_| this_boot);
        Remains { mark: dir.environment_mark(), claim, started }
    }

    /// Kills all of it and waits until it is gone; returns how many processes would not go.
    pub(crate) fn kill(&self) -> usize {
        let begun = Instant::now();
        loop {
            // Once more after each success: what was killed last may have forked first.
            let found: Vec<i32> = processes().filter(|pid| self.contains(*pid)).collect();
            if found.is_empty() || begun.elapsed() > KILL_WAIT_MAX {
                return found.len();
            }
            for pid in found {
                self.kill_one(pid);
            }
            std::thread::sleep(KILL_RETRY);
        }
    }

    fn kill_one(&self, pid: i32) {
        let Some(pid) = Pid::from_raw(pid) else { return };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        // Looked at again through the handle's eyes: the number may have changed hands before it was opened.
        if self.contains(pid.as_raw_nonzero().get())
            && let Err(error) = pidfd_send_signal(&handle, Signal::KILL)
        {
            tracing::debug!(?pid, %error, "a left-over process was gone before it was killed");
        }
    }

    fn contains(&self, pid: i32) -> bool {
        let Ok(stat) = stat(pid) else { return false };
        if matches!(stat.state, b'Z' | b'X') {
            return false;
        }
        let grouped = match (self.claim, self.started) {
            (Some(claim), Some(started)) => {
                stat.group == started.worker.pid
                    && stat.session == claim.shim.pid
                    && stat.start_ticks >= started.worker.start_ticks
            }
            _ => false,
        };
        // The group finds those that overwrote their environment, the environment those that left the group.
        grouped || environment_has(pid, &self.mark)
    }
}

fn environment_has(pid: i32, mark: &[u8]) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    environment.split(|byte| *byte == 0).any(|variable| variable == mark)
}

fn processes() -> impl Iterator<Item = i32> {
    let own = std::process::id().cast_signed();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(move |pid| *pid != own)
}

/// Whether a process of this number runs (a zombie does not).
#[cfg(test)]
pub(crate) fn runs(pid: i32) -> bool {
    stat(pid).is_ok_and(|stat| !matches!(stat.state, b'Z' | b'X'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_stat_line_is_read_whatever_the_program_is_called() {
        let line = b"42 (a) R (b c) S 1 7 5 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 2 3";
        let stat = parse_stat(line).expect("a stat line");
        assert_eq!(stat, Stat { state: b'S', group: 7, session: 5, start_ticks: 987_654 });
        assert_eq!(parse_stat(b"42 (a"), None);
        assert_eq!(parse_stat(b"42 (a) S 1"), None);
    }

    #[test]
    fn a_mark_does_not_open_another_process() {
        let own = ProcessMark::of(rustix::process::getpid()).expect("this process is there");
        assert!(own.open().expect("a handle").is_some());
        let earlier = ProcessMark { start_ticks: own.start_ticks - 1, ..own };
        assert!(earlier.open().expect("no handle").is_none());
    }

    #[test]
    fn what_left_the_group_is_found_by_its_environment_and_strangers_are_left_alone() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let dir = RankDir::new(temp.path());
        let sleep = |variable: &std::path::Path| {
            let mut command = Command::new("sleep");
            command.arg("600").stdin(Stdio::null()).env("HAI_SUSPEND_FILE", variable);
            command.spawn().expect("sleep")
        };
        let mut ours = sleep(&dir.file("suspend"));
        let mut stranger = sleep(&temp.path().join("other/suspend"));
        assert_eq!(Remains::of(&dir, &Journal::default()).kill(), 0);
        assert!(!ours.wait().expect("an end").success());
        assert!(runs(stranger.id().cast_signed()));
        stranger.kill().expect("still there");
        stranger.wait().expect("an end");
    }
}
