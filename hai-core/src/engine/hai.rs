//! The `hai` policy: better claims first, every hole filled, and nobody suspended who need not be.
//!
//! A round tries the classes of waiting tasks in the order of their claims. The first task of a class starts where there
//! is room; is promised a place where others are leaving already; or makes runs with a lesser claim leave. What is left
//! waiting for room may then take the place of another user's run of the same level whose slice is over, the longest
//! waiting first. See `ARCHITECTURE.md`, "The `hai` policy".

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::inventory::NodeIx;
use crate::model::*;
use crate::placement;
use crate::preemption::{self, Listed, Loss, Owner, Plan, Winner};
use crate::queue::order::Order;
use crate::queue::{AskId, ClassId, Turn, Want};
use crate::rights::book::{Standing, Waiter};
use crate::rights::{Bill, GroupIx};

use super::Engine;
use super::state::Phase;

/// Whose background work counts as: it yields to its owner's other work too.
const NOBODY: Owner = Owner(u32::MAX - 1);

/// What came of trying to make others leave.
enum Preempted {
    Yes,
    /// Not enough may be told to leave. With `spared` there were some that yield to others, but not to this task, or not
    /// yet.
    No {
        spared: bool,
    },
}

/// What came of trying the first task of a class.
enum Tried {
    /// It starts, or has a promise.
    Placed,
    /// It lacks this. With `true` it might start once there is room even so, on borrowed capacity.
    Wants(Want, bool),
}

impl Engine {
    pub(super) fn pass_hai(&mut self) {
        loop {
            self.try_turns();
            if !self.pass_slices() {
                break;
            }
        }
        self.queue.disarm_all();
        self.freed_nodes.clear();
        self.newly_blocked.clear();
    }

    /// Tries every class whose turn it is, the best claim first.
    fn try_turns(&mut self) {
        loop {
            self.wake_for_freed_rights();
            while let Some(class) = self.queue.pop_woken() {
                let turn = self.turn(class, true);
                self.queue.set_turn(class, turn);
            }
            self.arm_for_freed_nodes();
            let Some((class, turn)) = self.queue.next_turn() else { return };
            let ask = self.queue.ask(class);
            self.try_class(class, ask, turn);
            if self.queue.is_armed(ask) {
                self.queue.pass_over(ask, (turn, class));
                self.arm_next(ask);
            }
        }
    }

    fn try_class(&mut self, class: ClassId, ask: AskId, turn: Turn) {
        let (_, _, head) = self.queue.first(class);
        self.agenda.verdicts.insert(head);
        let claim = self.claim_of(class, turn.claim.entitled);
        match self.try_first(head, ask, claim) {
            // The rest of the class has its turn, or waits as before.
            Tried::Placed => {}
            Tried::Wants(_, true) if turn.claim.entitled && self.config.borrow => {
                let turn = self.turn(class, false);
                self.queue.set_turn(class, turn);
            }
            Tried::Wants(want, borrows) => {
                let since = self.task_ref(head).waiting_since;
                let lacks = self.waiter(head, want);
                self.queue.block(class, want, lacks, borrows && self.config.borrow, turn, claim, since);
                if want == Want::Room {
                    self.newly_blocked.push(class);
                }
            }
        }
    }

    /// Wakes those who waited for a right that is used less now, if it is enough for them.
    fn wake_for_freed_rights(&mut self) {
        if self.agenda.rights.is_empty() {
            return;
        }
        let freed = self.agenda.rights.take();
        let mut classes = std::mem::take(&mut self.classes_buffer);
        for &lacks in &freed {
            classes.extend(self.queue.wanting_right(lacks));
            for class in classes.drain(..) {
                let (_, _, head) = self.queue.first(class);
                if self.right(head).err() != self.queue.want(class) {
                    self.queue.wake(class);
                }
            }
        }
        self.classes_buffer = classes;
        self.agenda.rights.reuse(freed);
    }

    /// Holds every ask that waits for room against the nodes that were freed since it last was.
    fn arm_for_freed_nodes(&mut self) {
        if self.agenda.nodes.is_empty() {
            return;
        }
        let freed = self.agenda.nodes.take();
        for &ix in &freed {
            if !self.inventory.is_known(ix) || !self.inventory.node(ix).is_usable() {
                continue;
            }
            self.freed_nodes.push(ix);
            let mut useful = std::mem::take(&mut self.asks_buffer);
            let group = &self.inventory.node(ix).spec().group;
            for ask in self.queue.asks(group) {
                let Some((turn, _)) = self.queue.best_of(ask) else { continue };
                if self.could_use(ask, ix, turn.claim) {
                    useful.push(ask);
                }
            }
            for ask in useful.drain(..) {
                self.reorder(ask);
                self.queue.arm(ask);
            }
            self.asks_buffer = useful;
        }
        self.agenda.nodes.reuse(freed);
    }

