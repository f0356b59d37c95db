//! Who got what, when and why, and what it adds up to by user: from the log alone, as it was decided.
//!
//! # What is added up
//! All in device-milliseconds: devices times milliseconds, a part of a device counting as that part, whole-node work by the
//! devices of its nodes. A run **holds** its devices from the decision to start it until each of its workers has ended.
//! What it holds counts as **within right**, **borrowed**, or **background**, as it is charged at that moment.
//!
//! **Lost** is what a run held from its last checkpoint (or from when it began to execute) until its end, if it ended by
//! being suspended, lost or failing; it counts at its end. **Restarting** is what a run that is not its task's first held
//! before it executed.
//!
//! # Fairness
//! At every moment the devices of a group that were there (healthy, on nodes that are ready, not cordoned and not drained, but at least
//! what is held) are divided among the users who want some of them, max-min fairly. A user wants what their runs hold and
//! what their tasks ask for that wait for nothing but room. The **share due** is that division summed up over time, the
//! **share got** what was held. A waiting task that asks for memory of a device counts as a thousandth of one, since which
//! one is not known; a whole node as the most devices that a node of the group has.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::backend::{Entry, FollowError, Follower, Record};
use crate::model::{
    Decision, Devices, Fact, GroupName, NodeName, NodeSpec, Placement, RunEnd, RunId, RunView, TaskId, TaskState,
    TaskView, Time, UserName, WorkerFate, WorkerPlacement, YieldReason,
};

use super::entry::{AuditEntry, Claimed, Happening};
use super::fair::divide;

/// From when until when is looked at: from `since` on, before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The first moment.
    pub since: Time,
    /// The first moment after.
    pub until: Time,
}

/// What adds up, for one user or for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Held within right, in device-milliseconds.
    pub right_device_ms: u64,
    /// Held beyond it.
    pub borrowed_device_ms: u64,
    /// Held by background work.
    pub background_device_ms: u64,
    /// Lost.
    pub lost_device_ms: u64,
    /// Spent on starting again.
    pub restarting_device_ms: u64,
    /// Runs that were started.
    pub starts: u64,
    /// Runs that were told to leave and go on later.
    pub suspensions: u64,
    /// Workers whose start was refused.
    pub refusals: u64,
    /// What was due.
    pub share_due_device_ms: u64,
    /// What was got: all that was held.
    pub share_got_device_ms: u64,
}

/// One user's sums.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserAudit {
    /// The user.
    pub user: UserName,
    /// The sums.
    #[serde(flatten)]
    pub sums: Sums,
}

/// What a window adds up to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// The window, as far as the log goes.
    pub window: Window,
    /// By user, by name.
    pub users: Vec<UserAudit>,
    /// Of all users together.
    pub total: Sums,
}

/// Reads a log, tells what happened, and adds it up.
#[derive(Debug)]
pub struct Auditor {
    follower: Follower,
    window: Window,
    /// Everything up to here is added up.
    now: Option<Time>,
    /// From here on it is known what was.
    first: Option<Time>,
    tasks: BTreeMap<TaskId, Task>,
    runs: BTreeMap<RunId, Held>,
    /// For whom others were suspended.
    room_for: BTreeMap<TaskId, BTreeSet<TaskId>>,
    nodes: BTreeMap<NodeName, Offer>,
    groups: BTreeMap<GroupName, Group>,
    users: BTreeMap<UserName, Exact>,
}

#[derive(Debug)]
struct Task {
    user: UserName,
    group: GroupName,
    background: bool,
    /// What it waits for, in milli-devices.
    asks: u64,
}

#[derive(Debug)]
struct Held {
    task: TaskId,
    claimed: Claimed,
    /// By rank, in milli-devices; nothing once it has ended.
    workers: Vec<u64>,
    /// The same, as it began.
    whole: u64,
    /// Where, by rank.
    nodes: Vec<NodeName>,
}

#[derive(Debug)]
struct Offer {
    group: GroupName,
    /// Devices that new work may have.
    open: u64,
    devices: u64,
}

#[derive(Debug, Default)]
struct Group {
    /// What its nodes offer, in milli-devices.
    open: u64,
    /// The most devices of one node.
    largest: u64,
    held: BTreeMap<UserName, [u64; 3]>,
    asked: BTreeMap<UserName, u64>,
    /// The shares due, until something changes.
    due: Option<BTreeMap<UserName, u64>>,
}

/// The same as [`Sums`], in milli-device-milliseconds.
#[derive(Debug, Default)]
struct Exact {
    held: [u128; 3],
    due: u128,
    counted: Sums,
}

