//! What an operator wants to have on a Kubernetes cluster: the file's `[kubernetes]`, and what only setting up needs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cluster::kubernetes::{GpuMode, MountSource};

/// How people outside of the cluster reach the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ServiceKind {
    /// Through a load balancer if the cluster has one; through a port of every node in any case.
    #[default]
    LoadBalancer,
    /// Through a port of every node.
    NodePort,
    /// From within the cluster, or through an ingress.
    ClusterIp,
}

impl ServiceKind {
    /// What Kubernetes calls it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            ServiceKind::LoadBalancer => "LoadBalancer",
            ServiceKind::NodePort => "NodePort",
            ServiceKind::ClusterIp => "ClusterIP",
        }
    }
}

/// Where the daemon keeps its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// In a claim of this size, of this storage class or the usual one.
    Claim {
        /// As Kubernetes writes it, e.g. `10Gi`.
        size: String,
        /// The storage class; the cluster's usual one if there is none.
        class: Option<String>,
    },
    /// In a directory of one node, where the daemon then runs.
    Host {
        /// The directory.
        path: String,
        /// The node's name.
        node: String,
    },
}

/// A name by which people reach the daemon through an ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// A DNS name.
    pub host: String,
    /// The ingress class; the cluster's usual one if there is none.
    pub class: Option<String>,
    /// The secret with the certificate; plain HTTP if there is none.
    pub tls: Option<String>,
}

/// A group of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its nodes by name, hostname label or address; empty for those that carry the label.
    pub nodes: Vec<String>,
    /// How its workers get devices.
    pub gpus: GpuMode,
    /// The runtime class of its workers.
    pub runtime_class: Option<String>,
}

/// Something that every worker finds mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The volume's name.
    pub name: String,
    /// Where it is found.
    pub path: String,
    /// What it is.
    pub source: MountSource,
    /// Nobody writes to it.
    pub read_only: bool,
}

/// What is to be there.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Where everything lives.
    pub namespace: String,
    /// Where the API server is told; as for `kubectl` if nothing is said.
    pub kubeconfig: Option<PathBuf>,
    /// Which context of that.
    pub context: Option<String>,
    /// The label of nodes whose value is their group.
    pub group_label: String,
    /// The groups that the file speaks of.
    pub groups: Vec<Group>,
    /// What workers find mounted.
    pub mounts: Vec<Mount>,
    /// Taints that workers tolerate, by key.
    pub tolerates: Vec<String>,
    /// User and group number of workers.
    pub run_as: Option<(i64, i64)>,
    /// The configuration, as the daemon shall read it.
    pub config: String,
    /// Settings that stand above it, by dotted name.
    pub settings: BTreeMap<String, String>,
    /// The image with `hai-daemon` in it.
    pub image: String,
    /// When it is fetched.
    pub pull_policy: Option<String>,
    /// Secrets with which it is fetched.
    pub pull_secrets: Vec<String>,
    /// How many daemons there are.
    pub replicas: i32,
    /// How people reach it.
    pub service: ServiceKind,
    /// The port of every node, 30000 to 32767; whichever is free if nothing is said.
    pub node_port: Option<i32>,
    /// By which name, if any.
    pub ingress: Option<Ingress>,
    /// Where its data lie.
    pub data: Data,
    /// The runtime class of the agents.
    pub agent_runtime_class: Option<String>,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The file can not be read.
    #[error("{path} can not be read: {problem}")]
    Unreadable {
        /// Its path.
        path: String,
        /// Why not.
        problem: String,
    },
    /// The file says something wrong.
    #[error("{path}: {problem}")]
    Wrong {
        /// Its path.
        path: String,
        /// What is wrong, and where.
        problem: String,
    },
    /// A value can not be.
    #[error("{0}")]
    Value(String),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    kubernetes: Table,
}

/// `[kubernetes]`. What is not needed here is known, so that what nobody knows is told.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(dead_code, reason = "the daemon reads the others")]
struct Table {
    namespace: String,
    instance: Option<String>,
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    server: Option<String>,
    group_label: String,
    leaf_label: Option<String>,
    spine_label: Option<String>,
    zone_label: Option<String>,
    image: Option<String>,
    image_pull_policy: Option<String>,
    image_pull_secrets: Vec<String>,
    service_account: Option<String>,
    tolerates: Vec<String>,
    lost_after: Option<toml::Value>,
    image_patience: Option<toml::Value>,
    host_paths: Vec<String>,
    run_as: Option<toml::Value>,
    users: BTreeMap<String, toml::Value>,
    group: Vec<GroupTable>,
    mount: Vec<MountTable>,
}

