//! A daemon while another one leads: it passes on what it is asked, or shows what is stored, and waits.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::{self, ApiState, Defaults, LogPart, LogSource, WorkerLog};
use crate::compose::LocalLogs;
use crate::leading::{Keeper, Lead, wait_to_lead};
use crate::scheduler::{self, Inbox};
use crate::store::postgres::{Candidate, Heard};
use crate::store::{Accounts, PostgresStore, Reader, StoreError};

/// The first pause before the database is listened to again; doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Events that are told one by one. Where there are more only the last is told, and who listens reads the others.
const TOLD_MAX: u32 = 500;

/// What it shows, and where.
pub(crate) struct Standby<'a> {
    listener: &'a TcpListener,
    reader: Reader,
    accounts: Accounts,
    heard: Heard,
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
    pub(crate) fn new(
        listener: &'a TcpListener,
        store: &PostgresStore,
        logs: Option<PathBuf>,
        defaults: Defaults,
    ) -> Self {
        let (reader, accounts, heard) = (store.reader(), store.accounts(), store.heard());
        Standby { listener, reader, accounts, heard, logs, defaults }
    }

    /// Waits for the lead, and serves as long as there is something to wait for.
    pub(crate) async fn wait(self, candidate: Candidate, address: SocketAddr) -> Result<(Lead, Keeper)> {
        let (told, leader) = watch::channel(String::new());
        let stop = CancellationToken::new();
        // Nothing is scheduled here: its inbox is kept but not read, and those who listen hear of what the leader stores.
        let (handle, inbox) = scheduler::channel();
        let logs: Arc<dyn LogSource> = match self.logs {
            Some(dir) => Arc::new(LocalLogs::new(dir)),
            None => Arc::new(ElsewhereLogs),
        };
        let relay = relay(self.reader.clone(), self.heard, inbox);
        let state = ApiState::new(handle, self.reader, self.accounts, logs, self.defaults).with_leader(leader);
        // A second handle of the same socket: who connects while one server follows the other waits in its queue.
        let copied = || -> std::io::Result<TcpListener> {
            TcpListener::from_std(std::os::fd::AsFd::as_fd(self.listener).try_clone_to_owned()?.into())
        };
        let listener = copied().context("the listener can not be copied")?;
        let mut idle = Some((listener, state, relay));
        let leading = wait_to_lead(candidate, |leader| {
            if told.send_replace(leader.to_owned()) != leader {
                eprintln!("hai stands by on http://{address}; the daemon at {leader} leads");
            }
            if let Some((listener, state, relay)) = idle.take() {
                tokio::spawn(api::serve(listener, state, stop.clone()));
                let stop = stop.clone();
                tokio::spawn(async move { stop.run_until_cancelled(relay).await });
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

/// Tells those who listen here of what the leader stores, for ever. While the database is away nobody hears anything; then
/// they hear all that they missed.
async fn relay(reader: Reader, mut heard: Heard, inbox: Inbox) {
    let (mut last, mut pause) = (None, PAUSE);
    loop {
        let told = match heard.more_than(last.unwrap_or(0)).await {
            Ok(()) => pass_on(&reader, &inbox, last).await,
            Err(error) => Err(error),
        };
        match told {
            Ok(newest) => (last, pause) = (Some(newest), PAUSE),
            Err(error) => {
                tracing::warn!(%error, "events can not be heard of; tried again in {pause:?}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// Tells of the events after `last`; of the newest alone if they are many or nobody knows since when, which makes those who
/// missed some look for them. Returns the number of the newest that was told.
async fn pass_on(reader: &Reader, inbox: &Inbox, last: Option<u64>) -> Result<u64, StoreError> {
    let newest = reader.last_event_id().await?;
    let few = last.filter(|last| newest.saturating_sub(*last) <= TOLD_MAX.into());
    let before = few.unwrap_or(newest.saturating_sub(1)).min(newest);
    let events = reader.events_after(before, None, TOLD_MAX).await?;
    let told = events.last().map_or(before, |event| event.id);
    inbox.pass_on(events.into_iter().map(Arc::new));
    Ok(told)
}
