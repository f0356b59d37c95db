//! Taking back what the same round placed, before anybody is told: so that a round is decided as one.
//!
//! A task may find its place only since a lesser one made others leave: it is their owner's, so that they do not yield to
//! it, or it lacked a right that they used. It would take the place at once from the one that they left for, who gains
//! nothing, and in effect they would leave for their owner's own work. So that is undone: they stay, and are spared for the
//! rest of the round what lesser claims than that task's want. Undone decisions never get into the round's log.

use crate::inventory::Stage;
use crate::model::*;
use crate::queue::order::{Account, AccountIx};

use super::Engine;
use super::reserve::Reservation;
use super::state::{Run, Status};

/// After so many times nothing more is taken back in a round, so that it ends whatever an embedder's policies say.
const TIMES_MAX: u32 = 1_000;

/// What a decision changed that its opposite does not bring back by itself.
#[derive(Clone, Debug)]
pub(super) struct Before {
    what: What,
    /// What the task's owner had used, if that is counted.
    usage: Option<(AccountIx, Account)>,
}

#[derive(Clone, Debug)]
enum What {
    /// A start or a promise: the first decision that was made for it, and the nodes that were kept for the task.
    Placed {
        from: usize,
        kept: Option<Reservation>,
    },
    Withdrawn {
        id: RunId,
        run: Box<Run>,
    },
    Suspended {
        run: Box<Run>,
        yielded: Option<Yielded>,
        suspensions: u32,
    },
    Nothing,
}

/// What can be taken back of the round that is being made.
#[derive(Clone, Debug, Default)]
pub(super) struct Undo {
    /// How many decisions, and which next run, the round had by then; `None` while nothing can be taken back.
    since: Option<(usize, RunId)>,
    /// By decision since then.
    befores: Vec<Before>,
    /// How often that was done.
    times: u32,
    /// Where the decisions begin that are made for the next placement.
    pub(super) plan_from: Option<usize>,
}

impl Engine {
    /// From now on decisions can be taken back.
    pub(super) fn begin_undoable(&mut self) {
        self.undo.since = Some((self.decisions.len(), self.next_run));
        self.undo.befores.clear();
        self.undo.times = 0;
    }

    /// Whether anything more is taken back in this round.
    pub(super) fn may_take_back(&self) -> bool {
        self.undo.times < TIMES_MAX
    }

    /// What was decided stands.
    pub(super) fn end_undoable(&mut self) {
        let Some((since, next_run)) = self.undo.since.take() else { return };
        self.undo.befores.clear();
        self.spared.clear();
        // Runs that were undone leave no number behind, as none is known to who replays the log.
        let made = self.decisions[since..].iter().filter_map(|decision| match decision {
            Decision::Start { run, .. } | Decision::Promise { run, .. } => Some(RunId(run.0 + 1)),
            _ => None,
        });
        self.next_run = made.fold(next_run, RunId::max);
    }

    /// Keeps what is needed to take a decision back.
    pub(super) fn keep_before(&mut self, decision: &Decision) {
        if self.undo.since.is_none() {
            return;
        }
        let what = match decision {
            Decision::Start { task, .. } | Decision::Promise { task, .. } => {
                let from = self.undo.plan_from.unwrap_or(self.decisions.len());
                What::Placed { from, kept: self.reservations.get(task).cloned() }
            }
            Decision::Withdraw { task } => match self.task_ref(*task).run() {
                Some(id) => What::Withdrawn { id, run: Box::new(self.run_ref(id).clone()) },
                None => What::Nothing,
            },
            Decision::Suspend { run, task, .. } => {
                let task = self.task_ref(*task);
                let (yielded, suspensions) = (task.yielded.clone(), task.suspensions);
                What::Suspended { run: Box::new(self.run_ref(*run).clone()), yielded, suspensions }
            }
            _ => What::Nothing,
        };
        let usage = match decision {
            Decision::Start { task, .. } | Decision::Suspend { task, .. } if self.counts_usage => {
                let account = self.usage_account(*task);
                Some((account, self.usage.account_of(account)))
            }
            _ => None,
        };
        self.undo.befores.push(Before { what, usage });
    }

    /// Whether a run got its place in this round.
    pub(super) fn is_new(&self, run: RunId) -> bool {
        self.undo.since.is_some_and(|(_, first)| run >= first)
    }

