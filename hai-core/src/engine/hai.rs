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
use crate::preemption::{self, Listed, Loss, Owner, Plan, Winner};
use crate::queue::{AskId, ClassId, Turn, Waits, Want};
use crate::rights::GroupIx;
use crate::rights::book::{Standing, Waiter};

use super::Engine;
use super::place::Stand;
use super::pools::Short;
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

/// The owner of background work.
const NOBODY: Owner = Owner(u32::MAX - 1);

/// What came of trying to make others leave.
pub(super) enum Preempted {
    Yes,
    /// What this round placed was in the way and was taken back: it is to be tried again.
    Again,
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
    /// It is to be tried again at once.
    Again,
    /// It lacks this. With `true` it might start once there is room even so, on borrowed capacity.
    Wants(Want, bool),
}

impl Engine {
    pub(super) fn pass_hai(&mut self) {
        self.begin_undoable();
        self.try_turns();
        self.end_undoable();
        self.reserve_for_longest();
        self.queue.disarm_all();
        self.freed_nodes.clear();
        self.slices_ended.clear();
        self.newly_blocked.clear();
    }

    /// Tries every class whose turn it is, the best claim first.
    ///
    /// Once all of a claim were tried, what still waits with it may take the place of equals; only then lesser claims fill
    /// the holes that are left. So nothing is started or promised that a better claim would take back in the same round.
    fn try_turns(&mut self) {
        let mut tried: Option<Claim> = None;
        loop {
            self.wake_for_freed_rights();
            while let Some(class) = self.queue.pop_woken() {
                let turn = self.turn(class, true);
                self.queue.set_turn(class, turn);
            }
            self.arm_for_freed_nodes();
            let next = self.queue.peek_turn().map(|turn| turn.claim);
            if self.displace_equals(next, tried) {
                tried = None;
                continue;
            }
            let Some((class, turn)) = self.queue.next_turn() else { return };
            tried = Some(turn.claim);
            if self.has_sunk(class, turn) {
                continue;
            }
            let ask = self.queue.ask(class);
            if !turn.claim.entitled && self.may_displace_in_team(class) {
                // With the room there is now it may be within right, if others of its team leave.
                self.queue.wake(class);
            } else {
                self.try_class(class, ask, turn);
            }
            if self.queue.is_armed(ask) {
                self.queue.pass_over(ask, (turn, class));
                self.arm_next(ask);
            }
        }
    }

    /// What is left of rights may put an AUTO task lower than when its turn was worked out: then it has to wait until that.
    fn has_sunk(&mut self, class: ClassId, turn: Turn) -> bool {
        if !turn.claim.entitled || self.queue.shape(class).spec.priority != Priority::Auto {
            return false;
        }
        let now = self.turn(class, true);
        if now.claim >= turn.claim {
            return false;
        }
        self.queue.reorder(class, now);
        let ask = self.queue.ask(class);
        if self.queue.want(class).is_some() && self.queue.is_armed(ask) {
            self.arm_next(ask);
        } else {
            self.queue.set_turn(class, now);
        }
        true
    }

