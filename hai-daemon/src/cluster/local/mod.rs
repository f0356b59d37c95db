//! This machine as a cluster of one or more nodes; workers are processes that outlive the daemon.
//!
//! See [`LocalCluster`] for the primary entry point. Each worker is executed by a [`shim`], a small process of its own
//! session that writes its output and its end to files, so that the daemon may be killed at any time. All that the
//! daemon must remember lies in `run_dir/RUN/RANK/`; whoever holds the lock there decides what becomes of a worker,
//! and a claim that was written there is never executed again. Under systemd the daemon's unit needs
//! `KillMode=process`, otherwise a restart of the daemon ends the work.
//!
//! Processors and memory are counted, not enforced; devices are given by `CUDA_VISIBLE_DEVICES`.

mod checkpoint;
mod config;
mod door;
mod files;
mod follow;
mod journal;
mod launch;
mod machine;
pub(crate) mod order;
mod process;
mod ready;
pub mod shim;
mod standing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::sync::Arc;

use hai_core::backend::{Cluster, Listing, StartOrder, WorkerReport};
use hai_core::model::{Fact, Grace, NodeSpec, RunId, WorkerFate};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cluster::told::{self, Told};
use crate::gpu::reports::ByNode;

pub use config::{LOG_BYTES_MIN, LocalConfig, LocalError};
pub use door::{LocalDoor, WorkerService};
use files::{LEAVE, ORDER, RankDir};
use launch::{Launched, Shim, run_path};
use order::{Leave, WorkerOrder};
use standing::{NotBegun, Standing, lost, refused, settle};

use follow::{Run, Shared, Worker};

/// This machine as a cluster. Dropping it leaves all workers alone; the next one to open its directories finds them.
#[derive(Debug)]
pub struct LocalCluster {
    config: Arc<LocalConfig>,
    nodes: Vec<NodeSpec>,
    shared: Arc<Shared>,
    facts: Told,
    followers: JoinSet<()>,
    /// What is reported of devices, and the facts in it that nobody has heard yet.
    reports: Option<watch::Receiver<ByNode>>,
    told: VecDeque<Fact>,
    /// Where workers reach the daemon over HTTP, if they can.
    service: Option<WorkerService>,
}

