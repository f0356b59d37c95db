//! What a store is made of, piece by piece.

use std::collections::BTreeMap;
use std::fmt;

use hai_core::backend::{Event, Record, Snapshot};
use hai_core::engine::EngineState;
use hai_core::model::{Program, RightRow, RunView, TaskId, TaskView, Time};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::store::User;

/// One thing that a store keeps. Who takes pieces in meets a task before its program and its runs, and snapshots before
/// records.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// Somebody who may ask, or might.
    User(StoredUser),
    /// A row of rights; they come in their order.
    Right(RightRow),
    /// A state from which a start need not follow the log from its beginning.
    Snapshot(Box<Snapshot>),
    /// A record of the log; they come in order, without a gap.
    Record(Box<Record>),
    /// A task as it is.
    Task(Box<TaskView>),
    /// What the workers of a task execute.
    Program(TaskId, Program),
    /// A run as it is, its workers included.
    Run(Box<RunView>),
    /// What people were told; they come in order.
    Event(Box<Event>),
}

/// A user with what is kept of their token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredUser {
    /// Who.
    #[serde(flatten)]
    pub user: User,
    /// The SHA-256 of their token; as 64 hexadecimal digits in JSON.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub token_hash: [u8; 32],
}

/// The kinds of pieces, in the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// [`Piece::User`].
    User,
    /// [`Piece::Right`].
    Right,
    /// [`Piece::Snapshot`].
    Snapshot,
    /// [`Piece::Record`].
    Record,
    /// [`Piece::Task`].
    Task,
    /// [`Piece::Program`].
    Program,
    /// [`Piece::Run`].
    Run,
    /// [`Piece::Event`].
    Event,
}

/// How many pieces of each kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Users, those who were removed included.
    pub users: u64,
    /// Rows of rights.
    pub rights: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Records of the log.
    pub records: u64,
    /// Tasks.
    pub tasks: u64,
    /// Programs.
    pub programs: u64,
    /// Runs.
    pub runs: u64,
    /// Events.
    pub events: u64,
}

/// What is known of a store before its pieces come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of this format: [`Header::FORMAT`].
    pub hai_backup: u32,
    /// The version of hai that read the store.
    pub hai: String,
    /// [`EngineState::SCHEMA`] of that version: who knows only older ones can not read its snapshots.
    pub state_schema: u32,
    /// The moment.
    pub at: Time,
    /// The number that the lease had reached.
    pub fence: u64,
    /// How many pieces come about; of what can not be counted beforehand, 0.
    pub about: Tally,
    /// Tasks that ended before this time may be missing, since they were pruned.
    #[serde(default = "since_ever")]
    pub pruned_before: Time,
    /// How many tasks ever ended in each way, those that were pruned too.
    #[serde(default)]
    pub ended: BTreeMap<String, u64>,
}

const fn since_ever() -> Time {
    Time::from_ms(i64::MIN)
}

impl Header {
    /// The version of the format that is written here, and the newest that is read.
    pub const FORMAT: u32 = 1;

    pub(super) fn new(at: Time, fence: u64, about: Tally) -> Self {
        let hai = env!("CARGO_PKG_VERSION").to_owned();
        let state_schema = EngineState::SCHEMA;
        let (pruned_before, ended) = (since_ever(), BTreeMap::new());
        Header { hai_backup: Self::FORMAT, hai, state_schema, at, fence, about, pruned_before, ended }
    }
}

impl Piece {
    /// Which kind it is of.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Piece::User(_) => Kind::User,
            Piece::Right(_) => Kind::Right,
            Piece::Snapshot(_) => Kind::Snapshot,
            Piece::Record(_) => Kind::Record,
            Piece::Task(_) => Kind::Task,
            Piece::Program(..) => Kind::Program,
            Piece::Run(_) => Kind::Run,
            Piece::Event(_) => Kind::Event,
        }
    }
}

impl Tally {
    /// One more of this kind.
    pub fn add(&mut self, kind: Kind) {
        let count = match kind {
            Kind::User => &mut self.users,
            Kind::Right => &mut self.rights,
            Kind::Snapshot => &mut self.snapshots,
            Kind::Record => &mut self.records,
            Kind::Task => &mut self.tasks,
            Kind::Program => &mut self.programs,
            Kind::Run => &mut self.runs,
            Kind::Event => &mut self.events,
        };
        *count += 1;
    }

    /// All together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        let Tally { users, rights, snapshots, records, tasks, programs, runs, events } = *self;
        users + rights + snapshots + records + tasks + programs + runs + events
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { users, rights, snapshots, records, tasks, programs: _, runs, events } = self;
        write!(
            f,
            "{records} records, {tasks} tasks, {runs} runs, {events} events, {rights} rights, {snapshots} snapshots and \
             {users} users"
        )
    }
}

fn to_hex<S: Serializer>(hash: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    hai_core::backend::Digest(*hash).serialize(serializer)
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    hai_core::backend::Digest::deserialize(deserializer).map(|digest| digest.0)
}
