//! A whole server in this process, over a cluster in memory or over this machine's.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hai_core::backend::{Cluster, Driver, MemoryCluster};
use hai_core::engine::EngineConfig;
use hai_core::model::{DeviceId, DeviceSpec, GroupName, ModelName, NodeName, NodeSpec, UserName};
use hai_daemon::api::{self, ApiState, Defaults, LogPart, LogSource, WorkerLog};
use hai_daemon::cluster::local::{LocalCluster, LocalConfig};
use hai_daemon::cluster::logs::LogReader;
use hai_daemon::gpu::reports::Reports;
use hai_daemon::scheduler;
use hai_daemon::store::{Role, SqliteStore};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, PATIENCE};

/// A server with one operator, `root`, and two users, `alice` and `bob`, who may hold all that there is.
pub(crate) struct Lab {
    pub(crate) root: Client,
    pub(crate) alice: Client,
    pub(crate) bob: Client,
    pub(crate) anybody: Client,
    pub(crate) stop: CancellationToken,
    pub(crate) reports: Reports,
    pub(crate) served: JoinHandle<io::Result<()>>,
    driven: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

/// Where a server keeps what it has, and whether its workers have images.
struct Directory {
    dir: tempfile::TempDir,
    images: bool,
}

/// The logs of the local cluster.
#[derive(Debug)]
struct Logs(std::path::PathBuf);

impl LogSource for Logs {
    fn read(&self, worker: WorkerLog, offset: u64, bytes_max: usize) -> io::Result<LogPart> {
        let chunk = LogReader::open(&self.0, worker.task, worker.run, worker.rank).read(offset, bytes_max)?;
        Ok(LogPart {
            offset: chunk.offset,
            bytes: chunk.bytes,
            first_available: chunk.first_available,
            end: chunk.end,
            complete: chunk.complete,
        })
    }
}

/// A node `name` of group `lab` with this many devices.
pub(crate) fn node(name: &str, devices: usize) -> NodeSpec {
    let device = |index| {
        let id = DeviceId::new(format!("GPU-{name}-{index}")).expect("an id");
        DeviceSpec::new(id, ModelName::new("RTX 3070").expect("a name"), 8192)
    };
    NodeSpec {
        devices: (0..devices).map(device).collect(),
        ..NodeSpec::new(NodeName::new(name).expect("a name"), GroupName::new("lab").expect("a name"), 8000, 16384)
    }
}

fn user(name: &str) -> UserName {
    UserName::new(name).expect("a name")
}

impl Lab {
    /// A server whose workers do nothing until the test says how they end.
    pub(crate) async fn in_memory(nodes: impl IntoIterator<Item = NodeSpec>) -> (Self, MemoryCluster) {
        let cluster = MemoryCluster::new(nodes);
        let directory = tempfile::tempdir().expect("a temporary directory");
        (Self::over(cluster.clone(), directory, None).await, cluster)
    }

    /// The same, but who takes nothing of an answer for so long is hung up on.
    pub(crate) async fn in_memory_with_stall(
        nodes: impl IntoIterator<Item = NodeSpec>,
        stall: Duration,
    ) -> (Self, MemoryCluster) {
        let cluster = MemoryCluster::new(nodes);
        let directory = tempfile::tempdir().expect("a temporary directory");
        (Self::over(cluster.clone(), directory, Some(stall)).await, cluster)
    }

    /// A server whose workers are processes.
    pub(crate) async fn on_this_machine(nodes: Vec<NodeSpec>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let config = LocalConfig {
            run_dir: directory.path().join("runs"),
            log_dir: logs_of(directory.path()),
            shim: env!("CARGO_BIN_EXE_hai-daemon").into(),
            nodes,
            devices: Vec::new(),
            log_bytes_max: 1 << 20,
            log_segments: 4,
        };
        let cluster = LocalCluster::open(config).await.expect("a cluster");
        let directory = Directory { dir: directory, images: false };
        Self::within(cluster, directory, None).await
    }

    async fn over<C: Cluster + 'static>(cluster: C, dir: tempfile::TempDir, stall: Option<Duration>) -> Self {
        Self::within(cluster, Directory { dir, images: true }, stall).await
    }

    async fn within<C: Cluster + 'static>(cluster: C, directory: Directory, stall: Option<Duration>) -> Self {
        let Directory { dir: directory, images } = directory;
        let store = SqliteStore::open(directory.path().join("hai.sqlite")).await.expect("a store");
        let (reader, accounts) = (store.reader(), store.accounts());
        let root = accounts.ensure_operator(&user("root")).await.expect("stored").expect("a new token");
        let alice = accounts.add(&user("alice"), Role::User).await.expect("stored");
        let bob = accounts.add(&user("bob"), Role::User).await.expect("stored");
        let driver = Driver::open(EngineConfig::default(), store, cluster, scheduler::wall_clock()).await;
        let (scheduler, inbox) = scheduler::channel();
        let stop = CancellationToken::new();
        let running = scheduler::run(driver.expect("a driver"), inbox, stop.clone());
        let driven = tokio::spawn(async move { running.await.expect("the driver goes on") });
        let logs = Arc::new(Logs(logs_of(directory.path())));
        let defaults = Defaults { images, ..Defaults::of_group(GroupName::new("lab").expect("a name")) };
        let reports = Reports::new();
        let state = ApiState::new(scheduler, reader, accounts, logs, defaults).with_reports(reports.clone());
        let state = match stall {
            Some(stall) => state.with_stall(stall),
            None => state,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let served = tokio::spawn(api::serve(listener, state, stop.clone()));
        let client = |token: Option<&str>| Client { base: base.clone(), token: token.map(str::to_owned) };
        let lab = Lab {
            root: client(Some(root.as_str())),
            alice: client(Some(alice.as_str())),
            bob: client(Some(bob.as_str())),
            anybody: client(None),
            stop,
            reports,
            served,
            driven,
            _directory: directory,
        };
        lab.root.put("/v1/rights", json!({"nodes": "unlimited", "devices": "unlimited"})).await.ok(200);
        lab
    }

    /// Ends the server and what is left running.
    pub(crate) async fn close(self) {
        let unfinished = self.root.get("/v1/tasks?state=unfinished&limit=1000").await.ok(200);
        for task in unfinished["tasks"].as_array().expect("a list") {
            self.root.act(&format!("/v1/tasks/{}/stop", task["id"])).await;
            wait(&self.root, &task["id"], "finished").await;
        }
        self.stop.cancel();
        self.served.await.expect("no panic").expect("served");
        self.driven.await.expect("no panic");
    }
}

fn logs_of(directory: &Path) -> std::path::PathBuf {
    directory.join("logs")
}

/// A number that the server counts.
pub(crate) async fn number(lab: &Lab, name: &str) -> u64 {
    let text = lab.anybody.get("/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("there is no {name} in {text}"))
}

/// Submits as `client`; returns the task.
#[track_caller]
pub(crate) fn submit(client: &Client, request: Value) -> impl Future<Output = Value> {
    let client = client.clone();
    async move { client.post("/v1/tasks", request).await.ok(201) }
}

/// Waits until the task is in this state; returns it.
pub(crate) async fn wait(client: &Client, id: &Value, state: &str) -> Value {
    let begun = Instant::now();
    loop {
        let task = client.get(&format!("/v1/tasks/{id}")).await.ok(200);
        if task["state"] == state {
            return task;
        }
        assert!(begun.elapsed() < PATIENCE, "task {id} is never {state}: {task}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
