//! The daemon: composes configuration, store, cluster, scheduler and API, and runs them until told to stop.
//!
//! See [`serve`] for the primary entry point. A daemon that stops leaves the work on its machine running; the next one
//! takes it over.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hai_core::backend::{Command, Driver, Fence};
use hai_core::model::{Fact, NodeName, UserName};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Agents, ApiState, Defaults, Workers};
use crate::cli::welcome::{Started, welcome};
use crate::cluster::AnyCluster;
use crate::cluster::kubernetes::{Herald, KubernetesCluster, KubernetesError};
use crate::cluster::local::{LocalCluster, LocalConfig};
use crate::compose::{self, LOG_SEGMENTS, LocalLogs};
use crate::config::{ClusterKind, Config, Devices, Environment};
use crate::data_dir::{DirLock, make_private_dir, write_address, write_token};
use crate::gpu::health::Limits;
use crate::gpu::observer::Rules;
use crate::gpu::report::NodeReport;
use crate::gpu::reports::Reports;
use crate::gpu::strangers::{LocalWorkers, Tolerance};
use crate::gpu::watching::{self, Options, Watching, look_once};
use crate::herald;
use crate::leading::{self, Lead, Led, Lost};
use crate::scheduler::{self, wall_clock};
use crate::setup::{Plan, connect, doctor};
use crate::standby::Standby;
use crate::store::{
    Accounts, AnyStore, Patience, Patient, PostgresStore, SqliteStore, StoreError, StoreHealth, Token, change_users,
};

/// The agent whose token the environment brings.
const AGENT: &str = "agent";
/// Where it brings it.
const AGENT_TOKEN: &str = "HAI_AGENT_TOKEN";
/// The operator whose token lies in the data directory.
const OPERATOR: &str = "operator";
/// The name of the pod that it is, if it is one.
const POD_NAME: &str = "HAI_POD_NAME";
/// The address of that pod.
const POD_ADDRESS: &str = "HAI_POD_IP";
/// When a cluster that could not be opened is tried again.
const OPEN_AGAIN: Duration = Duration::from_secs(2);
/// How long an API server that was away may take to read its roles once it answers.
const ROLES_READ: Duration = Duration::from_secs(30);
/// How often this machine's GPUs are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a daemon that is to stop waits for its database.
const STOP_MAX: Duration = Duration::from_secs(5);

