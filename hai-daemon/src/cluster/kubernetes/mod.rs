//! Kubernetes as a cluster: workers are pods, which hai makes and binds to the nodes that it chose.
//!
//! See [`KubernetesCluster`] for the primary entry point. What must be remembered lies in Kubernetes: a run's owner object
//! says whether its workers may have begun, and a pod that ended stays, by a finalizer, until its end is stored.

mod agents;
mod begin;
mod config;
mod connect;
mod cordon;
mod environment;
mod events;
pub mod group;
mod lease;
mod leave;
mod logs;
mod modules;
mod names;
mod node;
mod pod;
mod quantity;
mod remove;
mod retry;
mod run;
mod standing;
mod state;
mod strangers;
mod watch;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hai_core::backend::{Cluster, Listing, StartOrder, WorkerReport};
use hai_core::model::{Fact, Grace, NodeName, RunId, Span, WORKERS_MAX};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod};
use kube::api::ListParams;
use kube::{Api, Client};
use prometheus_client::metrics::gauge::Gauge;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::told;
use crate::cluster::WorkerTokens;
pub use agents::{ACCOUNT as AGENT_ACCOUNT, AUDIENCE as AGENT_AUDIENCE, AgentDoor};
pub use config::{GpuMode, GroupConfig, KubernetesConfig, KubernetesError, LocationLabels, Mount, MountSource, RunAs};
pub use connect::{NoWay, Silence, client};
pub use lease::{Herald, Told};
use names::{BEGUN, GRACE, STORE, WORKERS, of_instance, rank_of, run_of};
pub use node::NodeDevices;
pub use retry::chain;
use retry::failure;
use run::{Run, Stage, Worker};
use state::Shared;
pub use state::{Devices, Pods};
pub use workers::WorkerDoor;

/// How long a run that was found half made may wait to be ordered again.
const HALF_MADE_MAX: std::time::Duration = std::time::Duration::from_secs(60);

/// Kubernetes as a cluster. Dropping it leaves all workers alone; the next one finds them.
#[derive(Debug)]
pub struct KubernetesCluster {
    shared: Arc<Shared>,
    facts: told::Told,
    listeners: JoinSet<()>,
}

impl KubernetesCluster {
    /// Lists what is there, and listens from then on. `devices` are those that somebody on the nodes reports. Must be called
    /// within a Tokio runtime.
    ///
    /// # Errors
    /// [`KubernetesError`] if the API server does not answer or refuses, there is no namespace for workers, or a group
    /// lists a node that is not.
    pub async fn open(
        client: Client,
        config: KubernetesConfig,
        secret: [u8; 32],
        devices: tokio::sync::watch::Receiver<Devices>,
    ) -> Result<Self, KubernetesError> {
        let (sender, facts) = told::channel();
        let tokens = WorkerTokens::new(secret);
        let shared = Arc::new(Shared::new(config, client, tokens, devices.clone(), sender));
        let mut cluster = KubernetesCluster { shared, facts, listeners: JoinSet::new() };
        cluster.find().await?;
        let shared = &cluster.shared;
        // Few tasks need them, and those fail by themselves without.
        if let Err(error) = modules::install(&shared.client, &shared.config).await {
            tracing::warn!(%error, "workers will not find hai's Python modules");
        }
        cluster.listeners.spawn(watch::nodes(shared.clone()));
        cluster.listeners.spawn(watch::pods(shared.clone()));
        cluster.listeners.spawn(events::listen(shared.clone()));
        cluster.listeners.spawn(watch::devices(shared.clone(), devices));
        cluster.listeners.spawn(watch::time(shared.clone()));
        cluster.listeners.spawn(clear_half_made(shared.clone()));
        Ok(cluster)
    }

    /// How many facts wait for the scheduler to take them.
    #[must_use]
    pub fn facts_waiting(&self) -> Gauge {
        self.facts.count()
    }

    /// Which pods on which node are hai's, whenever that changes.
    #[must_use]
    pub fn pods(&self) -> tokio::sync::watch::Receiver<Pods> {
        self.shared.our_pods()
    }

    /// What workers come through.
    #[must_use]
    pub fn door(&self) -> WorkerDoor {
        WorkerDoor::new(self.shared.clone())
    }

    /// What agents come through.
    #[must_use]
    pub fn agents(&self) -> AgentDoor {
        AgentDoor::new(self.shared.client.clone(), self.shared.config.namespace.clone())
    }

    /// What tells people who leads, if that is `identity`, at `address`. Who does not lead must not let it tell.
    #[must_use]
    pub fn herald(&self, identity: String, address: String) -> Herald {
        Herald::new(self.shared.of_run(), self.shared.config.instance.clone(), identity, address)
    }

