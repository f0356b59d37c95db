//! What the engine remembers of a task and of a run.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::inventory::NodeIx;
use crate::model::{
    Amount, Charge, Displacement, ModelName, NodeName, Placement, Priority, Refusal, RefusalCause, RunEnd, RunId,
    RunPhase, RunView, Span, TaskId, TaskSpec, Time, WorkerFate, WorkerState, WorkerView, Yielded,
};
use crate::queue::order::AccountIx;
use crate::queue::{ClassId, Member, Want};
use crate::rights::book::Waiter;
use crate::rights::{Bill, BucketIx, GroupIx, Part, UserIx};

/// An unfinished task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) spec: Arc<TaskSpec>,
    pub(super) status: Status,
    pub(super) submitted_at: Time,
    pub(super) started_at: Option<Time>,
    /// Since when it waits, or last waited.
    pub(super) waiting_since: Time,
    pub(super) runs: u32,
    pub(super) whole_life_state: i64,
    /// How long its ended runs ran.
    pub(super) ran: Span,
    /// Refused starts in a row.
    pub(super) refusals: u32,
    /// Runs in a row that were lost before long.
    #[serde(default)]
    pub(super) losses: u32,
    /// Failures after which it was tried again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) retried: u32,
    /// Nodes where it failed, which it would rather not see again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) avoids: Vec<NodeName>,
    /// How many tasks it waits for that are not over.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) awaits: u32,
    /// What its ended runs had, in device-milliseconds.
    #[serde(default)]
    pub(super) attained: u64,
    /// How often it was suspended for others.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) suspensions: u32,
    /// What its last suspension and its last start took together.
    #[serde(default)]
    pub(super) swap_cost: Span,
    /// It is to be held once its run has left.
    pub(super) hold: bool,
    /// How somebody says that it has ended: well, or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) concluded: Option<bool>,
    pub(super) yielded: Option<Yielded>,
    /// What the last time cost that it was told to leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) displaced: Option<Box<Displacement>>,
    /// Its last start that came to nothing, until it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<Box<Refusal>>,
    /// The reason in the last verdict that a round told.
    pub(super) told: Option<Reason>,
    /// Where it waits.
    #[serde(skip)]
    pub(super) queued: Derived<Option<(ClassId, Member)>>,
    /// Its owner and its group in the book of rights.
    #[serde(skip)]
    pub(super) account: Derived<Option<(UserIx, GroupIx)>>,
    /// Where its owner's use is summed up, if the order looks at that.
    #[serde(skip)]
    pub(super) usage: Derived<Option<AccountIx>>,
    /// Strict order only: what the last round found.
    #[serde(skip)]
    pub(super) found: Option<Found>,
}

/// What follows from the rest and is worked out again when an engine is restored. Two engines may number things
/// differently, so it makes no difference between them.
#[derive(Clone, Debug, Default)]
pub(super) struct Derived<T>(pub(super) T);

impl<T> PartialEq for Derived<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Where a task is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Waiting,
    /// For other tasks to end.
    After,
    NotBefore,
    BackOff {
        until: Time,
        reason: String,
    },
    Held,
    /// It has a run, which may only be promised its place, or be leaving.
    Run(RunId),
}

/// Why a task is not running, without the numbers: a verdict is told anew only when this changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reason {
    NotYetSeen,
    Wants(Want),
    Behind,
    Blocked(TaskId),
    Reserved,
    Promised(RunId),
    After,
    NotBefore,
    BackOff(Time),
    Held,
    Leaving(RunId),
}

/// Strict order: what a task lacks, or who stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Wants(Want),
    /// Its right, by others of its owner's that come before it.
    Dealt(Charge),
    Blocked(TaskId),
}

