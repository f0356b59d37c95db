//! The loop: observe, schedule, store, act.

use crate::engine::{Engine, EngineConfig, FactError};
use crate::model::{Fact, Program, TaskId, TaskSpec, Time};

use super::{Cluster, Event, Store};

/// Something that somebody, or the cluster, wants the engine to know.
#[derive(Clone, Debug)]
pub enum Command {
    /// A new task; the driver gives it its number.
    Submit(Box<Submitted>),
    /// Any other fact.
    Tell(Fact),
}

/// A new task.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// What is asked.
    pub spec: TaskSpec,
    /// What its workers execute.
    pub program: Program,
}

/// The answer to one [`Command`], given once it is stored: the number of the task submitted, otherwise `None`.
pub type Reply = Result<Option<TaskId>, FactError>;

/// What stops a driver. It must be dropped and opened again: what is stored decides.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// Another driver took the lease.
    #[error("another scheduler has taken over this store; this one stops")]
    Fenced,
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The cluster can not even be listed.
    #[error("the cluster can not be listed: {0}")]
    Cluster(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The log does not replay.
    #[error("the log does not replay at record {seq}: {problem}")]
    Log {
        /// The record.
        seq: u64,
        /// What is wrong.
        problem: String,
    },
}

/// Drives an engine over a store and a cluster.
#[derive(Debug)]
pub struct Driver<S, C> {
    engine: Engine,
    store: S,
    cluster: C,
}

impl<S: Store, C: Cluster> Driver<S, C> {
    /// Loads the store, replays the log, lists the cluster and reconciles the two.
    ///
    /// # Errors
    /// [`DriverError`].
    pub async fn open(_config: EngineConfig, _store: S, _cluster: C, _now: Time) -> Result<Self, DriverError> {
        unimplemented!()
    }

    /// One step: takes the commands in, decides, stores, and only then acts. Replies come in the commands' order.
    ///
    /// # Errors
    /// [`DriverError`]; whatever was not answered is not stored.
    pub async fn step(&mut self, _now: Time, _commands: Vec<Command>) -> Result<Vec<Reply>, DriverError> {
        unimplemented!()
    }

    /// The next thing the cluster has to say, as a command for [`Driver::step`]. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Command {
        Command::Tell(self.cluster.next().await)
    }

    /// When [`Driver::step`] must be called even if there is no command.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.engine.next_deadline()
    }

    /// The engine, to look at.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What was stored since the last call and people may want to hear of.
    pub fn take_events(&mut self) -> Vec<Event> {
        unimplemented!()
    }

    /// Writes a snapshot, so that the next start is quick.
    ///
    /// # Errors
    /// [`DriverError`] if the store fails.
    pub async fn close(self) -> Result<(), DriverError> {
        let _ = self.store;
        unimplemented!()
    }
}
