//! Moves tasks that ended out of the tables that every commit writes to, and back should they change after all.

use hai_core::backend::Batch;
use sqlx::SqliteConnection;

use super::commit;
use crate::store::ended::{self, Ended};
use crate::store::{StoreError, rows};

// Numbers come as a JSON array, so that there is one statement for any number of them.
const HIDDEN: &str = "SELECT value FROM json_each($1) WHERE value NOT IN (SELECT id FROM tasks)";
const UNCOUNT: &str = "UPDATE totals SET tasks = totals.tasks - less.tasks FROM (SELECT coalesce(outcome, '') AS outcome, \
    count(*) AS tasks FROM ended WHERE id IN (SELECT value FROM json_each($1)) GROUP BY 1) AS less \
    WHERE less.outcome = totals.outcome";
const TAKE_BACK: &str =
    "DELETE FROM ended WHERE id IN (SELECT value FROM json_each($1)) RETURNING id, view, program, runs";
const COUNT: &str = "INSERT INTO totals (outcome, tasks) SELECT coalesce(outcome, ''), count(*) FROM tasks \
    WHERE id IN (SELECT value FROM json_each($1)) GROUP BY 1 \
    ON CONFLICT (outcome) DO UPDATE SET tasks = totals.tasks + excluded.tasks";
const RETIRE: &str = "INSERT INTO ended (id, name, user_name, group_name, priority, outcome, submitted_at, ended_at, \
        view, program, run_count, runs) \
    SELECT id, name, user_name, group_name, priority, outcome, submitted_at, coalesce(ended_at, submitted_at), view, \
        (SELECT body FROM programs WHERE programs.task = tasks.id), \
        (SELECT count(*) FROM runs WHERE runs.task = tasks.id), \
        (SELECT '[' || coalesce(string_agg('{\"run\":' || runs.view || ',\"workers\":[' \
            || coalesce((SELECT string_agg(workers.view, ',' ORDER BY rank) FROM workers \
                WHERE run = runs.id AND rank < runs.workers), '') || ']}', ',' ORDER BY runs.id), '') || ']' \
            FROM runs WHERE runs.task = tasks.id) \
    FROM tasks WHERE id IN (SELECT value FROM json_each($1))";
const LEAVE: [&str; 4] = [
    "DELETE FROM workers WHERE run IN (SELECT id FROM runs WHERE task IN (SELECT value FROM json_each($1)))",
    "DELETE FROM runs WHERE task IN (SELECT value FROM json_each($1))",
    "DELETE FROM programs WHERE task IN (SELECT value FROM json_each($1))",
    "DELETE FROM tasks WHERE id IN (SELECT value FROM json_each($1))",
];

/// Tasks of this batch that had ended are made as those that have not. There are none, as far as anybody knows.
pub(super) async fn revive(
    connection: &mut SqliteConnection,
    batch: &Batch,
    last: i64,
) -> Result<Vec<Ended>, StoreError> {
    let suspected = ended::suspected(batch, last)?;
    if suspected.is_empty() {
        return Ok(Vec::new());
    }
    let hidden: Vec<i64> = sqlx::query_scalar(HIDDEN).bind(list(&suspected)?).fetch_all(&mut *connection).await?;
    if hidden.is_empty() {
        return Ok(Vec::new());
    }
    let hidden = list(&hidden)?;
    sqlx::query(UNCOUNT).bind(hidden.clone()).execute(&mut *connection).await?;
    let back = sqlx::query(TAKE_BACK).bind(hidden).fetch_all(&mut *connection).await?;
    let back = back.iter().map(ended::ended).collect::<Result<Vec<_>, _>>()?;
    for Ended { task, program, runs } in &back {
        let program: Vec<_> = program.iter().map(|program| (task.id, program.clone())).collect();
        commit::insert_tasks(connection, std::slice::from_ref(task), &program, runs).await?;
    }
    Ok(back)
}

/// Tasks that have ended leave the tables of those that have not.
pub(super) async fn retire(connection: &mut SqliteConnection, batch: &Batch, back: &[Ended]) -> Result<(), StoreError> {
    let over = ended::over(batch, back)?;
    if over.is_empty() {
        return Ok(());
    }
    put_away(connection, &over).await
}

/// The same for tasks of these numbers, all of which are there.
pub(super) async fn put_away(connection: &mut SqliteConnection, over: &[i64]) -> Result<(), StoreError> {
    let numbers = list(over)?;
    sqlx::query(COUNT).bind(numbers.clone()).execute(&mut *connection).await?;
    let moved = sqlx::query(RETIRE).bind(numbers.clone()).execute(&mut *connection).await?.rows_affected();
    if moved != over.len() as u64 {
        return Err(rows::damaged("tasks", "any", format!("of {} that ended {moved} were there", over.len())));
    }
    for statement in LEAVE {
        sqlx::query(statement).bind(numbers.clone()).execute(&mut *connection).await?;
    }
    Ok(())
}

fn list(numbers: &[i64]) -> Result<String, StoreError> {
    rows::to_json("numbers of tasks", numbers)
}
