//! A store and a cluster in memory: for tests, examples and programs that keep nothing.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::model::{
    Decision, Fact, Grace, NodeName, NodeSpec, Program, RightRow, RunId, RunView, TaskId, TaskView, WorkerExit,
    WorkerFate,
};

use super::{
    Batch, Cluster, Committed, Entry, Event, Fence, Listing, Record, Saved, Snapshot, StartOrder, Store, WorkerReport,
};

/// A store that lives as long as its last clone. Opening a clone is what a restart is to a real store.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    kept: Arc<Mutex<Kept>>,
}

/// What a [`MemoryStore`] keeps.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The greatest fence given out.
    pub fence: u64,
    /// The whole log.
    pub records: Vec<Record>,
    /// Programs by task.
    pub programs: BTreeMap<TaskId, Program>,
    /// All tasks.
    pub tasks: BTreeMap<TaskId, TaskView>,
    /// All runs.
    pub runs: BTreeMap<RunId, RunView>,
    /// All rights.
    pub rights: Vec<RightRow>,
    /// All events.
    pub events: Vec<Event>,
    /// The last snapshot.
    pub snapshot: Option<Snapshot>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half-done inside, whoever panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryStore {
    /// A copy of all that is kept.
    #[must_use]
    pub fn kept(&self) -> Kept {
        lock(&self.kept).clone()
    }

    /// All decisions ever stored, in order.
    #[must_use]
    pub fn decisions(&self) -> Vec<Decision> {
        let kept = lock(&self.kept);
        let rounds = kept.records.iter().filter_map(|record| match &record.entry {
            Entry::Round(decisions) => Some(decisions.clone()),
            Entry::Fact(_) | Entry::Opened(_) => None,
        });
        rounds.flatten().collect()
    }
}

impl Store for MemoryStore {
    type Error = Infallible;

    async fn open(&mut self) -> Result<Saved, Infallible> {
        let mut kept = lock(&self.kept);
        kept.fence += 1;
        let after = kept.snapshot.as_ref().map_or(0, |snapshot| snapshot.seq);
        Ok(Saved {
            fence: Fence(kept.fence),
            snapshot: kept.snapshot.clone(),
            records: kept.records.iter().filter(|record| record.seq > after).cloned().collect(),
            last_event: kept.events.last().map_or(0, |event| event.id),
        })
    }

    async fn commit(&mut self, batch: &Batch) -> Result<Committed, Infallible> {
        let mut kept = lock(&self.kept);
        if batch.fence != Fence(kept.fence) {
            return Ok(Committed::Fenced);
        }
        kept.records.extend(batch.records.iter().cloned());
        kept.programs.extend(batch.programs.iter().cloned());
        kept.tasks.extend(batch.tasks.iter().map(|task| (task.id, task.clone())));
        kept.runs.extend(batch.runs.iter().map(|run| (run.id, run.clone())));
        kept.events.extend(batch.events.iter().cloned());
        if let Some(rights) = &batch.rights {
            kept.rights.clone_from(rights);
        }
        if batch.snapshot.is_some() {
            kept.snapshot.clone_from(&batch.snapshot);
        }
        Ok(Committed::Done)
    }

    async fn program(&mut self, task: TaskId) -> Result<Option<Program>, Infallible> {
        Ok(lock(&self.kept).programs.get(&task).cloned())
    }
}

/// A cluster whose workers do nothing until they are told how they end. Clones are handles to the same cluster, which
/// outlives the drivers that use it.
#[derive(Clone, Debug, Default)]
pub struct MemoryCluster {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    nodes: BTreeMap<crate::model::NodeName, NodeSpec>,
    runs: BTreeMap<RunId, MemoryRun>,
    /// Workers that leave as soon as they are told to.
    obedient: bool,
    cordons: BTreeMap<NodeName, bool>,
    facts: VecDeque<Fact>,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct MemoryRun {
    order: StartOrder,
    exits: Vec<Option<WorkerExit>>,
    whole_life_state: Option<i64>,
    told_to_leave: bool,
}

impl Inner {
    fn tell(&mut self, fact: Fact) {
        self.facts.push_back(fact);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn end(&mut self, id: RunId, rank: u32, exit: WorkerExit) -> bool {
        let Some(run) = self.runs.get_mut(&id) else { return false };
        match run.exits.get_mut(rank as usize) {
            Some(slot @ None) => *slot = Some(exit.clone()),
            _ => return false,
        }
        self.tell(Fact::WorkerEnded { run: id, rank, exit });
        true
    }

    fn leave(&mut self, id: RunId) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.told_to_leave = true;
        let workers = u32::try_from(run.exits.len()).unwrap_or(u32::MAX);
        if self.obedient {
            for rank in 0..workers {
                self.end(id, rank, WorkerExit::of(WorkerFate::Killed { signal: 15 }).after_signal());
            }
        }
    }
}

impl MemoryCluster {
    /// A cluster of these nodes, whose workers leave at once when told to.
    #[must_use]
    pub fn new(nodes: impl IntoIterator<Item = NodeSpec>) -> Self {
        let nodes = nodes.into_iter().map(|node| (node.name.clone(), node)).collect();
        MemoryCluster { inner: Arc::new(Mutex::new(Inner { nodes, obedient: true, ..Inner::default() })) }
    }

