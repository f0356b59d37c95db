//! The one task that owns the driver, and the handle through which every door speaks to it.
//!
//! See [`Scheduler`] for the handle and [`run`] for the loop.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hai_core::backend::{Cluster, Command, Driver, DriverError, Event, Refused, Reply, Store, Submitted};
use hai_core::engine::{Engine, FactError};
use hai_core::explain::Stamp;
use hai_core::model::{Fact, Program, TaskId, TaskSpec, TaskView, Time, UserName};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock;

/// Requests that wait for the next step, at most. More make the doors wait.
const REQUESTS_MAX: usize = 1024;
/// Events that a slow listener may fall behind before it has to read them from the store.
const EVENTS_BEHIND_MAX: usize = 4096;

/// A handle to the scheduler; cheap to clone.
#[derive(Clone, Debug)]
pub struct Scheduler {
    requests: mpsc::Sender<Request>,
    events: broadcast::Sender<Arc<Event>>,
    stats: Stats,
}

/// The scheduler's end of its handles.
#[derive(Debug)]
pub struct Inbox {
    requests: mpsc::Receiver<Request>,
    events: broadcast::Sender<Arc<Event>>,
    stats: Stats,
}

/// What the loop has done since it began; clones count together.
#[derive(Clone, Debug)]
pub struct Stats {
    steps: Counter,
    step_seconds: Histogram,
    commands: Counter,
    rejected: Counter,
    events: Counter,
    copies: Counter,
    checks: Counter,
}

/// The engine as it was between two steps, shared with all who looked then; cheap to clone.
#[derive(Clone, Debug)]
pub struct Still {
    engine: Arc<Engine>,
    moment: Moment,
}

/// Between which two steps something was seen. Nothing changes the engine but a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment(u64);

/// What was shown of commands, and from what it was worked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Names what they would do.
    pub stamp: Stamp,
    /// When that was.
    pub at: Time,
    /// When the engine was copied on which it was worked out.
    pub seen: Moment,
}

enum Request {
    Command(Command, oneshot::Sender<Reply>),
    Submit(Command, oneshot::Sender<Result<TaskView, FactError>>),
    Apply(Vec<Command>, Box<Shown>, oneshot::Sender<Result<Vec<Reply>, Refused>>),
    Still(oneshot::Sender<Still>),
    Inspect(Box<dyn FnOnce(&Engine) + Send>),
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Request::Command(command, _) => f.debug_tuple("Command").field(command).finish(),
            Request::Submit(command, _) => f.debug_tuple("Submit").field(command).finish(),
            Request::Apply(commands, stamp, _) => f.debug_tuple("Apply").field(commands).field(stamp).finish(),
            Request::Still(_) => f.write_str("Still"),
            Request::Inspect(_) => f.write_str("Inspect"),
        }
    }
}

/// Why the scheduler did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It can not be done.
    #[error(transparent)]
    Rejected(#[from] FactError),
    /// The scheduler has stopped.
    #[error("the scheduler is shutting down; try again in a moment")]
    Stopped,
}

/// A new scheduler's two ends.
#[must_use]
pub fn channel() -> (Scheduler, Inbox) {
    let (sender, requests) = mpsc::channel(REQUESTS_MAX);
    let (events, _) = broadcast::channel(EVENTS_BEHIND_MAX);
    let stats = Stats::new();
    let scheduler = Scheduler { requests: sender, events: events.clone(), stats: stats.clone() };
    (scheduler, Inbox { requests, events, stats })
}

