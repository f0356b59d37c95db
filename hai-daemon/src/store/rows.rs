//! From plain data to rows and back, the same for every database.

use hai_core::backend::{Digest, Entry, Event, Record, Snapshot};
use hai_core::model::{RunPhase, RunView, TaskId, TaskState, TaskView, Time, UserName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use super::moving::StoredUser;
use super::{Counts, Role, StoreError, TaskPage, User};

/// A row's columns, by position.
pub(super) trait Columns {
    fn integer(&self, at: usize) -> Result<i64, sqlx::Error>;
    fn text(&self, at: usize) -> Result<&str, sqlx::Error>;
    fn some_text(&self, at: usize) -> Result<Option<&str>, sqlx::Error>;
    fn bytes(&self, at: usize) -> Result<&[u8], sqlx::Error>;
    fn some_bytes(&self, at: usize) -> Result<Option<&[u8]>, sqlx::Error>;
}

macro_rules! columns_of {
    ($($row:ty),*) => {$(
        impl Columns for $row {
            fn integer(&self, at: usize) -> Result<i64, sqlx::Error> {
                self.try_get(at)
            }
            fn text(&self, at: usize) -> Result<&str, sqlx::Error> {
                self.try_get(at)
            }
            fn some_text(&self, at: usize) -> Result<Option<&str>, sqlx::Error> {
                self.try_get(at)
            }
            fn bytes(&self, at: usize) -> Result<&[u8], sqlx::Error> {
                self.try_get(at)
            }
            fn some_bytes(&self, at: usize) -> Result<Option<&[u8]>, sqlx::Error> {
                self.try_get(at)
            }
        }
    )*};
}
columns_of!(SqliteRow, PgRow);

const FACT: &str = "fact";
const ROUND: &str = "round";
const OPENED: &str = "opened";

/// How a task's kind stands in its JSON; what trains does not say so. In the text of a name a quote would be escaped.
pub(super) const ANY_KIND: &str = "\"kind\":{\"kind\":\"";

/// What must, and what must not, stand in the JSON of a task of one of these kinds.
pub(super) fn kinds(wanted: &[&str]) -> Vec<(String, bool)> {
    if wanted.is_empty() {
        return Vec::new();
    }
    let others = ["interactive", "background"].into_iter().filter(|kind| !wanted.contains(kind));
    let others = others.map(|kind| (format!("{ANY_KIND}{kind}\""), false));
    others.chain((!wanted.contains(&"training")).then(|| (ANY_KIND.to_owned(), true))).collect()
}

/// A number as a database's integer.
pub(super) fn integer(what: &'static str, value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::TooGreat { what, value })
}

/// A number to search for: those that can not be stored lie beyond all that are.
pub(super) fn bound(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number that was stored.
pub(super) fn number(table: &'static str, value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| damaged(table, value, "a number is negative"))
}

pub(super) fn damaged(table: &'static str, row: impl ToString, problem: impl ToString) -> StoreError {
    StoreError::Damaged { table, row: row.to_string(), problem: problem.to_string() }
}

pub(super) fn to_json<T: Serialize + ?Sized>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|source| StoreError::Encode { what, source })
}

pub(super) fn from_json<T: DeserializeOwned>(
    table: &'static str,
    row: impl ToString,
    text: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|problem| damaged(table, row, problem))
}

pub(super) fn digest(table: &'static str, row: i64, bytes: &[u8]) -> Result<Digest, StoreError> {
    bytes.try_into().map(Digest).map_err(|_| damaged(table, row, "a digest has 32 bytes"))
}

/// The columns `kind` and `body` of a record.
pub(super) fn entry_columns(entry: &Entry) -> Result<(&'static str, String), StoreError> {
    Ok(match entry {
        Entry::Fact(fact) => (FACT, to_json("a fact", fact)?),
        Entry::Round(decisions) => (ROUND, to_json("a round", decisions)?),
        Entry::Opened(opening) => (OPENED, to_json("an opening", opening)?),
    })
}

/// The column `phase` of a run.
pub(super) const fn phase(phase: RunPhase) -> &'static str {
    match phase {
        RunPhase::Starting => "starting",
        RunPhase::Running => "running",
        RunPhase::Vacating => "vacating",
        RunPhase::Ended => "ended",
    }
}

/// A gap would make the log worthless without anybody noticing until the next start.
pub(super) fn check_order(last: u64, records: &[Record]) -> Result<(), StoreError> {
    for (expected, record) in (last + 1..).zip(records) {
        if record.seq != expected {
            return Err(StoreError::Gap { expected, found: record.seq });
        }
    }
    Ok(())
}

/// A record from the columns `seq, at, kind, body, digest, by_user`.
pub(super) fn record(row: &impl Columns) -> Result<Record, StoreError> {
    let seq = row.integer(0)?;
    let body = row.text(3)?;
    let entry = match row.text(2)? {
        FACT => Entry::Fact(from_json("log", seq, body)?),
        ROUND => Entry::Round(from_json("log", seq, body)?),
        OPENED => Entry::Opened(from_json("log", seq, body)?),
        other => return Err(damaged("log", seq, format!("there is no kind {other:?}"))),
    };
    let digest = row.some_bytes(4)?.map(|bytes| digest("log", seq, bytes)).transpose()?;
    let by = row.some_text(5)?.map(UserName::new).transpose().map_err(|problem| damaged("log", seq, problem))?;
    Ok(Record { seq: number("log", seq)?, at: Time::from_ms(row.integer(1)?), by, entry, digest })
}

