//! A store that waits until its database works again: a daemon that ended for it could not tell anybody, nor start again.

use std::time::Duration;

use hai_core::backend::{Batch, Committed, Saved, Store};
use hai_core::model::{Program, TaskId};

use super::{AccountError, AnyStore, StoreError, StoreHealth};

/// The first pause before something is tried again; doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A database that has not answered for so long is called away; it may still answer.
const SILENT_MAX: Duration = Duration::from_secs(5);

/// Tries again and again while the database does not do what may pass, and tells so. What runs goes on meanwhile; nothing is
/// decided, and what is asked for waits or is sent away.
#[derive(Debug)]
pub struct Patient {
    store: AnyStore,
    health: StoreHealth,
}

impl Patient {
    /// Waits for `store`, and tells `health` how it is.
    #[must_use]
    pub fn new(store: AnyStore, health: StoreHealth) -> Self {
        Patient { store, health }
    }
}

/// How long is waited between tries of one thing.
#[derive(Debug)]
pub struct Patience<'a> {
    health: &'a StoreHealth,
    pause: Duration,
}

impl<'a> Patience<'a> {
    /// Before the first try; `health` is told how they go.
    #[must_use]
    pub fn new(health: &'a StoreHealth) -> Self {
        Patience { health, pause: PAUSE }
    }

    /// What came of a try, if that was the last; `None` after a pause, to try again.
    pub async fn last<T>(&mut self, tried: Result<T, StoreError>) -> Option<Result<T, StoreError>> {
        let error = match tried {
            Err(error) if error.may_pass() => error,
            done => {
                if let Some(away) = self.health.works() {
                    tracing::info!("the database answers again after {:.1} s", away.as_secs_f64());
                }
                return Some(done);
            }
        };
        if self.health.failed() {
            tracing::error!(%error, "the database does not work, so nothing is scheduled; what runs goes on");
        } else {
            tracing::warn!(%error, "the database still does not work; tried again in about {:?}", self.pause);
        }
        tokio::time::sleep(jittered(self.pause)).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        None
    }
}

/// What comes of `work`; `health` is told if that takes long.
async fn told<T>(health: &StoreHealth, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    if let Ok(done) = tokio::time::timeout(SILENT_MAX, work.as_mut()).await {
        return done;
    }
    if health.silent() {
        tracing::error!("the database has not answered for {SILENT_MAX:?}; what runs goes on");
    }
    work.await
}

/// Changes users as soon as the database does, or refuses, it. Also returns whether it was tried before, in which case it may
/// have been done then.
///
/// # Errors
/// As [`AccountError`] says, but for what may pass.
pub(crate) async fn change_users<T>(
    health: &StoreHealth,
    change: impl AsyncFn() -> Result<T, AccountError>,
) -> Result<(T, bool), AccountError> {
    let (mut patience, mut again) = (Patience::new(health), false);
    loop {
        let tried = match change().await {
            Err(AccountError::Store(error)) => Err(error),
            // What is refused is no trouble of the database's.
            done => Ok(done),
        };
        if let Some(done) = patience.last(tried).await {
            return Ok((done??, again));
        }
        again = true;
    }
}

/// Between half of `pause` and all of it, so that not all who wait for one server come at once.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without random bits all come at once: no harm.
    let _ = getrandom::fill(&mut byte);
    pause.mul_f64(0.5 + f64::from(byte[0]) / 510.0)
}

impl Store for Patient {
    type Error = StoreError;

    async fn open(&mut self) -> Result<Saved, StoreError> {
        let mut patience = Patience::new(&self.health);
        loop {
            if let Some(saved) = patience.last(Store::open(&mut self.store).await).await {
                return saved;
            }
        }
    }

    async fn commit(&mut self, batch: &Batch) -> Result<Committed, StoreError> {
        let last = batch.records.last().map_or(0, |record| record.seq);
        let mut patience = Patience::new(&self.health);
        let mut failed = false;
        loop {
            let committed = match told(&self.health, self.store.commit(batch)).await {
                // The commit that seemed to fail did not: its records are there already, and nobody else has the lease.
                Err(StoreError::Gap { expected, .. }) if failed && expected == last + 1 => Ok(Committed::Done),
                tried => tried,
            };
            failed = true;
            if let Some(committed) = patience.last(committed).await {
                return committed;
            }
        }
    }

    async fn program(&mut self, task: TaskId) -> Result<Option<Program>, StoreError> {
        let mut patience = Patience::new(&self.health);
        loop {
            if let Some(program) = patience.last(told(&self.health, self.store.program(task)).await).await {
                return program;
            }
        }
    }
}
