//! Read-only questions to an SQLite file; they never wait for the writer, nor it for them.

use hai_core::backend::{Event, Record, Snapshot};
use hai_core::model::{Program, RightRow, RunId, RunView, TaskId, TaskView, Time, UserName};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite, SqlitePool};

use crate::store::questions::{self, questions};
use crate::store::select::{self, Table, Text};
use crate::store::{Counts, Page, StoreError, TaskFilter, TaskPage, ended, rows};

#[derive(Clone, Debug)]
pub(in crate::store) struct Reader {
    pool: SqlitePool,
}

impl Reader {
    pub(super) fn new(pool: SqlitePool) -> Self {
        Reader { pool }
    }

    /// What SQLite itself finds wrong with the file.
    pub(in crate::store) async fn integrity(&self) -> Result<Vec<String>, StoreError> {
        let said: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&self.pool).await?;
        let mut problems: Vec<String> = said.into_iter().filter(|said| said != "ok").collect();
        let dangling = sqlx::query("PRAGMA foreign_key_check").fetch_all(&self.pool).await?;
        problems.extend((!dangling.is_empty()).then(|| format!("{} rows refer to what is not there", dangling.len())));
        Ok(problems)
    }
}

questions!(SqliteRow);

fn text(sql: &mut QueryBuilder<Sqlite>, _: Table, text: Text<'_>) {
    match text {
        Text::Named(name) => sql.push("name = ").push_bind(name.to_owned()),
        Text::NameHas(part) => sql.push("instr(name, ").push_bind(part.to_owned()).push(") > 0"),
        Text::ViewHas(part) => sql.push("instr(view, ").push_bind(part.to_owned()).push(") > 0"),
    };
}
