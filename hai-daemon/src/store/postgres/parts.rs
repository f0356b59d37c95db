//! The parts by month in which history lies: which there are, made ahead of time, and dropped whole.

use hai_core::model::Time;
use sqlx::postgres::PgDatabaseError;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::store::{StoreError, month, rows};

/// The tables that are kept in parts, and the column that says in which a row belongs.
pub(super) const TABLES: [(&str, &str); 3] = [("ended", "ended_at"), ("log", "at"), ("events", "at")];
/// Months that are made beyond the present one.
const AHEAD: u32 = 2;
/// Whoever makes parts holds this advisory lock: "hai" in ASCII, and 2.
const PARTS_LOCK: i64 = 0x6861_6902;

const LOCK: &str = "SELECT pg_advisory_xact_lock($1)";
/// Readers and commits that come meanwhile wait behind who waits for a lock: not for long.
const BRIEFLY: &str = "SET LOCAL lock_timeout = '250ms'; SET LOCAL idle_in_transaction_session_timeout = '5s'";
const PARTS: &str = "SELECT inhrelid::regclass::text, pg_get_expr(relpartbound, pg_class.oid), \
    pg_total_relation_size(inhrelid) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid \
    WHERE inhparent = to_regclass($1)";

/// A part of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// What it is called, ready for a statement.
    pub(super) name: String,
    /// The first time in it; `None` if there is none.
    from: Option<i64>,
    /// The first time after it; `None` if there is none.
    to: Option<i64>,
    /// It has what no other part is there for.
    pub(super) rest: bool,
    /// What it takes, indexes included.
    pub(super) bytes: u64,
}

impl Part {
    /// All in it was before `time`.
    pub(super) fn is_before(&self, time: Time) -> bool {
        !self.rest && self.to.is_some_and(|to| to <= time.as_ms())
    }

    fn holds(&self, time: Time) -> bool {
        let time = time.as_ms();
        !self.rest && self.from.is_none_or(|from| from <= time) && self.to.is_none_or(|to| time < to)
    }
}

/// The parts of a table, the oldest first and the one for the rest last.
pub(super) async fn list(connection: &mut PgConnection, table: &str) -> Result<Vec<Part>, StoreError> {
    let found = sqlx::query(PARTS).bind(table).fetch_all(connection).await?;
    let mut parts = Vec::with_capacity(found.len());
    for row in &found {
        let (name, bounds): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let bytes = rows::number("pg_class", row.try_get(2)?)?;
        let unknown = || rows::damaged("pg_class", &name, format!("a part {bounds}, which hai does not make"));
        let (from, to, rest) = bounds_of(&bounds).ok_or_else(unknown)?;
        parts.push(Part { name, from, to, rest, bytes });
    }
    parts.sort_by_key(|part| (part.rest, part.from.is_some(), part.from));
    Ok(parts)
}

/// Bounds as Postgres writes them: `FOR VALUES FROM (MINVALUE) TO ('1764547200000')` or `DEFAULT`.
fn bounds_of(text: &str) -> Option<(Option<i64>, Option<i64>, bool)> {
    if text == "DEFAULT" {
        return Some((None, None, true));
    }
    let (from, to) = text.strip_prefix("FOR VALUES FROM (")?.strip_suffix(')')?.split_once(") TO (")?;
    let bound =
        |text: &str, none| if text == none { Some(None) } else { text.trim_matches('\'').parse().ok().map(Some) };
    Some((bound(from, "MINVALUE")?, bound(to, "MAXVALUE")?, false))
}

/// Makes the parts for the month of `now` and the next ones, and takes what is meant for them out of the rest. True if it did
/// not come to it, since somebody used the table all the time.
pub(super) async fn make_ahead(connection: &mut PgConnection, now: Time) -> Result<bool, StoreError> {
    for (table, column) in TABLES {
        let parts = list(connection, table).await?;
        for ahead in 0..=AHEAD {
            let Some((from, to)) = month::begin(now, ahead).zip(month::begin(now, ahead + 1)) else { continue };
            if parts.iter().any(|part| part.holds(from)) {
                continue;
            }
            match make(connection, table, column, from, to).await {
                Err(error) if is_busy(&error) => return Ok(true),
                made => made?,
            }
        }
    }
    Ok(false)
}

async fn make(
    connection: &mut PgConnection,
    table: &str,
    column: &str,
    from: Time,
    to: Time,
) -> Result<(), StoreError> {
    let Some(name) = month::name(from) else { return Ok(()) };
    let mut transaction = connection.begin().await?;
    sqlx::query(LOCK).bind(PARTS_LOCK).execute(&mut *transaction).await?;
    // Somebody else may have made it while this waited.
    if list(&mut transaction, table).await?.iter().any(|part| part.holds(from)) {
        return Ok(());
    }
    sqlx::raw_sql(BRIEFLY).execute(&mut *transaction).await?;
    let (from, to, part) = (from.as_ms(), to.as_ms(), format!("{table}_{name}"));
    // Attached, not created in place: that would keep everybody out of the whole table.
    sqlx::raw_sql(AssertSqlSafe(format!(
        "CREATE TABLE {part} (LIKE {table} INCLUDING DEFAULTS); \
         LOCK TABLE {table}_rest IN ACCESS EXCLUSIVE MODE; \
         WITH its AS (DELETE FROM {table}_rest WHERE {column} >= {from} AND {column} < {to} RETURNING *) \
         INSERT INTO {part} SELECT * FROM its; \
         ALTER TABLE {table} ATTACH PARTITION {part} FOR VALUES FROM ({from}) TO ({to})"
    )))
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// Begins what must not wait for long. Who holds the lease's row is alone: a commit comes before it or after it, never between.
pub(super) async fn begin_briefly(transaction: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::raw_sql(BRIEFLY).execute(&mut *transaction).await?;
    sqlx::raw_sql("SELECT fence FROM lease FOR UPDATE").execute(transaction).await?;
    Ok(())
}

/// A lock was not to be had in time.
pub(super) fn is_busy(error: &StoreError) -> bool {
    let StoreError::Database(sqlx::Error::Database(error)) = error else { return false };
    error.try_downcast_ref::<PgDatabaseError>().is_some_and(|error| error.code() == "55P03")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_as_postgres_writes_them() {
        assert_eq!(bounds_of("DEFAULT"), Some((None, None, true)));
        assert_eq!(bounds_of("FOR VALUES FROM (MINVALUE) TO ('17')"), Some((None, Some(17), false)));
        assert_eq!(bounds_of("FOR VALUES FROM ('-5') TO (MAXVALUE)"), Some((Some(-5), None, false)));
        assert_eq!(bounds_of("FOR VALUES IN (5)"), None);
    }
}
