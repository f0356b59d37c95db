//! Making the directories of a run and bringing its shims up, all of them or none.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use hai_core::backend::StartOrder;
use hai_core::model::RunId;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::config::LocalConfig;
use super::door::WorkerService;
use super::files::{EXIT, ORDER, RankDir, WORK};
use super::journal::Lock;
use super::order::WorkerOrder;
use crate::cluster::logs::log_dir_of;

/// Marks a run's directory that is not whole yet.
pub(crate) const STAGED: &str = ".new-";
/// Marks a run's directory that is being removed.
pub(crate) const REMOVED: &str = ".gone-";
/// What the daemon sends to a shim that may begin, and the shim sends back once its worker executes.
pub(crate) const GO: u8 = b'g';
/// How often the kernel is asked for a port that no other run was given.
const PORT_ATTEMPTS_MAX: u32 = 100;

pub(crate) fn run_path(run_dir: &Path, run: RunId) -> PathBuf {
    run_dir.join(run.to_string())
}

/// Makes the directories of a run and brings up its shims: all, or an error and nothing. Also returns the run's port.
pub(crate) fn begin(
    config: &LocalConfig,
    order: &StartOrder,
    ports: &BTreeSet<u16>,
    service: Option<&WorkerService>,
) -> io::Result<(Vec<Launched>, u16)> {
    let port = prepare(config, order, ports, service)?;
    let ranks: Vec<u32> = (0..).take(order.placement.workers.len()).collect();
    let launched = launch(config, order.run, &ranks);
    if launched.is_err()
        && let Err(error) = remove_run(&config.run_dir, order.run)
    {
        tracing::warn!(run = %order.run, %error, "what is left of a failed start can not be removed yet");
    }
    Ok((launched?, port))
}

fn prepare(
    config: &LocalConfig,
    order: &StartOrder,
    ports: &BTreeSet<u16>,
    service: Option<&WorkerService>,
) -> io::Result<u16> {
    let staged = config.run_dir.join(format!("{STAGED}{}", order.run));
    let port = free_port(ports)?;
    let made = remove(&staged).and_then(|()| make(config, order, port, service, &staged));
    let made = made.and_then(|()| fs::rename(&staged, run_path(&config.run_dir, order.run)));
    if made.is_err()
        && let Err(error) = remove(&staged)
    {
        tracing::warn!(dir = %staged.display(), %error, "what is left of a failed start can not be removed yet");
    }
    made.map(|()| port)
}

fn make(
    config: &LocalConfig,
    order: &StartOrder,
    port: u16,
    service: Option<&WorkerService>,
    staged: &Path,
) -> io::Result<()> {
    fs::create_dir(staged)?;
    for (rank, place) in (0_u32..).zip(&order.placement.workers) {
        let dir = RankDir::new(staged.join(rank.to_string()));
        fs::create_dir(dir.path())?;
        if order.program.workdir.is_none() {
            fs::create_dir(dir.file(WORK))?;
        }
        let log_dir = log_dir_of(&config.log_dir, order.task, order.run, rank);
        // In a directory that nobody knows yet there is no reader who could see half of it.
        let order = WorkerOrder::of(order, rank, place, port, log_dir, config.log_bound())
            .with(service.map(|service| service.variables(order, rank)).into_iter().flatten());
        dir.create(ORDER, &order)?;
        Lock::make(&dir)?;
        dir.reserve(EXIT)?;
    }
    Ok(())
}

/// A port that is free on all addresses of this machine, and is not in `taken`.
fn free_port(taken: &BTreeSet<u16>) -> io::Result<u16> {
    for _ in 0..PORT_ATTEMPTS_MAX {
        let port = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?.local_addr()?.port();
        if !taken.contains(&port) {
            return Ok(port);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "there is no free port for the run"))
}

/// Removes a directory with all that is in it; fine if there is none.
pub(crate) fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes a run's directory, so that a crash in between leaves no half of it.
pub(crate) fn remove_run(run_dir: &Path, run: RunId) -> io::Result<()> {
    let gone = run_dir.join(format!("{REMOVED}{run}"));
    remove(&gone)?;
    match fs::rename(run_path(run_dir, run), &gone) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result?,
    }
    remove(&gone)
}

/// A shim that waits for [`Launched::go`]. Dropped before that, it ends without having begun anything.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) rank: u32,
    child: Option<Child>,
    handle: Arc<OwnedFd>,
    talk: UnixStream,
}

/// A shim that was told to begin, or was found.
#[derive(Debug)]
pub(crate) struct Shim {
    /// Its process.
    pub(crate) handle: Arc<OwnedFd>,
    /// Tells [`GO`] when its worker executes; `None` for a shim that was found.
    pub(crate) talk: Option<UnixStream>,
}

/// Brings up the shims of these ranks: all, or an error and none.
pub(crate) fn launch(config: &LocalConfig, run: RunId, ranks: &[u32]) -> io::Result<Vec<Launched>> {
    let path = run_path(&config.run_dir, run);
    ranks.iter().map(|rank| launch_one(&config.shim, &RankDir::new(path.join(rank.to_string())), *rank)).collect()
}

fn launch_one(shim: &Path, dir: &RankDir, rank: u32) -> io::Result<Launched> {
    let (talk, theirs) = UnixStream::pair()?;
    talk.set_nonblocking(true)?;
    let mut command = Command::new(shim);
    // What it has to complain about it writes to a file of its own: making one here for each would take time.
    command.arg("shim").arg(dir.path()).current_dir("/");
    command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let handle = Pid::from_raw(child.id().cast_signed()).ok_or_else(|| io::ErrorKind::NotFound.into());
    match handle.and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?)) {
        Ok(handle) => Ok(Launched { rank, child: Some(child), handle: Arc::new(handle), talk }),
        Err(error) => {
            put_down(&mut child);
            Err(error)
        }
    }
}

/// Ends a shim that was not told to begin: it has nothing to clean up.
fn put_down(child: &mut Child) {
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        tracing::warn!(%error, "a shim that is not needed can not be ended");
    }
}

impl Launched {
    /// Tells the shim to begin. Never blocks, never fails: a shim that died is noticed by who watches it.
    pub(crate) fn go(mut self) -> Shim {
        // From here on it is on its own, and is reaped through its handle.
        drop(self.child.take());
        if let Err(error) = (&self.talk).write_all(&[GO]) {
            tracing::debug!(rank = self.rank, %error, "a shim died before it was told to begin");
        }
        Shim { handle: self.handle.clone(), talk: self.talk.try_clone().ok() }
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            put_down(child);
        }
    }
}

impl Shim {
    /// One that was found.
    pub(crate) fn found(handle: OwnedFd) -> Self {
        Shim { handle: Arc::new(handle), talk: None }
    }

    /// Lets the kernel forget the process once it ended, if it is this process' child.
    pub(crate) fn reap(&self) {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        // ECHILD is the answer for shims that another daemon brought up; there is nothing to do then.
        let _ = waitid(WaitId::PidFd(self.handle.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}