impl Default for Table {
    fn default() -> Self {
        Table {
            namespace: "hai".to_owned(),
            instance: None,
            kubeconfig: None,
            context: None,
            server: None,
            group_label: "hai_mars_group".to_owned(),
            leaf_label: None,
            spine_label: None,
            zone_label: None,
            image: None,
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            service_account: None,
            tolerates: Vec::new(),
            lost_after: None,
            image_patience: None,
            host_paths: Vec::new(),
            run_as: None,
            users: BTreeMap::new(),
            group: Vec::new(),
            mount: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupTable {
    name: String,
    #[serde(default)]
    nodes: Vec<String>,
    #[serde(default)]
    gpus: Gpus,
    runtime_class: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Gpus {
    #[default]
    Visible,
    Plugin,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "the daemon reads the others")]
struct MountTable {
    name: String,
    path: String,
    host_path: Option<String>,
    nfs: Option<String>,
    claim: Option<String>,
    sub_path: Option<String>,
    #[serde(default)]
    read_only: bool,
    #[serde(default)]
    users: Vec<String>,
}

impl MountTable {
    fn source(&self) -> Result<MountSource, String> {
        let name = &self.name;
        match (&self.host_path, &self.nfs, &self.claim) {
            (Some(path), None, None) => Ok(MountSource::HostPath(path.clone())),
            (None, Some(export), None) => export
                .split_once(':')
                .map(|(server, path)| MountSource::Nfs { server: server.to_owned(), path: path.to_owned() })
                .ok_or_else(|| format!("mount {name}: nfs is \"server:/path\", not {export:?}")),
            (None, None, Some(claim)) => Ok(MountSource::Claim(claim.clone())),
            _ => Err(format!("mount {name} needs one of host_path, nfs and claim")),
        }
    }
}

fn numbers(value: &toml::Value) -> Option<(i64, i64)> {
    match value {
        toml::Value::Integer(id) => Some((*id, *id)),
        toml::Value::String(text) => {
            let (user, group) = text.split_once(':').unwrap_or((text, text));
            Some((user.parse().ok()?, group.parse().ok()?))
        }
        _ => None,
    }
}

/// Whether `text` can be a label of a DNS name.
fn dns_label(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(good) && !text.starts_with('-') && !text.ends_with('-')
}

impl Plan {
    /// Everything as usual, with what a configuration says of Kubernetes.
    ///
    /// # Errors
    /// [`PlanError::Wrong`] if that can not be understood; `path` is how the text is called then.
    pub fn of_text(text: &str, path: &Path) -> Result<Self, PlanError> {
        let wrong = |problem: String| PlanError::Wrong { path: path.display().to_string(), problem };
        let file: File = toml::from_str(text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        let table = file.kubernetes;
        let mut mounts = Vec::new();
        for mount in &table.mount {
            let source = mount.source().map_err(wrong)?;
            let (name, path) = (mount.name.clone(), mount.path.clone());
            mounts.push(Mount { name, path, source, read_only: mount.read_only });
        }
        let group = |group: GroupTable| Group {
            name: group.name,
            nodes: group.nodes,
            gpus: match group.gpus {
                Gpus::Visible => GpuMode::Visible,
                Gpus::Plugin => GpuMode::Plugin,
            },
            runtime_class: group.runtime_class,
        };
        let groups: Vec<Group> = table.group.into_iter().map(group).collect();
        Ok(Plan {
            namespace: table.namespace,
            kubeconfig: table.kubeconfig,
            context: table.context,
            group_label: table.group_label,
            agent_runtime_class: groups.iter().find_map(|group| group.runtime_class.clone()),
            groups,
            mounts,
            tolerates: table.tolerates,
            run_as: table.run_as.as_ref().and_then(numbers),
            config: text.to_owned(),
            settings: BTreeMap::new(),
            image: format!("hai-daemon:{}", env!("CARGO_PKG_VERSION")),
            pull_policy: table.image_pull_policy,
            pull_secrets: table.image_pull_secrets,
            replicas: 1,
            service: ServiceKind::default(),
            node_port: None,
            ingress: None,
            data: Data::Claim { size: "10Gi".to_owned(), class: None },
        })
    }

    /// Refuses what no API server would take, with what to write in its place.
    ///
    /// # Errors
    /// [`PlanError::Value`]
    pub fn check(&self) -> Result<(), PlanError> {
        let refuse = |text: String| Err(PlanError::Value(text));
        if !dns_label(&self.namespace) {
            return refuse(format!(
                "namespace {:?} can not be: small letters, digits and `-`, at most 63 of them",
                self.namespace
            ));
        }
        if let Some(port) = self.node_port
            && !(30_000..=32_767).contains(&port)
        {
            return refuse(format!("node port {port} can not be: nodes give out 30000 to 32767"));
        }
        if let Some(ingress) = &self.ingress {
            let host = &ingress.host;
            if host.parse::<std::net::IpAddr>().is_ok() {
                return refuse(format!(
                    "ingress host {host} is an address, and has to be a DNS name; without one leave it out, and use the \
                     node port"
                ));
            }
            if host.is_empty() || !host.split('.').all(dns_label) {
                return refuse(format!("ingress host {host:?} is not a DNS name, such as hai.lab.example"));
            }
        }
        if self.replicas > 1 && matches!(self.data, Data::Host { .. }) {
            return refuse("several replicas can not share a directory of one node; give them a database".to_owned());
        }
        for group in &self.groups {
            if group.nodes.iter().any(|entry| entry.trim().is_empty()) {
                return refuse(format!("group {} lists a node without a name; take the empty entry out", group.name));
            }
        }
        for setting in self.settings.keys() {
            if setting.split('.').count() < 2 {
                return refuse(format!("--set {setting} names no setting; write it as section.key=value"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<Plan, PlanError> {
        Plan::of_text(text, Path::new("hai.toml"))
    }

    #[test]
    fn what_the_file_says_is_planned() {
        let plan = plan(
            "[kubernetes]\nnamespace = \"lab\"\nrun_as = \"1001:100\"\n[[kubernetes.group]]\nname = \"a\"\nnodes = \
             [\"n1\"]\ngpus = \"plugin\"\n[[kubernetes.mount]]\nname = \"s\"\npath = \"/s\"\nnfs = \"nas:/s\"\n",
        )
        .expect("a plan");
        assert_eq!((plan.namespace.as_str(), plan.run_as), ("lab", Some((1001, 100))));
        assert_eq!(plan.groups[0].gpus, GpuMode::Plugin);
        let nas = MountSource::Nfs { server: "nas".to_owned(), path: "/s".to_owned() };
        assert_eq!(plan.mounts[0].source, nas);
        assert_eq!(plan.check(), Ok(()));
    }

    #[test]
    fn a_file_that_can_not_be_understood_is_never_skipped() {
        // What upstream's own installer wrote, and then ignored.
        let error = plan("[kubernetes]\nexternal = 'hai-platform'-external\n").expect_err("no TOML").to_string();
        assert!(error.starts_with("hai.toml: TOML parse error at line 2"), "{error}");
        let error = plan("[kubernetes]\nnamespaces = \"x\"\n").expect_err("nobody knows it").to_string();
        assert!(error.contains("unknown field `namespaces`"), "{error}");
        let error = plan("[[kubernetes.mount]]\nname = \"s\"\npath = \"/s\"\n").expect_err("of what").to_string();
        assert!(error.contains("mount s needs one of host_path, nfs and claim"), "{error}");
    }

    #[test]
    fn what_can_not_be_is_told_before_anything_is_done() {
        let refused = |change: fn(&mut Plan)| {
            let mut plan = plan("").expect("a plan");
            change(&mut plan);
            plan.check().expect_err("it is refused").to_string()
        };
        let ingress = |host: &str| Some(Ingress { host: host.to_owned(), class: None, tls: None });
        assert!(refused(|plan| plan.namespace = "Hai_1".to_owned()).contains("small letters"));
        assert!(refused(|plan| plan.node_port = Some(8420)).contains("30000 to 32767"));
        let mut by_address = plan("").expect("a plan");
        by_address.ingress = ingress("10.0.0.1");
        assert!(by_address.check().expect_err("an address").to_string().contains("has to be a DNS name"));
        by_address.ingress = ingress("hai.lab");
        assert_eq!(by_address.check(), Ok(()));
        let empty = |plan: &mut Plan| {
            let nodes = vec![String::new()];
            let name = "a".to_owned();
            plan.groups.push(Group { name, nodes, gpus: GpuMode::Visible, runtime_class: None });
        };
        assert!(refused(empty).contains("group a lists a node without a name"));
    }
}