impl Auditor {
    /// Begins where `follower` is.
    #[must_use]
    pub fn new(mut follower: Follower, window: Window) -> Self {
        drop(follower.drain_changes());
        let now = follower.engine().now();
        let mut auditor = Auditor {
            follower,
            window,
            now: (now > Time::from_ms(i64::MIN)).then_some(now),
            first: (now > Time::from_ms(i64::MIN)).then_some(now),
            tasks: BTreeMap::new(),
            runs: BTreeMap::new(),
            room_for: BTreeMap::new(),
            nodes: BTreeMap::new(),
            groups: BTreeMap::new(),
            users: BTreeMap::new(),
        };
        let nodes: Vec<NodeSpec> = auditor.follower.engine().nodes().map(|node| node.spec).collect();
        nodes.iter().for_each(|node| auditor.node_is(node));
        let tasks: Vec<TaskView> = auditor.follower.engine().tasks().collect();
        tasks.iter().for_each(|task| auditor.task_is(task));
        let runs: Vec<RunView> = auditor.follower.engine().runs().collect();
        for run in runs {
            let entitled = auditor.follower.engine().is_entitled(run.id);
            auditor.begin_to_hold(run.id, run.task, &run.placement(), entitled);
            for (rank, worker) in run.workers.iter().enumerate() {
                if matches!(worker.state, crate::model::WorkerState::Ended { .. }) {
                    auditor.let_go(run.id, rank);
                }
            }
        }
        auditor
    }

    /// Takes the next record in, and tells what happened in the window.
    ///
    /// # Errors
    /// [`FollowError`] if the record does not follow from those before it.
    pub fn take(&mut self, record: &Record, mut tell: impl FnMut(AuditEntry)) -> Result<(), FollowError> {
        self.first.get_or_insert(record.at);
        self.pass_time(record.at);
        let within = record.at >= self.window.since && record.at < self.window.until;
        let mut tell = |auditor: &mut Self, user: Option<UserName>, task, what: Happening| {
            if within {
                auditor.count(user.as_ref(), &what);
                tell(AuditEntry { seq: record.seq, at: record.at, by: record.by.clone(), user, task, what });
            }
        };
        // The engine forgets runs and tasks that are over, and this needs what they were.
        let refused = match &record.entry {
            Entry::Fact(Fact::WorkerEnded { run, rank, exit }) => match &exit.fate {
                WorkerFate::Refused { reason, .. } => Some((*run, *rank, reason.clone())),
                _ => None,
            },
            _ => None,
        };
        self.follower.take(record)?;
        let changes = self.follower.drain_changes();
        changes.tasks.iter().for_each(|task| self.task_is(task));
        match &record.entry {
            Entry::Fact(fact) => {
                self.capacity_is(fact);
                if let Some((run, rank, reason)) = refused
                    && let Some(held) = self.runs.get(&run)
                    && let Some(node) = held.nodes.get(rank as usize).cloned()
                {
                    let task = held.task;
                    tell(self, self.owner(task), Some(task), Happening::Refused { run, node, reason });
                }
                if let Some((user, task, what)) = self.told(fact) {
                    tell(self, user, task, what);
                }
                if let Fact::WorkerEnded { run, rank, .. } = fact {
                    self.let_go(*run, *rank as usize);
                }
            }
            Entry::Round(decisions) => {
                for decision in decisions {
                    if let Some((task, what)) = self.decided(decision) {
                        tell(self, self.owner(task), Some(task), what);
                    }
                }
            }
            Entry::Opened(opening) => tell(self, None, None, Happening::Opened { hai: opening.hai.clone() }),
        }
        for run in changes.runs {
            if let (Some(end), Some(held)) = (run.end.clone(), self.runs.get(&run.id)) {
                let (task, whole) = (held.task, held.whole);
                let (lost_device_ms, restarting) = costs(&run, &end, whole);
                let user = self.owner(task);
                if let (true, Some(user)) = (within, &user) {
                    let counted = &mut self.users.entry(user.clone()).or_default().counted;
                    counted.restarting_device_ms = counted.restarting_device_ms.saturating_add(restarting);
                }
                tell(self, user, Some(task), Happening::Ended { run: run.id, end, lost_device_ms });
                for rank in 0..run.workers.len() {
                    self.let_go(run.id, rank);
                }
                self.runs.remove(&run.id);
            }
        }
        for task in changes.tasks {
            if matches!(task.state, TaskState::Waiting | TaskState::Suspended | TaskState::Held) {
                // It lost its promise; whoever left for it did so in vain.
                self.room_for.remove(&task.id);
            }
            if let (TaskState::Finished, Some(outcome)) = (task.state, task.outcome) {
                tell(self, Some(task.spec.user.clone()), Some(task.id), Happening::Finished { outcome });
                self.tasks.remove(&task.id);
                self.room_for.remove(&task.id);
            }
        }
        Ok(())
    }

