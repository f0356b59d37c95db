//! Measures a simulation: who waits, who holds what, and what that adds up to.

mod watched;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::model::{GroupName, NodeName, NodeSpec, Priority, RunId, Span, TaskId, Time};
use crate::sim::{Ending, Record};

use super::cluster::Cluster;
use super::figures::TaskRow;
use super::foretell::Foreteller;
use super::fragments::Fragments;
use super::gantt::Drawer;
use super::load::{Load, Task};
use super::series::Meters;
use super::shares::Shares;
use super::submits::Submitter;
use super::sums::Sums;
use super::trial::{Options, Progress};

/// What is measured over time, by number of its level.
pub(super) mod level {
    pub(crate) const CAPACITY: usize = 0;
    pub(crate) const HELD: usize = 1;
    pub(crate) const EXECUTING: usize = 2;
    pub(crate) const WAITING: usize = 3;
    pub(crate) const WAITING_DEVICES: usize = 4;
    pub(crate) const RUNNING: usize = 5;
    pub(crate) const SUSPENSIONS: usize = 6;
    pub(crate) const LOST: usize = 7;
    pub(crate) const LOADING: usize = 8;
    pub(crate) const FRAGMENTS: usize = 9;
    /// One for each fixed priority.
    pub(crate) const PRIORITIES: usize = 10;
    /// One for each user that is shown by name, then one for all others.
    pub(crate) const USERS: usize = PRIORITIES + 8;
}

/// How long nothing may run and nothing come before those who still wait are given up.
const GIVEN_UP_AFTER: Span = Span::from_mins(2 * 24 * 60);

/// What is remembered of a task.
#[derive(Clone, Debug)]
struct Tasked {
    account: usize,
    /// Thousandths of devices with all workers.
    asked: u64,
    user_level: usize,
    /// What it would take on its user's share, in milliseconds.
    ideal: f64,
    waits: bool,
    promised: bool,
    lost: Span,
    loading: Span,
    ran_before: bool,
}

/// What is remembered of a run.
#[derive(Clone, Debug)]
struct Running {
    task: usize,
    milli: u64,
    executes: bool,
    priority_level: usize,
    bars: Vec<usize>,
    why: Option<String>,
}

/// Measures.
pub(super) struct Meter<'a> {
    pub(super) load: &'a Load,
    submitter: &'a Submitter,
    pub(super) now: Time,
    /// What counts, and when work stops coming.
    pub(super) from: Time,
    pub(super) last: Time,
    pub(super) meters: Meters,
    pub(super) shares: Shares,
    pub(super) drawer: Drawer,
    fragments: Fragments,
    pub(super) foreteller: Option<Foreteller>,
    pub(super) users_shown: Vec<String>,
    tasks: Vec<Option<Tasked>>,
    runs: BTreeMap<RunId, Running>,
    node_capacity: BTreeMap<NodeName, (GroupName, u64)>,
    node_devices: BTreeMap<GroupName, u64>,
    pub(super) measured: Sums,
    pub(super) whole: Sums,
    /// The same until the last task ended.
    pub(super) until_last_end: Sums,
    pub(super) rows: Vec<TaskRow>,
    pub(super) last_end: Time,
    pub(super) refused: u64,
    submitted: usize,
    over: usize,
    last_activity: Time,
    /// Those who wait are not given up before.
    hope_until: Time,
    hope: Span,
    next_sample: Time,
    rounds: u64,
    pub(super) broken_off: bool,
    progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
}

/// How long it can take until what is broken is there again: a repair is at most 45 times as long as the mean.
fn hope(cluster: &Cluster) -> Span {
    let repair = cluster.faults.node_repair.max(cluster.faults.device_repair);
    Span::from_ms(repair.as_ms().saturating_mul(45)).max(GIVEN_UP_AFTER)
}

fn usable(node: &NodeSpec) -> u64 {
    let healthy = node.devices.iter().filter(|device| device.health.is_healthy()).count() as u64;
    if node.ready && !node.draining { healthy * 1000 } else { 0 }
}