impl Scheduler {
    /// Submits a task in the name of `who`; returns it as it was stored.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn submit(&self, who: UserName, spec: TaskSpec, program: Program) -> Result<TaskView, RequestError> {
        let (sender, reply) = oneshot::channel();
        let command = Command::Submit(Box::new(Submitted { spec, program })).by(who);
        self.requests.send(Request::Submit(command, sender)).await.map_err(|_| RequestError::Stopped)?;
        Ok(reply.await.map_err(|_| RequestError::Stopped)??)
    }

    /// Tells the engine a fact that `who` wants; returns once it is stored.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn tell(&self, who: UserName, fact: Fact) -> Result<(), RequestError> {
        self.command(Command::Tell(fact).by(who)).await.map(drop)
    }

    /// Tells the engine a fact that nobody wants but that is so; returns once it is stored.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn report(&self, fact: Fact) -> Result<(), RequestError> {
        self.command(Command::Seen(fact)).await.map(drop)
    }

    async fn command(&self, command: Command) -> Result<Option<TaskId>, RequestError> {
        let (sender, reply) = oneshot::channel();
        self.requests.send(Request::Command(command, sender)).await.map_err(|_| RequestError::Stopped)?;
        Ok(reply.await.map_err(|_| RequestError::Stopped)??)
    }

    /// Does all of this if it does now what was shown; returns the numbers of submitted tasks once all is stored. What is
    /// known to do something else is not worth asking for: if something changed since, the scheduler works it out anew.
    ///
    /// # Errors
    /// [`RequestError`]; the inner error says why it is not done.
    pub async fn apply(
        &self,
        commands: Vec<Command>,
        shown: Shown,
    ) -> Result<Result<Vec<Option<TaskId>>, Refused>, RequestError> {
        let (sender, reply) = oneshot::channel();
        self.requests
            .send(Request::Apply(commands, Box::new(shown), sender))
            .await
            .map_err(|_| RequestError::Stopped)?;
        match reply.await.map_err(|_| RequestError::Stopped)? {
            Ok(replies) => Ok(Ok(replies.into_iter().collect::<Result<_, _>>()?)),
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// The engine as it is, for those who look at it for longer. All who ask between two steps get the same copy, so the
    /// scheduler waits for one copying at most for each step, and memory holds as many copies as steps are still looked at:
    /// who asks must be one of few at a time.
    ///
    /// # Errors
    /// [`RequestError::Stopped`].
    pub async fn still(&self) -> Result<Still, RequestError> {
        let (sender, answer) = oneshot::channel();
        self.requests.send(Request::Still(sender)).await.map_err(|_| RequestError::Stopped)?;
        answer.await.map_err(|_| RequestError::Stopped)
    }

    /// Looks at the live engine between two steps. `look` must be quick: the scheduler waits for it.
    ///
    /// # Errors
    /// [`RequestError::Stopped`].
    pub async fn inspect<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T, RequestError> {
        let (sender, answer) = oneshot::channel();
        let look = Box::new(move |engine: &Engine| drop(sender.send(look(engine))));
        self.requests.send(Request::Inspect(look)).await.map_err(|_| RequestError::Stopped)?;
        answer.await.map_err(|_| RequestError::Stopped)
    }

    /// What the loop has done.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Stored events from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }
}

impl Still {
    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// When it was copied.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.moment
    }
}

/// What the loop knows of the engine besides what the driver does: between which steps it is, and the copy of now.
#[derive(Debug, Default)]
struct Steps {
    now: Moment,
    still: Option<Still>,
}

impl Steps {
    fn still(&mut self, engine: &Engine, stats: &Stats) -> Still {
        let moment = self.now;
        let copy = || {
            stats.copies.inc();
            Still { engine: Arc::new(engine.clone()), moment }
        };
        self.still.get_or_insert_with(copy).clone()
    }

    /// What was copied is the past now.
    fn stepped(&mut self) {
        self.now.0 += 1;
        if let Some(still) = self.still.take() {
            // Taking a large engine apart takes about as long as copying it.
            tokio::task::spawn_blocking(move || drop(still));
        }
    }
}

impl Inbox {
    /// Tells whoever listens what was stored here.
    fn tell(&self, events: impl ExactSizeIterator<Item = Arc<Event>>) {
        self.stats.events.inc_by(events.len() as u64);
        self.pass_on(events);
    }

    /// Tells whoever listens what another scheduler stored.
    pub(crate) fn pass_on(&self, events: impl IntoIterator<Item = Arc<Event>>) {
        for event in events {
            // Nobody listening is fine.
            let _ = self.events.send(event);
        }
    }
}

/// Who waits for the answer to a command.
enum Waiting {
    /// The cluster said it.
    Nobody,
    Asker(oneshot::Sender<Reply>),
    Submitter(oneshot::Sender<Result<TaskView, FactError>>),
}

