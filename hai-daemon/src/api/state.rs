//! What the handlers share.

use std::sync::Arc;
use std::time::Duration;

use hai_core::model::{GroupName, Priority};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::dialect::Memory;
use super::forward::Leading;
use super::learned::Learned;
use super::looks::Looks;
use super::metrics::Metrics;
use super::places::Places;
use super::{Agents, LogSource, Workers};
use crate::gpu::reports::Reports;
use crate::scheduler::Scheduler;
use crate::store::{Accounts, Reader, StoreHealth};

/// How many may read the log at a time; others wait.
const WALKS_MAX: usize = 2;
/// How long a client may take nothing of what is sent to it.
const STALL_MAX: Duration = Duration::from_secs(30);

/// Everything that the API speaks to; cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiState {
    pub(super) scheduler: Scheduler,
    pub(super) reader: Reader,
    pub(super) accounts: Accounts,
    /// The way to the daemon that leads, if this one stands by: its own scheduler does nothing.
    pub(super) leader: Option<Leading>,
    /// How the scheduler's store is.
    pub(super) store: StoreHealth,
    pub(super) logs: Arc<dyn LogSource>,
    pub(super) defaults: Arc<Defaults>,
    pub(super) metrics: Arc<Metrics>,
    /// Where workers come in, if they come over HTTP.
    pub(super) workers: Option<Arc<dyn Workers>>,
    /// Who knows agents that Kubernetes vouches for, if there is somebody.
    pub(super) agents: Option<Arc<dyn Agents>>,
    /// What forecasts are made from.
    pub(super) learned: Learned,
    /// Places for those who look at the engine for longer than a moment.
    pub(super) looks: Looks,
    /// What is reported of nodes' devices.
    pub(super) reports: Reports,
    /// Places for those who read the whole log, which takes a while and a processor.
    pub(super) walks: Places,
    /// What the dialect of hai-platform remembers between requests.
    pub(super) dialect: Memory,
    /// Who takes nothing of an answer for so long is hung up on.
    pub(super) stall: Duration,
    /// Answers that go on for as long as somebody listens end when this is cancelled.
    pub(super) closing: CancellationToken,
}

/// What a submission gets where it says nothing, and how long it may be.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// The nodes it may have.
    pub group: GroupName,
    /// How urgent it is.
    pub priority: Priority,
    /// The longest body of a request, in bytes.
    pub body_bytes_max: usize,
    /// Whether workers are containers, so that an image makes a difference.
    pub images: bool,
}

impl Defaults {
    /// Tasks go to this group at `NORMAL`; a request may have 1 MiB, far more than a command and its environment need.
    #[must_use]
    pub fn of_group(group: GroupName) -> Self {
        Defaults { group, priority: Priority::Normal, body_bytes_max: 1 << 20, images: true }
    }
}

impl ApiState {
    /// An API over these parts.
    #[must_use]
    pub fn new(
        scheduler: Scheduler,
        reader: Reader,
        accounts: Accounts,
        logs: Arc<dyn LogSource>,
        defaults: Defaults,
    ) -> Self {
        let store = StoreHealth::default();
        let metrics = Arc::new(Metrics::new(scheduler.stats(), &store, Gauge::default()));
        let closing = CancellationToken::new();
        let learned = Learned::new();
        let (defaults, looks, walks, stall) = (Arc::new(defaults), Looks::new(), Places::new(WALKS_MAX), STALL_MAX);
        let (workers, agents, reports) = (None, None, Reports::new());
        ApiState {
            scheduler,
            reader,
            accounts,
            leader: None,
            store,
            logs,
            defaults,
            metrics,
            workers,
            agents,
            learned,
            looks,
            reports,
            walks,
            dialect: Memory::default(),
            stall,
            closing,
        }
    }

    /// The same, and workers come in over HTTP.
    #[must_use]
    pub fn with_workers(self, workers: Arc<dyn Workers>) -> Self {
        ApiState { workers: Some(workers), ..self }
    }

    /// The same, and agents may come with tokens that somebody else knows.
    #[must_use]
    pub fn with_agents(self, agents: Arc<dyn Agents>) -> Self {
        ApiState { agents: Some(agents), ..self }
    }

    /// The same, but what is reported of devices goes there.
    #[must_use]
    pub fn with_reports(self, reports: Reports) -> Self {
        ApiState { reports, ..self }
    }

    /// The same, but this daemon stands by while another, which is told there, leads.
    #[must_use]
    pub fn with_leader(self, leader: watch::Receiver<String>) -> Self {
        ApiState { leader: Some(Leading::new(leader)), ..self }
    }

    /// The same, and the scheduler's store tells there how it is; `waiting` is how many facts of the cluster wait for it.
    #[must_use]
    pub fn with_store(self, store: StoreHealth, waiting: Gauge) -> Self {
        let metrics = Arc::new(Metrics::new(self.scheduler.stats(), &store, waiting));
        ApiState { store, metrics, ..self }
    }

    /// The same, but who takes nothing of an answer for `stall` is hung up on; 30 seconds otherwise.
    #[must_use]
    pub fn with_stall(self, stall: Duration) -> Self {
        ApiState { stall, ..self }
    }
}
