//! Who is next: waiting tasks in classes of one shape, and the classes whose turn may have come, best first.
//!
//! See [`Queue`] for the primary entry point. All tasks of one class ask for exactly the same, so if the first does not
//! fit none of them does: a class is tried once, and then not again until something of its kind is freed.

pub mod order;
mod timers;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use priority_queue::PriorityQueue;
use serde::{Deserialize, Serialize};

pub use timers::{Timer, Timers};

use crate::model::{GroupName, Priority, Rank, TaskId, TaskSpec, UserName, WorkerRequest};
use crate::preemption::Claim;

/// A class's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(u32);

/// What all tasks of one class have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    /// Their group.
    pub group: GroupName,
    /// Their owner.
    pub user: UserName,
    /// Their level as asked, maybe `Auto`.
    pub priority: Priority,
    /// They have run so long that they count as the next level down.
    pub demoted: bool,
    workers: u32,
    request: WorkerRequest,
    distinct_nodes: bool,
    tolerates: BTreeSet<String>,
}

/// What the first of a class lacks. The numbers are looked up when somebody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// A right, for good.
    Right,
    /// A right that other work of its owner uses.
    RightInUse,
    /// A node in its group.
    Group,
    /// Nodes that its group does not have.
    Nodes,
    /// Room.
    Room,
}

/// The place of a class among those that are to be tried; the greatest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    /// Within right or not, and the level.
    pub claim: Claim,
    /// The first of the class.
    pub first: Reverse<(Rank, TaskId)>,
}

#[derive(Clone, Debug)]
struct Class {
    shape: Shape,
    members: BTreeSet<(Rank, TaskId)>,
    want: Option<Want>,
}

/// All waiting tasks.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    ids: BTreeMap<Shape, ClassId>,
    classes: Vec<Option<Class>>,
    unused: Vec<ClassId>,
    /// Classes that changed, or for which something was freed, and whose turn is not known yet.
    woken: BTreeSet<ClassId>,
    turns: PriorityQueue<ClassId, Turn>,
    /// Classes that wait for room, by group.
    want_room: BTreeMap<GroupName, BTreeSet<ClassId>>,
    /// Classes that wait for a right, by owner and group.
    want_right: BTreeMap<(UserName, GroupName), BTreeSet<ClassId>>,
}

impl Shape {
    /// The shape of a task.
    #[must_use]
    pub fn of(spec: &TaskSpec, demoted: bool) -> Self {
        Shape {
            group: spec.group.clone(),
            user: spec.user.clone(),
            priority: spec.priority,
            demoted,
            workers: spec.workers,
            request: spec.request.clone(),
            distinct_nodes: spec.distinct_nodes,
            tolerates: spec.tolerates.clone(),
        }
    }
}

impl Queue {
    fn class(&self, id: ClassId) -> &Class {
        self.classes[id.0 as usize].as_ref().expect("a class's id is dropped with its last member")
    }

    fn class_mut(&mut self, id: ClassId) -> &mut Class {
        self.classes[id.0 as usize].as_mut().expect("a class's id is dropped with its last member")
    }

    /// Puts a task in. Its class is tried if it is new; a class that waits goes on waiting.
    pub fn insert(&mut self, shape: Shape, rank: Rank, task: TaskId) {
        if let Some(&id) = self.ids.get(&shape) {
            self.class_mut(id).members.insert((rank, task));
            if self.class(id).want.is_none() {
                self.turns.remove(&id);
                self.woken.insert(id);
            }
            return;
        }
        let class = Class { shape: shape.clone(), members: BTreeSet::from([(rank, task)]), want: None };
        let id = self.unused.pop().unwrap_or_else(|| {
            self.classes.push(None);
            ClassId(u32::try_from(self.classes.len() - 1).expect("fewer than 2^32 shapes"))
        });
        self.classes[id.0 as usize] = Some(class);
        self.ids.insert(shape, id);
        self.woken.insert(id);
    }

