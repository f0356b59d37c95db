//! Kubelets that a test plays: they register a node, live the lives of the pods bound to it, and honour their end.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_stream::StreamExt as _;

use super::ControlPlane;

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) cpu: u32,
    pub(crate) memory_gib: u32,
    pub(crate) gpus: u32,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) taints: Vec<Value>,
    pub(crate) address: String,
    pub(crate) cordoned: bool,
}

impl Machine {
    /// 16 processors, 64 GiB, no GPU, at 10.1.0.1.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            cpu: 16,
            memory_gib: 64,
            gpus: 0,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            address: "10.1.0.1".to_owned(),
            cordoned: false,
        }
    }

    pub(crate) fn gpus(self, gpus: u32) -> Self {
        Self { gpus, ..self }
    }

    pub(crate) fn cpu(self, cpu: u32) -> Self {
        Self { cpu, ..self }
    }

    pub(crate) fn memory_gib(self, memory_gib: u32) -> Self {
        Self { memory_gib, ..self }
    }

    pub(crate) fn address(self, address: &str) -> Self {
        Self { address: address.to_owned(), ..self }
    }

    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// `effect` as in `NoSchedule`.
    pub(crate) fn taint(mut self, key: &str, value: &str, effect: &str) -> Self {
        self.taints.push(json!({"key": key, "value": value, "effect": effect}));
        self
    }

    pub(crate) fn cordoned(self) -> Self {
        Self { cordoned: true, ..self }
    }
}

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Runs until somebody deletes it or [`Kubelet::end`]s it, and then leaves at once.
    Stay,
    /// Runs until it is ended, and takes all the grace it has when it is deleted.
    Stubborn,
    /// Ends by itself with this code.
    Exit { after: Duration, code: i32 },
    /// Ends at once with this code, and this as its last word.
    Says { code: i32, word: String },
    /// Is killed since it took too much memory.
    OutOfMemory { after: Duration },
    /// Is put out by the kubelet, for example since the disk is full.
    Evicted { after: Duration },
    /// Its image takes this long to pull; then it stays.
    PullSlow { takes: Duration },
    /// Its image can not be had.
    PullFails,
    /// Its command is executed on this machine, with its environment.
    Process,
    /// Nothing is heard of it.
    Silence,
}

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
}