impl LocalCluster {
    /// Opens the directories and follows what is found there: workers that execute, and ends that nobody heard of.
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`LocalError`] if the configuration can not be, or a directory can not be used. One run's bad directory is no
    /// error: its workers are lost, or, if it can not even be listed, not known.
    pub async fn open(config: LocalConfig) -> Result<Self, LocalError> {
        config.check()?;
        let config = config.absolute()?;
        let nodes = match config.nodes.is_empty() {
            true => vec![machine::detect(config.devices.clone())?],
            false => config.nodes.clone(),
        };
        nodes.iter().try_for_each(NodeSpec::check)?;
        let config = Arc::new(config);
        let (sender, facts) = told::channel();
        let shared = Arc::new(Shared::new(config.run_dir.clone(), sender));
        let (followers, reports, told) = (JoinSet::new(), None, VecDeque::new());
        let mut cluster = LocalCluster { config, nodes, shared, facts, followers, reports, told, service: None };
        for run in cluster.blocking("open its directories", find_runs).await? {
            // A run that is not seen would be taken for lost, and started a second time.
            cluster.find(run).await?;
        }
        cluster.followers.spawn(cluster.shared.clone().follow_states());
        Ok(cluster)
    }

    /// The same, but it listens to what is reported of its nodes' devices: how they are, and how they are joined.
    #[must_use]
    pub fn with_reports(mut self, reports: watch::Receiver<ByNode>) -> Self {
        let all = reports.borrow().clone();
        for node in &mut self.nodes {
            // Links go by place, so they mean something only if both list the same devices.
            if let Some(report) = all.get(&node.name)
                && node.devices.iter().map(|device| &device.id).eq(report.devices.iter().map(|device| &device.spec.id))
            {
                node.links.clone_from(&report.links);
            }
        }
        self.reports = Some(reports);
        self.take_reports();
        // Whoever lists the nodes sees what was told so far.
        self.told.clear();
        self
    }

    /// The same, and workers that are started from now on reach the daemon over HTTP too.
    #[must_use]
    pub fn with_service(self, service: WorkerService) -> Self {
        LocalCluster { service: Some(service), ..self }
    }

    /// The way from workers to it, if they come over HTTP.
    #[must_use]
    pub fn door(&self) -> Option<LocalDoor> {
        let tokens = self.service.as_ref()?.tokens.clone();
        Some(LocalDoor::new(tokens, self.config.run_dir.clone()))
    }

    /// How many facts wait for the scheduler to take them.
    #[must_use]
    pub fn facts_waiting(&self) -> Gauge {
        self.facts.count()
    }

    /// Its nodes.
    #[must_use]
    pub fn nodes(&self) -> &[NodeSpec] {
        &self.nodes
    }

    /// Takes in how devices are. A device of which nothing is reported stays as it is.
    fn take_reports(&mut self) {
        let Some(reports) = &mut self.reports else { return };
        let all = reports.borrow_and_update().clone();
        for node in &mut self.nodes {
            let Some(report) = all.get(&node.name) else { continue };
            for device in &mut node.devices {
                if let Some(seen) = report.device(&device.id).filter(|seen| seen.spec.health != device.health) {
                    device.health = seen.spec.health.clone();
                    let (node, device, health) = (node.name.clone(), device.id.clone(), device.health.clone());
                    self.told.push_back(Fact::DeviceChanged { node, device, health });
                }
            }
        }
    }

    /// Runs something that may block on the file system.
    async fn blocking<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce(&LocalConfig) -> io::Result<T> + Send + 'static,
    ) -> Result<T, LocalError> {
        let config = self.config.clone();
        let done = tokio::task::spawn_blocking(move || work(&config)).await.map_err(io::Error::other);
        done.and_then(|result| result).map_err(LocalError::io(what))
    }

    /// Takes in a run whose directory is there.
    async fn find(&mut self, run: RunId) -> Result<(), LocalError> {
        let look = move |config: &LocalConfig| find_workers(config, run);
        let (found, master_port) = self.blocking("look at a run's directory", look).await?;
        self.shared.states.add(run, &run_path(&self.config.run_dir, run));
        let checkpoint = checkpoint::read(&run_path(&self.config.run_dir, run));
        let mut workers = BTreeMap::new();
        let mut followed = Vec::new();
        for (rank, standing) in found {
            let worker = match standing {
                Standing::NotBegun => Worker::NotBegun,
                Standing::Ended(exit) => Worker::Ended(exit),
                Standing::Watched(_) | Standing::Unclear => {
                    followed.push(rank);
                    Worker::Followed(None)
                }
            };
            workers.insert(rank, worker);
        }
        self.shared.runs().insert(run, Run { workers, checkpoint, master_port });
        for rank in followed {
            self.follow(run, rank, None);
        }
        Ok(())
    }

    fn follow(&mut self, run: RunId, rank: u32, shim: Option<Shim>) {
        while self.followers.try_join_next().is_some() {}
        let handle = shim.as_ref().map(|shim| shim.handle.clone());
        self.shared.set(run, rank, Worker::Followed(handle));
        self.followers.spawn(self.shared.clone().follow(run, rank, shim));
    }

    fn knows(&self, run: RunId) -> bool {
        self.shared.runs().contains_key(&run)
    }

    /// Starts a run that is not known here.
    async fn begin(&mut self, order: &StartOrder) -> Result<(), LocalError> {
        let run = order.run;
        let ports: BTreeSet<u16> = self.shared.runs().values().map(|run| run.master_port).collect();
        let order = order.clone();
        let service = self.service.clone();
        let begin = move |config: &LocalConfig| launch::begin(config, &order, &ports, service.as_ref());
        let what = format!("make the directories of run {run} and execute {}", self.config.shim.display());
        let (shims, master_port) = self.blocking(&what, begin).await?;
        self.shared.states.add(run, &run_path(&self.config.run_dir, run));
        self.shared.runs().insert(run, Run { master_port, ..Run::default() });
        self.go(run, shims);
        Ok(())
    }

    /// Tells shims to begin. There is no pause in it: all of them are told, or, if it is not reached, none.
    fn go(&mut self, run: RunId, shims: Vec<Launched>) {
        shims.into_iter().for_each(|shim| self.follow(run, shim.rank, Some(shim.go())));
    }

    /// Ends those ranks that are missing from a run that was once whole: somebody removed them, executed or not.
    fn end_missing(&self, order: &StartOrder) {
        let run = order.run;
        for rank in (0_u32..).take(order.placement.workers.len()) {
            let missing = !self.shared.runs().get(&run).is_some_and(|run| run.workers.contains_key(&rank));
            if missing {
                self.shared.ended(run, rank, lost("its directory is gone".to_owned()));
            }
        }
    }

    /// Brings up the shims of those workers of a known run that nobody has begun.
    async fn begin_rest(&mut self, run: RunId) -> Result<(), LocalError> {
        let (ranks, all) = match self.shared.runs().get(&run) {
            Some(known) => {
                let begun = |worker: &Worker| !matches!(worker, Worker::NotBegun);
                let ranks: Vec<u32> =
                    known.workers.iter().filter(|(_, worker)| !begun(worker)).map(|(rank, _)| *rank).collect();
                (ranks, !known.workers.values().any(begun))
            }
            None => return Ok(()),
        };
        if ranks.is_empty() {
            return Ok(());
        }
        let launch = {
            let ranks = ranks.clone();
            move |config: &LocalConfig| launch::launch(config, run, &ranks)
        };
        match self.blocking(&format!("execute {} for run {run}", self.config.shim.display()), launch).await {
            Ok(shims) => self.go(run, shims),
            Err(error) if all => {
                self.shared.runs().remove(&run);
                self.blocking("undo a start", move |config| launch::remove_run(&config.run_dir, run)).await?;
                return Err(error);
            }
            Err(error) => {
                // Some execute already, so the run exists; it ends for want of these.
                for rank in ranks {
                    self.end_not_begun(run, rank, refused(error.to_string())).await?;
                }
            }
        }
        Ok(())
    }

    async fn end_not_begun(&self, run: RunId, rank: u32, fate: WorkerFate) -> Result<(), LocalError> {
        let dir = self.shared.rank_dir(run, rank);
        let end = move |_: &LocalConfig| Ok(settle(&dir, NotBegun::End(fate)));
        if let Standing::Ended(exit) = self.blocking("end a worker that was not begun", end).await? {
            self.shared.ended(run, rank, exit);
        }
        Ok(())
    }

    /// Tells all workers of a run to leave.
    async fn leave(&mut self, run: RunId, grace: Grace) -> Result<(), LocalError> {
        let ranks: Vec<u32> = match self.shared.runs().get(&run) {
            Some(known) => {
                let live = known.workers.iter().filter(|(_, worker)| !matches!(worker, Worker::Ended(_)));
                live.map(|(rank, _)| *rank).collect()
            }
            None => return Ok(()),
        };
        let dirs: Vec<RankDir> = ranks.iter().map(|rank| self.shared.rank_dir(run, *rank)).collect();
        let write = move |_: &LocalConfig| {
            for dir in dirs {
                if let Err(error) = dir.write(LEAVE, &Leave { grace }) {
                    tracing::warn!(dir = %dir.path().display(), %error, "the grace of its order counts");
                }
            }
            Ok(())
        };
        self.blocking("write down that a run must leave", write).await?;
        let mut not_begun = Vec::new();
        if let Some(known) = self.shared.runs().get(&run) {
            for rank in ranks {
                match known.workers.get(&rank) {
                    Some(Worker::Followed(Some(handle))) => {
                        follow::signal(handle).map_err(LocalError::io(format!("signal rank {rank} of run {run}")))?;
                    }
                    Some(Worker::NotBegun) => not_begun.push(rank),
                    // Who finds its shim sees what was written above, and signals it.
                    Some(Worker::Followed(None)) | Some(Worker::Ended(_)) | None => {}
                }
            }
        }
        for rank in not_begun {
            // What was written above decides how it ends.
            self.end_not_begun(run, rank, standing::never_executed().fate).await?;
        }
        Ok(())
    }
}

