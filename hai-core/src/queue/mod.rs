//! Who is next: waiting tasks in classes of one shape, the classes whose turn has come, and what the others wait for.
//!
//! See [`Queue`] for the primary entry point. All tasks of one class ask for exactly the same, so if the first does not
//! fit none of them does: a class is tried once, and then not again until something that it can use was freed. Classes
//! with one ask, of whatever owner and level, stand together: a freed node is held against every ask once, not against
//! every class.

pub mod order;
mod shape;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use indexmap::IndexMap;
use priority_queue::PriorityQueue;
use rustc_hash::FxHasher;
use serde::{Deserialize, Serialize};

pub use shape::{AskKey, Shape};

use crate::model::{Claim, GroupName, Rank, TaskId, TaskSpec, Time};
use crate::rights::GroupIx;
use crate::rights::book::Waiter;

/// Unseeded: nothing that is looked up by it is ever walked through.
type Fx = BuildHasherDefault<FxHasher>;

/// So many of those who wait longest at one claim are looked at together.
const LONGEST_MAX: usize = 8;

/// A class's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(u32);

/// An ask's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(u32);

/// What the first of a class lacks. The numbers are looked up when somebody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// A right, for good.
    Right,
    /// A right that other work of its owner uses.
    RightInUse,
    /// What its owner's team may hold, which other work of the team uses.
    TeamInUse,
    /// A node in its group.
    Group,
    /// Nodes that its group does not have.
    Nodes,
    /// Room.
    Room,
    /// There is room, but it is kept for this task, which it would delay.
    Turn(TaskId),
}

/// The place of a task in its class: what the ordering policy says of it, its rank, its number. The smallest goes first.
pub type Member = (u128, Rank, TaskId);

/// The place of a class among those that are to be tried; the greatest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    /// Within right or not, and the level that its first counts as for the order, having waited so long.
    pub claim: Claim,
    /// What the ordering policy says of its owner, if that changes while it waits.
    pub owner: Reverse<u128>,
    /// The first of the class.
    pub first: Reverse<Member>,
}

/// An ask that is held against freed nodes.
#[derive(Clone, Copy, Debug)]
struct Armed {
    /// Classes from here on were tried.
    below: Option<(Turn, ClassId)>,
}

/// What a class lacks that was tried in vain.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// What its first lacks.
    pub want: Want,
    /// Whose right that is.
    pub lacks: Option<(Waiter, GroupIx)>,
    /// Room would do as well.
    pub room_too: bool,
    /// Its place among those that wait for room.
    pub turn: Turn,
    /// What it has to set against runs.
    pub claim: Claim,
    /// When its first began to wait.
    pub since: Time,
}

/// What a class waits for, and its place among those that wait for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Blocked {
    want: Want,
    turn: Turn,
    claim: Claim,
    since: Time,
    by_room: bool,
    lacks: Option<(Waiter, GroupIx)>,
}

#[derive(Clone, Debug)]
struct Class {
    shape: Shape,
    ask: AskId,
    members: BTreeSet<Member>,
    blocked: Option<Blocked>,
}

/// An ask, who waits for room with it, and what is known about its chances.
#[derive(Clone, Debug)]
struct Ask {
    spec: Arc<TaskSpec>,
    classes: u32,
    /// Classes that wait for room, the best turn last.
    waiting: BTreeSet<(Turn, ClassId)>,
    /// With this claim, or a lesser one, it is in vain until something that it can use is freed.
    in_vain: Option<Claim>,
    armed: Option<Armed>,
}

#[derive(Clone, Debug, Default)]
struct Group {
    /// Asks with somebody waiting for room.
    asks: BTreeSet<AskId>,
    /// Classes that wait for room, by claim and since when their first waits.
    by_wait: BTreeMap<Claim, BTreeSet<(Time, TaskId, ClassId)>>,
    /// Classes that the group's nodes could not hold.
    hopeless: BTreeSet<ClassId>,
}

