//! Read-only questions to a Postgres server; they never wait for the writer, nor it for them.

use hai_core::backend::{Event, Record, Snapshot};
use hai_core::model::{Program, RightRow, RunId, RunView, TaskId, TaskView, Time, UserName};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Postgres, QueryBuilder};

use crate::store::questions::{self, questions};
use crate::store::select::{self, Table};
use crate::store::{Counts, Page, StoreError, TaskFilter, TaskPage, ended, rows};

/// The shortest text that the index of names knows anything of, in bytes.
const NAME_PART_BYTES: usize = 3;

#[derive(Clone, Debug)]
pub(in crate::store) struct Reader {
    pool: PgPool,
}

impl Reader {
    pub(super) fn new(pool: PgPool) -> Self {
        Reader { pool }
    }

    /// Nothing: a server looks after its own pages, and refuses what refers to nothing.
    pub(in crate::store) async fn integrity(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
}

questions!(PgRow);

fn named(sql: &mut QueryBuilder<Postgres>, table: Table, part: &str) {
    let bytes = part.as_bytes();
    if table == Table::Ended && bytes.len() >= NAME_PART_BYTES {
        sql.push(" AND name_parts(name) @> name_parts(").push_bind(bytes.to_vec()).push(")");
    }
    sql.push(" AND position(").push_bind(bytes.to_vec()).push(" IN name) > 0");
}