    /// Takes in nodes and runs that are there.
    async fn find(&self) -> Result<(), KubernetesError> {
        let shared = &self.shared;
        let config = &shared.config;
        let nodes = Api::<Node>::all(shared.client.clone()).list(&ListParams::default()).await;
        let nodes = nodes.map_err(|error| failure("listing the nodes", &error))?.items;
        group::check(&nodes, config)?;
        let namespace = Api::<Namespace>::all(shared.client.clone()).get_opt(&config.namespace).await;
        if namespace.map_err(|error| failure(format!("looking for namespace {}", config.namespace), &error))?.is_none()
        {
            return Err(KubernetesError::NoNamespace { namespace: config.namespace.clone() });
        }
        let ours = ListParams::default().labels(&of_instance(&config.instance));
        let owners = shared.of_run::<ConfigMap>().list(&ours).await;
        let owners = owners.map_err(|error| failure("listing the runs that are there", &error))?.items;
        let pods = Api::<Pod>::all(shared.client.clone()).list(&ListParams::default()).await;
        let pods = pods.map_err(|error| failure("listing the pods of all namespaces", &error))?.items;
        nodes.iter().for_each(|node| shared.node_is(node, false));
        for owner in owners {
            let Some((task, run)) = run_of(&owner.metadata, &config.instance) else { continue };
            let notes = owner.metadata.annotations.unwrap_or_default();
            if notes.get(STORE).is_some_and(|store| *store != shared.store) {
                return Err(KubernetesError::Foreign {
                    instance: config.instance.clone(),
                    namespace: config.namespace.clone(),
                    object: owner.metadata.name.unwrap_or_default(),
                });
            }
            let workers = notes.get(WORKERS).and_then(|count| count.parse().ok()).unwrap_or(0);
            let stage = match notes.contains_key(BEGUN) {
                true => Stage::Bound,
                false => Stage::Found(Instant::now()),
            };
            shared.runs().insert(run, Run::new(task, stage, workers, grace_of(&notes)));
        }
        self.take_pods(&pods);
        Ok(())
    }

    /// Takes in the pods that are there, before anybody listens.
    fn take_pods(&self, pods: &[Pod]) {
        let shared = &self.shared;
        let instance = &shared.config.instance;
        let mut present = BTreeSet::new();
        for pod in pods.iter().filter(|pod| pod.metadata.namespace.as_deref() == Some(&shared.config.namespace)) {
            let (Some((task, run)), Some(rank)) = (run_of(&pod.metadata, instance), rank_of(&pod.metadata)) else {
                continue;
            };
            present.insert((run, rank));
            let mut runs = shared.runs();
            // One whose owner is gone runs all the same; or is a stray, which will be ended.
            let known = runs.entry(run).or_insert_with(|| Run::new(task, Stage::Bound, 0, Grace::default()));
            while known.workers.len() <= rank as usize && rank < WORKERS_MAX {
                known.workers.push(Worker::default());
            }
            if let Some(worker) = known.workers.get_mut(rank as usize) {
                worker.note(pod);
            }
        }
        // Marked as begun, but on no node yet: it can still be begun as if it were not.
        for (run, known) in shared.runs().iter_mut().filter(|(_, known)| known.stage == Stage::Bound) {
            let all = (0_u32..).take(known.workers.len()).all(|rank| present.contains(&(*run, rank)));
            if all && !known.workers.iter().any(|worker| worker.bound) {
                known.stage = Stage::Found(Instant::now());
            }
        }
        for pod in pods {
            if !shared.pod_is(pod) {
                shared.stranger_is(pod, true);
            }
        }
        shared.only_these(&shared.alive(), &present);
    }

    fn leave(&mut self, run: RunId, grace: Grace) {
        while self.listeners.try_join_next().is_some() {}
        let mut runs = self.shared.runs();
        let Some(known) = runs.get_mut(&run) else { return };
        // Told again: what was begun goes on.
        if known.leaving.is_some() {
            return;
        }
        let leaving = known.leave(grace);
        drop(runs);
        self.listeners.spawn(leave::see_off(self.shared.clone(), run, leaving));
    }
}

/// Removes runs that were found half made and that nobody orders again.
async fn clear_half_made(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(HALF_MADE_MAX / 4).await;
        let stale: Vec<_> = shared
            .runs()
            .iter()
            .filter(|(_, known)| matches!(known.stage, Stage::Found(since) if since.elapsed() >= HALF_MADE_MAX))
            .map(|(run, known)| (known.task, *run, known.workers.len()))
            .collect();
        for (task, run, workers) in stale {
            match shared.runs().get_mut(&run) {
                Some(known) if matches!(known.stage, Stage::Found(_)) => known.stage = Stage::CalledOff,
                // It was ordered meanwhile.
                _ => continue,
            }
            remove::remove(&shared, task, run, workers).await;
            // Somebody may have ordered it while it was being removed, and waits.
            shared.end_all(run, &begin::never_executed());
            shared.runs().remove(&run);
        }
    }
}

