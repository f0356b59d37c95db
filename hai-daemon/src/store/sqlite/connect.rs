//! How the file is made, opened and brought up to date, and the one connection that writes to it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlStr, SqliteConnection, SqlitePool};
use tokio::sync::{Mutex, MutexGuard};

use crate::store::StoreError;

/// Longer than any transaction of ours, shorter than anybody's patience.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const BUSY_RETRY: Duration = Duration::from_millis(5);
const SQLITE_BUSY: u32 = 5;
/// A few, since readers never wait for the writer and answers are short.
const READERS_MAX: u32 = 4;
/// The write-ahead log is cut back to this many bytes after it had to grow.
const JOURNAL_BYTES_MAX: &str = "67108864";
/// Takes SQLite's write lock at once, so that what was read holds until the commit.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";

const MIGRATIONS: [(i64, &str, &str); 4] = [
    (1, "first", include_str!("../../../migrations/sqlite/0001_first.sql")),
    (2, "by", include_str!("../../../migrations/sqlite/0002_by.sql")),
    (3, "snapshots", include_str!("../../../migrations/sqlite/0003_snapshots.sql")),
    (4, "history", include_str!("../../../migrations/sqlite/0004_history.sql")),
];
const MIGRATED: &str = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations'";
const VERSION: &str = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";

/// The one connection that writes, shared by all who do; one at a time has it.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    path: Arc<Path>,
    options: Arc<SqliteConnectOptions>,
    connection: Arc<Mutex<Option<SqliteConnection>>>,
}

/// The connection while somebody has it. Unless it is given back it is closed, so that a transaction that failed or
/// was abandoned half-way ends there and can not leak into the next one.
#[derive(Debug)]
pub(super) struct Lent<'a> {
    slot: MutexGuard<'a, Option<SqliteConnection>>,
    pub(super) connection: SqliteConnection,
}

impl Writer {
    /// Makes the file if there is none and brings its tables up to date.
    pub(super) async fn open(path: &Path) -> Result<Self, StoreError> {
        create(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("journal_size_limit", JOURNAL_BYTES_MAX)
            .disable_statement_logging();
        let open = |source| StoreError::Open { store: path.display().to_string(), source };
        let mut connection = connect(&options).await.map_err(open)?;
        migrate(&mut connection, path).await?;
        let path = Arc::from(path);
        Ok(Writer { path, options: Arc::new(options), connection: Arc::new(Mutex::new(Some(connection))) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The connection for good; others get another one.
    pub(super) async fn take(&self) -> Result<SqliteConnection, StoreError> {
        Ok(self.lend().await?.connection)
    }

    pub(super) async fn lend(&self) -> Result<Lent<'_>, StoreError> {
        let mut slot = self.connection.lock().await;
        let connection = match slot.take() {
            Some(connection) => connection,
            None => connect(&self.options).await?,
        };
        Ok(Lent { slot, connection })
    }
}

impl Lent<'_> {
    /// The connection is whole: the next one may have it.
    pub(super) fn give_back(mut self) {
        *self.slot = Some(self.connection);
    }
}

/// SQLite itself waits for a lock nearly everywhere, but not while it turns a file's journal into a write-ahead log: of
/// two who open a new file together, one is sent away at once.
async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection, sqlx::Error> {
    let give_up = Instant::now() + BUSY_TIMEOUT;
    loop {
        match options.connect().await {
            Err(problem) if is_busy(&problem) && Instant::now() < give_up => tokio::time::sleep(BUSY_RETRY).await,
            done => return done,
        }
    }
}

fn is_busy(problem: &sqlx::Error) -> bool {
    let code = problem.as_database_error().and_then(|problem| problem.code()?.parse::<u32>().ok());
    // The lowest byte of a code is the kind of error, the rest says which.
    code.is_some_and(|code| code & 0xff == SQLITE_BUSY)
}

/// Connections that only read; they see what was committed when their statement began.
pub(super) fn readers(path: &Path) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .test_before_acquire(false)
        .max_lifetime(None)
        .connect_lazy_with(reading(path))
}

/// How to connect to read.
pub(super) fn reading(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT).disable_statement_logging()
}

/// Others must not read the file: programs' environments may hold secrets. SQLite gives the files that it puts beside
/// it the same mode.
fn create(path: &Path) -> Result<(), StoreError> {
    let error = |path: &Path| {
        let path: PathBuf = path.to_owned();
        move |source| StoreError::Create { path, source }
    };
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty() && !directory.exists())
    {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(error(directory))?;
        // Without this, losing power could take the new directory away with all that was committed in it.
        for made in directory.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty()) {
            sync_directory(made).map_err(error(made))?;
        }
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file.sync_all().map_err(error(path)),
        Err(problem) if problem.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(problem) => Err(error(path)(problem)),
    }
}

/// Directories above ours may be closed to us; then they were there before and need nothing.
fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Ok(directory) => directory.sync_all(),
        Err(problem) if problem.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(problem) => Err(problem),
    }
}

async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, SqlStr::from_static(sql), false)
    });
    let known = MIGRATIONS[MIGRATIONS.len() - 1].0;
    let open = |source| StoreError::Open { store: path.display().to_string(), source };
    // One transaction around all: two who open a new file together do not get in each other's way, and a migration
    // that fails leaves the file as it was.
    let mut transaction = connection.begin_with(BEGIN).await.map_err(open)?;
    let migrated: i64 = sqlx::query_scalar(MIGRATED).fetch_one(&mut *transaction).await.map_err(open)?;
    if migrated > 0 {
        let found: i64 = sqlx::query_scalar(VERSION).fetch_one(&mut *transaction).await.map_err(open)?;
        if found > known {
            return Err(StoreError::NewerSchema { store: path.display().to_string(), found, known });
        }
    }
    Migrator::with_migrations(migrations.into())
        .run_direct(None, &mut *transaction, false)
        .await
        .map_err(|source| StoreError::Migrate { store: path.display().to_string(), source })?;
    transaction.commit().await.map_err(open)
}
