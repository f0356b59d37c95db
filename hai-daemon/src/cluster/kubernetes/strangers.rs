//! What pods that are not hai's take of a node: they count as used.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Add, AddAssign};

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::quantity::{Round, mib, milli, whole};

/// The device plugin's resource.
pub(crate) const GPU: &str = "nvidia.com/gpu";

/// An amount of a node's resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// Thousandths of a core.
    pub(crate) cpu_milli: u64,
    /// MiB.
    pub(crate) memory_mib: u64,
    /// Devices that the plugin gave.
    pub(crate) gpus: u64,
}

impl Used {
    fn of(amounts: Option<&BTreeMap<String, Quantity>>) -> Self {
        let amount = |key: &str| amounts.and_then(|amounts| amounts.get(key));
        Used {
            cpu_milli: amount("cpu").and_then(|cpu| milli(cpu, Round::Up)).unwrap_or(0),
            memory_mib: amount("memory").and_then(|memory| mib(memory, Round::Up)).unwrap_or(0),
            gpus: amount(GPU).and_then(|count| whole(count, 1, 1, Round::Up)).unwrap_or(0),
        }
    }

    fn of_container(container: &Container) -> Self {
        let resources = container.resources.as_ref();
        let requests = Self::of(resources.and_then(|resources| resources.requests.as_ref()));
        // Devices are often written as a limit alone, which is the request too.
        let limits = Self::of(resources.and_then(|resources| resources.limits.as_ref()));
        Used { gpus: requests.gpus.max(limits.gpus), ..requests }
    }

    fn most(self, other: Self) -> Self {
        Used {
            cpu_milli: self.cpu_milli.max(other.cpu_milli),
            memory_mib: self.memory_mib.max(other.memory_mib),
            gpus: self.gpus.max(other.gpus),
        }
    }
}

impl Add for Used {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Used {
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli),
            memory_mib: self.memory_mib.saturating_add(other.memory_mib),
            gpus: self.gpus.saturating_add(other.gpus),
        }
    }
}

impl AddAssign for Used {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Where a pod is and what it takes there; `None` if it is nowhere yet, or over. Counted as Kubernetes' own scheduler does:
/// what starts before the containers needs its room only until then, but for what goes on beside them.
pub(crate) fn use_of(pod: &Pod) -> Option<(&str, Used)> {
    let spec = pod.spec.as_ref()?;
    let node = spec.node_name.as_deref()?;
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return None;
    }
    let containers = spec.containers.iter().map(Used::of_container).fold(Used::default(), Used::add);
    let (mut beside, mut before) = (Used::default(), Used::default());
    for container in spec.init_containers.iter().flatten() {
        let used = Used::of_container(container);
        if container.restart_policy.as_deref() == Some("Always") {
            beside += used;
            before = before.most(beside);
        } else {
            before = before.most(beside + used);
        }
    }
    Some((node, (containers + beside).most(before) + Used::of(spec.overhead.as_ref())))
}

/// A pod's namespace and name.
pub(crate) type PodKey = (String, String);

/// What others' pods take, by node.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    nodes: BTreeMap<String, BTreeMap<PodKey, Used>>,
    pods: BTreeMap<PodKey, String>,
}

impl Strangers {
    /// What is taken of a node in all.
    pub(crate) fn on(&self, node: &str) -> Used {
        self.nodes.get(node).map_or_else(Used::default, |pods| pods.values().copied().fold(Used::default(), Used::add))
    }

    /// Takes in what a pod takes, and where; `None` for nothing. Returns the nodes on which that changed something.
    pub(crate) fn set(&mut self, pod: PodKey, used: Option<(&str, Used)>) -> BTreeSet<String> {
        let mut changed = BTreeSet::new();
        let before = self.pods.get(&pod).cloned();
        if let Some(node) = before.filter(|node| used.is_none_or(|(now, _)| now != *node)) {
            self.pods.remove(&pod);
            if let Some(pods) = self.nodes.get_mut(&node) {
                pods.remove(&pod);
                if pods.is_empty() {
                    self.nodes.remove(&node);
                }
            }
            changed.insert(node);
        }
        if let Some((node, used)) = used {
            self.pods.insert(pod.clone(), node.to_owned());
            if self.nodes.entry(node.to_owned()).or_default().insert(pod, used) != Some(used) {
                changed.insert(node.to_owned());
            }
        }
        changed
    }

    /// All pods that take something.
    pub(crate) fn pods(&self) -> impl Iterator<Item = &PodKey> {
        self.pods.keys()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(node: Option<&str>, phase: &str, containers: Value, init: Value) -> Pod {
        let mut pod = json!({"spec": {"containers": containers, "initContainers": init}, "status": {"phase": phase}});
        if let Some(node) = node {
            pod["spec"]["nodeName"] = json!(node);
        }
        serde_json::from_value(pod).expect("a pod")
    }

    fn asks(cpu: &str, memory: &str) -> Value {
        json!({"name": "x", "resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    #[test]
    fn a_pod_takes_what_kubernetes_counts_for_it() {
        let mut side = asks("300m", "1Gi");
        side["restartPolicy"] = json!("Always");
        let gpu = json!({"name": "gpu", "resources": {"limits": {"nvidia.com/gpu": 1}, "requests": {"cpu": "1"}}});
        let pod = pod(Some("worker"), "Running", json!([asks("500m", "1Gi"), gpu]), json!([asks("2", "100Mi"), side]));
        let (node, used) = use_of(&pod).expect("it takes something");
        assert_eq!(node, "worker");
        assert_eq!(used, Used { cpu_milli: 2000, memory_mib: 2048, gpus: 1 }, "before, side by side, and both");
    }

    #[test]
    fn what_is_nowhere_or_over_takes_nothing() {
        assert!(use_of(&pod(None, "Pending", json!([asks("1", "1Gi")]), json!([]))).is_none());
        for phase in ["Succeeded", "Failed"] {
            assert!(use_of(&pod(Some("worker"), phase, json!([asks("1", "1Gi")]), json!([]))).is_none());
        }
    }

    #[test]
    fn nodes_are_told_when_something_on_them_changed() {
        let mut all = Strangers::default();
        let (a, b) = (("ns".to_owned(), "a".to_owned()), ("ns".to_owned(), "b".to_owned()));
        let one = Used { cpu_milli: 1000, ..Used::default() };
        assert_eq!(all.set(a.clone(), Some(("x", one))).len(), 1);
        assert!(all.set(a.clone(), Some(("x", one))).is_empty(), "nothing new");
        all.set(b.clone(), Some(("x", one)));
        assert_eq!(all.on("x").cpu_milli, 2000);
        assert_eq!(all.set(a.clone(), Some(("y", one))).into_iter().collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!((all.on("x").cpu_milli, all.on("y").cpu_milli), (1000, 1000));
        all.set(b, None);
        assert_eq!((all.on("x"), all.pods().count()), (Used::default(), 1));
    }
}
