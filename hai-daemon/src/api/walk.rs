//! Reads the stored log from some point on, page by page, on a thread that may block; the scheduler does not wait for it.

use hai_core::backend::{FollowError, Follower, Record};
use hai_core::engine::{EngineConfig, Policies};
use hai_core::model::Time;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::ApiState;
use super::problem::{ApiError, Kind};
use crate::store::{Reader, SqliteError};

/// Records read at a time.
const PAGE_MAX: u32 = 500;

/// A log as it was when somebody asked. Holds one of the few places of those who read logs, until it is dropped.
#[derive(Debug)]
pub(super) struct Walk {
    reader: Reader,
    runtime: Handle,
    closing: CancellationToken,
    /// How the engine decides now: counts for logs of versions that did not write that down.
    pub(super) config: EngineConfig,
    newest: u64,
    _place: OwnedSemaphorePermit,
}

/// Why reading ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum WalkError {
    #[error(transparent)]
    Store(#[from] SqliteError),
    #[error("record {} of the stored log: {}", .0.seq, .0.problem)]
    Damaged(FollowError),
    #[error("the server is shutting down")]
    Closing,
    #[error("the reader went away")]
    Gone,
}

impl From<FollowError> for WalkError {
    fn from(error: FollowError) -> Self {
        WalkError::Damaged(error)
    }
}

impl From<WalkError> for ApiError {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Store(error) => error.into(),
            WalkError::Closing => ApiError::new(Kind::Unavailable, error.to_string()),
            error => ApiError::internal("the log could not be read", &error),
        }
    }
}

impl Walk {
    /// Waits for a place, and takes note of how far the log goes.
    pub(super) async fn begin(state: &ApiState) -> Result<Self, ApiError> {
        let place = state.walks.clone().acquire_owned().await;
        let place = place.map_err(|error| ApiError::internal("nobody may read the log", &error))?;
        Ok(Walk {
            reader: state.reader.clone(),
            runtime: Handle::current(),
            closing: state.closing.clone(),
            config: state.scheduler.inspect(|engine| engine.config().clone()).await?,
            newest: state.reader.last_record().await?,
            _place: place,
        })
    }

    /// An engine from which the log can be followed up to `time` and beyond: from the last snapshot if that is early
    /// enough, else from the beginning.
    pub(super) fn follower(&self, time: Option<Time>) -> Result<Follower, WalkError> {
        if let Some(time) = time
            && let Some(snapshot) = self.runtime.block_on(self.reader.snapshot())?
        {
            let follower = Follower::after(snapshot, self.config.clone(), Policies::default());
            if follower.engine().now() <= time {
                return Ok(follower);
            }
        }
        Ok(Follower::new(self.config.clone(), Policies::default()))
    }

    /// The records after `seq`, in order.
    pub(super) fn after(&self, seq: u64) -> Records<'_> {
        Records { walk: self, page: Vec::new().into_iter(), last: seq }
    }
}

/// Records as they are read.
#[derive(Debug)]
pub(super) struct Records<'a> {
    walk: &'a Walk,
    page: std::vec::IntoIter<Record>,
    last: u64,
}

impl Records<'_> {
    fn read(&mut self) -> Result<Option<Record>, WalkError> {
        if self.page.len() == 0 && self.last < self.walk.newest {
            if self.walk.closing.is_cancelled() {
                return Err(WalkError::Closing);
            }
            let page = self.walk.runtime.block_on(self.walk.reader.log_after(self.last, PAGE_MAX))?;
            self.page = page.into_iter();
        }
        let record = self.page.next().filter(|record| record.seq <= self.walk.newest);
        self.last = record.as_ref().map_or(self.walk.newest, |record| record.seq);
        Ok(record)
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, WalkError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}
