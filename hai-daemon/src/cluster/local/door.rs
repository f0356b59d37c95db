//! What workers of this machine may ask over HTTP besides: the same as those in pods, over the same files as ever.

use std::path::PathBuf;
use std::time::Duration;

use hai_core::backend::StartOrder;
use hai_core::model::{Grace, RunId};

use super::files::{ANSWER, DONE, ORDER, RankDir, SUSPEND};
use super::launch::run_path;
use super::order::WorkerOrder;
use crate::cluster::WorkerTokens;

/// How often is looked whether a worker must leave.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Where workers reach the daemon, by which tokens, and where modules for their languages lie.
#[derive(Clone, Debug)]
pub struct WorkerService {
    /// The address of the API.
    pub server: String,
    /// Makes and knows their tokens.
    pub tokens: WorkerTokens,
    /// The directory of the Python modules.
    pub python: PathBuf,
}

impl WorkerService {
    /// What one worker is told of it.
    pub(super) fn variables(&self, order: &StartOrder, rank: u32) -> [(&'static str, String); 5] {
        let token = self.tokens.token(order.run, rank);
        [
            ("HAI_SERVER", self.server.clone()),
            ("MARSV2_USER_TOKEN", token.clone()),
            ("HAI_WORKER_TOKEN", token),
            ("HAI_PYTHON", self.python.display().to_string()),
            ("MARSV2_SERVER", self.server.clone()),
        ]
    }
}

/// The way from workers to the cluster; cheap to copy.
#[derive(Clone, Debug)]
pub struct LocalDoor {
    tokens: WorkerTokens,
    run_dir: PathBuf,
}

impl LocalDoor {
    pub(super) fn new(tokens: WorkerTokens, run_dir: PathBuf) -> Self {
        LocalDoor { tokens, run_dir }
    }

    fn dir(&self, run: RunId, rank: u32) -> RankDir {
        RankDir::new(run_path(&self.run_dir, run).join(rank.to_string()))
    }

    /// Whose token it is.
    #[must_use]
    pub fn worker(&self, token: &str) -> Option<(RunId, u32)> {
        self.tokens.worker(token)
    }

    /// Waits until the run must leave, at most for `patience`: then its grace. `None` if it may stay.
    pub async fn must_leave(&self, run: RunId, patience: Duration) -> Option<Grace> {
        let dir = self.dir(run, 0);
        let told = async {
            // A worker that nobody knows any more should be gone.
            while !dir.has(SUSPEND) && dir.has(ORDER) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            dir.read::<WorkerOrder>(ORDER).ok().flatten().map(|order| order.grace).unwrap_or_default()
        };
        tokio::time::timeout(patience, told).await.ok()
    }

    /// The worker heard that it must leave, and gets the second part of its grace.
    ///
    /// # Errors
    /// What the file system says.
    pub fn heard(&self, run: RunId, rank: u32) -> std::io::Result<()> {
        self.dir(run, rank).touch(ANSWER)
    }

    /// The worker says that the task's work is complete.
    ///
    /// # Errors
    /// What the file system says.
    pub fn done(&self, run: RunId, rank: u32) -> std::io::Result<()> {
        self.dir(run, rank).touch(DONE)
    }
}
