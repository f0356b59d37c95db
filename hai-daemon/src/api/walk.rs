//! Reads the stored log from some point on, page by page, on a thread that may block; the scheduler does not wait for it.

use hai_core::backend::{FollowError, Follower, Record};
use hai_core::engine::{EngineConfig, Policies};
use hai_core::model::Time;
use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::ApiState;
use super::auth::Caller;
use super::places::Place;
use super::problem::{ApiError, Kind};
use crate::store::{Reader, StoreError};

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
    /// Records read for all who ever did.
    read: Counter,
    _place: Place,
}

/// Why reading ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum WalkError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("record {} of the stored log: {}", .0.seq, .0.problem)]
    Damaged(FollowError),
    /// What was asked for is gone; this is the first time from which the log can be followed.
    #[error("the log from before {0} is not kept any more; ask for what was from then on")]
    Pruned(Time),
    #[error("the server is shutting down")]
    Closing,
    #[error("the reader went away")]
    Gone,
    #[error("the reader took nothing for {0:?}")]
    Stalled(std::time::Duration),
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
            WalkError::Pruned(_) => ApiError::new(Kind::Pruned, error.to_string()),
            WalkError::Closing => ApiError::new(Kind::Unavailable, error.to_string()),
            error => ApiError::internal("the log could not be read", &error),
        }
    }
}

impl Walk {
    /// Waits for a place, and takes note of how far the log goes.
    pub(super) async fn begin(state: &ApiState, caller: &Caller) -> Result<Self, ApiError> {
        let place = state.walks.take(&caller.user.name).await;
        let place = place.ok_or_else(|| WalkError::Closing)?;
        Ok(Walk {
            reader: state.reader.clone(),
            runtime: Handle::current(),
            closing: state.closing.clone(),
            config: state.scheduler.inspect(|engine| engine.config().clone()).await?,
            newest: state.reader.last_record().await?,
            read: state.metrics.records.clone(),
            _place: place,
        })
    }

    /// An engine from which the log can be followed up to `time` and beyond: from the last snapshot that is early enough,
    /// else from the beginning. `None` begins with whatever is kept.
    pub(super) fn follower(&self, time: Option<Time>) -> Result<Follower, WalkError> {
        let mut before = u64::MAX;
        while let Some(time) = time
            && let Some(snapshot) = self.runtime.block_on(self.reader.snapshot_at(time, before))?
        {
            before = snapshot.seq;
            let follower = Follower::after(snapshot, self.config.clone(), Policies::default());
            // An engine may have looked again after its last record, and found nothing to do.
            if follower.engine().now() <= time {
                return Ok(follower);
            }
        }
        match self.runtime.block_on(self.pruned())? {
            None => Ok(Follower::new(self.config.clone(), Policies::default())),
            Some(first) if time.is_none() => Ok(first),
            Some(first) => Err(WalkError::Pruned(first.engine().now())),
        }
    }

    /// The engine as it was where the log begins, if that is not its beginning.
    async fn pruned(&self) -> Result<Option<Follower>, StoreError> {
        if self.reader.first_record().await? <= 1 {
            return Ok(None);
        }
        let first = self.reader.first_snapshot().await?;
        Ok(first.map(|snapshot| Follower::after(snapshot, self.config.clone(), Policies::default())))
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
            self.walk.read.inc_by(page.len() as u64);
            if let Some(first) = page.first().filter(|first| first.seq != self.last + 1) {
                // While this was read somebody pruned the log.
                return Err(WalkError::Pruned(first.at));
            }
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
