//! The `hai` policy: better claims first, every hole filled, and nobody suspended who need not be.
//!
//! A round tries the classes of waiting tasks in the order of their claims. The first task of a class starts where there
//! is room; is promised a place where others are leaving already; or makes runs with a lesser claim leave. What is left
//! waiting for room may then take the place of another user's run of the same level whose slice is over, the longest
//! waiting first. See `ARCHITECTURE.md`, "The `hai` policy".

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::model::*;
use crate::placement;
use crate::preemption::{self, Claim, Plan, Yielder};
use crate::queue::{ClassId, Turn, Want};
use crate::rights::{Bucket, Standing};

use super::Engine;
use super::state::Phase;

/// What came of trying the first task of a class.
enum Tried {
    /// It starts, or has a promise.
    Placed,
    /// It lacks this. With `true` it might start once there is room even so, on borrowed capacity.
    Wants(Want, bool),
}

impl Engine {
    pub(super) fn pass_hai(&mut self) {
        let mut short_of_room = BTreeSet::new();
        loop {
            self.try_turns(&mut short_of_room);
            let Some(group) = short_of_room.pop_first() else { return };
            if self.pass_slices(&group) {
                short_of_room.insert(group);
            }
        }
    }

    /// Tries every class whose turn it is, the best claim first.
    fn try_turns(&mut self, short_of_room: &mut BTreeSet<GroupName>) {
        while self.queue.has_turns() {
            for class in self.queue.take_woken() {
                let turn = self.turn(class, true);
                self.queue.set_turn(class, turn);
            }
            let Some((class, turn)) = self.queue.next_turn() else { return };
            let (_, head) = self.queue.first(class);
            self.agenda.verdicts.insert(head);
            match self.try_first(head, turn.claim) {
                Tried::Placed => self.wake_rest(class, head),
                Tried::Wants(_, true) if turn.claim.entitled && self.config.borrow => {
                    let turn = self.turn(class, false);
                    self.queue.set_turn(class, turn);
                }
                Tried::Wants(want, borrows) => {
                    self.queue.block(class, want, borrows && self.config.borrow);
                    if want == Want::Room {
                        short_of_room.insert(self.queue.shape(class).group.clone());
                    }
                }
            }
        }
    }

    /// The rest of a class whose first was placed has its turn; the class is gone if there is no rest.
    fn wake_rest(&mut self, class: ClassId, placed: TaskId) {
        let shape = crate::queue::Shape::of(&self.task_ref(placed).spec, self.demoted(placed));
        if self.queue.find(&shape) == Some(class) {
            self.queue.wake(class);
        }
    }

    fn turn(&self, class: ClassId, entitled: bool) -> Turn {
        let first = self.queue.first(class);
        let spec = &self.task_ref(first.1).spec;
        let asked = self.queue.shape(class).priority;
        let level = match asked {
            Priority::Auto if entitled => self.auto_level(spec).map_or(Priority::Low, |(level, _)| level),
            Priority::Auto => Priority::Low,
            Priority::AboveNormal if self.queue.shape(class).demoted => Priority::Normal,
            level => level,
        };
        Turn { claim: Claim { entitled, level }, first: Reverse(first) }
    }

    /// The best level at which an AUTO task is within its owner's right now, or will be once others have left.
    fn auto_level(&self, spec: &TaskSpec) -> Option<(Priority, Standing)> {
        Priority::LEVELS.into_iter().find_map(|level| {
            let standing = self.standing(spec, level);
            matches!(standing, Standing::Now | Standing::Later).then_some((level, standing))
        })
    }

    pub(super) fn standing(&self, spec: &TaskSpec, level: Priority) -> Standing {
        let allowance = self.rights.allowance(&spec.user, &spec.group, level);
        let bucket = Bucket { user: spec.user.clone(), group: spec.group.clone(), level };
        self.ledger.standing(&bucket, allowance, Charge::of(spec))
    }

