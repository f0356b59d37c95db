//! What is known of runs and nodes, and the facts that follow from what the API server tells.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hai_core::model::{DeviceId, Fact, GroupName, NodeName, NodeSpec, RunId, WorkerExit, WorkerFate};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::config::KubernetesConfig;
use super::names::{rank_of, run_of};
use super::node::{NodeDevices, Pulse, Seen, describe, says_ready};
use super::run::{Run, Stage};
use super::standing::{SIGTERM, Standing};
use super::strangers::{PodKey, Strangers, use_of};
use super::{group, leave, logs};
use crate::cluster::WorkerTokens;
use crate::cluster::told::Teller;

/// What all parts of the cluster share.
pub(crate) struct Shared {
    pub(crate) config: KubernetesConfig,
    pub(crate) client: Client,
    pub(crate) tokens: WorkerTokens,
    /// Which store knows the runs: a mark that no other hai's has.
    pub(crate) store: String,
    runs: Mutex<BTreeMap<RunId, Run>>,
    nodes: Mutex<BTreeMap<NodeName, KnownNode>>,
    /// What others' pods take.
    strangers: Mutex<Strangers>,
    devices: watch::Receiver<Devices>,
    facts: Teller,
    pods: watch::Sender<Pods>,
    /// Nodes that are being marked: whether they take no new pods.
    cordons: Mutex<BTreeMap<NodeName, bool>>,
    /// Cancelled when the cluster is dropped: then nobody acts in its name any more.
    pub(crate) over: CancellationToken,
}

/// The UIDs of the pods that hai has on each node.
pub type Pods = BTreeMap<NodeName, BTreeSet<String>>;

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("instance", &self.config.instance)
            .field("runs", &self.runs)
            .finish_non_exhaustive()
    }
}

/// The devices of all nodes that were heard of.
pub type Devices = Arc<BTreeMap<NodeName, NodeDevices>>;

#[derive(Debug)]
struct KnownNode {
    node: Node,
    group: GroupName,
    silent_since: Option<Instant>,
    /// It is no longer one of hai's, and is kept for what still runs there.
    leaving: bool,
    told: Option<NodeSpec>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(
        config: KubernetesConfig,
        client: Client,
        tokens: WorkerTokens,
        devices: watch::Receiver<Devices>,
        facts: Teller,
    ) -> Self {
        Shared {
            config,
            client,
            store: tokens.mark(),
            tokens,
            runs: Mutex::default(),
            nodes: Mutex::default(),
            strangers: Mutex::default(),
            devices,
            facts,
            pods: watch::Sender::new(Pods::new()),
            cordons: Mutex::default(),
            over: CancellationToken::new(),
        }
    }

    /// Which pods are hai's, whenever that changes.
    pub(crate) fn our_pods(&self) -> watch::Receiver<Pods> {
        self.pods.subscribe()
    }

