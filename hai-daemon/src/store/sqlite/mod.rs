//! A store in one SQLite file: write-ahead log, one writing connection, a few reading ones.
//!
//! See [`SqliteStore`] for the primary entry point.

mod accounts;
mod commit;
mod connect;
mod ended;
mod history;
mod insert;
mod moving;
mod reader;

pub(super) use accounts::Users;
pub(super) use history::History;
pub(super) use moving::{Frozen, Restoring};
pub(super) use reader::Reader;

use std::path::Path;

use hai_core::backend::{Batch, Committed, Fence, Saved, Store};
use hai_core::model::{Program, TaskId};
use sqlx::{Connection, SqliteConnection, SqlitePool};

use super::known::Known;
use super::moving::{Found, More, RestoreError, Target};
use super::{Accounts, StoreError, questions, rows};
use connect::{BEGIN, Writer};

const TAKE_LEASE: &str = "UPDATE lease SET fence = fence + 1 RETURNING fence";
const RECORDS: &str = "SELECT seq, at, kind, body, digest, by_user FROM log WHERE seq > ? ORDER BY seq";

/// The scheduler's store in one SQLite file.
///
/// What is committed survives the loss of power. Records that a snapshot contains are kept as history, and so are some older
/// snapshots, the fewer the older.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Writer,
    readers: SqlitePool,
    known: Known,
}

impl SqliteStore {
    /// Opens the file `path`, makes it and its directory if there are none, and brings its tables up to date. The
    /// lease is not taken yet: see [`Store::open`].
    ///
    /// # Errors
    /// [`StoreError`]; a file that a newer version wrote is refused and left as it was.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let writer = Writer::open(path.as_ref()).await?;
        Ok(SqliteStore { writer, readers: connect::readers(path.as_ref()), known: Known::default() })
    }

    /// For those who show what is stored.
    #[must_use]
    pub fn reader(&self) -> super::Reader {
        Reader::new(self.readers.clone()).into()
    }

    /// What is in the file `path`, which is left as it is.
    ///
    /// # Errors
    /// [`StoreError`], also if there is no such file.
    pub async fn look(path: impl AsRef<Path>) -> Result<Found, StoreError> {
        moving::look(path.as_ref()).await
    }

    /// All that is kept, as it is at one moment from now on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn freeze(&self) -> Result<super::Frozen, StoreError> {
        let frozen = Frozen::new(&self.writer);
        let reader = Reader::new(frozen.pool()).into();
        super::Frozen::new(reader, More::Sqlite(frozen)).await
    }

    /// Begins to take in what another store kept: see [`Restoring`](super::Restoring). Nobody else can write until that ends.
    ///
    /// # Errors
    /// [`RestoreError::NotEmpty`] if something is kept here already, unless that is to be replaced; [`StoreError`].
    pub async fn restore(self, replace: bool) -> Result<super::Restoring, RestoreError> {
        Ok(super::Restoring::new(Target::Sqlite(Restoring::begin(self.writer, replace).await?)))
    }

    /// For those who make less of what is over.
    #[must_use]
    pub fn history(&self) -> super::History {
        super::History::of_sqlite(History::new(self.writer.clone(), self.readers.clone()), self.reader())
    }

    /// For those who check who is there. Changes go through the same one writing connection as commits do.
    #[must_use]
    pub fn accounts(&self) -> Accounts {
        Accounts::new(Users::new(self.writer.clone(), self.readers.clone()), self.known.clone())
    }
}

impl Store for SqliteStore {
    type Error = StoreError;

    async fn open(&mut self) -> Result<Saved, StoreError> {
        let mut lent = self.writer.lend().await?;
        let saved = take_over(&mut lent.connection).await?;
        lent.give_back();
        Ok(saved)
    }

    async fn commit(&mut self, batch: &Batch) -> Result<Committed, StoreError> {
        let mut lent = self.writer.lend().await?;
        let committed = commit::write(&mut lent.connection, batch).await?;
        lent.give_back();
        Ok(committed)
    }

    async fn program(&mut self, task: TaskId) -> Result<Option<Program>, StoreError> {
        self.reader().program(task).await
    }
}

async fn take_over(connection: &mut SqliteConnection) -> Result<Saved, StoreError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let fence = Fence(rows::number("lease", sqlx::query_scalar(TAKE_LEASE).fetch_one(&mut *transaction).await?)?);
    let row = sqlx::query(questions::SNAPSHOT).fetch_optional(&mut *transaction).await?;
    let snapshot = row.as_ref().map(rows::snapshot).transpose()?;
    let contained = rows::bound(snapshot.as_ref().map_or(0, |snapshot| snapshot.seq));
    let found = sqlx::query(RECORDS).bind(contained).fetch_all(&mut *transaction).await?;
    let records = found.iter().map(rows::record).collect::<Result<_, _>>()?;
    let last_event =
        rows::number("events", sqlx::query_scalar(questions::LAST_EVENT).fetch_one(&mut *transaction).await?)?;
    transaction.commit().await?;
    Ok(Saved { fence, snapshot, records, last_event })
}
