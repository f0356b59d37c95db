//! Following workers on behalf of the daemon: from their shims' processes and files to facts.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cluster::told::Teller;
use hai_core::model::{Fact, RunId, WorkerExit, WorkerFate};
use rustix::process::{Signal, pidfd_send_signal};

use super::checkpoint::{self, Checkpoint, StateWatch};
use super::files::{LEAVE, RankDir, SHIM_LOG, read_bounded};
use super::journal::Journal;
use super::launch::{GO, Shim, run_path};
use super::ready::waitable;
use super::standing::{NotBegun, Standing, lost, settle};

/// How often a shim is looked at that has the lock but has not begun yet: a matter of milliseconds.
const UNCLEAR_INTERVAL: Duration = Duration::from_millis(10);
/// The most of a shim's complaints that is repeated, in bytes.
const COMPLAINT_BYTES_MAX: u64 = 4096;

/// A run, as far as the daemon follows it.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) workers: BTreeMap<u32, Worker>,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) master_port: u16,
}

/// A worker, as far as the daemon follows it.
#[derive(Debug)]
pub(crate) enum Worker {
    /// Its directory is there, and nobody has begun it.
    NotBegun,
    /// Somebody follows it; the handle is its shim's, once known.
    Followed(Option<Arc<OwnedFd>>),
    /// It is no more.
    Ended(WorkerExit),
}

/// What the cluster and those who follow its workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) run_dir: PathBuf,
    runs: Mutex<BTreeMap<RunId, Run>>,
    facts: Teller,
    pub(crate) states: StateWatch,
}

impl Shared {
    pub(crate) fn new(run_dir: PathBuf, facts: Teller) -> Self {
        Shared { run_dir, runs: Mutex::default(), facts, states: StateWatch::new() }
    }

    pub(crate) fn runs(&self) -> MutexGuard<'_, BTreeMap<RunId, Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rank_dir(&self, run: RunId, rank: u32) -> RankDir {
        RankDir::new(run_path(&self.run_dir, run).join(rank.to_string()))
    }

    fn tell(&self, fact: Fact) {
        // Nobody hears it once the cluster is closed; the next one looks at the files.
        self.facts.tell(fact);
    }

    /// Replaces what is known of a worker, unless its run was forgotten meanwhile.
    pub(crate) fn set(&self, run: RunId, rank: u32, worker: Worker) {
        if let Some(run) = self.runs().get_mut(&run) {
            run.workers.insert(rank, worker);
        }
    }

    /// A worker is no more: everybody is told, the run's last checkpoint first.
    pub(crate) fn ended(&self, run: RunId, rank: u32, exit: WorkerExit) {
        self.look_at_state(run);
        self.set(run, rank, Worker::Ended(exit.clone()));
        self.tell(Fact::WorkerEnded { run, rank, exit });
    }

    /// Tells of a checkpoint if there is a new one.
    pub(crate) fn look_at_state(&self, run: RunId) {
        let Some(found) = checkpoint::read(&run_path(&self.run_dir, run)) else { return };
        let mut runs = self.runs();
        let Some(known) = runs.get_mut(&run) else { return };
        if known.checkpoint.replace(found) != Some(found) {
            self.tell(Fact::Checkpointed { run, whole_life_state: found.whole_life_state });
        }
    }

    /// Tells of checkpoints for ever.
    pub(crate) async fn follow_states(self: Arc<Self>) {
        loop {
            let changed = self.states.next().await;
            changed.into_iter().for_each(|run| self.look_at_state(run));
        }
    }

    /// Follows one worker to its end. `shim` is its shim if it is known.
    pub(crate) async fn follow(self: Arc<Self>, run: RunId, rank: u32, mut shim: Option<Shim>) {
        let dir = self.rank_dir(run, rank);
        let mut started = false;
        let exit = loop {
            if let Some(mut shim) = shim.take() {
                self.set(run, rank, Worker::Followed(Some(shim.handle.clone())));
                if let Err(error) = self.follow_shim(run, rank, &dir, &mut shim, &mut started).await {
                    break lost(format!("what watches over it can not be watched: {error}"));
                }
                shim.reap();
            }
            match look(&dir).await {
                Standing::Ended(exit) => break exit,
                Standing::Watched(mark) => match mark.open() {
                    Ok(found) => shim = found.map(Shim::found),
                    Err(error) => break lost(format!("what watches over it can not be watched: {error}")),
                },
                Standing::Unclear | Standing::NotBegun => {}
            }
            if shim.is_none() {
                tokio::time::sleep(UNCLEAR_INTERVAL).await;
            }
        };
        if !started && has_started(&dir) {
            self.tell(Fact::WorkerStarted { run, rank });
        }
        if let Ok(complaints) = read_bounded(&dir.file(SHIM_LOG), COMPLAINT_BYTES_MAX)
            && !complaints.is_empty()
        {
            let complaints = String::from_utf8_lossy(&complaints);
            tracing::warn!(%run, rank, complaints = complaints.trim_end(), "a shim complains");
        }
        self.ended(run, rank, exit);
    }

    /// Returns when the shim's process is no more.
    async fn follow_shim(
        &self,
        run: RunId,
        rank: u32,
        dir: &RankDir,
        shim: &mut Shim,
        started: &mut bool,
    ) -> io::Result<()> {
        let process = waitable(shim.handle.clone())?;
        let talk = shim.talk.take();
        if talk.is_none() && dir.has(LEAVE) {
            // The daemon that wrote this may have died before it sent the signal.
            signal(&shim.handle)?;
        }
        if !*started {
            tokio::select! {
                heard = hear_started(dir, talk) => *started = heard?,
                ended = process.readable() => return ended.map(drop),
            }
            if *started {
                self.tell(Fact::WorkerStarted { run, rank });
            }
        }
        process.readable().await.map(drop)
    }
}

/// Whether the worker of a shim started; waits until that is decided.
async fn hear_started(dir: &RankDir, talk: Option<UnixStream>) -> io::Result<bool> {
    let Some(talk) = talk else {
        while !has_started(dir) {
            tokio::time::sleep(UNCLEAR_INTERVAL).await;
        }
        return Ok(true);
    };
    let talk = tokio::net::UnixStream::from_std(talk)?;
    loop {
        talk.readable().await?;
        let mut byte = [0];
        match talk.try_read(&mut byte) {
            Ok(count) => return Ok(count == 1 && byte[0] == GO),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The shim died with our word unread.
            Err(_) => return Ok(false),
        }
    }
}

fn has_started(dir: &RankDir) -> bool {
    Journal::read(dir).started.is_some()
}

/// Tells a shim to make its worker leave; fine if it is no more.
pub(crate) fn signal(shim: &OwnedFd) -> io::Result<()> {
    match pidfd_send_signal(shim, Signal::TERM) {
        Err(error) if error != rustix::io::Errno::SRCH => Err(error.into()),
        _ => Ok(()),
    }
}

async fn look(dir: &RankDir) -> Standing {
    let dir = dir.clone();
    let end = WorkerFate::Lost { reason: "the process that was to watch over it died before it began".to_owned() };
    let settled = tokio::task::spawn_blocking(move || settle(&dir, NotBegun::End(end)));
    settled.await.unwrap_or_else(|error| Standing::Ended(lost(format!("its directory can not be looked at: {error}"))))
}
