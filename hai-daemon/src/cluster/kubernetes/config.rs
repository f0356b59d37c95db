//! What a Kubernetes cluster is made of for hai, and what can be wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use hai_core::model::{GroupName, NodeName, RunId, TaskId, UserName};

use super::connect::NoWay;
use super::group::GroupError;

/// How workers and nodes are dealt with.
#[derive(Clone, Debug, PartialEq)]
pub struct KubernetesConfig {
    /// Tells this hai's objects from those of another one in the same namespace; a part of every object's name.
    pub instance: String,
    /// Where workers live. It must exist.
    pub namespace: String,
    /// The label of nodes whose value is the group's name.
    pub group_label: String,
    /// Groups that are listed, or that differ from what is usual.
    pub groups: Vec<GroupConfig>,
    /// The labels of nodes that tell their place in the network.
    pub location: LocationLabels,
    /// The image of workers whose task names none.
    pub image: Option<String>,
    /// When the image is fetched, as Kubernetes says it: `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: Option<String>,
    /// Secrets with which images are fetched.
    pub image_pull_secrets: Vec<String>,
    /// The service account of workers, which get no token for it.
    pub service_account: Option<String>,
    /// Taints that every worker tolerates, by key.
    pub tolerates: BTreeSet<String>,
    /// What every worker finds mounted.
    pub mounts: Vec<Mount>,
    /// The numbers of users in the containers.
    pub users: BTreeMap<UserName, RunAs>,
    /// The numbers of all other users; whatever the image says if there are none.
    pub run_as: Option<RunAs>,
    /// Where workers reach the daemon, e.g. `http://hai.hai.svc:7070`; without it they are only signalled.
    pub server: Option<String>,
    /// How long a node may be silent before what runs there is given up.
    pub lost_after: Duration,
    /// How long an image that can not be fetched is waited for, unless it is plain that it does not exist.
    pub image_patience: Duration,
    /// Where the output of workers is kept.
    pub log_dir: PathBuf,
    /// The most output that is kept per worker, in bytes.
    pub log_bytes_max: u64,
    /// How many files that is spread over.
    pub log_segments: u32,
}

/// A group of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// Its name.
    pub name: GroupName,
    /// Its nodes, each by its name, its hostname label or an address; empty for those that carry the label.
    pub nodes: Vec<String>,
    /// How its workers get devices.
    pub gpus: GpuMode,
    /// The runtime class of its workers, e.g. `nvidia`.
    pub runtime_class: Option<String>,
}

/// How a worker gets its devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GpuMode {
    /// By their UUIDs, which NVIDIA's container runtime makes visible: exactly those that were chosen, also in parts.
    #[default]
    Visible,
    /// As many as it needs from the device plugin (`nvidia.com/gpu`), which picks them.
    Plugin,
}

/// Labels of nodes that tell where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocationLabels {
    /// Of the switch it is plugged into.
    pub leaf: String,
    /// Of the switch above that.
    pub spine: String,
    /// Of the room.
    pub zone: String,
}

impl Default for LocationLabels {
    fn default() -> Self {
        LocationLabels {
            leaf: "network.topology.nvidia.com/leaf".to_owned(),
            spine: "network.topology.nvidia.com/spine".to_owned(),
            zone: "topology.kubernetes.io/zone".to_owned(),
        }
    }
}

/// A part of a file system that workers find in their containers. `{user}` in a path stands for the task's owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its name, which Kubernetes must take as a volume's.
    pub name: String,
    /// Where workers find it.
    pub path: String,
    /// What it is.
    pub source: MountSource,
    /// A directory in it that is taken in its place.
    pub sub_path: Option<String>,
    /// Workers can not write to it.
    pub read_only: bool,
    /// Only for these users; for all if empty.
    pub users: BTreeSet<UserName>,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A directory of the node.
    HostPath(String),
    /// A directory that an NFS server exports.
    Nfs {
        /// The server.
        server: String,
        /// The directory.
        path: String,
    },
    /// A persistent volume claim.
    Claim(String),
}

