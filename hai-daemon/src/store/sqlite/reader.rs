//! Read-only questions to an SQLite file; they never wait for the writer, nor it for them.

use hai_core::backend::{Event, Record, Snapshot};
use hai_core::model::{Program, RightRow, RunId, RunView, TaskId, TaskState, TaskView, Time, UserName};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite, SqlitePool};

use super::{LAST_EVENT, SNAPSHOT};
use crate::store::spans::{self, spans};
use crate::store::{Counts, Page, Sort, Spans, StoreError, TaskFilter, TaskPage, order, rows};

const TASK: &str = "SELECT id, view FROM tasks WHERE id = ?";
const PROGRAM: &str = "SELECT task, body FROM programs WHERE task = ?";
macro_rules! run_sql {
    ($rest:literal) => {
        concat!(
            "SELECT id, view, (SELECT group_concat(workers.view, ',' ORDER BY rank) FROM workers ",
            "WHERE run = runs.id AND rank < runs.workers) FROM runs WHERE ",
            $rest
        )
    };
}
const RUN: &str = run_sql!("id = ?");
const RUNS: &str = run_sql!("task = ? ORDER BY id");
const LOG: &str = "SELECT seq, at, kind, body, digest, by_user FROM log WHERE seq > ? ORDER BY seq LIMIT ?";
const LAST_RECORD: &str = "SELECT coalesce(max(seq), 0) FROM log";
const SNAPSHOT_AT: &str = "SELECT seq, digest, state FROM snapshots WHERE seq < ? \
    AND (SELECT at FROM log WHERE log.seq = snapshots.seq) <= ? ORDER BY seq DESC LIMIT 1";
const EVENTS: &str = "SELECT id, at, user_name, body FROM events WHERE id > ? ORDER BY id LIMIT ?";
const EVENTS_OF: &str = "SELECT id, at, user_name, body FROM events WHERE user_name = ? AND id > ? ORDER BY id LIMIT ?";
const RIGHTS: &str = "SELECT position, body FROM rights ORDER BY position";
const COUNTS: &str = "SELECT state, outcome, count(*) FROM tasks GROUP BY state, outcome";

#[derive(Clone, Debug)]
pub(in crate::store) struct Reader {
    pool: SqlitePool,
}

impl Reader {
    pub(super) fn new(pool: SqlitePool) -> Self {
        Reader { pool }
    }

    pub(in crate::store) async fn tasks(&self, filter: &TaskFilter, page: Page) -> Result<TaskPage, StoreError> {
        let limit = page.limit.clamp(1, Page::LIMIT_MAX);
        // One more than asked for, to see whether there is a next page.
        rows::page(&select(filter, page.before, limit + 1).build().fetch_all(&self.pool).await?, limit)
    }

    pub(in crate::store) async fn sorted(
        &self,
        filter: &TaskFilter,
        sort: &Sort,
        limit: u32,
    ) -> Result<(Vec<TaskView>, bool), StoreError> {
        let limit = limit.clamp(1, Page::LIMIT_MAX);
        let mut sql = wanted("SELECT id, view FROM tasks", filter, None);
        order::after(&mut sql, sort, |sql, part| {
            sql.push_bind(part.to_owned());
        });
        order::by(&mut sql, sort);
        sql.push(" LIMIT ").push_bind(limit + 1);
        let page = rows::page(&sql.build().fetch_all(&self.pool).await?, limit)?;
        Ok((page.tasks, page.next_before.is_some()))
    }

    pub(in crate::store) async fn count(&self, filter: &TaskFilter) -> Result<u64, StoreError> {
        let mut sql = wanted("SELECT count(*) FROM tasks", filter, None);
        rows::number("tasks", sql.build_query_scalar().fetch_one(&self.pool).await?)
    }

    pub(in crate::store) async fn task(&self, task: TaskId) -> Result<Option<TaskView>, StoreError> {
        let Ok(id) = rows::task_id(task) else { return Ok(None) };
        self.one(TASK, id).await?.map(|row| rows::view("tasks", &row)).transpose()
    }

    pub(in crate::store) async fn program(&self, task: TaskId) -> Result<Option<Program>, StoreError> {
        let Ok(id) = rows::task_id(task) else { return Ok(None) };
        self.one(PROGRAM, id).await?.map(|row| rows::view("programs", &row)).transpose()
    }

    pub(in crate::store) async fn runs(&self, task: TaskId) -> Result<Vec<RunView>, StoreError> {
        let Ok(id) = rows::task_id(task) else { return Ok(Vec::new()) };
        let found = sqlx::query(RUNS).bind(id).fetch_all(&self.pool).await?;
        found.iter().map(rows::run).collect()
    }

    pub(in crate::store) async fn run(&self, run: RunId) -> Result<Option<RunView>, StoreError> {
        let Ok(id) = i64::try_from(run.0) else { return Ok(None) };
        self.one(RUN, id).await?.map(|row| rows::run(&row)).transpose()
    }

    pub(in crate::store) async fn events_after(
        &self,
        id: u64,
        user: Option<&UserName>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let query = match user {
            Some(user) => sqlx::query(EVENTS_OF).bind(user.as_str().to_owned()),
            None => sqlx::query(EVENTS),
        };
        let found = query.bind(rows::bound(id)).bind(limit).fetch_all(&self.pool).await?;
        found.iter().map(rows::event).collect()
    }

