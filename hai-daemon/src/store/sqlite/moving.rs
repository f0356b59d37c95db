//! A file at one moment, and a file that takes in what another store kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hai_core::backend::{Batch, Snapshot};
use hai_core::model::UserName;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{ConnectOptions as _, Executor as _, Row as _, SqliteConnection, SqlitePool};

use super::connect::{self, BEGIN, Writer};
use super::{commit, ended};
use crate::store::moving::{Found, Header, RestoreError, StoredUser};
use crate::store::{StoreError, rows};

/// All tables with something in them that another store is to have, those that are referred to last.
const TABLES: [&str; 11] =
    ["workers", "runs", "programs", "events", "tasks", "ended", "totals", "rights", "snapshots", "log", "users"];

/// Tasks that leave the tables of those that have not ended, at a time.
const ENDED_AT_ONCE: i64 = 1000;
const ENDED: &str = "SELECT id FROM tasks WHERE state = 'finished' AND id > ? ORDER BY id LIMIT ?";
const TOTAL: &str = "INSERT INTO totals (outcome, tasks) VALUES (?, ?) \
    ON CONFLICT (outcome) DO UPDATE SET tasks = max(totals.tasks, excluded.tasks)";
const PRUNED: &str = "UPDATE pruned SET before = ?";
const FENCE: &str = "SELECT fence FROM lease";
const SET_FENCE: &str = "UPDATE lease SET fence = max(fence, ?) + 1";
const SNAPSHOT_BEFORE: &str = "SELECT seq, digest, state FROM snapshots WHERE seq < ? ORDER BY seq DESC LIMIT 1";
const USERS: &str =
    "SELECT name, role, created_at, disabled, token_hash FROM users WHERE name > ? ORDER BY name LIMIT ?";
const NAMES: &str = "SELECT name FROM sqlite_schema WHERE type = 'table'";
const ADD_USER: &str = "INSERT INTO users (name, role, created_at, disabled, token_hash) VALUES (?, ?, ?, ?, ?)";
/// The first thing that is read: what is read from then on is of that moment.
const FREEZE: &str = "BEGIN; SELECT count(*) FROM sqlite_schema";

/// One connection within one transaction.
#[derive(Clone, Debug)]
pub(in crate::store) struct Frozen {
    pool: SqlitePool,
}

impl Frozen {
    pub(super) fn new(writer: &Writer) -> Self {
        let taken = Arc::new(AtomicBool::new(false));
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .max_lifetime(None)
            .idle_timeout(None)
            .after_connect(move |connection, _| {
                let taken = Arc::clone(&taken);
                Box::pin(async move {
                    // A second connection would be of another moment.
                    if taken.swap(true, Ordering::Relaxed) {
                        return Err(sqlx::Error::Protocol("the connection was lost".to_owned()));
                    }
                    connection.execute(FREEZE).await.map(drop)
                })
            })
            .connect_lazy_with(connect::reading(writer.path()));
        Frozen { pool }
    }

    pub(super) fn pool(&self) -> SqlitePool {
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
        let after = name.map_or("", UserName::as_str).to_owned();
        let found = sqlx::query(USERS).bind(after).bind(limit).fetch_all(&self.pool).await?;
        found.iter().map(|row| rows::stored_user(row, row.try_get(4)?)).collect()
    }
}

/// The file's one writing connection, within one transaction that keeps all others from writing.
#[derive(Debug)]
pub(in crate::store) struct Restoring {
    connection: SqliteConnection,
}

impl Restoring {
    /// Unless it is empty, or is to be emptied.
    pub(super) async fn begin(writer: Writer, replace: bool) -> Result<Self, RestoreError> {
        let mut connection = writer.take().await?;
        connection.execute(BEGIN).await.map_err(StoreError::from)?;
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
        for StoredUser { user, token_hash } in users {
            sqlx::query(ADD_USER)
                .bind(user.name.as_str().to_owned())
                .bind(user.role.word())
                .bind(user.created_at.as_ms())
                .bind(i64::from(user.disabled))
                .bind(token_hash.to_vec())
                .execute(&mut self.connection)
                .await?;
        }
        let mut last = i64::MIN;
        loop {
            let query = sqlx::query_scalar(ENDED).bind(last).bind(ENDED_AT_ONCE);
            let over: Vec<i64> = query.fetch_all(&mut self.connection).await?;
            let Some(greatest) = over.last() else { break };
            last = *greatest;
            ended::put_away(&mut self.connection, &over).await?;
        }
        for (outcome, tasks) in &header.ended {
            let tasks = rows::integer("a number of tasks", *tasks)?;
            sqlx::query(TOTAL).bind(outcome.clone()).bind(tasks).execute(&mut self.connection).await?;
        }
        sqlx::query(PRUNED).bind(header.pruned_before.as_ms()).execute(&mut self.connection).await?;
        sqlx::query(SET_FENCE)
            .bind(rows::integer("the lease's number", header.fence)?)
            .execute(&mut self.connection)
            .await?;
        self.connection.execute("COMMIT").await?;
        Ok(())
    }
}

/// What is in a file, which is left as it is. There is a file.
pub(super) async fn look(path: &std::path::Path) -> Result<Found, StoreError> {
    let open = |source| StoreError::Open { store: path.display().to_string(), source };
    let mut connection = connect::reading(path).connect().await.map_err(open)?;
    let names: Vec<String> = sqlx::query_scalar(NAMES).fetch_all(&mut connection).await.map_err(open)?;
    let mut found = Found::default();
    for table in TABLES.into_iter().filter(|table| names.iter().any(|name| name == table)) {
        found.tables = true;
        if any(&mut connection, table).await? {
            found.filled.push(table);
        }
    }
    Ok(found)
}

/// In which tables there is something.
async fn filled(connection: &mut SqliteConnection) -> Result<Vec<&'static str>, StoreError> {
    let mut found = Vec::new();
    for table in TABLES {
        if any(connection, table).await? {
            found.push(table);
        }
    }
    Ok(found)
}

async fn any(connection: &mut SqliteConnection, table: &str) -> Result<bool, StoreError> {
    let any = sqlx::AssertSqlSafe(format!("SELECT EXISTS (SELECT 1 FROM {table})"));
    Ok(sqlx::query_scalar(any).fetch_one(connection).await?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::SqliteStore;

    /// A table that is not named here would be forgotten.
    #[tokio::test]
    async fn every_table_is_moved_or_is_known_to_stay() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = SqliteStore::open(dir.path().join("hai.sqlite")).await.expect("it opens");
        let all = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let found: Vec<String> = sqlx::query_scalar(all).fetch_all(&store.readers).await.expect("names");
        let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, TABLES.into_iter().chain(["lease", "pruned", "_sqlx_migrations"]).collect());
    }
}
