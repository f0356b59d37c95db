//! A server at one moment, and a server that takes in what another store kept.

use std::sync::Arc;

use hai_core::backend::{Batch, Snapshot};
use hai_core::model::UserName;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor as _, PgConnection, PgPool, Row as _};
use tokio::sync::Mutex;

use super::connect::{self, Writer};
use super::{commit, ended, leader};
use crate::store::moving::{Found, Header, RestoreError, StoredUser};
use crate::store::{StoreError, rows};

/// All tables with something in them that another store is to have, those that are referred to last.
const TABLES: [&str; 11] =
    ["workers", "runs", "programs", "events", "tasks", "ended", "totals", "rights", "snapshots", "log", "users"];

/// Tasks that leave the tables of those that have not ended, at a time.
const ENDED_AT_ONCE: i64 = 10_000;
const ENDED: &str = "SELECT id FROM tasks WHERE state = 'finished' AND id > $1 ORDER BY id LIMIT $2";
const TOTALS: &str = "INSERT INTO totals (outcome, tasks) SELECT * FROM unnest($1::text[], $2::bigint[]) \
    ON CONFLICT (outcome) DO UPDATE SET tasks = greatest(totals.tasks, excluded.tasks)";
const PRUNED: &str = "UPDATE pruned SET before = $1";
const FENCE: &str = "SELECT fence FROM lease";
/// Waits for whoever writes or takes the lease, and keeps others from both until the transaction ends.
const LEASE: &str = "SELECT fence FROM lease FOR UPDATE";
const SET_FENCE: &str = "UPDATE lease SET fence = greatest(fence, $1) + 1, \
    last_record = 0, last_event = 0, last_ended = 0";
const SNAPSHOT_BEFORE: &str = "SELECT seq, digest, state FROM snapshots WHERE seq < $1 ORDER BY seq DESC LIMIT 1";
const USERS: &str =
    "SELECT name, role, created_at, disabled, token_hash FROM users WHERE name > $1 ORDER BY name LIMIT $2";
const EXISTS: &str = "SELECT to_regclass($1) IS NOT NULL";
const ADD_USERS: &str = "INSERT INTO users (name, role, created_at, disabled, token_hash) \
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bytea[])";
/// A server may close what does nothing for a while, or lasts long; this does both.
const PATIENCE: &str = "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 0";
const FREEZE: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// How others share a transaction's moment.
const EXPORT: &str = "SELECT pg_export_snapshot()";
/// Several, since a server may be far away.
const CONNECTIONS: u32 = 4;
/// Each of them is busy with one question at a time. Once the moment is lost, it takes so long until that is believed.
const TURN_MAX: std::time::Duration = std::time::Duration::from_secs(20);

/// A few connections, each within a transaction of the same moment.
#[derive(Clone, Debug)]
pub(in crate::store) struct Frozen {
    pool: PgPool,
}

impl Frozen {
    pub(super) fn new(options: &PgConnectOptions) -> Self {
        let moment = Arc::new(Mutex::new(None));
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(TURN_MAX)
            .test_before_acquire(false)
            .max_lifetime(None)
            .idle_timeout(None)
            .after_connect(move |connection, _| {
                let moment = Arc::clone(&moment);
                Box::pin(async move { freeze(connection, &mut *moment.lock().await).await })
            })
            .connect_lazy_with(options.clone());
        Frozen { pool }
    }

    pub(super) fn pool(&self) -> PgPool {
        self.pool.clone()
    }

    pub(in crate::store) async fn fence(&self) -> Result<u64, StoreError> {
        rows::number("lease", sqlx::query_scalar(FENCE).fetch_one(&self.pool).await?)
    }

    pub(in crate::store) async fn snapshot_before(&self, seq: u64) -> Result<Option<Snapshot>, StoreError> {
        let row = sqlx::query(SNAPSHOT_BEFORE).bind(rows::bound(seq)).fetch_optional(&self.pool).await?;
        row.as_ref().map(rows::snapshot).transpose()
    }

    pub(in crate::store) async fn users_after(
        &self,
        name: Option<&UserName>,
        limit: u32,
    ) -> Result<Vec<StoredUser>, StoreError> {
        let after = name.map_or("", UserName::as_str);
        let found = sqlx::query(USERS).bind(after).bind(i64::from(limit)).fetch_all(&self.pool).await?;
        found.iter().map(|row| rows::stored_user(row, row.try_get(4)?)).collect()
    }
}

/// The first connection's transaction names its moment; if that connection is lost, the server refuses the name.
async fn freeze(connection: &mut PgConnection, moment: &mut Option<String>) -> Result<(), sqlx::Error> {
    connection.execute(FREEZE).await?;
    if let Some(moment) = moment {
        let share = format!("SET TRANSACTION SNAPSHOT '{moment}'");
        connection.execute(sqlx::AssertSqlSafe(share)).await?;
    } else {
        *moment = Some(sqlx::query_scalar(EXPORT).fetch_one(&mut *connection).await?);
    }
    connection.execute(sqlx::raw_sql(PATIENCE)).await.map(drop)
}

/// One connection within one transaction that keeps all others from writing and from taking the lease.
#[derive(Debug)]
pub(in crate::store) struct Restoring {
    connection: PgConnection,
}

