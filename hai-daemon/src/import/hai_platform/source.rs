//! An upstream database, read at one moment and left as it is.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use anyhow::{Context as _, Result, bail};
use futures::TryStreamExt as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection};

use super::rows::Table;
use crate::config::DatabaseUrl;

const FREEZE: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const EXISTS: &str = "SELECT to_regclass($1) IS NOT NULL";

/// Tables with something in them that is not taken over, and what it is.
const NOT_READ: [(&str, &str); 9] = [
    ("task_ng", "tasks that ended"),
    ("storage", "what is mounted into containers"),
    ("user_access_token", "more tokens of users"),
    ("external_quota_change_log", "who changed which quota"),
    ("train_image", "images"),
    ("user_image", "images of users"),
    ("task_tag", "words that users put to tasks"),
    ("multi_server_config", "settings of the platform"),
    ("pod_ng", "pods of tasks"),
];

/// What is there.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) rows: Vec<(Table, String)>,
    /// Rows that were only counted.
    pub(super) not_read: BTreeMap<String, u64>,
}

/// Reads all that can be of use.
pub(super) async fn read(url: &DatabaseUrl) -> Result<Read> {
    // What is wrong with a URL may repeat its password.
    let options = PgConnectOptions::from_str(url.secret()).ok().with_context(|| format!("{url} can not be read"))?;
    let options = options.application_name("hai-daemon import").disable_statement_logging();
    let mut connection = options.connect().await.with_context(|| format!("{url} can not be reached"))?;
    connection.execute(FREEZE).await?;
    if !exists(&mut connection, Table::User.name()).await? || !exists(&mut connection, Table::Quota.name()).await? {
        bail!("{url} has no tables `user` and `quota`; name the database of hai-platform, which is mars_db by default");
    }
    let mut read = Read::default();
    for table in Table::ALL {
        let name = table.name();
        if !exists(&mut connection, name).await? {
            continue;
        }
        // As JSON, so that a column of another type, or one that is not there, is a row's trouble and not the table's.
        let sql = format!(
            "SELECT line FROM (SELECT to_jsonb(r)::text AS line FROM ONLY \"{name}\" r) t ORDER BY line COLLATE \"C\""
        );
        let mut found = sqlx::query_scalar::<_, String>(AssertSqlSafe(sql)).fetch(&mut connection);
        while let Some(json) = found.try_next().await.with_context(|| format!("the table {name} can not be read"))? {
            read.rows.push((table, json));
        }
    }
    for (name, what) in NOT_READ {
        if exists(&mut connection, name).await? {
            let sql = format!("SELECT count(*) FROM ONLY \"{name}\"");
            let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await?;
            if let Some(count) = u64::try_from(count).ok().filter(|count| *count > 0) {
                read.not_read.insert(format!("{name} ({what})"), count);
            }
        }
    }
    connection.close().await?;
    Ok(read)
}

async fn exists(connection: &mut PgConnection, table: &str) -> Result<bool> {
    Ok(sqlx::query_scalar(EXISTS).bind(format!("\"{table}\"")).fetch_one(connection).await?)
}
