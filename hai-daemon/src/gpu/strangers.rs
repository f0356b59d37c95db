//! Whose processes use a device: hai's workers, somebody who may, or strangers.
//!
//! See [`Owners`] for the primary entry point. A device that a stranger uses is not hai's to give. The desktop of a
//! workstation counts: it draws, holds memory and slows work down. An operator may allow programs by name.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::reading::Process;
use super::report::printable;

/// How far up the parents of a process are followed.
const PARENTS_MAX: usize = 64;
/// What every worker of this machine has in its environment: the name of a file in its run's directory.
const MARK: &[u8] = b"HAI_SUSPEND_FILE=";

/// Memory that strangers may hold together before a device is theirs: a display server without a screen holds some
/// megabytes on every GPU, and nobody minds.
pub const STRANGER_MEMORY_MIB: u64 = 32;

/// Tells hai's workers from strangers.
pub trait Owners: Debug + Send + Sync {
    /// Whether the process is one of hai's workers, or was started by one.
    fn is_ours(&self, pid: u32) -> bool;
}

/// Who is no stranger although hai did not start it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// Names of programs as the system tells them (`/proc/PID/comm`, at most 15 bytes).
    pub programs: BTreeSet<String>,
    /// Strangers that together hold less than this, in MiB, are overlooked. One whose memory can not be told is not.
    pub memory_mib: u64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Tolerance { programs: BTreeSet::new(), memory_mib: STRANGER_MEMORY_MIB }
    }
}

impl Tolerance {
    /// The stranger who makes a device not ours, in words, if there is one: who holds most of those that count.
    #[must_use]
    pub fn stranger(&self, processes: &[Process]) -> Option<String> {
        let allowed = |process: &Process| {
            // The system cuts names, so who writes a longer one means the same.
            let is = |name: &str| self.programs.iter().any(|allowed| allowed == name || cut(allowed) == name);
            process.name.as_deref().is_some_and(is)
        };
        let strangers: Vec<_> = processes.iter().filter(|process| !process.ours && !allowed(process)).collect();
        let held = strangers.iter().try_fold(0_u64, |held, process| Some(held.saturating_add(process.memory_mib?)));
        if held.is_some_and(|held| held < self.memory_mib) || strangers.is_empty() {
            return None;
        }
        let most = strangers.iter().max_by_key(|process| (process.memory_mib.unwrap_or(u64::MAX), process.pid))?;
        let name = most.name.as_deref().unwrap_or("a process that can not be seen");
        let others = match strangers.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        Some(format!("{name} (process {}){others}", most.pid))
    }
}

/// As the system cuts the names of programs.
fn cut(name: &str) -> &str {
    let mut end = name.len().min(15);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// Puts names to processes, and says which are ours.
pub fn look_up(processes: &mut [Process], owners: &dyn Owners) {
    for process in processes {
        process.name = name(process.pid);
        process.ours = owners.is_ours(process.pid);
    }
}

/// What the system calls a process.
fn name(pid: u32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(printable(String::from_utf8_lossy(&name).trim_end()))
}

/// A process and its parents, from the child up. It ends where one can not be seen.
fn family(pid: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(pid), |pid| parent(*pid).filter(|parent| *parent > 1)).take(PARENTS_MAX)
}

fn parent(pid: u32) -> Option<u32> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets, and may hold anything.
    let end = text.iter().rposition(|byte| *byte == b')')?;
    std::str::from_utf8(&text[end + 1..]).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The workers of this machine: they, or a parent of theirs, carry the mark of a run in their environment, or are the
/// shim of one.
#[derive(Clone, Debug)]
pub struct LocalWorkers {
    run_dir: Option<PathBuf>,
}

impl LocalWorkers {
    /// The workers whose runs are in this directory.
    #[must_use]
    pub fn of(run_dir: impl Into<PathBuf>) -> Self {
        LocalWorkers { run_dir: Some(run_dir.into()) }
    }

    /// The workers of any daemon: for a look by somebody who does not know which there are.
    #[must_use]
    pub fn of_any() -> Self {
        LocalWorkers { run_dir: None }
    }

    fn is_in(&self, path: &[u8]) -> bool {
        use std::os::unix::ffi::OsStrExt as _;
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        self.run_dir.as_ref().is_none_or(|run_dir| path.starts_with(run_dir))
    }
}

impl Owners for LocalWorkers {
    fn is_ours(&self, pid: u32) -> bool {
        family(pid).any(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let mut variables = environment.split(|byte| *byte == 0);
            let marked = variables.any(|variable| variable.strip_prefix(MARK).is_some_and(|path| self.is_in(path)));
            marked || {
                // Who overwrote its environment still has the shim for a parent.
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let mut words = line.split(|byte| *byte == 0).skip(1);
                words.next() == Some(b"shim") && words.next().is_some_and(|dir| self.is_in(dir))
            }
        })
    }
}

/// The workers of a Kubernetes cluster: their control group lies in that of a pod that the daemon knows.
#[derive(Clone, Debug, Default)]
pub struct PodWorkers {
    /// `None` until the daemon has told them.
    pods: Arc<RwLock<Option<BTreeSet<String>>>>,
}

impl PodWorkers {
    /// Takes over the UIDs of all of hai's pods on this machine.
    pub fn set(&self, pods: impl IntoIterator<Item = String>) {
        *self.pods.write().unwrap_or_else(PoisonError::into_inner) = Some(pods.into_iter().collect());
    }

    fn is_known(&self, pod: &str) -> bool {
        // Before the daemon's first word, who is in a pod gets the benefit of the doubt.
        self.pods.read().unwrap_or_else(PoisonError::into_inner).as_ref().is_none_or(|pods| pods.contains(pod))
    }
}

impl Owners for PodWorkers {
    fn is_ours(&self, pid: u32) -> bool {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        pod_of(&groups).is_some_and(|pod| self.is_known(&pod))
    }
}

/// The UID of the pod that a process is in, by `/proc/PID/cgroup`. The kubelet writes it as `pod<UID>`, with `-` or, where
/// systemd keeps the groups, `_` between its parts.
#[must_use]
pub fn pod_of(cgroup: &str) -> Option<String> {
    cgroup.lines().flat_map(|line| line.split(['/', ':'])).rev().find_map(|part| {
        let part = part.strip_suffix(".slice").unwrap_or(part);
        let uid = part.strip_prefix("pod").or_else(|| part.rsplit_once("-pod").map(|(_, uid)| uid))?.replace('_', "-");
        let is_uid = uid.len() == 36 && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        // A static pod has 32 digits without dashes; it is never hai's, but it is a pod.
        let is_hash = uid.len() == 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_uid || is_hash).then_some(uid)
    })
}

/// Whoever any of them knows.
#[derive(Debug)]
pub struct AnyOf(pub Vec<Box<dyn Owners>>);

impl Owners for AnyOf {
    fn is_ours(&self, pid: u32) -> bool {
        self.0.iter().any(|owners| owners.is_ours(pid))
    }
}

#[cfg(test)]
#[path = "strangers/tests.rs"]
mod tests;
