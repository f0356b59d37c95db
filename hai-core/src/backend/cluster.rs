//! What the driver asks of a cluster: start, suspend and stop runs, each as often as it likes, and say what is.

use std::future::Future;

use serde::{Deserialize, Serialize};

use crate::model::{
    Fact, Grace, GroupName, NodeName, NodeSpec, Placement, Program, RunId, TaskId, UserName, WorkerExit,
};

/// Machines that execute runs.
///
/// Every order carries the run's id and may be given again at any time: a cluster that has already carried it out
/// answers as it did before. It must never execute two copies of one worker, nor execute a worker of a run again
/// once that worker has ended. An order's success means that it was accepted; what becomes of it is told by
/// [`Cluster::next`] as facts.
pub trait Cluster: Send {
    /// What can go wrong.
    type Error: std::error::Error + Send + Sync + 'static;

    /// All nodes, and all workers that are executed or whose end was not yet forgotten.
    fn list(&mut self) -> impl Future<Output = Result<Listing, Self::Error>> + Send;

    /// Starts all workers of a run. An error means that no worker was started nor will be.
    fn start(&mut self, order: &StartOrder) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Tells a run to save itself and leave, and forces it out when its grace is over. Unknown runs are none of its
    /// business: success.
    fn suspend(&mut self, run: RunId, grace: Grace) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Tells a run to end for good; otherwise as [`Cluster::suspend`].
    fn stop(&mut self, run: RunId, grace: Grace) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// An operator said that a node takes no new work, or that it does again: the engine does as it was told, and whoever else
    /// places work there should. A cluster that nobody else uses has nothing to do.
    fn cordon(&mut self, _node: &NodeName, _cordoned: bool) -> impl Future<Output = Result<(), Self::Error>> + Send {
        std::future::ready(Ok(()))
    }

    /// The run's end is safely stored: nothing about it needs to be remembered, except its output.
    fn forget(&mut self, run: RunId) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The next fact: workers started and ended, checkpoints, nodes and devices changed. Waits until there is one.
    /// Dropping the future must not lose a fact. Facts may repeat; the engine ignores what it knows.
    fn next(&mut self) -> impl Future<Output = Fact> + Send;
}

/// Everything needed to start a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartOrder {
    /// The run.
    pub run: RunId,
    /// Its task.
    pub task: TaskId,
    /// 1 for the task's first run.
    pub attempt: u32,
    /// The task's name.
    pub name: String,
    /// The task's owner.
    pub user: UserName,
    /// The nodes that it may have.
    pub group: GroupName,
    /// What every worker executes.
    pub program: Program,
    /// Where, by rank.
    pub placement: Placement,
    /// How long it will have to leave.
    pub grace: Grace,
    /// The number that the task's last run left behind.
    pub whole_life_state: i64,
}

/// What a cluster holds at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// All nodes.
    pub nodes: Vec<NodeSpec>,
    /// All workers that it knows.
    pub workers: Vec<WorkerReport>,
}

/// One worker that a cluster knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// The run.
    pub run: RunId,
    /// Which worker.
    pub rank: u32,
    /// The number its run last set, if it did.
    pub whole_life_state: Option<i64>,
    /// How it ended; `None` while it executes (or is about to).
    pub exit: Option<WorkerExit>,
}
