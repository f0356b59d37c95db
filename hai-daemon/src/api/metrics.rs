//! Numbers for Prometheus: what was asked of the API, what the scheduler did, and what there is now.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::Method;
use hai_core::model::{DeviceHealth, NodeView};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::wire::TaskState;
use crate::scheduler::Stats;
use crate::store::{Counts, StoreHealth};

/// All numbers.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    submissions: Family<ResultLabels, Counter>,
    /// Records of the log that were read for those who asked.
    pub(super) records: Counter,
    tasks: Family<TaskLabels, Gauge>,
    outcomes: Family<OutcomeLabels, Gauge>,
    devices: Family<DeviceLabels, Gauge>,
    nodes: Family<NodeLabels, Gauge>,
    /// Held while gauges are set and written down, so that two readers do not mix theirs.
    writing: Mutex<()>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabels {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeviceLabels {
    group: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NodeLabels {
    group: String,
    state: &'static str,
}

/// What a device can be; every group's series has all of them, so that none vanishes when it becomes zero.
const DEVICE_STATES: [&str; 8] = ["free", "held", "promised", "suspect", "draining", "probing", "sick", "stranger"];
const NODE_STATES: [&str; 3] = ["ready", "cordoned", "lost"];

impl Metrics {
    pub(super) fn new(scheduler: &Stats, store: &StoreHealth, waiting: Gauge) -> Self {
        let mut registry = Registry::with_prefix("hai");
        scheduler.register(&mut registry);
        store.register(&mut registry);
        let help = "Facts of the cluster that the scheduler has not taken yet";
        registry.register("cluster_facts_waiting", help, waiting);
        // From a tenth of a millisecond to about 13 s.
        let seconds: fn() -> Histogram = || Histogram::new(exponential_buckets(0.0001, 2.5, 14));
        let mut metrics = Metrics {
            registry,
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            submissions: Family::default(),
            records: Counter::default(),
            tasks: Family::default(),
            outcomes: Family::default(),
            devices: Family::default(),
            nodes: Family::default(),
            writing: Mutex::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("http_requests", "Requests answered, by route and status", self.requests.clone());
        registry.register(
            "http_request_seconds",
            "Time until the beginning of the answer, by route",
            self.request_seconds.clone(),
        );
        registry.register("submissions", "Submissions, by whether they were taken", self.submissions.clone());
        registry.register("log_records_read", "Records of the log read for those who asked", self.records.clone());
        registry.register("tasks", "Tasks, by state; finished ones are those that ever were", self.tasks.clone());
        registry.register("tasks_finished", "Finished tasks, by outcome", self.outcomes.clone());
        registry.register("devices", "Devices, by group and state", self.devices.clone());
        registry.register("nodes", "Nodes, by group and state", self.nodes.clone());
    }

    /// A request was answered. Paths that are not served count under one route, so that nobody can make series.
    pub(super) fn answered(&self, method: &Method, route: &str, status: u16, took: Duration) {
        let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS];
        let method = if known.contains(method) { method.as_str() } else { "other" };
        let labels = RequestLabels { method: method.to_owned(), route: route.to_owned(), status };
        self.requests.get_or_create(&labels).inc();
        self.request_seconds.get_or_create(&RouteLabels { route: route.to_owned() }).observe(took.as_secs_f64());
    }

    /// A task was submitted, or its submission refused.
    pub(super) fn submitted(&self, taken: bool) {
        let result = if taken { "accepted" } else { "refused" };
        self.submissions.get_or_create(&ResultLabels { result }).inc();
    }

    /// All numbers as OpenMetrics text; those of what there is are left out where nobody can tell.
    pub(super) fn text(&self, there: Option<(&Counts, &[NodeView])>) -> String {
        let _guard = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        match there {
            Some((counts, nodes)) => self.set(counts, nodes),
            None => {
                self.tasks.clear();
                self.outcomes.clear();
                self.devices.clear();
                self.nodes.clear();
            }
        }
        let mut written = String::new();
        // Writing into a string can not fail.
        let _ = text::encode(&mut written, &self.registry);
        written
    }

    fn set(&self, counts: &Counts, nodes: &[NodeView]) {
        for state in TaskState::ALL {
            let count = counts.states.get(&state.into()).copied().unwrap_or(0);
            self.tasks.get_or_create(&TaskLabels { state: state.word() }).set(clamp(count));
        }
        for outcome in ["succeeded", "failed", "stopped"] {
            let count = counts.outcomes.get(outcome).copied().unwrap_or(0);
            self.outcomes.get_or_create(&OutcomeLabels { outcome: outcome.to_owned() }).set(clamp(count));
        }
        self.set_nodes(nodes);
    }

    fn set_nodes(&self, nodes: &[NodeView]) {
        self.devices.clear();
        self.nodes.clear();
        for node in nodes {
            let group = node.spec.group.to_string();
            for state in NODE_STATES {
                drop(self.nodes.get_or_create(&NodeLabels { group: group.clone(), state }));
            }
            let state = match (node.spec.ready, node.spec.is_cordoned() || node.spec.draining) {
                (false, _) => "lost",
                (true, true) => "cordoned",
                (true, false) => "ready",
            };
            self.nodes.get_or_create(&NodeLabels { group: group.clone(), state }).inc();
            for (state, count) in DEVICE_STATES.into_iter().zip(count_devices(node)) {
                self.devices.get_or_create(&DeviceLabels { group: group.clone(), state }).inc_by(count);
            }
        }
    }
}

/// How many devices of a node are in each of [`DEVICE_STATES`].
fn count_devices(node: &NodeView) -> [i64; 8] {
    let mut counts = [0; 8];
    for device in &node.spec.devices {
        let mut users = node
            .workers
            .iter()
            .filter(|worker| worker.place.whole_node || worker.place.devices.contains(&device.id))
            .map(|worker| worker.phase.is_some());
        let index = match &device.health {
            DeviceHealth::Suspect { .. } => 3,
            DeviceHealth::Draining { .. } => 4,
            DeviceHealth::Probing => 5,
            DeviceHealth::Sick { .. } => 6,
            DeviceHealth::Stranger { .. } => 7,
            DeviceHealth::Healthy => match (users.clone().any(|held| held), users.next().is_some()) {
                (true, _) => 1,
                (false, true) => 2,
                (false, false) => 0,
            },
        };
        counts[index] += 1;
    }
    counts
}

fn clamp(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
