//! The loop: observe, schedule, store, act.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::engine::{Engine, EngineConfig, FactError, Policies};
use crate::explain::{Change, Preview, Stamp, WhatIfError, what_if};
use crate::model::{
    Decision, Duty, Fact, Grace, NodeName, Program, RunId, RunPhase, Span, TaskId, TaskSpec, TaskState, TaskView, Time,
    UserName, WorkerExit, WorkerFate, WorkerState,
};

use super::{
    Batch, Chain, Cluster, Committed, Event, Fence, FollowError, Follower, Listing, Opening, Saved, Snapshot,
    StartOrder, Store,
};

/// Records between two snapshots, unless there are more unfinished tasks: then as many as those. So a restart replays at most
/// about as much as it restores, and what snapshots cost is a constant for each record, however long the queue.
const SNAPSHOT_EVERY: u64 = 1000;
/// Steps in which a driver takes in what the cluster answers at once, before it does what was shown.
const OWN_STEPS_MAX: u32 = 8;
/// How long an order to leave that the cluster would not take waits until it is given again.
const TELL_AGAIN_AFTER: Span = Span::from_secs(1);

/// Something that somebody, or the cluster, wants the engine to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// A new task; the driver gives it its number.
    Submit(Box<Submitted>),
    /// Any other fact.
    Tell(Fact),
    /// A fact that the cluster told. It knows nothing of what an operator said that a node is there for, which stays.
    Seen(Fact),
    /// It is decided by another configuration from now on.
    Configure(Box<EngineConfig>),
    /// The same, and who wants it: the log keeps the name.
    By(UserName, Box<Command>),
}

impl Command {
    /// The same, in the name of `who`.
    #[must_use]
    pub fn by(self, who: UserName) -> Self {
        Command::By(who, Box::new(self))
    }
}

/// A new task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submitted {
    /// What is asked.
    pub spec: TaskSpec,
    /// What its workers execute.
    pub program: Program,
}

impl Command {
    /// The same as a change that could be made.
    #[must_use]
    pub fn change(&self) -> Change {
        match self {
            Command::Submit(submitted) => Change::Submit(Box::new(submitted.spec.clone())),
            Command::Tell(fact) | Command::Seen(fact) => Change::Tell(Box::new(fact.clone())),
            Command::Configure(config) => Change::Configure(config.clone()),
            Command::By(_, command) => command.change(),
        }
    }
}

/// Why what was shown is not done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Something happened meanwhile, and it would do something else now.
    #[error("it would do something else now than what was shown")]
    Stale(Box<Preview>),
    /// It can not be done any more.
    #[error(transparent)]
    Impossible(#[from] WhatIfError),
}

/// The answer to one [`Command`], given once it is stored: the number of the task submitted, otherwise `None`.
pub type Reply = Result<Option<TaskId>, FactError>;

/// What stops a driver. It must be dropped and opened again: what is stored decides.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// Another driver took the lease.
    #[error("another scheduler has taken over this store; this one stops")]
    Fenced,
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The cluster can not even be listed.
    #[error("the cluster can not be listed: {0}")]
    Cluster(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The log does not replay.
    #[error("the log does not replay at record {seq}: {problem}")]
    Log {
        /// The record.
        seq: u64,
        /// What is wrong.
        problem: String,
    },
}

/// Drives an engine over a store and a cluster.
#[derive(Debug)]
pub struct Driver<S, C> {
    engine: Engine,
    store: S,
    cluster: C,
    fence: Fence,
    chain: Chain,
    /// What the log is told of this driver before anything else; nothing is written as long as nothing happens.
    opening: Option<Taking>,
    last_event: u64,
    last_snapshot: u64,
    /// Stored events that nobody has taken yet.
    events: Vec<Event>,
    /// What the driver itself has to tell the engine next: orders that the cluster would not take.
    own: VecDeque<Command>,
    /// Workers of runs that are over for the engine; what is remembered of them goes when the last has ended.
    strays: BTreeMap<RunId, BTreeSet<u32>>,
    /// Runs that are leaving and could not be told so.
    untold: BTreeSet<RunId>,
    /// Nodes that others who place work there must be told of: whether they take none.
    cordons: BTreeMap<NodeName, bool>,
    /// When they are told again.
    tell_again_at: Option<Time>,
}

