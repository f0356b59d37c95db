//! What is reported of a node's devices: what they are, how they are, who uses them.

use hai_core::model::{
    DEVICES_PER_NODE_MAX, DeviceHealth, DeviceId, DeviceLink, DeviceSpec, GroupName, NodeName, NodeSpec, Time,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::reading::Usage;

/// The most processes that are told of one device.
pub const PROCESSES_MAX: usize = 64;
/// The most notes about a node.
pub const NOTES_MAX: usize = 16;
/// The longest text that a report may carry, in bytes.
pub const TEXT_BYTES_MAX: usize = 512;
/// More memory than any device has, in MiB.
const MEMORY_MIB_MAX: u64 = 1 << 32;

/// The devices of one node, as who watches them sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeReport {
    /// When it came in; whoever sends one does not say.
    #[serde(skip)]
    pub at: Time,
    /// The driver's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The devices, in the order of their index.
    pub devices: Vec<DeviceReport>,
    /// How they are joined; pairs that are not listed only meet over the whole machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>, example = json!([{"a": 0, "b": 1, "kind": "nv_link"}]))]
    pub links: Vec<DeviceLink>,
    /// What could not be found out, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One GPU, or a slice of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceReport {
    /// What it is and how it is.
    #[schema(value_type = Object, example = json!({
        "id": "GPU-8f6d", "model": "RTX 3070", "memory_mib": 8192, "compute_capability": "8.6",
        "health": {"state": "sick", "reason": "XID 79: it has fallen off the bus"}
    }))]
    pub spec: DeviceSpec,
    /// The GPU that it is a slice of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub slice_of: Option<DeviceId>,
    /// Its address, e.g. `0000:3b:00.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci: Option<String>,
    /// The NUMA node that is closest to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numa_node: Option<u32>,
    /// How it is used.
    #[serde(default)]
    pub usage: Usage,
}

/// Why a report is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ReportError {
    /// The field, e.g. `devices.3.pci`.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl NodeReport {
    /// Checks what types can not say, so that no report, however it was made, grows without bound or breaks a node.
    ///
    /// # Errors
    /// [`ReportError`] for the first thing that is wrong.
    pub fn check(&self) -> Result<(), ReportError> {
        text("driver", self.driver.as_deref())?;
        at_most("devices", self.devices.len(), DEVICES_PER_NODE_MAX)?;
        at_most("notes", self.notes.len(), NOTES_MAX)?;
        for (index, note) in self.notes.iter().enumerate() {
            text(&format!("notes.{index}"), Some(note))?;
        }
        for (index, device) in self.devices.iter().enumerate() {
            device.check(&format!("devices.{index}"))?;
        }
        let pairs = DEVICES_PER_NODE_MAX * (DEVICES_PER_NODE_MAX - 1) / 2;
        at_most("links", self.links.len(), pairs)?;
        // The node itself knows best which devices and links can not be.
        let name = || Some((NodeName::new("node").ok()?, GroupName::new("group").ok()?));
        let Some((name, group)) = name() else { return Ok(()) };
        let node = NodeSpec { devices: self.specs(), links: self.links.clone(), ..NodeSpec::new(name, group, 0, 0) };
        node.check().map_err(|problem| {
            let field = if problem.to_string().contains("links") { "links" } else { "devices" };
            wrong(field, problem)
        })
    }

    /// The devices as a node lists them.
    #[must_use]
    pub fn specs(&self) -> Vec<DeviceSpec> {
        self.devices.iter().map(|device| device.spec.clone()).collect()
    }

    /// The device of that id.
    #[must_use]
    pub fn device(&self, id: &DeviceId) -> Option<&DeviceReport> {
        self.devices.iter().find(|device| device.spec.id == *id)
    }

    /// Whether this says anything about devices and their health that `other` does not: what a scheduler wants to know
    /// at once. Use, heat and processes change all the time and can wait.
    #[must_use]
    pub fn decides_like(&self, other: &NodeReport) -> bool {
        self.links == other.links
            && self.notes == other.notes
            && self.devices.len() == other.devices.len()
            && self.devices.iter().zip(&other.devices).all(|(one, other)| one.spec == other.spec)
    }
}

impl DeviceReport {
    fn check(&self, field: &str) -> Result<(), ReportError> {
        let at = |name: &str| format!("{field}.{name}");
        text(&at("pci"), self.pci.as_deref())?;
        if self.spec.memory_mib > MEMORY_MIB_MAX {
            return Err(wrong(at("spec.memory_mib"), format!("is more than {MEMORY_MIB_MAX} MiB")));
        }
        let reason = match &self.spec.health {
            DeviceHealth::Healthy | DeviceHealth::Probing => None,
            DeviceHealth::Suspect { reason } | DeviceHealth::Draining { reason } | DeviceHealth::Sick { reason } => {
                Some(reason.as_str())
            }
            DeviceHealth::Stranger { process } => Some(process.as_str()),
        };
        text(&at("spec.health"), reason)?;
        let processes = &self.usage.processes;
        at_most(&at("usage.processes"), processes.len(), PROCESSES_MAX)?;
        for (index, process) in processes.iter().enumerate() {
            text(&at(&format!("usage.processes.{index}.name")), process.name.as_deref())?;
        }
        Ok(())
    }
}

fn at_most(field: &str, count: usize, most: usize) -> Result<(), ReportError> {
    if count > most { Err(wrong(field, format!("has {count} entries, at most {most} are taken"))) } else { Ok(()) }
}

fn text(field: &str, text: Option<&str>) -> Result<(), ReportError> {
    let Some(text) = text else { return Ok(()) };
    if text.len() > TEXT_BYTES_MAX {
        return Err(wrong(field, format!("has {} bytes, at most {TEXT_BYTES_MAX} are taken", text.len())));
    }
    match text.chars().find(|character| character.is_control()) {
        Some(found) => Err(wrong(field, format!("has {found:?} in it; printable characters only"))),
        None => Ok(()),
    }
}

fn wrong(field: impl Into<String>, problem: impl ToString) -> ReportError {
    ReportError { field: field.into(), problem: problem.to_string() }
}

/// A text that a report may carry: shortened, and without what can not be printed.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX - 8);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}
