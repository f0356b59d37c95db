//! What is true outside the driver: which workers execute, what the store holds, and which faults are to come.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use hai_core::backend::{Batch, Entry, StartOrder};
use hai_core::model::*;

/// A seeded stream of numbers (SplitMix64): the same seed gives the same simulation.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len() as u64) as usize].clone())
    }
}

/// Something that can fail once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    StoreOpen,
    /// The store fails and has written nothing.
    CommitLost,
    /// The store fails although it has written.
    CommitUnanswered,
    Program,
    List,
    Start,
    Suspend,
    Stop,
    Forget,
    /// Not at random: no load cordons nodes.
    Cordon,
}

impl Fault {
    pub(crate) const ALL: [Fault; 9] = [
        Fault::StoreOpen,
        Fault::CommitLost,
        Fault::CommitUnanswered,
        Fault::Program,
        Fault::List,
        Fault::Start,
        Fault::Suspend,
        Fault::Stop,
        Fault::Forget,
    ];
}

/// An injected failure.
#[derive(Debug, thiserror::Error)]
#[error("injected: {0:?} failed")]
pub(crate) struct Injected(pub(crate) Fault);

/// One run as the cluster truly executes it.
#[derive(Clone, Debug)]
pub(crate) struct TrueRun {
    pub(crate) order: StartOrder,
    /// By rank; `None` while it executes.
    pub(crate) exits: Vec<Option<WorkerExit>>,
    pub(crate) told_to_leave: bool,
    pub(crate) forgotten: bool,
}

/// How a run came out, judged by its workers' exits alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Result {
    Executes,
    Succeeded,
    Failed,
    /// It has to be done again.
    Interrupted,
}

impl TrueRun {
    pub(crate) fn alive(&self) -> impl Iterator<Item = usize> + '_ {
        self.exits.iter().enumerate().filter(|(_, exit)| exit.is_none()).map(|(rank, _)| rank)
    }

    pub(crate) fn result(&self) -> Result {
        let Some(exits) = self.exits.iter().cloned().collect::<Option<Vec<_>>>() else { return Result::Executes };
        let failed =
            |exit: &WorkerExit| !exit.signalled && matches!(exit.fate, WorkerFate::Exited { code } if code > 0);
        let well = |exit: &WorkerExit| !exit.signalled && exit.fate == WorkerFate::Exited { code: 0 };
        if exits.iter().any(|exit| exit.declared_done) || exits.iter().all(well) {
            Result::Succeeded
        } else if exits.iter().any(failed) {
            Result::Failed
        } else {
            Result::Interrupted
        }
    }
}

/// All of it.
#[derive(Default)]
pub(crate) struct State {
    /// Await points left before the driver's process dies.
    crash_in: Option<u64>,
    crashed: bool,
    faults: BTreeSet<Fault>,
    /// Give every order twice, and every fact.
    pub(crate) twice: bool,
    pub(crate) runs: BTreeMap<RunId, TrueRun>,
    /// The number that the task's runs saved last.
    pub(crate) saved: BTreeMap<TaskId, i64>,
    /// Cancellations that were answered.
    pub(crate) cancelled: BTreeSet<TaskId>,
    /// Orders that reached the cluster, repeated ones included.
    pub(crate) orders: u64,
    stored_starts: BTreeMap<RunId, (TaskId, Placement)>,
    stored_suspends: BTreeSet<RunId>,
    stored_stops: BTreeSet<RunId>,
    stored_ends: BTreeSet<RunId>,
    /// Runs that somebody else started.
    pub(crate) strays: BTreeSet<RunId>,
}

/// A handle to what is true.
#[derive(Clone, Default)]
pub(crate) struct World(Arc<Mutex<State>>);

