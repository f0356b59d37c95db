//! The `hai` policy: better claims first, every hole filled, and nobody suspended who need not be.
//!
//! A round tries the classes of waiting tasks in the order of their claims. The first task of a class starts where there
//! is room; is promised a place where others are leaving already; or makes runs with a lesser claim leave. What is left
//! waiting for room may then take the place of another user's run of the same level whose slice is over, the longest
//! waiting first. See `ARCHITECTURE.md`, "The `hai` policy".

use std::cmp::Reverse;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::inventory::{KindSet, NodeIx, Room, When};
use crate::model::*;
use crate::placement::Seat;
use crate::preemption::{self, Plan, Winner};
use crate::queue::{AskId, ClassId, Turn, Waits, Want};
use crate::rights::GroupIx;
use crate::rights::book::{Standing, Waiter};

use super::Engine;
use super::place::Stand;
use super::state::Phase;

/// Who may be told to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// Runs with a lesser claim.
    Everywhere,
    /// Of those only who is on nodes that were freed in this round.
    Freed,
    /// Runs with a lesser claim, runs of the same level and other users whose slice is over, and runs that fill nodes which
    /// are kept for the task.
    Slices,
}

/// What came of trying to make others leave.
pub(super) enum Preempted {
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
            self.slices_ended.append(&mut self.agenda.slices.take());
            // What starts within right may call back what is borrowed, and what was freed may end notices.
            if !self.pass_reservations() && !self.pass_slices() && !self.entitle_freed() && !self.cut_rights() {
                break;
            }
        }
        self.reserve_for_longest();
        self.queue.disarm_all();
        self.freed_nodes.clear();
        self.slices_ended.clear();
        self.newly_blocked.clear();
        self.lacked_right.clear();
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
        // It lacked a right and was to borrow; what was taken back from others since may be right enough.
        if self.lacked_right.remove(&class) && !turn.claim.entitled && self.right(head).is_ok() {
            let turn = self.turn(class, true);
            self.queue.set_turn(class, turn);
            return;
        }
        let claim = self.claim_of(class, turn.claim.entitled);
        // A class that waited for room found none anywhere, so one worker fits where something was freed or nowhere.
        // With the claim that it had then; an AUTO task may have a better one now.
        let blocked = self.queue.is_armed(ask) && self.queue.blocked_for_room(class).is_some_and(|had| had >= claim);
        let search =
            if blocked && self.queue.ask_spec(ask).workers_min() == 1 { Search::Freed } else { Search::Everywhere };
        match self.try_first(head, ask, claim, search) {
            // The rest of the class has its turn, or waits as before.
            Tried::Placed => {}
            Tried::Wants(want, true) if turn.claim.entitled && self.config.borrow => {
                if matches!(want, Want::Right | Want::RightInUse | Want::TeamInUse) {
                    self.lacked_right.insert(class);
                }
                let turn = self.turn(class, false);
                self.queue.set_turn(class, turn);
            }
            Tried::Wants(want, borrows) => {
                let (mut want, mut turn, mut claim) = (want, turn, claim);
                if !claim.entitled && claim != Claim::BACKGROUND && self.right(head).is_ok() {
                    // Its right leaves out what is free, and so it tried to borrow that. It waits for what it has a right to.
                    (want, turn, claim) = (self.missing(ask), self.turn(class, true), self.claim_of(class, true));
                    self.right_limits = true;
                }
                let since = self.task_ref(head).waiting_since;
                // Where its right keeps it from some devices, more of the right may be as good as more room.
                let by_right = if want == Want::Room && self.right_limits { Want::RightInUse } else { want };
                let lacks = self.waiter(head, by_right);
                let room_too = borrows && self.config.borrow;
                self.queue.block(class, Waits { want, lacks, room_too, turn, claim, since });
                if want == Want::Room {
                    self.newly_blocked.push(class);
                    // Known only as long as somebody waits with this ask, so that freed nodes are held against it.
                    if let Some((ask, claim)) = self.vain.take() {
                        self.queue.set_in_vain(ask, claim);
                    }
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
            if !self.inventory.get(ix).is_some_and(crate::inventory::Node::is_usable) {
                continue;
            }
            self.freed_nodes.push(ix);
            let mut asks = std::mem::take(&mut self.asks_buffer);
            asks.extend(self.queue.asks(&self.inventory.node(ix).spec().group));
            // Most asks are held against the same few claims.
            let mut rooms: SmallVec<[(Claim, Room); 4]> = SmallVec::new();
            for ask in asks.drain(..) {
                let Some((turn, _)) = self.queue.best_of(ask) else { continue };
                let claim = self.queue.in_vain(ask).map_or(turn.claim, |tried| tried.max(turn.claim));
                if !self.may_be_freed(ask, ix, claim) {
                    continue;
                }
                let at = rooms.iter().position(|(known, _)| *known == claim).unwrap_or_else(|| {
                    rooms.push((claim, self.room_below(ix, claim)));
                    rooms.len() - 1
                });
                if self.fitting_in(ask, ix, &rooms[at].1) > 0 && self.could_hold(ask, claim) {
                    self.reorder(ask);
                    self.queue.arm(ask);
                }
            }
            self.asks_buffer = asks;
        }
        self.agenda.nodes.reuse(freed);
    }

    /// The next class of an armed ask has its turn, if anything freed is still of use to it.
    fn arm_next(&mut self, ask: AskId) {
        let next = self.queue.best_waiting(ask);
        let useful = next.filter(|(turn, _)| {
            (0..self.freed_nodes.len()).any(|at| self.could_use(ask, self.freed_nodes[at], turn.claim))
        });
        match useful {
            Some((turn, class)) => self.queue.set_turn(class, turn),
            None => self.queue.disarm(ask),
        }
    }

    /// Whether something of use to this ask was freed on the node: a worker would fit there if all that yields to such a
    /// claim left, and all the others somewhere else then. May be true too often, never false wrongly.
    fn could_use(&mut self, ask: AskId, ix: NodeIx, claim: Claim) -> bool {
        self.fitting(ask, ix, claim) > 0 && self.could_hold(ask, claim)
    }

    /// How many workers of this ask would fit on the node if all that yields to such a claim left.
    pub(super) fn fitting(&self, ask: AskId, ix: NodeIx, claim: Claim) -> u32 {
        match self.inventory.get(ix) {
            Some(node) if self.may_be_freed(ask, ix, claim) && self.ask(ask).allows(&self.inventory, node) => {
                self.fitting_in(ask, ix, &self.room_below(ix, claim))
            }
            _ => 0,
        }
    }

    /// Cheap: false only if no worker of this ask would fit on the node even if all that yields to such a claim left.
    fn may_be_freed(&self, ask: AskId, ix: NodeIx, claim: Claim) -> bool {
        match self.ask(ask).request().devices {
            Devices::Count(count) => {
                self.inventory.free_later(ix) + self.yielders.by_claim(ix).below(claim) >= count.min(u16::MAX.into())
            }
            Devices::WholeNode | Devices::Share(_) | Devices::Memory(_) => true,
        }
    }

    /// How many workers of this ask would fit on the node in so much room.
    fn fitting_in(&self, ask: AskId, ix: NodeIx, room: &Room) -> u32 {
        let (ask, node) = (self.ask(ask), self.inventory.node(ix));
        let everything = KindSet::all();
        if !ask.may_fit_in(room) || !ask.allows(&self.inventory, node) {
            return 0;
        }
        Seat::new(&self.inventory, ask, &everything, node, room).capacity()
    }

    /// What would be left of a node if all that yields to such a claim left.
    fn room_below(&self, ix: NodeIx, claim: Claim) -> Room {
        let (node, here) = (self.inventory.node(ix), self.yielders.on_node(ix));
        if here.iter().any(|there| there.claim < claim) {
            node.room_later_without(|run| here.iter().any(|there| there.run == run && there.claim < claim))
        } else {
            node.room_later()
        }
    }

    pub(super) fn claim(&self, run: &super::state::Run) -> Claim {
        if self.task_ref(run.task).spec.kind.is_background() {
            return Claim::BACKGROUND;
        }
        let level = run.counts_as();
        Claim { entitled: run.entitled, level: run.risen.map_or(level, |risen| risen.max(level)) }
    }

    /// What a class has to set against runs.
    pub(super) fn claim_of(&mut self, class: ClassId, entitled: bool) -> Claim {
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
        let owner = if self.order.is_static() { 0 } else { self.order_key(first.2) };
        Turn { claim, owner: Reverse(owner), first: Reverse(first) }
    }

    /// Puts those who wait with an ask into the order of this moment, where time changes it.
    fn reorder(&mut self, ask: AskId) {
        if self.order.is_static() && self.config.aging.is_none() {
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
    fn auto_level(&mut self, id: TaskId) -> Option<(Priority, Stand)> {
        Priority::LEVELS.into_iter().find_map(|level| {
            let stand = self.stand(id, level, false);
            matches!(stand.standing, Standing::Now | Standing::Later).then_some((level, stand))
        })
    }

    /// The level that a task would be charged to, and how it stands to that right.
    pub(super) fn right(&mut self, id: TaskId) -> Result<(Priority, Stand), Want> {
        let found = match self.task_ref(id).spec.priority {
            Priority::Auto => self.auto_level(id),
            level => Some((level, self.stand(id, level, false))),
        };
        let lack = match found {
            Some((_, Stand { standing: lack @ (Standing::Never | Standing::Used | Standing::TeamUsed(_)), .. })) => {
                lack
            }
            Some(found) => return Ok(found),
            None => self.worst_lack(id),
        };
        Err(match lack {
            Standing::Never => Want::Right,
            Standing::TeamUsed(_) => Want::TeamInUse,
            _ => Want::RightInUse,
        })
    }

    /// What an AUTO task lacks that has no right at any level: the first level at which it could ever have one tells.
    fn worst_lack(&mut self, id: TaskId) -> Standing {
        let mut lacks = Priority::LEVELS.into_iter().map(|level| self.stand(id, level, false).standing);
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
            levels.iter().copied().find_map(|level| match engine.stand(id, level, false).standing {
                Standing::TeamUsed(team) => Some(team),
                _ => None,
            })
        };
        // It lacks the right, and might borrow but for this team.
        let lender = |engine: &mut Self| {
            let level = Some(engine.task_ref(id).spec.priority).filter(|level| *level != Priority::Auto);
            match engine.stand(id, level.unwrap_or(Priority::Low), true).standing {
                Standing::TeamUsed(team) => Some(team),
                _ => None,
            }
        };
        match want {
            Want::Right | Want::RightInUse => Some((Waiter::User(user), group)),
            Want::TeamInUse => {
                let team = team(self).or_else(|| lender(self));
                Some((team.map_or(Waiter::User(user), Waiter::Team), group))
            }
            Want::Group | Want::Nodes | Want::Room | Want::Turn(_) => None,
        }
    }

    fn try_first(&mut self, id: TaskId, ask: AskId, claim: Claim, search: Search) -> Tried {
        self.ready(ask);
        let spec_workers = self.task_ref(id).spec.workers;
        let (level, stand) = match self.charged_to(id, claim) {
            Ok(found) => found,
            Err(want) => return Tried::Wants(want, true),
        };
        self.vain = None;
        self.right_limits = claim.entitled && (!stand.later.is_all() || stand.workers.0 < spec_workers);
        let now = stand.standing == Standing::Now;
        let avoid = self.nodes_to_leave_alone(id, claim);
        // What is in vain for a task that may not have everything may not be for others.
        let plain = avoid.is_empty() && stand.later.is_all();
        let in_vain = if plain { self.queue.in_vain(ask) } else { None };
        if in_vain.is_none() {
            if now && let Some(placement) = self.place(id, ask, When::Now, &avoid, &stand) {
                let entitled = claim.entitled || self.is_within_right(id, level, claim, &placement);
                self.start(id, placement, level, entitled);
                return Tried::Placed;
            }
            if claim.entitled
                && let Some(placement) = self.place(id, ask, When::Later, &avoid, &stand)
            {
                self.promise(id, placement, level, true);
                return Tried::Placed;
            }
        }
        let mut vain_up_to = Claim::BACKGROUND;
        // What borrows takes nobody's place.
        if claim.entitled && in_vain.is_none_or(|tried| tried < claim) {
            match self.preempt(id, ask, level, claim, &stand, search) {
                Preempted::Yes => return Tried::Placed,
                // Others may be allowed to take what this one's owner's own work has.
                Preempted::No { spared: true } => {}
                // Elsewhere than on freed nodes there may be some that are only spared for this task.
                Preempted::No { spared: false } if search == Search::Freed => {}
                Preempted::No { spared: false } => vain_up_to = claim,
            }
        }
        if !plain {
            if let Some(holder) = self.would_delay(id, ask, &stand) {
                return Tried::Wants(Want::Turn(holder), false);
            }
        } else if now && claim.entitled {
            self.vain = Some((ask, vain_up_to));
        }
        if claim == Claim::BACKGROUND {
            return Tried::Wants(self.missing(ask), false);
        }
        if self.right_limits {
            if self.start_at_lesser_level(id, ask, level, &avoid) {
                return Tried::Placed;
            }
            return Tried::Wants(self.missing(ask), true);
        }
        match self.right(id) {
            // What it borrows or not depends on its right too.
            Err(right) if !claim.entitled => Tried::Wants(right, true),
            _ => Tried::Wants(self.missing(ask), false),
        }
    }

    /// Whether what is about to be borrowed is within right after all: a right is held against devices of one kind at a
    /// time before there is a place, which may be of several.
    fn is_within_right(&mut self, id: TaskId, level: Priority, claim: Claim, placement: &Placement) -> bool {
        if claim == Claim::BACKGROUND {
            return false;
        }
        let bill = self.bill_of_placement(placement);
        let bucket = self.bucket_at(id, level);
        self.book.standing(bucket, &bill) == Standing::Now
    }

    /// Where the right of an AUTO task at its level leaves out what is free, a lesser level's may not. True if it starts,
    /// or has a promise.
    fn start_at_lesser_level(&mut self, id: TaskId, ask: AskId, level: Priority, avoid: &[NodeIx]) -> bool {
        if self.task_ref(id).spec.priority != Priority::Auto {
            return false;
        }
        for level in Priority::LEVELS.into_iter().filter(|&lesser| lesser < level) {
            let stand = self.stand(id, level, false);
            if stand.standing == Standing::Now
                && let Some(placement) = self.place(id, ask, When::Now, avoid, &stand)
            {
                self.start(id, placement, level, true);
                return true;
            }
            if matches!(stand.standing, Standing::Now | Standing::Later)
                && let Some(placement) = self.place(id, ask, When::Later, avoid, &stand)
            {
                self.promise(id, placement, level, true);
                return true;
            }
        }
        false
    }

    /// The level that a task would be charged to with such a claim, and how it stands to that right.
    fn charged_to(&mut self, id: TaskId, claim: Claim) -> Result<(Priority, Stand), Want> {
        if claim.entitled {
            return self.right(id);
        }
        let level = match self.task_ref(id).spec.priority {
            Priority::Auto => Priority::Low,
            level => level,
        };
        if claim == Claim::BACKGROUND {
            return Ok((level, Stand::anything()));
        }
        let stand = self.stand(id, level, true);
        if stand.standing == Standing::Now { Ok((level, stand)) } else { Err(Want::TeamInUse) }
    }

    /// The task whose nodes another would fit on, if it did not have to leave them alone.
    fn would_delay(&mut self, id: TaskId, ask: AskId, stand: &Stand) -> Option<TaskId> {
        let placement = self.place(id, ask, When::Now, &[], stand)?;
        let nodes: Vec<NodeIx> =
            placement.workers.iter().filter_map(|place| self.inventory.find(&place.node)).collect();
        self.kept_for(&nodes, id)
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

    /// Makes room for a task by letting runs with a lesser claim leave.
    pub(super) fn preempt(
        &mut self,
        id: TaskId,
        ask: AskId,
        level: Priority,
        claim: Claim,
        stand: &Stand,
        search: Search,
    ) -> Preempted {
        let slices = search == Search::Slices;
        let spec = Arc::clone(&self.task_ref(id).spec);
        if !slices && !self.yielders.any_below(&spec.group, claim) {
            return Preempted::No { spared: false };
        }
        // Holes may be filled for a while; but nobody is told to leave for a place that would have to be left at once.
        let kept = self.nodes_kept_for_better(id, claim);
        let mut avoid = self.nodes_to_leave_alone(id, claim);
        avoid.extend_from_slice(&kept);
        avoid.sort_unstable();
        avoid.dedup();
        self.order_nodes(ask, stand);
        let question = self.question(ask, &avoid, stand);
        let winner = Winner { question, group: &spec.group, below: claim, owner: self.owner(&spec), now: self.now };
        let (mut yielders, mut spared) = match search {
            Search::Freed => preemption::candidates_on(&self.yielders, &winner, &self.freed_nodes),
            Search::Everywhere | Search::Slices => preemption::candidates(&self.yielders, &winner),
        };
        spared |= !kept.is_empty();
        if slices {
            let mut over: Vec<RunId> = self.over_slice(&spec.group, claim, &spec.user).collect();
            over.extend(self.fillers(id));
            over.sort_unstable();
            over.dedup();
            over.retain(|run| yielders.iter().all(|known| known.run != *run));
            yielders.extend(over.into_iter().filter_map(|run| self.yielders.yielder(run, self.now)));
            preemption::sort_cheapest_first(&mut yielders);
        }
        if yielders.is_empty() {
            return Preempted::No { spared };
        }
        match preemption::plan(&question, &yielders, false, |_| true) {
            Some(plan) => {
                self.carry_out(id, plan, level, claim.entitled);
                Preempted::Yes
            }
            None => Preempted::No { spared },
        }
    }

    /// Runs that fill nodes which are kept for this task.
    fn fillers(&self, id: TaskId) -> Vec<RunId> {
        let Some(kept) = self.reservations.get(&id) else { return Vec::new() };
        let here = kept.nodes.iter().flat_map(|&ix| self.yielders.on_node(ix)).map(|there| there.run);
        here.filter(|&run| self.fills(run, kept)).collect()
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
}
