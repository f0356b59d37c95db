//! Whether what is stored hangs together: the log follows from its beginning, and tasks, runs and rights are what it says.

use std::collections::BTreeMap;

use hai_core::backend::{Entry, Follower};
use hai_core::engine::{EngineConfig, Policies};
use hai_core::model::{RightRow, RunId, TaskId};
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
    /// Records of the log.
    pub records: u64,
    /// Tasks that it made.
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
    tasks: BTreeMap<TaskId, [u8; 32]>,
    runs: BTreeMap<RunId, [u8; 32]>,
    rights: Vec<RightRow>,
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
    'log: loop {
        let page = reader.log_after(checked.records, PAGE).await?;
        if page.is_empty() {
            break;
        }
        for record in page {
            if let Err(error) = follower.take(&record) {
                checked.problem(format!("log, record {}: {error}; nothing after it was looked at", error.seq));
                break 'log;
            }
            checked.records = record.seq;
            if let Some(snapshot) = snapshot.as_ref().filter(|snapshot| snapshot.seq == record.seq)
                && snapshot.digest != follower.chain().digest()
            {
                checked.problem(format!("snapshots, record {}: it is not of this log", snapshot.seq));
            }
            // What was stored is how things were after a round.
            if matches!(record.entry, Entry::Round(_)) {
                let changes = follower.drain_changes();
                for task in &changes.tasks {
                    expected.tasks.insert(task.id, digest(task)?);
                }
                for run in &changes.runs {
                    expected.runs.insert(run.id, digest(run)?);
                }
                expected.rights = changes.rights.unwrap_or(expected.rights);
            }
        }
    }
    (checked.tasks, checked.runs) = (expected.tasks.len() as u64, expected.runs.len() as u64);
    compare(reader, &expected, &mut checked).await?;
    checked.moved = reader.last_record().await? != checked.records;
    Ok(checked)
}

fn digest<T: Serialize>(value: &T) -> Result<[u8; 32], StoreError> {
    Ok(Sha256::digest(rows::to_json("a view", value)?).into())
}

async fn compare(reader: &Reader, expected: &Expected, checked: &mut Checked) -> Result<(), StoreError> {
    for (id, wanted) in &expected.tasks {
        match reader.task(*id).await {
            Ok(Some(task)) if digest(&task)? == *wanted => {}
            Ok(Some(_)) => checked.problem(format!("tasks, row {id}: it is not what the log says")),
            Ok(None) => checked.problem(format!("tasks, row {id}: it is missing")),
            Err(error) => checked.problem(unreadable(error)?),
        }
        if reader.program(*id).await?.is_none() {
            checked.problem(format!("programs, row {id}: it is missing"));
        }
    }
    for (id, wanted) in &expected.runs {
        match reader.run(*id).await {
            Ok(Some(run)) if digest(&run)? == *wanted => {}
            Ok(Some(_)) => checked.problem(format!("runs, row {id}: it is not what the log says")),
            Ok(None) => checked.problem(format!("runs, row {id}: it is missing")),
            Err(error) => checked.problem(unreadable(error)?),
        }
    }
    let stored: u64 = reader.counts().await?.states.values().sum();
    if stored > checked.tasks {
        checked.problem(format!("tasks: there are {stored}, the log made {}", checked.tasks));
    }
    if reader.rights().await? != expected.rights {
        checked.problem("rights: they are not what the log says".to_owned());
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