/// Who a worker is inside of its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunAs {
    /// The user's number.
    pub uid: i64,
    /// The group's number.
    pub gid: i64,
}

impl KubernetesConfig {
    /// Everything as usual, with output kept in `log_dir`.
    #[must_use]
    pub fn new(namespace: &str, log_dir: PathBuf) -> Self {
        KubernetesConfig {
            instance: "hai".to_owned(),
            namespace: namespace.to_owned(),
            group_label: "hai_mars_group".to_owned(),
            groups: Vec::new(),
            location: LocationLabels::default(),
            image: None,
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            service_account: None,
            tolerates: BTreeSet::new(),
            mounts: Vec::new(),
            users: BTreeMap::new(),
            run_as: None,
            server: None,
            lost_after: Duration::from_secs(60),
            image_patience: Duration::from_secs(600),
            log_dir,
            log_bytes_max: 64 << 20,
            log_segments: 8,
        }
    }

    /// What was set for a group, if anything was.
    #[must_use]
    pub fn group(&self, name: &GroupName) -> Option<&GroupConfig> {
        self.groups.iter().find(|group| group.name == *name)
    }

    /// How workers of a group get devices.
    #[must_use]
    pub fn gpus(&self, group: &GroupName) -> GpuMode {
        self.group(group).map_or_else(GpuMode::default, |group| group.gpus)
    }
}

impl From<NoWay> for KubernetesError {
    fn from(way: NoWay) -> Self {
        KubernetesError::NoWay { way }
    }
}

impl KubernetesError {
    /// It may go another time without anybody having to mend anything.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, KubernetesError::Away { .. })
    }
}

/// Why a Kubernetes cluster does not do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KubernetesError {
    /// The API server refuses.
    #[error("{what} failed: {problem}")]
    Api {
        /// What was being done.
        what: String,
        /// What it said, and what helps.
        problem: String,
    },
    /// The API server is away, or has trouble that may pass.
    #[error("{what} failed: {problem}")]
    Away {
        /// What was being done.
        what: String,
        /// What went wrong.
        problem: String,
    },
    /// It is not known how to reach the API server.
    #[error("{way}; {}", .way.fix())]
    NoWay {
        /// What is missing.
        way: NoWay,
    },
    /// A group names nodes that are not.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The namespace for workers is not there.
    #[error(
        "there is no namespace `{namespace}` for workers; make it with `kubectl create namespace {namespace}`, or with `hai-daemon up`"
    )]
    NoNamespace {
        /// Its name.
        namespace: String,
    },
    /// A run was ordered onto a node that is not here.
    #[error("run {run} is ordered onto node {node}, which is not in the cluster")]
    UnknownNode {
        /// The run.
        run: RunId,
        /// The node.
        node: NodeName,
    },
    /// No image is known for the workers.
    #[error("the task names no image, and none is set for all; submit it with --image, or set `image` in [kubernetes]")]
    NoImage,
    /// The group's nodes give whole devices only.
    #[error(
        "group {group} gives out devices through the device plugin, which has no parts of them; ask for whole devices, or set gpus = \"visible\" for the group"
    )]
    NoParts {
        /// The group.
        group: GroupName,
    },
    /// Another hai's runs are there.
    #[error(
        "`{object}` in namespace {namespace} is a run of another hai, whose data are elsewhere; give this one another \
         `instance` in [kubernetes], or, if that hai is no more, remove what is left of it: `hai-daemon down --delete-data`, \
         and `hai-daemon up`"
    )]
    Foreign {
        /// What both are called.
        instance: String,
        /// Where.
        namespace: String,
        /// One of the other's runs.
        object: String,
    },
    /// A run of that number is there, and is not the one that is ordered.
    #[error("run {run} of task {task} is still there; it is tried again once that has left")]
    Taken {
        /// The run.
        run: RunId,
        /// Whose run it is.
        task: TaskId,
    },
    /// A worker is still there.
    #[error("run {run} still has workers")]
    StillExecutes {
        /// The run.
        run: RunId,
    },
}
