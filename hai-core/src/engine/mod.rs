//! The state machine that ties everything together: facts in, decisions out.
//!
//! See [`Engine`] for the primary entry point. [`Engine::observe`] takes facts in (`observe.rs`), [`Engine::schedule`]
//! decides: what is forced (`forced.rs`), then what the policy says (`hai.rs` or `fifo.rs`). Every decision is made true
//! in one place (`decide.rs`), which a replayed log uses too.

mod after;
mod books;
mod claims;
mod config;
mod cut;
mod decide;
mod error;
mod fifo;
mod forced;
mod hai;
mod life;
mod looks;
mod named;
mod observe;
mod place;
mod reconfigure;
mod rehearse;
mod remember;
mod reserve;
mod sim;
mod slices;
mod snapshot;
mod sound;
mod state;
mod timers;
mod views;
mod yields;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

pub use config::{Churn, EngineConfig, Policy, Timing};
pub use error::FactError;
pub(crate) use looks::{DealLook, LineKey, Manner, RunLook, Seating};
pub use snapshot::EngineState;
pub use sound::StateError;

use indexmap::IndexMap;
use rustc_hash::FxHasher;
use serde::{Deserialize, Serialize};

use crate::inventory::{Inventory, NodeIx};
use crate::model::{
    Allowance, Charge, Claim, Decision, Fact, GroupName, NodeName, NodeView, Priority, RightRow, Round, RunId, RunView,
    Span, TaskId, TaskView, Team, Time, UserName, Verdict,
};
use crate::placement::{self, Placer};
use crate::preemption::{Owner, Yielders};
use crate::queue::order::{Order, Usage};
use crate::queue::{AskId, ClassId, Queue};
use crate::rights::BucketIx;
use crate::rights::book::Book;
use crate::table::Table;
use after::After;
use fifo::Fifo;
use place::Ready;
use reserve::Reservation;
use state::{Agenda, Marked, Reason, Run, Task};
use timers::Timers;

/// The scheduler.
///
/// Three kinds of methods: **facts in** ([`Engine::observe`]), **decisions out** ([`Engine::schedule`], to be called
/// after facts came in or [`Engine::next_deadline`] has passed), and **looking** (everything else). Time is an argument
/// and never goes back: an earlier time than the last counts as the last.
#[derive(Clone, Debug)]
pub struct Engine {
    config: EngineConfig,
    /// What the embedder brought in the place of parts of the configuration.
    policies: Policies,
    now: Time,
    last_task: TaskId,
    next_run: RunId,
    tasks: Table<TaskId, Task>,
    runs: Table<RunId, Run>,
    /// Runs that have a promise and no place yet.
    promised: BTreeSet<RunId>,
    inventory: Inventory,
    placer: Placer,
    /// Asks of the queue made ready, by number.
    asks: Vec<Option<Ready>>,
    /// Runs with workers in several zones.
    crossing: BTreeSet<RunId>,
    book: Book,
    order: Arc<dyn Order>,
    usage: Usage,
    /// Whether the order looks at what users used.
    counts_usage: bool,
    queue: Queue,
    fifo: Fifo,
    timers: Timers,
    after: After,
    /// Tasks that can not start any more, and the one whose success they waited for.
    doomed: Vec<(TaskId, TaskId)>,
    /// Runs that are beyond their right and have a notice.
    noticed: BTreeSet<RunId>,
    /// Runs whose task was given another priority than that which they are charged to.
    unfollowed: BTreeSet<RunId>,
    /// Runs that count as leaving while it is worked out who has to leave.
    pending_cut: BTreeSet<RunId>,
    /// How often in a row nodes refused a start through no fault of the task, and until when they get no other.
    cooling: BTreeMap<NodeName, (u32, Time)>,
    /// When protection and slices of runs are over, by group.
    turns: BTreeMap<GroupName, Timers>,
    /// Runs whose slice is over, by group.
    over_slice: BTreeMap<GroupName, BTreeSet<RunId>>,
    /// Runs that stay or are promised.
    yielders: Yielders,
    /// For whom nodes are kept.
    reservations: BTreeMap<TaskId, Reservation>,
    /// Users at priorities, as numbers.
    owners: IndexMap<(UserName, Priority), Owner, BuildHasherDefault<FxHasher>>,
    agenda: Agenda,
    /// Nodes that were freed, as far as this round has taken them in.
    freed_nodes: Vec<NodeIx>,
    /// Classes that this round found to lack room.
    newly_blocked: Vec<ClassId>,
    /// Classes that this round found to lack a right, and that have not had their turn to borrow yet.
    lacked_right: BTreeSet<ClassId>,
    asks_buffer: Vec<AskId>,
    /// The ask that was just tried, and up to which claim that was in vain.
    vain: Option<(AskId, Claim)>,
    /// Whether the right of the task that was just tried keeps it from some devices.
    right_limits: bool,
    classes_buffer: Vec<ClassId>,
    /// Runs whose slice ended, as far as this round has taken them in.
    slices_ended: Vec<RunId>,
    /// The round that is being made.
    decisions: Vec<Decision>,
    changed_tasks: Marked<TaskId>,
    changed_runs: Marked<RunId>,
    changed_rights: bool,
    finished_tasks: Vec<TaskView>,
    ended_runs: Vec<RunView>,
}

