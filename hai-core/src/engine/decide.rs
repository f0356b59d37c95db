//! Decisions: what each of them changes, whether it was made just now or is replayed from a log.

use crate::inventory::Stage;
use crate::model::*;
use crate::rights::Part;

use super::state::{Derived, Phase, Run, Status};
use super::{Engine, FactError};

impl Engine {
    /// Makes a decision true and writes it into the round.
    pub(super) fn decide(&mut self, decision: Decision) {
        self.enact(&decision);
        self.decisions.push(decision);
    }

    /// Takes over a decision made before, as in a replayed log, without deciding anew.
    ///
    /// # Errors
    /// [`FactError`] if the decision speaks of a task or run that is not; the engine is then unchanged.
    pub(super) fn enact_checked(&mut self, decision: &Decision) -> Result<(), FactError> {
        match decision {
            Decision::Start { task, .. }
            | Decision::Promise { task, .. }
            | Decision::Withdraw { task }
            | Decision::Reserve { task, .. }
            | Decision::Unreserve { task } => {
                self.known(*task)?;
            }
            Decision::Suspend { run, .. }
            | Decision::Stop { run, .. }
            | Decision::Recharge { run, .. }
            | Decision::Notice { run, .. } => {
                if !self.runs.contains(*run) {
                    return Err(FactError::UnknownWorker { run: *run, rank: 0 });
                }
            }
        }
        self.enact(decision);
        Ok(())
    }

    fn enact(&mut self, decision: &Decision) {
        match decision {
            Decision::Start { task, run, placement, level, entitled, .. } => {
                if self.promised.remove(run) {
                    self.keep_promise(*run);
                } else {
                    self.settle(*task, *run, placement, *level, *entitled, Phase::Starting);
                }
                self.task_mut(*task).runs += 1;
                self.changed_runs.insert(*run);
                self.touch(*task);
            }
            Decision::Promise { task, run, placement, level, entitled } => {
                self.settle(*task, *run, placement, *level, *entitled, Phase::Promised);
                self.promised.insert(*run);
                self.agenda.promised.insert(*run);
                self.touch(*task);
            }
            Decision::Withdraw { task } => {
                if let Some(run) = self.task_ref(*task).run() {
                    self.drop_promise(run);
                    self.task_mut(*task).status = Status::Waiting;
                    self.enqueue(*task);
                }
            }
            Decision::Suspend { run, task, reason } => {
                let at = self.now;
                self.remember_suspension(*run, reason);
                if matches!(reason, YieldReason::For { .. }) {
                    let task = self.task_mut(*task);
                    task.suspensions = task.suspensions.saturating_add(1);
                }
                self.task_mut(*task).yielded = Some(Yielded { at, reason: reason.clone() });
                self.vacate(*run, false);
            }
            Decision::Stop { run, .. } => self.vacate(*run, true),
            Decision::Recharge { run, level, entitled } => self.recharge(*run, *level, *entitled),
            Decision::Notice { run, until } => self.give_notice(*run, *until),
            Decision::Reserve { task, nodes, by } => self.keep_nodes(*task, nodes, *by),
            Decision::Unreserve { task } => self.give_up_nodes(*task),
        }
    }

    /// Gives a task a run, with its place and its charge.
    fn settle(
        &mut self,
        id: TaskId,
        run_id: RunId,
        placement: &Placement,
        level: Priority,
        entitled: bool,
        phase: Phase,
    ) {
        self.dequeue(id);
        let demoted = level == Priority::AboveNormal && self.task_ref(id).ran >= self.config.timing(level).demote_after;
        let now = self.now;
        let since = self.task_ref(id).waiting_since;
        let risen = self.config.aging.map(|aging| aging.level(level, since, now)).filter(|&risen| risen > level);
        let task = self.task_mut(id);
        task.status = Status::Run(run_id);
        task.found = None;
        let run = Run {
            task: id,
            attempt: task.runs + 1,
            phase,
            placement: placement.clone(),
            workers: vec![WorkerState::Reserved; placement.workers.len()],
            decided_at: now,
            started_at: None,
            checkpointed_at: None,
            whole_life_state: None,
            level,
            entitled,
            demoted,
            risen,
            failure: None,
            loss: None,
            declared_done: false,
            interrupted: false,
            cancelled: false,
            hopeless: false,
            failed_on: None,
            idle_since: None,
            leased_at: None,
            notice: None,
            told_at: None,
            billed: Vec::new(),
            bill: Derived::default(),
        };
        self.runs.insert(run_id, run);
        self.next_run = self.next_run.max(RunId(run_id.0 + 1));
        let stage = if phase == Phase::Promised { Stage::Promised } else { Stage::Staying };
        for (rank, place) in (0..).zip(&placement.workers) {
            self.inventory.hold(place, run_id, rank, stage);
        }
        self.note_crossing(run_id);
        self.write_bill(run_id);
        self.charge(run_id);
        self.list(run_id);
    }

    fn keep_promise(&mut self, id: RunId) {
        let now = self.now;
        let run = self.runs.get_mut(id).expect("the books only name unended runs");
        if let (Some((bucket, bills)), true) = (&run.bill.0, run.entitled) {
            // Moved within the bucket: nothing is freed, nobody needs to be woken.
            for bill in bills {
                self.book.move_part(*bucket, Part::Promised, Part::Staying, bill);
            }
        }
        let run = self.run_mut(id);
        run.phase = Phase::Starting;
        run.decided_at = now;
        self.count_usage(id, true);
        self.list(id);
        self.set_stage(id, Stage::Staying);
    }

    fn vacate(&mut self, id: RunId, stopping: bool) {
        let until = self.now + self.task_ref(self.run_ref(id).task).spec.grace.total();
        let run = self.run_ref(id);
        let task = run.task;
        if let Phase::Vacating { until, .. } = run.phase {
            self.run_mut(id).phase = Phase::Vacating { until, stopping };
        } else {
            self.yielders.unlist(id);
            self.uncharge(id);
            let now = self.now;
            let run = self.run_mut(id);
            run.phase = Phase::Vacating { until, stopping };
            run.told_at = Some(now);
            run.notice = None;
            self.charge(id);
            self.set_stage(id, Stage::Vacating);
            self.freed(task);
            self.freed_by(id);
            self.cancel_run_timers(id);
            self.cancel_life_timers(id);
        }
        self.changed_runs.insert(id);
        self.touch(task);
    }

    fn recharge(&mut self, id: RunId, level: Priority, entitled: bool) {
        let run = self.run_ref(id);
        let task = run.task;
        self.yielders.unlist(id);
        // The new level has its own times.
        self.cancel_run_timers(id);
        self.uncharge(id);
        let ran = self.task_ref(task).ran + self.run_ref(id).elapsed(self.now);
        let demoted = level == Priority::AboveNormal && ran >= self.config.timing(level).demote_after;
        let run = self.run_mut(id);
        run.level = level;
        run.entitled = entitled;
        run.demoted |= demoted;
        self.write_bill(id);
        self.charge(id);
        self.list(id);
        self.set_run_timers(id);
        self.freed(task);
        self.freed_by(id);
        self.touch(task);
    }
}
