//! Drops parts of history that are old, and what is old in the parts for the rest.

use hai_core::backend::Snapshot;
use hai_core::model::Time;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use super::parts::{self, Part, begin_briefly, is_busy};
use crate::store::history::{Goes, Gone, Step};
use crate::store::{StoreError, rows};

/// Rows of a part for the rest that are deleted at a time.
const ROWS_AT_ONCE: i64 = 1000;

const MARK: &str = "UPDATE pruned SET before = $1 WHERE before < $1";
const KEEP: &str =
    "INSERT INTO snapshots (seq, digest, state, at) VALUES ($1, $2, $3, $4) ON CONFLICT (seq) DO NOTHING";
const HAS_SNAPSHOT: &str = "SELECT EXISTS (SELECT FROM snapshots WHERE seq = $1)";
/// Those that the log does not go on from any more.
const REMOVE_SNAPSHOTS: &str = "DELETE FROM snapshots WHERE seq < (SELECT min(seq) - 1 FROM log)";

/// Makes less of what is over. Of its own connection: who commits waits only where both need the same for a moment.
#[derive(Clone, Debug)]
pub(in crate::store) struct History {
    pool: PgPool,
}

/// How rows of a table are told.
struct Table {
    name: &'static str,
    /// When a row was.
    at: &'static str,
    /// What numbers its rows.
    number: &'static str,
    /// A column to add up, beside the rows.
    sum: &'static str,
}

impl Goes {
    const fn table(self) -> Table {
        match self {
            Goes::Tasks => Table { name: "ended", at: "ended_at", number: "id", sum: "run_count" },
            Goes::Events => Table { name: "events", at: "at", number: "id", sum: "0" },
            Goes::Records(_) => Table { name: "log", at: "at", number: "seq", sum: "0" },
        }
    }

    /// The last number that may go, as a condition. Events and records never go all: their numbers go on.
    fn last(self) -> String {
        match self {
            Goes::Tasks => "TRUE".to_owned(),
            Goes::Events => "id < (SELECT max(id) FROM events)".to_owned(),
            Goes::Records(base) => format!("seq <= {base} AND seq < (SELECT max(seq) FROM log)"),
        }
    }

    fn gone(self, (rows, sum, bytes): (u64, u64, u64)) -> Gone {
        let none = Gone { bytes, ..Gone::default() };
        match self {
            Goes::Tasks => Gone { tasks: rows, runs: sum, ..none },
            Goes::Events => Gone { events: rows, ..none },
            Goes::Records(_) => Gone { records: rows, ..none },
        }
    }
}

impl History {
    pub(super) fn new(pool: PgPool) -> Self {
        History { pool }
    }

    pub(in crate::store) async fn make_ahead(&self, now: Time) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        if parts::make_ahead(&mut connection, now).await? { Err(StoreError::Busy) } else { Ok(()) }
    }

    pub(in crate::store) async fn mark(&self, cut: Time) -> Result<(), StoreError> {
        sqlx::query(MARK).bind(cut.as_ms()).execute(&self.pool).await?;
        Ok(())
    }

    pub(in crate::store) async fn keep(&self, snapshot: &Snapshot, at: Time) -> Result<(), StoreError> {
        sqlx::query(KEEP)
            .bind(rows::integer("a snapshot's number", snapshot.seq)?)
            .bind(snapshot.digest.0.to_vec())
            .bind(rows::to_json("a snapshot", &snapshot.state)?)
            .bind(at.as_ms())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub(in crate::store) async fn would_go(&self, goes: Goes, cut: Time) -> Result<Gone, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let mut all = Gone::default();
        for part in parts::list(&mut connection, goes.table().name).await? {
            if part.is_before(cut) && may_be_dropped(&mut connection, goes, &part).await? {
                all += count(&mut connection, goes, &part).await?;
            } else if part.rest {
                let Table { at, sum, .. } = goes.table();
                let sql = format!(
                    "SELECT count(*), coalesce(sum({sum}), 0)::bigint, coalesce(sum(pg_column_size(its.*)), 0)::bigint \
                     FROM {} AS its WHERE {at} < {} AND {}",
                    part.name,
                    cut.as_ms(),
                    goes.last()
                );
                all += goes.gone(numbers(&mut connection, sql).await?);
            }
        }
        Ok(all)
    }

    pub(in crate::store) async fn step(&self, goes: Goes, cut: Time) -> Result<Step, StoreError> {
        let mut connection = self.pool.acquire().await?;
        for part in parts::list(&mut connection, goes.table().name).await? {
            if !part.is_before(cut) || !may_be_dropped(&mut connection, goes, &part).await? {
                continue;
            }
            // Before anybody has to wait for it.
            let gone = count(&mut connection, goes, &part).await?;
            return match drop_part(&mut connection, goes, &part).await {
                Err(error) if is_busy(&error) => Ok(Step::Busy),
                Ok(false) => Ok(Step::Busy),
                done => done.map(|_| Step::Gone(gone)),
            };
        }
        match delete_rest(&mut connection, goes, cut).await {
            Err(error) if is_busy(&error) => Ok(Step::Busy),
            Ok(None) => Ok(Step::Busy),
            Ok(Some(gone)) if gone == Gone::default() => Ok(Step::Done),
            Ok(Some(gone)) => Ok(Step::Gone(gone)),
            Err(error) => Err(error),
        }
    }
}

