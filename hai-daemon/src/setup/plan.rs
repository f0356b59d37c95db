//! What an operator wants to have on a Kubernetes cluster: the file's `[kubernetes]`, and what only setting up needs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::objects;
use crate::cluster::kubernetes::{GpuMode, KubernetesConfig, MountSource};
use crate::compose::kubernetes_config;
use crate::config::{Config, DatabaseUrl};

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
    /// In a directory of a node.
    Host {
        /// The directory.
        path: String,
        /// The node, where the daemon then runs; if there is none, the directory is the same one on all nodes.
        node: Option<String>,
    },
    /// With the daemon's pod, and gone with it: the output of workers, and the operator's token.
    Pod,
}

/// Where what is decided is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// In a file among the data.
    File,
    /// On the server that this names. It goes into the secret [`objects::DATABASE`](super::objects::DATABASE).
    Given(DatabaseUrl),
    /// On the server that this secret, which the operator made, names.
    Secret,
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
    /// Where what is decided is stored.
    pub database: Database,
    /// All that the configuration says of the cluster.
    pub kubernetes: KubernetesConfig,
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
    /// The configuration says something wrong; each mistake has its line.
    #[error("{0}")]
    Wrong(String),
    /// A value can not be.
    #[error("{0}")]
    Value(String),
}

/// Whether `text` can be a label of a DNS name.
fn dns_label(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(good) && !text.starts_with('-') && !text.ends_with('-')
}

/// What does not hold within the cluster: how the API server is reached, and what a secret says there.
const OUTER: [(&str, &[&str]); 2] = [("kubernetes", &["kubeconfig", "context"]), ("data", &["database"])];

/// How the API server is reached is another thing for a pod than for an operator, and a password is for a secret: the same file
/// without those.
fn within_the_cluster(text: &str) -> Result<String, PlanError> {
    let wrong = |error: toml::de::Error| PlanError::Wrong(error.to_string());
    let mut wanted: toml::Table = toml::from_str(text).map_err(wrong)?;
    for (section, keys) in OUTER {
        if let Some(table) = wanted.get_mut(section).and_then(toml::Value::as_table_mut) {
            keys.iter().for_each(|key| drop(table.remove(*key)));
        }
    }
    let mut section = String::new();
    let lines = text.lines().map(|line| {
        let plain = line.trim();
        if plain.starts_with('[') {
            plain.clone_into(&mut section);
        }
        let key = plain.split('=').next().unwrap_or_default().trim();
        let within = |name: &str| section.strip_prefix('[').is_some_and(|rest| rest.starts_with(&format!("{name}]")));
        match OUTER.iter().find(|(name, keys)| within(name) && keys.contains(&key)) {
            // Its value is nobody's business here.
            Some(("data", _)) => format!("# not within the cluster: {key}\n"),
            Some(_) => format!("# not within the cluster: {plain}\n"),
            None => format!("{line}\n"),
        }
    });
    let inner: String = lines.collect();
    let same = toml::from_str::<toml::Table>(&inner).is_ok_and(|table| table == wanted);
    if same {
        return Ok(inner);
    }
    Err(PlanError::Value(
        "kubernetes.kubeconfig and context do not hold within the cluster, data.database goes into a secret, and they can not \
         be taken out: write each on a line of its own below [kubernetes] and [data]"
            .to_owned(),
    ))
}

