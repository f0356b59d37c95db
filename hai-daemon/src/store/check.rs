//! Whether what is stored hangs together: the log follows from where it begins, and tasks, runs and rights are what it says.

use std::collections::{BTreeMap, BTreeSet};

use hai_core::backend::{Entry, Follower};
use hai_core::engine::{EngineConfig, Policies};
use hai_core::model::{RightRow, RunId, RunView, TaskId, TaskState, TaskView, Time};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Reader, StoreError, rows};

/// Records that are read at a time.
const PAGE: u32 = 1000;
/// Problems that are told one by one.
const TOLD_MAX: usize = 100;

/// What was looked at, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Records of the log that were followed.
    pub records: u64,
    /// Those before them were pruned; 0 if none were.
    pub pruned: u64,
    /// Tasks that the records made, or that were there when they begin.
    pub tasks: u64,
    /// Runs of them.
    pub runs: u64,
    /// What is wrong, in words; the first hundred.
    pub problems: Vec<String>,
    /// Something was written meanwhile: what seems wrong may be the difference.
    pub moved: bool,
}

impl Checked {
    fn problem(&mut self, problem: String) {
        if self.problems.len() < TOLD_MAX {
            self.problems.push(problem);
        }
    }
}

/// What is to be stored, as digests, since of all tasks that ever were there may be many.
#[derive(Default)]
struct Expected {
    tasks: BTreeMap<TaskId, Task>,
    runs: BTreeMap<RunId, (TaskId, [u8; 32])>,
    rights: Vec<RightRow>,
}

struct Task {
    digest: [u8; 32],
    ended_at: Option<Time>,
}

impl Expected {
    fn expect(&mut self, tasks: &[TaskView], runs: &[RunView]) -> Result<(), StoreError> {
        for task in tasks {
            let ended_at = (task.state == TaskState::Finished).then(|| task.ended_at.unwrap_or(task.submitted_at));
            self.tasks.insert(task.id, Task { digest: digest(task)?, ended_at });
        }
        for run in runs {
            self.runs.insert(run.id, (run.task, digest(run)?));
        }
        Ok(())
    }
}

/// Follows the whole log, which takes about as long as it took to be decided, and compares.
///
/// # Errors
/// [`StoreError`], if something can not even be read.
pub async fn check(reader: &Reader) -> Result<Checked, StoreError> {
    let mut checked = Checked { problems: reader.integrity().await?, ..Checked::default() };
    let mut expected = Expected::default();
    let mut follower = Follower::new(EngineConfig::default(), Policies::default());
    let snapshot = reader.snapshot().await?;
    let first = reader.first_record().await?;
    if first > 1 {
        // What was before is pruned, and what it had made by then is in a snapshot.
        let Some(begin) = reader.first_snapshot().await? else {
            checked.problem(format!("log, record {first}: it is the first, and no snapshot tells what was before it"));
            return Ok(checked);
        };
        checked.pruned = begin.seq;
        follower = Follower::after(begin, EngineConfig::default(), Policies::default());
        let engine = follower.engine();
        expected.expect(&engine.tasks().collect::<Vec<_>>(), &engine.runs().collect::<Vec<_>>())?;
        expected.rights = engine.rights().collect();
    }
    let mut last = checked.pruned;
    'log: loop {
        let page = reader.log_after(last, PAGE).await?;
        if page.is_empty() {
            break;
        }
        for record in page {
            if let Err(error) = follower.take(&record) {
                checked.problem(format!("log, record {}: {error}; nothing after it was looked at", error.seq));
                break 'log;
            }
            last = record.seq;
            if let Some(snapshot) = snapshot.as_ref().filter(|snapshot| snapshot.seq == record.seq)
                && snapshot.digest != follower.chain().digest()
            {
                checked.problem(format!("snapshots, record {}: it is not of this log", snapshot.seq));
            }
            // What was stored is how things were after a round.
            if matches!(record.entry, Entry::Round(_)) {
                let changes = follower.drain_changes();
                expected.expect(&changes.tasks, &changes.runs)?;
                expected.rights = changes.rights.unwrap_or(expected.rights);
            }
        }
    }
    checked.records = last - checked.pruned;
    (checked.tasks, checked.runs) = (expected.tasks.len() as u64, expected.runs.len() as u64);
    compare(reader, &expected, &mut checked).await?;
    checked.moved = reader.last_record().await? != last;
    Ok(checked)
}

fn digest<T: Serialize>(value: &T) -> Result<[u8; 32], StoreError> {
    Ok(Sha256::digest(rows::to_json("a view", value)?).into())
}

async fn compare(reader: &Reader, expected: &Expected, checked: &mut Checked) -> Result<(), StoreError> {
    let pruned_before = reader.pruned_before().await?;
    let mut gone = BTreeSet::new();
    for (id, wanted) in &expected.tasks {
        match reader.task(*id).await {
            Ok(Some(task)) if digest(&task)? == wanted.digest => {}
            Ok(Some(_)) => checked.problem(format!("tasks, row {id}: it is not what the log says")),
            Ok(None) if wanted.ended_at.is_some_and(|at| at < pruned_before) => {
                gone.insert(*id);
                continue;
            }
            Ok(None) => checked.problem(format!("tasks, row {id}: it is missing")),
            Err(error) => checked.problem(unreadable(error)?),
        }
        if reader.program(*id).await?.is_none() {
            checked.problem(format!("programs, row {id}: it is missing"));
        }
    }
    for (id, (task, wanted)) in expected.runs.iter().filter(|(_, (task, _))| !gone.contains(task)) {
        match reader.run(*task, *id).await {
            Ok(Some(run)) if digest(&run)? == *wanted => {}
            Ok(Some(_)) => checked.problem(format!("runs, row {id}: it is not what the log says")),
            Ok(None) => checked.problem(format!("runs, row {id}: it is missing")),
            Err(error) => checked.problem(unreadable(error)?),
        }
    }
    compare_numbers(reader, expected, checked).await?;
    if reader.rights().await? != expected.rights {
        checked.problem("rights: they are not what the log says".to_owned());
    }
    Ok(())
}

async fn compare_numbers(reader: &Reader, expected: &Expected, checked: &mut Checked) -> Result<(), StoreError> {
    let mut counted = reader.counts().await?.states;
    let finished = counted.remove(&TaskState::Finished).unwrap_or(0);
    let (stored, unfinished): (u64, u64) = (reader.kept().await?, counted.into_values().sum());
    let wanted = expected.tasks.values().filter(|task| task.ended_at.is_none()).count() as u64;
    if unfinished > wanted {
        checked.problem(format!("tasks: {unfinished} have not ended, by the log {wanted}"));
    }
    // Of those that ended before the log begins nothing is known.
    if checked.pruned == 0 {
        if stored > checked.tasks {
            checked.problem(format!("tasks: there are {stored}, the log made {}", checked.tasks));
        }
        if finished != checked.tasks - wanted {
            checked.problem(format!("totals: {finished} tasks ended, by the log {}", checked.tasks - wanted));
        }
    }
    Ok(())
}

/// A row that can not be is a finding; a database that does not answer is none.
fn unreadable(error: StoreError) -> Result<String, StoreError> {
    match error {
        StoreError::Damaged { .. } => Ok(error.to_string()),
        error => Err(error),
    }
}
