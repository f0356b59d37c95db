//! The one task that owns the driver, and the handle through which every door speaks to it.
//!
//! See [`Scheduler`] for the handle and [`run`] for the loop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hai_core::backend::{Cluster, Command, Driver, DriverError, Event, Refused, Reply, Store, Submitted};
use hai_core::engine::{Engine, FactError};
use hai_core::explain::Stamp;
use hai_core::model::{Fact, Program, TaskId, TaskSpec, Time, UserName};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

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
}

enum Request {
    Command(Command, oneshot::Sender<Reply>),
    Apply(Vec<Command>, Stamp, oneshot::Sender<Result<Vec<Reply>, Refused>>),
    Inspect(Box<dyn FnOnce(&Engine) + Send>),
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Request::Command(command, _) => f.debug_tuple("Command").field(command).finish(),
            Request::Apply(commands, stamp, _) => f.debug_tuple("Apply").field(commands).field(stamp).finish(),
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
    /// Submits a task in the name of `who`; returns its number once it is stored.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn submit(&self, who: UserName, spec: TaskSpec, program: Program) -> Result<TaskId, RequestError> {
        let reply = self.command(Command::Submit(Box::new(Submitted { spec, program })).by(who)).await?;
        reply.ok_or(RequestError::Stopped)
    }

    /// Tells the engine a fact that `who` wants; returns once it is stored.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn tell(&self, who: UserName, fact: Fact) -> Result<(), RequestError> {
        self.command(Command::Tell(fact).by(who)).await.map(drop)
    }

    async fn command(&self, command: Command) -> Result<Option<TaskId>, RequestError> {
        let (sender, reply) = oneshot::channel();
        self.requests.send(Request::Command(command, sender)).await.map_err(|_| RequestError::Stopped)?;
        Ok(reply.await.map_err(|_| RequestError::Stopped)??)
    }

    /// Does all of this if it does now what was shown with this stamp; returns the numbers of submitted tasks once all is
    /// stored.
    ///
    /// # Errors
    /// [`RequestError`]; the inner error says why it is not done.
    pub async fn apply(
        &self,
        commands: Vec<Command>,
        shown: Stamp,
    ) -> Result<Result<Vec<Option<TaskId>>, Refused>, RequestError> {
        let (sender, reply) = oneshot::channel();
        self.requests.send(Request::Apply(commands, shown, sender)).await.map_err(|_| RequestError::Stopped)?;
        match reply.await.map_err(|_| RequestError::Stopped)? {
            Ok(replies) => Ok(Ok(replies.into_iter().collect::<Result<_, _>>()?)),
            Err(refused) => Ok(Err(refused)),
        }
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

impl Inbox {
    /// Tells whoever listens.
    fn tell(&self, events: Vec<Event>) {
        for event in events {
            self.stats.events.inc();
            // Nobody listening is fine.
            let _ = self.events.send(Arc::new(event));
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
    loop {
        let now = wall_clock();
        let wake = driver.next_deadline().map(|at| Duration::from_millis(at.since(now).as_ms()));
        let mut commands = Vec::new();
        let mut replies: Vec<Option<oneshot::Sender<Reply>>> = Vec::new();
        tokio::select! {
            biased;
            () = stop.cancelled() => return driver.close().await,
            command = driver.next() => {
                commands.push(command);
                replies.push(None);
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
                Request::Command(command, reply) => {
                    commands.push(command);
                    replies.push(Some(reply));
                }
            }
        }
        let due = driver.next_deadline().is_some_and(|at| at <= wall_clock());
        for (commands, shown, reply) in applies {
            let since = Instant::now();
            let answers = driver.step_if(wall_clock(), commands, &shown).await?;
            inbox.stats.stepped(since, answers.as_deref().unwrap_or_default());
            inbox.tell(driver.take_events());
            // The asker may have gone away.
            let _ = reply.send(answers);
        }
        if commands.is_empty() && !due {
            // Somebody only looked.
            continue;
        }
        let since = Instant::now();
        let answers = driver.step(wall_clock(), commands).await?;
        inbox.stats.stepped(since, &answers);
        inbox.tell(driver.take_events());
        for (reply, answer) in replies.into_iter().zip(answers) {
            match reply {
                // The asker may have gone away.
                Some(reply) => drop(reply.send(answer)),
                None => {
                    if let Err(error) = answer {
                        tracing::debug!(%error, "the cluster said something that is known or over");
                    }
                }
            }
        }
    }
}

/// The time of this machine's clock.
#[must_use]
pub fn wall_clock() -> Time {
    Time::from(chrono::Utc::now())
}