/// Runs a daemon with this configuration until it is told to stop by SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from running, with what was being done.
pub async fn serve(config: &Config, environment: &Environment) -> Result<()> {
    if config.cluster.kind == ClusterKind::Kubernetes {
        // What can not work is told at once, and before anything is opened.
        let plan = Plan::of_config(config, "")?;
        let client = connect::client(&plan).await.map_err(anyhow::Error::msg)?;
        doctor::fatal(&plan, &client).await.map_err(anyhow::Error::msg)?;
    }
    let dir = environment.expand(&config.data.dir).map_err(anyhow::Error::msg)?;
    let first = make_private_dir(&dir)?;
    allow_many_files();
    // What a file is to one daemon the database is to several, which may share a directory.
    let _lock = DirLock::take(&dir, config.data.database.is_some())?;

    let health = StoreHealth::default();
    let store = open_store(config, &dir, &health).await.context("the database can not be opened")?;
    let (reader, accounts) = (store.reader(), store.accounts());
    let listen = config.server.listen.as_str();
    let listener = TcpListener::bind(listen).await.with_context(|| format!("can not listen on {listen}"))?;
    let address = listener.local_addr().context("the listener has no address")?;
    let log_dir = dir.join("logs");
    let (lead, keeper) = match &store {
        AnyStore::Sqlite(_) => (None, None),
        AnyStore::Postgres(postgres) => {
            let holder =
                leading::holder::own().context("this process can not tell itself from others: is there no /proc?")?;
            let candidate = postgres.candidate(holder, advertised(address, environment));
            // Of workers in pods the leader alone keeps the output; else all share the directory.
            let logs = (config.cluster.kind == ClusterKind::Local).then(|| log_dir.clone());
            let standby = Standby::new(&listener, postgres, logs, defaults(config));
            let leading = tokio::select! {
                leading = standby.wait(candidate, address) => leading?,
                () = told_to_stop() => return Ok(()),
            };
            (Some(leading.0), Some(leading.1))
        }
    };
    // Opening may take longer than a lead lasts.
    let mut keeping = keeper.clone().map(|keeper| tokio::spawn(async move { keeper.keep().await }));
    let keeping_users = async {
        keep_operator(&dir, &accounts, lead.is_some(), &health).await?;
        keep_agent(&accounts, environment, &health).await
    };
    tokio::select! {
        kept = keeping_users => kept?,
        () = told_to_stop() => return Ok(()),
    }
    let reports = Reports::new();
    let workers: Option<Arc<dyn Workers>>;
    let mut agents: Option<Arc<dyn Agents>> = None;
    let (mut watched, mut herald) = (None, None);
    let cluster = match config.cluster.kind {
        ClusterKind::Local => {
            let (cluster, watching) = local_cluster(config, &dir, &log_dir).await?;
            if let (Some(watching), [node, ..]) = (&watching, cluster.nodes()) {
                show_own(&reports, &node.name, watching)?;
            }
            watched = watching;
            let cluster = cluster.with_service(compose::worker_service(&dir, address)?);
            workers = cluster.door().map(|door| -> Arc<dyn Workers> { Arc::new(compose::ProcessWorkers(door)) });
            AnyCluster::Local(cluster.with_reports(reports.subscribe()))
        }
        ClusterKind::Kubernetes => {
            let opening =
                async || compose::kubernetes_cluster(config, &dir, &log_dir, &reports, agent_token(environment)).await;
            let cluster = tokio::select! {
                cluster = patiently(opening) => cluster?,
                lost = kept(&mut keeping) => return Err(lost.into()),
                () = told_to_stop() => {
                    if let Some(keeper) = &keeper {
                        keeper.give_up().await;
                    }
                    return Ok(());
                }
            };
            herald = Some(cluster.herald(own_name(environment), advertised(address, environment)));
            workers = Some(Arc::new(compose::PodWorkers(cluster.door())));
            agents = Some(Arc::new(compose::PodAgents(cluster.agents())));
            AnyCluster::Kubernetes(cluster)
        }
    };
    let waiting = cluster.facts_waiting();
    let opening = async {
        let (store, cluster) = (Patient::new(store, health.clone()), Led::new(cluster, lead.clone()));
        let mut driver = Driver::open(config.engine(), store, cluster, wall_clock()).await?;
        set_first_rights(&mut driver, config).await?;
        anyhow::Ok(driver)
    };
    let driver = tokio::select! {
        driver = opening => driver?,
        () = told_to_stop() => return Ok(()),
    };
    let fence = driver.fence();
    let (nodes, devices) =
        driver.engine().nodes().fold((0, 0), |(nodes, devices), node| (nodes + 1, devices + node.spec.devices.len()));

    write_address(&dir, address)?;

    let (handle, inbox) = scheduler::channel();
    let logs = Arc::new(LocalLogs::new(log_dir));
    let mut state = ApiState::new(handle, reader, accounts, logs, defaults(config))
        .with_reports(reports)
        .with_store(health, waiting);
    if let Some(workers) = workers {
        state = state.with_workers(workers);
    }
    if let Some(agents) = agents {
        state = state.with_agents(agents);
    }
    let stop = CancellationToken::new();
    let mut scheduling = tokio::spawn(scheduler::run(driver, inbox, stop.clone()));
    let mut serving = tokio::spawn(api::serve(listener, state, stop.clone()));
    eprint!("{}", welcome(&Started { listen: address, data_dir: &dir, first, nodes, devices }, environment));

    // Whichever part ends first takes the others along.
    let mut lost = None;
    let (scheduled, served) = tokio::select! {
        () = told_to_stop() => (None, None),
        () = telling(herald.as_mut(), fence, lead) => (None, None),
        other = kept(&mut keeping) => {
            lost = Some(other);
            (None, None)
        }
        ended = &mut scheduling => (Some(ended), None),
        ended = &mut serving => (None, Some(ended)),
    };
    stop.cancel();
    let served = match served {
        Some(served) => served,
        None => serving.await,
    };
    let scheduled = match scheduled {
        Some(scheduled) => scheduled,
        None => match tokio::time::timeout(STOP_MAX, &mut scheduling).await {
            Ok(scheduled) => scheduled,
            Err(_) => {
                // As if it had been killed: what is not stored was promised to nobody.
                scheduling.abort();
                tracing::warn!("what was to be stored last was not within {STOP_MAX:?}: the database does not answer");
                Ok(Ok(()))
            }
        },
    };
    drop(watched);
    if let Some(lost) = lost {
        return Err(lost.into());
    }
    if let Some((keeper, keeping)) = keeper.zip(keeping) {
        keeping.abort();
        keeper.give_up().await;
    }
    if let Some(herald) = &herald {
        herald::fall_silent(herald, fence).await;
    }
    scheduled.context("the scheduler panicked")?.context("the scheduler stopped")?;
    served.context("the server panicked")?.context("the server failed")?;
    tracing::info!("stopped; what runs goes on, and the next daemon takes it over");
    Ok(())
}

