//! Deletes what is old of history, a few rows at a time, between the commits.

use hai_core::backend::Snapshot;
use hai_core::model::Time;
use sqlx::{Connection, SqliteConnection, SqlitePool};

use super::connect::{BEGIN, Writer};
use crate::store::history::{Goes, Gone, Step};
use crate::store::{StoreError, rows};

const MARK: &str = "UPDATE pruned SET before = $1 WHERE before < $1";
const KEEP: &str = "INSERT OR IGNORE INTO snapshots (seq, digest, state, at) VALUES ($1, $2, $3, $4)";
const HAS_SNAPSHOT: &str = "SELECT EXISTS (SELECT 1 FROM snapshots WHERE seq = $1)";
/// Those that the log does not go on from any more.
const REMOVE_SNAPSHOTS: &str = "DELETE FROM snapshots WHERE seq < (SELECT min(seq) - 1 FROM log)";

// Events and records never go all: their numbers go on. Their times never go back, so the first are the oldest.
macro_rules! tasks {
    () => {
        "FROM ended WHERE ended_at < $1 AND $2 IS NOT NULL"
    };
}
macro_rules! events {
    () => {
        "FROM events WHERE at < $1 AND id < (SELECT max(id) FROM events) AND $2 IS NOT NULL"
    };
}
macro_rules! records {
    () => {
        "FROM log WHERE at < $1 AND seq <= $2 AND seq < (SELECT max(seq) FROM log)"
    };
}
const COUNT_TASKS: &str = concat!(
    "SELECT count(*), coalesce(sum(run_count), 0), coalesce(sum(length(view) + length(runs) + ",
    "coalesce(length(program), 0)), 0) ",
    tasks!()
);
const COUNT_EVENTS: &str = concat!("SELECT count(*), 0, coalesce(sum(length(body)), 0) ", events!());
const COUNT_RECORDS: &str = concat!("SELECT count(*), 0, coalesce(sum(length(body)), 0) ", records!());
const DELETE_TASKS: &str = concat!(
    "DELETE FROM ended WHERE id IN (SELECT id ",
    tasks!(),
    " ORDER BY ended_at LIMIT 500) RETURNING run_count, length(view) + length(runs) + coalesce(length(program), 0)"
);
const DELETE_EVENTS: &str = concat!(
    "DELETE FROM events WHERE id IN (SELECT id ",
    events!(),
    " ORDER BY id LIMIT 1000) RETURNING 0, length(body)"
);
const DELETE_RECORDS: &str = concat!(
    "DELETE FROM log WHERE seq IN (SELECT seq ",
    records!(),
    " ORDER BY seq LIMIT 1000) RETURNING 0, length(body)"
);

/// Makes less of what is over.
#[derive(Clone, Debug)]
pub(in crate::store) struct History {
    writer: Writer,
    readers: SqlitePool,
}

impl History {
    pub(super) fn new(writer: Writer, readers: SqlitePool) -> Self {
        History { writer, readers }
    }

    pub(in crate::store) async fn mark(&self, cut: Time) -> Result<(), StoreError> {
        let mut lent = self.writer.lend().await?;
        sqlx::query(MARK).bind(cut.as_ms()).execute(&mut lent.connection).await?;
        lent.give_back();
        Ok(())
    }

    pub(in crate::store) async fn keep(&self, snapshot: &Snapshot, at: Time) -> Result<(), StoreError> {
        let mut lent = self.writer.lend().await?;
        sqlx::query(KEEP)
            .bind(rows::integer("a snapshot's number", snapshot.seq)?)
            .bind(snapshot.digest.0.to_vec())
            .bind(rows::to_json("a snapshot", &snapshot.state)?)
            .bind(at.as_ms())
            .execute(&mut lent.connection)
            .await?;
        lent.give_back();
        Ok(())
    }

    pub(in crate::store) async fn would_go(&self, goes: Goes, cut: Time) -> Result<Gone, StoreError> {
        let (sql, base) = match goes {
            Goes::Tasks => (COUNT_TASKS, 0),
            Goes::Events => (COUNT_EVENTS, 0),
            Goes::Records(base) => (COUNT_RECORDS, base),
        };
        let query = sqlx::query_as(sql).bind(cut.as_ms()).bind(rows::bound(base));
        let (rows, runs, bytes): (i64, i64, i64) = query.fetch_one(&self.readers).await?;
        let number = |value| rows::number("history", value);
        Ok(gone(goes, number(rows)?, number(runs)?, number(bytes)?))
    }

    pub(in crate::store) async fn step(&self, goes: Goes, cut: Time) -> Result<Step, StoreError> {
        let mut lent = self.writer.lend().await?;
        let step = step(&mut lent.connection, goes, cut).await?;
        lent.give_back();
        Ok(step)
    }
}

async fn step(connection: &mut SqliteConnection, goes: Goes, cut: Time) -> Result<Step, StoreError> {
    let (sql, base) = match goes {
        Goes::Tasks => (DELETE_TASKS, 0),
        Goes::Events => (DELETE_EVENTS, 0),
        Goes::Records(base) => (DELETE_RECORDS, rows::bound(base)),
    };
    let mut transaction = connection.begin_with(BEGIN).await?;
    if let Goes::Records(_) = goes
        && !sqlx::query_scalar::<_, bool>(HAS_SNAPSHOT).bind(base).fetch_one(&mut *transaction).await?
    {
        // A commit found it dispensable.
        return transaction.rollback().await.map(|()| Step::Busy).map_err(StoreError::from);
    }
    let deleted: Vec<(i64, i64)> =
        sqlx::query_as(sql).bind(cut.as_ms()).bind(base).fetch_all(&mut *transaction).await?;
    if let Goes::Records(_) = goes {
        sqlx::query(REMOVE_SNAPSHOTS).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    if deleted.is_empty() {
        return Ok(Step::Done);
    }
    let mut sums = (0, 0);
    for (runs, bytes) in &deleted {
        sums.0 += rows::number("history", *runs)?;
        sums.1 += rows::number("history", *bytes)?;
    }
    Ok(Step::Gone(gone(goes, deleted.len() as u64, sums.0, sums.1)))
}

fn gone(goes: Goes, rows: u64, runs: u64, bytes: u64) -> Gone {
    let none = Gone { bytes, ..Gone::default() };
    match goes {
        Goes::Tasks => Gone { tasks: rows, runs, ..none },
        Goes::Events => Gone { events: rows, ..none },
        Goes::Records(_) => Gone { records: rows, ..none },
    }
}