    /// Takes back the placing of those of these runs that this round placed, since `winner`, whose claim is better, would
    /// take their place. What only filled room that was there goes alone. Where somebody was made to leave, all that was
    /// decided since is taken back with it, the last first, and who would have left is spared: then true, as rights may
    /// have changed.
    pub(super) fn take_back(&mut self, runs: &[RunId], winner: TaskId, claim: Claim) -> bool {
        let Some((since, _)) = self.undo.since else { return false };
        self.undo.times += 1;
        let placed = |decision: &Decision| match decision {
            Decision::Start { run, .. } | Decision::Promise { run, .. } => runs.contains(run),
            _ => false,
        };
        let mut back_to = self.decisions.len();
        for at in (since..self.decisions.len()).rev().filter(|&at| placed(&self.decisions[at])) {
            let What::Placed { from, .. } = self.undo.befores[at - since].what else { continue };
            let made_way = &self.decisions[from..at];
            // What the winner was promised before is gone: it is placed anew, with the better claim that it has now.
            if made_way.iter().all(|decision| matches!(decision, Decision::Withdraw { task } if *task == winner)) {
                continue;
            }
            for (decision, before) in made_way.iter().zip(&self.undo.befores[from - since..]) {
                let run = match (decision, &before.what) {
                    (Decision::Suspend { run, .. }, _) => *run,
                    (_, What::Withdrawn { id, .. }) => *id,
                    _ => continue,
                };
                let up_to = self.spared.entry(run).or_insert(claim);
                *up_to = claim.max(*up_to);
                self.held_up.entry(winner).or_default().insert(run);
            }
            back_to = from;
        }
        let spares = back_to < self.decisions.len();
        if let Some(held_up) = self.held_up.get_mut(&winner) {
            held_up.retain(|run| self.runs.contains(*run));
        }
        while self.decisions.len() > back_to {
            self.undo_at(self.decisions.len() - 1);
        }
        for at in (since..self.decisions.len()).rev() {
            if placed(&self.decisions[at]) {
                self.undo_at(at);
            }
        }
        spares
    }

    fn undo_at(&mut self, at: usize) {
        let (since, _) = self.undo.since.expect("only what can be taken back is");
        let decision = self.decisions.remove(at);
        let before = self.undo.befores.remove(at - since);
        for later in &mut self.undo.befores[at - since..] {
            if let What::Placed { from, .. } = &mut later.what {
                // What was made for it is all after this one, or none of it is.
                *from -= usize::from(*from > at);
            }
        }
        match (&decision, before.what) {
            (Decision::Start { task, run, .. }, What::Placed { kept, .. }) => {
                self.task_mut(*task).runs -= 1;
                self.unplace(*task, *run, kept);
            }
            (Decision::Promise { task, run, .. }, What::Placed { kept, .. }) => self.unplace(*task, *run, kept),
            (Decision::Withdraw { task }, What::Withdrawn { id, run }) => self.promise_again(*task, id, *run),
            (Decision::Suspend { run: id, task, .. }, What::Suspended { run, yielded, suspensions }) => {
                let task = self.task_mut(*task);
                (task.yielded, task.suspensions) = (yielded, suspensions);
                self.let_stay(*id, *run);
            }
            _ => {}
        }
        let known_later = |account| {
            let mut later = self.undo.befores[at - since..].iter().filter_map(|before| before.usage);
            later.any(|(other, _)| other == account)
        };
        if let Some((account, used)) = before.usage.filter(|(account, _)| !known_later(*account)) {
            self.usage.put_back(account, used);
        }
    }

    fn unplace(&mut self, task: TaskId, run: RunId, kept: Option<Reservation>) {
        self.drop_promise(run);
        self.task_mut(task).status = Status::Waiting;
        self.enqueue(task);
        if let Some(kept) = kept {
            self.reservations.insert(task, kept);
        }
        if let Some((class, _)) = self.task_ref(task).queued.0 {
            self.queue.wake(class);
        }
    }

    fn promise_again(&mut self, task: TaskId, id: RunId, run: Run) {
        self.dequeue(task);
        self.task_mut(task).status = Status::Run(id);
        for (rank, place) in (0..).zip(&run.placement.workers) {
            self.inventory.hold(place, id, rank, Stage::Promised);
        }
        self.runs.insert(id, run);
        self.promised.insert(id);
        self.agenda.promised.insert(id);
        self.note_crossing(id);
        self.charge(id);
        self.list(id);
        self.touch(task);
    }

    /// A run that was told to leave was not.
    fn let_stay(&mut self, id: RunId, run: Run) {
        self.uncharge(id);
        let (task, notice) = (run.task, run.notice);
        *self.run_mut(id) = run;
        self.charge(id);
        self.set_stage(id, Stage::Staying);
        self.list(id);
        self.set_run_timers(id);
        self.set_life_timers(id);
        if notice.is_some() {
            self.give_notice(id, notice);
        }
        self.touch(task);
    }

    /// A task waits no longer, or for something else: who was spared because of it may be told to leave again.
    pub(super) fn spare_no_more(&mut self, winner: TaskId) {
        for run in self.held_up.remove(&winner).into_iter().flatten() {
            if self.runs.contains(run) {
                self.freed_by(run);
            }
        }
    }
}