    /// The sums, up to the window's end or `now`, whichever is earlier.
    #[must_use]
    pub fn close(mut self, now: Time) -> Audit {
        self.pass_time(now);
        let until = self.window.until.min(self.now.unwrap_or(now));
        let mut total = Exact::default();
        let mut users = Vec::new();
        for (user, exact) in self.users {
            total.add(&exact);
            users.push(UserAudit { user, sums: exact.sums() });
        }
        let since = self.window.since.max(self.first.unwrap_or(until));
        let window = Window { since: since.min(until), until };
        Audit { window, users, total: total.sums() }
    }

    /// The engine as the records say it was.
    #[must_use]
    pub fn follower(&self) -> &Follower {
        &self.follower
    }

    /// Adds up what was held and due until `at`.
    fn pass_time(&mut self, at: Time) {
        let from = self.now.unwrap_or(at).max(self.window.since);
        let to = at.min(self.window.until);
        self.now = Some(self.now.map_or(at, |now| now.max(at)));
        let elapsed = u128::from(to.since(from).as_ms());
        if elapsed == 0 {
            return;
        }
        for group in self.groups.values_mut() {
            for (user, held) in &group.held {
                let exact = self.users.entry(user.clone()).or_default();
                for (sum, &milli) in exact.held.iter_mut().zip(held) {
                    *sum += elapsed * u128::from(milli);
                }
            }
            if group.due.is_none() {
                group.due = Some(group.division());
            }
            for (user, &milli) in group.due.iter().flatten() {
                self.users.entry(user.clone()).or_default().due += elapsed * u128::from(milli);
            }
        }
    }

    fn owner(&self, task: TaskId) -> Option<UserName> {
        self.tasks.get(&task).map(|task| task.user.clone())
    }

    /// Counts what is counted by the piece, or at one moment.
    fn count(&mut self, user: Option<&UserName>, what: &Happening) {
        let Some(user) = user else { return };
        let counted = match what {
            Happening::Started { .. }
            | Happening::Suspended { .. }
            | Happening::Refused { .. }
            | Happening::Ended { .. } => &mut self.users.entry(user.clone()).or_default().counted,
            _ => return,
        };
        match what {
            Happening::Started { .. } => counted.starts += 1,
            Happening::Suspended { .. } => counted.suspensions += 1,
            Happening::Refused { .. } => counted.refusals += 1,
            Happening::Ended { lost_device_ms, .. } => {
                counted.lost_device_ms = counted.lost_device_ms.saturating_add(*lost_device_ms);
            }
            _ => {}
        }
    }

    /// What people did, if the fact is of that kind.
    fn told(&self, fact: &Fact) -> Option<(Option<UserName>, Option<TaskId>, Happening)> {
        let of_task = |task: TaskId, what| Some((self.owner(task), Some(task), what));
        match fact {
            Fact::Submitted { task, spec } => of_task(*task, Happening::Submitted { name: spec.name.clone() }),
            Fact::Cancelled { task } => of_task(*task, Happening::Cancelled),
            Fact::Concluded { task, succeeded } => of_task(*task, Happening::Concluded { succeeded: *succeeded }),
            Fact::Held { task } => of_task(*task, Happening::Held),
            Fact::Released { task } => of_task(*task, Happening::Released),
            Fact::Reprioritised { task, priority, custom_rank } => {
                of_task(*task, Happening::Reprioritised { priority: *priority, custom_rank: *custom_rank })
            }
            Fact::Renewed { task } => of_task(*task, Happening::Renewed),
            Fact::RightSet { right } => {
                Some((right.key.user.clone(), None, Happening::RightSet { right: right.clone() }))
            }
            Fact::RightRemoved { key } => Some((key.user.clone(), None, Happening::RightRemoved { key: key.clone() })),
            Fact::TeamSet { team } => Some((None, None, Happening::TeamSet { team: team.clone() })),
            Fact::TeamRemoved { team } => Some((None, None, Happening::TeamRemoved { team: team.clone() })),
            _ => None,
        }
    }