    pub(in crate::store) async fn last_event_id(&self) -> Result<u64, StoreError> {
        rows::number("events", sqlx::query_scalar(LAST_EVENT).fetch_one(&self.pool).await?)
    }

    pub(in crate::store) async fn log_after(&self, seq: u64, limit: u32) -> Result<Vec<Record>, StoreError> {
        let found = sqlx::query(LOG).bind(rows::bound(seq)).bind(limit).fetch_all(&self.pool).await?;
        found.iter().map(rows::record).collect()
    }

    pub(in crate::store) async fn last_record(&self) -> Result<u64, StoreError> {
        rows::number("log", sqlx::query_scalar(LAST_RECORD).fetch_one(&self.pool).await?)
    }

    pub(in crate::store) async fn snapshot(&self) -> Result<Option<Snapshot>, StoreError> {
        let row = sqlx::query(SNAPSHOT).fetch_optional(&self.pool).await?;
        row.as_ref().map(rows::snapshot).transpose()
    }

    pub(in crate::store) async fn snapshot_at(&self, time: Time, before: u64) -> Result<Option<Snapshot>, StoreError> {
        let query = sqlx::query(SNAPSHOT_AT).bind(rows::bound(before)).bind(time.as_ms());
        query.fetch_optional(&self.pool).await?.as_ref().map(rows::snapshot).transpose()
    }

    pub(in crate::store) async fn rights(&self) -> Result<Vec<RightRow>, StoreError> {
        let found = sqlx::query(RIGHTS).fetch_all(&self.pool).await?;
        found.iter().map(|row| rows::view("rights", row)).collect()
    }

    pub(in crate::store) async fn counts(&self) -> Result<Counts, StoreError> {
        rows::counts(&sqlx::query(COUNTS).fetch_all(&self.pool).await?)
    }

    /// What SQLite itself finds wrong with the file.
    pub(in crate::store) async fn integrity(&self) -> Result<Vec<String>, StoreError> {
        let said: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&self.pool).await?;
        let mut problems: Vec<String> = said.into_iter().filter(|said| said != "ok").collect();
        let dangling = sqlx::query("PRAGMA foreign_key_check").fetch_all(&self.pool).await?;
        problems.extend((!dangling.is_empty()).then(|| format!("{} rows refer to what is not there", dangling.len())));
        Ok(problems)
    }

    async fn one(&self, sql: &'static str, id: i64) -> Result<Option<SqliteRow>, StoreError> {
        Ok(sqlx::query(sql).bind(id).fetch_optional(&self.pool).await?)
    }
}

spans!(Sqlite);

fn select(filter: &TaskFilter, before: Option<TaskId>, limit: u32) -> QueryBuilder<Sqlite> {
    let mut sql = wanted("SELECT id, view FROM tasks", filter, before);
    sql.push(" ORDER BY id DESC LIMIT ").push_bind(limit);
    sql
}

/// The same rows, whatever is asked of them.
fn wanted(what: &'static str, filter: &TaskFilter, before: Option<TaskId>) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(what);
    if !filter.states.is_empty() && !filter.states.contains(&TaskState::Finished) {
        // Of the tasks that ever were, few are unfinished, so their own small index is always the right one to walk;
        // SQLite can not know that.
        sql.push(" INDEXED BY tasks_unfinished WHERE state <> 'finished'");
    } else {
        sql.push(" WHERE TRUE");
    }
    if let Some(before) = before {
        // Not `<`: a number beyond all that can be stored must still let the greatest one through.
        match before.0.checked_sub(1) {
            Some(last) => sql.push(" AND id <= ").push_bind(rows::bound(last)),
            None => sql.push(" AND FALSE"),
        };
    }
    if let Some(user) = &filter.user {
        sql.push(" AND user_name = ").push_bind(user.as_str().to_owned());
    }
    if let Some(group) = &filter.group {
        sql.push(" AND group_name = ").push_bind(group.as_str().to_owned());
    }
    if let Some(priority) = filter.priority {
        sql.push(" AND priority = ").push_bind(i64::from(priority.number()));
    }
    // The plus keeps SQLite from gathering and sorting all that ever finished, which is nearly everything.
    among(&mut sql, "+state", filter.states.iter().map(|state| state.word().to_owned()));
    among(&mut sql, "outcome", filter.outcomes.iter().cloned());
    for (part, there) in rows::kinds(&filter.kinds) {
        sql.push(" AND (instr(view, ").push_bind(part).push(") > 0) = ").push_bind(there);
    }
    if let Some(name) = &filter.name {
        sql.push(" AND name = ").push_bind(name.clone());
    }
    if let Some(part) = &filter.name_contains {
        sql.push(" AND instr(name, ").push_bind(part.clone()).push(") > 0");
    }
    if let Some(part) = &filter.search {
        sql.push(" AND (instr(name, ").push_bind(part.clone()).push(") > 0");
        if let Ok(id) = part.parse::<i64>() {
            sql.push(" OR id = ").push_bind(id);
        }
        sql.push(")");
    }
    sql
}

fn among(sql: &mut QueryBuilder<Sqlite>, column: &'static str, words: impl Iterator<Item = String>) {
    let words: std::collections::BTreeSet<String> = words.collect();
    if words.is_empty() {
        return;
    }
    sql.push(" AND ").push(column).push(" IN (");
    let mut list = sql.separated(", ");
    for word in words {
        list.push_bind(word);
    }
    sql.push(")");
}
