//! A store on a Postgres server: one writing connection, a few reading ones.
//!
//! See [`PostgresStore`] for the primary entry point.

mod accounts;
mod commit;
mod connect;
mod ended;
mod history;
mod leader;
mod parts;
mod reader;

pub(super) use accounts::Users;
pub(super) use history::History;
pub use leader::{Candidate, LEAD, Standing};
pub(super) use reader::Reader;

use hai_core::backend::{Batch, Committed, Fence, Saved, Store};
use hai_core::model::{Program, TaskId};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::time::timeout;

use super::{Accounts, StoreError, questions, rows};
use connect::{ANSWER_MAX, Writer};

const TAKE_LEASE: &str = "UPDATE lease SET fence = fence + 1 RETURNING fence";
// Not in the same statement: it would count what was there before it waited. Events may all be gone, their numbers are not.
const COUNT_ANEW: &str = "UPDATE lease SET last_record = (SELECT coalesce(max(seq), 0) FROM log), \
    last_event = greatest(last_event, (SELECT coalesce(max(id), 0) FROM events)), \
    last_ended = greatest(last_ended, (SELECT coalesce(max(id), 0) FROM ended)) RETURNING last_event";
const RECORDS: &str = "SELECT seq, at, kind, body, digest, by_user FROM log WHERE seq > $1 ORDER BY seq";

/// The scheduler's store on a Postgres server, 12 or newer.
///
/// What is committed survives the loss of power, unless the server runs with `fsync = off`. Records that a snapshot contains
/// are kept as history, and so are some older snapshots, the fewer the older. What is over lies in parts by month, see
/// [`History`](super::History).
#[derive(Debug)]
pub struct PostgresStore {
    writer: Writer,
    readers: PgPool,
}

impl PostgresStore {
    /// Connects to the database that `url` (`postgres://user@host/database`) names, and brings its tables up to date, one
    /// program at a time. The lease is not taken yet: see [`Store::open`]. What libpq's variables say (`PGPASSWORD`,
    /// `PGSSLMODE`, …) counts where the URL says nothing.
    ///
    /// # Errors
    /// [`StoreError`]; tables that a newer version wrote are refused and left as they were.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let options = connect::options(url)?;
        let readers = connect::readers(&options);
        Ok(PostgresStore { writer: Writer::open(options).await?, readers })
    }

    /// For those who show what is stored.
    #[must_use]
    pub fn reader(&self) -> super::Reader {
        Reader::new(self.readers.clone()).into()
    }

    /// For those who make less of what is over.
    #[must_use]
    pub fn history(&self) -> super::History {
        super::History::of_postgres(History::new(self.readers.clone()), self.reader())
    }

    /// One who would lead all daemons on this database: `holder` is like nobody else, and can be reached at `address`.
    #[must_use]
    pub fn candidate(&self, holder: String, address: String) -> Candidate {
        Candidate::new(self.readers.clone(), holder, address)
    }

    /// For those who check who is there. Changes go through the same one writing connection as commits do.
    #[must_use]
    pub fn accounts(&self) -> Accounts {
        Users::new(self.writer.clone(), self.readers.clone()).into()
    }
}

impl Store for PostgresStore {
    type Error = StoreError;

    async fn open(&mut self) -> Result<Saved, StoreError> {
        let mut lent = self.writer.lend().await?;
        let saved = take_over(&mut lent.connection).await?;
        lent.give_back();
        Ok(saved)
    }

    async fn commit(&mut self, batch: &Batch) -> Result<Committed, StoreError> {
        let mut lent = self.writer.lend().await?;
        // A server that can not be reached any more says nothing at all.
        let written = timeout(ANSWER_MAX, commit::write(&mut lent.connection, batch)).await;
        let committed = written.map_err(|_| StoreError::Silent(ANSWER_MAX))??;
        lent.give_back();
        Ok(committed)
    }

    async fn program(&mut self, task: TaskId) -> Result<Option<Program>, StoreError> {
        self.reader().program(task).await
    }
}

async fn take_over(connection: &mut PgConnection) -> Result<Saved, StoreError> {
    let mut transaction = connection.begin().await?;
    let fence = Fence(rows::number("lease", sqlx::query_scalar(TAKE_LEASE).fetch_one(&mut *transaction).await?)?);
    let last_event: i64 = sqlx::query_scalar(COUNT_ANEW).fetch_one(&mut *transaction).await?;
    let row = sqlx::query(questions::SNAPSHOT).fetch_optional(&mut *transaction).await?;
    let snapshot = row.as_ref().map(rows::snapshot).transpose()?;
    let contained = rows::bound(snapshot.as_ref().map_or(0, |snapshot| snapshot.seq));
    let found = sqlx::query(RECORDS).bind(contained).fetch_all(&mut *transaction).await?;
    let records = found.iter().map(rows::record).collect::<Result<_, _>>()?;
    let last_event = rows::number("events", last_event)?;
    transaction.commit().await?;
    Ok(Saved { fence, snapshot, records, last_event })
}