/// Returns once another has the lead; never where nobody else can have it.
async fn kept(keeping: &mut Option<JoinHandle<Lost>>) -> Lost {
    match keeping {
        Some(keeping) => keeping.await.unwrap_or(Lost { leader: String::new() }),
        None => std::future::pending().await,
    }
}

/// Tells who leads, where somebody can be told; for ever.
async fn telling(herald: Option<&mut Herald>, fence: Fence, lead: Option<Lead>) {
    match herald {
        Some(herald) => herald::tell(herald, fence, lead).await,
        None => std::future::pending().await,
    }
}

/// Opens a cluster, again and again while that fails for something that passes: who has just taken over while the API server is
/// away keeps the lead, and shows so, instead of ending and beginning in a loop.
async fn patiently<F>(open: impl Fn() -> F) -> Result<KubernetesCluster>
where
    F: Future<Output = Result<KubernetesCluster>>,
{
    let mut away: Option<Instant> = None;
    loop {
        let error = match open().await {
            Ok(cluster) => return Ok(cluster),
            Err(error) => error,
        };
        match error.downcast_ref::<KubernetesError>() {
            Some(known) if known.may_pass() => away = Some(Instant::now()),
            // One that has just begun refuses what it allows once it has read its roles.
            Some(KubernetesError::Api { .. }) if away.is_some_and(|last| last.elapsed() < ROLES_READ) => {}
            _ => return Err(error),
        }
        tracing::warn!("{error:#}; it is tried again");
        tokio::time::sleep(OPEN_AGAIN).await;
    }
}

/// Where others reach this daemon, as far as it knows. A pod's name is no host's, but its address may be told.
fn advertised(address: SocketAddr, environment: &Environment) -> String {
    if !address.ip().is_unspecified() {
        return format!("http://{address}");
    }
    let told = environment.vars.get(POD_ADDRESS).and_then(|told| told.to_str()?.parse::<IpAddr>().ok());
    match told {
        Some(told) => format!("http://{}", SocketAddr::new(told, address.port())),
        None => format!("http://{}:{}", host(), address.port()),
    }
}

