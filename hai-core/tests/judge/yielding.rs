//! Is whoever is told to leave told so for a reason that is true? (I-4)

use std::collections::{BTreeMap, BTreeSet};

use hai_core::engine::Policy;
use hai_core::model::*;

use super::books::{Books, Holder, Run};
use super::life::idle_of;
use super::rights::{Bucket, allows, plus};

/// One run that was told to leave, as it was then.
pub(crate) struct Victim {
    pub(crate) id: RunId,
    pub(crate) run: Run,
    pub(crate) reason: YieldReason,
    /// How long it was safe from better claims.
    pub(crate) protected: Span,
    /// When in the round that was decided: rights are cut at one moment, and each task is placed at another. Who was told to
    /// leave at a later one still stayed as far as this one is concerned.
    pub(crate) moment: usize,
}

impl Books {
    /// I-4: whoever is told to leave is told so for a reason that is true.
    pub(crate) fn judge_victim(&self, victim: &Victim, victims: &[Victim], placed: &BTreeSet<TaskId>, last_old: RunId) {
        let Victim { id, run, reason, .. } = victim;
        let own_choice = matches!(reason, YieldReason::For { .. } | YieldReason::RightLost);
        assert!(!own_choice || self.spec(run.task).suspendable, "run {id} can not be suspended, and is: {reason:?}");
        match reason {
            YieldReason::For { task } => {
                assert!(placed.contains(task), "run {id} leaves for task {task}, which gets no place in this round");
                assert!(self.needs(*task, victim), "run {id} leaves for task {task}, which has a place without that");
                match self.config.policy {
                    Policy::Hai => self.judge_time_sharing(*task, victim, last_old),
                    Policy::HaiFifo => self.judge_order(*task, victim),
                }
            }
            YieldReason::NodeLost { node } => {
                let here = |rank: u32| run.placement.workers[rank as usize].node == *node;
                let not_ready = run.alive().any(here) && self.nodes.get(node).is_none_or(|node| !node.ready);
                assert!(not_ready, "run {id} leaves because of {node}, which is well");
            }
            YieldReason::NodeDrained { node } => {
                let here = |rank: u32| run.placement.workers[rank as usize].node == *node;
                let drained = run.alive().any(here) && self.nodes.get(node).is_some_and(|node| node.draining);
                assert!(drained, "run {id} leaves because {node} is drained, which it is not");
            }
            YieldReason::DeviceLost { node, device } => {
                let has = |place: &WorkerPlacement| place.node == *node && place.devices.contains(device);
                let held = run.alive().any(|rank| has(&run.placement.workers[rank as usize]));
                let known = self.nodes.get(node).and_then(|node| node.devices.iter().find(|known| known.id == *device));
                let lost = known.is_none_or(|known| known.health.must_be_left());
                assert!(held && lost, "run {id} leaves because of {device} of {node}, which is well or not its own");
            }
            YieldReason::Idle => {
                let due = idle_of(&self.tasks[&run.task], run);
                assert!(due.is_some_and(|due| due <= self.now), "run {id} leaves for being idle, which is due {due:?}");
            }
            YieldReason::WorkerLost { rank } => {
                let lost = run.ended.iter().any(|(ended, exit)| {
                    ended == rank && matches!(exit.fate, WorkerFate::Lost { .. } | WorkerFate::Refused { .. })
                });
                assert!(lost, "run {id} leaves because of its worker {rank}, which is well");
            }
            YieldReason::RightLost => {
                let (me, bucket) = (Holder::Run(*id), self.bucket(run.task, run.level));
                let later = |other: &Victim| other.moment > victim.moment;
                let later: BTreeSet<RunId> =
                    victims.iter().filter(|other| later(other)).map(|other| other.id).collect();
                let stays = |holder| !self.leaves(holder) || matches!(holder, Holder::Run(run) if later.contains(&run));
                let others = |holder| holder != me && is_old(holder, last_old) && stays(holder);
                let lost = if run.entitled {
                    !self.within(&bucket, &self.bill(me), others)
                } else {
                    // What started in this round may have called back what was borrowed.
                    self.borrows_too_much(me, &bucket, |holder| holder == me || stays(holder))
                };
                let used = self.used(&bucket, others);
                let notice = self.config.cut_grace > Span::ZERO;
                let over = run.notice.is_some_and(|at| at <= self.now);
                assert!(over || !notice, "run {id} has until {:?} to leave", run.notice);
                assert!(lost, "run {id} leaves, but {bucket:?} use {used:?} beside its {:?}", self.bill(me));
            }
            YieldReason::Held => assert!(self.tasks[&run.task].held, "run {id} leaves, but nobody holds it"),
        }
    }

    /// Whether the task could not have its place, or not its right, if that run stayed.
    fn needs(&self, task: TaskId, victim: &Victim) -> bool {
        let (me, placement, right) = if let Some(promise) = self.promises.get(&task) {
            (Holder::Promise(task), &promise.placement, promise.entitled.then_some(promise.level))
        } else {
            let (id, run) = self.run_of(task).expect("it was placed");
            (Holder::Run(id), &run.placement, run.entitled.then_some(run.level))
        };
        let stays = |holder| holder != me && (holder == Holder::Run(victim.id) || !self.leaves(holder));
        let collides = placement.workers.iter().any(|place| !self.goes_into(placement, &place.node, stays));
        let over = right.is_some_and(|level| !self.within(&self.bucket(task, level), &self.bill(me), stays));
        collides || over
    }