/// Parts of the `hai` policy that an embedder brings, in the place of those that [`EngineConfig`] names.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// In which order tasks of one level are tried.
    pub order: Option<Arc<dyn Order>>,
    /// Which of the nodes that will do a task gets.
    pub placement: Option<placement::Policy>,
}

/// What changed since it was last asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// Tasks as they are now, by number.
    pub tasks: Vec<TaskView>,
    /// Runs as they are now, by number.
    pub runs: Vec<RunView>,
    /// All rights, if any changed.
    pub rights: Option<Vec<RightRow>>,
}

impl Engine {
    /// An engine that knows nothing yet.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Self::with_policies(config, Policies::default())
    }

    /// The same with policies of one's own.
    #[must_use]
    pub fn with_policies(config: EngineConfig, policies: Policies) -> Self {
        let order = policies.order.clone().unwrap_or_else(|| Arc::new(config.order.clone()));
        let fifo = Fifo::new(config.policy == Policy::HaiFifo);
        let placement = policies.placement.clone().unwrap_or_else(|| placement::Policy::of(&config.placement));
        let placer = Placer::new(placement);
        let half_life = config.order.half_life();
        let mut book = Book::default();
        for (model, weight) in &config.weights {
            book.set_weight(model, weight.as_milli());
        }
        Engine {
            config,
            policies,
            now: Time::from_ms(i64::MIN),
            last_task: TaskId(0),
            next_run: RunId(1),
            tasks: Table::default(),
            runs: Table::default(),
            promised: BTreeSet::new(),
            inventory: Inventory::default(),
            placer,
            asks: Vec::new(),
            crossing: BTreeSet::new(),
            book,
            order,
            usage: Usage::new(half_life.unwrap_or(Span::MAX)),
            counts_usage: half_life.is_some(),
            queue: Queue::default(),
            fifo,
            timers: Timers::default(),
            after: After::default(),
            doomed: Vec::new(),
            noticed: BTreeSet::new(),
            unfollowed: BTreeSet::new(),
            pending_cut: BTreeSet::new(),
            cooling: BTreeMap::new(),
            turns: BTreeMap::new(),
            over_slice: BTreeMap::new(),
            yielders: Yielders::default(),
            reservations: BTreeMap::new(),
            owners: IndexMap::default(),
            agenda: Agenda::default(),
            freed_nodes: Vec::new(),
            newly_blocked: Vec::new(),
            lacked_right: BTreeSet::new(),
            asks_buffer: Vec::new(),
            vain: None,
            right_limits: false,
            classes_buffer: Vec::new(),
            slices_ended: Vec::new(),
            decisions: Vec::new(),
            changed_tasks: Marked::default(),
            changed_runs: Marked::default(),
            changed_rights: false,
            finished_tasks: Vec::new(),
            ended_runs: Vec::new(),
        }
    }

    /// Takes a fact in. `Ok(false)` means that it was known already and changed nothing.
    ///
    /// # Errors
    /// [`FactError`]; the engine is then unchanged.
    pub fn observe(&mut self, now: Time, fact: &Fact) -> Result<bool, FactError> {
        self.pass_time(now);
        let changed = self.take_in(fact);
        self.bury_doomed();
        changed
    }

    /// Decides. The decisions hold for the engine at once; the caller has to carry out the actions among them, and to
    /// report as facts what became of them.
    pub fn schedule(&mut self, now: Time) -> Round {
        self.pass_time(now);
        self.force();
        self.settle_promises(false);
        match self.config.policy {
            Policy::Hai => self.pass_hai(),
            Policy::HaiFifo => loop {
                self.pass_fifo();
                // What was charged anew may end notices.
                if !self.cut_rights() {
                    break;
                }
            },
        }
        self.settle_promises(true);
        let verdicts = self.tell_verdicts();
        self.check_books();
        Round { at: self.now, decisions: std::mem::take(&mut self.decisions), verdicts }
    }

    fn tell_verdicts(&mut self) -> Vec<(TaskId, Verdict)> {
        let mut told = Vec::new();
        let looked_at = self.agenda.verdicts.take();
        for &id in &looked_at {
            if !self.tasks.contains(id) {
                continue;
            }
            let reason = self.reason(id);
            if self.task_ref(id).told == reason {
                continue;
            }
            self.task_mut(id).told = reason;
            // Who waits behind another of its shape is not told: whenever that one starts, all would have to be.
            if !matches!(reason, None | Some(Reason::Behind))
                && let Some(verdict) = self.tell(id, reason)
            {
                told.push((id, verdict));
            }
        }
        self.agenda.verdicts.reuse(looked_at);
        told
    }

    /// What must hold between the parts, checked after every round of a debug build.
    fn check_books(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let mut used: BTreeMap<BucketIx, [Charge; 5]> = BTreeMap::new();
        for (id, run) in self.runs.iter() {
            assert_eq!(self.task_ref(run.task).run(), Some(id), "task {} has another run than {id}", run.task);
            if let Some((bucket, bill)) = run.bill() {
                used.entry(bucket).or_default()[run.part() as usize] += bill.charge;
            }
        }
        for bucket in self.book.buckets() {
            let used = used.remove(&bucket).unwrap_or_default();
            let known = self.book.used(bucket);
            let known = [known.staying, known.leaving, known.promised, known.borrowed, known.returning];
            assert_eq!(known, used, "the book is wrong about {:?}", self.book.bucket_name(bucket));
        }
        for node in self.inventory.nodes() {
            assert!(!node.is_overcommitted(), "a device of {} is held twice", node.spec().name);
        }
    }

    /// When time alone could change what [`Engine::schedule`] decides.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.earliest_timer()
    }

    /// The latest time that was taken in.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Why an unfinished task is not running; `None` if it runs, or there is no such task.
    #[must_use]
    pub fn verdict(&self, task: TaskId) -> Option<Verdict> {
        self.explain(task)
    }

    /// An unfinished task.
    #[must_use]
    pub fn task(&self, task: TaskId) -> Option<TaskView> {
        self.tasks.contains(task).then(|| self.view_of(task))
    }

    /// All unfinished tasks, by number.
    pub fn tasks(&self) -> impl Iterator<Item = TaskView> + '_ {
        self.tasks.keys().map(|id| self.view_of(id))
    }

    /// How many unfinished tasks there are.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.tasks.len()
    }

    /// A run that was started and has not ended.
    #[must_use]
    pub fn run(&self, run: RunId) -> Option<RunView> {
        self.run_view(run)
    }

    /// All runs that were started and have not ended, by number.
    pub fn runs(&self) -> impl Iterator<Item = RunView> + '_ {
        self.runs.keys().filter_map(|id| self.run_view(id))
    }

    /// What a run would lose if it had to leave now, or had when it was told to, in device-milliseconds: its work since the
    /// last checkpoint, and what starting it again costs; a part of a device counts as that part. `None` if there is no such run.
    #[must_use]
    pub fn at_stake(&self, run: RunId) -> Option<u64> {
        let at = self.runs.get(run)?.told_at.unwrap_or(self.now);
        let (loss, _) = self.stake(run);
        let run = self.run_ref(run);
        let milli: u64 = run.alive().map(|rank| run.placement.workers[rank].device_milli()).sum();
        let exact = u128::from(loss.at(at, 1)) * u128::from(milli) / 1000;
        Some(u64::try_from(exact).unwrap_or(u64::MAX))
    }

    /// All nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = NodeView> + '_ {
        self.inventory.nodes().map(|node| self.node_view(node))
    }

    /// What is known of a node.
    #[must_use]
    pub fn node(&self, name: &crate::model::NodeName) -> Option<&crate::model::NodeSpec> {
        Some(self.inventory.node(self.inventory.find(name)?).spec())
    }

    /// All teams, by name.
    pub fn teams(&self) -> impl Iterator<Item = &Team> + '_ {
        self.book.teams()
    }

    /// All rights, by key.
    pub fn rights(&self) -> impl Iterator<Item = RightRow> + '_ {
        self.book.rows()
    }

    /// What a user may hold within right in a group at a level; pools of teams bound it besides.
    #[must_use]
    pub fn right_of(&self, user: &UserName, group: &GroupName, level: Priority) -> Allowance {
        self.book.right_of(user, group, level)
    }

    /// What a user holds within right in a group at a level: all runs that stay, leave or are promised a place.
    #[must_use]
    pub fn held_by(&self, user: &UserName, group: &GroupName, level: Priority) -> Charge {
        self.book.held_by(user, group, level)
    }

    /// The number for the next submission.
    #[must_use]
    pub fn next_task_id(&self) -> TaskId {
        TaskId(self.last_task.0 + 1)
    }

    /// What changed since the last call; finished tasks and ended runs appear here for the last time.
    pub fn drain_changes(&mut self) -> Changes {
        let mut tasks = std::mem::take(&mut self.finished_tasks);
        let changed = self.changed_tasks.take();
        tasks.extend(changed.iter().filter(|&&id| self.tasks.contains(id)).map(|&id| self.view_of(id)));
        self.changed_tasks.reuse(changed);
        tasks.sort_by_key(|task| task.id);
        let mut runs = std::mem::take(&mut self.ended_runs);
        let changed = self.changed_runs.take();
        runs.extend(changed.iter().filter_map(|&id| self.run_view(id)));
        self.changed_runs.reuse(changed);
        runs.sort_by_key(|run| run.id);
        let rights = std::mem::take(&mut self.changed_rights).then(|| self.book.rows().collect());
        Changes { tasks, runs, rights }
    }

    /// All of the state.
    #[must_use]
    pub fn snapshot(&self) -> EngineState {
        snapshot::take(self)
    }

    /// An engine that goes on where `state` was taken.
    #[must_use]
    pub fn restore(config: EngineConfig, state: EngineState) -> Self {
        Self::restore_with_policies(config, Policies::default(), state)
    }

    /// The same with policies of one's own, which should be those that it was taken with.
    #[must_use]
    pub fn restore_with_policies(config: EngineConfig, policies: Policies, state: EngineState) -> Self {
        snapshot::restore(Engine::with_policies(config, policies), state)
    }

    /// The engine of a scheduler that takes over at `at`: this one's state, looked at afresh, with a configuration of its
    /// own. What a scheduler does when it starts, and what a log says of it, is the same only if both do this.
    #[must_use]
    pub fn reopened(&mut self, at: Time, config: EngineConfig, policies: Policies) -> Self {
        self.pass_time(at);
        Self::restore_with_policies(config, policies, self.snapshot())
    }

    /// Takes over decisions made before, as in a replayed log, without deciding anew.
    ///
    /// # Errors
    /// [`FactError`] if a decision speaks of a task or run that is not; those before it hold.
    pub fn replay(&mut self, at: Time, decisions: &[Decision]) -> Result<(), FactError> {
        self.pass_time(at);
        decisions.iter().try_for_each(|decision| self.enact_checked(decision))
    }
}