/// What people know this daemon by.
fn own_name(environment: &Environment) -> String {
    let pod = environment.vars.get(POD_NAME).and_then(|name| name.to_str()).filter(|name| !name.is_empty());
    pod.map_or_else(host, str::to_owned)
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A server that is not there yet is waited for; a file is not.
async fn open_store(config: &Config, dir: &Path, health: &StoreHealth) -> Result<AnyStore, StoreError> {
    match &config.data.database {
        Some(url) => {
            let mut patience = Patience::new(health);
            loop {
                if let Some(store) = patience.last(PostgresStore::open(url.secret()).await).await {
                    return Ok(store?.into());
                }
            }
        }
        None => Ok(SqliteStore::open(dir.join("hai.sqlite")).await?.into()),
    }
}

fn defaults(config: &Config) -> Defaults {
    Defaults {
        group: config.tasks.default_group.clone(),
        priority: config.tasks.default_priority,
        body_bytes_max: usize::try_from(config.server.body_bytes_max.0).unwrap_or(usize::MAX),
        images: config.cluster.kind == ClusterKind::Kubernetes,
    }
}

/// This machine as a cluster, and the watch over its GPUs if it has any and no other nodes are declared.
async fn local_cluster(config: &Config, dir: &Path, log_dir: &Path) -> Result<(LocalCluster, Option<Watching>)> {
    let run_dir = std::path::absolute(dir.join("runs")).context("the data directory")?;
    let (mut devices, mut watching) = (Vec::new(), None);
    if config.nodes.is_empty() {
        let Devices { library, allow, stranger_memory, .. } = config.devices.clone();
        let owners = Arc::new(LocalWorkers::of(&run_dir));
        let tolerance = Tolerance { programs: allow, memory_mib: stranger_memory.0 >> 20 };
        let rules = Rules { limits: Limits::default(), tolerance, owners };
        let options = Options { nvml: Some(library.into()), every: LOOK_EVERY, rules };
        let begin = move || -> Result<_> {
            // A library that is there but does not work is told at once, and once.
            let found = look_once(&options)?;
            if found.devices.is_empty() {
                return Ok((found, None));
            }
            let watching = watching::start(options)?;
            Ok((NodeReport::clone(&watching.last()), Some(watching)))
        };
        let begun = tokio::task::spawn_blocking(begin).await?.context("this machine's GPUs can not be read")?;
        (devices, watching) = (begun.0.specs(), begun.1);
        if devices.is_empty() {
            devices = config.devices.pretend();
            if !devices.is_empty() {
                tracing::info!(
                    devices = devices.len(),
                    "no GPU here: some are pretended; [devices] simulated = 0 stops that"
                );
            }
        }
    }
    let config = LocalConfig {
        run_dir,
        log_dir: log_dir.to_owned(),
        shim: std::env::current_exe().context("this program's own path can not be found")?,
        nodes: config.nodes.clone(),
        devices,
        log_bytes_max: config.tasks.log_bytes_max.0,
        log_segments: LOG_SEGMENTS,
    };
    Ok((LocalCluster::open(config).await?, watching))
}

/// Keeps what is seen of this machine's own GPUs with what is reported of other nodes'.
fn show_own(reports: &Reports, node: &NodeName, watching: &Watching) -> Result<()> {
    reports.set_own(node.clone());
    let mut seen = watching.reports();
    reports.put(node.clone(), NodeReport::clone(&seen.borrow_and_update()), wall_clock())?;
    let (reports, node) = (reports.clone(), node.clone());
    tokio::spawn(async move {
        while seen.changed().await.is_ok() {
            let report = NodeReport::clone(&seen.borrow_and_update());
            if let Err(error) = reports.put(node.clone(), report, wall_clock()) {
                tracing::warn!(%error, "what is seen of this machine's GPUs can not be");
            }
        }
    });
    Ok(())
}

fn agent_token(environment: &Environment) -> Option<&str> {
    environment.vars.get(AGENT_TOKEN).and_then(|value| value.to_str())
}

/// An agent whose token somebody else made, and gave to the agents too: so that both sides can be set up at once.
async fn keep_agent(accounts: &Accounts, environment: &Environment, health: &StoreHealth) -> Result<()> {
    let Some(text) = agent_token(environment) else { return Ok(()) };
    let token = Token::given(text.trim()).with_context(|| {
        format!("{AGENT_TOKEN} is no token; it must be `hai_` and 64 hexadecimal digits (0-9, a-f)")
    })?;
    let name = UserName::new(AGENT).context("the agent's name")?;
    let kept = change_users(health, async || accounts.ensure_agent(&name, &token).await).await;
    kept.map(drop).with_context(|| format!("the token in {AGENT_TOKEN} can not be taken"))
}

/// A store without any right gets those of the configuration, and its teams if it has none; from then on both are
/// changed through the API.
async fn set_first_rights<S, C>(driver: &mut Driver<S, C>, config: &Config) -> Result<()>
where
    S: hai_core::backend::Store,
    C: hai_core::backend::Cluster,
{
    if driver.engine().rights().next().is_some() {
        return Ok(());
    }
    let rights = config.rights.iter().cloned().map(|right| Command::Tell(Fact::RightSet { right }));
    let any_team = driver.engine().teams().next().is_some();
    let teams = config.teams.iter().filter(|_| !any_team).cloned();
    let teams = teams.map(|team| Command::Tell(Fact::TeamSet { team }));
    for reply in driver.step(wall_clock(), teams.chain(rights).collect()).await? {
        reply.context("a team or right of the configuration can not be set")?;
    }
    Ok(())
}

async fn told_to_stop() {
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    match (terminate, interrupt) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        _ => {
            tracing::warn!("signals can not be waited for; the daemon ends only by force");
            std::future::pending::<()>().await;
        }
    }
}

/// Every worker that executes takes a descriptor, and every listener one.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if let Err(error) = raised {
        tracing::warn!(%error, limit = limit.current, "the limit of open files can not be raised");
    }
}

/// Sees to it that there is an operator, and that the token in the data directory is theirs. If the file is gone, or a
/// crash came between the database and the file, they get another token; not if other daemons may have the file.
async fn keep_operator(dir: &Path, accounts: &Accounts, shared: bool, health: &StoreHealth) -> Result<()> {
    let operator = &UserName::new(OPERATOR).context("the operator's name")?;
    let made = change_users(health, async || accounts.ensure_operator(operator).await).await;
    let (made, maybe_ours) = made.context("the operator can not be added")?;
    let token = match made {
        Some(token) => token,
        None if dir.join("token").exists() => return Ok(()),
        // Unless this daemon made it a moment ago, and did not hear of it.
        None if shared && !maybe_ours => {
            tracing::warn!(
                "the operator's token lies in the data directory of the daemon that made it, not in {}; if it is lost, \
                 `UPDATE users SET disabled = 1 WHERE name = '{operator}'` in the database makes the next start give another",
                dir.display()
            );
            return Ok(());
        }
        None => {
            let rotated = change_users(health, async || accounts.rotate(operator).await).await;
            rotated.context("the operator can not get a new token")?.0
        }
    };
    write_token(dir, &token)
}