impl Waiting {
    /// Answers, with what was stored of the tasks. The asker may have gone away.
    fn answer(self, reply: Reply, stored: &HashMap<TaskId, &Event>) {
        match self {
            Waiting::Asker(asker) => drop(asker.send(reply)),
            Waiting::Submitter(submitter) => {
                let task = reply.map(|task| Some(stored.get(&task?)?.task.clone()));
                // Who gets no answer takes the scheduler for stopped; a task that is taken in is always stored.
                if let Some(task) = task.transpose() {
                    drop(submitter.send(task));
                }
            }
            Waiting::Nobody => {
                if let Err(error) = reply {
                    tracing::debug!(%error, "the cluster said something that is known or over");
                }
            }
        }
    }
}

impl Stats {
    fn new() -> Self {
        Stats {
            steps: Counter::default(),
            // From 50 microseconds to about 13 s.
            step_seconds: Histogram::new(exponential_buckets(0.000_05, 3.0, 12)),
            commands: Counter::default(),
            rejected: Counter::default(),
            events: Counter::default(),
            copies: Counter::default(),
            checks: Counter::default(),
        }
    }

    /// Adds these numbers to those that are shown.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("scheduler_steps", "Steps of the scheduler", self.steps.clone());
        registry.register(
            "scheduler_step_seconds",
            "Time that a step took, storing included",
            self.step_seconds.clone(),
        );
        registry.register("scheduler_commands", "Facts and submissions taken in", self.commands.clone());
        registry.register("scheduler_rejected", "Facts and submissions that could not be", self.rejected.clone());
        registry.register("scheduler_events", "Changes of tasks stored", self.events.clone());
        registry.register("scheduler_copies", "Copies of the engine, for those who look at it", self.copies.clone());
        registry.register(
            "scheduler_checks",
            "Previews worked out anew before they were made, since something had changed",
            self.checks.clone(),
        );
    }

    fn stepped(&self, since: Instant, answers: &[Reply]) {
        self.steps.inc();
        self.step_seconds.observe(since.elapsed().as_secs_f64());
        self.commands.inc_by(answers.len() as u64);
        self.rejected.inc_by(answers.iter().filter(|answer| answer.is_err()).count() as u64);
    }
}

/// Runs the driver until `stop`, or until it fails. Requests that arrive together are stored together.
///
/// # Errors
/// [`DriverError`] as the driver returns it.
pub async fn run<S: Store, C: Cluster>(
    mut driver: Driver<S, C>,
    mut inbox: Inbox,
    stop: CancellationToken,
) -> Result<(), DriverError> {
    let mut requests = Vec::new();
    let mut steps = Steps::default();
    // The machine's clock may have been set back since the log was last written.
    clock::not_before(driver.engine().now());
    loop {
        let now = wall_clock();
        let wake = driver.next_deadline().map(|at| Duration::from_millis(at.since(now).as_ms()));
        let mut commands = Vec::new();
        let mut waiting = Vec::new();
        tokio::select! {
            biased;
            () = stop.cancelled() => return driver.close().await,
            command = driver.next() => {
                commands.push(command);
                waiting.push(Waiting::Nobody);
            }
            received = inbox.requests.recv_many(&mut requests, REQUESTS_MAX) => {
                if received == 0 {
                    return driver.close().await;
                }
            }
            () = tokio::time::sleep(wake.unwrap_or(Duration::MAX)), if wake.is_some() => {}
        }
        while let Ok(request) = inbox.requests.try_recv() {
            requests.push(request);
            if requests.len() >= REQUESTS_MAX {
                break;
            }
        }
        let mut applies = Vec::new();
        for request in requests.drain(..) {
            match request {
                Request::Apply(commands, shown, reply) => applies.push((commands, shown, reply)),
                Request::Inspect(look) => look(driver.engine()),
                Request::Still(reply) => {
                    if !reply.is_closed() {
                        drop(reply.send(steps.still(driver.engine(), &inbox.stats)));
                    }
                }
                // Who asked was sent away while this waited, or gave up: nobody was promised anything.
                Request::Command(_, reply) if reply.is_closed() => {}
                Request::Submit(_, reply) if reply.is_closed() => {}
                Request::Command(command, reply) => {
                    commands.push(command);
                    waiting.push(Waiting::Asker(reply));
                }
                Request::Submit(command, reply) => {
                    commands.push(command);
                    waiting.push(Waiting::Submitter(reply));
                }
            }
        }
        let due = driver.next_deadline().is_some_and(|at| at <= wall_clock());
        for (commands, shown, reply) in applies {
            let since = Instant::now();
            let answers = if shown.seen == steps.now && driver.is_settled() {
                // The same engine at the same time does the same: it need not be worked out again.
                Ok(driver.step(shown.at, commands).await?)
            } else {
                inbox.stats.checks.inc();
                driver.step_if(wall_clock(), commands, &shown.stamp).await?
            };
            steps.stepped();
            inbox.stats.stepped(since, answers.as_deref().unwrap_or_default());
            inbox.tell(driver.take_events().into_iter().map(Arc::new));
            // The asker may have gone away.
            let _ = reply.send(answers);
        }
        if commands.is_empty() && !due {
            // Somebody only looked.
            continue;
        }
        let since = Instant::now();
        let answers = driver.step(wall_clock(), commands).await?;
        steps.stepped();
        inbox.stats.stepped(since, &answers);
        let events: Vec<Arc<Event>> = driver.take_events().into_iter().map(Arc::new).collect();
        inbox.tell(events.iter().map(Arc::clone));
        let stored = events.iter().map(|event| (event.task.id, &**event)).collect();
        for (waiting, answer) in waiting.into_iter().zip(answers) {
            waiting.answer(answer, &stored);
        }
    }
}

