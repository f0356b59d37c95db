//! A store that waits until its database works again: a daemon that ended for it could not tell anybody, nor start again.

use std::time::Duration;

use hai_core::backend::{Batch, Committed, Saved, Store};
use hai_core::model::{Program, TaskId};

use super::{AnyStore, StoreError};

/// The first pause before a commit is tried again; doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Tries a commit again and again while the database can not write. What runs goes on meanwhile; requests wait.
#[derive(Debug)]
pub struct Patient(pub AnyStore);

impl Store for Patient {
    type Error = StoreError;

    async fn open(&mut self) -> Result<Saved, StoreError> {
        self.0.open().await
    }

    async fn commit(&mut self, batch: &Batch) -> Result<Committed, StoreError> {
        let last = batch.records.last().map_or(0, |record| record.seq);
        let mut pause = PAUSE;
        let mut failed = false;
        loop {
            match self.0.commit(batch).await {
                Err(error) if error.may_pass() => {
                    tracing::error!(%error, "nothing can be stored, so nothing is scheduled; tried again in {pause:?}");
                    failed = true;
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                // The commit that seemed to fail did not: its records are there already.
                Err(StoreError::Gap { expected, .. }) if failed && expected == last + 1 => return Ok(Committed::Done),
                answer => {
                    if failed {
                        tracing::info!("storing works again");
                    }
                    return answer;
                }
            }
        }
    }

    async fn program(&mut self, task: TaskId) -> Result<Option<Program>, StoreError> {
        self.0.program(task).await
    }
}