/// No row of it must stay.
async fn may_be_dropped(connection: &mut PgConnection, goes: Goes, part: &Part) -> Result<bool, StoreError> {
    let Table { number, .. } = goes.table();
    // Only its last row is looked at.
    let sql = format!(
        "SELECT NOT EXISTS (SELECT FROM (SELECT {number} FROM {} ORDER BY {number} DESC LIMIT 1) AS its \
         WHERE NOT ({}))",
        part.name,
        goes.last()
    );
    Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await?)
}

async fn count(connection: &mut PgConnection, goes: Goes, part: &Part) -> Result<Gone, StoreError> {
    let sql = format!("SELECT count(*), coalesce(sum({}), 0)::bigint, 0::bigint FROM {}", goes.table().sum, part.name);
    let (rows, sum, _) = numbers(connection, sql).await?;
    Ok(goes.gone((rows, sum, part.bytes)))
}

async fn numbers(connection: &mut PgConnection, sql: String) -> Result<(u64, u64, u64), StoreError> {
    let (rows, sum, bytes): (i64, i64, i64) = sqlx::query_as(AssertSqlSafe(sql)).fetch_one(connection).await?;
    let number = |value| rows::number("history", value);
    Ok((number(rows)?, number(sum)?, number(bytes)?))
}

/// False if the snapshot that all that is left would go on from is not there any more.
async fn drop_part(connection: &mut PgConnection, goes: Goes, part: &Part) -> Result<bool, StoreError> {
    let mut transaction = connection.begin().await?;
    begin_briefly(&mut transaction).await?;
    if !has_base(&mut transaction, goes).await? {
        return Ok(false);
    }
    sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {}", part.name))).execute(&mut *transaction).await?;
    remove_snapshots(&mut transaction, goes).await?;
    transaction.commit().await?;
    Ok(true)
}

/// `None` as above.
async fn delete_rest(connection: &mut PgConnection, goes: Goes, cut: Time) -> Result<Option<Gone>, StoreError> {
    let Table { name, at, number, sum } = goes.table();
    let mut transaction = connection.begin().await?;
    begin_briefly(&mut transaction).await?;
    if !has_base(&mut transaction, goes).await? {
        return Ok(None);
    }
    let sql = format!(
        "WITH its AS (DELETE FROM {name}_rest WHERE ({number}, {at}) IN (SELECT {number}, {at} FROM {name}_rest \
         WHERE {at} < {} AND {} ORDER BY {number} LIMIT {ROWS_AT_ONCE}) RETURNING *) \
         SELECT count(*), coalesce(sum({sum}), 0)::bigint, coalesce(sum(pg_column_size(its.*)), 0)::bigint FROM its",
        cut.as_ms(),
        goes.last()
    );
    let gone = goes.gone(numbers(&mut transaction, sql).await?);
    remove_snapshots(&mut transaction, goes).await?;
    transaction.commit().await?;
    Ok(Some(gone))
}

async fn has_base(connection: &mut PgConnection, goes: Goes) -> Result<bool, StoreError> {
    let Goes::Records(base) = goes else { return Ok(true) };
    Ok(sqlx::query_scalar(HAS_SNAPSHOT).bind(rows::bound(base)).fetch_one(connection).await?)
}

async fn remove_snapshots(connection: &mut PgConnection, goes: Goes) -> Result<(), StoreError> {
    if let Goes::Records(_) = goes {
        sqlx::query(REMOVE_SNAPSHOTS).execute(connection).await?;
    }
    Ok(())
}