/// How a driver went on with a log.
#[derive(Debug)]
struct Taking {
    at: Time,
    opening: Opening,
    /// It has made a round since, in which nothing was decided.
    looked: bool,
}

impl<S: Store, C: Cluster> Driver<S, C> {
    /// Loads the store, replays the log, lists the cluster and reconciles the two: decisions that were stored but not
    /// carried out are carried out, workers that ended meanwhile are taken note of, and those that nobody wants stop.
    ///
    /// # Errors
    /// [`DriverError`].
    pub async fn open(config: EngineConfig, store: S, cluster: C, now: Time) -> Result<Self, DriverError> {
        Self::open_with_policies(config, Policies::default(), store, cluster, now).await
    }

    /// The same with policies of one's own. The log is taken in as it was decided, with the configuration of then.
    ///
    /// # Errors
    /// [`DriverError`].
    pub async fn open_with_policies(
        config: EngineConfig,
        policies: Policies,
        mut store: S,
        mut cluster: C,
        now: Time,
    ) -> Result<Self, DriverError> {
        let saved = store.open().await.map_err(store_error)?;
        let (fence, last_event) = (saved.fence, saved.last_event);
        let last_snapshot = saved.snapshot.as_ref().map_or(0, |snapshot| snapshot.seq);
        let opening = Opening::new(config.clone());
        let (engine, chain) = rebuild(config, policies, saved, now)?;
        let opening = Some(Taking { at: engine.now(), opening, looked: false });
        let listing = cluster.list().await.map_err(|error| DriverError::Cluster(Box::new(error)))?;
        let mut driver = Driver {
            engine,
            store,
            cluster,
            fence,
            chain,
            opening,
            last_event,
            last_snapshot,
            events: Vec::new(),
            own: VecDeque::new(),
            strays: BTreeMap::new(),
            untold: BTreeSet::new(),
            cordons: BTreeMap::new(),
            tell_again_at: None,
        };
        driver.reconcile(now, listing).await?;
        Ok(driver)
    }

    /// The number under which it commits: who opens the store after it has a greater one.
    #[must_use]
    pub const fn fence(&self) -> Fence {
        self.fence
    }

    /// One step: takes the commands in, decides, stores, and only then acts. Replies come in the commands' order.
    ///
    /// # Errors
    /// [`DriverError`]; the driver is then of no use any more. What was not answered may or may not be stored.
    pub async fn step(&mut self, now: Time, commands: Vec<Command>) -> Result<Vec<Reply>, DriverError> {
        let time_matters = self.engine.next_deadline().is_some_and(|deadline| deadline <= now);
        let mut batch = self.empty_batch();
        let mut replies = Vec::with_capacity(commands.len());
        let mut strays = Vec::new();
        // A gang that was refused ends with one step, not with one for each of its workers.
        for own in std::mem::take(&mut self.own) {
            // That nobody knows the worker any more is fine: it was about to be forgotten.
            let _ = self.observe(now, own, &mut batch, &mut strays);
        }
        for command in commands {
            replies.push(self.observe(now, command, &mut batch, &mut strays));
        }
        let round = self.engine.schedule(now);
        // A round follows all facts, even if nothing was decided: what decides the log anew must look when this did.
        if time_matters || !round.decisions.is_empty() || !batch.records.is_empty() {
            self.say_opened(&mut batch);
            batch.records.push(self.chain.round(round.at, round.decisions.clone()));
        } else if let Some(taking) = &mut self.opening {
            taking.looked = true;
        }
        self.describe_changes(&mut batch);
        if !batch.records.is_empty() {
            self.commit(&mut batch).await?;
        }
        for decision in &round.decisions {
            self.act(decision, &batch).await?;
        }
        self.cordon().await;
        let ended = batch.runs.iter().filter(|run| run.phase == RunPhase::Ended).map(|run| run.id);
        for run in ended.chain(strays) {
            self.forget(run).await;
        }
        self.tell_again().await;
        Ok(replies)
    }

