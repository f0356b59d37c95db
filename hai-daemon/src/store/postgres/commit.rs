//! Writing one batch in one transaction, or nothing of it: one statement for each table, however many rows.

use std::collections::{BTreeMap, BTreeSet};

use hai_core::backend::{Batch, Committed, Event, Record, Snapshot};
use hai_core::model::{Outcome, Program, RightRow, RunView, TaskId, TaskView, Time};
use sqlx::{Connection, PgConnection};

use super::heard::channel;
use crate::store::{StoreError, ended, rows, thin};

/// Waits for whoever writes or takes the lease, and keeps others from both until the transaction ends. What it returns is of
/// the row that it waited for.
const LEASE: &str = "UPDATE lease SET last_record = last_record + $1, last_event = last_event + $2, \
    last_ended = greatest(last_ended, $3) RETURNING fence, last_record - $1, last_event - $2, last_ended";
const LOG: &str = "INSERT INTO log (seq, at, kind, body, digest, by_user) \
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bytea[], $6::text[])";
const TASKS: &str = "INSERT INTO tasks \
    (id, name, user_name, group_name, priority, state, outcome, submitted_at, ended_at, view) \
    SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], \
    $8::bigint[], $9::bigint[], $10::text[]) \
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, user_name = excluded.user_name, \
    group_name = excluded.group_name, priority = excluded.priority, state = excluded.state, \
    outcome = excluded.outcome, submitted_at = excluded.submitted_at, ended_at = excluded.ended_at, view = excluded.view";
const PROGRAMS: &str = "INSERT INTO programs (task, body) SELECT * FROM unnest($1::bigint[], $2::text[])";
const RUNS: &str = "INSERT INTO runs (id, task, phase, decided_at, ended_at, workers, view) \
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[]) \
    ON CONFLICT (id) DO UPDATE SET task = excluded.task, phase = excluded.phase, decided_at = excluded.decided_at, \
    ended_at = excluded.ended_at, workers = excluded.workers, view = excluded.view";
// Of a big run's workers few change at a time.
const WORKERS: &str = "INSERT INTO workers (run, rank, node, view) \
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[]) \
    ON CONFLICT (run, rank) DO UPDATE SET node = excluded.node, view = excluded.view \
    WHERE workers.view <> excluded.view";
const CLEAR_RIGHTS: &str = "DELETE FROM rights";
const RIGHTS: &str = "INSERT INTO rights (position, user_name, group_name, priority, body) \
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[])";
// Whoever listens is told the last number once the transaction is committed.
const EVENTS: &str = concat!(
    "WITH stored AS (INSERT INTO events (id, at, task, user_name, body) \
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[])) \
    SELECT pg_notify(",
    channel!(),
    ", $6)"
);
const SNAPSHOT: &str = "INSERT INTO snapshots (seq, digest, state, at) \
    VALUES ($1, $2, $3, coalesce((SELECT max(at) FROM log WHERE seq = $1), $4)) \
    ON CONFLICT (seq) DO UPDATE SET digest = excluded.digest, state = excluded.state, at = excluded.at";
const FOUND: &str = "SELECT count(*) FROM tasks WHERE id = ANY($1)";
const SNAPSHOTS: &str = "SELECT seq FROM snapshots ORDER BY seq DESC";
const REMOVE_SNAPSHOTS: &str = "DELETE FROM snapshots WHERE seq = ANY($1)";

/// Writes `batch`. After an error, or if the future is dropped, the connection must not be used again.
pub(super) async fn write(connection: &mut PgConnection, batch: &Batch) -> Result<Committed, StoreError> {
    let mut transaction = connection.begin().await?;
    let (fence, last_record, last_event, last_ended): (i64, i64, i64, i64) = sqlx::query_as(LEASE)
        .bind(batch.records.len() as i64)
        .bind(batch.events.len() as i64)
        .bind(ended::greatest(batch)?)
        .fetch_one(&mut *transaction)
        .await?;
    if rows::number("lease", fence)? != batch.fence.0 {
        transaction.rollback().await?;
        return Ok(Committed::Fenced);
    }
    rows::check_order(rows::number("lease", last_record)?, rows::number("lease", last_event)?, batch)?;
    let back = super::ended::revive(&mut transaction, batch, last_ended).await?;
    insert(&mut transaction, batch).await?;
    super::ended::retire(&mut transaction, batch, &back).await?;
    if let Some(snapshot) = &batch.snapshot {
        insert_snapshot(&mut transaction, snapshot).await?;
        thin_snapshots(&mut transaction).await?;
    }
    transaction.commit().await?;
    Ok(Committed::Done)
}