    /// What a task that was placed in this round is charged to, and whether within its right. It may have started where
    /// others have only begun to leave, if their place is needed because another's promise counts on what was free.
    pub(crate) fn claim(&self, task: TaskId) -> (Priority, bool) {
        let promise = self.promises.get(&task).map(|promise| (promise.level, promise.entitled));
        promise.or_else(|| self.run_of(task).map(|(_, run)| (run.level, run.entitled))).expect("it was placed")
    }

    /// How long a run is safe from better claims.
    pub(crate) fn protected(&self, run: &Run) -> Span {
        let protected = self.config.timing(run.level).protected;
        match self.config.churn {
            Some(churn) if self.tasks[&run.task].suspensions >= churn.free => protected.max(churn.every),
            _ => protected,
        }
    }

    /// How long a run is safe from its equals.
    pub(crate) fn slice(&self, run: &Run) -> Span {
        let swaps = self.tasks[&run.task].swap_cost.as_ms() * u64::from(self.config.slice_swaps);
        self.config.timing(run.level).slice.max(Span::from_ms(swaps))
    }

    /// Rule 3 of the time-sharing policy.
    fn judge_time_sharing(&self, task: TaskId, victim: &Victim, last_old: RunId) {
        let (level, entitled) = self.claim(task);
        let (spec, theirs) = (self.spec(task), self.spec(victim.run.task));
        let (run, background) = (&victim.run, theirs.kind.is_background());
        let context = format!("task {task} displaces task {}", run.task);
        // What filled a hole may have to make room in the same round once slices are handed round, which is a waste.
        let wasted = victim.id > last_old;
        assert!(!wasted || run.started_at.is_none(), "{context}, which was started in the same round, and runs");
        assert!(!spec.kind.is_background(), "{context}, and takes only what nobody else wants");
        assert!(entitled || background, "{context}, and only borrows");
        let elapsed = run.elapsed(self.now);
        let protected = victim.protected;
        if self.fills(run, task) {
            return;
        }
        assert!(elapsed >= protected, "{context} after {elapsed}, which is protected for {protected}");
        if background {
            return;
        }
        let same = spec.user == theirs.user && spec.priority == theirs.priority;
        assert!(!same, "{context}, of the same user and priority");
        if entitled && !run.entitled {
            return;
        }
        let (mine, yours) = (self.counts_as_best(task, level), self.counts_as(run));
        assert!(yours <= mine, "{context}, which is better: {yours} against {mine}");
        if yours == mine {
            assert_ne!(spec.user, theirs.user, "{context}, of the same user and no lesser level");
            let slice = self.slice(run);
            assert!(run.started_at.is_some() && elapsed >= slice, "{context} of its level after {elapsed} of {slice}");
        }
    }

    /// The best level that a waiting task may count as.
    pub(crate) fn counts_as_best(&self, task: TaskId, level: Priority) -> Priority {
        let task = &self.tasks[&task];
        let demoted = task.spec.priority == Priority::AboveNormal && task.ran >= self.config.timing.demote_after;
        if demoted && level == Priority::AboveNormal { Priority::Normal } else { level }
    }

    /// The level that a running task counts as.
    pub(crate) fn counts_as(&self, run: &Run) -> Priority {
        let ran = self.tasks[&run.task].ran + run.elapsed(self.now);
        let demoted = run.level == Priority::AboveNormal && ran >= self.config.timing.demote_after;
        if demoted { Priority::Normal } else { run.level }
    }

    /// Strict order: only what comes later yields.
    fn judge_order(&self, task: TaskId, victim: &Victim) {
        let (level, _) = self.claim(task);
        let place = |task: TaskId, level| (std::cmp::Reverse(level), self.spec(task).rank(task), task);
        let (mine, theirs) = (place(task, level), place(victim.run.task, victim.run.level));
        let dealt_none = !self.is_dealt(victim.run.task);
        assert!(mine < theirs || dealt_none, "task {task} displaces task {}, which is before it", victim.run.task);
    }

    /// R-ASG-1 to 4: whether rights, dealt in the order of rank to all who want or have them, reach the task.
    fn is_dealt(&self, wanted: TaskId) -> bool {
        let group = &self.spec(wanted).group;
        let mut ranked: Vec<(Rank, TaskId)> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.spec.group == *group && !task.held && !task.cancelled && self.is_ready(task))
            .map(|(id, task)| (task.spec.rank(*id), *id))
            .collect();
        ranked.sort_unstable();
        let mut dealt: BTreeMap<Bucket, Charge> = BTreeMap::new();
        for (_, id) in ranked {
            let spec = self.spec(id);
            let charge = self.run_of(id).map_or_else(|| Charge::of(spec), |(run, _)| self.charge(Holder::Run(run)));
            let level = Self::levels(spec).into_iter().find(|level| {
                let bucket = self.bucket(id, *level);
                let used = plus(dealt.get(&bucket).copied().unwrap_or_default(), charge);
                let reaches = allows(self.allowance_of(&bucket), used);
                if reaches {
                    dealt.insert(bucket, used);
                }
                reaches
            });
            if id == wanted {
                return level.is_some();
            }
        }
        unreachable!("the task is among its group's")
    }

    /// Nothing but a place and a right is missing for it to start.
    fn is_ready(&self, task: &super::books::Task) -> bool {
        let passed = |at: Option<Time>| at.is_none_or(|at| at <= self.now);
        task.awaits.is_empty() && passed(task.back_off) && passed(task.spec.not_before)
    }
}

/// Whether it was started before this round; a promise that is kept only now has an old number, too.
fn is_old(holder: Holder, last_old: RunId) -> bool {
    matches!(holder, Holder::Run(run) if run <= last_old)
}
