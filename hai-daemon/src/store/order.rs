//! Tasks in another order than by age: the parts of a question that say so, the same for every database.

use sqlx::{Database, Encode, QueryBuilder, Type};

use super::query::{Sort, SortBy};
use super::rows;

/// Leaves out what comes before the page; `name` binds a name, which is where databases differ.
pub(super) fn after<DB: Database>(sql: &mut QueryBuilder<DB>, sort: &Sort, name: impl Fn(&mut QueryBuilder<DB>, &str))
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    let Some((key, id)) = &sort.after else { return };
    let beyond = if sort.descending { " < " } else { " > " };
    let id = rows::bound(id.0);
    let Some(column) = column(sort.by) else {
        sql.push(" AND id").push(beyond).push_bind(id);
        return;
    };
    sql.push(" AND (").push(column).push(", id)").push(beyond).push("(");
    match sort.by {
        SortBy::Name => name(sql, key),
        // One that is no number comes before all that are.
        SortBy::Priority => {
            sql.push_bind(key.parse::<i64>().unwrap_or(i64::MIN));
        }
        SortBy::Id | SortBy::User | SortBy::State => {
            sql.push_bind(key.clone());
        }
    }
    sql.push(", ").push_bind(id).push(")");
}

/// Puts them in order. Ties end in numbers.
pub(super) fn by<DB: Database>(sql: &mut QueryBuilder<DB>, sort: &Sort) {
    let way = if sort.descending { " DESC" } else { "" };
    sql.push(" ORDER BY ");
    if let Some(column) = column(sort.by) {
        sql.push(column).push(way).push(", ");
    }
    sql.push("id").push(way);
}

const fn column(by: SortBy) -> Option<&'static str> {
    match by {
        SortBy::Id => None,
        SortBy::Name => Some("name"),
        SortBy::User => Some("user_name"),
        SortBy::State => Some("state"),
        SortBy::Priority => Some("priority"),
    }
}
