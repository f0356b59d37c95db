//! What a local cluster is made of, and what can be wrong with it.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use hai_core::model::{DeviceSpec, NodeError, NodeName, NodeSpec, RunId};

use crate::cluster::logs::LogBound;

/// The least bytes of output that can be kept per worker: a bound below that keeps nothing of use.
pub const LOG_BYTES_MIN: u64 = 4096;

/// What a local cluster is made of.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// Where the directories of runs are; created if missing. Belongs to one cluster at a time.
    pub run_dir: PathBuf,
    /// Where the output of workers goes; created if missing.
    pub log_dir: PathBuf,
    /// The program that watches over a worker when called as `SHIM shim DIR`: this daemon's own binary.
    pub shim: PathBuf,
    /// The nodes to play; empty for one: this machine as it is.
    pub nodes: Vec<NodeSpec>,
    /// The devices of this machine, e.g. as `gpu::nvml` finds them. Counts only if there are no `nodes`.
    pub devices: Vec<DeviceSpec>,
    /// The most output that is kept per worker, in bytes; at least [`LOG_BYTES_MIN`].
    pub log_bytes_max: u64,
    /// How many files that is spread over; at least 2. The oldest is dropped as a whole.
    pub log_segments: u32,
}

/// Why a local cluster does not do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// The bound on output can not be kept.
    #[error("{field} is {value}, must be at least {least}")]
    TooSmall {
        /// The field of [`LocalConfig`].
        field: &'static str,
        /// What was asked.
        value: u64,
        /// What is possible.
        least: u64,
    },
    /// A declared node can not be.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Two declared nodes, or devices of two nodes, carry one name.
    #[error("{what} is declared twice; names and device ids must be unique in the cluster")]
    Duplicate {
        /// What there are two of.
        what: String,
    },
    /// A run was ordered onto a node that is not here.
    #[error("run {run} is ordered onto node {node}, which this cluster does not have")]
    UnknownNode {
        /// The run.
        run: RunId,
        /// The node.
        node: NodeName,
    },
    /// A run can not be forgotten while its workers execute.
    #[error("run {run} has workers that execute; it can be forgotten once they ended")]
    StillExecutes {
        /// The run.
        run: RunId,
    },
    /// The machine refuses something.
    #[error("can not {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

impl LocalError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| LocalError::Io { what, source }
    }
}

impl LocalConfig {
    pub(crate) fn check(&self) -> Result<(), LocalError> {
        at_least("log_bytes_max", self.log_bytes_max, LOG_BYTES_MIN)?;
        at_least("log_segments", u64::from(self.log_segments), 2)?;
        let mut names = BTreeSet::new();
        let mut devices = BTreeSet::new();
        for node in &self.nodes {
            node.check()?;
            if !names.insert(&node.name) {
                return Err(LocalError::Duplicate { what: format!("node {}", node.name) });
            }
            if let Some(twice) = node.devices.iter().find(|device| !devices.insert(&device.id)) {
                return Err(LocalError::Duplicate { what: format!("device {}", twice.id) });
            }
        }
        Ok(())
    }

    /// The same with absolute paths: shims live elsewhere.
    pub(crate) fn absolute(self) -> Result<Self, LocalError> {
        let absolute = |path: PathBuf| {
            std::path::absolute(&path).map_err(LocalError::io(format!("find out where {} is", path.display())))
        };
        let (run_dir, log_dir, shim) = (absolute(self.run_dir)?, absolute(self.log_dir)?, absolute(self.shim)?);
        Ok(LocalConfig { run_dir, log_dir, shim, ..self })
    }

    pub(crate) fn log_bound(&self) -> LogBound {
        LogBound { bytes_max: self.log_bytes_max, segments_max: self.log_segments }
    }
}

fn at_least(field: &'static str, value: u64, least: u64) -> Result<(), LocalError> {
    if value < least { Err(LocalError::TooSmall { field, value, least }) } else { Ok(()) }
}
