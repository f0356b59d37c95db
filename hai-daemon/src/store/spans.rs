//! The runs of a window of time, with their tasks: in words that every database understands.

/// Rows of `id, view` of tasks with runs that overlap a window, the newest first. Both bounds of the task itself are given too:
/// they are in its own row, and spare looking for its runs.
pub(super) const TASKS: &str = "SELECT id, view FROM tasks WHERE id < $1 AND submitted_at < $2 \
    AND (ended_at IS NULL OR ended_at >= $3) AND EXISTS (SELECT 1 FROM runs WHERE runs.task = tasks.id \
    AND decided_at < $2 AND (runs.ended_at IS NULL OR runs.ended_at >= $3)) ORDER BY id DESC LIMIT $4";
/// The same of one user's.
pub(super) const TASKS_OF: &str = "SELECT id, view FROM tasks WHERE user_name = $5 AND id < $1 AND submitted_at < $2 \
    AND (ended_at IS NULL OR ended_at >= $3) AND EXISTS (SELECT 1 FROM runs WHERE runs.task = tasks.id \
    AND decided_at < $2 AND (runs.ended_at IS NULL OR runs.ended_at >= $3)) ORDER BY id DESC LIMIT $4";
/// Rows of `id, view, workers` of runs of some tasks, up to where the window's end is told.
pub(super) const RUNS: &str = "SELECT id, view, (SELECT string_agg(workers.view, ',' ORDER BY rank) FROM workers \
    WHERE run = runs.id AND rank < runs.workers) FROM runs WHERE decided_at < ";

/// The question of a `Reader` with a `pool`.
macro_rules! spans {
    ($database:ty) => {
        impl Reader {
            pub(in crate::store) async fn spans(
                &self,
                window: &Spans,
                before: TaskId,
                limit: u32,
            ) -> Result<Vec<(TaskView, Vec<RunView>)>, StoreError> {
                let sql = if window.user.is_some() { spans::TASKS_OF } else { spans::TASKS };
                let mut query = sqlx::query(sql)
                    .bind(rows::bound(before.0))
                    .bind(window.to.as_ms())
                    .bind(window.from.as_ms())
                    .bind(i64::from(limit));
                if let Some(user) = &window.user {
                    query = query.bind(user.as_str().to_owned());
                }
                let found = query.fetch_all(&self.pool).await?;
                let tasks: Vec<TaskView> =
                    found.iter().map(|row| rows::view("tasks", row)).collect::<Result<_, _>>()?;
                let mut runs = self.spans_of(window, &tasks).await?;
                Ok(tasks
                    .into_iter()
                    .map(|task| {
                        let of = runs.remove(&task.id).unwrap_or_default();
                        (task, of)
                    })
                    .collect())
            }

            /// The runs of these tasks that overlap the window, and of each the one before the first of them, which says why
            /// that began.
            async fn spans_of(
                &self,
                window: &Spans,
                tasks: &[TaskView],
            ) -> Result<std::collections::BTreeMap<TaskId, Vec<RunView>>, StoreError> {
                let mut runs = std::collections::BTreeMap::<TaskId, Vec<RunView>>::new();
                if tasks.is_empty() {
                    return Ok(runs);
                }
                let mut sql = QueryBuilder::<$database>::new(spans::RUNS);
                sql.push_bind(window.to.as_ms());
                sql.push(" AND (ended_at IS NULL OR ended_at >= ").push_bind(window.from.as_ms());
                sql.push(" OR id = (SELECT max(before.id) FROM runs AS before WHERE before.task = runs.task");
                sql.push(" AND before.ended_at < ").push_bind(window.from.as_ms()).push(")) AND task IN (");
                let mut list = sql.separated(", ");
                for task in tasks {
                    list.push_bind(rows::task_id(task.id)?);
                }
                sql.push(") ORDER BY task, id");
                for row in sql.build().fetch_all(&self.pool).await? {
                    let run = rows::run(&row)?;
                    runs.entry(run.task).or_default().push(run);
                }
                Ok(runs)
            }
        }
    };
}
pub(super) use spans;
