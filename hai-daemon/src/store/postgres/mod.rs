//! A store on a Postgres server: one writing connection, a few reading ones.
//!
//! See [`PostgresStore`] for the primary entry point.

mod accounts;
mod commit;
mod connect;
mod ended;
mod heard;
mod history;
mod leader;
mod moving;
mod parts;
mod reader;

pub(super) use accounts::Users;
pub use heard::Heard;
pub(super) use history::History;
pub use leader::{Candidate, LEAD, Standing};
pub(super) use moving::{Frozen, Restoring};
pub(super) use reader::Reader;

use hai_core::backend::{Batch, Committed, Fence, Saved, Store};
use hai_core::model::{Program, TaskId};
use sqlx::{Connection, PgConnection, PgPool};

use super::known::Known;
use super::moving::{Found, More, RestoreError, Target};
use super::{Accounts, StoreError, questions, rows};
use connect::{ANSWER_MAX, LOAD_MAX, READERS_MAX, Writer, within};

/// Who says that it leads must not wait for those who read.
const LEADING_MAX: u32 = 2;

const TAKE_LEASE: &str = "UPDATE lease SET fence = fence + 1 RETURNING fence";
// Not in the same statement: it would count what was there before it waited. Events may all be gone, their numbers are not.
const COUNT_ANEW: &str = "UPDATE lease SET last_record = (SELECT coalesce(max(seq), 0) FROM log), \
    last_event = greatest(last_event, (SELECT coalesce(max(id), 0) FROM events)), \
    last_ended = greatest(last_ended, (SELECT coalesce(max(id), 0) FROM ended)) RETURNING last_event";
const RECORDS: &str = "SELECT seq, at, kind, body, digest, by_user FROM log WHERE seq > $1 ORDER BY seq";
const PROGRAM: &str = "SELECT task, body FROM programs WHERE task = $1";

/// The scheduler's store on a Postgres server, 12 or newer.
///
/// What is committed survives the loss of power, unless the server runs with `fsync = off`. Records that a snapshot contains
/// are kept as history, and so are some older snapshots, the fewer the older. What is over lies in parts by month, see
/// [`History`](super::History).
#[derive(Debug)]
pub struct PostgresStore {
    writer: Writer,
    readers: PgPool,
    known: Known,
    leading: PgPool,
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
        let (readers, leading) = (connect::pool(&options, READERS_MAX), connect::pool(&options, LEADING_MAX));
        Ok(PostgresStore { writer: Writer::open(options).await?, readers, known: Known::default(), leading })
    }

    /// For those who show what is stored.
    #[must_use]
    pub fn reader(&self) -> super::Reader {
        Reader::new(self.readers.clone()).into()
    }

    /// What is in the database that `url` names, which is left as it is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn look(url: &str) -> Result<Found, StoreError> {
        moving::look(&connect::options(url)?).await
    }

    /// Where the daemon that leads here can be reached; `None` if none does.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn leader(&self) -> Result<Option<String>, StoreError> {
        leader::present(&self.readers).await
    }

    /// All that is kept, as it is at one moment from now on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn freeze(&self) -> Result<super::Frozen, StoreError> {
        let frozen = Frozen::new(self.writer.options());
        let reader = Reader::new(frozen.pool()).into();
        super::Frozen::new(reader, More::Postgres(frozen)).await
    }

    /// Begins to take in what another store kept: see [`Restoring`](super::Restoring). Nobody else can write, nor take the
    /// lease, until that ends.
    ///
    /// # Errors
    /// [`RestoreError::NotEmpty`] if something is kept here already, unless that is to be replaced; [`StoreError`].
    pub async fn restore(self, replace: bool) -> Result<super::Restoring, RestoreError> {
        let restoring = Restoring::begin(self.writer, replace).await?;
        Ok(super::Restoring::new(Target::Postgres(Box::new(restoring))))
    }

    /// For those who make less of what is over.
    #[must_use]
    pub fn history(&self) -> super::History {
        super::History::of_postgres(History::new(self.readers.clone()), self.reader())
    }

    /// One who would lead all daemons on this database: `holder` is like nobody else, and can be reached at `address`.
    #[must_use]
    pub fn candidate(&self, holder: String, address: String) -> Candidate {
        Candidate::new(self.leading.clone(), holder, address)
    }

    /// For one who is to be woken by what others commit; it takes one of the readers' connections.
    #[must_use]
    pub fn heard(&self) -> Heard {
        Heard::new(self.readers.clone())
    }

    /// For those who check who is there. Changes go through the same one writing connection as commits do.
    #[must_use]
    pub fn accounts(&self) -> Accounts {
        Accounts::new(Users::new(self.writer.clone(), self.readers.clone()), self.known.clone())
    }
}

impl Store for PostgresStore {
    type Error = StoreError;

    async fn open(&mut self) -> Result<Saved, StoreError> {
        let mut lent = self.writer.lend().await?;
        let saved = within(LOAD_MAX, take_over(&mut lent.connection)).await??;
        lent.give_back();
        Ok(saved)
    }

    async fn commit(&mut self, batch: &Batch) -> Result<Committed, StoreError> {
        let mut lent = self.writer.lend().await?;
        let committed = within(ANSWER_MAX, commit::write(&mut lent.connection, batch)).await??;
        lent.give_back();
        Ok(committed)
    }

    async fn program(&mut self, task: TaskId) -> Result<Option<Program>, StoreError> {
        // A round may start a thousand tasks that waited: each connection of the readers would be tried before it is used.
        let Ok(id) = rows::task_id(task) else { return Ok(None) };
        let mut lent = self.writer.lend().await?;
        let row = within(ANSWER_MAX, sqlx::query(PROGRAM).bind(id).fetch_optional(&mut lent.connection)).await??;
        lent.give_back();
        match row {
            Some(row) => rows::view("programs", &row).map(Some),
            None => within(ANSWER_MAX, self.reader().program(task)).await?,
        }
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
