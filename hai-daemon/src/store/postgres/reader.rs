//! Read-only questions to a Postgres server; they never wait for the writer, nor it for them.

use std::collections::BTreeSet;

use hai_core::backend::{Event, Record, Snapshot};
use hai_core::model::{Program, RightRow, RunId, RunView, TaskId, TaskState, TaskView, Time, UserName};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Postgres, QueryBuilder};

use super::{LAST_EVENT, SNAPSHOT};
use crate::store::spans::{self, spans};
use crate::store::{Counts, Page, Sort, Spans, StoreError, TaskFilter, TaskPage, order, rows};

const TASK: &str = "SELECT id, view FROM tasks WHERE id = $1";
const PROGRAM: &str = "SELECT task, body FROM programs WHERE task = $1";
macro_rules! run_sql {
    ($rest:literal) => {
        concat!(
            "SELECT id, view, (SELECT string_agg(workers.view, ',' ORDER BY rank) FROM workers ",
            "WHERE run = runs.id AND rank < runs.workers) FROM runs WHERE ",
            $rest
        )
    };
}
const RUN: &str = run_sql!("id = $1");
const RUNS: &str = run_sql!("task = $1 ORDER BY id");
const LOG: &str = "SELECT seq, at, kind, body, digest, by_user FROM log WHERE seq > $1 ORDER BY seq LIMIT $2";
const LAST_RECORD: &str = "SELECT coalesce(max(seq), 0) FROM log";
const SNAPSHOT_AT: &str = "SELECT seq, digest, state FROM snapshots WHERE seq < $1 \
    AND (SELECT at FROM log WHERE log.seq = snapshots.seq) <= $2 ORDER BY seq DESC LIMIT 1";
const EVENTS: &str = "SELECT id, at, user_name, body FROM events WHERE id > $1 ORDER BY id LIMIT $2";
const EVENTS_OF: &str =
    "SELECT id, at, user_name, body FROM events WHERE user_name = $1 AND id > $2 ORDER BY id LIMIT $3";
const RIGHTS: &str = "SELECT position, body FROM rights ORDER BY position";
const DANGLING: &str = "SELECT 'programs' AS name, count(*), min(task) FROM programs \
    WHERE NOT EXISTS (SELECT FROM tasks WHERE tasks.id = programs.task) HAVING count(*) > 0 \
    UNION ALL SELECT 'runs', count(*), min(task) FROM runs \
    WHERE NOT EXISTS (SELECT FROM tasks WHERE tasks.id = runs.task) HAVING count(*) > 0 \
    UNION ALL SELECT 'workers', count(*), min(run) FROM workers \
    WHERE NOT EXISTS (SELECT FROM runs WHERE runs.id = workers.run) HAVING count(*) > 0 ORDER BY 1";
const COUNTS: &str = "SELECT state, outcome, count(*) FROM tasks GROUP BY state, outcome";

#[derive(Clone, Debug)]
pub(in crate::store) struct Reader {
    pool: PgPool,
}

impl Reader {
    pub(super) fn new(pool: PgPool) -> Self {
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
            sql.push_bind(part.as_bytes().to_vec());
        });
        order::by(&mut sql, sort);
        sql.push(" LIMIT ").push_bind(i64::from(limit) + 1);
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
        let found = query.bind(rows::bound(id)).bind(i64::from(limit)).fetch_all(&self.pool).await?;
        found.iter().map(rows::event).collect()
    }

    pub(in crate::store) async fn last_event_id(&self) -> Result<u64, StoreError> {
        rows::number("events", sqlx::query_scalar(LAST_EVENT).fetch_one(&self.pool).await?)
    }

    pub(in crate::store) async fn log_after(&self, seq: u64, limit: u32) -> Result<Vec<Record>, StoreError> {
        let found = sqlx::query(LOG).bind(rows::bound(seq)).bind(i64::from(limit)).fetch_all(&self.pool).await?;
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

    /// Rows that refer to nothing. A server looks after its own pages.
    pub(in crate::store) async fn integrity(&self) -> Result<Vec<String>, StoreError> {
        let dangling: Vec<(String, i64, i64)> = sqlx::query_as(DANGLING).fetch_all(&self.pool).await?;
        let told = |(table, rows, first)| format!("{table}: {rows} that refer to nothing, the first to number {first}");
        Ok(dangling.into_iter().map(told).collect())
    }

    async fn one(&self, sql: &'static str, id: i64) -> Result<Option<PgRow>, StoreError> {
        Ok(sqlx::query(sql).bind(id).fetch_optional(&self.pool).await?)
    }
}

spans!(Postgres);

fn select(filter: &TaskFilter, before: Option<TaskId>, limit: u32) -> QueryBuilder<Postgres> {
    let mut sql = wanted("SELECT id, view FROM tasks", filter, before);
    sql.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(limit));
    sql
}

/// The same rows, whatever is asked of them.
fn wanted(what: &'static str, filter: &TaskFilter, before: Option<TaskId>) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(what);
    if !filter.states.is_empty() && !filter.states.contains(&TaskState::Finished) {
        // Of the tasks that ever were, few are unfinished, and have a small index of their own. As a literal: the server must
        // see that it applies when it plans.
        sql.push(" WHERE state <> 'finished'");
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
    among(&mut sql, "state", filter.states.iter().map(|state| state.word().to_owned()));
    among(&mut sql, "outcome", filter.outcomes.iter().cloned());
    for (part, there) in rows::kinds(&filter.kinds) {
        sql.push(" AND (position(").push_bind(part).push(" IN view) > 0) = ").push_bind(there);
    }
    if let Some(name) = &filter.name {
        sql.push(" AND name = ").push_bind(name.clone().into_bytes());
    }
    if let Some(part) = &filter.name_contains {
        sql.push(" AND position(").push_bind(part.clone().into_bytes()).push(" IN name) > 0");
    }
    if let Some(part) = &filter.search {
        sql.push(" AND (position(").push_bind(part.clone().into_bytes()).push(" IN name) > 0");
        if let Ok(id) = part.parse::<i64>() {
            sql.push(" OR id = ").push_bind(id);
        }
        sql.push(")");
    }
    sql
}

fn among(sql: &mut QueryBuilder<Postgres>, column: &'static str, words: impl Iterator<Item = String>) {
    let words: BTreeSet<String> = words.collect();
    if words.is_empty() {
        return;
    }
    // Text can not hold the character 0, so no column equals such a word.
    let words: Vec<String> = words.into_iter().filter(|word| !word.contains('\0')).collect();
    sql.push(" AND ").push(column).push(" = ANY(").push_bind(words).push(")");
}
