//! What can go wrong with a store in an SQLite file.

use std::path::PathBuf;

/// The store failed. After an error from a commit nothing of that commit is kept, except where the file's disk failed
/// while it was being made durable: then opening the store again tells.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqliteError {
    /// The file or its directory can not be made.
    #[error("can not create {}: {source}; check that the directory may be written", path.display())]
    Create {
        /// What was to be made.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file can not be opened as a database.
    #[error("can not open the store {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: sqlx::Error,
    },
    /// A newer version of hai wrote the file.
    #[error(
        "the store {} has schema version {found}, this program knows versions up to {known}; run the version of hai that wrote it, or a newer one",
        path.display()
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that is known.
        known: i64,
    },
    /// The tables could not be brought to the present version; the file is as it was.
    #[error("the tables of the store {} can not be brought up to date: {source}", path.display())]
    Migrate {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: sqlx::migrate::MigrateError,
    },
    /// SQLite could not do it, e.g. because the disk is full.
    #[error("SQLite: {0}")]
    Sqlite(#[from] sqlx::Error),
    /// Something in the file can not be what was written.
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
    /// A number is greater than SQLite's integers.
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
}