    /// The level that a task would be charged to, and whether its right allows that.
    fn right(&self, spec: &TaskSpec) -> Result<(Priority, Standing), Want> {
        let (level, standing) = match spec.priority {
            Priority::Auto => {
                let best = self.rights.best_allowance(&spec.user, &spec.group);
                let never = !crate::rights::covers(best, &[Charge::of(spec)]);
                let lack = if never { Standing::Never } else { Standing::Used };
                self.auto_level(spec).unwrap_or((Priority::Low, lack))
            }
            level => (level, self.standing(spec, level)),
        };
        match standing {
            Standing::Never => Err(Want::Right),
            Standing::Used => Err(Want::RightInUse),
            Standing::Now | Standing::Later => Ok((level, standing)),
        }
    }

    fn try_first(&mut self, id: TaskId, claim: Claim) -> Tried {
        let spec = self.task_ref(id).spec.clone();
        let (level, now) = if claim.entitled {
            match self.right(&spec) {
                Ok((level, standing)) => (level, standing == Standing::Now),
                Err(want) => return Tried::Wants(want, true),
            }
        } else {
            (if spec.priority == Priority::Auto { Priority::Low } else { spec.priority }, true)
        };
        if now && let Some(placement) = placement::place_now(&self.inventory, &spec) {
            self.start(id, placement, level, claim.entitled);
            return Tried::Placed;
        }
        if claim.entitled {
            if let Some(placement) = placement::place_later(&self.inventory, &spec) {
                self.promise(id, placement, level);
                return Tried::Placed;
            }
            if self.preempt(id, level, claim, false) {
                return Tried::Placed;
            }
        }
        let want = self.missing(&spec);
        match self.right(&spec) {
            // What it borrows or not depends on its right too.
            Err(right) if !claim.entitled => Tried::Wants(right, true),
            _ => Tried::Wants(want, false),
        }
    }

    /// What a task lacks that has the right but no place.
    pub(super) fn missing(&self, spec: &TaskSpec) -> Want {
        if !self.inventory.has_group(&spec.group) {
            Want::Group
        } else if placement::fits_empty(&self.inventory, spec) {
            Want::Room
        } else {
            Want::Nodes
        }
    }

    pub(super) fn start(&mut self, task: TaskId, placement: Placement, level: Priority, entitled: bool) {
        let whole_life_state = self.task_ref(task).whole_life_state;
        let run = self.next_run;
        self.decide(Decision::Start { task, run, placement, level, entitled, whole_life_state });
    }

    pub(super) fn promise(&mut self, task: TaskId, placement: Placement, level: Priority) {
        let run = self.next_run;
        self.decide(Decision::Promise { task, run, placement, level, entitled: true });
    }

    /// Makes room for a task by letting runs with a lesser claim leave, and with `slices` also those of its own level and
    /// other users whose slice is over. False if that would not be enough.
    fn preempt(&mut self, id: TaskId, level: Priority, claim: Claim, slices: bool) -> bool {
        let spec = self.task_ref(id).spec.clone();
        let lesser = self.yielders.get(&spec.group).into_iter().flat_map(|listed| listed.range(..(claim, RunId(0))));
        let mut yielders: Vec<Yielder> = lesser
            .filter(|(_, run)| self.must_yield(*run, &spec))
            .map(|&(yields, run)| self.yielder(run, yields))
            .collect();
        if slices {
            yielders.extend(self.over_slice(&spec.group, claim, &spec.user).map(|run| self.yielder(run, claim)));
        }
        if yielders.is_empty() {
            return false;
        }
        preemption::sort_cheapest_first(&mut yielders);
        let Some(plan) = preemption::plan(&self.inventory, &spec, &yielders, false, |_| true) else { return false };
        self.carry_out(id, plan, level);
        true
    }

    /// Whether a run with a lesser claim yields to the task: not to its owner's own work of the same priority, and not
    /// before its protected time is over.
    fn must_yield(&self, id: RunId, spec: &TaskSpec) -> bool {
        let run = self.run_ref(id);
        let theirs = &self.task_ref(run.task).spec;
        let is_own = theirs.user == spec.user && theirs.priority == spec.priority;
        !is_own && (run.phase == Phase::Promised || (theirs.suspendable && run.elapsed(self.now) >= self.protected(id)))
    }

