//! Tasks that ended, one row each with all that belongs to them: which tasks of a batch that concerns, and how a row reads.

use std::collections::{BTreeMap, BTreeSet};

use hai_core::backend::Batch;
use hai_core::model::{Program, RunView, TaskId, TaskState, TaskView, WorkerView};
use serde::Deserialize;

use super::rows::{self, Columns};
use super::{StoreError, rows::from_json};

/// A task that ended, with all that is kept of it.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) task: TaskView,
    pub(super) program: Option<Program>,
    pub(super) runs: Vec<RunView>,
}

/// One element of the column `runs`, which the database puts together.
#[derive(Deserialize)]
struct EndedRun {
    run: RunView,
    workers: Vec<WorkerView>,
}

/// A whole row from the columns `id, view, program, runs`.
pub(super) fn ended(row: &impl Columns) -> Result<Ended, StoreError> {
    let id = row.integer(0)?;
    let program = row.some_text(2)?.map(|body| from_json("ended", id, body)).transpose()?;
    Ok(Ended { task: rows::view("ended", row)?, program, runs: parsed(id, row.text(3)?)? })
}

/// All runs of a task, from the columns `id, runs`.
pub(super) fn runs(row: &impl Columns) -> Result<Vec<RunView>, StoreError> {
    parsed(row.integer(0)?, row.text(1)?)
}

fn parsed(id: i64, text: &str) -> Result<Vec<RunView>, StoreError> {
    let runs: Vec<EndedRun> = from_json("ended", id, text)?;
    Ok(runs.into_iter().map(|EndedRun { run, workers }| RunView { workers, ..run }).collect())
}

/// The greatest number of a task that ends in this batch, 0 if none does.
pub(super) fn greatest(batch: &Batch) -> Result<i64, StoreError> {
    let ends = batch.tasks.iter().filter(|task| task.state == TaskState::Finished);
    ends.map(|task| task.id).max().map_or(Ok(0), rows::task_id)
}

/// The tasks that this batch is about and that may have ended before: those up to `last`, the greatest that did. What is
/// submitted is newer, and what ended does not change; but a store must not keep a task twice, whatever it is told.
pub(super) fn suspected(batch: &Batch, last: i64) -> Result<Vec<i64>, StoreError> {
    let tasks = batch.tasks.iter().map(|task| task.id).chain(batch.runs.iter().map(|run| run.task));
    let tasks: BTreeSet<TaskId> = tasks.collect();
    let numbers = tasks.into_iter().map(rows::task_id).collect::<Result<Vec<i64>, _>>()?;
    Ok(numbers.into_iter().filter(|number| *number <= last).collect())
}

/// The tasks that have ended once this batch is written. `revived` had ended before, and were made as others for it.
pub(super) fn over(batch: &Batch, revived: &[Ended]) -> Result<Vec<i64>, StoreError> {
    let mut over: BTreeMap<TaskId, bool> = revived.iter().map(|ended| (ended.task.id, true)).collect();
    over.extend(batch.tasks.iter().map(|task| (task.id, task.state == TaskState::Finished)));
    over.into_iter().filter(|(_, over)| *over).map(|(task, _)| rows::task_id(task)).collect()
}