    /// Whether workers leave at once when told to, or only when [`MemoryCluster::end`] says so.
    pub fn set_obedient(&self, obedient: bool) {
        lock(&self.inner).obedient = obedient;
    }

    /// A node joins or changes.
    pub fn set_node(&self, node: NodeSpec) {
        let mut inner = lock(&self.inner);
        inner.nodes.insert(node.name.clone(), node.clone());
        inner.tell(Fact::NodeSet { node });
    }

    /// The nodes that it was last told take no new work, and those that it was told do.
    #[must_use]
    pub fn cordons(&self) -> BTreeMap<NodeName, bool> {
        lock(&self.inner).cordons.clone()
    }

    /// One worker ends; false if there is no such worker or it had ended already.
    pub fn end(&self, run: RunId, rank: u32, exit: WorkerExit) -> bool {
        lock(&self.inner).end(run, rank, exit)
    }

    /// A run saves its work.
    pub fn checkpoint(&self, run: RunId, whole_life_state: i64) {
        let mut inner = lock(&self.inner);
        if let Some(known) = inner.runs.get_mut(&run) {
            known.whole_life_state = Some(whole_life_state);
            inner.tell(Fact::Checkpointed { run, whole_life_state });
        }
    }

    /// The orders of all runs of which a worker executes, by run, and whether they were told to leave.
    #[must_use]
    pub fn executing(&self) -> Vec<(StartOrder, bool)> {
        let inner = lock(&self.inner);
        let runs = inner.runs.values().filter(|run| run.exits.iter().any(Option::is_none));
        runs.map(|run| (run.order.clone(), run.told_to_leave)).collect()
    }
}

impl Cluster for MemoryCluster {
    type Error = Infallible;

    async fn list(&mut self) -> Result<Listing, Infallible> {
        let inner = lock(&self.inner);
        let workers = inner.runs.iter().flat_map(|(&id, run)| {
            (0_u32..).zip(&run.exits).map(move |(rank, exit)| WorkerReport {
                run: id,
                rank,
                whole_life_state: run.whole_life_state,
                exit: exit.clone(),
            })
        });
        Ok(Listing { nodes: inner.nodes.values().cloned().collect(), workers: workers.collect() })
    }

    async fn start(&mut self, order: &StartOrder) -> Result<(), Infallible> {
        let mut inner = lock(&self.inner);
        if inner.runs.contains_key(&order.run) {
            return Ok(());
        }
        let workers = order.placement.workers.len();
        let run = MemoryRun {
            order: order.clone(),
            exits: vec![None; workers],
            whole_life_state: None,
            told_to_leave: false,
        };
        inner.runs.insert(order.run, run);
        for rank in (0..).take(workers) {
            inner.tell(Fact::WorkerStarted { run: order.run, rank });
        }
        Ok(())
    }

    async fn suspend(&mut self, run: RunId, _grace: Grace) -> Result<(), Infallible> {
        lock(&self.inner).leave(run);
        Ok(())
    }

    async fn stop(&mut self, run: RunId, _grace: Grace) -> Result<(), Infallible> {
        lock(&self.inner).leave(run);
        Ok(())
    }

    async fn cordon(&mut self, node: &NodeName, cordoned: bool) -> Result<(), Infallible> {
        lock(&self.inner).cordons.insert(node.clone(), cordoned);
        Ok(())
    }

    async fn forget(&mut self, run: RunId) -> Result<(), Infallible> {
        lock(&self.inner).runs.remove(&run);
        Ok(())
    }

    async fn next(&mut self) -> Fact {
        poll_fn(|context| {
            let mut inner = lock(&self.inner);
            match inner.facts.pop_front() {
                Some(fact) => Poll::Ready(fact),
                None => {
                    inner.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}