impl<'a> Meter<'a> {
    /// Begins; `asks` if there will be an engine that can be asked when tasks start.
    pub(super) fn new(
        cluster: &Cluster,
        load: &'a Load,
        options: &Options,
        submitter: &'a Submitter,
        asks: bool,
        progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Self {
        let start = load.first().unwrap_or(Time::ZERO);
        let last = load.last().unwrap_or(start);
        let from = start + options.warm_up;
        let width = Span::from_ms((last.since(start).as_ms() / 240).max(1000));
        let users_shown = who_asks_most(load.tasks(), options.users_shown);
        let mut meter = Meter {
            load,
            submitter,
            now: start,
            from,
            last,
            meters: Meters::new(start, width, level::USERS + users_shown.len() + 1),
            shares: Shares::new(start),
            fragments: Fragments::new(load),
            foreteller: options
                .forecasts
                .filter(|_| asks)
                .map(|sample| Foreteller::new(sample, load.tasks().len(), from, cluster.conduct)),
            drawer: Drawer::new(cluster, from, options.gantt),
            users_shown,
            tasks: vec![None; load.tasks().len()],
            runs: BTreeMap::new(),
            node_capacity: BTreeMap::new(),
            node_devices: BTreeMap::new(),
            measured: Sums::default(),
            whole: Sums::default(),
            until_last_end: Sums::default(),
            rows: Vec::with_capacity(load.tasks().len()),
            last_end: start,
            refused: 0,
            submitted: 0,
            over: 0,
            last_activity: start,
            hope_until: start + cluster.changes.last().map_or(Span::ZERO, |(at, _)| *at),
            hope: hope(cluster),
            next_sample: start,
            rounds: 0,
            broken_off: false,
            progress,
        };
        for node in &cluster.nodes {
            let most = meter.node_devices.entry(node.group.clone()).or_default();
            *most = (*most).max(node.devices.len() as u64);
            meter.set_node(node);
        }
        meter.next_sample = meter.meters.next_boundary();
        meter
    }

    fn set_node(&mut self, node: &NodeSpec) {
        let capacity = usable(node);
        let before = self.node_capacity.insert(node.name.clone(), (node.group.clone(), capacity));
        if let Some((group, less)) = before {
            let group = self.shares.group(&group);
            self.shares.groups[group].capacity -= less;
            self.meters.take(level::CAPACITY, less);
        }
        let group = self.shares.group(&node.group);
        self.shares.groups[group].capacity += capacity;
        self.meters.add(level::CAPACITY, capacity);
    }

    /// Time moves on: everything that lasts is added up.
    pub(super) fn advance(&mut self, to: Time) {
        while self.now < to {
            let mut until = self.next_sample.min(to);
            if self.now < self.from {
                until = until.min(self.from);
            }
            self.stretch(until);
            if until == self.from {
                self.shares.begin(until);
            }
            if until == self.next_sample {
                self.shares.sample(until);
                self.next_sample = self.meters.next_boundary();
            }
        }
    }

    fn stretch(&mut self, to: Time) {
        let levels =
            [level::CAPACITY, level::HELD, level::EXECUTING, level::WAITING, level::WAITING_DEVICES, level::FRAGMENTS];
        let mut levels = levels.map(|level| u128::from(self.meters.level(level)));
        // Who has not left a drained node yet still has its devices.
        levels[0] = levels[0].max(levels[1]);
        self.whole.add(levels, to.since(self.now));
        let (begin, end) = (self.now.max(self.from), to.min(self.last));
        if begin < end {
            self.measured.add(levels, end.since(begin));
        }
        self.meters.advance(to);
        self.now = to;
    }

    fn index(&self, task: TaskId) -> Option<usize> {
        let index = usize::try_from(task.0).ok()?.checked_sub(1)?;
        (index < self.tasks.len()).then_some(index)
    }

    /// What a task asks for, in thousandths of devices.
    pub(super) fn asked(&self, task: &Task) -> u64 {
        task.milli(self.node_devices.get(&task.spec.group).copied().unwrap_or(0))
    }

    /// A task is submitted.
    pub(super) fn comes(&mut self, index: usize) {
        self.submitted += 1;
        let task = &self.load.tasks()[index];
        let asked = self.asked(task);
        let account = self.shares.account(&task.spec.user, &task.spec.group);
        self.shares.accounts[account].asks_devices |= asked > 0;
        // Work on processors alone makes its user active too.
        self.shares.asks(account, self.now, asked.max(1), 0);
        let group = &self.shares.groups[self.shares.accounts[account].group];
        let share = group.capacity as f64 / group.active.max(1) as f64;
        let slower = if share > 0.0 { (asked as f64 / share).max(1.0) } else { 1.0 };
        let ideal = task.work.needs.as_ms() as f64 * slower;
        let shown = self.users_shown.iter().position(|user| user == task.spec.user.as_str());
        self.tasks[index] = Some(Tasked {
            account,
            asked,
            user_level: level::USERS + shown.unwrap_or(self.users_shown.len()),
            ideal,
            waits: false,
            promised: false,
            lost: Span::ZERO,
            loading: Span::ZERO,
            ran_before: false,
        });
        self.waits(index, true);
    }

    fn waits(&mut self, index: usize, waits: bool) {
        let Some(task) = &mut self.tasks[index] else { return };
        if std::mem::replace(&mut task.waits, waits) == waits {
            return;
        }
        if waits {
            self.meters.add(level::WAITING, 1);
            self.meters.add(level::WAITING_DEVICES, task.asked);
        } else {
            self.meters.take(level::WAITING, 1);
            self.meters.take(level::WAITING_DEVICES, task.asked);
        }
    }

    /// A run begins to hold so many thousandths of devices, at a priority; its bars are drawn already.
    pub(super) fn begins(&mut self, index: usize, run: RunId, milli: u64, by: Priority, bars: Vec<usize>) {
        self.waits(index, false);
        let Some(tasked) = &mut self.tasks[index] else { return };
        tasked.promised = false;
        tasked.ran_before = true;
        let priority_level = level::PRIORITIES
            + Priority::LEVELS.iter().position(|level| *level == by).unwrap_or(Priority::LEVELS.len() - 1);
        for level in [level::HELD, priority_level, tasked.user_level] {
            self.meters.add(level, milli);
        }
        self.meters.add(level::RUNNING, 1);
        self.shares.holds(tasked.account, self.now, milli, 0);
        self.runs.insert(run, Running { task: index, milli, executes: false, priority_level, bars, why: None });
        self.last_activity = self.now;
    }

    /// All workers of a run execute.
    pub(super) fn executes(&mut self, run: RunId) {
        if let Some(run) = self.runs.get_mut(&run) {
            run.executes = true;
            let milli = run.milli;
            self.meters.add(level::EXECUTING, milli);
        }
    }

    /// A run has left its place; what its task has lost and loaded so far, all runs together.
    pub(super) fn leaves(&mut self, at: Time, run: RunId, lost: Span, loading: Span) {
        self.advance(at);
        let Some(run) = self.runs.remove(&run) else { return };
        self.last_activity = at;
        let Some(task) = &mut self.tasks[run.task] else { return };
        let (more_lost, more_loading) = (lost - task.lost, loading - task.loading);
        (task.lost, task.loading) = (lost, loading);
        let (asked, account, user_level) = (task.asked, task.account, task.user_level);
        self.meters.point(level::LOST, asked.saturating_mul(more_lost.as_ms()));
        self.meters.point(level::LOADING, asked.saturating_mul(more_loading.as_ms()));
        for level in [level::HELD, run.priority_level, user_level] {
            self.meters.take(level, run.milli);
        }
        if run.executes {
            self.meters.take(level::EXECUTING, run.milli);
        }
        self.meters.take(level::RUNNING, 1);
        self.shares.holds(account, at, 0, run.milli);
        let why = run.why.as_deref().unwrap_or(match self.load.tasks()[run.task].work.ends {
            Ending::Success => "done",
            Ending::Failure => "failed",
        });
        self.drawer.ended(at, &run.bars, why);
        // If it is over, that is said within the same moment.
        self.waits(run.task, true);
    }

    /// Why a run has to leave.
    pub(super) fn told_to_leave(&mut self, run: RunId, suspended: bool, why: String) {
        if suspended {
            self.meters.point(level::SUSPENSIONS, 1);
        }
        if let Some(run) = self.runs.get_mut(&run) {
            run.why = Some(why);
        }
    }

    /// A task is over.
    pub(super) fn over(&mut self, index: usize, at: Time, record: &Record, outcome: &str) {
        self.advance(at);
        self.waits(index, false);
        self.over += 1;
        self.last_end = self.last_end.max(at);
        self.until_last_end = self.whole;
        self.last_activity = at;
        if let Some(task) = &self.tasks[index] {
            self.shares.asks(task.account, at, 0, task.asked.max(1));
        }
        self.row(index, record, Some(at), outcome);
    }

    /// Tells how far it is; whether to go on.
    pub(super) fn tell(&mut self) -> ControlFlow<()> {
        let told = (self.progress)(Progress { over: self.over, of: self.load.tasks().len(), at: self.now });
        self.broken_off |= told.is_break();
        told
    }

    fn is_done(&self) -> bool {
        self.over + usize::try_from(self.refused).unwrap_or(usize::MAX) >= self.load.tasks().len()
    }

    fn is_stuck(&self) -> bool {
        let all = self.load.tasks().len();
        let came = self.submitted + usize::try_from(self.refused).unwrap_or(usize::MAX) >= all;
        let long_since = |last: Time| self.now.since(last.max(self.hope_until)) > self.hope;
        let endless = |run: &Running| self.load.tasks()[run.task].work.needs == Span::MAX;
        // What runs without end may take turns, or be moved by faults, for ever.
        came && (self.runs.is_empty() && long_since(self.last_activity)
            || long_since(self.last_end.max(self.last)) && self.runs.values().all(endless))
    }

    pub(super) fn row(&mut self, index: usize, record: &Record, ended: Option<Time>, outcome: &str) {
        let submit = self.load.tasks()[index].submit;
        if submit < self.from {
            return;
        }
        let ideal = self.tasks[index].as_ref().map_or(0.0, |task| task.ideal).max(1.0);
        self.rows.push(TaskRow {
            index,
            started: record.started_at,
            ended,
            outcome: outcome.to_owned(),
            suspensions: record.suspensions,
            ran: record.ran,
            lost: record.lost,
            loading: record.loading,
            device_ms: record.device_ms,
            fairness: ended.map_or(0.0, |at| at.since(submit).as_ms() as f64 / ideal),
        });
    }
}

/// The users whose tasks ask for the most devices times time, the greatest first.
fn who_asks_most(tasks: &[Task], count: usize) -> Vec<String> {
    let mut asked: BTreeMap<&str, u128> = BTreeMap::new();
    for task in tasks {
        // What never ends would count for all.
        let needs = u128::from(task.work.needs.as_ms().min(1 << 42));
        *asked.entry(task.spec.user.as_str()).or_default() += u128::from(task.milli(8)) * needs;
    }
    let mut sorted: Vec<(&str, u128)> = asked.into_iter().collect();
    sorted.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
    sorted.into_iter().take(count).map(|(user, _)| user.to_owned()).collect()
}