/// All waiting tasks.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    ids: IndexMap<Shape, ClassId, Fx>,
    classes: Vec<Option<Class>>,
    unused: Vec<ClassId>,
    ask_ids: IndexMap<AskKey, AskId, Fx>,
    asks: Vec<Option<Ask>>,
    unused_asks: Vec<AskId>,
    /// Classes that changed and whose turn is not known yet.
    woken: Vec<ClassId>,
    turns: PriorityQueue<ClassId, Turn, Fx>,
    groups: BTreeMap<GroupName, Group>,
    armed: Vec<AskId>,
    /// Classes that wait for a right, by whose it is.
    want_right: BTreeMap<(Waiter, GroupIx), BTreeSet<ClassId>>,
}

impl AskId {
    /// The number itself; numbers are dense, and used again.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Queue {
    fn class(&self, id: ClassId) -> &Class {
        self.classes[id.0 as usize].as_ref().expect("a class's id is dropped with its last member")
    }

    fn class_mut(&mut self, id: ClassId) -> &mut Class {
        self.classes[id.0 as usize].as_mut().expect("a class's id is dropped with its last member")
    }

    fn asked(&self, id: AskId) -> &Ask {
        self.asks[id.0 as usize].as_ref().expect("an ask's id is dropped with its last class")
    }

    fn asked_mut(&mut self, id: AskId) -> &mut Ask {
        self.asks[id.0 as usize].as_mut().expect("an ask's id is dropped with its last class")
    }

    /// Puts a task in that waits since `since`. Its class is tried if it is new; a class that waits goes on waiting.
    pub fn insert(&mut self, shape: Shape, member: Member, since: Time) -> ClassId {
        if let Some(&id) = self.ids.get(&shape) {
            let class = self.class_mut(id);
            class.members.insert(member);
            let is_first = class.members.first() == Some(&member);
            match class.blocked {
                _ if !is_first => {}
                None => self.woken.push(id),
                Some(blocked) => self.place_blocked(id, Blocked { since, ..blocked }),
            }
            return id;
        }
        let ask = self.ask_of(&shape.spec);
        let class = Class { shape: shape.clone(), ask, members: BTreeSet::from([member]), blocked: None };
        let id = self.unused.pop().unwrap_or_else(|| {
            self.classes.push(None);
            ClassId(u32::try_from(self.classes.len() - 1).expect("fewer than 2^32 shapes"))
        });
        self.classes[id.0 as usize] = Some(class);
        self.ids.insert(shape, id);
        self.woken.push(id);
        id
    }

    fn ask_of(&mut self, spec: &Arc<TaskSpec>) -> AskId {
        let key = AskKey(Arc::clone(spec));
        if let Some(&id) = self.ask_ids.get(&key) {
            self.asked_mut(id).classes += 1;
            return id;
        }
        let ask = Ask { spec: Arc::clone(spec), classes: 1, waiting: BTreeSet::new(), in_vain: None, armed: None };
        let id = self.unused_asks.pop().unwrap_or_else(|| {
            self.asks.push(None);
            AskId(u32::try_from(self.asks.len() - 1).expect("fewer than 2^32 asks"))
        });
        self.asks[id.0 as usize] = Some(ask);
        self.ask_ids.insert(key, id);
        id
    }

    /// Takes a task out. Returns the task that is now first of its class, if it was not before. `since` tells since when a
    /// task waits.
    pub fn remove(&mut self, id: ClassId, member: Member, since: impl Fn(TaskId) -> Time) -> Option<TaskId> {
        let was_first = self.first(id) == member;
        let class = self.class_mut(id);
        class.members.remove(&member);
        if class.members.is_empty() {
            self.drop_class(id);
            return None;
        }
        if !was_first {
            return None;
        }
        match self.class(id).blocked {
            // What the next of the class lacks is known already; only its place may be another.
            Some(blocked) => self.place_blocked(id, Blocked { since: since(self.first(id).2), ..blocked }),
            None => self.woken.push(id),
        }
        Some(self.first(id).2)
    }

    fn drop_class(&mut self, id: ClassId) {
        self.unblock(id);
        self.turns.remove(&id);
        let Some(class) = self.classes[id.0 as usize].take() else { return };
        self.ids.swap_remove(&class.shape);
        self.unused.push(id);
        let ask = self.asked_mut(class.ask);
        ask.classes -= 1;
        if ask.classes == 0
            && let Some(ask) = self.asks[class.ask.0 as usize].take()
        {
            self.ask_ids.swap_remove(&AskKey(ask.spec));
            self.unused_asks.push(class.ask);
        }
    }

