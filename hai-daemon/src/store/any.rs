//! The store of either kind, for who composes a daemon.

use hai_core::backend::{Batch, Committed, Saved, Store};
use hai_core::model::{Program, TaskId};

use super::moving::{Frozen, RestoreError, Restoring};
use super::{Accounts, History, PostgresStore, Reader, SqliteStore, StoreError};

/// The scheduler's store, in whichever database.
#[derive(Debug)]
pub enum AnyStore {
    /// In a file.
    Sqlite(SqliteStore),
    /// On a server.
    Postgres(PostgresStore),
}

impl AnyStore {
    /// For those who show what is stored.
    #[must_use]
    pub fn reader(&self) -> Reader {
        match self {
            AnyStore::Sqlite(store) => store.reader(),
            AnyStore::Postgres(store) => store.reader(),
        }
    }

    /// All that is kept, as it is at one moment from now on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn freeze(&self) -> Result<Frozen, StoreError> {
        match self {
            AnyStore::Sqlite(store) => store.freeze().await,
            AnyStore::Postgres(store) => store.freeze().await,
        }
    }

    /// Begins to take in what another store kept.
    ///
    /// # Errors
    /// [`RestoreError::NotEmpty`] if something is kept here already, unless that is to be replaced; [`StoreError`].
    pub async fn restore(self, replace: bool) -> Result<Restoring, RestoreError> {
        match self {
            AnyStore::Sqlite(store) => store.restore(replace).await,
            AnyStore::Postgres(store) => store.restore(replace).await,
        }
    }

    /// For those who make less of what is over.
    #[must_use]
    pub fn history(&self) -> History {
        match self {
            AnyStore::Sqlite(store) => store.history(),
            AnyStore::Postgres(store) => store.history(),
        }
    }

    /// For those who check who is there.
    #[must_use]
    pub fn accounts(&self) -> Accounts {
        match self {
            AnyStore::Sqlite(store) => store.accounts(),
            AnyStore::Postgres(store) => store.accounts(),
        }
    }
}

impl Store for AnyStore {
    type Error = StoreError;

    async fn open(&mut self) -> Result<Saved, StoreError> {
        match self {
            AnyStore::Sqlite(store) => Store::open(store).await,
            AnyStore::Postgres(store) => Store::open(store).await,
        }
    }

    async fn commit(&mut self, batch: &Batch) -> Result<Committed, StoreError> {
        match self {
            AnyStore::Sqlite(store) => store.commit(batch).await,
            AnyStore::Postgres(store) => store.commit(batch).await,
        }
    }

    async fn program(&mut self, task: TaskId) -> Result<Option<Program>, StoreError> {
        match self {
            AnyStore::Sqlite(store) => store.program(task).await,
            AnyStore::Postgres(store) => store.program(task).await,
        }
    }
}

impl From<SqliteStore> for AnyStore {
    fn from(store: SqliteStore) -> Self {
        AnyStore::Sqlite(store)
    }
}

impl From<PostgresStore> for AnyStore {
    fn from(store: PostgresStore) -> Self {
        AnyStore::Postgres(store)
    }
}
