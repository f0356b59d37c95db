//! What the daemon asks of an API server: the roles are made of this, and the doctor asks for each of it.

use k8s_openapi::api::rbac::v1::PolicyRule;

/// Verbs on a kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The kind, in the plural.
    pub resource: &'static str,
    /// The subresource, if it is about one.
    pub sub: &'static str,
    /// What is done to it.
    pub verbs: &'static [&'static str],
    /// In all namespaces, or of no namespace; else only where the daemon lives.
    pub everywhere: bool,
    /// What for.
    pub why: &'static str,
}

/// The least with which the daemon works. It never touches pods of others, and of nodes only whether they take new pods.
pub const DAEMON: &[Right] = &[
    Right {
        group: "",
        resource: "nodes",
        sub: "",
        verbs: &["get", "list", "watch"],
        everywhere: true,
        why: "to know the nodes",
    },
    Right {
        group: "",
        resource: "nodes",
        sub: "",
        verbs: &["patch"],
        everywhere: true,
        why: "to cordon and uncordon nodes when an operator says so",
    },
    Right {
        group: "",
        resource: "pods",
        sub: "",
        verbs: &["get", "list", "watch"],
        everywhere: true,
        why: "to count what others use on the nodes",
    },
    Right {
        group: "",
        resource: "namespaces",
        sub: "",
        verbs: &["get"],
        everywhere: true,
        why: "to see that the namespace of workers is there",
    },
    Right {
        group: "node.k8s.io",
        resource: "runtimeclasses",
        sub: "",
        verbs: &["get", "list"],
        everywhere: true,
        why: "to see that the runtime class of a group is there",
    },
    Right {
        group: "authentication.k8s.io",
        resource: "tokenreviews",
        sub: "",
        verbs: &["create"],
        everywhere: true,
        why: "to know which node an agent is on",
    },
    Right {
        group: "",
        resource: "pods",
        sub: "",
        verbs: &["create", "delete", "patch"],
        everywhere: false,
        why: "to start and end workers",
    },
    Right {
        group: "",
        resource: "pods",
        sub: "binding",
        verbs: &["create"],
        everywhere: false,
        why: "to say where workers run",
    },
    Right {
        group: "",
        resource: "pods",
        sub: "log",
        verbs: &["get"],
        everywhere: false,
        why: "to keep what workers write",
    },
    Right {
        group: "",
        resource: "configmaps",
        sub: "",
        verbs: &["create", "delete", "get", "list", "patch"],
        everywhere: false,
        why: "to own what belongs to a run",
    },
    Right {
        group: "",
        resource: "services",
        sub: "",
        verbs: &["create", "delete", "get", "list"],
        everywhere: false,
        why: "to let the workers of a run find each other",
    },
    Right {
        group: "",
        resource: "events",
        sub: "",
        verbs: &["list", "watch"],
        everywhere: false,
        why: "to say why a worker does not start",
    },
    Right {
        group: "",
        resource: "persistentvolumeclaims",
        sub: "",
        verbs: &["get", "list"],
        everywhere: false,
        why: "to see that what is mounted is there",
    },
    Right {
        group: "coordination.k8s.io",
        resource: "leases",
        sub: "",
        verbs: &["create", "get", "update"],
        everywhere: false,
        why: "to tell which daemon decides",
    },
];

impl Right {
    /// How Kubernetes writes what it is about: `pods`, `pods/binding`, `leases.coordination.k8s.io`.
    #[must_use]
    pub fn about(&self) -> String {
        let mut text = self.resource.to_owned();
        if !self.group.is_empty() {
            text = format!("{text}.{}", self.group);
        }
        if !self.sub.is_empty() {
            text = format!("{text}/{}", self.sub);
        }
        text
    }
}

/// The rules that give `rights` everywhere, or where the daemon lives.
#[must_use]
pub fn rules(rights: &[Right], everywhere: bool) -> Vec<PolicyRule> {
    let rule = |right: &Right| PolicyRule {
        api_groups: Some(vec![right.group.to_owned()]),
        resources: Some(vec![if right.sub.is_empty() {
            right.resource.to_owned()
        } else {
            format!("{}/{}", right.resource, right.sub)
        }]),
        verbs: right.verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    };
    rights.iter().filter(|right| right.everywhere == everywhere).map(rule).collect()
}
