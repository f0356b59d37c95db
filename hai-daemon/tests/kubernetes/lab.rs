//! A lab for tests: a control plane, machines, and hai scheduling on them in this process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use hai_core::backend::{Driver, MemoryStore};
use hai_core::engine::EngineConfig;
use hai_core::model::{
    Allowance, DeviceId, DeviceSpec, Fact, GroupName, ModelName, NodeName, Outcome, Priority, Program, RightKey,
    RightRow, Span, TaskId, TaskSpec, TaskState, TaskView, UserName, WorkerRequest,
};
use hai_daemon::cluster::kubernetes::{Devices, KubernetesCluster, KubernetesConfig, NodeDevices, WorkerDoor};
use hai_daemon::scheduler::{self, Scheduler, wall_clock};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::control_plane::kubelet::{Kubelet, Machine};
use crate::control_plane::{ControlPlane, eventually};

/// Where workers live.
pub(crate) const NAMESPACE: &str = "hai";

/// A lab. Dropping it leaves the scheduler's last words unheard.
pub(crate) struct Lab {
    pub(crate) plane: ControlPlane,
    pub(crate) client: Client,
    pub(crate) scheduler: Scheduler,
    pub(crate) door: WorkerDoor,
    pub(crate) store: MemoryStore,
    pub(crate) devices: watch::Sender<Devices>,
    config: KubernetesConfig,
    running: Option<(CancellationToken, tokio::task::JoinHandle<()>)>,
    _logs: tempfile::TempDir,
}

/// Names, which are right in tests.
pub(crate) fn node(name: &str) -> NodeName {
    NodeName::new(name).expect("a name")
}

/// The lab that hai is at home in: a cordoned master and a worker, each with a card of its own.
pub(crate) fn machines() -> [Machine; 2] {
    [
        Machine::new("master").cpu(16).memory_gib(16).address("10.0.0.1").label("hai_mars_group", "lab").cordoned(),
        Machine::new("worker").cpu(12).memory_gib(32).address("10.0.0.2").label("hai_mars_group", "lab"),
    ]
}

/// What the agents on those machines report.
pub(crate) fn cards() -> Devices {
    let card = |id: &str, model: &str, gib: u64| {
        DeviceSpec::new(DeviceId::new(id).expect("an id"), ModelName::new(model).expect("a name"), gib << 10)
    };
    let of = |device| NodeDevices { devices: vec![device], links: Vec::new() };
    let all =
        [(node("master"), of(card("GPU-3070", "RTX 3070", 8))), (node("worker"), of(card("GPU-3060", "RTX 3060", 12)))];
    Arc::new(BTreeMap::from(all))
}

impl Lab {
    /// hai over `plane`, where what the agents report is `devices`.
    pub(crate) async fn over(plane: ControlPlane, devices: Devices, set: impl FnOnce(&mut KubernetesConfig)) -> Self {
        let client = plane.client().await;
        let namespace: Namespace =
            serde_json::from_value(serde_json::json!({"metadata": {"name": NAMESPACE}})).expect("a namespace");
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await.expect("made");
        let account = serde_json::json!({"metadata": {"name": "default"}});
        let account: k8s_openapi::api::core::v1::ServiceAccount = serde_json::from_value(account).expect("an account");
        // A controller makes it where there are controllers.
        let _ = Api::namespaced(client.clone(), NAMESPACE).create(&PostParams::default(), &account).await;
        let logs = tempfile::tempdir().expect("a temporary directory");
        let mut config = KubernetesConfig::new(NAMESPACE, logs.path().to_owned());
        config.image = Some("example.test/train:1".to_owned());
        set(&mut config);
        let (devices, _) = watch::channel(devices);
        let store = MemoryStore::default();
        let (scheduler, door, running) = begin(&client, &config, &store, &devices).await;
        let mut lab =
            Lab { plane, client, scheduler, door, store, devices, config, running: Some(running), _logs: logs };
        lab.give_rights().await;
        lab
    }

    async fn give_rights(&mut self) {
        let right = RightRow::new(RightKey::default(), Allowance::UNLIMITED);
        self.scheduler.tell(UserName::new("operator").expect("a name"), Fact::RightSet { right }).await.expect("told");
    }

    /// Ends the scheduler as a crash would: what it was about to do is not done.
    pub(crate) async fn crash(&mut self) {
        if let Some((_, running)) = self.running.take() {
            running.abort();
            let _ = running.await;
        }
    }

    /// Starts the scheduler again, over the same store.
    pub(crate) async fn resume(&mut self) {
        let (scheduler, door, running) = begin(&self.client, &self.config, &self.store, &self.devices).await;
        (self.scheduler, self.door, self.running) = (scheduler, door, Some(running));
    }

    /// What opening the same cluster with another secret is answered.
    pub(crate) async fn open_as(&self, secret: [u8; 32]) -> Result<(), String> {
        let opened =
            KubernetesCluster::open(self.client.clone(), self.config.clone(), secret, self.devices.subscribe()).await;
        opened.map(drop).map_err(|error| error.to_string())
    }

    /// The same cluster once more, as who takes over finds it.
    pub(crate) async fn once_more(&self) -> KubernetesCluster {
        let opened =
            KubernetesCluster::open(self.client.clone(), self.config.clone(), [7; 32], self.devices.subscribe()).await;
        opened.expect("a cluster")
    }