/// All of a batch but its snapshot, within a transaction.
pub(super) async fn insert(connection: &mut PgConnection, batch: &Batch) -> Result<(), StoreError> {
    insert_records(connection, &batch.records).await?;
    // Before what refers to them.
    insert_tasks(connection, &batch.tasks).await?;
    insert_programs(connection, &batch.programs).await?;
    all_have_tasks(connection, batch).await?;
    insert_runs(connection, &batch.runs).await?;
    if let Some(rights) = &batch.rights {
        insert_rights(connection, rights).await?;
    }
    insert_events(connection, &batch.events).await
}

/// Nothing refers to what is not there. Looked up for all runs at once: by references of the tables it would be row by row.
async fn all_have_tasks(connection: &mut PgConnection, batch: &Batch) -> Result<(), StoreError> {
    let here: BTreeSet<TaskId> = batch.tasks.iter().map(|task| task.id).collect();
    let elsewhere: BTreeSet<TaskId> =
        batch.runs.iter().map(|run| run.task).filter(|task| !here.contains(task)).collect();
    if elsewhere.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = elsewhere.iter().map(|task| rows::task_id(*task)).collect::<Result<_, _>>()?;
    let found: i64 = sqlx::query_scalar(FOUND).bind(ids).fetch_one(connection).await?;
    if usize::try_from(found).is_ok_and(|found| found == elsewhere.len()) {
        return Ok(());
    }
    let problem = format!("a run is of one of the tasks {elsewhere:?}, not all of which are there");
    Err(StoreError::Unsuitable { store: "for this batch".to_owned(), problem })
}

/// One column of all rows.
fn column<T, U>(items: &[T], value: impl Fn(&T) -> U) -> Vec<U> {
    items.iter().map(value).collect()
}

/// The same, where a value may not be one that can be stored.
fn checked<T, U>(items: &[T], value: impl Fn(&T) -> Result<U, StoreError>) -> Result<Vec<U>, StoreError> {
    items.iter().map(value).collect()
}

