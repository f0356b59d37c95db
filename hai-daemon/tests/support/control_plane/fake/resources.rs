//! The kinds of objects that the in-process control plane keeps.

/// One kind of object.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) namespaced: bool,
    pub(crate) status: bool,
}

const fn r(
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
    namespaced: bool,
    status: bool,
) -> Resource {
    Resource { group, version, plural, kind, namespaced, status }
}

/// Every kind there is.
pub(crate) const RESOURCES: &[Resource] = &[
    r("", "v1", "pods", "Pod", true, true),
    r("", "v1", "nodes", "Node", false, true),
    r("", "v1", "namespaces", "Namespace", false, true),
    r("", "v1", "services", "Service", true, true),
    r("", "v1", "endpoints", "Endpoints", true, false),
    r("", "v1", "events", "Event", true, false),
    r("", "v1", "configmaps", "ConfigMap", true, false),
    r("", "v1", "secrets", "Secret", true, false),
    r("", "v1", "serviceaccounts", "ServiceAccount", true, false),
    r("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true, true),
    r("", "v1", "persistentvolumes", "PersistentVolume", false, true),
    r("apps", "v1", "deployments", "Deployment", true, true),
    r("apps", "v1", "daemonsets", "DaemonSet", true, true),
    r("apps", "v1", "replicasets", "ReplicaSet", true, true),
    r("apps", "v1", "statefulsets", "StatefulSet", true, true),
    r("batch", "v1", "jobs", "Job", true, true),
    r("coordination.k8s.io", "v1", "leases", "Lease", true, false),
    r("events.k8s.io", "v1", "events", "Event", true, false),
    r("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true, false),
    r("networking.k8s.io", "v1", "ingresses", "Ingress", true, true),
    r("networking.k8s.io", "v1", "ingressclasses", "IngressClass", false, false),
    r("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", true, false),
    r("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", false, false),
    r("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true, true),
    r("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", false, false),
    r("storage.k8s.io", "v1", "storageclasses", "StorageClass", false, false),
    r("rbac.authorization.k8s.io", "v1", "roles", "Role", true, false),
    r("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", true, false),
    r("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false, false),
    r("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false, false),
];

impl Resource {
    pub(crate) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|known| known.group == group && known.version == version && known.plural == plural)
    }

    /// What `apiVersion` says of it.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// How messages name it.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }
}
