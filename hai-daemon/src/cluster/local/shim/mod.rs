//! The process that executes one worker, watches over it, and writes down how it ended, with or without a daemon.
//!
//! See [`main`] for the primary entry point. A shim needs nothing but the worker's directory. It takes the lock there,
//! waits for the daemon's word, claims the worker, executes it, and keeps its output. SIGTERM makes it carry out the
//! suspend protocol on its own.

mod execute;
mod output;
mod supervise;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use hai_core::model::{WorkerExit, WorkerFate};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::files::{EXIT, LEAVE, ORDER, RankDir};
use super::journal::{Claim, Journal, Lock};
use super::launch::GO;
use super::order::WorkerOrder;
use super::process::{ProcessMark, boot_id};
use super::standing::{never_executed, refused};
use crate::cluster::logs;

/// How long the lock may be held by one who only looks.
const LOCK_ATTEMPTS_MAX: u32 = 200;
const LOCK_INTERVAL: Duration = Duration::from_millis(5);

/// The longest text of an exit, in characters: it must fit into the room that is set aside.
const REASON_CHARS_MAX: usize = 800;

/// Executes the worker whose directory is `dir`; returns when it has ended and that is written down. What goes wrong
/// is written to a file there. Must be called before the process has other threads or a runtime.
#[must_use]
pub fn main(dir: &Path) -> ExitCode {
    let dir = RankDir::new(dir);
    let told = dir.clone();
    std::panic::set_hook(Box::new(move |panic| told.complain(&panic.to_string())));
    match run(&dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            dir.complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run(dir: &RankDir) -> io::Result<()> {
    // Away from the daemon's terminal and its signals. Fails only if it was called as a group's leader, by hand.
    let _ = rustix::process::setsid();
    // What a worker leaves behind becomes this process' child, so that nothing of it can hide from the end.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let Some(lock) = take_lock(dir)? else { return Ok(()) };
    if dir.has(EXIT) || Journal::read(dir).claimed {
        // It was executed, or never will be: whoever follows this process finds out which.
        return Ok(());
    }
    let order: WorkerOrder = dir.read(ORDER)?.ok_or(io::ErrorKind::NotFound)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exit = runtime.block_on(execute(dir, &lock, &order));
    // A thread that hangs on a dead disk must not keep the process.
    runtime.shutdown_background();
    if let Some(exit) = exit? {
        logs::close(&order.log_dir);
        dir.write_reserved(EXIT, &bounded(exit))?;
    }
    Ok(())
}

fn take_lock(dir: &RankDir) -> io::Result<Option<Lock>> {
    for _ in 0..LOCK_ATTEMPTS_MAX {
        if let Some(lock) = Lock::take(dir)? {
            return Ok(Some(lock));
        }
        std::thread::sleep(LOCK_INTERVAL);
    }
    Ok(None)
}

/// The signals that a shim listens to.
struct Signals {
    leave: Signal,
    child: Signal,
}

/// `None` if the daemon did not give its word: then nothing happened.
async fn execute(dir: &RankDir, lock: &Lock, order: &WorkerOrder) -> io::Result<Option<WorkerExit>> {
    let mut signals = Signals { leave: signal(SignalKind::terminate())?, child: signal(SignalKind::child())? };
    let daemon = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    tokio::select! {
        biased;
        _ = signals.leave.recv() => return Ok(Some(never_executed())),
        word = hear_go(&daemon) => if !word? {
            return Ok(None);
        },
    }
    // Written before the signal, which may have come before this process listened.
    if dir.has(LEAVE) {
        return Ok(Some(never_executed()));
    }
    let shim = ProcessMark::of(rustix::process::getpid())?;
    if let Err(error) = lock.write_claim(&Claim { boot_id: boot_id()?, shim }) {
        let reason = format!("its start can not be written down: {error}");
        return Ok(Some(WorkerExit::of(refused(reason))));
    }
    let output = match output::Output::new(dir, order) {
        Ok(output) => output,
        Err(error) => {
            let reason = format!("its output can not be caught: {error}");
            return Ok(Some(WorkerExit::of(refused(reason))));
        }
    };
    match execute::execute(dir, order, &output) {
        Ok(worker) => {
            supervise::announce(dir, lock, &worker, &daemon);
            supervise::supervise(dir, order, worker, output, signals).await.map(Some)
        }
        Err(fate) => Ok(Some(WorkerExit::of(fate))),
    }
}

async fn hear_go(daemon: &UnixStream) -> io::Result<bool> {
    daemon.set_nonblocking(true)?;
    let daemon = tokio::net::UnixStream::from_std(daemon.try_clone()?)?;
    loop {
        daemon.readable().await?;
        let mut byte = [0];
        match daemon.try_read(&mut byte) {
            Ok(count) => return Ok(count == 1 && byte[0] == GO),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

fn bounded(mut exit: WorkerExit) -> WorkerExit {
    match &mut exit.fate {
        WorkerFate::OutOfMemory { reason }
        | WorkerFate::NotExecuted { reason }
        | WorkerFate::Refused { reason, .. }
        | WorkerFate::Lost { reason } => {
            if let Some((end, _)) = reason.char_indices().nth(REASON_CHARS_MAX) {
                reason.truncate(end);
                reason.push('…');
            }
        }
        WorkerFate::Exited { .. } | WorkerFate::Killed { .. } => {}
    }
    exit
}
