//! How the server is reached and its tables brought up to date, and the one connection that writes to it.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, SqlStr};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use super::parts;
use crate::store::StoreError;

/// Longer than a server that is there takes to say hello.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longer than any transaction of ours takes on a server that is there.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Longer than loading takes, however much there is.
pub(super) const LOAD_MAX: Duration = Duration::from_secs(300);
/// Longer than bringing the tables up to date takes, waiting for another who does it included.
const MIGRATE_MAX: Duration = Duration::from_secs(3600);
/// How long a connection may take to say that it is well.
const PING_MAX: Duration = Duration::from_secs(1);
/// How long somebody who only reads waits for a connection. Without a server all of it passes.
const READER_PATIENCE: Duration = Duration::from_secs(3);
pub(super) const READERS_MAX: u32 = 8;
/// The oldest server that has all that is used here, as it numbers itself.
const OLDEST: i32 = 120_000;
/// Whoever brings the tables up to date holds this advisory lock: "hai" in ASCII, and 1.
const MIGRATION_LOCK: i64 = 0x6861_6901;

pub(super) const MIGRATIONS: [(i64, &str, &str); 3] = [
    (1, "first", include_str!("../../../migrations/postgres/0001_first.sql")),
    (2, "references", include_str!("../../../migrations/postgres/0002_references.sql")),
    (3, "history", include_str!("../../../migrations/postgres/0003_history.sql")),
];
const LOCK: &str = "SELECT pg_advisory_xact_lock($1)";
const MIGRATED: &str = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
const VERSION: &str = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";
const SERVER: &str = "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
    current_setting('server_encoding'), current_setting('fsync')";
// A daemon that freezes within a transaction must not keep others from taking over. A commit that was acknowledged must
// be on the disk, whatever the server does for others; where it waits for standbys too, that stays.
const SESSION: &str = "SET idle_in_transaction_session_timeout = '5s'; \
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// The one connection that writes, shared by all who do; one at a time has it.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    options: Arc<PgConnectOptions>,
    connection: Arc<Mutex<Option<PgConnection>>>,
}

/// The connection while somebody has it. Unless it is given back it is closed, so that a transaction that failed or
/// was abandoned half-way ends there and can not leak into the next one.
#[derive(Debug)]
pub(super) struct Lent<'a> {
    slot: MutexGuard<'a, Option<PgConnection>>,
    pub(super) connection: PgConnection,
}

/// What a URL says. An error does not repeat it: it may hold a password.
pub(super) fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|source| StoreError::Open { store: "that its URL should name".to_owned(), source })?;
    Ok(options.application_name("hai-daemon").disable_statement_logging())
}

/// Where a server is, without its password.
pub(super) fn place(options: &PgConnectOptions) -> String {
    let host = options.get_socket().map_or(options.get_host().to_owned(), |socket| socket.display().to_string());
    let database = options.get_database().unwrap_or(options.get_username());
    format!("postgres://{}@{host}:{}/{database}", options.get_username(), options.get_port())
}

impl Writer {
    /// Connects, and brings the tables up to date.
    pub(super) async fn open(options: PgConnectOptions) -> Result<Self, StoreError> {
        let store = place(&options);
        let open = |source| StoreError::Open { store: store.clone(), source };
        let mut connection = connect(&options).await?;
        within(ANSWER_MAX, check(&mut connection, &store)).await??;
        within(MIGRATE_MAX, migrate(&mut connection, &store)).await??;
        let now = hai_core::model::Time::from(chrono::Utc::now());
        if within(ANSWER_MAX, parts::make_ahead(&mut connection, now)).await?? {
            tracing::info!("the tables are in use, so the parts for this month's history are made later");
        }
        within(ANSWER_MAX, sqlx::raw_sql(SESSION).execute(&mut connection)).await?.map_err(open)?;
        Ok(Writer { options: Arc::new(options), connection: Arc::new(Mutex::new(Some(connection))) })
    }

    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// The connection for good; others get another one.
    pub(super) async fn take(&self) -> Result<PgConnection, StoreError> {
        Ok(self.lend().await?.connection)
    }

