//! Rights that were cut below what is used: who has to give back, in which order, and when.
//!
//! Where more is used than is allowed, promises are taken back first, then the last in rank lose their claim, until what is
//! left is within the right. What runs is given a notice, and leaves (or borrows from then on, where that is allowed) when
//! its time is over, unless the right is enough again by then. Work that can not be suspended stays until it ends. A notice
//! is a decision, so it is stored, and counts across restarts.

use std::cmp::Reverse;

use crate::model::*;
use crate::rights::Part;
use crate::rights::book::{Over, Standing};

use super::Engine;
use super::state::Phase;
use super::timers::Timer;

impl Engine {
    /// Takes back what is beyond rights, and takes back notices that are not needed any more. True if anything was
    /// decided.
    pub(super) fn cut_rights(&mut self) -> bool {
        let before = self.decisions.len();
        let asked = std::mem::take(&mut self.agenda.rights_cut);
        let chosen = self.choose_who_loses();
        // Chosen, they count as leaving; what is decided about them is decided about what they are.
        for &(id, _) in &chosen {
            let part = self.run_ref(id).part();
            self.move_bill(id, leaving(part), part);
        }
        let mut on_notice: Vec<RunId> = Vec::new();
        for (id, over) in chosen {
            if let Some(level) = self.level_with_right(id) {
                self.decide(Decision::Recharge { run: id, level, entitled: true });
            } else if self.must_wait(id) {
                on_notice.push(id);
                if self.run_ref(id).notice.is_none() {
                    let until = Some(self.now + self.config.cut_grace);
                    self.decide(Decision::Notice { run: id, until });
                }
            } else {
                self.take_right(id, &over);
            }
        }
        if asked || !on_notice.is_empty() {
            for run in self.noticed.clone() {
                if !on_notice.contains(&run) {
                    self.decide(Decision::Notice { run, until: None });
                }
            }
        }
        self.decisions.len() > before
    }

    /// Who has to give back, and why. Their bills are moved, as if they left.
    fn choose_who_loses(&mut self) -> Vec<(RunId, Over)> {
        let mut chosen: Vec<(RunId, Over)> = Vec::new();
        let mut over = self.book.over();
        let mut order = Vec::new();
        while let Some((id, why)) = over.iter().find_map(|over| Some((self.last_of(over, &mut order)?, over.clone()))) {
            self.let_leave(id);
            chosen.push((id, why));
            over = self.book.over();
        }
        // The last in rank may have gone in vain, if one before them in rank had to go too and was enough.
        for at in (0..chosen.len()).rev() {
            let id = chosen[at].0;
            let part = self.run_ref(id).part();
            self.move_bill(id, leaving(part), part);
            if self.book.over() == over {
                chosen.remove(at);
            } else {
                self.let_leave(id);
            }
        }
        chosen
    }

    fn let_leave(&mut self, id: RunId) {
        let part = self.run_ref(id).part();
        self.pending_cut.insert(id);
        self.move_bill(id, part, leaving(part));
    }

    /// Who loses its right first: promises, then the last in rank. Only who uses something of what there is too much of. The
    /// order of those who may have to is worked out once for each place where there is too much.
    fn last_of(&self, over: &Over, order: &mut Vec<(Over, Vec<RunId>)>) -> Option<RunId> {
        let at = order.iter().position(|(known, _)| known.is_same_place(over)).unwrap_or_else(|| {
            order.push((over.clone(), self.in_order_of_loss(over)));
            order.len() - 1
        });
        order[at].1.iter().copied().find(|&id| self.is_charged(id, over))
    }

    fn in_order_of_loss(&self, over: &Over) -> Vec<RunId> {
        let group = match over {
            Over::Bucket { bucket, .. } => self.book.bucket_name(*bucket).1.clone(),
            Over::Own { group, .. } | Over::Borrowed { group, .. } => self.book.group_name(*group).clone(),
        };
        let place = |id: RunId| {
            let run = self.run_ref(id);
            let rank = self.task_ref(run.task).spec.rank(run.task);
            (run.phase != Phase::Promised, Reverse((rank, run.task)), id)
        };
        let mut runs: Vec<RunId> = self.yielders.range(&group, ..).filter(|&id| self.is_of(id, over)).collect();
        runs.sort_by_cached_key(|&id| place(id));
        runs
    }

    /// Whether a run is charged where there is too much.
    fn is_of(&self, id: RunId, over: &Over) -> bool {
        let run = self.run_ref(id);
        let Some((bucket, _)) = run.bill() else { return false };
        match over {
            Over::Bucket { bucket: of, .. } => run.entitled && bucket == *of,
            Over::Own { team, group, .. } => {
                run.entitled && self.book.bucket_group(bucket) == *group && self.book.is_charged_to(bucket, *team)
            }
            Over::Borrowed { team, group, .. } => {
                !run.entitled
                    && self.book.bucket_group(bucket) == *group
                    && self.book.is_charged_directly(bucket, *team)
            }
        }
    }