    /// The first of a class.
    #[must_use]
    pub fn first(&self, id: ClassId) -> Member {
        *self.class(id).members.first().expect("a class without members is dropped")
    }

    /// What a class has in common.
    #[must_use]
    pub fn shape(&self, id: ClassId) -> &Shape {
        &self.class(id).shape
    }

    /// The ask of a class.
    #[must_use]
    pub fn ask(&self, id: ClassId) -> AskId {
        self.class(id).ask
    }

    /// What an ask asks for, in the words of one who does.
    #[must_use]
    pub fn ask_spec(&self, id: AskId) -> &Arc<TaskSpec> {
        &self.asked(id).spec
    }

    /// What the first of a class lacks; `None` if it is still to be tried.
    #[must_use]
    pub fn want(&self, id: ClassId) -> Option<Want> {
        self.class(id).blocked.map(|blocked| blocked.want)
    }

    /// Whether a class is there.
    #[must_use]
    pub fn is_known(&self, id: ClassId) -> bool {
        self.classes.get(id.0 as usize).is_some_and(Option::is_some)
    }

    /// A class whose turn has to be worked out.
    pub fn pop_woken(&mut self) -> Option<ClassId> {
        while let Some(id) = self.woken.pop() {
            // It may have been blocked, or dropped, since.
            if self.is_known(id) && self.class(id).blocked.is_none() {
                return Some(id);
            }
        }
        None
    }

    /// Sets when a class is tried.
    pub fn set_turn(&mut self, id: ClassId, turn: Turn) {
        self.turns.push(id, turn);
    }

    /// The class to try next.
    pub fn next_turn(&mut self) -> Option<(ClassId, Turn)> {
        self.turns.pop()
    }

    /// Tries a class again at once.
    pub fn wake(&mut self, id: ClassId) {
        self.unblock(id);
        self.turns.remove(&id);
        self.woken.push(id);
    }

    /// A class was tried in vain.
    pub fn block(&mut self, id: ClassId, why: Waits) {
        let Waits { want, lacks, room_too, claim, since, .. } = why;
        let turn = Turn { first: Reverse(self.first(id)), ..why.turn };
        let by_room = room_too || matches!(want, Want::Room | Want::Turn(_));
        let blocked = Blocked { want, turn, claim, since, by_room, lacks };
        if self.class(id).blocked == Some(blocked) {
            return;
        }
        self.unblock(id);
        if let Some(lacks) = lacks {
            self.want_right.entry(lacks).or_default().insert(id);
        } else if !by_room {
            let group = self.class(id).shape.spec.group.clone();
            self.groups.entry(group).or_default().hopeless.insert(id);
        }
        self.class_mut(id).blocked = Some(blocked);
        if by_room {
            self.list_for_room(id, blocked);
        }
    }

    /// Puts a blocked class where its first now belongs.
    fn place_blocked(&mut self, id: ClassId, blocked: Blocked) {
        if let Some(before) = self.class(id).blocked.filter(|blocked| blocked.by_room) {
            self.unlist_for_room(id, before);
        }
        let blocked = Blocked { turn: Turn { first: Reverse(self.first(id)), ..blocked.turn }, ..blocked };
        self.class_mut(id).blocked = Some(blocked);
        if blocked.by_room {
            self.list_for_room(id, blocked);
        }
    }

    fn list_for_room(&mut self, id: ClassId, blocked: Blocked) {
        let ask = self.class(id).ask;
        let asked = self.asked_mut(ask);
        let first_of_ask = asked.waiting.is_empty();
        asked.waiting.insert((blocked.turn, id));
        let name = &self.classes[id.0 as usize].as_ref().expect("looked at above").shape.spec.group;
        if !self.groups.contains_key(name) {
            self.groups.insert(name.clone(), Group::default());
        }
        let group = self.groups.get_mut(name).expect("put in above");
        if first_of_ask {
            group.asks.insert(ask);
        }
        let entry = (blocked.since, blocked.turn.first.0.2, id);
        group.by_wait.entry(blocked.claim).or_default().insert(entry);
    }