    /// The same, but only if the commands would do now what was shown with this stamp, and nothing else.
    ///
    /// # Errors
    /// [`DriverError`], as from [`Driver::step`].
    pub async fn step_if(
        &mut self,
        now: Time,
        commands: Vec<Command>,
        shown: &Stamp,
    ) -> Result<Result<Vec<Reply>, Refused>, DriverError> {
        // What the cluster answered is taken in first; it may answer that again, but not for ever.
        for _ in 0..OWN_STEPS_MAX {
            if self.own.is_empty() {
                break;
            }
            self.step(now, Vec::new()).await?;
        }
        let changes: Vec<Change> = commands.iter().map(Command::change).collect();
        match what_if(&self.engine, now, &changes) {
            Err(error) => Ok(Err(Refused::Impossible(error))),
            Ok(preview) if preview.stamp != *shown => Ok(Err(Refused::Stale(Box::new(preview)))),
            Ok(_) => Ok(Ok(self.step(now, commands).await?)),
        }
    }

    fn observe(&mut self, now: Time, command: Command, batch: &mut Batch, strays: &mut Vec<RunId>) -> Reply {
        let (mut command, mut by) = (command, None);
        while let Command::By(who, what) = command {
            (command, by) = (*what, by.or(Some(who)));
        }
        let (fact, program) = match command {
            Command::Configure(config) => {
                if self.engine.config() != &*config {
                    self.say_opened(batch);
                    self.engine.reconfigure(now, (*config).clone());
                    // Whoever follows the log does the same as when a scheduler takes over.
                    batch.records.push(self.chain.opened(self.engine.now(), Opening::new(*config)));
                }
                return Ok(None);
            }
            Command::By(..) => unreachable!("its wrappers were just taken off"),
            Command::Tell(fact) => (fact, None),
            Command::Seen(mut fact) => {
                if let Fact::NodeSet { node } = &mut fact
                    && let Some(known) = self.engine.node(&node.name)
                {
                    (node.closed, node.draining) = (known.closed, known.draining);
                }
                (fact, None)
            }
            Command::Submit(submitted) => {
                submitted.program.check()?;
                let task = self.engine.next_task_id();
                (Fact::Submitted { task, spec: std::sync::Arc::new(submitted.spec) }, Some((task, submitted.program)))
            }
        };
        let observed = self.engine.observe(now, &fact);
        if let (Err(_), Fact::WorkerEnded { run, rank, .. }) = (&observed, &fact)
            && self.stray_ended(*run, *rank)
        {
            strays.push(*run);
        }
        let changed = observed?;
        if let Fact::NodeDuty { node, duty } = &fact {
            // Also if nothing changed here: somebody may have cordoned it there.
            self.cordons.insert(node.clone(), *duty != Duty::Open);
        }
        if changed {
            // The engine's time, which never goes back: a replay has to see the time that the engine saw.
            self.say_opened(batch);
            batch.records.push(self.chain.fact_by(self.engine.now(), fact, by));
        }
        let task = program.as_ref().map(|(task, _)| *task);
        batch.programs.extend(program);
        Ok(task)
    }

    /// Writes down, once and before all else, that this driver goes on with the log.
    fn say_opened(&mut self, batch: &mut Batch) {
        let Some(Taking { at, opening, looked }) = self.opening.take() else { return };
        batch.records.push(self.chain.opened(at, opening));
        if looked {
            batch.records.push(self.chain.round(at, Vec::new()));
        }
    }