    /// Takes a decision in; what it means for its task, if anything that people ask for.
    fn decided(&mut self, decision: &Decision) -> Option<(TaskId, Happening)> {
        match decision {
            Decision::Start { task, run, placement, level, entitled, .. } => {
                self.begin_to_hold(*run, *task, placement, *entitled);
                let held = self.runs.get(run)?;
                let attempt = self.follower.engine().run(*run)?.attempt;
                let mut nodes = held.nodes.clone();
                nodes.dedup();
                let what = Happening::Started {
                    run: *run,
                    attempt,
                    claimed: held.claimed,
                    level: *level,
                    nodes,
                    device_milli: held.whole,
                    in_place_of: self.room_for.remove(task).unwrap_or_default().into_iter().collect(),
                };
                Some((*task, what))
            }
            Decision::Suspend { run, task, reason } => {
                if let YieldReason::For { task: winner } = reason {
                    self.room_for.entry(*winner).or_default().insert(*task);
                }
                Some((*task, Happening::Suspended { run: *run, reason: reason.clone() }))
            }
            Decision::Stop { run, task } => Some((*task, Happening::Stopped { run: *run })),
            Decision::Withdraw { task } => {
                self.room_for.remove(task);
                None
            }
            Decision::Recharge { run, level, entitled } => {
                let task = self.runs.get(run)?.task;
                let claimed = self.claimed(task, *entitled);
                self.recharge(*run, claimed);
                Some((task, Happening::Recharged { run: *run, claimed, level: *level }))
            }
            Decision::Notice { run, until } => {
                Some((self.runs.get(run)?.task, Happening::Noticed { run: *run, until: *until }))
            }
            Decision::Promise { .. } | Decision::Reserve { .. } | Decision::Unreserve { .. } => None,
        }
    }

    fn claimed(&self, task: TaskId, entitled: bool) -> Claimed {
        match (entitled, self.tasks.get(&task).is_some_and(|task| task.background)) {
            (true, _) => Claimed::Right,
            (false, true) => Claimed::Background,
            (false, false) => Claimed::Borrowed,
        }
    }

    fn begin_to_hold(&mut self, run: RunId, task: TaskId, placement: &Placement, entitled: bool) {
        let claimed = self.claimed(task, entitled);
        let workers: Vec<u64> = placement.workers.iter().map(WorkerPlacement::device_milli).collect();
        let nodes = placement.workers.iter().map(|place| place.node.clone()).collect();
        let whole = workers.iter().sum();
        self.runs.insert(run, Held { task, claimed, workers, whole, nodes });
        self.hold(task, claimed, whole, true);
    }

    /// A worker has ended.
    fn let_go(&mut self, run: RunId, rank: usize) {
        let Some(held) = self.runs.get_mut(&run) else { return };
        let milli = held.workers.get_mut(rank).map_or(0, std::mem::take);
        let (task, claimed) = (held.task, held.claimed);
        self.hold(task, claimed, milli, false);
    }

    fn recharge(&mut self, run: RunId, claimed: Claimed) {
        let Some(held) = self.runs.get_mut(&run) else { return };
        let before = std::mem::replace(&mut held.claimed, claimed);
        let (task, milli) = (held.task, held.workers.iter().sum());
        self.hold(task, before, milli, false);
        self.hold(task, claimed, milli, true);
    }

    fn hold(&mut self, task: TaskId, claimed: Claimed, milli: u64, more: bool) {
        let Some(task) = self.tasks.get(&task) else { return };
        if milli == 0 {
            return;
        }
        let group = self.groups.entry(task.group.clone()).or_default();
        group.due = None;
        let held = group.held.entry(task.user.clone()).or_default();
        let sum = &mut held[claimed as usize];
        *sum = if more { *sum + milli } else { sum.saturating_sub(milli) };
        if held.iter().all(|&milli| milli == 0) {
            group.held.remove(&task.user);
        }
    }

    /// Takes in how a task is now: what it still asks for.
    fn task_is(&mut self, view: &TaskView) {
        let spec = &view.spec;
        let group = self.groups.entry(spec.group.clone()).or_default();
        let waits = view.state != TaskState::Finished && self.follower.engine().wants_room(view.id);
        let each = match spec.request.devices {
            Devices::WholeNode => 1000 * group.largest,
            Devices::Count(count) => 1000 * u64::from(count),
            Devices::Share(milli) => u64::from(milli),
            Devices::Memory(_) => 1,
        };
        let asks = if waits { each.saturating_mul(u64::from(spec.workers)) } else { 0 };
        let known = self.tasks.entry(view.id).or_insert_with(|| Task {
            user: spec.user.clone(),
            group: spec.group.clone(),
            background: spec.kind.is_background(),
            asks: 0,
        });
        if known.asks != asks {
            group.due = None;
            let sum = group.asked.entry(known.user.clone()).or_default();
            *sum = sum.saturating_sub(known.asks).saturating_add(asks);
            if *sum == 0 {
                group.asked.remove(&known.user);
            }
            known.asks = asks;
        }
    }

