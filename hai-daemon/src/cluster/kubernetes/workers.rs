//! What workers ask and say while they execute: whether they must leave, that they heard, that all is done.

use std::sync::Arc;
use std::time::Duration;

use hai_core::model::{Grace, RunId};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::config::KubernetesError;
use super::names::{DONE, HEARD, pod_name};
use super::retry::{ask, failure};
use super::state::Shared;

/// The way from workers to the cluster; cheap to copy.
#[derive(Clone, Debug)]
pub struct WorkerDoor {
    shared: Arc<Shared>,
}

impl WorkerDoor {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        WorkerDoor { shared }
    }

    /// Whose token it is.
    #[must_use]
    pub fn worker(&self, token: &str) -> Option<(RunId, u32)> {
        self.shared.tokens.worker(token)
    }

    /// Waits until the run must leave, at most for `patience`: then its grace. `None` if it may stay.
    pub async fn must_leave(&self, run: RunId, patience: Duration) -> Option<Grace> {
        // A worker that nobody knows any more should be gone.
        let flag = self.shared.runs().get(&run).map(|known| known.flag.subscribe());
        let Some(mut flag) = flag else { return Some(Grace::default()) };
        let told = tokio::time::timeout(patience, flag.wait_for(Option::is_some)).await;
        *told.ok()?.ok()?
    }

    /// The worker heard that it must leave, and gets the second part of its grace. Once this returns no crash forgets it.
    ///
    /// # Errors
    /// [`KubernetesError`] if that can not be written down.
    pub async fn heard(&self, run: RunId, rank: u32) -> Result<(), KubernetesError> {
        self.shared.heard(run, rank);
        self.note(run, rank, HEARD, "writing down that a worker heard that it must leave").await
    }

    /// The worker says that the task's work is complete. Once this returns no crash forgets it.
    ///
    /// # Errors
    /// [`KubernetesError`] if that can not be written down.
    pub async fn done(&self, run: RunId, rank: u32) -> Result<(), KubernetesError> {
        self.note(run, rank, DONE, "writing down that a task is done").await
    }

    /// What keeps the workers of a run that is being started from executing, if something does.
    #[must_use]
    pub fn trouble(&self, run: RunId) -> Option<String> {
        self.shared.trouble(run)
    }

    async fn note(&self, run: RunId, rank: u32, note: &str, what: &str) -> Result<(), KubernetesError> {
        let Some(task) = self.shared.runs().get(&run).map(|known| known.task) else { return Ok(()) };
        let name = pod_name(&self.shared.config.instance, task, run, rank);
        let parameters = PatchParams::default();
        let patch = Patch::Merge(json!({"metadata": {"annotations": {note: "true"}}}));
        let pods = self.shared.pods();
        let gone = || !self.shared.runs().contains_key(&run);
        let patched = ask(|| pods.patch(&name, &parameters, &patch), gone).await;
        patched.map(drop).map_err(|error| failure(what, &error))
    }
}
