//! The question for a page of tasks, of those that have not ended and of history, the same for every database.

use std::collections::BTreeSet;

use hai_core::model::{TaskId, TaskState};
use sqlx::{Database, Encode, QueryBuilder, Type};

use super::{TaskFilter, rows};

/// Where tasks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// Those that have not ended.
    Tasks,
    /// Those that have.
    Ended,
}

impl Table {
    const fn name(self) -> &'static str {
        match self {
            Table::Tasks => "tasks",
            Table::Ended => "ended",
        }
    }

    /// Those that can hold what the filter wants.
    fn of(filter: &TaskFilter) -> Vec<Table> {
        let wants =
            |finished| filter.states.is_empty() || filter.states.iter().any(|state| is_finished(*state) == finished);
        let mut tables = Vec::new();
        tables.extend((wants(false) && filter.outcomes.is_empty()).then_some(Table::Tasks));
        tables.extend(wants(true).then_some(Table::Ended));
        tables
    }
}

fn is_finished(state: TaskState) -> bool {
    state == TaskState::Finished
}

/// A condition on a text, which is where databases differ.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text<'t> {
    /// The name is this.
    Named(&'t str),
    /// The name holds this.
    NameHas(&'t str),
    /// The view holds this.
    ViewHas(&'t str),
}

/// At most `limit` rows of `id, view`, the newest first; `None` if there can be none. `text` adds a condition on a task of this
/// table.
pub(super) fn tasks<DB: Database>(
    filter: &TaskFilter,
    before: Option<TaskId>,
    limit: u32,
    text: impl Fn(&mut QueryBuilder<DB>, Table, Text<'_>),
) -> Option<QueryBuilder<DB>>
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut sql = QueryBuilder::new("");
    match Table::of(filter)[..] {
        [] => return None,
        [one] => part(&mut sql, one, filter, before, limit, &text),
        // Each by its own index, and no more of either than could be needed.
        ref both => {
            for (at, table) in both.iter().enumerate() {
                sql.push(if at > 0 { " UNION ALL SELECT id, view FROM (" } else { "SELECT id, view FROM (" });
                part(&mut sql, *table, filter, before, limit, &text);
                sql.push(") AS of_").push(table.name());
            }
            sql.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(limit));
        }
    }
    Some(sql)
}

/// How many there are, whatever the page.
pub(super) fn count<DB: Database>(
    filter: &TaskFilter,
    text: impl Fn(&mut QueryBuilder<DB>, Table, Text<'_>),
) -> QueryBuilder<DB>
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut sql = QueryBuilder::new("SELECT 0");
    for table in Table::of(filter) {
        sql.push(" + (SELECT count(*) FROM ").push(table.name());
        conditions(&mut sql, table, filter, None, &text);
        sql.push(")");
    }
    sql
}

fn part<DB: Database>(
    sql: &mut QueryBuilder<DB>,
    table: Table,
    filter: &TaskFilter,
    before: Option<TaskId>,
    limit: u32,
    text: &impl Fn(&mut QueryBuilder<DB>, Table, Text<'_>),
) where
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    sql.push("SELECT id, view FROM ").push(table.name());
    conditions(sql, table, filter, before, text);
    sql.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(limit));
}

fn conditions<DB: Database>(
    sql: &mut QueryBuilder<DB>,
    table: Table,
    filter: &TaskFilter,
    before: Option<TaskId>,
    text: &impl Fn(&mut QueryBuilder<DB>, Table, Text<'_>),
) where
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    sql.push(" WHERE TRUE");
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
    match table {
        Table::Tasks => among(sql, "state", filter.states.iter().map(|state| state.word().to_owned())),
        Table::Ended => among(sql, "outcome", filter.outcomes.iter().cloned()),
    }
    for (part, there) in rows::kinds(&filter.kinds) {
        sql.push(if there { " AND " } else { " AND NOT " });
        text(sql, table, Text::ViewHas(&part));
    }
    if let Some(name) = &filter.name {
        sql.push(" AND ");
        text(sql, table, Text::Named(name));
    }
    if let Some(part) = &filter.name_contains {
        sql.push(" AND ");
        text(sql, table, Text::NameHas(part));
    }
}

fn among<DB: Database>(sql: &mut QueryBuilder<DB>, column: &'static str, words: impl Iterator<Item = String>)
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    let words: BTreeSet<String> = words.collect();
    if words.is_empty() {
        return;
    }
    sql.push(" AND ").push(column).push(" IN (");
    let mut list = sql.separated(", ");
    // No column holds the character 0, and not every database lets one ask for it.
    let words: Vec<String> = words.into_iter().filter(|word| !word.contains('\0')).collect();
    if words.is_empty() {
        list.push("NULL");
    }
    for word in words {
        list.push_bind(word);
    }
    sql.push(")");
}