    /// Whether a run's leaving, or its loss of the right, would help.
    fn is_charged(&self, id: RunId, over: &Over) -> bool {
        let run = self.run_ref(id);
        let Some((_, bill)) = run.bill().filter(|_| self.is_of(id, over)) else { return false };
        let part = if self.pending_cut.contains(&id) { leaving(run.part()) } else { run.part() };
        if matches!(part, Part::Leaving | Part::Returning) {
            return false;
        }
        if run.phase != Phase::Promised && !self.task_ref(run.task).spec.suspendable {
            return false;
        }
        let (charge, by) = match over {
            Over::Bucket { model: Some(model), by, .. } => {
                let of_model = bill.by_model.iter().find(|(of, _)| of == model);
                (of_model.map_or(Charge::NOTHING, |&(_, charge)| charge), by)
            }
            Over::Bucket { model: None, by, .. } | Over::Own { by, .. } | Over::Borrowed { by, .. } => {
                (bill.charge, by)
            }
        };
        (!by.nodes.is_zero() && !charge.nodes.is_zero()) || (!by.devices.is_zero() && !charge.devices.is_zero())
    }

    /// Another level at which an AUTO task's run is within its owner's right, the best one.
    fn level_with_right(&mut self, id: RunId) -> Option<Priority> {
        let run = self.run_ref(id);
        let (task, had, (_, bill)) = (run.task, run.level, run.bill()?);
        if !run.entitled || run.phase == Phase::Promised || self.task_ref(task).spec.priority != Priority::Auto {
            return None;
        }
        let mut others = Priority::LEVELS.into_iter().filter(|&level| level != had);
        others.find(|&level| {
            let bucket = self.bucket_at(task, level);
            self.book.standing(bucket, &bill) == Standing::Now
        })
    }

    /// Whether a run may stay for now, on notice.
    fn must_wait(&self, id: RunId) -> bool {
        let run = self.run_ref(id);
        run.phase != Phase::Promised
            && self.config.cut_grace > Span::ZERO
            && run.notice.is_none_or(|until| until > self.now)
    }

    fn move_bill(&mut self, id: RunId, from: Part, to: Part) {
        if let Some((bucket, bill)) = self.run_ref(id).bill() {
            self.book.move_part(bucket, from, to, &bill);
        }
        if matches!(from, Part::Leaving | Part::Returning) {
            self.pending_cut.remove(&id);
        }
    }

    fn take_right(&mut self, id: RunId, over: &Over) {
        let run = self.run_ref(id);
        let (task, level, entitled) = (run.task, run.level, run.entitled);
        if run.phase == Phase::Promised {
            self.decide(Decision::Withdraw { task });
            return;
        }
        let borrows = entitled
            && self.config.borrow
            && !matches!(over, Over::Borrowed { .. })
            && run.bill().is_some_and(|(bucket, bill)| self.book.may_borrow(bucket, &bill).is_ok());
        if borrows {
            let level = match self.task_ref(task).spec.priority {
                Priority::Auto => level,
                level => level,
            };
            self.decide(Decision::Recharge { run: id, level, entitled: false });
        } else {
            self.decide(Decision::Suspend { run: id, task, reason: YieldReason::RightLost });
        }
    }

    /// What the decision changes.
    pub(super) fn give_notice(&mut self, id: RunId, until: Option<Time>) {
        self.run_mut(id).notice = until;
        match until {
            Some(until) => {
                self.noticed.insert(id);
                self.timers.set(Timer::Notice(id), until);
            }
            None => self.forget_notice(id),
        }
        self.changed_runs.insert(id);
    }

    pub(super) fn forget_notice(&mut self, id: RunId) {
        self.noticed.remove(&id);
        self.timers.cancel(Timer::Notice(id));
    }

    /// Borrowed work becomes entitled where rights became free, in the order of its rank. True if some did.
    pub(super) fn entitle_borrowed(&mut self) -> bool {
        let borrowed =
            Claim { entitled: false, level: Priority::Low }..=Claim { entitled: false, level: Priority::ExtremeHigh };
        let mut runs: Vec<((Rank, TaskId), RunId)> = Vec::new();
        for group in self.yielders.groups() {
            for id in self.yielders.range(group, borrowed.clone()) {
                let run = self.run_ref(id);
                runs.push(((self.task_ref(run.task).spec.rank(run.task), run.task), id));
            }
        }
        runs.sort_unstable();
        let mut any = false;
        for (_, id) in runs {
            let run = self.run_ref(id);
            let level = run.level;
            let Some((bucket, bill)) = run.bill() else { continue };
            if self.book.standing(bucket, &bill) == Standing::Now {
                self.decide(Decision::Recharge { run: id, level, entitled: true });
                any = true;
            }
        }
        any
    }
}

/// The part of its bucket's use that a run's bill moves to when the run is told to leave.
fn leaving(part: Part) -> Part {
    match part {
        Part::Staying | Part::Promised | Part::Leaving => Part::Leaving,
        Part::Borrowed | Part::Returning => Part::Returning,
    }
}
