//! Rights that were cut below what is used: who has to give back, in which order, and when.
//!
//! Where more is used than is allowed, promises are taken back first, then the last in rank lose their claim, until what is
//! left is within the right. What runs is given a notice, and leaves (or borrows from then on, where that is allowed) when
//! its time is over, unless the right is enough again by then. Work that can not be suspended stays until it ends. A notice
//! is a decision, so it is stored, and counts across restarts.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::model::*;
use crate::rights::{self, Bucket, Standing};

use super::Engine;
use super::state::Phase;
use super::timers::Timer;

impl Engine {
    pub(super) fn cut_rights(&mut self) {
        let over: Vec<Bucket> = self
            .ledger
            .buckets()
            .filter(|(bucket, used)| {
                let allowance = self.rights.allowance(&bucket.user, &bucket.group, bucket.level);
                !rights::covers(allowance, &[used.committed()])
            })
            .map(|(bucket, _)| bucket.clone())
            .collect();
        let mut to_leave = BTreeSet::new();
        for bucket in over {
            self.cut_bucket(&bucket, &mut to_leave);
        }
        for run in std::mem::take(&mut self.noticed) {
            if to_leave.contains(&run) {
                self.noticed.insert(run);
            } else if self.run_ref(run).notice.is_some() {
                self.decide(Decision::Notice { run, until: None });
            }
        }
    }

    /// Runs of a bucket that are to leave are added to `to_leave`; those whose time is over are told to.
    fn cut_bucket(&mut self, bucket: &Bucket, to_leave: &mut BTreeSet<RunId>) {
        let allowance = self.rights.allowance(&bucket.user, &bucket.group, bucket.level);
        // Promises first, then the last in rank.
        let mut members: Vec<_> = self
            .yielders
            .range(&bucket.group, ..)
            .map(|id| (id, self.run_ref(id)))
            .filter(|(_, run)| run.entitled && self.bucket(run) == *bucket)
            .map(|(id, run)| {
                let rank = self.task_ref(run.task).spec.rank(run.task);
                (run.phase != Phase::Promised, Reverse((rank, run.task)), id)
            })
            .collect();
        members.sort_unstable();
        let mut left = self.ledger.used(bucket).committed();
        for (holds_place, _, id) in members {
            if rights::covers(allowance, &[left]) {
                return;
            }
            let run = self.run_ref(id);
            let spec = &self.task_ref(run.task).spec;
            let charge = run.charge(spec);
            // Taking back what is not charged helps nobody.
            if charge.is_nothing() || (holds_place && !spec.suspendable) {
                continue;
            }
            left = left.minus(charge);
            let (task, notice) = (run.task, run.notice);
            if !holds_place {
                self.decide(Decision::Withdraw { task });
            } else if self.config.cut_grace == Span::ZERO || notice.is_some_and(|until| until <= self.now) {
                self.take_right(id, bucket.level);
            } else {
                to_leave.insert(id);
                if notice.is_none() {
                    let until = Some(self.now + self.config.cut_grace);
                    self.decide(Decision::Notice { run: id, until });
                }
            }
        }
    }

    fn take_right(&mut self, id: RunId, level: Priority) {
        let task = self.run_ref(id).task;
        if self.config.borrow {
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

    /// Borrowed work becomes entitled where rights became free, in the order of its rank.
    pub(super) fn entitle_borrowed(&mut self) {
        let borrowed = Claim { entitled: false, level: Priority::Low }..=Claim { entitled: false, level: Priority::ExtremeHigh };
        let mut runs: Vec<((Rank, TaskId), RunId)> = Vec::new();
        for group in self.yielders.groups() {
            for id in self.yielders.range(group, borrowed.clone()) {
                let run = self.run_ref(id);
                runs.push(((self.task_ref(run.task).spec.rank(run.task), run.task), id));
            }
        }
        runs.sort_unstable();
        for (_, id) in runs {
            let run = self.run_ref(id);
            let bucket = self.bucket(run);
            let allowance = self.rights.allowance(&bucket.user, &bucket.group, bucket.level);
            let charge = run.charge(&self.task_ref(run.task).spec);
            if self.ledger.standing(&bucket, allowance, charge) == Standing::Now {
                self.decide(Decision::Recharge { run: id, level: bucket.level, entitled: true });
            }
        }
    }
}
