//! What a waiting task asks for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::nodes::memory;
use super::who::count;
use crate::model::{Amount, Devices, TaskSpec, WorkerRequest};

/// What a task asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AskLink {
    /// How many workers, at the most.
    pub workers: u32,
    /// How many are enough for a start.
    pub workers_min: u32,
    /// What each of them needs.
    pub request: WorkerRequest,
}

impl AskLink {
    pub(super) fn of(spec: &TaskSpec) -> Self {
        AskLink { workers: spec.workers, workers_min: spec.workers_min(), request: spec.request.clone() }
    }
}

/// `2 workers, each 4 GPUs (A100 or H100), 8 cores`.
impl fmt::Display for AskLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.workers_min < self.workers {
            write!(f, "{} to {} workers, each ", self.workers_min, self.workers)?;
        } else if self.workers > 1 {
            write!(f, "{} workers, each ", self.workers)?;
        }
        let request = &self.request;
        match request.devices {
            Devices::WholeNode => f.write_str("a whole node")?,
            Devices::Count(0) => f.write_str("no GPU")?,
            Devices::Count(number) => f.write_str(&count(number, "GPU"))?,
            Devices::Share(milli) => write!(f, "{} of a GPU", Amount::from_milli(milli.into()))?,
            Devices::Memory(mib) => write!(f, "{} of a GPU's memory", memory(mib))?,
        }
        let mut which: Vec<String> = Vec::new();
        let names = |names: &mut dyn Iterator<Item = &crate::model::ModelName>| {
            names.map(ToString::to_string).collect::<Vec<_>>().join(" or ")
        };
        if !request.models.is_empty() {
            which.push(names(&mut request.models.iter()));
        }
        if !request.forbidden_models.is_empty() {
            which.push(format!("not {}", names(&mut request.forbidden_models.iter())));
        }
        if request.same_model {
            which.push("all of one model".to_owned());
        }
        which.extend(request.mig_profile.as_ref().map(|profile| format!("sliced as {profile}")));
        if request.device_memory_mib > 0 {
            which.push(format!("at least {}", memory(request.device_memory_mib)));
        }
        which.extend(request.compute_capability.map(|least| format!("compute capability {least} or more")));
        if !which.is_empty() {
            write!(f, " ({})", which.join(", "))?;
        }
        if request.cpu_milli > 0 {
            write!(f, ", {}", super::nodes::cores(request.cpu_milli))?;
        }
        if request.memory_mib > 0 {
            write!(f, ", {} of memory", memory(request.memory_mib))?;
        }
        Ok(())
    }
}