/// An unended run, or one that is promised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) task: TaskId,
    pub(super) attempt: u32,
    pub(super) phase: Phase,
    pub(super) placement: Placement,
    /// By rank.
    pub(super) workers: Vec<WorkerState>,
    pub(super) decided_at: Time,
    pub(super) started_at: Option<Time>,
    pub(super) checkpointed_at: Option<Time>,
    /// What it reported then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) whole_life_state: Option<i64>,
    pub(super) level: Priority,
    pub(super) entitled: bool,
    /// It counts as the next level down.
    pub(super) demoted: bool,
    /// The level that it had risen to by waiting, until its first slice is over: else it would lose at once what it waited
    /// for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) risen: Option<Priority>,
    /// The first worker that failed, and how.
    pub(super) failure: Option<String>,
    /// The first worker that was lost or refused, and how.
    pub(super) loss: Option<Loss>,
    pub(super) declared_done: bool,
    /// A worker ended because of our signal.
    pub(super) interrupted: bool,
    /// Somebody wants the task stopped.
    pub(super) cancelled: bool,
    /// It failed in a way that trying again does not help.
    #[serde(default)]
    pub(super) hopeless: bool,
    /// The node of the first worker that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failed_on: Option<NodeName>,
    /// Since when its devices are idle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) idle_since: Option<Time>,
    /// When its lease began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) leased_at: Option<Time>,
    /// It is beyond its right, and has to leave then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) notice: Option<Time>,
    /// When it was told to leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) told_at: Option<Time>,
    /// What each worker uses, once that does not follow any more from what is known of its nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) billed: Vec<Billed>,
    /// What each worker uses, and of whose right; `None` for work that needs none.
    #[serde(skip)]
    pub(super) bill: Derived<Option<(BucketIx, SmallVec<[Bill; 1]>)>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// Why a run could not go on through no fault of its task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Loss {
    pub(super) refused: bool,
    pub(super) reason: String,
    /// The node that refused it through no fault of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) by_node: Option<NodeName>,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    Promised,
    Starting,
    Running,
    Vacating { until: Time, stopping: bool },
}

impl Task {
    pub(super) fn run(&self) -> Option<RunId> {
        match self.status {
            Status::Run(run) => Some(run),
            _ => None,
        }
    }
}

/// What a worker was charged for, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Billed {
    pub(super) charge: Charge,
    pub(super) by_model: Vec<(ModelName, Charge)>,
}

impl Run {
    /// What its workers that have not ended use together.
    pub(super) fn charge(&self) -> Charge {
        let Some((_, bills)) = &self.bill.0 else { return Charge::NOTHING };
        self.alive().filter_map(|rank| bills.get(rank)).map(|bill| bill.charge).sum()
    }

    /// The same, by model too.
    pub(super) fn bill(&self) -> Option<(BucketIx, Bill)> {
        let (bucket, bills) = self.bill.0.as_ref()?;
        Some((*bucket, self.alive().filter_map(|rank| bills.get(rank)).sum()))
    }

    /// How many devices one of its workers has.
    pub(super) fn devices(&self, rank: usize) -> Amount {
        let place = &self.placement.workers[rank];
        let milli = place.part.map_or(1000, |part| u64::from(part.milli));
        Amount::from_milli(milli).times(place.devices.len() as u64)
    }

    /// Under which part of its bucket's use it stands.
    pub(super) fn part(&self) -> Part {
        match (self.phase, self.entitled) {
            (Phase::Promised, true) => Part::Promised,
            (Phase::Vacating { .. }, true) => Part::Leaving,
            (_, true) => Part::Staying,
            (Phase::Vacating { .. }, false) => Part::Returning,
            (_, false) => Part::Borrowed,
        }
    }

