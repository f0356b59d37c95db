//! From plain data to rows and back.

use hai_core::backend::{Digest, Entry, Event, Record, Snapshot};
use hai_core::model::{RunView, TaskId, Time, UserName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::SqliteError;

const FACT: &str = "fact";
const ROUND: &str = "round";
const OPENED: &str = "opened";

/// A number as SQLite's integer.
pub(super) fn integer(what: &'static str, value: u64) -> Result<i64, SqliteError> {
    i64::try_from(value).map_err(|_| SqliteError::TooGreat { what, value })
}

/// A number to search for: those that can not be stored lie beyond all that are.
pub(super) fn bound(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number that was stored.
pub(super) fn number(table: &'static str, value: i64) -> Result<u64, SqliteError> {
    u64::try_from(value).map_err(|_| damaged(table, value, "a number is negative"))
}

pub(super) fn damaged(table: &'static str, row: impl ToString, problem: impl ToString) -> SqliteError {
    SqliteError::Damaged { table, row: row.to_string(), problem: problem.to_string() }
}

pub(super) fn to_json<T: Serialize + ?Sized>(what: &'static str, value: &T) -> Result<String, SqliteError> {
    serde_json::to_string(value).map_err(|source| SqliteError::Encode { what, source })
}

pub(super) fn from_json<T: DeserializeOwned>(
    table: &'static str,
    row: impl ToString,
    text: &str,
) -> Result<T, SqliteError> {
    serde_json::from_str(text).map_err(|problem| damaged(table, row, problem))
}

pub(super) fn digest(table: &'static str, row: i64, bytes: &[u8]) -> Result<Digest, SqliteError> {
    bytes.try_into().map(Digest).map_err(|_| damaged(table, row, "a digest has 32 bytes"))
}

/// The columns `kind` and `body` of a record.
pub(super) fn entry_columns(entry: &Entry) -> Result<(&'static str, String), SqliteError> {
    Ok(match entry {
        Entry::Fact(fact) => (FACT, to_json("a fact", fact)?),
        Entry::Round(decisions) => (ROUND, to_json("a round", decisions)?),
        Entry::Opened(opening) => (OPENED, to_json("an opening", opening)?),
    })
}

/// A record from the columns `seq, at, kind, body, digest, by_user`.
pub(super) fn record(row: &SqliteRow) -> Result<Record, SqliteError> {
    let seq: i64 = row.try_get(0)?;
    let body: &str = row.try_get(3)?;
    let entry = match row.try_get(2)? {
        FACT => Entry::Fact(from_json("log", seq, body)?),
        ROUND => Entry::Round(from_json("log", seq, body)?),
        OPENED => Entry::Opened(from_json("log", seq, body)?),
        other => return Err(damaged("log", seq, format!("there is no kind {other:?}"))),
    };
    let bytes: Option<&[u8]> = row.try_get(4)?;
    let digest = bytes.map(|bytes| digest("log", seq, bytes)).transpose()?;
    let by: Option<&str> = row.try_get(5)?;
    let by = by.map(UserName::new).transpose().map_err(|problem| damaged("log", seq, problem))?;
    Ok(Record { seq: number("log", seq)?, at: Time::from_ms(row.try_get(1)?), by, entry, digest })
}

/// A snapshot from the columns `seq, digest, state`.
pub(super) fn snapshot(row: &SqliteRow) -> Result<Snapshot, SqliteError> {
    let seq: i64 = row.try_get(0)?;
    let digest = digest("snapshots", seq, row.try_get(1)?)?;
    let state = from_json("snapshots", seq, row.try_get(2)?)?;
    Ok(Snapshot { seq: number("snapshots", seq)?, digest, state })
}

/// An event from the columns `id, at, user_name, body`.
pub(super) fn event(row: &SqliteRow) -> Result<Event, SqliteError> {
    let id: i64 = row.try_get(0)?;
    let user = UserName::new(row.try_get::<&str, _>(2)?).map_err(|problem| damaged("events", id, problem))?;
    let task = from_json("events", id, row.try_get(3)?)?;
    Ok(Event { id: number("events", id)?, at: Time::from_ms(row.try_get(1)?), user, task })
}

/// The column `view` of a run: all but its workers, which have rows of their own.
pub(super) fn run_json(run: &RunView) -> Result<String, SqliteError> {
    // Field by field, so that a new field can not be forgotten and the workers need not be cloned.
    let RunView { id, task, attempt, phase, decided_at, started_at, ended_at, checkpointed_at, end, workers: _ } = run;
    let (started_at, ended_at, checkpointed_at) = (*started_at, *ended_at, *checkpointed_at);
    let (id, task, attempt, phase, decided_at) = (*id, *task, *attempt, *phase, *decided_at);
    let workers = Vec::new();
    let end = end.clone();
    let bare = RunView { id, task, attempt, phase, decided_at, started_at, ended_at, checkpointed_at, end, workers };
    to_json("a run", &bare)
}

/// A run from the columns `id, view`, and its workers' views by rank, with commas between.
pub(super) fn run(row: &SqliteRow) -> Result<RunView, SqliteError> {
    let id: i64 = row.try_get(0)?;
    let mut run: RunView = from_json("runs", id, row.try_get(1)?)?;
    let workers: Option<&str> = row.try_get(2)?;
    run.workers = from_json("workers", id, &format!("[{}]", workers.unwrap_or_default()))?;
    Ok(run)
}

/// A task's view from the columns `id, view`.
pub(super) fn view<T: DeserializeOwned>(table: &'static str, row: &SqliteRow) -> Result<T, SqliteError> {
    from_json(table, row.try_get::<i64, _>(0)?, row.try_get(1)?)
}

/// The number of a task, to bind.
pub(super) fn task_id(task: TaskId) -> Result<i64, SqliteError> {
    integer("a task's number", task.0)
}
