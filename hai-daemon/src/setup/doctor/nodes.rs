//! What is wrong with nodes: groups that match none, cordons, taints, and GPUs that are not there.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;

use super::super::{Group, Plan};
use super::Check;
use super::server::list;
use crate::cluster::kubernetes::GpuMode;
use crate::cluster::kubernetes::group::check;

const HOSTNAME: &str = "kubernetes.io/hostname";
/// What a device plugin calls a GPU.
const GPU: &str = "nvidia.com/gpu";

fn addresses(node: &Node) -> impl Iterator<Item = &str> {
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    addresses.map(|address| address.address.as_str())
}

/// Whether `entry` means this node: by its name, its hostname label or an address.
fn is_meant(node: &Node, entry: &str) -> bool {
    node.name_any() == entry
        || node.labels().get(HOSTNAME).is_some_and(|host| host == entry)
        || addresses(node).any(|address| address == entry)
}

/// How a node is told to somebody who looks for the one that they meant: `worker (10.0.0.2)`.
fn describe(node: &Node) -> String {
    let name = node.name_any();
    let others: Vec<&str> = addresses(node).filter(|address| *address != name).collect();
    if others.is_empty() { name } else { format!("{name} ({})", others.join(", ")) }
}

/// The groups that there are, each with its nodes: those that the file lists, and those that labels tell.
fn members<'a>(plan: &'a Plan, nodes: &'a [Node]) -> BTreeMap<&'a str, Vec<&'a Node>> {
    let mut groups: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
    for group in &plan.groups {
        let of = |node: &&Node| {
            if group.nodes.is_empty() {
                node.labels().get(&plan.group_label) == Some(&group.name)
            } else {
                group.nodes.iter().any(|entry| is_meant(node, entry))
            }
        };
        groups.insert(&group.name, nodes.iter().filter(of).collect());
    }
    for node in nodes {
        let listed = plan.groups.iter().any(|group| group.nodes.iter().any(|entry| is_meant(node, entry)));
        if let Some(name) = node.labels().get(&plan.group_label)
            && !listed
            && !plan.groups.iter().any(|group| group.name == *name)
        {
            groups.entry(name).or_default().push(node);
        }
    }
    groups
}

fn group<'a>(plan: &'a Plan, name: &str) -> Option<&'a Group> {
    plan.groups.iter().find(|group| group.name == name)
}

/// Every entry means a node, and every group has one.
pub(super) fn groups(plan: &Plan, nodes: &[Node]) -> Vec<Check> {
    const WHAT: &str = "groups";
    let there: Vec<String> = nodes.iter().map(describe).collect();
    let mut checks = Vec::new();
    for group in &plan.groups {
        for entry in &group.nodes {
            if !nodes.iter().any(|node| is_meant(node, entry)) {
                checks.push(Check::fatal(
                    WHAT,
                    format!(
                        "group {} lists node `{entry}`, but no node has that name, hostname or address; there are: {}",
                        group.name,
                        list(&there)
                    ),
                    "correct the entry, or take it out",
                ));
            }
        }
    }
    if checks.is_empty()
        && let Err(error) = check(nodes, &plan.kubernetes)
    {
        checks.push(Check::fatal(WHAT, error.to_string(), "take it out of one of them"));
    }
    if !checks.is_empty() {
        return checks;
    }
    let members = members(plan, nodes);
    for (name, nodes) in &members {
        if nodes.is_empty() {
            checks.push(Check::bad(
                WHAT,
                format!("no node carries the label {}={name}; there are: {}", plan.group_label, list(&there)),
                format!("`kubectl label node NODE {}={name}`, or list the group's nodes", plan.group_label),
            ));
        }
    }
    if members.is_empty() {
        checks.push(Check::bad(
            WHAT,
            format!("no node is in any group: none is listed, and none carries the label {}", plan.group_label),
            format!("`kubectl label node NODE {}=default`", plan.group_label),
        ));
    }
    if checks.is_empty() {
        let said = members.iter().map(|(name, nodes)| {
            let names: Vec<String> = nodes.iter().map(|node| node.name_any()).collect();
            format!("{name}: {}", names.join(", "))
        });
        checks.push(Check::good(WHAT, said.collect::<Vec<_>>().join("; ")));
    }
    checks
}

/// Nodes on which nothing will start, as they are cordoned or not ready.
pub(super) fn cordons(plan: &Plan, nodes: &[Node]) -> Vec<Check> {
    let mut checks = Vec::new();
    for node in members(plan, nodes).into_values().flatten() {
        let name = node.name_any();
        if node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)) {
            checks.push(Check::warning(
                "cordon",
                format!("{name} is SchedulingDisabled: nothing will run there"),
                format!("`kubectl uncordon {name}` if that is not meant"),
            ));
        }
        let ready = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let ready = ready.clone().find(|condition| condition.type_ == "Ready");
        if ready.is_none_or(|condition| condition.status != "True") {
            let why = ready.and_then(|condition| condition.message.clone()).unwrap_or_default();
            checks.push(Check::warning(
                "cordon",
                format!("{name} is NotReady: nothing will run there ({why})"),
                format!("see its kubelet: `kubectl describe node {name}`"),
            ));
        }
    }
    if checks.is_empty() {
        checks.push(Check::good("cordon", "all nodes of groups take work"));
    }
    checks
}

