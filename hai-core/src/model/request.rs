//! What each worker of a task asks for.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{DeviceSpec, MigProfile, ModelName};

/// What one worker needs; every worker of a task needs the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkerRequest {
    /// A whole node, a number of devices, or a part of one.
    pub devices: Devices,
    /// Device models that will do, the preferred first; empty for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelName>,
    /// Device models that will not do.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub forbidden_models: BTreeSet<ModelName>,
    /// All devices of all workers must be of one model, whichever that is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_model: bool,
    /// The least memory that each device must have in all, in MiB.
    #[serde(default)]
    pub device_memory_mib: u64,
    /// Slices of this MIG profile, and nothing else; left out for devices that are not sliced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mig_profile: Option<MigProfile>,
    /// The least compute capability that each device must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_capability: Option<ComputeCapability>,
    /// Processors, in thousandths of a core. A whole node gives all it has; this is then the least it must have.
    #[serde(default)]
    pub cpu_milli: u32,
    /// Memory in MiB. A whole node gives all it has; this is then the least it must have.
    #[serde(default)]
    pub memory_mib: u64,
}

/// How much of a node one worker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Devices {
    /// The node with everything on it, shared with nobody.
    WholeNode,
    /// This many devices of one node, shared with nobody; zero for work on processors alone.
    Count(u32),
    /// Thousandths of one device, from 1 to 1000, beside others that also asked for a part of one.
    Share(u32),
    /// So many MiB of one device's memory, beside others that also asked for a part of one.
    Memory(u64),
}

/// A device's compute capability, e.g. `8.6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComputeCapability {
    /// The architecture.
    pub major: u16,
    /// Within the architecture.
    pub minor: u16,
}

/// A text is no compute capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a compute capability; write two numbers, e.g. `8.6`")]
pub struct ParseCapabilityError(String);

impl WorkerRequest {
    /// A whole node, whatever its devices.
    #[must_use]
    pub fn whole_node() -> Self {
        Self::of(Devices::WholeNode)
    }

    /// `count` devices of any model, with no claim on processors and memory.
    #[must_use]
    pub fn devices(count: u32) -> Self {
        Self::of(Devices::Count(count))
    }

    /// `milli` thousandths of one device of any model.
    #[must_use]
    pub fn share(milli: u32) -> Self {
        Self::of(Devices::Share(milli))
    }

    /// `mib` MiB of one device of any model.
    #[must_use]
    pub fn device_memory(mib: u64) -> Self {
        Self::of(Devices::Memory(mib))
    }

    /// `devices`, and no other claim.
    #[must_use]
    pub fn of(devices: Devices) -> Self {
        WorkerRequest {
            devices,
            models: Vec::new(),
            forbidden_models: BTreeSet::new(),
            same_model: false,
            device_memory_mib: 0,
            mig_profile: None,
            compute_capability: None,
            cpu_milli: 0,
            memory_mib: 0,
        }
    }

    /// Whether the device is of a kind that will do; says nothing about health or use.
    #[must_use]
    pub fn accepts(&self, device: &DeviceSpec) -> bool {
        let large_enough = match self.devices {
            Devices::Memory(mib) => device.memory_mib >= mib,
            _ => true,
        };
        large_enough
            && device.memory_mib >= self.device_memory_mib
            && (self.models.is_empty() || self.models.contains(&device.model))
            && !self.forbidden_models.contains(&device.model)
            && device.mig_profile == self.mig_profile
            && self.compute_capability.is_none_or(|least| device.compute_capability.is_some_and(|has| has >= least))
    }

    /// How far down the list of preferences a model stands; 0 for the best.
    #[must_use]
    pub fn preference(&self, model: &ModelName) -> usize {
        self.models.iter().position(|wanted| wanted == model).unwrap_or(self.models.len())
    }

    /// Whether not every device will do.
    #[must_use]
    pub fn is_picky(&self) -> bool {
        !self.models.is_empty()
            || !self.forbidden_models.is_empty()
            || self.same_model
            || self.device_memory_mib > 0
            || self.mig_profile.is_some()
            || self.compute_capability.is_some()
    }
}

impl Devices {
    /// Whether it asks for a part of one device.
    #[must_use]
    pub const fn is_part(self) -> bool {
        matches!(self, Devices::Share(_) | Devices::Memory(_))
    }

    /// How many devices of one node it touches; 0 for a whole node, which is asked for by node.
    #[must_use]
    pub const fn count(self) -> u32 {
        match self {
            Devices::WholeNode => 0,
            Devices::Count(count) => count,
            Devices::Share(_) | Devices::Memory(_) => 1,
        }
    }
}

impl fmt::Display for ComputeCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ComputeCapability {
    type Err = ParseCapabilityError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseCapabilityError(text.to_owned());
        let (major, minor) = text.split_once('.').ok_or_else(wrong)?;
        let read = |part: &str| part.parse().map_err(|_| wrong());
        Ok(ComputeCapability { major: read(major)?, minor: read(minor)? })
    }
}

impl Serialize for ComputeCapability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ComputeCapability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