impl Restoring {
    /// Unless it is empty, or is to be emptied.
    pub(super) async fn begin(writer: Writer, replace: bool) -> Result<Self, RestoreError> {
        let mut connection = writer.take().await?;
        connection.execute("BEGIN").await.map_err(StoreError::from)?;
        connection.execute(sqlx::raw_sql(PATIENCE)).await.map_err(StoreError::from)?;
        connection.execute(LEASE).await.map_err(StoreError::from)?;
        let found = filled(&mut connection).await?;
        if !found.is_empty() && !replace {
            return Err(RestoreError::NotEmpty { tables: found.join(", ") });
        }
        for table in TABLES.into_iter().filter(|table| found.contains(table)) {
            let clear = sqlx::AssertSqlSafe(format!("DELETE FROM {table}"));
            connection.execute(clear).await.map_err(StoreError::from)?;
        }
        Ok(Restoring { connection })
    }

    pub(in crate::store) async fn insert(&mut self, batch: &Batch) -> Result<(), StoreError> {
        commit::insert(&mut self.connection, batch).await
    }

    pub(in crate::store) async fn snapshot(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
        commit::insert_snapshot(&mut self.connection, snapshot).await
    }

    pub(in crate::store) async fn commit(mut self, users: &[StoredUser], header: &Header) -> Result<(), StoreError> {
        let column = |of: fn(&StoredUser) -> String| users.iter().map(of).collect::<Vec<_>>();
        sqlx::query(ADD_USERS)
            .bind(column(|stored| stored.user.name.as_str().to_owned()))
            .bind(column(|stored| stored.user.role.word().to_owned()))
            .bind(users.iter().map(|stored| stored.user.created_at.as_ms()).collect::<Vec<_>>())
            .bind(users.iter().map(|stored| i64::from(stored.user.disabled)).collect::<Vec<_>>())
            .bind(users.iter().map(|stored| stored.token_hash.to_vec()).collect::<Vec<_>>())
            .execute(&mut self.connection)
            .await?;
        let mut last = i64::MIN;
        loop {
            let query = sqlx::query_scalar(ENDED).bind(last).bind(ENDED_AT_ONCE);
            let over: Vec<i64> = query.fetch_all(&mut self.connection).await?;
            let Some(greatest) = over.last() else { break };
            last = *greatest;
            ended::put_away(&mut self.connection, over).await?;
        }
        let totals = header.ended.values().map(|tasks| rows::integer("a number of tasks", *tasks));
        sqlx::query(TOTALS)
            .bind(header.ended.keys().cloned().collect::<Vec<String>>())
            .bind(totals.collect::<Result<Vec<i64>, _>>()?)
            .execute(&mut self.connection)
            .await?;
        sqlx::query(PRUNED).bind(header.pruned_before.as_ms()).execute(&mut self.connection).await?;
        // What is counted there is counted anew by who takes the lease.
        sqlx::query(SET_FENCE)
            .bind(rows::integer("the lease's number", header.fence)?)
            .execute(&mut self.connection)
            .await?;
        self.connection.execute("COMMIT").await?;
        // What the server knows of empty tables would make it choose badly until it looks by itself.
        if let Err(error) = self.connection.execute("ANALYZE").await {
            tracing::warn!(%error, "the server does not look at the new tables yet; it will by itself");
        }
        Ok(())
    }
}

/// What is in a database, which is left as it is.
pub(super) async fn look(options: &PgConnectOptions) -> Result<Found, StoreError> {
    let mut connection = connect::connect(options).await?;
    let mut found = Found::default();
    for table in TABLES {
        if sqlx::query_scalar(EXISTS).bind(table).fetch_one(&mut connection).await? {
            found.tables = true;
            if any(&mut connection, table).await? {
                found.filled.push(table);
            }
        }
    }
    if found.tables {
        found.leader = leader::present(&mut connection).await?;
    }
    Ok(found)
}

/// In which tables there is something.
async fn filled(connection: &mut PgConnection) -> Result<Vec<&'static str>, StoreError> {
    let mut found = Vec::new();
    for table in TABLES {
        if any(connection, table).await? {
            found.push(table);
        }
    }
    Ok(found)
}

async fn any(connection: &mut PgConnection, table: &str) -> Result<bool, StoreError> {
    let any = sqlx::AssertSqlSafe(format!("SELECT EXISTS (SELECT 1 FROM {table})"));
    Ok(sqlx::query_scalar(any).fetch_one(connection).await?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A table that is not named here would be forgotten.
    #[test]
    fn every_table_is_moved_or_is_known_to_stay() {
        let made = connect::MIGRATIONS.iter().flat_map(|(_, _, sql)| sql.split("CREATE TABLE ").skip(1));
        // A part moves with its table.
        let made = made.filter(|rest| !rest.lines().next().is_some_and(|line| line.contains("PARTITION OF")));
        let made: BTreeSet<&str> =
            made.filter_map(|rest| rest.trim_start_matches("IF NOT EXISTS ").split([' ', '(']).next()).collect();
        assert_eq!(made, TABLES.into_iter().chain(["lease", "leader", "pruned"]).collect());
    }
}
