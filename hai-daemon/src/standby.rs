//! A daemon while another one leads: it passes on what it is asked, or shows what is stored, and waits.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::{self, ApiState, Defaults, LogPart, LogSource, WorkerLog};
use crate::compose::LocalLogs;
use crate::leading::{Keeper, Lead, wait_to_lead};
use crate::scheduler;
use crate::store::postgres::Candidate;
use crate::store::{Accounts, AnyStore, Reader};

/// What it shows, and where.
pub(crate) struct Standby<'a> {
    listener: &'a TcpListener,
    reader: Reader,
    accounts: Accounts,
    logs: Option<PathBuf>,
    defaults: Defaults,
}

/// The output of workers where only the daemon that leads has it.
#[derive(Debug)]
struct ElsewhereLogs;

impl LogSource for ElsewhereLogs {
    fn read(&self, _: WorkerLog, _: u64, _: usize) -> io::Result<LogPart> {
        Err(io::Error::other("the daemon that leads has the output of workers, and can not be reached"))
    }
}

impl<'a> Standby<'a> {
    /// `logs` is where the output of workers is, if this daemon can read it.
    pub(crate) fn new(listener: &'a TcpListener, store: &AnyStore, logs: Option<PathBuf>, defaults: Defaults) -> Self {
        Standby { listener, reader: store.reader(), accounts: store.accounts(), logs, defaults }
    }

    /// Waits for the lead, and serves as long as there is something to wait for.
    pub(crate) async fn wait(self, candidate: Candidate, address: SocketAddr) -> Result<(Lead, Keeper)> {
        let (told, leader) = watch::channel(String::new());
        let stop = CancellationToken::new();
        // Its inbox is kept but not read: nothing is scheduled here.
        let (handle, _inbox) = scheduler::channel();
        let logs: Arc<dyn LogSource> = match self.logs {
            Some(dir) => Arc::new(LocalLogs::new(dir)),
            None => Arc::new(ElsewhereLogs),
        };
        let state = ApiState::new(handle, self.reader, self.accounts, logs, self.defaults).with_leader(leader);
        // A second handle of the same socket: who connects while one server follows the other waits in its queue.
        let copied = || -> std::io::Result<TcpListener> {
            TcpListener::from_std(std::os::fd::AsFd::as_fd(self.listener).try_clone_to_owned()?.into())
        };
        let listener = copied().context("the listener can not be copied")?;
        let mut idle = Some((listener, state));
        let leading = wait_to_lead(candidate, |leader| {
            if told.send_replace(leader.to_owned()) != leader {
                eprintln!("hai stands by on http://{address}; the daemon at {leader} leads");
            }
            if let Some((listener, state)) = idle.take() {
                tokio::spawn(api::serve(listener, state, stop.clone()));
            }
        })
        .await;
        if idle.is_none() {
            tracing::info!("nobody leads any more; this daemon takes over");
        }
        // What is under way ends in its own time.
        stop.cancel();
        Ok(leading?)
    }
}