impl World {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("a check has failed already")
    }

    pub(crate) fn crash_in(&self, points: u64) {
        self.state().crash_in = Some(points);
    }

    pub(crate) fn arm(&self, fault: Fault) {
        self.state().faults.insert(fault);
    }

    /// No faults from now on.
    pub(crate) fn behave(&self) {
        let mut state = self.state();
        (state.crash_in, state.crashed, state.twice) = (None, false, false);
        state.faults.clear();
    }

    /// Runs a future to its end; `None` if the driver crashed in it, or it waits for something that has not happened.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    /// Whether the driver has crashed since this was last asked.
    pub(crate) fn crashed(&self) -> bool {
        std::mem::take(&mut self.state().crashed)
    }

    /// An await point: here the process may die, which is to say that the future never goes on.
    pub(crate) async fn point(&self) {
        poll_fn(|_| {
            let mut state = self.state();
            match &mut state.crash_in {
                None => Poll::Ready(()),
                Some(0) => {
                    state.crash_in = None;
                    state.crashed = true;
                    Poll::Pending
                }
                Some(left) => {
                    *left -= 1;
                    Poll::Ready(())
                }
            }
        })
        .await;
    }

    pub(crate) fn may_fail(&self, fault: Fault) -> std::result::Result<(), Injected> {
        if self.state().faults.remove(&fault) { Err(Injected(fault)) } else { Ok(()) }
    }

    /// Whether a driver's calls are to be made twice.
    pub(crate) fn times(&self) -> usize {
        if self.state().twice { 2 } else { 1 }
    }

    /// The store has written this.
    pub(crate) fn stored(&self, batch: &Batch) {
        let mut state = self.state();
        for record in &batch.records {
            let Entry::Round(decisions) = &record.entry else { continue };
            for decision in decisions {
                match decision {
                    Decision::Start { task, run, placement, .. } => {
                        let before = state.stored_starts.insert(*run, (*task, placement.clone()));
                        assert!(before.is_none(), "run {run} is decided twice");
                    }
                    Decision::Suspend { run, .. } => drop(state.stored_suspends.insert(*run)),
                    Decision::Stop { run, .. } => drop(state.stored_stops.insert(*run)),
                    _ => {}
                }
            }
        }
        let ended = batch.runs.iter().filter(|run| run.phase == RunPhase::Ended).map(|run| run.id);
        state.stored_ends.extend(ended);
    }

    /// A start order has reached the cluster.
    pub(crate) fn ordered_start(&self, order: &StartOrder) {
        let mut state = self.state();
        state.orders += 1;
        let (run, task) = (order.run, order.task);
        let stored = state.stored_starts.get(&run);
        assert_eq!(stored, Some(&(task, order.placement.clone())), "the start of run {run} is not stored");
        assert!(!state.stored_ends.contains(&run), "run {run} is started after its end was stored");
        assert_eq!(order.program.command, ["job", &order.name], "run {run} has another task's program");
        assert_eq!(
            order.whole_life_state,
            *state.saved.get(&task).unwrap_or(&0),
            "run {run} lost what task {task} saved"
        );
    }

    /// The cluster begins to execute this run, unless it knows it.
    pub(crate) fn begins(&self, order: &StartOrder) {
        let mut state = self.state();
        let (run, task) = (order.run, order.task);
        if let Some(known) = state.runs.get(&run) {
            assert!(!known.forgotten, "run {run} is started again after it was forgotten");
            assert_eq!(known.order.placement, order.placement, "run {run} is started again elsewhere");
            return;
        }
        assert!(!state.cancelled.contains(&task), "task {task} starts run {run} after it was cancelled");
        for (id, other) in &state.runs {
            if other.order.task == task {
                assert_eq!(other.result(), Result::Interrupted, "task {task} executes as run {id}, and now as {run}");
            }
            for place in other.alive().map(|rank| &other.order.placement.workers[rank]) {
                for wanted in order.placement.workers.iter().filter(|wanted| wanted.node == place.node) {
                    let twice = place.devices.iter().find(|device| wanted.devices.contains(device));
                    assert_eq!(twice, None, "device used by run {id} and by run {run}");
                    assert!(!place.whole_node && !wanted.whole_node, "runs {id} and {run} share {}", place.node);
                }
            }
        }
        let exits = vec![None; order.placement.workers.len()];
        let known = TrueRun { order: order.clone(), exits, told_to_leave: false, forgotten: false };
        state.runs.insert(run, known);
    }

    /// An order to leave has reached the cluster.
    pub(crate) fn ordered_end(&self, run: RunId, for_good: bool) {
        let mut state = self.state();
        state.orders += 1;
        let (suspend, stop) = (state.stored_suspends.contains(&run), state.stored_stops.contains(&run));
        if for_good {
            assert!(stop || state.strays.contains(&run), "the stop of run {run} is not stored");
        } else {
            assert!(suspend && !stop, "run {run} is suspended; stored: suspend {suspend}, stop {stop}");
        }
    }

    /// The cluster has heard that the run is to leave.
    pub(crate) fn leaves(&self, run: RunId) {
        if let Some(known) = self.state().runs.get_mut(&run) {
            known.told_to_leave = true;
        }
    }

    /// The cluster was told to forget a run.
    pub(crate) fn forgets(&self, run: RunId) {
        let mut state = self.state();
        let over = state.stored_ends.contains(&run) || state.strays.contains(&run);
        assert!(over, "run {run} is forgotten before its end is stored");
        if let Some(known) = state.runs.get_mut(&run) {
            assert_eq!(known.alive().next(), None, "run {run} is forgotten while it executes");
            known.forgotten = true;
        }
    }
}
