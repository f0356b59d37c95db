//! Kubelets that a test plays: they register a node, live the lives of the pods bound to it, and honour their end.

/// Tries again until the API server answers; `None` if it says that it can not be.
macro_rules! insist {
    ($call:expr) => {
        loop {
            match $call.await {
                Ok(done) => break Some(done),
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => break None,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
}

mod living;
mod machine;
mod mounts;
mod output;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_stream::StreamExt as _;

use super::ControlPlane;
use living::Living;
pub(crate) use machine::{Life, Machine};
use output::Output;
pub(crate) use output::Tell;

type Choice = Arc<dyn Fn(&Pod) -> Life + Send + Sync>;

struct Shared {
    client: Client,
    machine: Machine,
    life: Mutex<Choice>,
    /// How a pod was told to end, by namespace and name.
    ends: watch::Sender<BTreeMap<(String, String), i32>>,
    alive: watch::Sender<bool>,
    ready: AtomicBool,
    logs: Mutex<BTreeMap<(String, String), Vec<u8>>>,
    entrypoint: Mutex<String>,
    output: Output,
}

/// A kubelet; dropping it is a power failure.
pub(crate) struct Kubelet {
    shared: Arc<Shared>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

fn now() -> String {
    chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Shared {
    fn conditions(&self, ready: &str) -> Value {
        let at = now();
        let one = |kind: &str, status: &str, reason: &str| {
            json!({"type": kind, "status": status, "reason": reason, "message": reason,
                   "lastHeartbeatTime": at, "lastTransitionTime": at})
        };
        json!([
            one("MemoryPressure", "False", "KubeletHasSufficientMemory"),
            one("DiskPressure", "False", "KubeletHasNoDiskPressure"),
            one("PIDPressure", "False", "KubeletHasSufficientPID"),
            one(
                "Ready",
                ready,
                match ready {
                    "True" => "KubeletReady",
                    "False" => "KubeletNotReady",
                    _ => "NodeStatusUnknown",
                }
            ),
        ])
    }

    fn taints(&self, ready: &str, cordoned: bool) -> Value {
        let mut taints = self.machine.taints.clone();
        let key = match ready {
            "True" => None,
            "False" => Some("node.kubernetes.io/not-ready"),
            _ => Some("node.kubernetes.io/unreachable"),
        };
        for effect in ["NoSchedule", "NoExecute"] {
            taints.extend(key.map(|key| json!({"key": key, "effect": effect})));
        }
        if cordoned {
            taints.push(json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}));
        }
        Value::Array(taints)
    }

    fn amounts(&self) -> Value {
        let machine = &self.machine;
        let mut amounts =
            json!({"cpu": machine.cpu.to_string(), "memory": format!("{}Gi", machine.memory_gib), "pods": "110"});
        if machine.gpus > 0 {
            amounts["nvidia.com/gpu"] = json!(machine.gpus.to_string());
        }
        amounts
    }

    async fn patch_node(&self, patch: Value) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        insist!(nodes.patch(&self.machine.name, &PatchParams::default(), &Patch::Merge(&patch)));
    }

    async fn say_ready(&self, ready: &str) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let patch = json!({"status": {"conditions": self.conditions(ready)}});
        insist!(nodes.patch_status(&self.machine.name, &PatchParams::default(), &Patch::Merge(&patch)));
    }

    async fn register(&self) {
        let machine = &self.machine;
        let nodes: Api<Node> = Api::all(self.client.clone());
        let mut labels = machine.labels.clone();
        labels.entry("kubernetes.io/hostname".to_owned()).or_insert_with(|| machine.name.clone());
        labels.entry("kubernetes.io/os".to_owned()).or_insert_with(|| "linux".to_owned());
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": machine.name, "labels": labels}, "spec": {}});
        let node: Node = serde_json::from_value(node).expect("a node");
        insist!(nodes.create(&PostParams::default(), &node));
        let hostname = labels["kubernetes.io/hostname"].clone();
        let status = json!({"status": {
            "capacity": self.amounts(), "allocatable": self.amounts(), "conditions": self.conditions("True"),
            "addresses": [{"type": "InternalIP", "address": machine.address}, {"type": "Hostname", "address": hostname},
                          {"type": "ExternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.output.port().unwrap_or(10250)}},
            "nodeInfo": {"machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "6.1.0", "osImage": "Debian",
                         "containerRuntimeVersion": "containerd://1.7.0", "kubeletVersion": "v1.33.0",
                         "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64"},
        }});
        insist!(nodes.patch_status(&machine.name, &PatchParams::default(), &Patch::Merge(&status)));
        // The node controller does this: what is ready loses the taint that new nodes have.
        self.patch_node(
            json!({"spec": {"unschedulable": machine.cordoned, "taints": self.taints("True", machine.cordoned)}}),
        )
        .await;
    }
}

impl Kubelet {
    /// Registers `machine`, and plays what its pods do; they [`Life::Stay`].
    pub(crate) async fn start(plane: &ControlPlane, machine: Machine) -> Self {
        let shared = Arc::new(Shared {
            client: plane.client().await,
            machine,
            life: Mutex::new(Arc::new(|_| Life::Stay)),
            ends: watch::Sender::new(BTreeMap::new()),
            alive: watch::Sender::new(true),
            ready: AtomicBool::new(true),
            logs: Mutex::default(),
            entrypoint: Mutex::default(),
            output: tokio::task::block_in_place(|| Output::of(plane)),
        });
        shared.register().await;
        let tasks = vec![tokio::spawn(heartbeats(shared.clone())), tokio::spawn(follow(shared.clone()))];
        Self { shared, tasks }
    }

    /// Says what becomes of pods that come from now on.
    pub(crate) fn live(&self, choose: impl Fn(&Pod) -> Life + Send + Sync + 'static) {
        *self.shared.life.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(choose);
    }

    /// What all images execute if a pod that is [`Life::Process`] says no command.
    pub(crate) fn entrypoint(&self, program: &str) {
        program.clone_into(&mut self.shared.entrypoint.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Ends a running pod with this code.
    pub(crate) fn end(&self, namespace: &str, pod: &str, code: i32) {
        self.shared.ends.send_modify(|ends| {
            ends.insert((namespace.to_owned(), pod.to_owned()), code);
        });
    }

    /// What the process of a pod wrote; only of one that was [`Life::Process`] and has ended.
    pub(crate) fn log(&self, namespace: &str, pod: &str) -> Option<String> {
        let logs = self.shared.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.get(&(namespace.to_owned(), pod.to_owned())).map(|text| String::from_utf8_lossy(text).into_owned())
    }

    /// The kubelet says that the node is not ready, or ready again; its pods go on.
    pub(crate) async fn ready(&self, ready: bool) {
        self.shared.ready.store(ready, Ordering::SeqCst);
        let word = if ready { "True" } else { "False" };
        self.shared.say_ready(word).await;
        let cordoned = self.is_cordoned().await;
        self.shared.patch_node(json!({"spec": {"taints": self.shared.taints(word, cordoned)}})).await;
    }

    /// The machine falls silent: no heartbeat, nothing is done for pods; the node controller says `Unknown`.
    pub(crate) async fn lose(&self) {
        self.shared.alive.send_replace(false);
        self.shared.say_ready("Unknown").await;
        let cordoned = self.is_cordoned().await;
        self.shared.patch_node(json!({"spec": {"taints": self.shared.taints("Unknown", cordoned)}})).await;
    }

    /// The machine is back, with its pods as they were.
    pub(crate) async fn find(&self) {
        self.shared.alive.send_replace(true);
        self.ready(true).await;
    }

    /// `kubectl cordon` and `uncordon`.
    pub(crate) async fn cordon(&self, cordoned: bool) {
        let ready = if self.shared.ready.load(Ordering::SeqCst) { "True" } else { "False" };
        self.shared
            .patch_node(json!({"spec": {"unschedulable": cordoned, "taints": self.shared.taints(ready, cordoned)}}))
            .await;
    }

    async fn is_cordoned(&self) -> bool {
        let nodes: Api<Node> = Api::all(self.shared.client.clone());
        let node = insist!(nodes.get(&self.shared.machine.name));
        node.and_then(|node| node.spec?.unschedulable).unwrap_or(false)
    }

    /// `kubectl drain`: cordons, and evicts every pod that is on it.
    pub(crate) async fn drain(&self) {
        self.cordon(true).await;
        let pods: Api<Pod> = Api::all(self.shared.client.clone());
        let here = kube::api::ListParams::default().fields(&format!("spec.nodeName={}", self.shared.machine.name));
        for pod in pods.list(&here).await.expect("pods") {
            let space: Api<Pod> = Api::namespaced(self.shared.client.clone(), &pod.namespace().unwrap_or_default());
            let _ = space.evict(&pod.name_any(), &kube::api::EvictParams::default()).await;
        }
    }

    /// The node is taken out of the cluster.
    pub(crate) async fn remove(self) {
        let nodes: Api<Node> = Api::all(self.shared.client.clone());
        self.shared.alive.send_replace(false);
        insist!(nodes.delete(&self.shared.machine.name, &DeleteParams::default()));
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.shared.alive.send_replace(false);
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn alive(shared: &Shared) {
    // The sender lives in `shared`.
    let _ = shared.alive.subscribe().wait_for(|alive| *alive).await;
}

async fn heartbeats(shared: Arc<Shared>) {
    let leases: Api<Lease> = Api::namespaced(shared.client.clone(), "kube-node-lease");
    let name = shared.machine.name.clone();
    loop {
        alive(&shared).await;
        let at = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
                           "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": at}});
        // What fails is tried again with the next one.
        let _ = leases.patch(&name, &PatchParams::apply("kubelet").force(), &Patch::Apply(&lease)).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}

/// Watches the pods bound to this node, and gives each a task that lives its life.
async fn follow(shared: Arc<Shared>) {
    let pods: Api<Pod> = Api::all(shared.client.clone());
    let here = watcher::Config::default().fields(&format!("spec.nodeName={}", shared.machine.name));
    let mut events = std::pin::pin!(watcher::watcher(pods, here));
    let mut lives: BTreeMap<String, watch::Sender<Option<Pod>>> = BTreeMap::new();
    let mut seen: Option<Vec<String>> = None;
    while let Some(event) = events.next().await {
        let (pod, gone) = match event {
            Ok(Event::Init) => {
                seen = Some(Vec::new());
                continue;
            }
            Ok(Event::InitDone) => {
                // Who is not listed any more went while nobody looked.
                let seen = seen.take().unwrap_or_default();
                lives.retain(|uid, life| {
                    seen.contains(uid) || {
                        life.send_replace(None);
                        false
                    }
                });
                continue;
            }
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => (pod, false),
            Ok(Event::Delete(pod)) => (pod, true),
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let uid = pod.uid().unwrap_or_default();
        if let Some(seen) = &mut seen {
            seen.push(uid.clone());
        }
        if gone {
            if let Some(life) = lives.remove(&uid) {
                life.send_replace(None);
            }
        } else if let Some(life) = lives.get(&uid) {
            life.send_replace(Some(pod));
        } else {
            let choose = shared.life.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let life = choose(&pod);
            let (sender, receiver) = watch::channel(Some(pod));
            lives.insert(uid, sender);
            tokio::spawn(Living { shared: shared.clone(), pod: receiver, started: now() }.run(life));
        }
    }
}
