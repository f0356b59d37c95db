//! Reads `[[node]]` and `[[node.device]]`: machines that are declared rather than found.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::ops::Range;

use hai_core::model::{
    ComputeCapability, DEVICES_PER_NODE_MAX, DeviceId, DeviceSpec, GroupName, Location, MigProfile, ModelName,
    NodeName, NodeSpec, PlaceName,
};
use sha2::{Digest, Sha256};

use super::Config;
use super::file::{Findings, Table};
use super::size::{Cores, Mib};
use super::value::{Labels, Texts};

/// Takes all `[[node]]` over into `config`.
pub(crate) fn read_all(top: &mut Table<'_>, config: &mut Config, found: &mut Findings<'_>) {
    for table in top.list("node", "[[node]]", found) {
        let span = table.span.clone();
        if let Some((node, devices)) = read_node(table, config, found) {
            let index = config.nodes.len();
            config.origins.insert(format!("node.{index}"), found.place(span));
            for (device, span) in devices.into_iter().enumerate() {
                config.origins.insert(format!("node.{index}.device.{device}"), found.place(span));
            }
            config.nodes.push(node);
        }
    }
}

/// A node, and where each of its devices stands.
fn read_node(mut table: Table<'_>, config: &Config, found: &mut Findings<'_>) -> Option<(NodeSpec, Vec<Range<usize>>)> {
    let span = table.span.clone();
    let name = table.require::<NodeName>("name", "\"lab-1\"", found);
    let group = table.take::<GroupName>("group", found);
    let cpu = table.require::<Cores>("cpu", "16", found);
    let memory = table.require::<Mib>("memory", "\"64GiB\"", found);
    let taints = table.take::<Texts>("taints", found).map(|(Texts(texts), _)| texts).unwrap_or_default();
    let cordoned = table.take::<bool>("cordoned", found).is_some_and(|(cordoned, _)| cordoned);
    let labels = table.take::<Labels>("labels", found).map(|(Labels(labels), _)| labels).unwrap_or_default();
    let location = Location {
        leaf: table.take::<PlaceName>("leaf", found).map(|(leaf, _)| leaf),
        spine: table.take::<PlaceName>("spine", found).map(|(spine, _)| spine),
        zone: table.take::<PlaceName>("zone", found).map(|(zone, _)| zone),
    };
    let declared = table.list("device", "[[node.device]]", found);
    table.finish(found);

    let (name, name_span) = name?;
    let mut devices = Vec::new();
    let mut spans = Vec::new();
    for table in declared {
        let span = table.span.clone();
        let Some(group) = read_devices(table, &name, devices.len(), found) else { continue };
        if devices.len() + group.len() > DEVICES_PER_NODE_MAX {
            found.add(span, format!("node {name} has more than {DEVICES_PER_NODE_MAX} devices; that many is the most"));
            break;
        }
        spans.extend(std::iter::repeat_n(span, group.len()));
        devices.extend(group);
    }
    if let Some(first) = config.nodes.iter().position(|node| node.name == name) {
        let at = config.origin(&format!("node.{first}"));
        found.add(name_span, format!("there are two nodes named `{name}`; the first is at {at}"));
        return None;
    }
    if let Some(bad) = taints.iter().find(|taint| taint.is_empty() || taint.chars().any(char::is_control)) {
        found.add(span, format!("taints: {bad:?} is empty or has control characters in it"));
    }
    let group = group.map_or_else(|| GroupName::new("default").expect("the word has only letters"), |(group, _)| group);
    let node = NodeSpec {
        devices,
        cordoned,
        taints: taints.into_iter().collect::<BTreeSet<_>>(),
        labels,
        location,
        ..NodeSpec::new(name, group, cpu?.0.0, memory?.0.0)
    };
    Some((node, spans))
}

/// The devices of one `[[node.device]]`; the first gets the index `first` on its node.
fn read_devices(
    mut table: Table<'_>,
    node: &NodeName,
    first: usize,
    found: &mut Findings<'_>,
) -> Option<Vec<DeviceSpec>> {
    let model = table.require::<ModelName>("model", "\"RTX 3070\"", found);
    let memory = table.require::<Mib>("memory", "\"8GiB\"", found);
    let has_count = table.raw("count").is_some();
    let count = table.take::<u32>("count", found);
    let uuid = table.take::<DeviceId>("uuid", found);
    let compute_capability = table.take::<ComputeCapability>("compute_capability", found).map(|(least, _)| least);
    let mig_profile = table.take::<MigProfile>("mig_profile", found).map(|(profile, _)| profile);
    table.finish(found);

    let count = match count {
        None if has_count => return None,
        None => 1,
        Some((count, span)) => {
            let most = DEVICES_PER_NODE_MAX;
            if count == 0 || count as usize > most {
                found.add(span, format!("count: {count} is impossible; a node has 1 to {most} devices"));
                return None;
            }
            if count > 1 && uuid.is_some() {
                found.add(span, format!("count: one uuid can not be that of {count} devices; write each by itself"));
                return None;
            }
            count as usize
        }
    };
    let (model, _) = model?;
    let memory_mib = memory?.0.0;
    let device = |index: usize| {
        let id = uuid.as_ref().map_or_else(|| made_up_id(node, first + index), |(uuid, _)| uuid.clone());
        let plain = DeviceSpec::new(id, model.clone(), memory_mib);
        DeviceSpec { compute_capability, mig_profile: mig_profile.clone(), ..plain }
    };
    Some((0..count).map(device).collect())
}

/// The id of a declared device that was given none: always the same for the same node and index, so that what runs
/// on it is found again after a restart.
pub(super) fn made_up_id(node: &NodeName, index: usize) -> DeviceId {
    let digest = Sha256::digest(format!("{node}/{index}"));
    let mut text = "GPU-".to_owned();
    for (at, byte) in digest.iter().take(16).enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    DeviceId::new(text).expect("hexadecimal digits are printable")
}