    /// The next class of an armed ask has its turn, if anything freed is still of use to it.
    fn arm_next(&mut self, ask: AskId) {
        let next = self.queue.best_waiting(ask);
        let useful = next.filter(|(turn, _)| self.freed_nodes.iter().any(|&ix| self.could_use(ask, ix, turn.claim)));
        match useful {
            Some((turn, class)) => self.queue.set_turn(class, turn),
            None => self.queue.disarm(ask),
        }
    }

    /// Whether a worker of this ask would fit on the node if all that yields to such a claim left. May be true too often,
    /// never false wrongly.
    fn could_use(&self, ask: AskId, ix: NodeIx, claim: Claim) -> bool {
        let spec = self.queue.ask_spec(ask);
        let node = self.inventory.node(ix);
        let room = node.room_later_without(|run| {
            let run = self.run_ref(run);
            self.claim(run) < claim
        });
        placement::fits_on(node, spec, room)
    }

    pub(super) fn claim(&self, run: &super::state::Run) -> Claim {
        if self.task_ref(run.task).spec.kind.is_background() {
            return Claim::BACKGROUND;
        }
        Claim { entitled: run.entitled, level: run.counts_as() }
    }

    /// What a class has to set against runs.
    fn claim_of(&mut self, class: ClassId, entitled: bool) -> Claim {
        let shape = self.queue.shape(class);
        let level = match shape.spec.priority {
            _ if shape.spec.kind.is_background() => return Claim::BACKGROUND,
            Priority::Auto if entitled => {
                let (_, _, first) = self.queue.first(class);
                self.auto_level(first).map_or(Priority::Low, |(level, _)| level)
            }
            Priority::Auto => Priority::Low,
            Priority::AboveNormal if shape.demoted => Priority::Normal,
            level => level,
        };
        Claim { entitled, level }
    }

    fn turn(&mut self, class: ClassId, entitled: bool) -> Turn {
        let first = self.queue.first(class);
        let mut claim = self.claim_of(class, entitled);
        if let Some(aging) = self.config.aging.filter(|_| claim != Claim::BACKGROUND) {
            claim.level = aging.level(claim.level, self.task_ref(first.2).waiting_since, self.now);
        }
        let owner = if self.config.order.is_static() { 0 } else { self.order_key(first.2) };
        Turn { claim, owner: Reverse(owner), first: Reverse(first) }
    }

    /// Puts those who wait with an ask into the order of this moment, where time changes it.
    fn reorder(&mut self, ask: AskId) {
        if self.config.order.is_static() && self.config.aging.is_none() {
            return;
        }
        let classes: Vec<ClassId> = self.queue.waiting(ask).collect();
        for class in classes {
            if let Some(before) = self.queue.blocked_turn(class) {
                let turn = self.turn(class, before.claim.entitled);
                self.queue.reorder(class, turn);
            }
        }
    }

    /// The best level at which an AUTO task is within its owner's right now, or will be once others have left.
    fn auto_level(&mut self, id: TaskId) -> Option<(Priority, Standing)> {
        Priority::LEVELS.into_iter().find_map(|level| {
            let standing = self.standing(id, level);
            matches!(standing, Standing::Now | Standing::Later).then_some((level, standing))
        })
    }

    /// How a task would stand at a level.
    pub(super) fn standing(&mut self, id: TaskId, level: Priority) -> Standing {
        let bucket = self.bucket_at(id, level);
        let bill = Bill::of_charge(Charge::of(&self.task_ref(id).spec));
        self.book.standing(bucket, &bill)
    }

    /// The level that a task would be charged to, and whether its right allows that.
    fn right(&mut self, id: TaskId) -> Result<(Priority, Standing), Want> {
        let (level, standing) = match self.task_ref(id).spec.priority {
            Priority::Auto => match self.auto_level(id) {
                Some(found) => found,
                None => (Priority::Low, self.worst_lack(id)),
            },
            level => (level, self.standing(id, level)),
        };
        match standing {
            Standing::Never => Err(Want::Right),
            Standing::Used => Err(Want::RightInUse),
            Standing::TeamUsed(_) => Err(Want::TeamInUse),
            Standing::Now | Standing::Later => Ok((level, standing)),
        }
    }

    /// What an AUTO task lacks that has no right at any level: the first level at which it could ever have one tells.
    fn worst_lack(&mut self, id: TaskId) -> Standing {
        let mut lacks = Priority::LEVELS.into_iter().map(|level| self.standing(id, level));
        lacks.find(|lack| *lack != Standing::Never).unwrap_or(Standing::Never)
    }