impl Cluster for LocalCluster {
    type Error = LocalError;

    /// Workers that nobody has begun yet are left out: their run's start must be ordered again.
    async fn list(&mut self) -> Result<Listing, LocalError> {
        let mut workers = Vec::new();
        for (run, known) in self.shared.runs().iter() {
            let whole_life_state = known.checkpoint.map(|checkpoint| checkpoint.whole_life_state);
            for (rank, worker) in &known.workers {
                let exit = match worker {
                    Worker::NotBegun => continue,
                    Worker::Followed(_) => None,
                    Worker::Ended(exit) => Some(exit.clone()),
                };
                workers.push(WorkerReport { run: *run, rank: *rank, whole_life_state, exit });
            }
        }
        Ok(Listing { nodes: self.nodes.clone(), workers })
    }

    async fn start(&mut self, order: &StartOrder) -> Result<(), LocalError> {
        let strange =
            order.placement.workers.iter().find(|place| self.nodes.iter().all(|node| node.name != place.node));
        if let Some(place) = strange {
            return Err(LocalError::UnknownNode { run: order.run, node: place.node.clone() });
        }
        if !self.knows(order.run) {
            if !run_path(&self.config.run_dir, order.run).exists() {
                return self.begin(order).await;
            }
            self.find(order.run).await?;
        }
        self.end_missing(order);
        self.begin_rest(order.run).await
    }