    pub(super) async fn lend(&self) -> Result<Lent<'_>, StoreError> {
        let mut slot = self.connection.lock().await;
        let connection = match slot.take() {
            Some(connection) => connection,
            None => within(CONNECT_MAX, connect_to_write(&self.options)).await??,
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

/// What comes of `work`, unless that takes longer: where a server can not be reached any more nobody says so, and whoever
/// waits for it waits for ever.
pub(super) async fn within<T>(bound: Duration, work: impl Future<Output = T>) -> Result<T, StoreError> {
    timeout(bound, work).await.map_err(|_| StoreError::Silent(bound))
}

/// A connection, as whoever made the server set it up.
pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    let connected = within(CONNECT_MAX, options.connect()).await?;
    connected.map_err(|source| StoreError::Open { store: place(options), source })
}

async fn connect_to_write(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let mut connection = options.connect().await?;
    sqlx::raw_sql(SESSION).execute(&mut connection).await?;
    Ok(connection)
}

async fn is_well(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let answered = timeout(PING_MAX, connection.ping()).await;
    answered.map_err(|_| sqlx::Error::PoolTimedOut)?.map(|()| true)
}

/// Connections that see what was committed when their statement began, at most so many.
pub(super) fn pool(options: &PgConnectOptions, connections_max: u32) -> PgPool {
    // Compiling a question takes longer than any of them takes to be answered.
    let options = options.clone().options([("jit", "off")]);
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(READER_PATIENCE)
        // The pool itself would ask a connection that fell silent how it is for ever, and keep its place meanwhile.
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(is_well(connection)))
        .after_release(|connection, _| Box::pin(is_well(connection)))
        .connect_lazy_with(options)
}

async fn check(connection: &mut PgConnection, store: &str) -> Result<(), StoreError> {
    let open = |source| StoreError::Open { store: store.to_owned(), source };
    let (number, version, encoding, fsync): (i32, String, String, String) =
        sqlx::query_as(SERVER).fetch_one(connection).await.map_err(open)?;
    let unsuitable = |problem| Err(StoreError::Unsuitable { store: store.to_owned(), problem });
    if number < OLDEST {
        return unsuitable(format!("the server is Postgres {version}; 12 or newer is needed"));
    }
    if encoding != "UTF8" {
        return unsuitable(format!("its encoding is {encoding}; create the database with ENCODING 'UTF8'"));
    }
    if fsync == "off" {
        tracing::warn!(
            "the Postgres server runs with fsync = off: what it acknowledges may be gone after a power loss"
        );
    }
    Ok(())
}

async fn migrate(connection: &mut PgConnection, store: &str) -> Result<(), StoreError> {
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, SqlStr::from_static(sql), false)
    });
    let known = MIGRATIONS[MIGRATIONS.len() - 1].0;
    let open = |source| StoreError::Open { store: store.to_owned(), source };
    // One transaction around all: a migration that fails leaves the tables as they were. Of two who begin together, one
    // waits here.
    let mut transaction = connection.begin().await.map_err(open)?;
    sqlx::query(LOCK).bind(MIGRATION_LOCK).execute(&mut *transaction).await.map_err(open)?;
    let migrated: bool = sqlx::query_scalar(MIGRATED).fetch_one(&mut *transaction).await.map_err(open)?;
    if migrated {
        let found: i64 = sqlx::query_scalar(VERSION).fetch_one(&mut *transaction).await.map_err(open)?;
        if found > known {
            return Err(StoreError::NewerSchema { store: store.to_owned(), found, known });
        }
    }
    Migrator::with_migrations(migrations.into())
        .set_locking(false)
        .run_direct(None, &mut *transaction, false)
        .await
        .map_err(|source| StoreError::Migrate { store: store.to_owned(), source })?;
    transaction.commit().await.map_err(open)
}