fn taints(plan: &Plan, nodes: &[Node]) -> Vec<Check> {
    let mut checks = Vec::new();
    for node in members(plan, nodes).into_values().flatten() {
        let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
        for taint in taints {
            // What Kubernetes itself says by taints is told elsewhere.
            let own = taint.key.starts_with("node.kubernetes.io/");
            if own || taint.effect == "PreferNoSchedule" || plan.tolerates.contains(&taint.key) {
                continue;
            }
            let value = taint.value.as_deref().filter(|value| !value.is_empty());
            let value = value.map(|value| format!("={value}")).unwrap_or_default();
            checks.push(Check::bad(
                "taints",
                format!(
                    "{} is tainted {}{value}:{}, which workers do not tolerate",
                    node.name_any(),
                    taint.key,
                    taint.effect
                ),
                format!("add {:?} to kubernetes.tolerates, or take the taint off", taint.key),
            ));
        }
    }
    if checks.is_empty() {
        checks.push(Check::good("taints", "none that workers do not tolerate"));
    }
    checks
}

fn gpus(plan: &Plan, nodes: &[Node], devices: Option<&BTreeMap<String, u32>>) -> Vec<Check> {
    const WHAT: &str = "GPUs";
    let mut checks = Vec::new();
    let mut found = Vec::new();
    for (name, nodes) in members(plan, nodes) {
        let mode = group(plan, name).map_or_else(GpuMode::default, |group| group.gpus);
        for node in nodes {
            let amounts = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
            let plugin = amounts.and_then(|amounts| amounts.get(GPU)).and_then(|amount| amount.0.parse::<u32>().ok());
            let agent = devices.and_then(|devices| devices.get(&node.name_any()).copied());
            let node = node.name_any();
            match (mode, plugin.unwrap_or(0), agent) {
                (GpuMode::Plugin, 0, _) => checks.push(Check::bad(
                    WHAT,
                    format!("group {name} takes GPUs from the device plugin, and {node} offers no {GPU}"),
                    "install NVIDIA's device plugin there, or set gpus = \"visible\" for the group",
                )),
                (GpuMode::Plugin, offers, Some(agent)) if offers != agent => checks.push(Check::bad(
                    WHAT,
                    format!("{node} offers {offers} {GPU}, and its agent sees {agent}"),
                    "restart the device plugin there; if they still differ, a device is broken or is shared in time",
                )),
                (GpuMode::Visible, offers, _) if offers > 0 => checks.push(Check::warning(
                    WHAT,
                    format!("{node} has a device plugin ({offers} {GPU}), which does not see what group {name} gives out"),
                    "set gpus = \"plugin\" for the group, or take the plugin off, lest others be given the same devices",
                )),
                (_, _, Some(0)) => checks.push(Check::warning(
                    WHAT,
                    format!("the agent of {node} sees no device"),
                    "see `kubectl logs` of its pod: the driver, or NVIDIA's container runtime, may be missing",
                )),
                (_, offers, agent) => {
                    if let Some(count) = agent.or(Some(offers).filter(|offers| *offers > 0)) {
                        found.push(format!("{node}: {count}"));
                    }
                }
            }
            if let (Some(devices), None) = (devices, agent) {
                let others: Vec<String> = devices.keys().cloned().collect();
                checks.push(Check::warning(
                    WHAT,
                    format!("no agent reports from {node}; those of {} do", list(&others)),
                    "see `kubectl get pods -o wide`: there is one of hai-agent on every node",
                ));
            }
        }
    }
    if checks.is_empty() {
        checks.push(if found.is_empty() && devices.is_none() {
            Check::skipped(WHAT, "no agent was asked")
        } else {
            Check::good(WHAT, found.join(", "))
        });
    }
    checks
}

pub(super) fn checks(plan: &Plan, nodes: &[Node], devices: Option<&BTreeMap<String, u32>>) -> Vec<Check> {
    let mut checks = groups(plan, nodes);
    checks.extend(cordons(plan, nodes));
    checks.extend(taints(plan, nodes));
    checks.extend(gpus(plan, nodes, devices));
    checks
}

/// The names of all nodes that are in a group and can run something.
pub(super) fn of_groups(plan: &Plan, nodes: &[Node]) -> Vec<String> {
    let mut names: Vec<String> =
        members(plan, nodes).into_values().flatten().map(kube::ResourceExt::name_any).collect();
    names.sort();
    names.dedup();
    names
}
