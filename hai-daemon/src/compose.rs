//! What each part of the daemon is made from, taken from the configuration, which knows none of them.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::future::Future;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hai_core::model::{Grace, NodeName, RunId};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::api::{Agents, LogPart, LogSource, WorkerLog, Workers};
use crate::cluster::WorkerTokens;
use crate::cluster::kubernetes::{
    self, AgentDoor, Devices, GpuMode, GroupConfig, KubernetesCluster, KubernetesConfig, KubernetesError,
    LocationLabels, Mount, MountSource, NodeDevices, RunAs, Silence, WorkerDoor,
};
use crate::cluster::local::{LocalDoor, WorkerService};
use crate::cluster::logs::LogReader;
use crate::config::{self, Config, KubernetesGpus, KubernetesGroup, KubernetesMount, KubernetesSource};
use crate::gpu::reports::{ByNode, Reports};
use crate::python;

/// Files that the output of one worker is spread over.
pub(crate) const LOG_SEGMENTS: u32 = 8;

/// What a Kubernetes cluster is made from; workers' output is kept in `log_dir`.
#[must_use]
pub fn kubernetes_config(config: &Config, log_dir: PathBuf) -> KubernetesConfig {
    // Whole, so that a setting that nobody takes is missed here.
    let config::Kubernetes {
        namespace,
        instance,
        // How the API server is reached is for who connects to it.
        kubeconfig: _,
        context: _,
        server,
        group_label,
        leaf_label,
        spine_label,
        zone_label,
        image,
        image_pull_policy,
        image_pull_secrets,
        service_account,
        tolerates,
        lost_after,
        image_patience,
        // What may be mounted was checked when the configuration was read.
        host_paths: _,
        run_as: others,
        users,
        groups,
        mounts,
    } = &config.kubernetes;
    KubernetesConfig {
        instance: instance.as_str().to_owned(),
        namespace: namespace.as_str().to_owned(),
        group_label: group_label.as_str().to_owned(),
        groups: groups.iter().map(group).collect(),
        location: LocationLabels {
            leaf: leaf_label.as_str().to_owned(),
            spine: spine_label.as_str().to_owned(),
            zone: zone_label.as_str().to_owned(),
        },
        image: image.as_ref().map(|image| image.as_str().to_owned()),
        image_pull_policy: image_pull_policy.map(|policy| policy.word().to_owned()),
        image_pull_secrets: image_pull_secrets.iter().map(|secret| secret.as_str().to_owned()).collect(),
        service_account: service_account.as_ref().map(|account| account.as_str().to_owned()),
        tolerates: tolerates.iter().map(|taint| taint.as_str().to_owned()).collect(),
        mounts: mounts.iter().map(mount).collect(),
        users: users.iter().map(|(user, numbers)| (user.clone(), run_as(*numbers))).collect(),
        run_as: others.map(run_as),
        server: server.as_ref().map(|server| server.as_str().to_owned()),
        lost_after: lost_after.to_std(),
        image_patience: image_patience.to_std(),
        log_dir,
        log_bytes_max: config.tasks.log_bytes_max.0,
        log_segments: LOG_SEGMENTS,
    }
}

fn group(group: &KubernetesGroup) -> GroupConfig {
    GroupConfig {
        name: group.name.clone(),
        nodes: group.nodes.iter().map(|node| node.as_str().to_owned()).collect(),
        gpus: match group.gpus {
            KubernetesGpus::Visible => GpuMode::Visible,
            KubernetesGpus::Plugin => GpuMode::Plugin,
        },
        runtime_class: group.runtime_class.as_ref().map(|class| class.as_str().to_owned()),
    }
}

fn mount(mount: &KubernetesMount) -> Mount {
    Mount {
        name: mount.name.as_str().to_owned(),
        path: mount.path.as_str().to_owned(),
        source: match &mount.source {
            KubernetesSource::HostPath(path) => MountSource::HostPath(path.as_str().to_owned()),
            KubernetesSource::Nfs(export) => {
                MountSource::Nfs { server: export.server.clone(), path: export.path.as_str().to_owned() }
            }
            KubernetesSource::Claim(claim) => MountSource::Claim(claim.as_str().to_owned()),
        },
        sub_path: mount.sub_path.as_ref().map(|path| path.as_str().to_owned()),
        read_only: mount.read_only,
        users: mount.users.clone(),
    }
}

fn run_as(numbers: config::RunAs) -> RunAs {
    RunAs { uid: i64::from(numbers.uid), gid: i64::from(numbers.gid) }
}

/// Kubernetes as the cluster: what agents report goes to it, and which pods are hai's goes back to them. `shared` is a secret
/// that all daemons over one database have, from which the one for workers' tokens then comes; else it lies in `dir`.
///
/// # Errors
/// What keeps it from being used, in one line.
pub async fn kubernetes_cluster(
    config: &Config,
    dir: &Path,
    log_dir: &Path,
    reports: &Reports,
    shared: Option<&str>,
) -> Result<KubernetesCluster> {
    let settings = &config.kubernetes;
    let context = settings.context.as_ref().map(|context| context.as_str());
    let client = kubernetes::client(settings.kubeconfig.as_deref(), context, Silence::OfWatches).await;
    let client = client.map_err(KubernetesError::from)?;
    let secret = match (&config.data.database, shared) {
        (Some(_), Some(shared)) => Sha256::digest(format!("hai-worker-secret {shared}")).into(),
        _ => keep_secret(&dir.join("worker-secret"))?,
    };
    let mut heard = reports.subscribe();
    let (sender, devices) = watch::channel(devices_of(&heard.borrow_and_update().clone()));
    let cluster =
        KubernetesCluster::open(client, kubernetes_config(config, log_dir.to_owned()), secret, devices).await?;
    tokio::spawn(async move {
        while heard.changed().await.is_ok() {
            sender.send_replace(devices_of(&heard.borrow_and_update().clone()));
        }
    });
    let (mut pods, reports) = (cluster.pods(), reports.clone());
    tokio::spawn(async move {
        loop {
            reports.set_workers(pods.borrow_and_update().clone());
            if pods.changed().await.is_err() {
                return;
            }
        }
    });
    Ok(cluster)
}

