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

/// What is known of a node besides what it says itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    /// Its devices, as somebody on it reports them.
    pub(crate) reported: Option<&'a NodeDevices>,
    /// What others' pods take.
    pub(crate) used: Used,
    /// Whether it answers.
    pub(crate) pulse: Pulse,
    /// The devices that hai's own workers have.
    pub(crate) held: &'a BTreeSet<DeviceId>,
}

/// What hai may give out on a node of `group`, and in what state it is.
pub(crate) fn describe(
    node: &Node,
    (name, group): (NodeName, GroupName),
    config: &KubernetesConfig,
    seen: &Seen<'_>,
) -> NodeSpec {
    let Seen { reported, used, pulse, held } = *seen;
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    let amount = |key: &str| allocatable.and_then(|amounts| amounts.get(key));
    let cpu = amount("cpu").and_then(|cpu| milli(cpu, Round::Down)).unwrap_or(0).saturating_sub(used.cpu_milli);
    let memory = amount("memory").and_then(|memory| mib(memory, Round::Down)).unwrap_or(0);
    let plugged = amount(GPU).and_then(|count| whole(count, 1, 1, Round::Down)).unwrap_or(0);
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let (devices, links) = match config.gpus(&group) {
        GpuMode::Visible => visible(reported),
        GpuMode::Plugin => (plugin(&name, &labels, plugged, used.gpus, reported, held), Vec::new()),
    };
    let spec = node.spec.clone().unwrap_or_default();
    let mut taints: BTreeSet<String> =
        spec.taints.iter().flatten().filter_map(|taint| taint_word(taint, config)).collect();
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

/// As many devices as the plugin has, by names of their own that stay the same. Which of them others' pods got, and which are
/// not well though the plugin gives them out, only the plugin knows; so ones that no worker of hai's has stand for them.
fn plugin(
    node: &NodeName,
    labels: &BTreeMap<String, String>,
    plugged: u64,
    taken: u64,
    reported: Option<&NodeDevices>,
    held: &BTreeSet<DeviceId>,
) -> Vec<DeviceSpec> {
    let count = usize::try_from(plugged).unwrap_or(usize::MAX).min(DEVICES_PER_NODE_MAX);
    let reports = reported.map_or(&[][..], |reported| &reported.devices);
    let model = labels.get(PRODUCT).map_or("GPU", |product| product.as_str());
    let model = model.strip_prefix("NVIDIA-").unwrap_or(model).replace('-', " ");
    let model = ModelName::new(model.strip_prefix("GeForce ").unwrap_or(&model));
    let memory = labels.get(MEMORY).and_then(|memory| memory.parse().ok()).unwrap_or(0);
    let mut devices: Vec<DeviceSpec> = (0..count)
        .filter_map(|index| {
            let id = DeviceId::new(format!("{node}/gpu{index}")).ok()?;
            let like = reports.get(index).or(reports.first());
            Some(match like {
                Some(like) => DeviceSpec { id, health: DeviceHealth::Healthy, ..like.clone() },
                None => DeviceSpec::new(id, model.clone().ok()?, memory),
            })
        })
        .collect();
    let stranger = || DeviceHealth::Stranger { process: "another's pod, through the device plugin".to_owned() };
    let mut marks: Vec<DeviceHealth> = (0..taken.min(plugged)).map(|_| stranger()).collect();
    // Those that the plugin itself finds sick it does not count.
    let unwell = reports.iter().filter(|device| !device.health.is_healthy()).map(|device| device.health.clone());
    marks.extend(unwell.skip(reports.len().saturating_sub(count)));
    let free = devices.iter_mut().rev().filter(|device| !held.contains(&device.id));
    free.zip(marks).for_each(|(device, health)| device.health = health);
    devices
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::kubernetes::GroupConfig;

    fn node() -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "worker", "labels": {
                "kubernetes.io/hostname": "worker", "hai_mars_group": "train", "topology.kubernetes.io/zone": "west",
                "nvidia.com/gpu.product": "NVIDIA-GeForce-RTX-3060", "nvidia.com/gpu.memory": "12288"
            }},
            "spec": {"taints": [
                {"key": "gpu", "value": "yes", "effect": "NoSchedule"},
                {"key": "soft", "effect": "PreferNoSchedule"},
                {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
            ]},
            "status": {"allocatable": {"cpu": "11900m", "memory": "32Gi", "nvidia.com/gpu": "2"},
                "conditions": [{"type": "Ready", "status": "True"}]}
        }))
        .expect("a node")
    }

    fn seen(
        node: &Node,
        config: &KubernetesConfig,
        reported: Option<&NodeDevices>,
        used: Used,
        pulse: Pulse,
    ) -> NodeSpec {
        let name = NodeName::new("worker").expect("a name");
        let seen = Seen { reported, used, pulse, held: &BTreeSet::new() };
        describe(node, (name, GroupName::new("train").expect("a name")), config, &seen)
    }

    fn config(gpus: GpuMode) -> KubernetesConfig {
        let name = GroupName::new("train").expect("a name");
        let group = GroupConfig { name, nodes: Vec::new(), gpus, runtime_class: None };
        KubernetesConfig { groups: vec![group], ..KubernetesConfig::new("hai", "/logs".into()) }
    }

    #[test]
    fn what_strangers_take_is_not_given_out() {
        let used = Used { cpu_milli: 900, memory_mib: 2048, gpus: 1 };
        let spec = seen(&node(), &config(GpuMode::Plugin), None, used, Pulse::Ready);
        assert_eq!((spec.cpu_milli, spec.memory_mib), (11_000, 30 * 1024));
        assert_eq!(spec.taints.iter().collect::<Vec<_>>(), ["gpu=yes"]);
        assert_eq!(spec.location.zone.as_ref().map(|zone| zone.as_str()), Some("west"));
        let [first, second] = &spec.devices[..] else { panic!("{:?}", spec.devices) };
        assert_eq!((first.model.as_str(), first.memory_mib), ("RTX 3060", 12_288));
        assert!(first.health.is_healthy() && matches!(second.health, DeviceHealth::Stranger { .. }), "{second:?}");
        assert!(spec.ready && !spec.cordoned);
    }

    #[test]
    fn devices_are_chosen_by_uuid_only_where_somebody_reports_them() {
        let plain = seen(&node(), &config(GpuMode::Visible), None, Used::default(), Pulse::Ready);
        assert!(plain.devices.is_empty(), "nobody knows what they are called");
        let device = DeviceSpec::new(
            DeviceId::new("GPU-1").expect("an id"),
            ModelName::new("RTX 3060").expect("a name"),
            12_288,
        );
        let reported = NodeDevices { devices: vec![device], links: Vec::new() };
        let spec = seen(&node(), &config(GpuMode::Visible), Some(&reported), Used::default(), Pulse::Ready);
        assert_eq!(spec.devices, reported.devices);
        let plugin = seen(&node(), &config(GpuMode::Plugin), Some(&reported), Used::default(), Pulse::Ready);
        assert_eq!(plugin.devices.len(), 2, "as many as the plugin has");
        assert_eq!(plugin.devices[0].id.as_str(), "worker/gpu0", "a name that stays, whoever reports");
        assert_eq!(plugin.devices[1].model, reported.devices[0].model);
    }

    #[test]
    fn a_silent_node_gets_nothing_new_and_a_lost_one_keeps_nothing() {
        let mut node = node();
        node.spec.as_mut().expect("a spec").unschedulable = Some(true);
        let silent = seen(&node, &config(GpuMode::Visible), None, Used::default(), Pulse::Silent);
        assert!(silent.ready && silent.cordoned && silent.taints.contains(SILENT), "{silent:?}");
        let lost = seen(&node, &config(GpuMode::Visible), None, Used::default(), Pulse::Lost);
        assert!(!lost.ready);
    }
}