    /// How long a run is safe from others: as its level says, or longer once its task was suspended too often.
    pub(super) fn protected(&self, id: RunId) -> Span {
        let run = self.run_ref(id);
        let level = self.config.timing(run.level).protected;
        match self.config.churn {
            Some(churn) if self.task_ref(run.task).suspensions >= churn.free => level.max(churn.every),
            _ => level,
        }
    }

    /// How long a run is safe from equals: as its level says, or longer if suspending and starting it takes long.
    pub(super) fn slice(&self, id: RunId) -> Span {
        let run = self.run_ref(id);
        let swap = self.task_ref(run.task).swap_cost.as_ms();
        let least = Span::from_ms(swap.saturating_mul(u64::from(self.config.slice_swaps)));
        self.config.timing(run.level).slice.max(least)
    }

    /// Other users' runs with this claim whose slice is over.
    fn over_slice(&self, group: &GroupName, claim: Claim, user: &UserName) -> impl Iterator<Item = RunId> {
        self.over_slice.get(group).into_iter().flatten().copied().filter(move |&id| {
            let run = self.run_ref(id);
            let theirs = Claim { entitled: run.entitled, level: run.counts_as() };
            let task = self.task_ref(run.task);
            theirs == claim
                && run.phase == Phase::Running
                && task.spec.suspendable
                && run.elapsed(self.now) >= self.protected(id)
                && task.spec.user != *user
        })
    }

    /// What it would cost if a run left: the device-milliseconds since it last saved its work, and its next start.
    pub(super) fn yielder(&self, id: RunId, claim: Claim) -> Yielder {
        let run = self.run_ref(id);
        let nodes =
            run.placement.workers.iter().filter_map(|place| self.inventory.find(&place.node)).collect::<BTreeSet<_>>();
        let loss = if run.phase == Phase::Promised {
            0
        } else {
            let devices: usize = run.placement.workers.iter().map(|place| place.devices.len()).sum();
            let unsaved = match run.checkpointed_at.max(run.started_at) {
                Some(since) => self.now.since(since),
                None => Span::ZERO,
            };
            let restart = self.task_ref(run.task).spec.restart_cost.unwrap_or(self.config.restart_cost);
            (devices.max(1) as u64).saturating_mul((unsaved + restart).as_ms())
        };
        Yielder { run: id, claim, loss, nodes: nodes.into_iter().collect() }
    }

    /// Lets the victims leave and promises their place to the task.
    pub(super) fn carry_out(&mut self, id: TaskId, plan: Plan, level: Priority) {
        for run in plan.victims {
            let task = self.run_ref(run).task;
            if self.run_ref(run).phase == Phase::Promised {
                self.decide(Decision::Withdraw { task });
            } else {
                self.decide(Decision::Suspend { run, task, reason: YieldReason::For { task: id } });
            }
        }
        self.promise(id, plan.placement, level);
    }

    /// Round robin among equals: lets the longest waiting take the place of another user's run of their level whose
    /// slice is over. True if one did.
    fn pass_slices(&mut self, group: &GroupName) -> bool {
        let mut waiting: Vec<(Reverse<Priority>, Time, TaskId, ClassId)> = Vec::new();
        for class in self.queue.wanting_room(group) {
            let turn = self.turn(class, true);
            let (_, head) = self.queue.first(class);
            waiting.push((Reverse(turn.claim.level), self.task_ref(head).waiting_since, head, class));
        }
        waiting.sort_unstable_by_key(|(level, since, head, _)| (*level, *since, *head));
        for (Reverse(counts_as), _, head, class) in waiting {
            let claim = Claim { entitled: true, level: counts_as };
            let spec = self.task_ref(head).spec.clone();
            let Ok((level, _)) = self.right(&spec) else { continue };
            if self.over_slice(group, claim, &spec.user).next().is_some() && self.preempt(head, level, claim, true) {
                self.wake_rest(class, head);
                return true;
            }
        }
        false
    }
}