    /// Ranks that have not ended.
    pub(super) fn alive(&self) -> impl Iterator<Item = usize> + '_ {
        self.workers
            .iter()
            .enumerate()
            .filter(|(_, worker)| !matches!(worker, WorkerState::Ended { .. }))
            .map(|(rank, _)| rank)
    }

    /// It holds its place and nobody told it to leave.
    pub(super) fn is_staying(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Running)
    }

    /// How long it has run without a break.
    pub(super) fn elapsed(&self, now: Time) -> Span {
        self.started_at.map_or(Span::ZERO, |start| now.since(start))
    }

    /// The level it counts as.
    pub(super) fn counts_as(&self) -> Priority {
        if self.demoted && self.level == Priority::AboveNormal { Priority::Normal } else { self.level }
    }

    /// How the run ended, now that all its workers have, judged by what they said.
    pub(super) fn verdict_at_end(&self) -> RunEnd {
        if self.declared_done {
            return RunEnd::Completed;
        }
        if let Some(reason) = &self.failure {
            return RunEnd::Failed { reason: reason.clone() };
        }
        if let (Some(loss), false) = (&self.loss, self.cancelled) {
            return RunEnd::Lost { reason: loss.reason.clone() };
        }
        match (self.interrupted || self.loss.is_some(), self.cancelled) {
            (false, _) => RunEnd::Completed,
            (true, true) => RunEnd::Stopped,
            (true, false) => RunEnd::Suspended,
        }
    }

    /// Takes in how one worker ended.
    pub(super) fn note_exit(&mut self, rank: u32, exit: &crate::model::WorkerExit) {
        self.declared_done |= exit.declared_done;
        match &exit.fate {
            WorkerFate::Exited { .. } | WorkerFate::Killed { .. } if exit.signalled => self.interrupted = true,
            WorkerFate::Exited { code: 0 } => {}
            WorkerFate::Exited { .. }
            | WorkerFate::Killed { .. }
            | WorkerFate::OutOfMemory { .. }
            | WorkerFate::NotExecuted { .. } => {
                if self.failure.is_none() {
                    self.failure = Some(self_of(rank, &self.workers, &exit.fate));
                    self.failed_on = self.placement.workers.get(rank as usize).map(|place| place.node.clone());
                }
            }
            WorkerFate::Refused { reason, cause } => {
                let node = || self.placement.workers.get(rank as usize).map(|place| place.node.clone());
                let by_node = (*cause == RefusalCause::Node).then(node).flatten();
                self.loss.get_or_insert_with(|| Loss { refused: true, reason: reason.clone(), by_node });
            }
            WorkerFate::Lost { reason } => {
                self.loss.get_or_insert_with(|| Loss { refused: false, reason: reason.clone(), by_node: None });
            }
        }
    }

    pub(super) fn view(&self, id: RunId, ended: Option<(Time, RunEnd)>) -> RunView {
        let (ended_at, end) = ended.map_or((None, None), |(at, end)| (Some(at), Some(end)));
        RunView {
            id,
            task: self.task,
            attempt: self.attempt,
            phase: match self.phase {
                _ if end.is_some() => RunPhase::Ended,
                Phase::Promised | Phase::Starting => RunPhase::Starting,
                Phase::Running => RunPhase::Running,
                Phase::Vacating { .. } => RunPhase::Vacating,
            },
            decided_at: self.decided_at,
            started_at: self.started_at,
            ended_at,
            checkpointed_at: self.checkpointed_at,
            whole_life_state: self.whole_life_state,
            end,
            workers: self
                .placement
                .workers
                .iter()
                .zip(&self.workers)
                .map(|(place, state)| WorkerView { place: place.clone(), state: state.clone() })
                .collect(),
        }
    }
}

fn self_of(rank: u32, workers: &[WorkerState], fate: &WorkerFate) -> String {
    if workers.len() == 1 { fate.to_string() } else { format!("worker {rank}: {fate}") }
}

/// What rounds still have to look at.
#[derive(Clone, Debug, Default)]
pub(super) struct Agenda {
    /// Runs that may have to be told something, whatever the policy says.
    pub(super) runs: Marked<RunId>,
    /// Nodes that have more room for new work, or from which somebody yields more easily.
    pub(super) nodes: Marked<NodeIx>,
    /// Runs whose slice ended.
    pub(super) slices: Marked<RunId>,
    /// Something changed that may let any promise be kept, or break it.
    pub(super) promises: bool,
    /// The same for these.
    pub(super) promised: Marked<RunId>,
    /// Whose rights are used less.
    pub(super) rights: Marked<(Waiter, GroupIx)>,
    /// Rights were cut somewhere.
    pub(super) rights_cut: bool,
    /// Rights became free, so that borrowed work may become entitled.
    pub(super) rights_freed: bool,
    /// Tasks whose verdict may have changed.
    pub(super) verdicts: Marked<TaskId>,
}

/// A set that is filled one by one and emptied at once, in order. It keeps its memory.
#[derive(Clone, Debug)]
pub(super) struct Marked<T> {
    marked: Vec<T>,
}

impl<T> Default for Marked<T> {
    fn default() -> Self {
        Marked { marked: Vec::new() }
    }
}

impl<T: Ord + Copy> Marked<T> {
    pub(super) fn insert(&mut self, item: T) {
        if self.marked.last() != Some(&item) {
            self.marked.push(item);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.marked.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.marked.clear();
    }

    /// Takes all out, in order and each once. Hand the memory back with [`Marked::reuse`].
    pub(super) fn take(&mut self) -> Vec<T> {
        let mut taken = std::mem::take(&mut self.marked);
        // Mostly in order already, which this sort makes use of.
        taken.sort();
        taken.dedup();
        taken
    }

    pub(super) fn reuse(&mut self, mut taken: Vec<T>) {
        if self.marked.is_empty() {
            taken.clear();
            self.marked = taken;
        }
    }
}
