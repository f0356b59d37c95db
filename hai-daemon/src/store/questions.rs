//! Read-only questions, in words that every database understands; they never wait for the writer, nor it for them.
//!
//! What differs from one to the other is in the reader of each: how a part of a name is looked for, and what it finds wrong
//! with itself.

/// Rows of `id, view, workers` of runs that have not been put away as history.
macro_rules! run_sql {
    ($rest:literal) => {
        concat!(
            "SELECT id, view, (SELECT string_agg(workers.view, ',' ORDER BY rank) FROM workers ",
            "WHERE run = runs.id AND rank < runs.workers) FROM runs WHERE ",
            $rest
        )
    };
}

pub(super) const TASK: &str = "SELECT id, view FROM tasks WHERE id = $1";
pub(super) const ENDED_TASK: &str = "SELECT id, view FROM ended WHERE id = $1";
pub(super) const PROGRAM: &str = "SELECT task, body FROM programs WHERE task = $1";
pub(super) const ENDED_PROGRAM: &str = "SELECT id, program FROM ended WHERE id = $1 AND program IS NOT NULL";
pub(super) const RUN: &str = run_sql!("id = $1 AND task = $2");
pub(super) const RUNS: &str = run_sql!("task = $1 ORDER BY id");
pub(super) const ENDED_RUNS: &str = "SELECT id, runs FROM ended WHERE id = $1";
pub(super) const LOG: &str =
    "SELECT seq, at, kind, body, digest, by_user FROM log WHERE seq > $1 ORDER BY seq LIMIT $2";
pub(super) const FIRST_RECORD: &str = "SELECT coalesce(min(seq), 0) FROM log";
pub(super) const LAST_RECORD: &str = "SELECT coalesce(max(seq), 0) FROM log";
pub(super) const SNAPSHOT: &str = "SELECT seq, digest, state FROM snapshots ORDER BY seq DESC LIMIT 1";
pub(super) const SNAPSHOT_AT: &str =
    "SELECT seq, digest, state FROM snapshots WHERE seq < $1 AND at <= $2 ORDER BY seq DESC LIMIT 1";
/// The first from which all later records are there.
pub(super) const FIRST_SNAPSHOT: &str = "SELECT seq, digest, state FROM snapshots \
    WHERE seq >= (SELECT min(seq) - 1 FROM log) ORDER BY seq LIMIT 1";
pub(super) const EVENTS: &str = "SELECT id, at, user_name, body FROM events WHERE id > $1 ORDER BY id LIMIT $2";
pub(super) const EVENTS_OF: &str =
    "SELECT id, at, user_name, body FROM events WHERE user_name = $3 AND id > $1 ORDER BY id LIMIT $2";
pub(super) const FIRST_EVENT: &str = "SELECT coalesce(min(id), 0) FROM events";
pub(super) const LAST_EVENT: &str = "SELECT coalesce(max(id), 0) FROM events";
pub(super) const RIGHTS: &str = "SELECT position, body FROM rights ORDER BY position";
pub(super) const COUNTS: &str = "SELECT state, NULL, count(*) FROM tasks GROUP BY state \
    UNION ALL SELECT 'finished', outcome, tasks FROM totals WHERE tasks > 0";
pub(super) const PRUNED_BEFORE: &str = "SELECT before FROM pruned";
pub(super) const KEPT: &str = "SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM ended)";

