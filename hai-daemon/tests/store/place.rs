//! The places in which a store can be, alike to the tests of the contract.

use std::path::{Path, PathBuf};

use hai_core::backend::{Fence, Store as _};
use hai_daemon::store::{AnyStore, PostgresStore, SqliteStore};
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use tempfile::TempDir;

use crate::postgres::Postgres;

/// Where a store is, which can be opened again and again.
#[derive(Debug)]
pub(crate) enum Place {
    File(TempDir),
    Server(Postgres),
}

impl Place {
    pub(crate) fn file() -> Self {
        Place::File(TempDir::new().expect("a directory"))
    }

    /// `None` where there is no Postgres.
    pub(crate) async fn server() -> Option<Self> {
        let postgres = Postgres::start()?;
        postgres.prepare().await;
        Some(Place::Server(postgres))
    }

    pub(crate) async fn open(&self) -> AnyStore {
        match self {
            Place::File(dir) => SqliteStore::open(path(dir)).await.expect("the store opens").into(),
            Place::Server(postgres) => PostgresStore::open(&postgres.url()).await.expect("the store opens").into(),
        }
    }

    /// Opened, with the lease.
    pub(crate) async fn opened(&self) -> (AnyStore, Fence) {
        let mut store = self.open().await;
        let fence = store.open().await.expect("the lease").fence;
        (store, fence)
    }

    /// As it was before anything was stored.
    pub(crate) async fn empty(&mut self) {
        match self {
            Place::File(dir) => *dir = TempDir::new().expect("a directory"),
            Place::Server(postgres) => postgres.empty().await,
        }
    }

    /// A number that is stored.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        match self {
            Place::File(dir) => {
                let mut connection =
                    SqliteConnection::connect(&format!("sqlite:{}", path(dir).display())).await.expect("SQLite");
                sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("a number")
            }
            Place::Server(server) => {
                let mut connection = PgConnection::connect(&server.url()).await.expect("Postgres");
                sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("a number")
            }
        }
    }

    /// Another program's hand on what is stored, in the words of either database.
    pub(crate) async fn meddle(&self, sqlite: &'static str, postgres: &'static str) {
        match self {
            Place::File(dir) => meddle(&path(dir), sqlite).await,
            Place::Server(server) => server.execute(postgres).await,
        }
    }
}

fn path(dir: &TempDir) -> PathBuf {
    dir.path().join("data/hai.sqlite")
}

/// Another program's hand on a file.
pub(crate) async fn meddle(path: &Path, sql: &'static str) {
    let mut connection = SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.expect("SQLite");
    sqlx::raw_sql(sql).execute(&mut connection).await.expect("the statement");
    connection.close().await.expect("closing");
}
