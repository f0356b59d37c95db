//! The daemon: composes configuration, store, cluster, scheduler and API, and runs them until told to stop.
//!
//! See [`serve`] for the primary entry point. A daemon that stops leaves the work on its machine running; the next one
//! takes it over.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hai_core::backend::{Command, Driver};
use hai_core::model::{Fact, NodeName, UserName};
use rustix::fs::FlockOperation;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::{self, ApiState, Defaults, Workers};
use crate::cli::welcome::{Started, welcome};
use crate::cluster::AnyCluster;
use crate::cluster::local::{LocalCluster, LocalConfig};
use crate::compose::{self, LOG_SEGMENTS, LocalLogs};
use crate::config::{ClusterKind, Config, Devices, Environment};
use crate::gpu::health::Limits;
use crate::gpu::observer::Rules;
use crate::gpu::report::NodeReport;
use crate::gpu::reports::Reports;
use crate::gpu::strangers::{LocalWorkers, Tolerance};
use crate::gpu::watching::{self, Options, Watching, look_once};
use crate::leading::{self, Led, Lost};
use crate::retention;
use crate::scheduler::{self, wall_clock};
use crate::setup::{Plan, connect, doctor};
use crate::standby::Standby;
use crate::store::{Accounts, AnyStore, Patience, Patient, PostgresStore, SqliteStore, StoreError, StoreHealth, Token};

/// The agent whose token the environment brings.
const AGENT: &str = "agent";
/// Where it brings it.
const AGENT_TOKEN: &str = "HAI_AGENT_TOKEN";
/// The operator whose token lies in the data directory.
const OPERATOR: &str = "operator";
/// How often this machine's GPUs are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long another daemon may take to let go of the data directory.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

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
    let (reader, accounts, history) = (store.reader(), store.accounts(), store.history());
    let listen = config.server.listen.as_str();
    let listener = TcpListener::bind(listen).await.with_context(|| format!("can not listen on {listen}"))?;
    let address = listener.local_addr().context("the listener has no address")?;
    let log_dir = dir.join("logs");
    let (lead, keeper) = match &store {
        AnyStore::Sqlite(_) => (None, None),
        AnyStore::Postgres(postgres) => {
            let holder =
                leading::holder::own().context("this process can not tell itself from others: is there no /proc?")?;
            let candidate = postgres.candidate(holder, advertised(address));
            let standby = Standby::new(&listener, &store, log_dir.clone(), defaults(config));
            let leading = tokio::select! {
                leading = standby.wait(candidate, address) => leading?,
                () = told_to_stop() => return Ok(()),
            };
            (Some(leading.0), Some(leading.1))
        }
    };
    // Opening may take longer than a lead lasts.
    let mut keeping = keeper.clone().map(|keeper| tokio::spawn(async move { keeper.keep().await }));
    let operator = UserName::new(OPERATOR).context("the operator's name")?;
    keep_operator(&dir, &accounts, &operator, lead.is_some()).await?;

    keep_agent(&accounts, environment).await?;
    let reports = Reports::new();
    let mut workers: Option<Arc<dyn Workers>> = None;
    let mut watched = None;
    let cluster = match config.cluster.kind {
        ClusterKind::Local => {
            let (cluster, watching) = local_cluster(config, &dir, &log_dir).await?;
            if let (Some(watching), [node, ..]) = (&watching, cluster.nodes()) {
                show_own(&reports, &node.name, watching)?;
            }
            watched = watching;
            AnyCluster::Local(cluster.with_reports(reports.subscribe()))
        }
        ClusterKind::Kubernetes => {
            let cluster =
                compose::kubernetes_cluster(config, &dir, &log_dir, &reports, agent_token(environment)).await?;
            workers = Some(Arc::new(compose::PodWorkers(cluster.door())));
            AnyCluster::Kubernetes(cluster)
        }
    };
    let mut driver =
        Driver::open(config.engine(), Patient::new(store, health.clone()), Led::new(cluster, lead), wall_clock())
            .await?;
    set_first_rights(&mut driver, config).await?;
    let (nodes, devices) =
        driver.engine().nodes().fold((0, 0), |(nodes, devices), node| (nodes + 1, devices + node.spec.devices.len()));

    write_address(&dir, address)?;

    let (handle, inbox) = scheduler::channel();
    let logs = Arc::new(LocalLogs::new(log_dir));
    let mut state =
        ApiState::new(handle, reader, accounts, logs, defaults(config)).with_reports(reports).with_store(health);
    if let Some(workers) = workers {
        state = state.with_workers(workers);
    }
    let stop = CancellationToken::new();
    tokio::spawn(retention::retain(history, config.data.keep_history, stop.clone()));
    let mut scheduling = tokio::spawn(scheduler::run(driver, inbox, stop.clone()));
    let mut serving = tokio::spawn(api::serve(listener, state, stop.clone()));
    eprint!("{}", welcome(&Started { listen: address, data_dir: &dir, first, nodes, devices }, environment));

    // Whichever part ends first takes the others along.
    let mut lost = None;
    let (scheduled, served) = tokio::select! {
        () = told_to_stop() => (None, None),
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
        None => scheduling.await,
    };
    drop(watched);
    if let Some(lost) = lost {
        return Err(lost.into());
    }
    if let Some((keeper, keeping)) = keeper.zip(keeping) {
        keeping.abort();
        keeper.give_up().await;
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

/// Where others reach this daemon, as far as it knows.
fn advertised(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        return format!("http://{host}:{}", address.port());
    }
    format!("http://{address}")
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
async fn keep_agent(accounts: &Accounts, environment: &Environment) -> Result<()> {
    let Some(text) = agent_token(environment) else { return Ok(()) };
    let token = Token::given(text.trim()).with_context(|| {
        format!("{AGENT_TOKEN} is no token; it must be `hai_` and 64 hexadecimal digits (0-9, a-f)")
    })?;
    let name = UserName::new(AGENT).context("the agent's name")?;
    accounts.ensure_agent(&name, &token).await.with_context(|| format!("the token in {AGENT_TOKEN} can not be taken"))
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

/// Makes the directory for this user alone. True if it was not there.
fn make_private_dir(dir: &Path) -> Result<bool> {
    let missing = !dir.join("token").exists();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("the data directory {} can not be made", dir.display()))?;
    // Everybody's output and environments lie below; one that was there before may be open to others.
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("the data directory {} can not be closed to others", dir.display()))?;
    Ok(missing)
}