    /// Whose use of their right a task waits for.
    fn waiter(&mut self, id: TaskId, want: Want) -> Option<(Waiter, GroupIx)> {
        let (user, group) = self.account(id);
        let team = |engine: &mut Self| {
            let levels = match engine.task_ref(id).spec.priority {
                Priority::Auto => &Priority::LEVELS[..],
                level => &[level][..],
            };
            levels.to_vec().into_iter().find_map(|level| match engine.standing(id, level) {
                Standing::TeamUsed(team) => Some(team),
                _ => None,
            })
        };
        match want {
            Want::Right | Want::RightInUse => Some((Waiter::User(user), group)),
            Want::TeamInUse => Some((team(self).map_or(Waiter::User(user), Waiter::Team), group)),
            Want::Group | Want::Nodes | Want::Room => None,
        }
    }

    fn try_first(&mut self, id: TaskId, ask: AskId, claim: Claim) -> Tried {
        let spec = Arc::clone(&self.task_ref(id).spec);
        let (level, now) = if claim.entitled {
            match self.right(id) {
                Ok((level, standing)) => (level, standing == Standing::Now),
                Err(want) => return Tried::Wants(want, true),
            }
        } else {
            let level = if spec.priority == Priority::Auto { Priority::Low } else { spec.priority };
            if !spec.kind.is_background() {
                let bucket = self.bucket_at(id, level);
                let bill = Bill::of_charge(Charge::of(&spec));
                if self.book.may_borrow(bucket, &bill).is_err() {
                    return Tried::Wants(Want::TeamInUse, true);
                }
            }
            (level, true)
        };
        let mut memo = self.queue.memo(ask, self.freed_version);
        if now && !memo.not_now {
            if let Some(placement) = placement::place_now(&self.inventory, &spec) {
                self.start(id, placement, level, claim.entitled);
                return Tried::Placed;
            }
            memo.not_now = true;
        }
        if claim.entitled && !memo.not_later {
            if let Some(placement) = placement::place_later(&self.inventory, &spec) {
                self.promise(id, placement, level, true);
                return Tried::Placed;
            }
            memo.not_later = true;
        }
        if claim > Claim::BACKGROUND && memo.not_instead.is_none_or(|tried| tried < claim) {
            match self.preempt(id, level, claim, false) {
                Preempted::Yes => return Tried::Placed,
                // Others may be allowed to take what this one's owner's own work has.
                Preempted::No { spared: true } => {}
                Preempted::No { spared: false } => memo.not_instead = Some(claim),
            }
        }
        self.queue.set_memo(ask, memo);
        if spec.kind.is_background() {
            return Tried::Wants(self.missing(&spec), false);
        }
        let want = self.missing(&spec);
        match self.right(id) {
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

    pub(super) fn promise(&mut self, task: TaskId, placement: Placement, level: Priority, entitled: bool) {
        let run = self.next_run;
        self.decide(Decision::Promise { task, run, placement, level, entitled });
    }

    /// Makes room for a task by letting runs with a lesser claim leave, and with `slices` also those of its own level and
    /// other users whose slice is over.
    fn preempt(&mut self, id: TaskId, level: Priority, claim: Claim, slices: bool) -> Preempted {
        let spec = Arc::clone(&self.task_ref(id).spec);
        // What borrows takes nobody's place but that of background work.
        let below = if claim.entitled { claim } else { Claim { entitled: false, level: Priority::Low } };
        let winner = Winner { spec: &spec, below, owner: self.owner(&spec), now: self.now };
        let (mut yielders, spared) =
            preemption::candidates(&self.inventory, &self.yielders, &winner, |run| self.may_yield(run));
        if slices {
            let over: Vec<RunId> = self.over_slice(&spec.group, claim, &spec.user).collect();
            yielders.extend(over.into_iter().filter_map(|run| self.yielders.yielder(run, self.now)));
            preemption::sort_cheapest_first(&mut yielders);
        }
        if yielders.is_empty() {
            return Preempted::No { spared };
        }
        match preemption::plan(&self.inventory, &spec, &yielders, false, |_| true) {
            Some(plan) => {
                self.carry_out(id, plan, level, claim.entitled);
                Preempted::Yes
            }
            None => Preempted::No { spared },
        }
    }

    /// A user at a priority, as a number.
    fn owner(&self, spec: &TaskSpec) -> Owner {
        self.owners.get(&(spec.user.clone(), spec.priority)).copied().unwrap_or(Owner(u32::MAX))
    }

    /// Whether a run may be told to leave for a better claim: it can be suspended, and its protected time is over.
    fn may_yield(&self, id: RunId) -> bool {
        let run = self.run_ref(id);
        run.phase == Phase::Promised
            || (self.task_ref(run.task).spec.suspendable && run.elapsed(self.now) >= self.protected(id))
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
            let theirs = self.claim(run);
            let task = self.task_ref(run.task);
            theirs == claim
                && run.phase == Phase::Running
                && task.spec.suspendable
                && run.elapsed(self.now) >= self.protected(id)
                && task.spec.user != *user
        })
    }

