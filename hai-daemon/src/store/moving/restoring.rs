//! Takes pieces into a store in one transaction: all of them or none.

use std::collections::BTreeMap;

use hai_core::backend::{Batch, Chain, Digest, Fence};
use hai_core::model::RightRow;

use super::{Header, Piece, StoredUser, Tally};
use crate::store::{StoreError, postgres, sqlite};

/// Pieces that are written at a time.
const CHUNK: usize = 1000;

/// Why a store does not take what comes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// Something is kept there.
    #[error(
        "there is something in it already ({tables}); only an empty database is restored into, unless it is to be replaced"
    )]
    NotEmpty {
        /// In which tables.
        tables: String,
    },
    /// A record's number or digest does not follow from those before it.
    #[error("record {seq} of the log does not follow from those before it: this was altered or is incomplete")]
    Broken {
        /// The record.
        seq: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A store while it takes pieces in. Nothing is there before [`Restoring::commit`] returns; dropped, nothing ever was.
#[derive(Debug)]
pub struct Restoring {
    target: Target,
    chunk: Batch,
    waiting: usize,
    users: Vec<StoredUser>,
    rights: Vec<RightRow>,
    /// The digests that the log has where there are snapshots.
    snapshots: BTreeMap<u64, Digest>,
    chain: Option<Chain>,
    taken: Tally,
}

#[derive(Debug)]
pub(in crate::store) enum Target {
    Sqlite(sqlite::Restoring),
    Postgres(Box<postgres::Restoring>),
}

macro_rules! target {
    ($self:expr, $target:ident => $order:expr) => {
        match $self {
            Target::Sqlite($target) => $order.await,
            Target::Postgres($target) => $order.await,
        }
    };
}

fn nothing() -> Batch {
    Batch {
        fence: Fence(0),
        records: Vec::new(),
        programs: Vec::new(),
        tasks: Vec::new(),
        runs: Vec::new(),
        rights: None,
        events: Vec::new(),
        snapshot: None,
    }
}

impl Restoring {
    pub(in crate::store) fn new(target: Target) -> Self {
        Restoring {
            target,
            chunk: nothing(),
            waiting: 0,
            users: Vec::new(),
            rights: Vec::new(),
            snapshots: BTreeMap::new(),
            chain: None,
            taken: Tally::default(),
        }
    }

    /// What was taken so far.
    #[must_use]
    pub fn taken(&self) -> Tally {
        self.taken
    }

    /// Takes some pieces, in the order in which they came.
    ///
    /// # Errors
    /// [`RestoreError`]; nothing can be taken after that.
    pub async fn take(&mut self, pieces: Vec<Piece>) -> Result<(), RestoreError> {
        for piece in pieces {
            self.taken.add(piece.kind());
            self.waiting += 1;
            match piece {
                Piece::User(user) => self.users.push(user),
                Piece::Right(right) => self.rights.push(right),
                Piece::Snapshot(snapshot) => {
                    self.snapshots.insert(snapshot.seq, snapshot.digest);
                    target!(&mut self.target, target => target.snapshot(&snapshot))?;
                }
                Piece::Record(record) => {
                    self.follows(&record)?;
                    self.chunk.records.push(*record);
                }
                Piece::Task(task) => self.chunk.tasks.push(*task),
                Piece::Program(task, program) => self.chunk.programs.push((task, program)),
                Piece::Run(run) => self.chunk.runs.push(*run),
                Piece::Event(event) => self.chunk.events.push(*event),
            }
            if self.waiting >= CHUNK {
                self.write().await?;
            }
        }
        Ok(())
    }

    /// A log from which the beginning was taken away goes on from a snapshot.
    fn follows(&mut self, record: &hai_core::backend::Record) -> Result<(), RestoreError> {
        let chain = self.chain.get_or_insert_with(|| {
            let before = record.seq.saturating_sub(1);
            self.snapshots.get(&before).map_or_else(Chain::default, |digest| Chain::after(before, *digest))
        });
        let follows = chain.verify(record)
            && (record.digest.is_none()
                || self.snapshots.get(&record.seq).is_none_or(|digest| *digest == chain.digest()));
        if follows { Ok(()) } else { Err(RestoreError::Broken { seq: record.seq }) }
    }

    async fn write(&mut self) -> Result<(), StoreError> {
        self.waiting = 0;
        let chunk = std::mem::replace(&mut self.chunk, nothing());
        target!(&mut self.target, target => target.insert(&chunk))
    }

    /// Makes all of it true at once. `header` says what there is beside the pieces: how much was pruned, and which number the
    /// lease had reached: whoever held it, there or here, is fenced out.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing was taken.
    pub async fn commit(mut self, header: &Header) -> Result<Tally, StoreError> {
        self.chunk.rights = Some(std::mem::take(&mut self.rights));
        self.write().await?;
        let (users, taken) = (std::mem::take(&mut self.users), self.taken);
        target!(self.target, target => target.commit(&users, header))?;
        Ok(taken)
    }
}