    /// Says which pods are hai's, if that changed. A pod that ended is ours until it is let go: its processes may be about
    /// to end.
    fn say_pods(&self) {
        let mut now = Pods::new();
        for worker in self.runs().values().flat_map(|run| &run.workers) {
            if let (Some(node), Some(uid)) = (&worker.node, &worker.uid) {
                now.entry(node.clone()).or_default().insert(uid.clone());
            }
        }
        self.pods.send_if_modified(|told| {
            let changed = *told != now;
            *told = now;
            changed
        });
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.config.namespace)
    }

    /// Those of hai's own kind in the namespace of workers.
    pub(crate) fn of_run<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.config.namespace)
    }

    pub(crate) fn runs(&self) -> MutexGuard<'_, BTreeMap<RunId, Run>> {
        lock(&self.runs)
    }

    pub(crate) fn cordons(&self) -> MutexGuard<'_, BTreeMap<NodeName, bool>> {
        lock(&self.cordons)
    }

    pub(crate) fn tell(&self, fact: Fact) {
        // Nobody listens only while the cluster is being dropped.
        self.facts.tell(fact);
    }

    /// The group of a node that hai has.
    pub(crate) fn group_of(&self, node: &NodeName) -> Option<GroupName> {
        lock(&self.nodes).get(node).map(|known| known.group.clone())
    }

    /// All nodes as they were last told, or would be.
    pub(crate) fn specs(&self) -> Vec<NodeSpec> {
        let names: Vec<NodeName> = lock(&self.nodes).keys().cloned().collect();
        names.iter().for_each(|name| self.refresh(name, false));
        lock(&self.nodes).values().filter_map(|known| known.told.clone()).collect()
    }

    /// Takes in a worker's end.
    pub(crate) fn ended(&self, run: RunId, rank: u32, exit: WorkerExit) {
        let mut runs = self.runs();
        let Some(worker) = runs.get_mut(&run).and_then(|run| run.workers.get_mut(rank as usize)) else { return };
        if worker.exit.is_some() {
            return;
        }
        worker.exit = Some(exit.clone());
        worker.has_come();
        drop(runs);
        self.tell(Fact::WorkerEnded { run, rank, exit });
    }

    /// Does something beside, for as long as the cluster is there.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let over = self.over.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = over.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// The taints of a node that put out who does not tolerate them.
    pub(crate) fn evicting(&self, node: &NodeName) -> Vec<Taint> {
        let nodes = lock(&self.nodes);
        let taints = nodes.get(node).and_then(|known| known.node.spec.as_ref()?.taints.clone()).unwrap_or_default();
        taints.into_iter().filter(|taint| taint.effect == "NoExecute").collect()
    }

    /// The same, unless its pod is on a node.
    pub(crate) fn ended_if_unbound(&self, run: RunId, rank: u32, exit: WorkerExit) {
        let bound =
            self.runs().get(&run).and_then(|run| run.workers.get(rank as usize)).is_some_and(|worker| worker.bound);
        if !bound {
            self.ended(run, rank, exit);
        }
    }

    /// All workers of a run that have not ended, ended by `fate`.
    pub(crate) fn end_all(&self, run: RunId, exit: &WorkerExit) {
        let count = self.runs().get(&run).map_or(0, |run| run.workers.len());
        (0_u32..).take(count).for_each(|rank| self.ended(run, rank, exit.clone()));
    }

    /// Takes in what a pod says; `true` if it is a worker of ours.
    pub(crate) fn pod_is(self: &Arc<Self>, pod: &Pod) -> bool {
        let Some((_, run)) = run_of(&pod.metadata, &self.config.instance) else { return false };
        if pod.metadata.namespace.as_deref() != Some(&self.config.namespace) {
            return false;
        }
        let Some(rank) = rank_of(&pod.metadata) else { return true };
        let standing = Standing::of(pod);
        let mut runs = self.runs();
        // One whose run is not known takes its room all the same.
        let Some(known) = runs.get_mut(&run) else { return false };
        // Before it is bound nothing that is said of it counts: it may have to be called off.
        if matches!(known.stage, Stage::Making | Stage::CalledOff | Stage::Found(_)) {
            return true;
        }
        let task = known.task;
        let Some(worker) = known.workers.get_mut(rank as usize) else { return true };
        worker.note(pod);
        let executed = match &standing {
            Standing::Executing => true,
            Standing::Ended(exit) => matches!(
                exit.fate,
                WorkerFate::Exited { .. } | WorkerFate::Killed { .. } | WorkerFate::OutOfMemory { .. }
            ),
            _ => false,
        };
        match &standing {
            Standing::Held { problem } => worker.is_coming(Some(problem.clone())),
            Standing::Coming => worker.is_coming(None),
            _ => worker.has_come(),
        }
        let alive = worker.exit.is_none();
        let tell_start = executed && !worker.started && alive;
        worker.started |= executed;
        if executed && worker.followed.is_none() {
            worker.followed = Some(logs::follow(self.clone(), task, run, rank));
        }
        let exit = match standing {
            Standing::Ended(exit) => match worker.condemned.take() {
                Some(condemned) if exit.fate != (WorkerFate::Exited { code: 0 }) => Some(condemned),
                _ => Some(exit),
            },
            Standing::Condemned(exit) if worker.condemned.is_none() && alive => {
                worker.condemned = Some(exit);
                self.spawn(leave::take_off(self.clone(), task, run, rank));
                None
            }
            _ => None,
        };
        // Somebody else deletes it, as who drains a node does: all of its run leave together, and are told.
        let deleted = pod.metadata.deletion_timestamp.is_some() && alive && exit.is_none();
        let told = (deleted && known.leaving.is_none() && known.workers[rank as usize].condemned.is_none())
            .then(|| known.leave(known.grace));
        drop(runs);
        if let Some(leaving) = told {
            self.spawn(leave::see_off(self.clone(), run, leaving));
        }
        if tell_start {
            self.tell(Fact::WorkerStarted { run, rank });
        }
        if let Some(exit) = exit {
            self.ended(run, rank, exit);
        }
        true
    }

    /// Takes in that a pod is no more: somebody took even the mark away that keeps it.
    pub(crate) fn pod_is_gone(&self, run: RunId, rank: u32) {
        let exit = match self.runs().get_mut(&run) {
            Some(known) if matches!(known.stage, Stage::Binding | Stage::Bound) => {
                let condemned = known.workers.get_mut(rank as usize).and_then(|worker| worker.condemned.take());
                condemned.unwrap_or_else(|| gone(known.leaving.is_some()))
            }
            _ => return,
        };
        self.ended(run, rank, exit);
    }

    /// The workers that must be found by whoever lists all pods from now on.
    pub(crate) fn alive(&self) -> BTreeSet<(RunId, u32)> {
        let mut alive = BTreeSet::new();
        for (run, known) in self.runs().iter().filter(|(_, known)| known.stage == Stage::Bound) {
            let workers = (0_u32..).zip(&known.workers).filter(|(_, worker)| worker.exit.is_none());
            alive.extend(workers.map(|(rank, _)| (*run, rank)));
        }
        alive
    }

    /// After all pods were listed: of those that should have been among them, the others are gone.
    pub(crate) fn only_these(&self, expected: &BTreeSet<(RunId, u32)>, present: &BTreeSet<(RunId, u32)>) {
        expected.difference(present).for_each(|(run, rank)| self.pod_is_gone(*run, *rank));
    }

    /// Takes in what another's pod takes, or that it takes nothing any more.
    pub(crate) fn stranger_is(&self, pod: &Pod, there: bool) {
        let key = (pod.namespace().unwrap_or_default(), pod.name_any());
        let changed = lock(&self.strangers).set(key, use_of(pod).filter(|_| there));
        changed.iter().filter_map(|node| NodeName::new(node).ok()).for_each(|node| self.refresh(&node, true));
    }

    /// After all pods were listed: strangers that were not among them are no more.
    pub(crate) fn only_these_strangers(&self, present: &BTreeSet<PodKey>) {
        let mut strangers = lock(&self.strangers);
        let gone: Vec<PodKey> = strangers.pods().filter(|pod| !present.contains(pod)).cloned().collect();
        let nodes: BTreeSet<String> = gone.into_iter().flat_map(|pod| strangers.set(pod, None)).collect();
        drop(strangers);
        nodes.iter().filter_map(|node| NodeName::new(node).ok()).for_each(|node| self.refresh(&node, true));
    }

    /// Takes in what a node says.
    pub(crate) fn node_is(&self, node: &Node, tell: bool) {
        let Some(name) = group::name_of(node) else { return };
        let group = group::group_of(node, &self.config);
        let mut nodes = lock(&self.nodes);
        let known = match (nodes.entry(name.clone()), &group) {
            (Entry::Occupied(known), _) => known.into_mut(),
            (Entry::Vacant(free), Some(group)) => free.insert(KnownNode {
                node: node.clone(),
                group: group.clone(),
                silent_since: None,
                leaving: false,
                told: None,
            }),
            (Entry::Vacant(_), None) => return,
        };
        known.silent_since = match (says_ready(node), known.silent_since) {
            (true, _) => None,
            (false, since) => since.or_else(|| Some(Instant::now())),
        };
        known.node = node.clone();
        // Who is no longer hai's gets nothing new; what runs there ends in its own time.
        known.leaving = group.is_none();
        known.group = group.unwrap_or_else(|| known.group.clone());
        drop(nodes);
        self.refresh(&name, tell);
    }

    /// Takes in that a node is no more. What ran there is lost.
    pub(crate) fn node_is_gone(&self, name: &NodeName) {
        let mut nodes = lock(&self.nodes);
        if nodes.remove(name).is_none() {
            return;
        }
        // Within the lock, so that nobody tells of it as it was before.
        self.tell(Fact::NodeRemoved { node: name.clone() });
        drop(nodes);
        for (run, rank) in self.workers_on(name) {
            let reason = format!("node {name} is no longer in the cluster");
            self.ended(run, rank, WorkerExit::of(WorkerFate::Lost { reason }));
        }
    }

    /// Nodes that are no longer hai's, and on which nothing of hai's is left, are no more.
    fn part_with_nodes(&self) {
        let leaving: Vec<NodeName> =
            lock(&self.nodes).iter().filter(|(_, known)| known.leaving).map(|(name, _)| name.clone()).collect();
        for name in leaving {
            let busy = |(run, rank): &(RunId, u32)| {
                let runs = self.runs();
                let worker = runs.get(run).and_then(|known| known.workers.get(*rank as usize));
                worker.is_some_and(|worker| worker.exit.is_none())
            };
            if !self.workers_on(&name).iter().any(busy) {
                self.node_is_gone(&name);
            }
        }
    }

    /// After all nodes were listed: others are gone.
    pub(crate) fn only_these_nodes(&self, present: &BTreeSet<String>) {
        let gone: Vec<NodeName> =
            lock(&self.nodes).keys().filter(|name| !present.contains(name.as_str())).cloned().collect();
        gone.iter().for_each(|name| self.node_is_gone(name));
    }

    /// Devices were heard of anew.
    pub(crate) fn devices_changed(&self) {
        let names: Vec<NodeName> = lock(&self.nodes).keys().cloned().collect();
        names.iter().for_each(|name| self.refresh(name, true));
    }

    fn workers_on(&self, name: &NodeName) -> Vec<(RunId, u32)> {
        let mut found = Vec::new();
        for (run, known) in self.runs().iter() {
            let here = (0_u32..).zip(&known.workers).filter(|(_, worker)| worker.node.as_ref() == Some(name));
            found.extend(here.map(|(rank, _)| (*run, rank)));
        }
        found
    }

    fn pulse(&self, known: &KnownNode) -> Pulse {
        match known.silent_since {
            None => Pulse::Ready,
            Some(since) if since.elapsed() >= self.config.lost_after => Pulse::Lost,
            Some(_) => Pulse::Silent,
        }
    }

    /// Works out anew what a node has, and tells it if that changed.
    fn refresh(&self, name: &NodeName, tell: bool) {
        let held: BTreeSet<DeviceId> = self.held_on(name);
        let mut nodes = lock(&self.nodes);
        // Within the lock, so that what is told last is what was true last.
        let used = lock(&self.strangers).on(name.as_str());
        let reported = self.devices.borrow().get(name).cloned();
        let Some(known) = nodes.get_mut(name) else { return };
        let pulse = self.pulse(known);
        let whose = (name.clone(), known.group.clone());
        let seen = Seen { reported: reported.as_ref(), used, pulse, held: &held };
        let mut spec = describe(&known.node, whose, &self.config, &seen);
        spec.cordoned |= known.leaving;
        if let Err(error) = spec.check() {
            tracing::warn!(node = %name, %error, "a node can not be used as it is described; it stays as it was");
            return;
        }
        if known.told.as_ref() == Some(&spec) {
            return;
        }
        known.told = Some(spec.clone());
        if tell {
            self.tell(Fact::NodeSet { node: spec });
        }
    }

    /// The devices that hai's workers have on a node.
    fn held_on(&self, name: &NodeName) -> BTreeSet<DeviceId> {
        let runs = self.runs();
        let workers = runs.values().flat_map(|run| &run.workers);
        let here = workers.filter(|worker| worker.node.as_ref() == Some(name) && worker.exit.is_none());
        here.flat_map(|worker| worker.devices.iter().cloned()).collect()
    }

    /// What time alone changes: silent nodes are given up, and so is what does not come. Returns when to look again.
    pub(crate) fn look(self: &Arc<Self>) -> Duration {
        self.say_pods();
        let silent: Vec<NodeName> = lock(&self.nodes)
            .iter()
            .filter(|(_, known)| known.silent_since.is_some())
            .map(|(name, _)| name.clone())
            .collect();
        silent.iter().for_each(|name| self.refresh(name, true));
        self.part_with_nodes();
        let patience = self.config.image_patience;
        for (run, known) in self.runs().iter_mut() {
            for (rank, worker) in (0_u32..).zip(&mut known.workers) {
                worker.forget_old_warning();
                let late = worker.held.as_ref().filter(|(since, _)| since.elapsed() >= patience);
                let Some((_, problem)) = late.filter(|_| worker.condemned.is_none()) else { continue };
                let reason = format!("{problem} (for {})", words(patience));
                let fate = WorkerFate::Refused { reason, cause: hai_core::model::RefusalCause::Task };
                worker.condemned = Some(WorkerExit::of(fate));
                self.spawn(leave::take_off(self.clone(), known.task, *run, rank));
            }
        }
        LOOK_EVERY
    }

    /// Whether a node has been given up, or is not even there.
    pub(crate) fn is_lost(&self, name: &NodeName) -> bool {
        lock(&self.nodes).get(name).is_none_or(|known| self.pulse(known) == Pulse::Lost)
    }

    /// A worker said that it heard that it must leave.
    pub(crate) fn heard(&self, run: RunId, rank: u32) {
        if let Some(worker) = self.runs().get_mut(&run).and_then(|run| run.workers.get_mut(rank as usize)) {
            worker.heard = true;
        }
    }
}

/// How often time is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

fn words(span: Duration) -> String {
    hai_core::model::Span::from_secs(span.as_secs()).to_string()
}

/// A pod that somebody removed, and its end with it.
fn gone(leaving: bool) -> WorkerExit {
    if leaving {
        return WorkerExit::of(WorkerFate::Killed { signal: SIGTERM }).after_signal();
    }
    WorkerExit::of(WorkerFate::Lost { reason: "its pod was removed, and how it ended is not known".to_owned() })
}