async fn insert_records(connection: &mut PgConnection, records: &[Record]) -> Result<(), StoreError> {
    if records.is_empty() {
        return Ok(());
    }
    let (kinds, bodies): (Vec<&str>, Vec<String>) =
        checked(records, |record| rows::entry_columns(&record.entry))?.into_iter().unzip();
    sqlx::query(LOG)
        .bind(checked(records, |record| rows::integer("a log record's number", record.seq))?)
        .bind(column(records, |record| record.at.as_ms()))
        .bind(kinds)
        .bind(bodies)
        .bind(column(records, |record| record.digest.map(|digest| digest.0.to_vec())))
        .bind(column(records, |record| record.by.as_ref().map(|by| by.as_str().to_owned())))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn insert_tasks(connection: &mut PgConnection, tasks: &[TaskView]) -> Result<(), StoreError> {
    // One statement can change a row only once: the last word counts.
    let tasks: BTreeMap<TaskId, &TaskView> = tasks.iter().map(|task| (task.id, task)).collect();
    let tasks: Vec<&TaskView> = tasks.into_values().collect();
    if tasks.is_empty() {
        return Ok(());
    }
    sqlx::query(TASKS)
        .bind(checked(&tasks, |task| rows::task_id(task.id))?)
        .bind(column(&tasks, |task| task.spec.name.as_bytes().to_vec()))
        .bind(column(&tasks, |task| task.spec.user.as_str().to_owned()))
        .bind(column(&tasks, |task| task.spec.group.as_str().to_owned()))
        .bind(column(&tasks, |task| i64::from(task.spec.priority.number())))
        .bind(column(&tasks, |task| task.state.word()))
        .bind(column(&tasks, |task| task.outcome.as_ref().map(Outcome::word)))
        .bind(column(&tasks, |task| task.submitted_at.as_ms()))
        .bind(column(&tasks, |task| task.ended_at.map(Time::as_ms)))
        .bind(checked(&tasks, |task| rows::to_json("a task", *task))?)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn insert_programs(
    connection: &mut PgConnection,
    programs: &[(TaskId, Program)],
) -> Result<(), StoreError> {
    if programs.is_empty() {
        return Ok(());
    }
    sqlx::query(PROGRAMS)
        .bind(checked(programs, |(task, _)| rows::task_id(*task))?)
        .bind(checked(programs, |(_, program)| rows::to_json("a program", program))?)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn insert_runs(connection: &mut PgConnection, runs: &[RunView]) -> Result<(), StoreError> {
    let runs: BTreeMap<_, &RunView> = runs.iter().map(|run| (run.id, run)).collect();
    let runs: Vec<&RunView> = runs.into_values().collect();
    if runs.is_empty() {
        return Ok(());
    }
    sqlx::query(RUNS)
        .bind(checked(&runs, |run| rows::integer("a run's number", run.id.0))?)
        .bind(checked(&runs, |run| rows::task_id(run.task))?)
        .bind(column(&runs, |run| rows::phase(run.phase)))
        .bind(column(&runs, |run| run.decided_at.as_ms()))
        .bind(column(&runs, |run| run.ended_at.map(Time::as_ms)))
        .bind(checked(&runs, |run| rows::integer("a run's number of workers", run.workers.len() as u64))?)
        .bind(checked(&runs, |run| rows::run_json(run))?)
        .execute(&mut *connection)
        .await?;
    let workers: Vec<_> = runs
        .iter()
        .flat_map(|run| run.workers.iter().enumerate().map(|(rank, worker)| (run.id, rank as u64, worker)))
        .collect();
    if workers.is_empty() {
        return Ok(());
    }
    sqlx::query(WORKERS)
        .bind(checked(&workers, |(run, ..)| rows::integer("a run's number", run.0))?)
        .bind(checked(&workers, |(_, rank, _)| rows::integer("a rank", *rank))?)
        .bind(column(&workers, |(.., worker)| worker.place.node.as_str().to_owned()))
        .bind(checked(&workers, |(.., worker)| rows::to_json("a worker", *worker))?)
        .execute(connection)
        .await?;
    Ok(())
}

async fn insert_rights(connection: &mut PgConnection, rights: &[RightRow]) -> Result<(), StoreError> {
    sqlx::query(CLEAR_RIGHTS).execute(&mut *connection).await?;
    let positions: Vec<i64> = (0..).take(rights.len()).collect();
    sqlx::query(RIGHTS)
        .bind(positions)
        .bind(column(rights, |right| right.key.user.as_ref().map(|user| user.as_str().to_owned())))
        .bind(column(rights, |right| right.key.group.as_ref().map(|group| group.as_str().to_owned())))
        .bind(column(rights, |right| right.key.priority.map(|priority| i64::from(priority.number()))))
        .bind(checked(rights, |right| rows::to_json("a right", right))?)
        .execute(connection)
        .await?;
    Ok(())
}

async fn insert_events(connection: &mut PgConnection, events: &[Event]) -> Result<(), StoreError> {
    let Some(last) = events.last() else { return Ok(()) };
    sqlx::query(EVENTS)
        .bind(checked(events, |event| rows::integer("an event's number", event.id))?)
        .bind(column(events, |event| event.at.as_ms()))
        .bind(checked(events, |event| rows::task_id(event.task.id))?)
        .bind(column(events, |event| event.user.as_str().to_owned()))
        .bind(checked(events, |event| rows::to_json("an event's task", &event.task))?)
        .bind(last.id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn insert_snapshot(connection: &mut PgConnection, snapshot: &Snapshot) -> Result<(), StoreError> {
    sqlx::query(SNAPSHOT)
        .bind(rows::integer("a snapshot's number", snapshot.seq)?)
        .bind(snapshot.digest.0.to_vec())
        .bind(rows::to_json("a snapshot", &snapshot.state)?)
        .bind(snapshot.state.now().as_ms())
        .execute(connection)
        .await?;
    Ok(())
}

/// Old snapshots become fewer.
async fn thin_snapshots(connection: &mut PgConnection) -> Result<(), StoreError> {
    let kept: Vec<i64> = sqlx::query_scalar(SNAPSHOTS).fetch_all(&mut *connection).await?;
    let kept = checked(&kept, |seq| rows::number("snapshots", *seq))?;
    let going = column(&thin::dispensable(&kept), |seq| rows::bound(*seq));
    if !going.is_empty() {
        sqlx::query(REMOVE_SNAPSHOTS).bind(going).execute(connection).await?;
    }
    Ok(())
}