    async fn suspend(&mut self, run: RunId, grace: Grace) -> Result<(), LocalError> {
        self.leave(run, grace).await
    }

    async fn stop(&mut self, run: RunId, grace: Grace) -> Result<(), LocalError> {
        self.leave(run, grace).await
    }

    async fn forget(&mut self, run: RunId) -> Result<(), LocalError> {
        let live = |known: &Run| known.workers.values().any(|worker| matches!(worker, Worker::Followed(_)));
        if self.shared.runs().get(&run).is_some_and(live) {
            return Err(LocalError::StillExecutes { run });
        }
        self.shared.runs().remove(&run);
        let what = format!("remove the directories of run {run}");
        self.blocking(&what, move |config| launch::remove_run(&config.run_dir, run)).await
    }

    async fn next(&mut self) -> Fact {
        loop {
            if let Some(fact) = self.told.pop_front() {
                return fact;
            }
            tokio::select! {
                fact = self.facts.next() => return fact,
                () = changed(&mut self.reports) => self.take_reports(),
            }
        }
    }
}

/// Returns when there is something new; never if there never will be.
async fn changed(reports: &mut Option<watch::Receiver<ByNode>>) {
    if let Some(listening) = reports
        && listening.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Makes the directories, removes what a crash left half made or half removed, and finds the runs.
fn find_runs(config: &LocalConfig) -> io::Result<Vec<RunId>> {
    fs::create_dir_all(&config.run_dir)?;
    fs::create_dir_all(&config.log_dir)?;
    let mut runs = Vec::new();
    for entry in fs::read_dir(&config.run_dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(launch::STAGED) || name.starts_with(launch::REMOVED) {
            if let Err(error) = launch::remove(&entry.path()) {
                tracing::warn!(dir = %entry.path().display(), %error, "what a crash left can not be removed");
            }
            continue;
        }
        match number(&name).filter(|_| entry.path().is_dir()) {
            Some(run) => runs.push(RunId(run)),
            None => tracing::warn!(path = %entry.path().display(), "this is no run and does not belong here"),
        }
    }
    runs.sort_unstable();
    Ok(runs)
}

/// How the workers of a run stand, and the port that they were given.
fn find_workers(config: &LocalConfig, run: RunId) -> io::Result<(Vec<(u32, Standing)>, u16)> {
    let mut workers = Vec::new();
    let mut port = 0;
    for entry in fs::read_dir(run_path(&config.run_dir, run))? {
        let entry = entry?;
        let rank = entry.file_name().to_str().and_then(number).and_then(|rank| u32::try_from(rank).ok());
        if let Some(rank) = rank {
            let dir = RankDir::new(entry.path());
            if let Ok(Some(order)) = dir.read::<WorkerOrder>(ORDER) {
                port = order.master_port;
            }
            workers.push((rank, settle(&dir, NotBegun::Keep)));
        }
    }
    workers.sort_unstable_by_key(|(rank, _)| *rank);
    Ok((workers, port))
}

/// The number that is written like this, and only like this.
fn number(name: &str) -> Option<u64> {
    name.parse().ok().filter(|number: &u64| number.to_string() == name)
}
