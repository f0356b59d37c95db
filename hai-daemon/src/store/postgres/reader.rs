//! Read-only questions to a Postgres server; they never wait for the writer, nor it for them.

use hai_core::backend::{Event, Record, Snapshot};
use hai_core::model::{Program, RightRow, RunId, RunView, TaskId, TaskView, Time, UserName};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Postgres, QueryBuilder};

use crate::store::questions::{self, questions};
use crate::store::select::{self, Table, Text};
use crate::store::{Counts, Page, StoreError, TaskFilter, TaskPage, ended, rows};

/// The shortest text that the index of names knows anything of, in bytes.
const NAME_PART_BYTES: usize = 3;
const DANGLING: &str = "SELECT 'programs' AS name, count(*), min(task) FROM programs \
    WHERE NOT EXISTS (SELECT FROM tasks WHERE tasks.id = programs.task) HAVING count(*) > 0 \
    UNION ALL SELECT 'runs', count(*), min(task) FROM runs \
    WHERE NOT EXISTS (SELECT FROM tasks WHERE tasks.id = runs.task) HAVING count(*) > 0 \
    UNION ALL SELECT 'workers', count(*), min(run) FROM workers \
    WHERE NOT EXISTS (SELECT FROM runs WHERE runs.id = workers.run) HAVING count(*) > 0 ORDER BY 1";

#[derive(Clone, Debug)]
pub(in crate::store) struct Reader {
    pool: PgPool,
}

impl Reader {
    pub(super) fn new(pool: PgPool) -> Self {
        Reader { pool }
    }

    /// Rows that refer to nothing. A server looks after its own pages.
    pub(in crate::store) async fn integrity(&self) -> Result<Vec<String>, StoreError> {
        let dangling: Vec<(String, i64, i64)> = sqlx::query_as(DANGLING).fetch_all(&self.pool).await?;
        let told = |(table, rows, first)| format!("{table}: {rows} that refer to nothing, the first to number {first}");
        Ok(dangling.into_iter().map(told).collect())
    }
}

questions!(PgRow);

fn text(sql: &mut QueryBuilder<Postgres>, table: Table, text: Text<'_>) {
    match text {
        Text::Named(name) => {
            in_index(sql, table, name);
            sql.push("name = ").push_bind(name.as_bytes().to_vec())
        }
        Text::NameHas(part) => {
            in_index(sql, table, part);
            sql.push("position(").push_bind(part.as_bytes().to_vec()).push(" IN name) > 0")
        }
        Text::ViewHas(part) => sql.push("position(").push_bind(part.to_owned()).push(" IN view) > 0"),
    };
}

/// What the index of names knows of those that hold `part`.
fn in_index(sql: &mut QueryBuilder<Postgres>, table: Table, part: &str) {
    if table == Table::Ended && part.len() >= NAME_PART_BYTES {
        sql.push("name_parts(name) @> name_parts(").push_bind(part.as_bytes().to_vec()).push(") AND ");
    }
}