    /// What agents would come through, with nothing remembered.
    pub(crate) async fn agents(&self) -> hai_daemon::cluster::kubernetes::AgentDoor {
        self.once_more().await.agents()
    }

    pub(crate) async fn submit(&self, spec: TaskSpec) -> TaskId {
        let program = Program { command: vec!["train".to_owned()], ..Program::default() };
        self.submit_program(spec, program).await
    }

    pub(crate) async fn submit_program(&self, spec: TaskSpec, program: Program) -> TaskId {
        self.scheduler.submit(spec.user.clone(), spec, program).await.expect("submitted").id
    }

    pub(crate) async fn tell(&self, fact: Fact) {
        self.scheduler.tell(UserName::new("operator").expect("a name"), fact).await.expect("told");
    }

    /// The task as it is stored.
    pub(crate) fn task(&self, id: TaskId) -> TaskView {
        self.store.kept().tasks.get(&id).cloned().expect("a task")
    }

    /// Waits until the task is in that state.
    pub(crate) async fn until(&self, id: TaskId, state: TaskState) -> TaskView {
        let what = format!("task {id} to be {state:?}");
        let look = async || Some(self.task(id)).filter(|task| task.state == state);
        match tokio::time::timeout(std::time::Duration::from_secs(60), eventually(&what, look)).await {
            Ok(task) => task,
            Err(_) => panic!("waited in vain for {what}; it is {:?}", self.task(id)),
        }
    }

    /// Waits until the task is over, and says how.
    pub(crate) async fn outcome(&self, id: TaskId) -> Outcome {
        self.until(id, TaskState::Finished).await.outcome.expect("an outcome")
    }

    /// Waits until hai would put new work on a node.
    pub(crate) async fn until_of_use(&self, name: &'static str) {
        let takes = |engine: &hai_core::engine::Engine| {
            engine.node(&node(name)).is_some_and(hai_core::model::NodeSpec::takes_new_work)
        };
        let what = format!("node {name} to be of use");
        eventually(&what, async || self.scheduler.inspect(takes).await.expect("a look").then_some(())).await;
    }

    /// All pods of workers, by name.
    pub(crate) async fn pods(&self) -> Vec<Pod> {
        Api::<Pod>::namespaced(self.client.clone(), NAMESPACE).list(&ListParams::default()).await.expect("listed").items
    }

    /// Where a task's rank 0 is.
    pub(crate) async fn node_of(&self, id: TaskId) -> Option<String> {
        let label = id.to_string();
        let pods = self.pods().await;
        let of_task = |pod: &&Pod| pod.labels().get("hai/task") == Some(&label);
        pods.iter()
            .filter(of_task)
            .max_by_key(|pod| pod.creation_timestamp().map(|at| at.0))?
            .spec
            .as_ref()?
            .node_name
            .clone()
    }

    /// Waits until nothing of hai's is left in Kubernetes.
    pub(crate) async fn until_clean(&self) {
        let (maps, services) = (self.of::<ConfigMap>(), self.of::<Service>());
        let ours = ListParams::default().labels("hai/instance=hai");
        eventually("nothing to be left", async || {
            let left = self.pods().await.len()
                + maps.list(&ours).await.expect("listed").items.len()
                + services.list(&ours).await.expect("listed").items.len();
            (left == 0).then_some(())
        })
        .await;
    }

    pub(crate) fn of<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Where the output of workers is kept.
    pub(crate) fn logs(&self) -> PathBuf {
        self.config.log_dir.clone()
    }
}

type Running = (CancellationToken, tokio::task::JoinHandle<()>);

async fn begin(
    client: &Client,
    config: &KubernetesConfig,
    store: &MemoryStore,
    devices: &watch::Sender<Devices>,
) -> (Scheduler, WorkerDoor, Running) {
    let cluster = KubernetesCluster::open(client.clone(), config.clone(), [7; 32], devices.subscribe()).await;
    let cluster = cluster.expect("a cluster");
    let door = cluster.door();
    let driver = Driver::open(EngineConfig::default(), store.clone(), cluster, wall_clock()).await.expect("a driver");
    let (scheduler, inbox) = scheduler::channel();
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let running = tokio::spawn(async move { scheduler::run(driver, inbox, stopping).await.expect("it runs") });
    (scheduler, door, (stop, running))
}

/// A task of one worker.
pub(crate) fn task(name: &str, request: WorkerRequest) -> TaskSpec {
    let user = UserName::new("ada").expect("a name");
    let spec = TaskSpec::new(name, user, GroupName::new("lab").expect("a name"), Priority::Normal, request);
    TaskSpec { grace: hai_core::model::Grace { answer: Span::from_secs(2), finish: Span::from_secs(2) }, ..spec }
}

/// The lab with both its machines, and hai over it.
pub(crate) async fn lab() -> (Lab, [Kubelet; 2]) {
    let plane = ControlPlane::start().await;
    let [master, worker] = machines();
    let kubelets = [Kubelet::start(&plane, master).await, Kubelet::start(&plane, worker).await];
    let server = Some("http://hai.test:8420".to_owned());
    (Lab::over(plane, cards(), |config| config.server = server).await, kubelets)
}