/// A snapshot from the columns `seq, digest, state`.
pub(super) fn snapshot(row: &impl Columns) -> Result<Snapshot, StoreError> {
    let seq = row.integer(0)?;
    let digest = digest("snapshots", seq, row.bytes(1)?)?;
    let state = from_json("snapshots", seq, row.text(2)?)?;
    Ok(Snapshot { seq: number("snapshots", seq)?, digest, state })
}

/// An event from the columns `id, at, user_name, body`.
pub(super) fn event(row: &impl Columns) -> Result<Event, StoreError> {
    let id = row.integer(0)?;
    let user = UserName::new(row.text(2)?).map_err(|problem| damaged("events", id, problem))?;
    let task = from_json("events", id, row.text(3)?)?;
    Ok(Event { id: number("events", id)?, at: Time::from_ms(row.integer(1)?), user, task })
}

/// The column `view` of a run: all but its workers, which have rows of their own.
pub(super) fn run_json(run: &RunView) -> Result<String, StoreError> {
    // Field by field, so that a new field can not be forgotten and the workers need not be cloned.
    let RunView {
        id,
        task,
        attempt,
        phase,
        decided_at,
        started_at,
        ended_at,
        checkpointed_at,
        whole_life_state,
        end,
        workers: _,
    } = run;
    let (started_at, ended_at, checkpointed_at) = (*started_at, *ended_at, *checkpointed_at);
    let whole_life_state = *whole_life_state;
    let (id, task, attempt, phase, decided_at) = (*id, *task, *attempt, *phase, *decided_at);
    let workers = Vec::new();
    let end = end.clone();
    let bare = RunView {
        id,
        task,
        attempt,
        phase,
        decided_at,
        started_at,
        ended_at,
        checkpointed_at,
        whole_life_state,
        end,
        workers,
    };
    to_json("a run", &bare)
}

/// A run from the columns `id, view`, and its workers' views by rank, with commas between.
pub(super) fn run(row: &impl Columns) -> Result<RunView, StoreError> {
    let id = row.integer(0)?;
    let mut run: RunView = from_json("runs", id, row.text(1)?)?;
    run.workers = from_json("workers", id, &format!("[{}]", row.some_text(2)?.unwrap_or_default()))?;
    Ok(run)
}

/// A task's view from the columns `id, view`.
pub(super) fn view<T: DeserializeOwned>(table: &'static str, row: &impl Columns) -> Result<T, StoreError> {
    from_json(table, row.integer(0)?, row.text(1)?)
}

/// A user from the columns `name, role, created_at, disabled`.
pub(super) fn user(row: &impl Columns) -> Result<User, StoreError> {
    let (name, role) = (row.text(0)?, row.text(1)?);
    Ok(User {
        name: UserName::new(name).map_err(|problem| damaged("users", name, problem))?,
        role: Role::from_word(role).ok_or_else(|| damaged("users", name, format!("there is no role {role:?}")))?,
        created_at: Time::from_ms(row.integer(2)?),
        disabled: row.integer(3)? != 0,
    })
}

/// A user as [`user`], and what is kept of their token.
pub(super) fn stored_user(row: &impl Columns, token_hash: &[u8]) -> Result<StoredUser, StoreError> {
    let user = user(row)?;
    let token_hash = token_hash.try_into().map_err(|_| damaged("users", &user.name, "a token's hash has 32 bytes"))?;
    Ok(StoredUser { user, token_hash })
}

/// How many tasks there are, from rows of `state, outcome, count`.
pub(super) fn counts(rows: &[impl Columns]) -> Result<Counts, StoreError> {
    let mut counts = Counts::default();
    for row in rows {
        let (word, outcome) = (row.text(0)?, row.some_text(1)?);
        let count = number("tasks", row.integer(2)?)?;
        let state = STATES
            .into_iter()
            .find(|state| state.word() == word)
            .ok_or_else(|| damaged("tasks", "any", format!("there is no state {word:?}")))?;
        *counts.states.entry(state).or_default() += count;
        if let Some(outcome) = outcome {
            *counts.outcomes.entry(outcome.to_owned()).or_default() += count;
        }
    }
    Ok(counts)
}

/// A page from rows of `id, view`, of which there may be one more than `limit`: then there is a next page.
pub(super) fn page(rows: &[impl Columns], limit: u32) -> Result<TaskPage, StoreError> {
    let kept = rows.len().min(limit as usize);
    let tasks = rows[..kept].iter().map(|row| view("tasks", row)).collect::<Result<Vec<TaskView>, _>>()?;
    let next_before = if rows.len() > kept { tasks.last().map(|task| task.id) } else { None };
    Ok(TaskPage { tasks, next_before })
}

const STATES: [TaskState; 9] = [
    TaskState::Waiting,
    TaskState::Suspended,
    TaskState::Promised,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Suspending,
    TaskState::Stopping,
    TaskState::Held,
    TaskState::Finished,
];

/// The number of a task, to bind.
pub(super) fn task_id(task: TaskId) -> Result<i64, StoreError> {
    integer("a task's number", task.0)
}
