//! Writing one batch in one transaction, or nothing of it.

use std::sync::LazyLock;

use hai_core::backend::{Batch, Committed, Event, Record, Snapshot};
use hai_core::model::{Outcome, Program, RightRow, RunId, RunView, TaskId, TaskView, Time, WorkerView};
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, Connection, Encode, Row, Sqlite, SqliteConnection, Type};

use super::connect::BEGIN;
use super::ended;
use super::insert::Insert;
use crate::store::{StoreError, rows, thin};

const STATE: &str = "SELECT fence, (SELECT coalesce(max(seq), 0) FROM log), (SELECT coalesce(max(id), 0) FROM events), \
    (SELECT coalesce(max(id), 0) FROM ended) FROM lease";
const CLEAR_RIGHTS: &str = "DELETE FROM rights";
const SNAPSHOT: &str = "INSERT OR REPLACE INTO snapshots (seq, digest, state, at) \
    VALUES ($1, $2, $3, coalesce((SELECT at FROM log WHERE seq = $1), $4))";
const SNAPSHOTS: &str = "SELECT seq FROM snapshots ORDER BY seq DESC";
const REMOVE_SNAPSHOT: &str = "DELETE FROM snapshots WHERE seq = ?";

static LOG: LazyLock<Insert> =
    LazyLock::new(|| Insert::new("INSERT INTO log (seq, at, kind, body, digest, by_user) VALUES", 6, ""));
static TASKS: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new(
        "INSERT INTO tasks (id, name, user_name, group_name, priority, state, outcome, submitted_at, ended_at, view) VALUES",
        10,
        "ON CONFLICT (id) DO UPDATE SET name = excluded.name, user_name = excluded.user_name, \
         group_name = excluded.group_name, priority = excluded.priority, state = excluded.state, \
         outcome = excluded.outcome, submitted_at = excluded.submitted_at, ended_at = excluded.ended_at, \
         view = excluded.view",
    )
});
static PROGRAMS: LazyLock<Insert> = LazyLock::new(|| Insert::new("INSERT INTO programs (task, body) VALUES", 2, ""));
static RUNS: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new(
        "INSERT INTO runs (id, task, phase, decided_at, ended_at, workers, view) VALUES",
        7,
        "ON CONFLICT (id) DO UPDATE SET task = excluded.task, phase = excluded.phase, \
         decided_at = excluded.decided_at, ended_at = excluded.ended_at, workers = excluded.workers, \
         view = excluded.view",
    )
});
// Of a big run's workers few change at a time.
static WORKERS: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new(
        "INSERT INTO workers (run, rank, node, view) VALUES",
        4,
        "ON CONFLICT (run, rank) DO UPDATE SET node = excluded.node, view = excluded.view \
         WHERE view <> excluded.view",
    )
});
static RIGHTS: LazyLock<Insert> =
    LazyLock::new(|| Insert::new("INSERT INTO rights (position, user_name, group_name, priority, body) VALUES", 5, ""));
static EVENTS: LazyLock<Insert> =
    LazyLock::new(|| Insert::new("INSERT INTO events (id, at, task, user_name, body) VALUES", 5, ""));

/// Writes `batch`. After an error, or if the future is dropped, the connection must not be used again.
pub(super) async fn write(connection: &mut SqliteConnection, batch: &Batch) -> Result<Committed, StoreError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let row = sqlx::query(STATE).fetch_one(&mut *transaction).await?;
    if rows::number("lease", row.try_get(0)?)? != batch.fence.0 {
        transaction.rollback().await?;
        return Ok(Committed::Fenced);
    }
    rows::check_order(rows::number("log", row.try_get(1)?)?, rows::number("events", row.try_get(2)?)?, batch)?;
    let back = ended::revive(&mut transaction, batch, row.try_get(3)?).await?;
    insert(&mut transaction, batch).await?;
    ended::retire(&mut transaction, batch, &back).await?;
    if let Some(snapshot) = &batch.snapshot {
        insert_snapshot(&mut transaction, snapshot).await?;
        thin_snapshots(&mut transaction).await?;
    }
    transaction.commit().await?;
    Ok(Committed::Done)
}

/// All of a batch but its snapshot, within a transaction.
pub(super) async fn insert(connection: &mut SqliteConnection, batch: &Batch) -> Result<(), StoreError> {
    LOG.all(connection, &batch.records, bind_record).await?;
    insert_tasks(connection, &batch.tasks, &batch.programs, &batch.runs).await?;
    if let Some(rights) = &batch.rights {
        sqlx::query(CLEAR_RIGHTS).execute(&mut *connection).await?;
        let rights: Vec<(usize, &RightRow)> = rights.iter().enumerate().collect();
        RIGHTS.all(connection, &rights, bind_right).await?;
    }
    EVENTS.all(connection, &batch.events, bind_event).await
}

/// Tasks with what belongs to them, in the order in which they refer to each other.
pub(super) async fn insert_tasks(
    connection: &mut SqliteConnection,
    tasks: &[TaskView],
    programs: &[(TaskId, Program)],
    runs: &[RunView],
) -> Result<(), StoreError> {
    TASKS.all(connection, tasks, bind_task).await?;
    PROGRAMS.all(connection, programs, bind_program).await?;
    RUNS.all(connection, runs, bind_run).await?;
    WORKERS.all(connection, &workers(runs), bind_worker).await
}