impl Drop for KubernetesCluster {
    fn drop(&mut self) {
        self.shared.over.cancel();
    }
}

/// How long a run has to leave, as its owner object says.
fn grace_of(notes: &BTreeMap<String, String>) -> Grace {
    let read = || {
        let (answer, finish) = notes.get(GRACE)?.split_once(',')?;
        Some(Grace { answer: Span::from_ms(answer.parse().ok()?), finish: Span::from_ms(finish.parse().ok()?) })
    };
    read().unwrap_or_default()
}

impl Cluster for KubernetesCluster {
    type Error = KubernetesError;

    /// Workers that are on no node yet are left out: their run's start must be ordered again.
    async fn list(&mut self) -> Result<Listing, KubernetesError> {
        // What is told from now on may repeat what is in the listing, and none of it is missed.
        self.facts.begin_listing();
        let nodes = self.shared.specs();
        self.facts.listed(nodes.iter().map(|node| &node.name));
        let mut workers = Vec::new();
        for (run, known) in self.shared.runs().iter() {
            if matches!(known.stage, Stage::Making | Stage::Found(_) | Stage::CalledOff) {
                continue;
            }
            let begun = |worker: &Worker| worker.bound || worker.exit.is_some();
            for (rank, worker) in (0_u32..).zip(&known.workers).filter(|(_, worker)| begun(worker)) {
                workers.push(WorkerReport { run: *run, rank, whole_life_state: None, exit: worker.exit.clone() });
            }
        }
        Ok(Listing { nodes, workers })
    }

    async fn start(&mut self, order: &StartOrder) -> Result<(), KubernetesError> {
        while self.listeners.try_join_next().is_some() {}
        let run = order.run;
        let mut runs = self.shared.runs();
        let stage = match runs.get(&run) {
            Some(known) if known.task != order.task || known.leaving.is_some() => {
                return Err(KubernetesError::Taken { run, task: known.task });
            }
            known => known.map(|known| known.stage),
        };
        match stage {
            None | Some(Stage::Found(_)) => {
                let mut group = None;
                for place in &order.placement.workers {
                    let unknown = || KubernetesError::UnknownNode { run, node: place.node.clone() };
                    group = Some(self.shared.group_of(&place.node).ok_or_else(unknown)?);
                }
                let Some(group) = group else { return Ok(()) };
                let mut fresh = Run::new(order.task, Stage::Making, order.placement.workers.len(), order.grace);
                for (worker, place) in fresh.workers.iter_mut().zip(&order.placement.workers) {
                    worker.node = Some(place.node.clone());
                    worker.devices = place.devices.to_vec();
                }
                runs.insert(run, fresh);
                drop(runs);
                self.listeners.spawn(begin::begin(self.shared.clone(), order.clone(), group));
            }
            // A crash may have come between the word that it has begun and the binding of all.
            Some(Stage::Bound) => {
                if let Some(known) = runs.get_mut(&run) {
                    known.stage = Stage::Binding;
                }
                drop(runs);
                self.listeners.spawn(begin::go_on(self.shared.clone(), order.clone()));
            }
            Some(_) => {}
        }
        Ok(())
    }

    async fn suspend(&mut self, run: RunId, grace: Grace) -> Result<(), KubernetesError> {
        self.leave(run, grace);
        Ok(())
    }

    async fn stop(&mut self, run: RunId, grace: Grace) -> Result<(), KubernetesError> {
        self.leave(run, grace);
        Ok(())
    }

    async fn cordon(&mut self, node: &NodeName, cordoned: bool) -> Result<(), KubernetesError> {
        cordon::cordon(&self.shared, node, cordoned);
        Ok(())
    }

    async fn forget(&mut self, run: RunId) -> Result<(), KubernetesError> {
        let known = match self.shared.runs().get(&run) {
            None => return Ok(()),
            Some(known) if known.executes() => return Err(KubernetesError::StillExecutes { run }),
            Some(known) => {
                let followed = known.workers.iter().filter_map(|worker| worker.followed.clone()).collect::<Vec<_>>();
                (known.task, known.workers.len(), followed)
            }
        };
        let shared = self.shared.clone();
        self.listeners.spawn(async move {
            let (task, workers, followed) = known;
            for mut copied in followed {
                // Output is gone with its pod.
                let _ = copied.wait_for(|done| *done).await;
            }
            shared.runs().remove(&run);
            remove::remove(&shared, task, run, workers).await;
        });
        Ok(())
    }

    async fn next(&mut self) -> Fact {
        self.facts.next().await
    }
}
