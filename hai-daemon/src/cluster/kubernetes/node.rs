//! A node of Kubernetes as hai sees it.

use std::collections::{BTreeMap, BTreeSet};

use hai_core::model::{
    DEVICES_PER_NODE_MAX, DeviceHealth, DeviceId, DeviceLink, DeviceSpec, GroupName, Location, ModelName, NodeName,
    NodeSpec, PlaceName,
};
use k8s_openapi::api::core::v1::{Node, Taint};

use super::config::{GpuMode, KubernetesConfig};
use super::quantity::{Round, mib, milli, whole};
use super::strangers::{GPU, Used};

/// Taints that only repeat what the node says of itself in other words.
const SAID_OTHERWISE: [&str; 3] =
    ["node.kubernetes.io/unschedulable", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
/// What a node that is silent, but not yet given up, is tainted with.
const SILENT: &str = "node.kubernetes.io/not-ready";
/// Labels by which the vendor's feature discovery tells the devices of a node.
const PRODUCT: &str = "nvidia.com/gpu.product";
const MEMORY: &str = "nvidia.com/gpu.memory";

/// The devices of a node, as somebody on it reports them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeDevices {
    /// Its devices, in the order of their index.
    pub devices: Vec<DeviceSpec>,
    /// How they are joined.
    pub links: Vec<DeviceLink>,
}

/// Whether a node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pulse {
    /// It does.
    Ready,
    /// Not since a short while: it gets nothing new.
    Silent,
    /// Not for so long that what ran there is given up.
    Lost,
}

/// Whether the node itself says that it is ready.
pub(crate) fn says_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// What hai may give out on a node of `group`, and in what state it is. `used` is what others' pods take.
pub(crate) fn describe(
    node: &Node,
    (name, group): (NodeName, GroupName),
    config: &KubernetesConfig,
    reported: Option<&NodeDevices>,
    used: Used,
    pulse: Pulse,
) -> NodeSpec {
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    let amount = |key: &str| allocatable.and_then(|amounts| amounts.get(key));
    let cpu = amount("cpu").and_then(|cpu| milli(cpu, Round::Down)).unwrap_or(0).saturating_sub(used.cpu_milli);
    let memory = amount("memory").and_then(|memory| mib(memory, Round::Down)).unwrap_or(0);
    let plugged = amount(GPU).and_then(|count| whole(count, 1, 1, Round::Down)).unwrap_or(0);
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let (devices, links) = match config.gpus(&group) {
        GpuMode::Visible => visible(reported),
        GpuMode::Plugin => plugin(&name, &labels, plugged, used.gpus, reported),
    };
    let spec = node.spec.clone().unwrap_or_default();
    let mut taints: BTreeSet<String> = spec.taints.iter().flatten().filter_map(|taint| taint_word(taint, config)).collect();
    if pulse == Pulse::Silent {
        taints.insert(SILENT.to_owned());
    }
    let place = |label: &str| labels.get(label).and_then(|value| PlaceName::new(value).ok());
    let location = Location {
        leaf: place(&config.location.leaf),
        spine: place(&config.location.spine),
        zone: place(&config.location.zone),
    };
    NodeSpec {
        devices,
        links,
        ready: pulse != Pulse::Lost,
        cordoned: spec.unschedulable == Some(true),
        taints,
        labels,
        location,
        ..NodeSpec::new(name, group, u32::try_from(cpu).unwrap_or(u32::MAX), memory.saturating_sub(used.memory_mib))
    }
}

/// A taint as tasks name it: `key`, or `key=value`. `None` if it keeps nobody away, or all are let through.
fn taint_word(taint: &Taint, config: &KubernetesConfig) -> Option<String> {
    let idle = taint.effect == "PreferNoSchedule" || SAID_OTHERWISE.contains(&taint.key.as_str());
    if idle || config.tolerates.contains(&taint.key) {
        return None;
    }
    Some(match taint.value.as_deref() {
        None | Some("") => taint.key.clone(),
        Some(value) => format!("{}={value}", taint.key),
    })
}

/// The devices that somebody on the node reports; without a report it is not known how to name them, so there are none.
fn visible(reported: Option<&NodeDevices>) -> (Vec<DeviceSpec>, Vec<DeviceLink>) {
    reported.map(|reported| (reported.devices.clone(), reported.links.clone())).unwrap_or_default()
}

/// As many devices as the plugin has, less those that others' pods got. Which ones these are only the plugin knows; so the
/// last ones stand for them.
fn plugin(
    node: &NodeName,
    labels: &BTreeMap<String, String>,
    plugged: u64,
    taken: u64,
    reported: Option<&NodeDevices>,
) -> (Vec<DeviceSpec>, Vec<DeviceLink>) {
    let count = usize::try_from(plugged).unwrap_or(usize::MAX).min(DEVICES_PER_NODE_MAX);
    let taken = usize::try_from(taken).unwrap_or(usize::MAX).min(count);
    // The plugin leaves sick ones out of its count, so what is well is counted.
    let well = reported.map(|reported| reported.devices.iter().filter(|device| device.health.is_healthy()));
    let mut devices: Vec<DeviceSpec> = well.into_iter().flatten().take(count).cloned().collect();
    let model = labels.get(PRODUCT).map_or("GPU", |product| product.as_str());
    let model = model.strip_prefix("NVIDIA-").unwrap_or(model).replace('-', " ");
    let model = ModelName::new(model.strip_prefix("GeForce ").unwrap_or(&model));
    let memory = labels.get(MEMORY).and_then(|memory| memory.parse().ok()).unwrap_or(0);
    if let Ok(model) = model {
        let missing = (devices.len()..count).filter_map(|index| DeviceId::new(format!("{node}/gpu{index}")).ok());
        devices.extend(missing.map(|id| DeviceSpec::new(id, model.clone(), memory)));
    }
    let free = devices.len().saturating_sub(taken);
    for device in &mut devices[free..] {
        device.health = DeviceHealth::Stranger { process: "another's pod, through the device plugin".to_owned() };
    }
    (devices, Vec::new())
}