/// The questions of a `Reader` with a `pool`.
macro_rules! questions {
    ($row:ty) => {
        impl Reader {
            pub(in crate::store) async fn tasks(
                &self,
                filter: &TaskFilter,
                page: Page,
            ) -> Result<TaskPage, StoreError> {
                let limit = page.limit.clamp(1, Page::LIMIT_MAX);
                // One more than asked for, to see whether there is a next page.
                let Some(mut question) = select::tasks(filter, page.before, limit + 1, text) else {
                    return Ok(TaskPage::default());
                };
                rows::page(&question.build().fetch_all(&self.pool).await?, limit)
            }

            pub(in crate::store) async fn count(&self, filter: &TaskFilter) -> Result<u64, StoreError> {
                let mut question = select::count(filter, text);
                rows::number("tasks", question.build_query_scalar().fetch_one(&self.pool).await?)
            }

            pub(in crate::store) async fn task(&self, task: TaskId) -> Result<Option<TaskView>, StoreError> {
                let row = self.one_of([questions::TASK, questions::ENDED_TASK], task).await?;
                row.map(|row| rows::view("tasks", &row)).transpose()
            }

            pub(in crate::store) async fn program(&self, task: TaskId) -> Result<Option<Program>, StoreError> {
                let row = self.one_of([questions::PROGRAM, questions::ENDED_PROGRAM], task).await?;
                row.map(|row| rows::view("programs", &row)).transpose()
            }

            pub(in crate::store) async fn runs(&self, task: TaskId) -> Result<Vec<RunView>, StoreError> {
                let Ok(id) = rows::task_id(task) else { return Ok(Vec::new()) };
                let found = sqlx::query(questions::RUNS).bind(id).fetch_all(&self.pool).await?;
                if !found.is_empty() {
                    return found.iter().map(rows::run).collect();
                }
                self.ended_runs(id).await
            }

            pub(in crate::store) async fn run(&self, task: TaskId, run: RunId) -> Result<Option<RunView>, StoreError> {
                let (Ok(id), Ok(number)) = (rows::task_id(task), i64::try_from(run.0)) else { return Ok(None) };
                let found = sqlx::query(questions::RUN).bind(number).bind(id).fetch_optional(&self.pool).await?;
                if let Some(row) = found {
                    return rows::run(&row).map(Some);
                }
                Ok(self.ended_runs(id).await?.into_iter().find(|found| found.id == run))
            }

            async fn ended_runs(&self, task: i64) -> Result<Vec<RunView>, StoreError> {
                let row = sqlx::query(questions::ENDED_RUNS).bind(task).fetch_optional(&self.pool).await?;
                row.as_ref().map_or(Ok(Vec::new()), ended::runs)
            }

            pub(in crate::store) async fn events_after(
                &self,
                id: u64,
                user: Option<&UserName>,
                limit: u32,
            ) -> Result<Vec<Event>, StoreError> {
                let sql = if user.is_some() { questions::EVENTS_OF } else { questions::EVENTS };
                let mut query = sqlx::query(sql).bind(rows::bound(id)).bind(i64::from(limit));
                if let Some(user) = user {
                    query = query.bind(user.as_str().to_owned());
                }
                query.fetch_all(&self.pool).await?.iter().map(rows::event).collect()
            }

            pub(in crate::store) async fn first_event_id(&self) -> Result<u64, StoreError> {
                self.number("events", questions::FIRST_EVENT).await
            }

            pub(in crate::store) async fn last_event_id(&self) -> Result<u64, StoreError> {
                self.number("events", questions::LAST_EVENT).await
            }

            pub(in crate::store) async fn log_after(&self, seq: u64, limit: u32) -> Result<Vec<Record>, StoreError> {
                let query = sqlx::query(questions::LOG).bind(rows::bound(seq)).bind(i64::from(limit));
                query.fetch_all(&self.pool).await?.iter().map(rows::record).collect()
            }

            pub(in crate::store) async fn first_record(&self) -> Result<u64, StoreError> {
                self.number("log", questions::FIRST_RECORD).await
            }

            pub(in crate::store) async fn last_record(&self) -> Result<u64, StoreError> {
                self.number("log", questions::LAST_RECORD).await
            }

            pub(in crate::store) async fn snapshot(&self) -> Result<Option<Snapshot>, StoreError> {
                let row = sqlx::query(questions::SNAPSHOT).fetch_optional(&self.pool).await?;
                row.as_ref().map(rows::snapshot).transpose()
            }

            pub(in crate::store) async fn snapshot_at(
                &self,
                time: Time,
                before: u64,
            ) -> Result<Option<Snapshot>, StoreError> {
                let query = sqlx::query(questions::SNAPSHOT_AT).bind(rows::bound(before)).bind(time.as_ms());
                query.fetch_optional(&self.pool).await?.as_ref().map(rows::snapshot).transpose()
            }

            pub(in crate::store) async fn first_snapshot(&self) -> Result<Option<Snapshot>, StoreError> {
                let row = sqlx::query(questions::FIRST_SNAPSHOT).fetch_optional(&self.pool).await?;
                row.as_ref().map(rows::snapshot).transpose()
            }

            pub(in crate::store) async fn rights(&self) -> Result<Vec<RightRow>, StoreError> {
                let found = sqlx::query(questions::RIGHTS).fetch_all(&self.pool).await?;
                found.iter().map(|row| rows::view("rights", row)).collect()
            }

            pub(in crate::store) async fn counts(&self) -> Result<Counts, StoreError> {
                rows::counts(&sqlx::query(questions::COUNTS).fetch_all(&self.pool).await?)
            }

            pub(in crate::store) async fn kept(&self) -> Result<u64, StoreError> {
                self.number("tasks", questions::KEPT).await
            }

            pub(in crate::store) async fn pruned_before(&self) -> Result<Time, StoreError> {
                Ok(Time::from_ms(sqlx::query_scalar(questions::PRUNED_BEFORE).fetch_one(&self.pool).await?))
            }

            /// From the tables of what has not ended, else from history. In this order none is missed that ends meanwhile.
            async fn one_of(&self, tables: [&'static str; 2], task: TaskId) -> Result<Option<$row>, StoreError> {
                let Ok(id) = rows::task_id(task) else { return Ok(None) };
                for sql in tables {
                    let row = sqlx::query(sql).bind(id).fetch_optional(&self.pool).await?;
                    if row.is_some() {
                        return Ok(row);
                    }
                }
                Ok(None)
            }

            async fn number(&self, table: &'static str, sql: &'static str) -> Result<u64, StoreError> {
                rows::number(table, sqlx::query_scalar(sql).fetch_one(&self.pool).await?)
            }
        }
    };
}
pub(super) use questions;
