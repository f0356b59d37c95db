//! What the driver asks of a store: one atomic commit before anything is done, and everything back after a crash.

use std::future::Future;

use serde::{Deserialize, Serialize};

use crate::engine::{EngineConfig, EngineState};
use crate::model::{Decision, Fact, Program, RightRow, RunView, TaskId, TaskView, Time, UserName};

/// Keeps the log, and what can be read from it, through crashes.
///
/// The log of [`Record`]s is the truth; tasks, runs and rights are projections of it, written in the same
/// transaction so that readers need not replay. Futures need no runtime of their own and may be sent across threads.
pub trait Store: Send {
    /// What can go wrong.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Takes the lease and returns all that is kept. From this call on, commits under an older fence fail.
    fn open(&mut self) -> impl Future<Output = Result<Saved, Self::Error>> + Send;

    /// Writes the whole batch or nothing. When it returns, the batch survives power loss.
    fn commit(&mut self, batch: &Batch) -> impl Future<Output = Result<Committed, Self::Error>> + Send;

    /// The program of a task, `None` if there is no such task.
    fn program(&mut self, task: TaskId) -> impl Future<Output = Result<Option<Program>, Self::Error>> + Send;
}

/// A number that grows with every taking of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u64);

/// All that a store keeps for the driver.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Saved {
    /// The lease that was taken.
    pub fence: Fence,
    /// The last snapshot, if there is one.
    pub snapshot: Option<Snapshot>,
    /// The records after the snapshot (all, if there is none), in order.
    pub records: Vec<Record>,
    /// The number of the last event, 0 if there is none.
    pub last_event: u64,
}

/// The engine's state after a record, so that a restart need not replay the whole log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// The last record that it contains.
    pub seq: u64,
    /// The digest chain up to there.
    pub digest: Digest,
    /// The state.
    pub state: EngineState,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// 1 for the first, then without gaps.
    pub seq: u64,
    /// When it was.
    pub at: Time,
    /// Who caused it through a door; nobody did what the cluster reports and the engine decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<UserName>,
    /// What it was.
    pub entry: Entry,
    /// For rounds: the digest of everything up to and with this record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", content = "body", rename_all = "snake_case")]
pub enum Entry {
    /// The engine was told this.
    Fact(Fact),
    /// The engine decided this, maybe nothing. Whenever facts were taken in a round follows, before time goes on.
    Round(Vec<Decision>),
    /// A scheduler took over: its engine was restored from what the records before say, and decides so.
    Opened(Box<Opening>),
}

/// How a scheduler decides that goes on with a log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    /// The version of this crate that it runs.
    pub hai: String,
    /// Its engine's configuration.
    pub config: EngineConfig,
}

impl Opening {
    /// One of this version.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Opening { hai: env!("CARGO_PKG_VERSION").to_owned(), config }
    }
}

/// SHA-256 over the log so far; written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest(pub [u8; 32]);

/// What one step of the driver writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Batch {
    /// The writer's lease; a store whose lease was taken since answers [`Committed::Fenced`] and writes nothing.
    pub fence: Fence,
    /// New records, following those committed before without a gap.
    pub records: Vec<Record>,
    /// The programs of the tasks submitted in this batch.
    pub programs: Vec<(TaskId, Program)>,
    /// The tasks that changed, as they are now.
    pub tasks: Vec<TaskView>,
    /// The runs that changed, as they are now, workers included.
    pub runs: Vec<RunView>,
    /// All rights as they are now, if they changed.
    pub rights: Option<Vec<RightRow>>,
    /// What people are told, one for each changed task.
    pub events: Vec<Event>,
    /// A snapshot to keep instead of the last.
    pub snapshot: Option<Snapshot>,
}

/// How a commit went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Committed {
    /// It is written.
    Done,
    /// Nothing is written: another driver took the lease. This one must stop.
    Fenced,
}

/// A change of a task that people may want to hear of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// 1 for the first, then without gaps; independent of the records' numbers.
    pub id: u64,
    /// When it was.
    pub at: Time,
    /// Whose task.
    pub user: UserName,
    /// The task as it is now.
    pub task: TaskView,
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// The text was not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a digest has 64 hexadecimal digits")]
pub struct ParseDigestError;

impl std::str::FromStr for Digest {
    type Err = ParseDigestError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 64 || !text.is_ascii() {
            return Err(ParseDigestError);
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| ParseDigestError)?;
        }
        Ok(Digest(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