    /// True if that was the last worker of a run that nobody wanted.
    fn stray_ended(&mut self, run: RunId, rank: u32) -> bool {
        let Some(ranks) = self.strays.get_mut(&run) else { return false };
        ranks.remove(&rank);
        let last = ranks.is_empty();
        if last {
            self.strays.remove(&run);
        }
        last
    }

    fn empty_batch(&self) -> Batch {
        Batch {
            fence: self.fence,
            records: Vec::new(),
            programs: Vec::new(),
            tasks: Vec::new(),
            runs: Vec::new(),
            rights: None,
            events: Vec::new(),
            snapshot: None,
        }
    }

    fn describe_changes(&mut self, batch: &mut Batch) {
        let at = self.engine.now();
        let changes = self.engine.drain_changes();
        batch.tasks = changes.tasks;
        batch.runs = changes.runs;
        batch.rights = changes.rights;
        for task in &batch.tasks {
            self.last_event += 1;
            let user = task.spec.user.clone();
            batch.events.push(Event { id: self.last_event, at, user, task: task.clone() });
        }
    }

    async fn commit(&mut self, batch: &mut Batch) -> Result<(), DriverError> {
        let every = SNAPSHOT_EVERY.max(self.engine.unfinished() as u64);
        if self.chain.seq() >= self.last_snapshot + every {
            batch.snapshot = Some(self.snapshot());
        }
        match self.store.commit(batch).await.map_err(store_error)? {
            Committed::Done => {}
            Committed::Fenced => return Err(DriverError::Fenced),
        }
        if let Some(snapshot) = &batch.snapshot {
            self.last_snapshot = snapshot.seq;
        }
        self.events.append(&mut batch.events);
        Ok(())
    }

    /// The present state. What is written always ends with a round, so that the chain goes on from a sealed record.
    fn snapshot(&self) -> Snapshot {
        Snapshot { seq: self.chain.seq(), digest: self.chain.digest(), state: self.engine.snapshot() }
    }

    async fn act(&mut self, decision: &Decision, batch: &Batch) -> Result<(), DriverError> {
        match decision {
            Decision::Start { run, .. } => {
                let program =
                    |task| batch.programs.iter().find(|(id, _)| *id == task).map(|(_, program)| program.clone());
                self.start(*run, program).await?;
            }
            Decision::Suspend { run, task, .. } => self.end(*run, *task, false).await,
            Decision::Stop { run, task } => self.end(*run, *task, true).await,
            // All others only change what is set aside for whom.
            _ => {}
        }
        Ok(())
    }

    async fn start(&mut self, run: RunId, known: impl Fn(TaskId) -> Option<Program>) -> Result<(), DriverError> {
        let Some(view) = self.engine.run(run) else { return Ok(()) };
        let Some(task) = self.engine.task(view.task) else { return Ok(()) };
        let program = match known(task.id) {
            Some(program) => Some(program),
            None => self.store.program(task.id).await.map_err(store_error)?,
        };
        let Some(program) = program else {
            self.refuse(
                run,
                view.workers.len(),
                WorkerFate::NotExecuted { reason: "its program is not stored".into() },
            );
            return Ok(());
        };
        let order = StartOrder {
            run,
            task: task.id,
            attempt: view.attempt,
            name: task.spec.name.clone(),
            user: task.spec.user.clone(),
            group: task.spec.group.clone(),
            program,
            placement: view.placement(),
            grace: task.spec.grace,
            whole_life_state: task.whole_life_state,
        };
        if let Err(error) = self.cluster.start(&order).await {
            self.refuse(
                run,
                view.workers.len(),
                WorkerFate::Refused { reason: error.to_string(), cause: crate::model::RefusalCause::Task },
            );
        }
        Ok(())
    }

    fn refuse(&mut self, run: RunId, workers: usize, fate: WorkerFate) {
        for rank in (0..).take(workers) {
            let exit = WorkerExit::of(fate.clone());
            self.own.push_back(Command::Tell(Fact::WorkerEnded { run, rank, exit }));
        }
    }