    /// Takes in what a fact says of nodes.
    fn capacity_is(&mut self, fact: &Fact) {
        match fact {
            Fact::NodeSet { node } => self.node_is(node),
            Fact::NodeRemoved { node } => self.node_is_gone(node),
            Fact::DeviceChanged { node, .. } => {
                let changed = self.follower.engine().nodes().find(|view| view.spec.name == *node);
                if let Some(view) = changed {
                    self.node_is(&view.spec);
                }
            }
            _ => {}
        }
    }

    fn node_is(&mut self, node: &NodeSpec) {
        self.node_is_gone(&node.name);
        let healthy = node.devices.iter().filter(|device| device.health.is_healthy()).count() as u64;
        let open = if node.takes_new_work() { 1000 * healthy } else { 0 };
        let devices = node.devices.len() as u64;
        let group = self.groups.entry(node.group.clone()).or_default();
        group.open += open;
        group.largest = group.largest.max(devices);
        group.due = None;
        self.nodes.insert(node.name.clone(), Offer { group: node.group.clone(), open, devices });
    }

    fn node_is_gone(&mut self, name: &NodeName) {
        let Some(offer) = self.nodes.remove(name) else { return };
        let rest = self.nodes.values().filter(|other| other.group == offer.group);
        let largest = rest.map(|other| other.devices).max().unwrap_or(0);
        let group = self.groups.entry(offer.group).or_default();
        group.open = group.open.saturating_sub(offer.open);
        group.largest = largest;
        group.due = None;
    }
}

impl Group {
    fn division(&self) -> BTreeMap<UserName, u64> {
        let mut wanted: BTreeMap<UserName, u64> =
            self.held.iter().map(|(user, held)| (user.clone(), held.iter().sum())).collect();
        let held: u64 = wanted.values().sum();
        for (user, &asked) in &self.asked {
            let sum = wanted.entry(user.clone()).or_default();
            *sum = sum.saturating_add(asked);
        }
        divide(self.open.max(held), &wanted)
    }
}

impl Exact {
    fn add(&mut self, other: &Exact) {
        self.held.iter_mut().zip(other.held).for_each(|(sum, more)| *sum += more);
        self.due += other.due;
        let (sum, more) = (&mut self.counted, &other.counted);
        sum.lost_device_ms = sum.lost_device_ms.saturating_add(more.lost_device_ms);
        sum.restarting_device_ms = sum.restarting_device_ms.saturating_add(more.restarting_device_ms);
        sum.starts += more.starts;
        sum.suspensions += more.suspensions;
        sum.refusals += more.refusals;
    }

    fn sums(&self) -> Sums {
        let whole = |milli: u128| u64::try_from(milli / 1000).unwrap_or(u64::MAX);
        Sums {
            right_device_ms: whole(self.held[Claimed::Right as usize]),
            borrowed_device_ms: whole(self.held[Claimed::Borrowed as usize]),
            background_device_ms: whole(self.held[Claimed::Background as usize]),
            share_due_device_ms: whole(self.due),
            share_got_device_ms: whole(self.held.iter().sum()),
            ..self.counted
        }
    }
}

/// What a run that is over cost for nothing, and what starting it again cost, in device-milliseconds.
fn costs(run: &RunView, end: &RunEnd, milli: u64) -> (u64, u64) {
    let device_ms = |from: Time, to: Time| {
        let exact = u128::from(to.since(from).as_ms()) * u128::from(milli) / 1000;
        u64::try_from(exact).unwrap_or(u64::MAX)
    };
    let Some(ended) = run.ended_at else { return (0, 0) };
    let restarting = if run.attempt > 1 { device_ms(run.decided_at, run.started_at.unwrap_or(ended)) } else { 0 };
    let lost = match (end, run.started_at) {
        (RunEnd::Suspended | RunEnd::Lost { .. } | RunEnd::Failed { .. }, Some(started)) => {
            device_ms(run.checkpointed_at.map_or(started, |saved| saved.max(started)), ended)
        }
        _ => 0,
    };
    (lost, restarting)
}
