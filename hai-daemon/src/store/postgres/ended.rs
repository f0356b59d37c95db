//! Moves tasks that ended out of the tables that every commit writes to, and back should they change after all.

use hai_core::backend::Batch;
use sqlx::PgConnection;

use super::commit;
use crate::store::ended::{self, Ended};
use crate::store::{StoreError, rows};

const HIDDEN: &str = "SELECT id FROM unnest($1::bigint[]) AS suspected (id) \
    WHERE NOT EXISTS (SELECT FROM tasks WHERE tasks.id = suspected.id)";
const TAKE_BACK: &str = "WITH back AS (DELETE FROM ended WHERE id = ANY($1) RETURNING id, view, program, runs, outcome), \
    counted AS (UPDATE totals SET tasks = totals.tasks - less.tasks \
        FROM (SELECT coalesce(outcome, '') AS outcome, count(*) AS tasks FROM back GROUP BY 1) AS less \
        WHERE less.outcome = totals.outcome) \
    SELECT id, view, program, runs FROM back ORDER BY id";
const RETIRE: &str = "WITH \
    gone AS (DELETE FROM tasks WHERE id = ANY($1) RETURNING id, name, user_name, group_name, priority, outcome, \
        submitted_at, coalesce(ended_at, submitted_at) AS ended_at, view), \
    its_program AS (DELETE FROM programs WHERE task = ANY($1) RETURNING task, body), \
    its_runs AS (DELETE FROM runs WHERE task = ANY($1) RETURNING id, task, workers, view), \
    its_workers AS (DELETE FROM workers USING runs WHERE runs.task = ANY($1) AND workers.run = runs.id \
        RETURNING workers.run, workers.rank, workers.view), \
    one AS (SELECT its_runs.task, its_runs.id, '{\"run\":' || its_runs.view || ',\"workers\":[' \
            || coalesce(string_agg(its_workers.view, ',' ORDER BY rank), '') || ']}' AS text \
        FROM its_runs LEFT JOIN its_workers ON run = its_runs.id AND rank < its_runs.workers \
        GROUP BY its_runs.task, its_runs.id, its_runs.view), \
    told AS (SELECT task, count(*) AS count, string_agg(text, ',' ORDER BY id) AS text FROM one GROUP BY task), \
    counted AS (INSERT INTO totals (outcome, tasks) SELECT coalesce(outcome, ''), count(*) FROM gone GROUP BY 1 \
        ON CONFLICT (outcome) DO UPDATE SET tasks = totals.tasks + excluded.tasks) \
    INSERT INTO ended (id, name, user_name, group_name, priority, outcome, submitted_at, ended_at, view, program, \
        run_count, runs) \
    SELECT gone.*, its_program.body, coalesce(told.count, 0), coalesce('[' || told.text || ']', '[]') \
    FROM gone LEFT JOIN its_program ON its_program.task = gone.id LEFT JOIN told ON told.task = gone.id";

/// Tasks of this batch that had ended are made as those that have not. There are none, as far as anybody knows.
pub(super) async fn revive(connection: &mut PgConnection, batch: &Batch, last: i64) -> Result<Vec<Ended>, StoreError> {
    let suspected = ended::suspected(batch, last)?;
    if suspected.is_empty() {
        return Ok(Vec::new());
    }
    let hidden: Vec<i64> = sqlx::query_scalar(HIDDEN).bind(suspected).fetch_all(&mut *connection).await?;
    if hidden.is_empty() {
        return Ok(Vec::new());
    }
    let back = sqlx::query(TAKE_BACK).bind(hidden).fetch_all(&mut *connection).await?;
    let back = back.iter().map(ended::ended).collect::<Result<Vec<_>, _>>()?;
    for Ended { task, program, runs } in &back {
        commit::insert_tasks(connection, std::slice::from_ref(task)).await?;
        let program: Vec<_> = program.iter().map(|program| (task.id, program.clone())).collect();
        commit::insert_programs(connection, &program).await?;
        commit::insert_runs(connection, runs).await?;
    }
    Ok(back)
}

/// Tasks that have ended leave the tables of those that have not.
pub(super) async fn retire(connection: &mut PgConnection, batch: &Batch, back: &[Ended]) -> Result<(), StoreError> {
    let over = ended::over(batch, back)?;
    if over.is_empty() {
        return Ok(());
    }
    put_away(connection, over).await
}

/// The same for tasks of these numbers, all of which are there.
pub(super) async fn put_away(connection: &mut PgConnection, over: Vec<i64>) -> Result<(), StoreError> {
    let (asked, moved) = (over.len() as u64, sqlx::query(RETIRE).bind(over).execute(connection).await?.rows_affected());
    if moved != asked {
        return Err(rows::damaged("tasks", "any", format!("of {asked} that ended {moved} were there")));
    }
    Ok(())
}