    async fn end(&mut self, run: RunId, task: TaskId, for_good: bool) {
        let grace = self.engine.task(task).map_or_else(Grace::default, |task| task.spec.grace);
        let told = if for_good { self.cluster.stop(run, grace).await } else { self.cluster.suspend(run, grace).await };
        // Until it has left it holds its place, whatever the cluster says: it is told again, and nobody else starts there.
        if told.is_err() {
            self.untold.insert(run);
            self.tell_again_at = Some(self.engine.now() + TELL_AGAIN_AFTER);
        } else {
            self.untold.remove(&run);
        }
    }

    /// Tells a run that is leaving what it was told, or should have been.
    async fn end_again(&mut self, run: RunId) {
        let Some(task) = self.engine.run(run).and_then(|run| self.engine.task(run.task)) else { return };
        self.end(run, task.id, task.state == TaskState::Stopping).await;
    }

    /// Tells the cluster which nodes take no new work. The engine gives them none in any case.
    async fn cordon(&mut self) {
        for (node, cordoned) in std::mem::take(&mut self.cordons) {
            if self.cluster.cordon(&node, cordoned).await.is_err() {
                self.cordons.insert(node, cordoned);
                self.tell_again_at = Some(self.engine.now() + TELL_AGAIN_AFTER);
            }
        }
    }

    async fn tell_again(&mut self) {
        if self.tell_again_at.is_none_or(|at| self.engine.now() < at) {
            return;
        }
        self.tell_again_at = None;
        for run in std::mem::take(&mut self.untold) {
            self.end_again(run).await;
        }
    }

    async fn forget(&mut self, run: RunId) {
        // What can not be forgotten now is met again, as a stray, when the driver is next opened.
        let _ = self.cluster.forget(run).await;
    }