    fn unlist_for_room(&mut self, id: ClassId, blocked: Blocked) {
        let ask = self.class(id).ask;
        let asked = self.asked_mut(ask);
        asked.waiting.remove(&(blocked.turn, id));
        let last_of_ask = asked.waiting.is_empty();
        if last_of_ask {
            // Nobody is left for whom freed nodes would be held against it.
            asked.in_vain = None;
        }
        let name = &self.classes[id.0 as usize].as_ref().expect("looked at above").shape.spec.group;
        let Some(group) = self.groups.get_mut(name) else { return };
        if last_of_ask {
            group.asks.remove(&ask);
        }
        if let Some(waiting) = group.by_wait.get_mut(&blocked.claim) {
            waiting.remove(&(blocked.since, blocked.turn.first.0.2, id));
            if waiting.is_empty() {
                group.by_wait.remove(&blocked.claim);
            }
        }
    }

    fn unblock(&mut self, id: ClassId) {
        let Some(blocked) = self.class_mut(id).blocked.take() else { return };
        if blocked.by_room {
            self.unlist_for_room(id, blocked);
        }
        if let Some(lacks) = blocked.lacks {
            if let Some(ids) = self.want_right.get_mut(&lacks) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.want_right.remove(&lacks);
                }
            }
        } else if !blocked.by_room {
            let name = &self.classes[id.0 as usize].as_ref().expect("looked at above").shape.spec.group;
            if let Some(group) = self.groups.get_mut(name) {
                group.hopeless.remove(&id);
            }
        }
    }

    /// Nodes of a group came, went or changed: everybody who waits for room there, or for nodes, is tried.
    pub fn wake_group(&mut self, group: &GroupName) {
        let Some(known) = self.groups.get_mut(group) else { return };
        let mut ids: Vec<ClassId> = std::mem::take(&mut known.hopeless).into_iter().collect();
        let asks: Vec<AskId> = known.asks.iter().copied().collect();
        for ask in asks {
            let ask = self.asked_mut(ask);
            ask.in_vain = None;
            ids.extend(ask.waiting.iter().map(|&(_, id)| id));
        }
        for id in ids {
            self.wake(id);
        }
    }

    /// Who waits for a right.
    pub fn wanting_right(&self, lacks: (Waiter, GroupIx)) -> impl Iterator<Item = ClassId> + '_ {
        self.want_right.get(&lacks).into_iter().flatten().copied()
    }

    /// Rights changed.
    pub fn wake_rights(&mut self) {
        // Who waits for room may now lack a right first, and is to be told so.
        let groups: Vec<GroupName> = self.groups.keys().cloned().collect();
        for group in groups {
            self.wake_group(&group);
        }
        for (_, ids) in std::mem::take(&mut self.want_right) {
            for id in ids {
                self.wake(id);
            }
        }
    }

    /// What rights in one group come to changed.
    pub fn wake_rights_in(&mut self, group: GroupIx) {
        let ids: Vec<ClassId> = self
            .want_right
            .iter()
            .filter(|((_, of), _)| *of == group)
            .flat_map(|(_, ids)| ids.iter().copied())
            .collect();
        for id in ids {
            self.wake(id);
        }
    }

    /// The asks with which somebody waits for room in a group.
    pub fn asks(&self, group: &GroupName) -> impl Iterator<Item = AskId> + '_ {
        self.groups.get(group).into_iter().flat_map(|group| group.asks.iter().copied())
    }

    /// The class with the best turn that waits for room with this ask; of an armed ask, of those not tried yet.
    #[must_use]
    pub fn best_waiting(&self, ask: AskId) -> Option<(Turn, ClassId)> {
        let ask = self.asks.get(ask.0 as usize)?.as_ref()?;
        match ask.armed.and_then(|armed| armed.below) {
            Some(below) => ask.waiting.range(..below).next_back().copied(),
            None => ask.waiting.last().copied(),
        }
    }

    /// The classes that wait for room with this ask.
    pub fn waiting(&self, ask: AskId) -> impl Iterator<Item = ClassId> + '_ {
        self.asked(ask).waiting.iter().map(|&(_, class)| class)
    }

    /// The place of a class among those that are blocked.
    #[must_use]
    pub fn blocked_turn(&self, id: ClassId) -> Option<Turn> {
        self.class(id).blocked.map(|blocked| blocked.turn)
    }

    /// The claim with which a class was found to lack room, and nothing else.
    #[must_use]
    pub fn blocked_for_room(&self, id: ClassId) -> Option<Claim> {
        self.class(id).blocked.filter(|blocked| blocked.want == Want::Room).map(|blocked| blocked.claim)
    }

    /// Gives a blocked class another place, since time has changed what the order says of it.
    pub fn reorder(&mut self, id: ClassId, turn: Turn) {
        if let Some(blocked) = self.class(id).blocked.filter(|blocked| blocked.turn != turn) {
            self.place_blocked(id, Blocked { turn, ..blocked });
        }
    }

    /// The class with the best turn that waits for room with this ask.
    #[must_use]
    pub fn best_of(&self, ask: AskId) -> Option<(Turn, ClassId)> {
        self.asked(ask).waiting.last().copied()
    }

    /// Something was freed that the best class of this ask can use: it is tried, and then those after it.
    pub fn arm(&mut self, id: AskId) {
        let ask = self.asked_mut(id);
        ask.in_vain = None;
        let known = ask.armed.replace(Armed { below: None }).is_some();
        if let Some(&(turn, class)) = ask.waiting.last() {
            self.turns.push(class, turn);
        }
        if !known {
            self.armed.push(id);
        }
    }

    /// Whether an ask is armed.
    #[must_use]
    pub fn is_armed(&self, id: AskId) -> bool {
        self.asks.get(id.0 as usize).and_then(Option::as_ref).is_some_and(|ask| ask.armed.is_some())
    }

    /// A class of an armed ask was tried; the next is after it.
    pub fn pass_over(&mut self, id: AskId, tried: (Turn, ClassId)) {
        if let Some(ask) = self.asks[id.0 as usize].as_mut()
            && let Some(armed) = &mut ask.armed
            && armed.below.is_none_or(|below| tried < below)
        {
            armed.below = Some(tried);
        }
    }

    /// Nothing that was freed is of use to an ask any more.
    pub fn disarm(&mut self, id: AskId) {
        if let Some(ask) = self.asks[id.0 as usize].as_mut() {
            ask.armed = None;
        }
    }

    /// The same for all.
    pub fn disarm_all(&mut self) {
        while let Some(id) = self.armed.pop() {
            self.disarm(id);
        }
    }

    /// Up to which claim it is known that an ask is tried in vain.
    #[must_use]
    pub fn in_vain(&self, id: AskId) -> Option<Claim> {
        self.asked(id).in_vain
    }

    /// Remembers up to which claim an ask is tried in vain: until it is armed, or its group is woken.
    pub fn set_in_vain(&mut self, id: AskId, claim: Claim) {
        let known = &mut self.asked_mut(id).in_vain;
        *known = (*known).max(Some(claim));
    }

    /// The class of a shape, if any task of it waits.
    #[must_use]
    pub fn find(&self, shape: &Shape) -> Option<ClassId> {
        self.ids.get(shape).copied()
    }

    /// Who waits for room in a group, by claim from the best, the longest waiting first.
    pub fn by_wait(&self, group: &GroupName) -> impl Iterator<Item = (Claim, TaskId, ClassId)> + '_ {
        let groups = self.groups.get(group).into_iter();
        groups
            .flat_map(|group| group.by_wait.iter().rev())
            .flat_map(|(&claim, waiting)| waiting.iter().map(move |&(_, task, class)| (claim, task, class)))
    }

    /// The same as [`Queue::by_wait`] of every group in which somebody waits, or waited, with the time; at most a few of each
    /// claim, and only who waits since `until` or longer.
    pub fn longest_waiting(
        &self,
        until: Time,
    ) -> impl Iterator<Item = (&GroupName, impl Iterator<Item = (Claim, Time, TaskId)> + '_)> + '_ {
        self.groups.iter().map(move |(name, group)| {
            let longest = group.by_wait.iter().rev().flat_map(move |(&claim, waiting)| {
                let longest = waiting.iter().take(LONGEST_MAX).take_while(move |&&(since, ..)| since <= until);
                longest.map(move |&(since, task, _)| (claim, since, task))
            });
            (name, longest)
        })
    }

    /// Whether anybody waits for room in a group.
    #[must_use]
    pub fn wants_room(&self, group: &GroupName) -> bool {
        self.groups.get(group).is_some_and(|group| !group.asks.is_empty())
    }
}
