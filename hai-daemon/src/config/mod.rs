//! One typed configuration: defaults, then a TOML file, then `HAI_…` variables, then flags.
//!
//! See [`Config::load`] for the primary entry point, and [`EXAMPLE`] for a file that shows everything. A configuration
//! is either whole or refused: every unknown key, wrong type and impossible value is a [`Problem`] with its place.

mod check;
mod database;
mod error;
mod file;
pub mod flags;
mod kubernetes;
mod layers;
mod listen;
pub mod names;
mod node;
mod placement;
mod scheduler;
mod settings;
mod show;
mod size;
mod team;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hai_core::engine::{EngineConfig, Timing};
use hai_core::model::{
    Allowance, DeviceSpec, GroupName, ModelName, NodeName, NodeSpec, Priority, RightKey, RightRow, Span, Team,
};

pub use database::DatabaseUrl;
pub use error::{ConfigErrors, Origin, Place, Problem};
pub use kubernetes::{
    ClusterKind, Kubernetes, KubernetesGpus, KubernetesGroup, KubernetesMount, KubernetesSource, PullPolicy, RunAs,
};
pub use layers::Environment;
pub use listen::Listen;
pub use size::Bytes;
pub use value::{LogFormat, LogLevel};

pub(crate) use size::{Cores, Mib};
pub(crate) use value::{Raw, Setting, quoted};

/// An annotated file with every setting in it.
pub const EXAMPLE: &str = include_str!("hai.toml");

/// Everything that an operator may set.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[data]`
    pub data: Data,
    /// `[log]`
    pub log: Log,
    /// `[scheduler]`, but for its levels: see [`Config::engine`].
    pub scheduler: EngineConfig,
    /// `[scheduler.levels.…]`: what differs from `[scheduler]` for a level.
    pub levels: BTreeMap<Priority, LevelTiming>,
    /// `[cluster]`
    pub cluster: Cluster,
    /// `[kubernetes]`
    pub kubernetes: Kubernetes,
    /// `[devices]`
    pub devices: Devices,
    /// `[tasks]`
    pub tasks: Tasks,
    /// `[[right]]`: the rights of a store that has none yet.
    pub rights: Vec<RightRow>,
    /// `[[team]]`: the teams of a store that has neither teams nor rights yet.
    pub teams: Vec<Team>,
    /// `[[node]]`: the machines to pretend; none to find out what this machine has.
    pub nodes: Vec<NodeSpec>,
    /// The file that was read.
    file: Option<PathBuf>,
    /// Where the values that are not defaults were set, by dotted name (`server.listen`, `node.0`).
    origins: BTreeMap<String, Origin>,
}

/// How people reach the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it listens.
    pub listen: Listen,
    /// The largest request that is read.
    pub body_bytes_max: Bytes,
}

/// Where everything is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// The directory of the logs and the runs, and of the database if it is a file.
    pub dir: PathBuf,
    /// The database on a Postgres server; none for a file in [`Data::dir`].
    pub database: Option<DatabaseUrl>,
    /// How long tasks that ended, events and the log are kept, at least; none for ever.
    pub keep_history: Option<Span>,
}

/// What the daemon says about itself on standard error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The least important lines that are written.
    pub level: LogLevel,
    /// How they look.
    pub format: LogFormat,
}

/// What holds for every task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tasks {
    /// The group of a task that names none.
    pub default_group: GroupName,
    /// The priority of a task that names none.
    pub default_priority: Priority,
    /// The most output that is kept of one worker of one run; what is beyond is counted and dropped.
    pub log_bytes_max: Bytes,
}

/// What differs from `[scheduler]` for one level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelTiming {
    /// See [`Timing::protected`].
    pub protected: Option<Span>,
    /// See [`Timing::slice`].
    pub slice: Option<Span>,
    /// See [`Timing::demote_after`].
    pub demote_after: Option<Span>,
}

/// What executes workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Of which kind it is.
    pub kind: ClusterKind,
}

/// GPUs, and what stands in for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Devices {
    /// How many are pretended on a machine that has none, if no node is declared; none if 0.
    pub simulated: u32,
    /// NVIDIA's library, by name or path.
    pub library: PathBuf,
    /// Programs, by the names that the system tells, that may use a GPU beside hai's work.
    pub allow: BTreeSet<String>,
    /// Strangers that together hold less of a GPU's memory than this are overlooked.
    pub stranger_memory: Bytes,
}

impl Default for Devices {
    fn default() -> Self {
        Devices {
            simulated: 4,
            // As every driver brings it; the name without a version is there only with the development package.
            library: PathBuf::from("libnvidia-ml.so.1"),
            allow: BTreeSet::new(),
            stranger_memory: Bytes(32 << 20),
        }
    }
}

impl Devices {
    /// The devices to pretend: always the same ones, so that what runs on them is found again after a restart.
    #[must_use]
    pub fn pretend(&self) -> Vec<DeviceSpec> {
        let (node, model) = (NodeName::new("simulated"), ModelName::new("simulated"));
        let (Ok(node), Ok(model)) = (node, model) else { return Vec::new() };
        let device = |index| DeviceSpec::new(node::made_up_id(&node, index), model.clone(), 8 << 10);
        (0..self.simulated as usize).map(device).collect()
    }
}

impl Default for Server {
    fn default() -> Self {
        Server { listen: Listen::default(), body_bytes_max: Bytes(1 << 20) }
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Tasks {
            default_group: GroupName::new("default").expect("the word has only letters"),
            default_priority: Priority::Normal,
            log_bytes_max: Bytes(64 << 20),
        }
    }
}

/// The embedded default: data under `~/.local/share/hai`, everybody may use everything up to `HIGH`, and the nodes
/// are found out.
impl Default for Config {
    fn default() -> Self {
        Config {
            server: Server::default(),
            data: Data { dir: PathBuf::from("~/.local/share/hai"), database: None, keep_history: None },
            log: Log::default(),
            scheduler: EngineConfig::default(),
            levels: BTreeMap::new(),
            cluster: Cluster::default(),
            kubernetes: Kubernetes::default(),
            devices: Devices::default(),
            tasks: Tasks::default(),
            rights: default_rights(),
            teams: Vec::new(),
            nodes: Vec::new(),
            file: None,
            origins: BTreeMap::new(),
        }
    }
}

/// Everybody may use everything at `HIGH` and below; the levels above are for an operator to give.
fn default_rights() -> Vec<RightRow> {
    Priority::LEVELS
        .into_iter()
        .filter(|level| *level <= Priority::High)
        .map(|level| RightRow::new(RightKey { priority: Some(level), ..RightKey::default() }, Allowance::UNLIMITED))
        .collect()
}

impl Config {
    /// How the engine is to decide.
    #[must_use]
    pub fn engine(&self) -> EngineConfig {
        let base = self.scheduler.timing;
        let levels = self.levels.iter().map(|(level, timing)| (*level, timing.over(base))).collect();
        EngineConfig { levels, ..self.scheduler.clone() }
    }

    /// Where a setting (`server.listen`) was set.
    #[must_use]
    pub fn origin(&self, name: &str) -> &Origin {
        self.origins.get(name).unwrap_or(&Origin::Default)
    }

    /// The file that was read, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

impl LevelTiming {
    /// These settings, and `base` where there is none.
    #[must_use]
    pub fn over(self, base: Timing) -> Timing {
        Timing {
            protected: self.protected.unwrap_or(base.protected),
            slice: self.slice.unwrap_or(base.slice),
            demote_after: self.demote_after.unwrap_or(base.demote_after),
        }
    }
}