    /// The next thing the cluster has to say, as a command for [`Driver::step`]. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Command {
        if let Some(own) = self.own.pop_front() {
            return own;
        }
        Command::Seen(self.cluster.next().await)
    }

    /// When [`Driver::step`] must be called even if there is no command.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        [self.engine.next_deadline(), self.tell_again_at].into_iter().flatten().min()
    }

    /// Whether the driver itself has nothing to tell the engine. Then a [`Driver::step`] does just what [`what_if`] shows of
    /// the same commands on a copy of the engine at the same time.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.own.is_empty()
    }

    /// The engine, to look at.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What was stored since the last call and people may want to hear of.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Writes a snapshot, so that the next start is quick.
    ///
    /// # Errors
    /// [`DriverError`] if the store fails.
    pub async fn close(mut self) -> Result<(), DriverError> {
        if self.chain.seq() == self.last_snapshot {
            return Ok(());
        }
        let mut batch = self.empty_batch();
        self.say_opened(&mut batch);
        batch.snapshot = Some(self.snapshot());
        self.commit(&mut batch).await
    }

    /// Brings engine and cluster together after a restart.
    async fn reconcile(&mut self, now: Time, listing: Listing) -> Result<(), DriverError> {
        let mut commands = Vec::new();
        // What an operator said may not have come to the cluster.
        for node in listing.nodes.iter().filter(|node| !node.cordoned) {
            if self.engine.node(&node.name).is_some_and(|known| known.duty() != Duty::Open) {
                self.cordons.insert(node.name.clone(), true);
            }
        }
        let listed: BTreeSet<_> = listing.nodes.iter().map(|node| node.name.clone()).collect();
        commands.extend(listing.nodes.into_iter().map(|node| Command::Seen(Fact::NodeSet { node })));
        for node in self.engine.nodes().map(|node| node.spec.name).filter(|name| !listed.contains(name)) {
            commands.push(Command::Tell(Fact::NodeRemoved { node }));
        }
        let mut present: BTreeMap<RunId, BTreeMap<u32, Option<WorkerExit>>> = BTreeMap::new();
        for worker in listing.workers {
            let Some(run) = self.engine.run(worker.run) else {
                self.meet_stray(worker.run, worker.rank, worker.exit.is_some());
                continue;
            };
            let task = self.engine.task(run.task);
            if let Some(state) = worker.whole_life_state
                && task.is_some_and(|task: TaskView| task.whole_life_state != state)
            {
                commands.push(Command::Tell(Fact::Checkpointed { run: worker.run, whole_life_state: state }));
            }
            present.entry(worker.run).or_default().insert(worker.rank, worker.exit);
        }
        let runs: Vec<_> = self.engine.runs().collect();
        for run in &runs {
            let workers = present.remove(&run.id).unwrap_or_default();
            // The whole run is ordered again if a part of it is missing; the cluster knows which part it has.
            let mut incomplete = false;
            for (rank, worker) in (0_u32..).zip(&run.workers) {
                let tell = |exit| Command::Tell(Fact::WorkerEnded { run: run.id, rank, exit });
                match (&worker.state, workers.get(&rank)) {
                    (WorkerState::Ended { .. }, _) => {}
                    (state, Some(exit)) => {
                        if *state == WorkerState::Reserved {
                            commands.push(Command::Tell(Fact::WorkerStarted { run: run.id, rank }));
                        }
                        commands.extend(exit.clone().map(tell));
                    }
                    (WorkerState::Reserved, None) if run.phase == RunPhase::Vacating => {
                        // It was told to leave before it was begun; there is nothing to wait for.
                        commands.push(tell(WorkerExit::of(WorkerFate::Killed { signal: 15 }).after_signal()));
                    }
                    (WorkerState::Reserved, None) => incomplete = true,
                    (WorkerState::Executing { .. }, None) => {
                        let reason = "nothing is left of it on its node".to_owned();
                        commands.push(tell(WorkerExit::of(WorkerFate::Lost { reason })));
                    }
                }
            }
            if incomplete {
                self.start(run.id, |_| None).await?;
            }
        }
        self.step(now, commands).await?;
        let leaving: Vec<_> = self.engine.runs().filter(|run| run.phase == RunPhase::Vacating).collect();
        for run in leaving {
            self.end_again(run.id).await;
        }
        self.end_strays().await;
        Ok(())
    }

    fn meet_stray(&mut self, run: RunId, rank: u32, ended: bool) {
        let ranks = self.strays.entry(run).or_default();
        if !ended {
            ranks.insert(rank);
        }
    }

    async fn end_strays(&mut self) {
        let (over, alive): (Vec<_>, Vec<_>) = self.strays.iter().partition(|(_, ranks)| ranks.is_empty());
        let (over, alive): (Vec<RunId>, Vec<RunId>) =
            (over.iter().map(|(run, _)| **run).collect(), alive.iter().map(|(run, _)| **run).collect());
        for run in over {
            self.strays.remove(&run);
            self.forget(run).await;
        }
        for run in alive {
            // It has no task any more that could say how long; should it fail, the next start meets the stray again.
            let _ = self.cluster.stop(run, Grace::default()).await;
        }
    }
}

fn store_error(error: impl std::error::Error + Send + Sync + 'static) -> DriverError {
    DriverError::Store(Box::new(error))
}

/// The engine that the records tell of, as it goes on from `now`.
fn rebuild(config: EngineConfig, policies: Policies, saved: Saved, now: Time) -> Result<(Engine, Chain), DriverError> {
    let mut follower = match saved.snapshot {
        Some(snapshot) => Follower::after(snapshot, config.clone(), policies.clone()),
        None => Follower::new(config.clone(), policies.clone()),
    };
    for record in &saved.records {
        follower.take(record).map_err(|FollowError { seq, problem, .. }| DriverError::Log { seq, problem })?;
    }
    let (mut engine, chain) = follower.into_parts();
    // What the log says is stored already: the new engine has no changes to tell.
    Ok((engine.reopened(now, config, policies), chain))
}
