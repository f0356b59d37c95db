//! What the daemon writes for a shim: the order, and how long the worker may take to leave.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hai_core::backend::StartOrder;
use hai_core::model::{Grace, Program, RunId, TaskId, UserName, WorkerPlacement};
use serde::{Deserialize, Serialize};

use crate::cluster::logs::LogBound;
use crate::marsv2;

/// Where rank 0 is: all workers of a run are on this machine.
pub(crate) const MASTER: &str = "127.0.0.1";

/// All that a shim must know to execute one worker, even if the daemon is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct WorkerOrder {
    pub(crate) run: RunId,
    pub(crate) task: TaskId,
    pub(crate) name: String,
    pub(crate) user: UserName,
    pub(crate) rank: u32,
    pub(crate) world_size: u32,
    pub(crate) place: WorkerPlacement,
    pub(crate) program: Program,
    pub(crate) grace: Grace,
    pub(crate) whole_life_state: i64,
    /// Variables that the worker gets besides; older orders have none.
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, String>,
    /// A port that was free on this machine when the run was ordered; the same for all its ranks.
    pub(crate) master_port: u16,
    /// Where this worker's output goes.
    pub(crate) log_dir: PathBuf,
    pub(crate) log_bound: LogBound,
}

impl WorkerOrder {
    /// The part of `order` that concerns `rank`, which must be one of its workers.
    pub(crate) fn of(
        order: &StartOrder,
        rank: u32,
        place: &WorkerPlacement,
        master_port: u16,
        log_dir: PathBuf,
        log_bound: LogBound,
    ) -> Self {
        WorkerOrder {
            run: order.run,
            task: order.task,
            name: order.name.clone(),
            user: order.user.clone(),
            rank,
            world_size: u32::try_from(order.placement.workers.len()).unwrap_or(u32::MAX),
            place: place.clone(),
            program: order.program.clone(),
            grace: order.grace,
            whole_life_state: order.whole_life_state,
            variables: marsv2::variables(order, rank, MASTER)
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            master_port,
            log_dir,
            log_bound,
        }
    }
}

impl WorkerOrder {
    /// The same, and these variables too.
    pub(crate) fn with(mut self, variables: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        self.variables.extend(variables.into_iter().map(|(name, value)| (name.to_owned(), value)));
        self
    }
}

/// Written by the daemon before it signals a shim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leave {
    /// Counts instead of the order's.
    pub(crate) grace: Grace,
}