/// The time by which tasks are scheduled: see [`clock`].
#[must_use]
pub fn wall_clock() -> Time {
    clock::now()
}

#[cfg(test)]
mod tests {
    use hai_core::backend::{MemoryCluster, MemoryStore};
    use hai_core::engine::EngineConfig;
    use hai_core::explain::what_if;
    use hai_core::model::{Allowance, RightKey, RightRow};

    use super::*;

    /// A scheduler that runs until it is dropped.
    async fn started() -> Scheduler {
        let (store, cluster) = (MemoryStore::default(), MemoryCluster::new([]));
        let driver = Driver::open(EngineConfig::default(), store, cluster, wall_clock()).await.expect("a driver");
        let (scheduler, inbox) = channel();
        tokio::spawn(run(driver, inbox, CancellationToken::new()));
        scheduler
    }

    fn right(devices: u32) -> Command {
        Command::Tell(Fact::RightSet { right: RightRow::new(RightKey::default(), Allowance::nodes(devices)) })
    }

    #[tokio::test]
    async fn all_who_look_between_two_steps_share_one_copy() {
        let scheduler = started().await;
        let first = scheduler.still().await.expect("it runs");
        for _ in 0..100 {
            assert!(Arc::ptr_eq(&first.engine, &scheduler.still().await.expect("it runs").engine));
        }
        assert_eq!(scheduler.stats.copies.get(), 1);
        scheduler.command(right(1)).await.expect("told");
        let second = scheduler.still().await.expect("it runs");
        assert_ne!(first.moment(), second.moment());
        assert_eq!((first.engine().rights().count(), second.engine().rights().count()), (0, 1));
        assert_eq!(scheduler.stats.copies.get(), 2);
    }

    #[tokio::test]
    async fn what_was_shown_is_worked_out_again_only_after_a_change() {
        let scheduler = started().await;
        let show = |still: &Still, command: &Command| {
            let preview = what_if(still.engine(), wall_clock(), &[command.change()]).expect("it can be");
            Shown { stamp: preview.stamp, at: preview.at, seen: still.moment() }
        };
        let still = scheduler.still().await.expect("it runs");
        let (one, two) = (show(&still, &right(1)), show(&still, &right(2)));
        let wrong = Shown { stamp: Stamp::new("0"), ..two.clone() };
        assert!(scheduler.apply(vec![right(1)], one).await.expect("it runs").is_ok());
        assert_eq!(scheduler.stats.checks.get(), 0);
        let refused = scheduler.apply(vec![right(2)], wrong).await.expect("it runs");
        assert!(matches!(refused, Err(Refused::Stale(_))), "{refused:?}");
        assert!(scheduler.apply(vec![right(2)], two).await.expect("it runs").is_ok());
        assert_eq!(scheduler.stats.checks.get(), 2);
    }
}