pub(super) async fn insert_snapshot(connection: &mut SqliteConnection, snapshot: &Snapshot) -> Result<(), StoreError> {
    sqlx::query_with(SNAPSHOT, snapshot_arguments(snapshot)?).execute(connection).await?;
    Ok(())
}

/// Old snapshots become fewer.
async fn thin_snapshots(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let kept: Vec<i64> = sqlx::query_scalar(SNAPSHOTS).fetch_all(&mut *connection).await?;
    let kept = kept.into_iter().map(|seq| rows::number("snapshots", seq)).collect::<Result<Vec<_>, _>>()?;
    for seq in thin::dispensable(&kept) {
        sqlx::query(REMOVE_SNAPSHOT).bind(rows::bound(seq)).execute(&mut *connection).await?;
    }
    Ok(())
}

fn bind<T>(arguments: &mut SqliteArguments, value: T) -> Result<(), StoreError>
where
    T: for<'t> Encode<'t, Sqlite> + Type<Sqlite>,
{
    arguments.add(value).map_err(|problem| StoreError::Database(sqlx::Error::Encode(problem)))
}

fn bind_record(record: &Record, arguments: &mut SqliteArguments) -> Result<(), StoreError> {
    let (kind, body) = rows::entry_columns(&record.entry)?;
    bind(arguments, rows::integer("a log record's number", record.seq)?)?;
    bind(arguments, record.at.as_ms())?;
    bind(arguments, kind.to_owned())?;
    bind(arguments, body)?;
    bind(arguments, record.digest.map(|digest| digest.0.to_vec()))?;
    bind(arguments, record.by.as_ref().map(|by| by.as_str().to_owned()))
}

fn bind_task(task: &TaskView, arguments: &mut SqliteArguments) -> Result<(), StoreError> {
    bind(arguments, rows::task_id(task.id)?)?;
    bind(arguments, task.spec.name.clone())?;
    bind(arguments, task.spec.user.as_str().to_owned())?;
    bind(arguments, task.spec.group.as_str().to_owned())?;
    bind(arguments, i64::from(task.spec.priority.number()))?;
    bind(arguments, task.state.word().to_owned())?;
    bind(arguments, task.outcome.as_ref().map(|outcome| Outcome::word(outcome).to_owned()))?;
    bind(arguments, task.submitted_at.as_ms())?;
    bind(arguments, task.ended_at.map(Time::as_ms))?;
    bind(arguments, rows::to_json("a task", task)?)
}

fn bind_program((task, program): &(TaskId, Program), arguments: &mut SqliteArguments) -> Result<(), StoreError> {
    bind(arguments, rows::task_id(*task)?)?;
    bind(arguments, rows::to_json("a program", program)?)
}

fn bind_run(run: &RunView, arguments: &mut SqliteArguments) -> Result<(), StoreError> {
    bind(arguments, rows::integer("a run's number", run.id.0)?)?;
    bind(arguments, rows::task_id(run.task)?)?;
    bind(arguments, rows::phase(run.phase).to_owned())?;
    bind(arguments, run.decided_at.as_ms())?;
    bind(arguments, run.ended_at.map(Time::as_ms))?;
    bind(arguments, rows::integer("a run's number of workers", run.workers.len() as u64)?)?;
    bind(arguments, rows::run_json(run)?)
}

type RankedWorker<'a> = (RunId, usize, &'a WorkerView);

fn workers(runs: &[RunView]) -> Vec<RankedWorker<'_>> {
    runs.iter().flat_map(|run| run.workers.iter().enumerate().map(|(rank, worker)| (run.id, rank, worker))).collect()
}

fn bind_worker((run, rank, worker): &RankedWorker<'_>, arguments: &mut SqliteArguments) -> Result<(), StoreError> {
    bind(arguments, rows::integer("a run's number", run.0)?)?;
    bind(arguments, rows::integer("a rank", *rank as u64)?)?;
    bind(arguments, worker.place.node.as_str().to_owned())?;
    bind(arguments, rows::to_json("a worker", worker)?)
}

fn bind_right((position, right): &(usize, &RightRow), arguments: &mut SqliteArguments) -> Result<(), StoreError> {
    bind(arguments, rows::integer("a right's position", *position as u64)?)?;
    bind(arguments, right.key.user.as_ref().map(|user| user.as_str().to_owned()))?;
    bind(arguments, right.key.group.as_ref().map(|group| group.as_str().to_owned()))?;
    bind(arguments, right.key.priority.map(|priority| i64::from(priority.number())))?;
    bind(arguments, rows::to_json("a right", right)?)
}

fn bind_event(event: &Event, arguments: &mut SqliteArguments) -> Result<(), StoreError> {
    bind(arguments, rows::integer("an event's number", event.id)?)?;
    bind(arguments, event.at.as_ms())?;
    bind(arguments, rows::task_id(event.task.id)?)?;
    bind(arguments, event.user.as_str().to_owned())?;
    bind(arguments, rows::to_json("an event's task", &event.task)?)
}

fn snapshot_arguments(snapshot: &Snapshot) -> Result<SqliteArguments, StoreError> {
    let mut arguments = SqliteArguments::default();
    bind(&mut arguments, rows::integer("a snapshot's number", snapshot.seq)?)?;
    bind(&mut arguments, snapshot.digest.0.to_vec())?;
    bind(&mut arguments, rows::to_json("a snapshot", &snapshot.state)?)?;
    bind(&mut arguments, snapshot.state.now().as_ms())?;
    Ok(arguments)
}
