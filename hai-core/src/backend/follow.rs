//! Follows a log as it was decided: checks its chain and builds up the engine that wrote it.

use crate::engine::{Changes, Engine, EngineConfig, Policies};

use super::{Chain, Entry, Record, Snapshot};

/// An engine that is told what a log says, its decisions included. Nothing is decided anew.
#[derive(Clone, Debug)]
pub struct Follower {
    engine: Engine,
    chain: Chain,
    policies: Policies,
}

/// A record that can not follow those before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct FollowError {
    /// The record.
    pub seq: u64,
    /// What is wrong with it.
    pub problem: String,
    /// Its number or its digest is not the one that must follow: the log was damaged or altered.
    pub broken: bool,
}

impl Follower {
    /// Before the first record. `config` counts until the log names another.
    #[must_use]
    pub fn new(config: EngineConfig, policies: Policies) -> Self {
        let engine = Engine::with_policies(config, policies.clone());
        Follower { engine, chain: Chain::default(), policies }
    }

    /// After the records that a snapshot contains. `config` counts if the snapshot does not say with which it was taken.
    #[must_use]
    pub fn after(snapshot: Snapshot, config: EngineConfig, policies: Policies) -> Self {
        let config = snapshot.state.config().cloned().unwrap_or(config);
        let engine = Engine::restore_with_policies(config, policies.clone(), snapshot.state);
        Follower { engine, chain: Chain::after(snapshot.seq, snapshot.digest), policies }
    }

    /// Takes the next record in.
    ///
    /// # Errors
    /// [`FollowError`]; what follows is then of no use any more.
    pub fn take(&mut self, record: &Record) -> Result<(), FollowError> {
        let wrong = |problem: String, broken| FollowError { seq: record.seq, problem, broken };
        if !self.chain.verify(record) {
            return Err(wrong("its number or its digest does not follow from the records before it".into(), true));
        }
        let taken = match &record.entry {
            Entry::Fact(fact) => self.engine.observe(record.at, fact).map(drop),
            Entry::Round(decisions) => self.engine.replay(record.at, decisions),
            Entry::Opened(opening) => {
                self.engine = self.engine.reopened(record.at, opening.config.clone(), self.policies.clone());
                Ok(())
            }
        };
        taken.map_err(|error| wrong(error.to_string(), false))
    }

    /// The engine as it was after the last record.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The chain up to the last record.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// What changed since the last call; see [`Engine::drain_changes`]. Whoever follows a long log must call it, or
    /// finished tasks pile up.
    pub fn drain_changes(&mut self) -> Changes {
        self.engine.drain_changes()
    }

    /// The state after the last record. The log goes on from it only if that record was a round.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { seq: self.chain.seq(), digest: self.chain.digest(), state: self.engine.snapshot() }
    }

    pub(super) fn into_parts(self) -> (Engine, Chain) {
        (self.engine, self.chain)
    }
}
