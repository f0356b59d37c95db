//! What can go wrong with a store, whichever database it is in.

use std::path::PathBuf;

use sqlx::postgres::PgDatabaseError;

/// The store failed. After an error from a commit nothing of that commit is kept, except where the
/// database failed, or could not be reached any more, while it was being made durable: then opening the store again tells.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file or its directory can not be made.
    #[error("can not create {}: {source}; check that the directory may be written", path.display())]
    Create {
        /// What was to be made.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The database can not be opened.
    #[error("can not open the store {store}: {source}")]
    Open {
        /// The file, or where the server is, without its password.
        store: String,
        /// Why not.
        source: sqlx::Error,
    },
    /// A newer version of hai wrote it.
    #[error(
        "the store {store} has schema version {found}, this program knows versions up to {known}; run the version of hai that wrote it, or a newer one"
    )]
    NewerSchema {
        /// The file, or where the server is, without its password.
        store: String,
        /// Its version.
        found: i64,
        /// The newest version that is known.
        known: i64,
    },
    /// The tables could not be brought to the present version; they are as they were.
    #[error("the tables of the store {store} can not be brought up to date: {source}")]
    Migrate {
        /// The file, or where the server is, without its password.
        store: String,
        /// Why not.
        source: sqlx::migrate::MigrateError,
    },
    /// The server can be reached, but hai can not keep anything there.
    #[error("the store {store} can not be used: {problem}")]
    Unsuitable {
        /// Where the server is, without its password.
        store: String,
        /// What is wrong with it, and what helps.
        problem: String,
    },
    /// The database could not do it, e.g. because its disk is full or it can not be reached.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// What was to be changed was in use by others all the time.
    #[error("the database's tables are in use all the time; try again later")]
    Busy,
    /// The database did not answer in time.
    #[error("the database did not answer within {} s", .0.as_secs())]
    Silent(std::time::Duration),
    /// Something in the store can not be what was written.
    #[error("the store is damaged: {table}, row {row}: {problem}")]
    Damaged {
        /// The table.
        table: &'static str,
        /// The row's key.
        row: String,
        /// What is wrong.
        problem: String,
    },
    /// Something can not be written down as JSON.
    #[error("{what} can not be stored: {source}")]
    Encode {
        /// What it was.
        what: &'static str,
        /// Why not.
        source: serde_json::Error,
    },
    /// A number is greater than the database's integers.
    #[error("{what} is {value}, the greatest that can be stored is {}", i64::MAX)]
    TooGreat {
        /// What it was.
        what: &'static str,
        /// The number.
        value: u64,
    },
    /// A record does not follow the last one.
    #[error("log record {found} can not be stored: the next one is {expected}")]
    Gap {
        /// The number that the record should have.
        expected: u64,
        /// The number that it has.
        found: u64,
    },
    /// An event does not follow the last one.
    #[error("event {found} can not be stored: the next one is {expected}")]
    EventGap {
        /// The number that the event should have.
        expected: u64,
        /// The number that it has.
        found: u64,
    },
}

impl StoreError {
    /// The database may do it another time, without anybody having to mend hai or what it keeps: it can not be reached,
    /// is starting or stopping, has no room left, or gave way to somebody else.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            StoreError::Silent(_) | StoreError::Busy => true,
            StoreError::Database(source) | StoreError::Open { source, .. } => passes(source),
            _ => false,
        }
    }
}

fn passes(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
            // Connection lost, transaction given up, no room or memory, an operator's hand, the disk's fault; and the server
            // was promoted, or is a follower now.
            Some(error) => {
                ["08", "40", "53", "57", "58"].iter().any(|class| error.code().starts_with(class))
                    || error.code() == "25006"
            }
            // SQLite: busy, locked, no memory, read-only, the disk's fault, no room, can not open.
            None => {
                // The lowest byte of a code is the kind of error, the rest says which.
                let kind = error.code().and_then(|code| Some(code.parse::<u32>().ok()? & 0xff));
                kind.is_some_and(|kind| [5, 6, 7, 8, 10, 13, 14].contains(&kind))
            }
        },
        _ => false,
    }
}