impl Plan {
    /// Everything as usual, with what a configuration says of Kubernetes. `text` is the file that it was read from.
    ///
    /// # Errors
    /// [`PlanError::Value`] if the text can not be made one that holds within the cluster.
    pub fn of_config(config: &Config, text: &str) -> Result<Self, PlanError> {
        let kubernetes = kubernetes_config(config, PathBuf::new());
        let group = |group: &crate::cluster::kubernetes::GroupConfig| Group {
            name: group.name.to_string(),
            nodes: group.nodes.clone(),
            gpus: group.gpus,
            runtime_class: group.runtime_class.clone(),
        };
        let mount = |mount: &crate::cluster::kubernetes::Mount| Mount {
            name: mount.name.clone(),
            path: mount.path.clone(),
            source: mount.source.clone(),
            read_only: mount.read_only,
        };
        let groups: Vec<Group> = kubernetes.groups.iter().map(group).collect();
        Ok(Plan {
            namespace: kubernetes.namespace.clone(),
            kubeconfig: config.kubernetes.kubeconfig.clone(),
            context: config.kubernetes.context.as_ref().map(|context| context.as_str().to_owned()),
            group_label: kubernetes.group_label.clone(),
            agent_runtime_class: groups.iter().find_map(|group| group.runtime_class.clone()),
            groups,
            mounts: kubernetes.mounts.iter().map(mount).collect(),
            tolerates: kubernetes.tolerates.iter().cloned().collect(),
            run_as: kubernetes.run_as.map(|numbers| (numbers.uid, numbers.gid)),
            config: within_the_cluster(text)?,
            settings: BTreeMap::new(),
            image: format!("hai-daemon:{}", env!("CARGO_PKG_VERSION")),
            pull_policy: kubernetes.image_pull_policy.clone(),
            pull_secrets: kubernetes.image_pull_secrets.clone(),
            replicas: 1,
            service: ServiceKind::default(),
            node_port: None,
            ingress: None,
            data: Data::Claim { size: "10Gi".to_owned(), class: None },
            database: config.data.database.clone().map_or(Database::File, Database::Given),
            kubernetes,
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
        let replicas = self.replicas;
        if replicas < 1 {
            return refuse(format!("{replicas} daemons can not be: one at least"));
        }
        match (&self.database, &self.data) {
            (Database::File, _) if replicas > 1 => {
                return refuse(format!(
                    "{replicas} daemons need a database that they share, since a file can have one alone: set data.database, \
                     or make the secret {} with the key {} and say --database-secret",
                    objects::DATABASE,
                    objects::DATABASE_KEY
                ));
            }
            (_, Data::Host { node: Some(node), .. }) if replicas > 1 => {
                return refuse(format!(
                    "{replicas} daemons on node {node} alone would go with it: leave --data-node out, and let --data-path be \
                     the same directory on all nodes"
                ));
            }
            (Database::File, Data::Host { path, node: None }) => {
                return refuse(format!(
                    "a database in {path} has to stay on one node: say with --data-node on which, or set data.database"
                ));
            }
            _ => {}
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

    fn plan(text: &str) -> Plan {
        let config = Config::parse(text, "hai.toml").expect("a configuration");
        Plan::of_config(&config, text).expect("a plan")
    }

    #[test]
    fn what_the_file_says_is_planned() {
        let plan = plan(
            "[kubernetes]\nnamespace = \"lab\"\nrun_as = \"1001:100\"\n[[kubernetes.group]]\nname = \"a\"\nnodes = \
             [\"n1\"]\ngpus = \"plugin\"\n[[kubernetes.mount]]\nname = \"s\"\npath = \"/s\"\nnfs = \"nas:/s\"\n",
        );
        assert_eq!((plan.namespace.as_str(), plan.run_as), ("lab", Some((1001, 100))));
        assert_eq!(plan.groups[0].gpus, GpuMode::Plugin);
        let nas = MountSource::Nfs { server: "nas".to_owned(), path: "/s".to_owned() };
        assert_eq!(plan.mounts[0].source, nas);
        assert_eq!(plan.check(), Ok(()));
    }

    #[test]
    fn the_way_to_the_server_is_not_taken_into_the_cluster() {
        let text =
            "[kubernetes]\n# here\n kubeconfig = \"/home/ada/.kube/config\"\ncontext=\"lab\"\nnamespace = \"lab\"\n";
        let inner = plan(text).config;
        assert_eq!(
            inner,
            "[kubernetes]\n# here\n# not within the cluster: kubeconfig = \"/home/ada/.kube/config\"\n\
             # not within the cluster: context=\"lab\"\nnamespace = \"lab\"\n"
        );
        assert_eq!(plan(&inner).kubeconfig, None);
        let inner = plan("[data]\ndatabase = \"postgres://hai:geheim@db/hai\"\ndir = \"/d\"\n").config;
        assert_eq!(inner, "[data]\n# not within the cluster: database\ndir = \"/d\"\n");
        let dotted = "kubernetes.kubeconfig = \"/home/ada/.kube/config\"\n";
        let error = within_the_cluster(dotted).expect_err("it would be lost, or would not hold");
        assert!(error.to_string().contains("on a line of its own"), "{error}");
    }

    #[test]
    fn what_can_not_be_is_told_before_anything_is_done() {
        let refused = |change: fn(&mut Plan)| {
            let mut plan = plan("");
            change(&mut plan);
            plan.check().expect_err("it is refused").to_string()
        };
        let ingress = |host: &str| Some(Ingress { host: host.to_owned(), class: None, tls: None });
        assert!(refused(|plan| plan.namespace = "Hai_1".to_owned()).contains("small letters"));
        assert!(refused(|plan| plan.node_port = Some(8420)).contains("30000 to 32767"));
        let mut by_address = plan("");
        by_address.ingress = ingress("10.0.0.1");
        assert!(by_address.check().expect_err("an address").to_string().contains("has to be a DNS name"));
        by_address.ingress = ingress("hai.lab");
        assert_eq!(by_address.check(), Ok(()));
        let shared = |plan: &mut Plan| {
            let config = Config::parse("[data]\ndatabase = \"postgres://hai@db/hai\"\n", "hai.toml").expect("good");
            plan.database = Database::Given(config.data.database.expect("it is said"));
            plan.replicas = 2;
        };
        assert!(refused(|plan| plan.replicas = 2).contains("2 daemons need a database that they share"));
        assert!(refused(|plan| plan.replicas = 0).contains("one at least"));
        let host = |node: Option<&str>| Data::Host { path: "/shared".to_owned(), node: node.map(str::to_owned) };
        let mut two = plan("");
        shared(&mut two);
        assert_eq!(two.check(), Ok(()));
        two.data = host(None);
        assert_eq!(two.check(), Ok(()));
        two.data = host(Some("n1"));
        assert!(two.check().expect_err("one node").to_string().contains("would go with it"));
        let mut one = plan("");
        one.data = host(None);
        assert!(one.check().expect_err("which node?").to_string().contains("--data-node"));
        let unnamed = |plan: &mut Plan| drop(plan.settings.insert("borrow".to_owned(), "false".to_owned()));
        assert!(refused(unnamed).contains("section.key=value"));
    }
}