    fn try_class(&mut self, class: ClassId, ask: AskId, turn: Turn) {
        let (_, _, head) = self.queue.first(class);
        self.agenda.verdicts.insert(head);
        let claim = self.claim_of(class, turn.claim.entitled);
        // A class that waited for room found none anywhere, so one worker fits where something was freed or nowhere.
        // With the claim that it had then; an AUTO task may have a better one now.
        let blocked = self.queue.is_armed(ask) && self.queue.blocked_for_room(class).is_some_and(|had| had >= claim);
        let search =
            if blocked && self.queue.ask_spec(ask).workers_min() == 1 { Search::Freed } else { Search::Everywhere };
        match self.try_first(head, ask, claim, search) {
            // The rest of the class has its turn, or waits as before.
            Tried::Placed => {}
            Tried::Again => self.queue.set_turn(class, turn),
            Tried::Wants(_, true) if turn.claim.entitled && self.config.borrow => {
                let turn = self.turn(class, false);
                self.queue.set_turn(class, turn);
            }
            Tried::Wants(want, borrows) => {
                let since = self.task_ref(head).waiting_since;
                // Where its right keeps it from some devices, more of the right may be as good as more room.
                // So it is where more of the right would give an AUTO task a better level.
                let rises = self.queue.shape(class).spec.priority == Priority::Auto && claim != Claim::BACKGROUND;
                let by_right = if want == Want::Room && (self.right_limits || rises) { Want::RightInUse } else { want };
                let lacks = self.waiter(head, by_right);
                let room_too = borrows && self.config.borrow;
                // Room may be all that is missing besides what lesser work of its team would give back.
                let room_too = room_too || want == Want::TeamInUse;
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
        if self.agenda.rights.is_empty() && self.agenda.eased.is_empty() {
            return;
        }
        let freed = self.agenda.rights.take();
        let mut classes = std::mem::take(&mut self.classes_buffer);
        for group in self.agenda.eased.take() {
            classes.extend(self.queue.wanting_teams(group));
            for class in classes.drain(..) {
                if self.may_displace_in_team(class) {
                    self.queue.wake(class);
                }
            }
        }
        for &lacks in &freed {
            classes.extend(self.queue.wanting_right(lacks));
            for class in classes.drain(..) {
                let (_, _, head) = self.queue.first(class);
                if self.right(head).err() != self.queue.want(class) || self.may_displace_in_team(class) {
                    self.queue.wake(class);
                }
            }
        }
        self.classes_buffer = classes;
        self.agenda.rights.reuse(freed);
    }

    /// Whether a class waits for what its team uses, and anybody would yield to it.
    fn may_displace_in_team(&mut self, class: ClassId) -> bool {
        if self.queue.want(class) != Some(Want::TeamInUse) {
            return false;
        }
        let best = match self.queue.shape(class).spec.priority {
            Priority::Auto => Claim { entitled: true, level: Priority::LEVELS[0] },
            _ => self.claim_of(class, true),
        };
        self.yielders.any_below(&self.queue.shape(class).spec.group, best)
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
            Some(node) if self.ask(ask).allows(&self.inventory, node) => {
                self.fitting_in(ask, ix, &self.room_below(ix, claim))
            }
            _ => 0,
        }
    }

    /// How many workers of this ask would fit on the node in so much room.
    fn fitting_in(&self, ask: AskId, ix: NodeIx, room: &Room) -> u32 {
        let (ask, node) = (self.ask(ask), self.inventory.node(ix));
        let everything = KindSet::all();
        if !ask.allows(&self.inventory, node) {
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
        match want {
            Want::Right | Want::RightInUse => Some((Waiter::User(user), group)),
            Want::TeamInUse => Some((team(self).map_or(Waiter::User(user), Waiter::Team), group)),
            Want::Group | Want::Nodes | Want::Room | Want::Turn(_) => None,
        }
    }

    fn try_first(&mut self, id: TaskId, ask: AskId, claim: Claim, search: Search) -> Tried {
        self.ready(ask);
        let spec_workers = self.task_ref(id).spec.workers;
        let (level, stand) = match self.charged_to(id, claim) {
            Ok(found) => found,
            Err(want @ Want::TeamInUse) if claim.entitled => {
                return match self.displace_in_team(id, ask, claim) {
                    Preempted::Yes => Tried::Placed,
                    Preempted::Again => Tried::Again,
                    Preempted::No { .. } => Tried::Wants(want, true),
                };
            }
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
                self.start(id, placement, level, claim.entitled);
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
            match self.preempt(id, ask, level, claim, &stand, search, None) {
                Preempted::Yes => return Tried::Placed,
                Preempted::Again => return Tried::Again,
                // Others may be allowed to take what this one's owner's own work has.
                Preempted::No { spared: true } => {}
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
        match self.right(id) {
            // What it borrows or not depends on its right too.
            Err(right) if !claim.entitled => Tried::Wants(right, true),
            _ => Tried::Wants(self.missing(ask), false),
        }
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

    /// Makes room for a task by letting runs with a lesser claim leave; with `short` also what it lacks of pools.
    #[expect(clippy::too_many_arguments, reason = "all that is known of the task by then")]
    pub(super) fn preempt(
        &mut self,
        id: TaskId,
        ask: AskId,
        level: Priority,
        claim: Claim,
        stand: &Stand,
        search: Search,
        short: Option<&Short>,
    ) -> Preempted {
        let slices = search == Search::Slices;
        let spec = Arc::clone(&self.task_ref(id).spec);
        if !slices && !self.yielders.any_below(&spec.group, claim) {
            return Preempted::No { spared: false };
        }
        let avoid = self.nodes_to_leave_alone(id, claim);
        let question = self.question(ask, &avoid, stand);
        let spared_now: Vec<RunId> =
            self.spared.iter().filter(|(_, up_to)| claim < **up_to).map(|(&run, _)| run).collect();
        let (owner, now) = (self.owner(&spec), self.now);
        let winner = Winner { question, group: &spec.group, below: claim, owner, spared: &spared_now, now };
        let (mut yielders, mut spared) = match search {
            Search::Freed => preemption::candidates_on(&self.yielders, &winner, &self.freed_nodes),
            Search::Everywhere | Search::Slices => preemption::candidates(&self.yielders, &winner),
        };
        if slices {
            let mut over: Vec<RunId> = self.over_slice(&spec.group, claim, &spec.user).collect();
            over.extend(self.fillers(id));
            over.sort_unstable();
            over.dedup();
            spared |= over.iter().any(|run| spared_now.binary_search(run).is_ok());
            over.retain(|run| yielders.iter().all(|known| known.run != *run) && spared_now.binary_search(run).is_err());
            yielders.extend(over.into_iter().filter_map(|run| self.yielders.yielder(run, self.now)));
            preemption::sort_cheapest_first(&mut yielders);
        }
        if let Some(short) = short {
            let more: Vec<RunId> = short.runs().filter(|run| yielders.iter().all(|known| known.run != *run)).collect();
            yielders.extend(more.into_iter().filter_map(|run| self.yielders.yielder(run, self.now)));
            preemption::sort_cheapest_first(&mut yielders);
        }
        if yielders.is_empty() {
            return Preempted::No { spared };
        }
        match preemption::plan(&question, &yielders, false, |leaving| {
            short.is_none_or(|short| short.is_covered_by(leaving))
        }) {
            Some(plan) if plan.victims.iter().any(|&run| self.is_new(run)) => {
                if !self.may_take_back() {
                    return Preempted::No { spared: true };
                }
                let spares = self.take_back(&plan.victims, id, claim);
                if self.task_ref(id).run().is_some() {
                    // It has again what it was promised before this round.
                    return Preempted::Yes;
                }
                if spares || short.is_some() {
                    return Preempted::Again;
                }
                // At once: who was taken back would else fill the same hole again, if it is an equal.
                if let Some(placement) = self.place(id, ask, When::Later, &avoid, stand) {
                    self.promise(id, placement, level, claim.entitled);
                    return Preempted::Yes;
                }
                match self.preempt(id, ask, level, claim, stand, search, None) {
                    Preempted::No { .. } => Preempted::Again,
                    done => done,
                }
            }
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
        here.filter(|&run| self.fills(self.run_ref(run), kept)).collect()
    }

    /// A user at a priority, as a number; all who have none yet look the same. Background work is nobody's, so that it
    /// yields to its owner's other work too.
    pub(super) fn owner(&self, spec: &TaskSpec) -> Owner {
        if spec.kind.is_background() {
            return NOBODY;
        }
        self.owners.get(&(spec.user.clone(), spec.priority)).copied().unwrap_or(Owner(u32::MAX))
    }

    /// The same, with a number of its own from now on.
    pub(super) fn number_owner(&mut self, spec: &TaskSpec) -> Owner {
        if spec.kind.is_background() {
            return NOBODY;
        }
        let next = Owner(u32::try_from(self.owners.len()).unwrap_or(u32::MAX).min(u32::MAX - 2));
        *self.owners.entry((spec.user.clone(), spec.priority)).or_insert(next)
    }

    /// From when on a run may be told to leave for a better claim: if it can be suspended, once its protected time is over.
    fn yields_from(&self, id: RunId) -> Time {
        let run = self.run_ref(id);
        let protected = self.protected(id);
        match run.started_at {
            _ if run.phase == Phase::Promised => Time::from_ms(i64::MIN),
            _ if !self.task_ref(run.task).spec.suspendable => Time::MAX,
            _ if protected == Span::ZERO => Time::from_ms(i64::MIN),
            Some(start) => start + protected,
            None => Time::MAX,
        }
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
        let owner = self.number_owner(&spec);
        let devices = u32::try_from(devices).unwrap_or(u32::MAX).max(1);
        let yields_from = self.yields_from(id);
        self.yielders.list(id, Listed { group: spec.group.clone(), claim, owner, devices, loss, yields_from, nodes });
    }

    /// Lets the victims leave and promises their place to the task.
    pub(super) fn carry_out(&mut self, id: TaskId, plan: Plan, level: Priority, entitled: bool) {
        self.undo.plan_from = Some(self.decisions.len());
        for run in plan.victims {
            let task = self.run_ref(run).task;
            if self.run_ref(run).phase == Phase::Promised {
                self.decide(Decision::Withdraw { task });
            } else {
                self.decide(Decision::Suspend { run, task, reason: YieldReason::For { task: id } });
            }
        }
        self.promise(id, plan.placement, level, entitled);
        self.undo.plan_from = None;
    }
}
