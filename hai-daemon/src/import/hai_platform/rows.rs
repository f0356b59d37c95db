//! A row of an upstream table, as the JSON that the server makes of it: read column by column, each mistake with its column.

use hai_core::model::Time;
use serde_json::{Map, Value};

use super::report::Remark;

/// Tables that are read row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Nodes.
    Host,
    /// Who there is.
    User,
    /// Who is in which group of users.
    UserGroup,
    /// Images by name.
    TrainEnvironment,
    /// What was set for a chain of tasks while it was there.
    TaskRuntimeConfig,
    /// Who may have how much.
    Quota,
    /// Tasks that wait or run.
    UnfinishedTask,
}

impl Table {
    /// All of them, in the order in which they are to be read.
    pub const ALL: [Table; 7] = [
        Table::Host,
        Table::User,
        Table::UserGroup,
        Table::TrainEnvironment,
        Table::TaskRuntimeConfig,
        Table::Quota,
        Table::UnfinishedTask,
    ];

    /// Its name there.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Table::Host => "host",
            Table::User => "user",
            Table::UserGroup => "user_group",
            Table::TrainEnvironment => "train_environment",
            Table::TaskRuntimeConfig => "task_runtime_config",
            Table::Quota => "quota",
            Table::UnfinishedTask => "unfinished_task_ng",
        }
    }

    /// The columns that tell a row from others.
    const fn key(self) -> &'static [&'static str] {
        match self {
            Table::Host => &["node"],
            Table::User => &["user_name"],
            Table::UserGroup => &["user_name", "group"],
            Table::TrainEnvironment => &["env_name"],
            Table::TaskRuntimeConfig => &["chain_id", "task_id", "source"],
            Table::Quota => &["user_name", "resource"],
            Table::UnfinishedTask => &["id"],
        }
    }
}

/// A row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) table: Table,
    pub(super) key: String,
    columns: Map<String, Value>,
}

impl Row {
    /// Reads what the server made of a row.
    pub(super) fn read(table: Table, json: &str) -> Result<Self, Remark> {
        let wrong =
            |reason: String| Remark { table: table.name(), key: "?".to_owned(), column: "all".to_owned(), reason };
        let columns: Map<String, Value> = serde_json::from_str(json).map_err(|error| wrong(error.to_string()))?;
        let part = |name: &&str| match columns.get(*name) {
            Some(Value::String(text)) => Some(plain(text)),
            None | Some(Value::Null) => None,
            Some(other) => Some(other.to_string()),
        };
        let key = table.key().iter().filter_map(part).collect::<Vec<_>>().join("/");
        Ok(Row { table, key, columns })
    }

    /// What there is to say of a column.
    pub(super) fn remark(&self, column: &str, reason: impl Into<String>) -> Remark {
        Remark { table: self.table.name(), key: self.key.clone(), column: column.to_owned(), reason: reason.into() }
    }

    fn get(&self, column: &str) -> Option<&Value> {
        self.columns.get(column).filter(|value| !value.is_null())
    }

    pub(super) fn some_text(&self, column: &str) -> Result<Option<&str>, Remark> {
        match self.get(column) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.remark(column, "it is no text")),
        }
    }

    /// A text that is not empty.
    pub(super) fn text(&self, column: &str) -> Result<&str, Remark> {
        match self.some_text(column)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(self.remark(column, "it is empty")),
        }
    }

    pub(super) fn some_integer(&self, column: &str) -> Result<Option<i64>, Remark> {
        match self.get(column) {
            None => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| self.remark(column, "it is no whole number")),
        }
    }

    pub(super) fn integer(&self, column: &str) -> Result<i64, Remark> {
        self.some_integer(column)?.ok_or_else(|| self.remark(column, "it is empty"))
    }

    pub(super) fn flag(&self, column: &str, default: bool) -> Result<bool, Remark> {
        match self.get(column) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.remark(column, "it is neither true nor false")),
        }
    }

    /// An object of JSON, also one that was written as text.
    pub(super) fn object(&self, column: &str) -> Result<Map<String, Value>, Remark> {
        match self.get(column) {
            Some(Value::Object(object)) => Ok(object.clone()),
            Some(Value::String(text)) => {
                serde_json::from_str(text).map_err(|error| self.remark(column, format!("it is no JSON: {error}")))
            }
            Some(_) => Err(self.remark(column, "it is no object of JSON")),
            None => Err(self.remark(column, "it is empty")),
        }
    }

    /// A time without a zone, read as so many seconds east of Greenwich. `None` is never.
    pub(super) fn time(&self, column: &str, east: i64) -> Result<Option<Time>, Remark> {
        let Some(text) = self.some_text(column)? else { return Ok(None) };
        if text == "infinity" {
            return Ok(None);
        }
        let read = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
            .map_err(|_| self.remark(column, format!("{} is no time", quoted(text))))?;
        let ms = read.and_utc().timestamp_millis().saturating_sub(east.saturating_mul(1000));
        Ok(Some(Time::from_ms(ms)))
    }
}

/// A text for a line of a report.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

/// A text between quotes, cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    let shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() { format!("{shown:?}…") } else { format!("{shown:?}") }
}
