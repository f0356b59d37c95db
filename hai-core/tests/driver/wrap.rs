//! A store and a cluster in memory that fail, and die, where they are told to, and check what they are told.

use std::sync::{Arc, Mutex};

use hai_core::backend::*;
use hai_core::model::*;

use super::world::{Fault, Injected, World};

/// Changes what is read back from a store.
pub(crate) type Damage = fn(&mut Saved);

/// A [`MemoryStore`] with faults.
#[derive(Clone, Default)]
pub(crate) struct SimStore {
    pub(crate) world: World,
    pub(crate) inner: MemoryStore,
    pub(crate) damage: Option<Damage>,
    /// Records that the last opening gave back.
    pub(crate) replayed: Arc<Mutex<usize>>,
}

impl Store for SimStore {
    type Error = Injected;

    async fn open(&mut self) -> Result<Saved, Injected> {
        self.world.point().await;
        self.world.may_fail(Fault::StoreOpen)?;
        let Ok(mut saved) = self.inner.open().await;
        if let Some(damage) = self.damage {
            damage(&mut saved);
        }
        *self.replayed.lock().unwrap() = saved.records.len();
        self.world.point().await;
        Ok(saved)
    }

    async fn commit(&mut self, batch: &Batch) -> Result<Committed, Injected> {
        self.world.point().await;
        self.world.may_fail(Fault::CommitLost)?;
        let Ok(committed) = self.inner.commit(batch).await;
        if committed == Committed::Done {
            self.world.stored(batch);
        }
        self.world.may_fail(Fault::CommitUnanswered)?;
        self.world.point().await;
        Ok(committed)
    }

    async fn program(&mut self, task: TaskId) -> Result<Option<Program>, Injected> {
        self.world.point().await;
        self.world.may_fail(Fault::Program)?;
        let Ok(program) = self.inner.program(task).await;
        Ok(program)
    }
}

/// A [`MemoryCluster`] with faults, whose workers leave only when the simulation says so.
#[derive(Clone)]
pub(crate) struct SimCluster {
    pub(crate) world: World,
    pub(crate) inner: MemoryCluster,
    /// A fact that is to be told a second time.
    echo: Option<Fact>,
}

impl SimCluster {
    pub(crate) fn new(world: World, nodes: impl IntoIterator<Item = NodeSpec>) -> Self {
        let inner = MemoryCluster::new(nodes);
        inner.set_obedient(false);
        SimCluster { world, inner, echo: None }
    }

    /// One worker ends.
    pub(crate) fn end(&self, run: RunId, rank: usize, exit: WorkerExit) {
        if let Some(known) = self.world.state().runs.get_mut(&run) {
            assert_eq!(known.exits[rank], None);
            known.exits[rank] = Some(exit.clone());
        }
        assert!(self.inner.end(run, u32::try_from(rank).unwrap(), exit), "worker {rank} of run {run} does not execute");
    }

    /// A run saves its work.
    pub(crate) fn checkpoint(&self, run: RunId, whole_life_state: i64) {
        let mut state = self.world.state();
        let task = state.runs[&run].order.task;
        state.saved.insert(task, whole_life_state);
        self.inner.checkpoint(run, whole_life_state);
    }

    /// What was reported and not yet heard is lost, as it is when the process that watched the workers dies.
    pub(crate) fn lose_reports(&mut self) {
        self.echo = None;
        while self.world.run(self.inner.next()).is_some() {}
    }
}

impl Cluster for SimCluster {
    type Error = Injected;

    async fn list(&mut self) -> Result<Listing, Injected> {
        self.world.point().await;
        self.world.may_fail(Fault::List)?;
        let Ok(listing) = self.inner.list().await;
        self.world.point().await;
        Ok(listing)
    }

    async fn start(&mut self, order: &StartOrder) -> Result<(), Injected> {
        self.world.ordered_start(order);
        self.world.point().await;
        // A cluster that has begun with a run can not refuse it any more.
        if !self.world.state().runs.contains_key(&order.run) {
            self.world.may_fail(Fault::Start)?;
        }
        for _ in 0..self.world.times() {
            self.world.begins(order);
            let Ok(()) = self.inner.start(order).await;
        }
        self.world.point().await;
        Ok(())
    }

    async fn suspend(&mut self, run: RunId, grace: Grace) -> Result<(), Injected> {
        self.world.ordered_end(run, false);
        self.world.point().await;
        self.world.may_fail(Fault::Suspend)?;
        for _ in 0..self.world.times() {
            self.world.leaves(run);
            let Ok(()) = self.inner.suspend(run, grace).await;
        }
        self.world.point().await;
        Ok(())
    }

    async fn stop(&mut self, run: RunId, grace: Grace) -> Result<(), Injected> {
        self.world.ordered_end(run, true);
        self.world.point().await;
        self.world.may_fail(Fault::Stop)?;
        for _ in 0..self.world.times() {
            self.world.leaves(run);
            let Ok(()) = self.inner.stop(run, grace).await;
        }
        self.world.point().await;
        Ok(())
    }

    async fn cordon(&mut self, node: &NodeName, cordoned: bool) -> Result<(), Injected> {
        self.world.point().await;
        self.world.may_fail(Fault::Cordon)?;
        let Ok(()) = self.inner.cordon(node, cordoned).await;
        Ok(())
    }

    async fn forget(&mut self, run: RunId) -> Result<(), Injected> {
        self.world.point().await;
        self.world.may_fail(Fault::Forget)?;
        for _ in 0..self.world.times() {
            self.world.forgets(run);
            let Ok(()) = self.inner.forget(run).await;
        }
        self.world.point().await;
        Ok(())
    }

    async fn next(&mut self) -> Fact {
        if let Some(fact) = self.echo.take() {
            return fact;
        }
        let fact = self.inner.next().await;
        if self.world.state().twice {
            self.echo = Some(fact.clone());
        }
        fact
    }
}
