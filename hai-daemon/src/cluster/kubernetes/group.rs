//! Which group a node belongs to: by its label, or because the configuration lists it.

use std::collections::BTreeMap;

use hai_core::model::{GroupName, NodeName};
use k8s_openapi::api::core::v1::Node;

use super::config::KubernetesConfig;

/// The label by which nodes tell their host's name.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// Why the groups can not be as they are listed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// An entry matches nothing.
    #[error(
        "group {group} lists node `{entry}`, but no node has that name, hostname or address; there are: {}",
        if nodes.is_empty() { "none".to_owned() } else { nodes.join(", ") }
    )]
    NoSuchNode {
        /// The group.
        group: GroupName,
        /// What it says.
        entry: String,
        /// The nodes that exist, with their addresses.
        nodes: Vec<String>,
    },
    /// One node in two groups.
    #[error("node {node} is listed in group {first} and, as `{entry}`, in group {second}; a node belongs to one group")]
    TwoGroups {
        /// The node.
        node: String,
        /// The one group.
        first: GroupName,
        /// The other.
        second: GroupName,
        /// How the other one calls it.
        entry: String,
    },
}

/// Whether the operator may have meant this node by `entry`.
fn is_meant(node: &Node, entry: &str) -> bool {
    let label = node.metadata.labels.as_ref().and_then(|labels| labels.get(HOSTNAME));
    node.metadata.name.as_deref() == Some(entry)
        || label.is_some_and(|label| label == entry)
        || addresses(node).any(|address| address == entry)
}

fn addresses(node: &Node) -> impl Iterator<Item = &str> {
    let addresses = node.status.as_ref().and_then(|status| status.addresses.as_ref());
    addresses.into_iter().flatten().map(|address| address.address.as_str())
}

/// How a node is told to people who look for the one that they meant.
fn describe(node: &Node) -> String {
    let name = node.metadata.name.clone().unwrap_or_default();
    let others: Vec<&str> = addresses(node).filter(|address| *address != name).collect();
    if others.is_empty() { name } else { format!("{name} ({})", others.join(", ")) }
}

/// The group of a node; `None` if it is not hai's.
pub(crate) fn group_of(node: &Node, config: &KubernetesConfig) -> Option<GroupName> {
    let listed = config.groups.iter().find(|group| group.nodes.iter().any(|entry| is_meant(node, entry)));
    if let Some(group) = listed {
        return Some(group.name.clone());
    }
    let value = node.metadata.labels.as_ref()?.get(&config.group_label)?;
    match GroupName::new(value) {
        // The nodes of a group that lists some are those alone.
        Ok(group) if config.group(&group).is_some_and(|group| !group.nodes.is_empty()) => None,
        Ok(group) => Some(group),
        Err(error) => {
            let node = node.metadata.name.as_deref().unwrap_or_default();
            tracing::warn!(node, label = config.group_label, %error, "a node's group can not be a name; the node is left out");
            None
        }
    }
}

/// Whether every listed node is there, and in one group only.
///
/// # Errors
/// The first entry that is wrong.
pub fn check(nodes: &[Node], config: &KubernetesConfig) -> Result<(), GroupError> {
    let mut taken: BTreeMap<&str, &GroupName> = BTreeMap::new();
    for group in &config.groups {
        for entry in &group.nodes {
            let Some(node) = nodes.iter().find(|node| is_meant(node, entry)) else {
                let nodes = nodes.iter().map(describe).collect();
                return Err(GroupError::NoSuchNode { group: group.name.clone(), entry: entry.clone(), nodes });
            };
            let name = node.metadata.name.as_deref().unwrap_or_default();
            match taken.insert(name, &group.name) {
                Some(first) if *first != group.name => {
                    let (first, second) = (first.clone(), group.name.clone());
                    return Err(GroupError::TwoGroups { node: name.to_owned(), first, second, entry: entry.clone() });
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// The node's name, if it can be one.
pub(crate) fn name_of(node: &Node) -> Option<NodeName> {
    NodeName::new(node.metadata.name.as_deref()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::kubernetes::{GpuMode, GroupConfig};

    fn node(name: &str, label: Option<&str>, address: &str) -> Node {
        let mut labels = json!({HOSTNAME: format!("host-of-{name}")});
        if let Some(label) = label {
            labels["hai_mars_group"] = json!(label);
        }
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]}}))
        .expect("a node")
    }

    fn config(groups: &[(&str, &[&str])]) -> KubernetesConfig {
        let group = |(name, nodes): &(&str, &[&str])| GroupConfig {
            name: GroupName::new(name).expect("a name"),
            nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
            gpus: GpuMode::Visible,
            runtime_class: None,
        };
        KubernetesConfig { groups: groups.iter().map(group).collect(), ..KubernetesConfig::new("hai", "/logs".into()) }
    }

    fn group(node: &Node, config: &KubernetesConfig) -> Option<String> {
        group_of(node, config).map(|group| group.to_string())
    }

    #[test]
    fn a_node_is_found_by_whatever_the_operator_wrote() {
        let node = node("worker", None, "10.0.0.2");
        for entry in ["worker", "host-of-worker", "10.0.0.2"] {
            let config = config(&[("train", &[entry])]);
            assert_eq!(check(std::slice::from_ref(&node), &config), Ok(()), "{entry}");
            assert_eq!(group(&node, &config).as_deref(), Some("train"), "{entry}");
        }
        assert_eq!(group(&node, &config(&[])), None, "neither listed nor labelled");
        assert_eq!(group(&self::node("x", Some("lab"), "10.0.0.3"), &config(&[])).as_deref(), Some("lab"));
        let listed = config(&[("lab", &["worker"])]);
        assert_eq!(group(&self::node("x", Some("lab"), "10.0.0.3"), &listed), None, "the list says who is in it");
    }

    #[test]
    fn an_entry_that_matches_nothing_is_told_with_what_there_is() {
        let nodes = [node("master", None, "10.0.0.1"), node("worker", None, "10.0.0.2")];
        let error = check(&nodes, &config(&[("train", &["10.0.0.9"])])).expect_err("no such node");
        let said = error.to_string();
        for part in ["train", "`10.0.0.9`", "master (10.0.0.1)", "worker (10.0.0.2)"] {
            assert!(said.contains(part), "{said}");
        }
        let error = check(&nodes, &config(&[("a", &["worker"]), ("b", &["10.0.0.2"])])).expect_err("twice");
        assert!(
            error.to_string().contains("node worker is listed in group a and, as `10.0.0.2`, in group b"),
            "{error}"
        );
        assert!(check(&[], &config(&[("a", &["worker"])])).expect_err("none").to_string().ends_with("none"));
    }
}