/// Every worker that executes takes a descriptor, and every listener one.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if let Err(error) = raised {
        tracing::warn!(%error, limit = limit.current, "the limit of open files can not be raised");
    }
}

/// Held as long as a daemon uses a data directory.
struct DirLock {
    _file: File,
}

impl DirLock {
    /// Those who share a directory all hold the lock, and keep out whoever would have it alone.
    fn take(dir: &Path, shared: bool) -> Result<Self> {
        let operation =
            if shared { FlockOperation::NonBlockingLockShared } else { FlockOperation::NonBlockingLockExclusive };
        let path = dir.join("lock");
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = open.with_context(|| format!("{} can not be opened", path.display()))?;
        let patience = Instant::now() + LOCK_PATIENCE;
        while let Err(error) = rustix::fs::flock(&file, operation) {
            if error != rustix::io::Errno::WOULDBLOCK {
                bail!("{} can not be locked: {error}", path.display());
            }
            // A daemon that was killed while it began a worker may have left a child that is about to let go.
            if Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            let mut holder = String::new();
            // Who holds it is only told; not knowing does no harm.
            let _ = file.read_to_string(&mut holder);
            bail!(
                "another hai-daemon (process {}) uses {}; stop it, or give this one its own --data",
                holder.trim(),
                dir.display()
            );
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .context("the lock can not be written")?;
        Ok(DirLock { _file: file })
    }
}

/// Sees to it that there is an operator, and that the token in the data directory is theirs. If the file is gone, or a
/// crash came between the database and the file, they get another token; not if other daemons may have the file.
async fn keep_operator(dir: &Path, accounts: &Accounts, operator: &UserName, shared: bool) -> Result<()> {
    let made = accounts.ensure_operator(operator).await.context("the operator can not be added")?;
    let token = match made {
        Some(token) => token,
        None if dir.join("token").exists() => return Ok(()),
        None if shared => {
            tracing::warn!(
                "the operator's token lies in the data directory of the daemon that made it, not in {}; if it is lost, \
                 `UPDATE users SET disabled = 1 WHERE name = '{operator}'` in the database makes the next start give another",
                dir.display()
            );
            return Ok(());
        }
        None => accounts.rotate(operator).await.context("the operator can not get a new token")?,
    };
    write_token(dir, &token)
}

fn write_token(dir: &Path, token: &Token) -> Result<()> {
    let (path, fresh) = (dir.join("token"), dir.join("token.new"));
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh);
    open.and_then(|mut file| writeln!(file, "{}", token.as_str()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&fresh, &path))
        .with_context(|| format!("the operator's token can not be written to {}", path.display()))
}

/// Tells the `hai` command of this machine where the daemon listens.
fn write_address(dir: &Path, address: SocketAddr) -> Result<()> {
    let (path, fresh) = (dir.join("address"), dir.join("address.new"));
    fs::write(&fresh, format!("{address}\n"))
        .and_then(|()| fs::rename(&fresh, &path))
        .with_context(|| format!("the address can not be written to {}", path.display()))
}