    /// Takes a task out. Returns the task that is now first of its class, if it was not before.
    pub fn remove(&mut self, shape: &Shape, rank: Rank, task: TaskId) -> Option<TaskId> {
        let id = *self.ids.get(shape)?;
        let was_first = self.first(id) == (rank, task);
        let class = self.class_mut(id);
        class.members.remove(&(rank, task));
        if class.members.is_empty() {
            self.unblock(id);
            self.woken.remove(&id);
            self.turns.remove(&id);
            self.ids.remove(shape);
            self.classes[id.0 as usize] = None;
            self.unused.push(id);
            return None;
        }
        if was_first && self.class(id).want.is_none() {
            self.turns.remove(&id);
            self.woken.insert(id);
        }
        was_first.then(|| self.first(id).1)
    }

    /// The class of a shape, if any task of it waits.
    #[must_use]
    pub fn find(&self, shape: &Shape) -> Option<ClassId> {
        self.ids.get(shape).copied()
    }

    /// The first of a class.
    #[must_use]
    pub fn first(&self, id: ClassId) -> (Rank, TaskId) {
        *self.class(id).members.first().expect("a class without members is dropped")
    }

    /// What a class has in common.
    #[must_use]
    pub fn shape(&self, id: ClassId) -> &Shape {
        &self.class(id).shape
    }

    /// What the first of a class lacks; `None` if it is still to be tried.
    #[must_use]
    pub fn want(&self, id: ClassId) -> Option<Want> {
        self.class(id).want
    }

    /// Classes whose turn has to be worked out.
    pub fn take_woken(&mut self) -> BTreeSet<ClassId> {
        std::mem::take(&mut self.woken)
    }

    /// Whether there is anything to try.
    #[must_use]
    pub fn has_turns(&self) -> bool {
        !self.woken.is_empty() || !self.turns.is_empty()
    }

    /// Sets when a class is tried.
    pub fn set_turn(&mut self, id: ClassId, turn: Turn) {
        self.turns.push(id, turn);
    }

    /// The class to try next.
    pub fn next_turn(&mut self) -> Option<(ClassId, Turn)> {
        self.turns.pop()
    }

    /// Tries a class again at once, for its next member.
    pub fn wake(&mut self, id: ClassId) {
        self.unblock(id);
        self.turns.remove(&id);
        self.woken.insert(id);
    }

    /// A class was tried in vain. It waits for what it wants; with `room_too` also for room.
    pub fn block(&mut self, id: ClassId, want: Want, room_too: bool) {
        self.unblock(id);
        self.class_mut(id).want = Some(want);
        let shape = &self.class(id).shape;
        let (user, group) = (shape.user.clone(), shape.group.clone());
        let by_right = matches!(want, Want::Right | Want::RightInUse);
        if by_right {
            self.want_right.entry((user, group.clone())).or_default().insert(id);
        }
        if room_too || !by_right {
            self.want_room.entry(group).or_default().insert(id);
        }
    }

    fn unblock(&mut self, id: ClassId) {
        if self.class_mut(id).want.take().is_none() {
            return;
        }
        let shape = &self.class(id).shape;
        let (user, group) = (shape.user.clone(), shape.group.clone());
        if let Some(ids) = self.want_room.get_mut(&group) {
            ids.remove(&id);
        }
        if let Some(ids) = self.want_right.get_mut(&(user, group)) {
            ids.remove(&id);
        }
    }

    /// Room was freed in a group, or somebody there yields more easily now.
    pub fn wake_group(&mut self, group: &GroupName) {
        for id in self.want_room.remove(group).unwrap_or_default() {
            self.wake(id);
        }
    }

    /// A right of this user in this group is used less.
    pub fn wake_right(&mut self, user: &UserName, group: &GroupName) {
        for id in self.want_right.remove(&(user.clone(), group.clone())).unwrap_or_default() {
            self.wake(id);
        }
    }

    /// Rights changed.
    pub fn wake_rights(&mut self) {
        // Who waits for room may now lack a right first, and is to be told so.
        for (_, ids) in std::mem::take(&mut self.want_room) {
            for id in ids {
                self.wake(id);
            }
        }
        for (_, ids) in std::mem::take(&mut self.want_right) {
            for id in ids {
                self.wake(id);
            }
        }
    }

    /// The classes that wait for room in a group.
    pub fn wanting_room(&self, group: &GroupName) -> impl Iterator<Item = ClassId> + '_ {
        self.want_room.get(group).into_iter().flatten().copied()
    }
}