fn devices_of(reports: &ByNode) -> Devices {
    let of =
        |report: &crate::gpu::report::NodeReport| NodeDevices { devices: report.specs(), links: report.links.clone() };
    Arc::new(reports.iter().map(|(node, report)| (node.clone(), of(report))).collect::<BTreeMap<_, _>>())
}

/// The secret that workers' tokens are sealed with: made once, and the same after every restart.
fn keep_secret(path: &Path) -> Result<[u8; 32]> {
    let what = || format!("the secret of workers' tokens in {}", path.display());
    match std::fs::read(path) {
        Ok(bytes) => bytes.try_into().map_err(|_| anyhow::anyhow!("{} is damaged; remove the file", what())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut secret = [0; 32];
            getrandom::fill(&mut secret).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
            let fresh = path.with_extension("new");
            let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh);
            open.and_then(|mut file| file.write_all(&secret).and_then(|()| file.sync_all()))
                .and_then(|()| std::fs::rename(&fresh, path))
                .with_context(what)?;
            Ok(secret)
        }
        Err(error) => Err(error).with_context(what),
    }
}

/// Workers in pods, which come in over HTTP.
#[derive(Clone, Debug)]
pub struct PodWorkers(pub WorkerDoor);

impl Workers for PodWorkers {
    fn worker(&self, token: &str) -> Option<(RunId, u32)> {
        self.0.worker(token)
    }

    fn must_leave(&self, run: RunId, patience: Duration) -> Pin<Box<dyn Future<Output = Option<Grace>> + Send>> {
        let door = self.0.clone();
        Box::pin(async move { door.must_leave(run, patience).await })
    }

    fn trouble(&self, run: RunId) -> Option<String> {
        self.0.trouble(run)
    }

    fn heard(&self, run: RunId, rank: u32) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        let door = self.0.clone();
        Box::pin(async move { door.heard(run, rank).await.map_err(|error| error.to_string()) })
    }

    fn done(&self, run: RunId, rank: u32) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        let door = self.0.clone();
        Box::pin(async move { door.done(run, rank).await.map_err(|error| error.to_string()) })
    }
}

/// Agents in pods, whom Kubernetes vouches for.
#[derive(Clone, Debug)]
pub(crate) struct PodAgents(pub(crate) AgentDoor);

impl Agents for PodAgents {
    fn node_of(&self, token: &str) -> Pin<Box<dyn Future<Output = Result<Option<NodeName>, String>> + Send>> {
        let (door, token) = (self.0.clone(), token.to_owned());
        Box::pin(async move { door.node_of(&token).await.map_err(|error| error.to_string()) })
    }
}

/// How workers of this machine reach the daemon, which listens there.
///
/// # Errors
/// What keeps the secret or the modules from being kept in `dir`.
pub fn worker_service(dir: &Path, address: SocketAddr) -> Result<WorkerService> {
    let python = std::path::absolute(dir.join("python")).context("the data directory")?;
    python::install(&python)
        .with_context(|| format!("the Python modules can not be written to {}", python.display()))?;
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let server = format!("http://{}", SocketAddr::new(ip, address.port()));
    Ok(WorkerService { server, tokens: WorkerTokens::new(keep_secret(&dir.join("worker-secret"))?), python })
}

/// Workers on this machine, which come in over HTTP.
#[derive(Clone, Debug)]
pub struct ProcessWorkers(pub LocalDoor);

impl ProcessWorkers {
    fn write(&self, what: impl FnOnce(&LocalDoor) -> std::io::Result<()> + Send + 'static) -> Writing {
        let door = self.0.clone();
        Box::pin(async move {
            let written = tokio::task::spawn_blocking(move || what(&door)).await;
            written.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
        })
    }
}

type Writing = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

impl Workers for ProcessWorkers {
    fn worker(&self, token: &str) -> Option<(RunId, u32)> {
        self.0.worker(token)
    }

    /// What goes wrong here ends the worker, which tells it.
    fn trouble(&self, _: RunId) -> Option<String> {
        None
    }

    fn must_leave(&self, run: RunId, patience: Duration) -> Pin<Box<dyn Future<Output = Option<Grace>> + Send>> {
        let door = self.0.clone();
        Box::pin(async move { door.must_leave(run, patience).await })
    }

    fn heard(&self, run: RunId, rank: u32) -> Writing {
        self.write(move |door| door.heard(run, rank))
    }

    fn done(&self, run: RunId, rank: u32) -> Writing {
        self.write(move |door| door.done(run, rank))
    }
}

/// The output of this machine's workers.
#[derive(Debug)]
pub(crate) struct LocalLogs {
    dir: PathBuf,
}

impl LocalLogs {
    pub(crate) fn new(dir: PathBuf) -> Self {
        LocalLogs { dir }
    }
}

impl LogSource for LocalLogs {
    fn read(&self, worker: WorkerLog, offset: u64, bytes_max: usize) -> std::io::Result<LogPart> {
        let reader = LogReader::open(&self.dir, worker.task, worker.run, worker.rank);
        let chunk = reader.read(offset, bytes_max)?;
        Ok(LogPart {
            offset: chunk.offset,
            end: chunk.end,
            bytes: chunk.bytes,
            first_available: chunk.first_available,
            complete: chunk.complete,
        })
    }
}