    /// Adds a run that stays, or is promised, to those who may have to yield, or brings up to date what is known of it.
    pub(super) fn list(&mut self, id: RunId) {
        let run = self.run_ref(id);
        let spec = Arc::clone(&self.task_ref(run.task).spec);
        let mut nodes: SmallVec<[NodeIx; 1]> =
            run.alive().filter_map(|rank| self.inventory.find(&run.placement.workers[rank].node)).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let devices: usize = run.alive().map(|rank| run.placement.workers[rank].devices.len()).sum();
        let restart = spec.restart_cost.unwrap_or(self.config.restart_cost);
        let loss = match run.checkpointed_at.max(run.started_at) {
            _ if run.phase == Phase::Promised => Loss::Fixed(Span::ZERO),
            None => Loss::Fixed(restart),
            Some(since) => Loss::WorkSince(since - restart),
        };
        let claim = self.claim(run);
        let next = Owner(u32::try_from(self.owners.len()).unwrap_or(u32::MAX - 2));
        let owner = match spec.kind {
            TaskKind::Background => NOBODY,
            _ => *self.owners.entry((spec.user.clone(), spec.priority)).or_insert(next),
        };
        let devices = u32::try_from(devices).unwrap_or(u32::MAX).max(1);
        self.yielders.list(id, Listed { group: spec.group.clone(), claim, owner, devices, loss, nodes });
    }

    /// Lets the victims leave and promises their place to the task.
    pub(super) fn carry_out(&mut self, id: TaskId, plan: Plan, level: Priority, entitled: bool) {
        for run in plan.victims {
            let task = self.run_ref(run).task;
            if self.run_ref(run).phase == Phase::Promised {
                self.decide(Decision::Withdraw { task });
            } else {
                self.decide(Decision::Suspend { run, task, reason: YieldReason::For { task: id } });
            }
        }
        self.promise(id, plan.placement, level, entitled);
    }

    /// Round robin among equals: lets the longest waiting take the place of another user's run of their level whose
    /// slice is over. True if one did.
    ///
    /// Only those who were just found to lack room can, or anybody for whom a slice ended or a node was freed.
    fn pass_slices(&mut self) -> bool {
        let mut groups: BTreeSet<GroupName> = BTreeSet::new();
        for class in self.newly_blocked.iter().copied().filter(|&class| self.queue.is_known(class)) {
            groups.insert(self.queue.shape(class).spec.group.clone());
        }
        let ended = self.agenda.slices.take();
        for run in ended.iter().filter_map(|&run| self.runs.get(run)) {
            groups.insert(self.task_ref(run.task).spec.group.clone());
        }
        for &ix in self.freed_nodes.iter().filter(|&&ix| self.inventory.is_known(ix)) {
            groups.insert(self.inventory.node(ix).spec().group.clone());
        }
        for group in groups {
            if self.over_slice.get(&group).is_some_and(|over| !over.is_empty()) && self.pass_slices_of(&group) {
                // What is left over may be of use to another.
                for run in ended {
                    self.agenda.slices.insert(run);
                }
                return true;
            }
        }
        false
    }

    fn pass_slices_of(&mut self, group: &GroupName) -> bool {
        let waiting: Vec<(Claim, TaskId, ClassId)> = self.queue.by_wait(group).filter(|(claim, ..)| claim.entitled).collect();
        let mut in_vain: BTreeSet<(AskId, Claim)> = BTreeSet::new();
        for (claim, head, class) in waiting {
            let ask = self.queue.ask(class);
            if in_vain.contains(&(ask, claim)) {
                continue;
            }
            let spec = Arc::clone(&self.task_ref(head).spec);
            let Ok((level, _)) = self.right(head) else { continue };
            if self.over_slice(group, claim, &spec.user).next().is_none() {
                continue;
            }
            match self.preempt(head, level, claim, true) {
                Preempted::Yes => return true,
                Preempted::No { spared: false } if self.over_slice_is_all_others(group, claim, &spec.user) => {
                    in_vain.insert((ask, claim));
                }
                Preempted::No { .. } => {}
            }
        }
        false
    }

    /// Whether the runs of a claim whose slice is over are all of other users.
    fn over_slice_is_all_others(&self, group: &GroupName, claim: Claim, user: &UserName) -> bool {
        self.over_slice.get(group).into_iter().flatten().all(|&id| {
            let run = self.run_ref(id);
            self.claim(run) != claim || self.task_ref(run.task).spec.user != *user
        })
    }
}