/// A kubelet; dropping it is a power failure.
pub(crate) struct Kubelet {
    shared: Arc<Shared>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

fn now() -> String {
    chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

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
            "addresses": [{"type": "InternalIP", "address": machine.address}, {"type": "Hostname", "address": hostname}],
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

/// One pod's life.
struct Living {
    shared: Arc<Shared>,
    pod: watch::Receiver<Option<Pod>>,
    started: String,
}

/// How a life ended.
enum End {
    Code(i32, &'static str),
    /// With a last word.
    Said(i32, String),
    Evicted,
    /// The object is gone: nobody is to be told.
    Gone,
}

impl Living {
    fn current(&self) -> Option<Pod> {
        self.pod.borrow().clone()
    }

    async fn status(&self, status: Value) {
        alive(&self.shared).await;
        let Some(pod) = self.current() else { return };
        let pods: Api<Pod> = Api::namespaced(self.shared.client.clone(), &pod.namespace().unwrap_or_default());
        // Never of another pod of the same name.
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": status});
        insist!(pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(&patch)));
    }

    fn containers(&self, state: &Value, ready: bool) -> Value {
        let Some(pod) = self.current() else { return json!([]) };
        let all = pod.spec.map(|spec| spec.containers).unwrap_or_default();
        all.iter()
            .map(|one| {
                json!({"name": one.name, "image": one.image, "imageID": "", "ready": ready, "started": ready,
                       "restartCount": 0, "state": state})
            })
            .collect()
    }

    fn conditions(&self, ready: bool) -> Value {
        let word = if ready { "True" } else { "False" };
        let one = |kind: &str, status: &str| json!({"type": kind, "status": status, "lastTransitionTime": now()});
        json!([
            one("Initialized", "True"),
            one("Ready", word),
            one("ContainersReady", word),
            one("PodScheduled", "True")
        ])
    }

    async fn waiting(&self, reason: &str, message: &str) {
        let state = json!({"waiting": {"reason": reason, "message": message}});
        self.status(json!({
            "phase": "Pending", "conditions": self.conditions(false), "hostIP": self.shared.machine.address,
            "startTime": self.started, "containerStatuses": self.containers(&state, false),
        }))
        .await;
    }

    async fn running(&self) {
        let state = json!({"running": {"startedAt": now()}});
        let pod = self.current().and_then(|pod| pod.uid()).unwrap_or_default();
        let number = pod.bytes().fold(7u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        let address = format!("10.2.{}.{}", number >> 8 & 255, number & 255);
        self.status(json!({
            "phase": "Running", "conditions": self.conditions(true), "hostIP": self.shared.machine.address,
            "podIP": address, "podIPs": [{"ip": address}], "startTime": self.started,
            "containerStatuses": self.containers(&state, true),
        }))
        .await;
    }

    /// Resolves when the pod is deleted or gone; how long it may take to leave.
    async fn told_to_leave(&self) -> Option<Duration> {
        let mut pod = self.pod.clone();
        let leaves = |pod: &Option<Pod>| pod.as_ref().is_none_or(|pod| pod.metadata.deletion_timestamp.is_some());
        match pod.wait_for(leaves).await {
            Ok(pod) => pod.as_ref().map(|pod| {
                let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
                Duration::from_secs(u64::try_from(grace).unwrap_or(0))
            }),
            Err(_) => None,
        }
    }

    /// Resolves when a pod that was told to leave has had the time that it was given; which may have become less since.
    async fn grace_is_over(&self) {
        let mut pod = self.pod.clone();
        let mut over = None;
        let mut given = None;
        loop {
            let grace = pod.borrow_and_update().as_ref().and_then(|pod| pod.metadata.deletion_grace_period_seconds);
            let Some(grace) = grace else { return };
            if given != Some(grace) {
                let until = tokio::time::Instant::now() + Duration::from_secs(u64::try_from(grace).unwrap_or(0));
                over = Some(over.map_or(until, |over: tokio::time::Instant| over.min(until)));
                given = Some(grace);
            }
            let Some(until) = over else { return };
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                changed = pod.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn told_to_end(&self) -> i32 {
        let Some(pod) = self.current() else { return 0 };
        let key = (pod.namespace().unwrap_or_default(), pod.name_any());
        let mut ends = self.shared.ends.subscribe();
        loop {
            if let Some(code) = ends.borrow_and_update().get(&key) {
                return *code;
            }
            if ends.changed().await.is_err() {
                return 0;
            }
        }
    }

    async fn stays(&self, leaves_at_once: bool) -> End {
        tokio::select! {
            grace = self.told_to_leave() => match grace {
                None => End::Gone,
                Some(_) if leaves_at_once => End::Code(143, "Error"),
                Some(_) => {
                    self.grace_is_over().await;
                    End::Code(137, "Error")
                }
            },
            code = self.told_to_end() => End::Code(code, if code == 0 { "Completed" } else { "Error" }),
        }
    }

    async fn for_a_while(&self, after: Duration, end: End) -> End {
        tokio::select! {
            () = tokio::time::sleep(after) => end,
            end = self.stays(true) => end,
        }
    }

    async fn run(self, life: Life) {
        if life == Life::Silence {
            return;
        }
        if self.current().is_some_and(|pod| {
            matches!(pod.status.and_then(|status| status.phase).as_deref(), Some("Succeeded" | "Failed"))
        }) {
            return;
        }
        self.waiting("ContainerCreating", "").await;
        let end = match life {
            Life::PullFails => {
                let image =
                    self.current().and_then(|pod| pod.spec?.containers.first()?.image.clone()).unwrap_or_default();
                self.waiting("ErrImagePull", &format!("failed to pull and unpack image \"{image}\": not found")).await;
                self.waiting("ImagePullBackOff", &format!("Back-off pulling image \"{image}\"")).await;
                self.stays(true).await
            }
            Life::PullSlow { takes } => tokio::select! {
                () = tokio::time::sleep(takes) => {
                    self.running().await;
                    self.stays(true).await
                }
                end = self.stays(true) => end,
            },
            Life::Process => self.process().await,
            other => {
                self.running().await;
                match other {
                    Life::Exit { after, code } => {
                        self.for_a_while(after, End::Code(code, if code == 0 { "Completed" } else { "Error" })).await
                    }
                    Life::Says { code, word } => End::Said(code, word),
                    Life::OutOfMemory { after } => self.for_a_while(after, End::Code(137, "OOMKilled")).await,
                    Life::Evicted { after } => self.for_a_while(after, End::Evicted).await,
                    other => self.stays(other != Life::Stubborn).await,
                }
            }
        };
        self.over(end).await;
    }

    async fn over(&self, end: End) {
        match end {
            End::Gone => return,
            End::Evicted => {
                self.status(json!({"phase": "Failed", "reason": "Evicted", "conditions": self.conditions(false),
                                   "message": "The node was low on resource: ephemeral-storage."}))
                    .await;
            }
            End::Code(..) | End::Said(..) => {
                let (code, reason, message) = match end {
                    End::Code(code, reason) => (code, reason, String::new()),
                    End::Said(code, word) => (code, if code == 0 { "Completed" } else { "Error" }, word),
                    _ => return,
                };
                let state = json!({"terminated": {"exitCode": code, "reason": reason, "message": message,
                                                  "startedAt": self.started, "finishedAt": now()}});
                let phase = if code == 0 { "Succeeded" } else { "Failed" };
                self.status(json!({"phase": phase, "conditions": self.conditions(false),
                                   "containerStatuses": self.containers(&state, false)}))
                    .await;
            }
        }
        // What is being deleted goes for good once its kubelet says so.
        if self.told_to_leave().await.is_none() {
            return;
        }
        alive(&self.shared).await;
        let Some(pod) = self.current() else { return };
        let pods: Api<Pod> = Api::namespaced(self.shared.client.clone(), &pod.namespace().unwrap_or_default());
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: pod.uid(), resource_version: None }),
            ..DeleteParams::default().grace_period(0)
        };
        insist!(pods.delete(&pod.name_any(), &params));
    }

    /// Executes the command of the first container.
    async fn process(&self) -> End {
        let Some(pod) = self.current() else { return End::Gone };
        let container = pod.spec.as_ref().and_then(|spec| spec.containers.first()).expect("a container").clone();
        let entrypoint = self.shared.entrypoint.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let own = Some(entrypoint).filter(|program| !program.is_empty() && container.command.is_none());
        let args = container.args.iter().flatten().map(|word| on_this_machine(&pod, word));
        let words: Vec<String> =
            own.into_iter().chain(container.command.iter().flatten().cloned()).chain(args).collect();
        let mut command = tokio::process::Command::new(words.first().map_or("true", String::as_str));
        command
            .args(words.iter().skip(1))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).kill_on_drop(true);
        for variable in container.env.iter().flatten() {
            let field = variable.value_from.as_ref().and_then(|from| from.field_ref.as_ref());
            let value = match field.map(|field| field.field_path.as_str()) {
                Some("metadata.name") => pod.name_any(),
                Some("metadata.namespace") => pod.namespace().unwrap_or_default(),
                Some("spec.nodeName") => self.shared.machine.name.clone(),
                Some("status.hostIP" | "status.podIP") => "127.0.0.1".to_owned(),
                _ => variable.value.clone().unwrap_or_default(),
            };
            command.env(&variable.name, value);
        }
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                return End::Said(128, format!("{words:?} can not be executed: {error}"));
            }
        };
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        self.running().await;
        let mut output = tokio::spawn(child.wait_with_output());
        let mut killed = false;
        let output = tokio::select! {
            output = &mut output => output,
            grace = self.told_to_leave() => {
                let kill = |signal| id.map(|id| rustix::process::kill_process(id, signal));
                if grace.is_some() {
                    kill(rustix::process::Signal::TERM);
                    tokio::select! {
                        output = &mut output => output,
                        () = self.grace_is_over() => {
                            kill(rustix::process::Signal::KILL);
                            killed = true;
                            output.await
                        }
                    }
                } else {
                    kill(rustix::process::Signal::KILL);
                    let _ = output.await;
                    return End::Gone;
                }
            }
        };
        let output = output.expect("nobody aborts it").expect("its output is read");
        let mut text = output.stdout;
        text.extend(output.stderr);
        let key = (pod.namespace().unwrap_or_default(), pod.name_any());
        let word = String::from_utf8_lossy(&text).into_owned();
        self.shared.logs.lock().unwrap_or_else(PoisonError::into_inner).insert(key, text);
        let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
        let code = output.status.code().unwrap_or_else(|| 128 + signal.unwrap_or(if killed { 9 } else { 0 }));
        let by_log = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        if by_log && code != 0 {
            return End::Said(code, word);
        }
        End::Code(code, if code == 0 { "Completed" } else { "Error" })
    }
}

/// What a path within a pod is outside of it, where a directory of the node is mounted there.
fn on_this_machine(pod: &Pod, word: &str) -> String {
    let Some(spec) = &pod.spec else { return word.to_owned() };
    let mounts = spec.containers.iter().flat_map(|one| one.volume_mounts.iter().flatten());
    for mount in mounts.filter(|mount| mount.mount_path == word) {
        let volume = spec.volumes.iter().flatten().find(|volume| volume.name == mount.name);
        if let Some(path) = volume.and_then(|volume| volume.host_path.as_ref()) {
            return path.path.clone();
        }
    }
    word.to_owned()
}
