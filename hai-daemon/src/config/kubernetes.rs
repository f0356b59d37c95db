//! `[kubernetes]`: what it holds, and how its users, groups and mounts are read, checked and shown.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hai_core::model::{GroupName, Span, UserName};
use toml::Spanned;
use toml::de::DeValue;

use super::file::{Findings, Table};
use super::names::{
    AbsolutePath, DnsLabel, Image, Instance, LabelKey, Line, MountName, MountPath, NfsExport, NodeEntry, ObjectName,
    ServerUrl, SubPath, UserPath, is_label_value,
};
use super::value::{Raw, Setting, one_of, quoted, words};
use super::{Config, Origin};

/// Where workers are executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClusterKind {
    /// As processes of the daemon's machine.
    #[default]
    Local,
    /// As pods; see [`Kubernetes`].
    Kubernetes,
}
words!(ClusterKind, "a kind of cluster", "local" => ClusterKind::Local, "kubernetes" => ClusterKind::Kubernetes);

/// When an image is fetched, in Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// Each time.
    Always,
    /// When the node has none of that name.
    IfNotPresent,
    /// Not by Kubernetes.
    Never,
}
words!(
    PullPolicy, "a pull policy",
    "Always" => PullPolicy::Always, "IfNotPresent" => PullPolicy::IfNotPresent, "Never" => PullPolicy::Never,
);

impl PullPolicy {
    /// The policy as Kubernetes says it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            PullPolicy::Always => "Always",
            PullPolicy::IfNotPresent => "IfNotPresent",
            PullPolicy::Never => "Never",
        }
    }
}

/// How workers of a group get devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KubernetesGpus {
    /// By their UUIDs: exactly those that were chosen, also in parts.
    #[default]
    Visible,
    /// From the device plugin, which picks them.
    Plugin,
}
words!(
    KubernetesGpus, "a way to get devices",
    "visible" => KubernetesGpus::Visible, "plugin" => KubernetesGpus::Plugin,
);

/// Who a worker is in its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunAs {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

/// `1000`, which is both, or `"1000:100"`.
impl Setting for RunAs {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        let expected = "a user's number, e.g. 1000, or \"1000:100\" with the group's, each from 0 to 2147483647";
        // Kubernetes takes no larger one.
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
            text.parse::<u32>().ok().filter(|number| digits && i32::try_from(*number).is_ok())
        };
        let numbers = match raw {
            Raw::Toml(DeValue::Integer(_)) => {
                raw.whole().and_then(|uid| number(&uid.to_string())).map(|uid| (uid, uid))
            }
            _ => {
                let text = raw.text(expected)?;
                let (uid, gid) = text.split_once(':').unwrap_or((text, text));
                number(uid).zip(number(gid))
            }
        };
        match numbers {
            Some((uid, gid)) => Ok(RunAs { uid, gid }),
            None => raw.unexpected(expected),
        }
    }
    fn show(&self) -> String {
        if self.uid == self.gid { self.uid.to_string() } else { quoted(&format!("{}:{}", self.uid, self.gid)) }
    }
}

/// How workers are executed on Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    /// Where workers live.
    pub namespace: DnsLabel,
    /// Tells this hai's objects from those of another one in the same namespace.
    pub instance: Instance,
    /// The file that tells how the API server is reached; if there is none, what is usual.
    pub kubeconfig: Option<PathBuf>,
    /// Which of the file's contexts.
    pub context: Option<Line>,
    /// Where workers reach the daemon.
    pub server: Option<ServerUrl>,
    /// The label of nodes whose value is the group's name.
    pub group_label: LabelKey,
    /// The label of nodes that tells the switch they are plugged into.
    pub leaf_label: LabelKey,
    /// The label of nodes that tells the switch above that.
    pub spine_label: LabelKey,
    /// The label of nodes that tells the room.
    pub zone_label: LabelKey,
    /// The image of workers whose task names none.
    pub image: Option<Image>,
    /// When images are fetched.
    pub image_pull_policy: Option<PullPolicy>,
    /// The secrets with which they are fetched.
    pub image_pull_secrets: Vec<ObjectName>,
    /// The service account of workers.
    pub service_account: Option<ObjectName>,
    /// The taints that every worker tolerates.
    pub tolerates: Vec<LabelKey>,
    /// How long a node may be silent before what runs there is given up.
    pub lost_after: Span,
    /// How long an image that can not be fetched is waited for.
    pub image_patience: Span,
    /// The directories of nodes that may be mounted, with all below them.
    pub host_paths: Vec<AbsolutePath>,
    /// Who workers are whose owner is not in `users`.
    pub run_as: Option<RunAs>,
    /// `[kubernetes.users]`: who the workers of a user are.
    pub users: BTreeMap<UserName, RunAs>,
    /// `[[kubernetes.group]]`
    pub groups: Vec<KubernetesGroup>,
    /// `[[kubernetes.mount]]`
    pub mounts: Vec<KubernetesMount>,
}

/// A group of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesGroup {
    /// Its name.
    pub name: GroupName,
    /// Its nodes; if there are none, those that carry the label.
    pub nodes: Vec<NodeEntry>,
    /// How its workers get devices.
    pub gpus: KubernetesGpus,
    /// The runtime class of its workers.
    pub runtime_class: Option<ObjectName>,
}

/// What workers find mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesMount {
    /// Its name.
    pub name: MountName,
    /// Where workers find it.
    pub path: MountPath,
    /// What it is.
    pub source: KubernetesSource,
    /// A directory in it that is taken in its place.
    pub sub_path: Option<SubPath>,
    /// Workers can not write to it.
    pub read_only: bool,
    /// Only for these users; for all if there are none.
    pub users: BTreeSet<UserName>,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubernetesSource {
    /// A directory of the node.
    HostPath(UserPath),
    /// A directory that an NFS server exports.
    Nfs(NfsExport),
    /// A persistent volume claim.
    Claim(ObjectName),
}

impl Default for Kubernetes {
    fn default() -> Self {
        Kubernetes {
            namespace: usual("hai"),
            instance: usual("hai"),
            kubeconfig: None,
            context: None,
            server: None,
            group_label: usual("hai_mars_group"),
            leaf_label: usual("network.topology.nvidia.com/leaf"),
            spine_label: usual("network.topology.nvidia.com/spine"),
            zone_label: usual("topology.kubernetes.io/zone"),
            image: None,
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            service_account: None,
            tolerates: Vec::new(),
            lost_after: Span::from_secs(60),
            image_patience: Span::from_mins(10),
            host_paths: Vec::new(),
            run_as: None,
            users: BTreeMap::new(),
            groups: Vec::new(),
            mounts: Vec::new(),
        }
    }
}

fn usual<T: Setting>(text: &str) -> T {
    T::read(Raw::Text(text)).expect("the defaults are right")
}

/// Takes over all of `[kubernetes]` that is not a single value.
pub(super) fn read(table: &mut Table<'_>, config: &mut Config, found: &mut Findings<'_>) {
    if let Some(value) = table.raw("users") {
        read_users(value, config, found);
    }
    let mut listed = BTreeMap::new();
    for table in table.list("group", "[[kubernetes.group]]", found) {
        read_group(table, config, &mut listed, found);
    }
    for table in table.list("mount", "[[kubernetes.mount]]", found) {
        read_mount(table, config, found);
    }
}

fn read_users(value: &Spanned<DeValue<'_>>, config: &mut Config, found: &mut Findings<'_>) {
    let Some(table) = Table::of(value, "[kubernetes.users]", found) else { return };
    for (name, value) in table.entries() {
        let user = name.get_ref().parse::<UserName>().map_err(|error| found.add(name.span(), error.to_string()));
        let numbers = RunAs::read(Raw::Toml(value.get_ref()));
        let numbers = numbers.map_err(|message| found.add(value.span(), format!("{}: {message}", name.get_ref())));
        if let (Ok(user), Ok(numbers)) = (user, numbers) {
            config.origins.insert(format!("kubernetes.users.{user}"), found.place(value.span()));
            config.kubernetes.users.insert(user, numbers);
        }
    }
}

/// `listed` are the nodes of the groups before, each with its group and where it stands.
fn read_group(
    mut table: Table<'_>,
    config: &mut Config,
    listed: &mut BTreeMap<NodeEntry, (GroupName, Origin)>,
    found: &mut Findings<'_>,
) {
    let (span, before) = (table.span.clone(), found.problems.len());
    let name = table.require::<GroupName>("name", "\"train\"", found);
    let entries = table.items::<NodeEntry>("nodes", found).unwrap_or_default();
    let gpus = table.take::<KubernetesGpus>("gpus", found).map(|(gpus, _)| gpus).unwrap_or_default();
    let runtime_class = table.take::<ObjectName>("runtime_class", found).map(|(class, _)| class);
    table.finish(found);
    let Some((name, name_span)) = name else { return };

    let index = config.kubernetes.groups.len();
    if let Some(first) = config.kubernetes.groups.iter().position(|group| group.name == name) {
        let at = config.origin(&format!("kubernetes.group.{first}"));
        found.add(name_span, format!("there are two groups named `{name}`; the first is at {at}"));
        return;
    }
    if entries.is_empty() && found.problems.len() == before && !is_label_value(name.as_str()) {
        let message = format!("group `{name}` lists no nodes, and no label can have this value; list its nodes");
        found.add(name_span, message);
    }
    for (entry, span) in &entries {
        let here = found.place(span.clone());
        if let Some((group, at)) = listed.insert(entry.clone(), (name.clone(), here)) {
            let text = entry.as_str();
            let message = match group == name {
                true => format!("nodes: `{text}` stands there twice"),
                false => format!("nodes: `{text}` is in group {group} already, at {at}; a node belongs to one group"),
            };
            found.add(span.clone(), message);
        }
    }
    config.origins.insert(format!("kubernetes.group.{index}"), found.place(span));
    let nodes = entries.into_iter().map(|(entry, _)| entry).collect();
    config.kubernetes.groups.push(KubernetesGroup { name, nodes, gpus, runtime_class });
}

fn read_mount(mut table: Table<'_>, config: &mut Config, found: &mut Findings<'_>) {
    let span = table.span.clone();
    let name = table.require::<MountName>("name", "\"shared\"", found);
    let path = table.require::<MountPath>("path", "\"/nfs-shared\"", found);
    let source = read_source(&mut table, found);
    let sub_path = table.take::<SubPath>("sub_path", found).map(|(path, _)| path);
    let read_only = table.take::<bool>("read_only", found).is_some_and(|(read_only, _)| read_only);
    let users = table.take::<Vec<UserName>>("users", found);
    table.finish(found);
    if let Some((users, span)) = &users
        && users.is_empty()
    {
        found.add(span.clone(), "users: nobody would find it mounted; leave users out to mean everybody");
    }
    let users: BTreeSet<UserName> = users.into_iter().flat_map(|(users, _)| users).collect();
    let (Some((name, name_span)), Some((path, path_span)), Some((source, source_span))) = (name, path, source) else {
        return;
    };

    let mounts = &config.kubernetes.mounts;
    let at = |index: usize| config.origin(&format!("kubernetes.mount.{index}"));
    if let Some(first) = mounts.iter().position(|mount| mount.name == name) {
        let (name, at) = (name.as_str(), at(first));
        found.add(name_span, format!("there are two mounts named `{name}`; the first is at {at}"));
        return;
    }
    // One for some users and another one for others never meet.
    let meets = |other: &BTreeSet<UserName>| other.is_empty() || users.is_empty() || !other.is_disjoint(&users);
    if let Some(first) = mounts.iter().position(|mount| mount.path == path && meets(&mount.users)) {
        let (path, other, at) = (path.as_str(), mounts[first].name.as_str(), at(first));
        found.add(path_span, format!("path: `{other}` is mounted at {path} already, at {at}; give each its own path"));
        return;
    }
    let name_of = format!("kubernetes.mount.{}", mounts.len());
    config.origins.insert(format!("{name_of}.source"), found.place(source_span));
    config.origins.insert(name_of, found.place(span));
    config.kubernetes.mounts.push(KubernetesMount { name, path, source, sub_path, read_only, users });
}

/// What is mounted, and where that stands.
fn read_source(table: &mut Table<'_>, found: &mut Findings<'_>) -> Option<(KubernetesSource, std::ops::Range<usize>)> {
    let given = ["host_path", "nfs", "claim"].into_iter().filter(|key| table.raw(key).is_some()).count();
    let host_path = table.take::<UserPath>("host_path", found);
    let nfs = table.take::<NfsExport>("nfs", found);
    let claim = table.take::<ObjectName>("claim", found);
    if given != 1 {
        let message = match given {
            0 => "this [[kubernetes.mount]] does not say what is mounted; write one of host_path, nfs and claim",
            _ => "only one of host_path, nfs and claim says what is mounted",
        };
        found.add(table.span.clone(), message);
        return None;
    }
    let host_path = host_path.map(|(path, span)| (KubernetesSource::HostPath(path), span));
    let nfs = nfs.map(|(export, span)| (KubernetesSource::Nfs(export), span));
    host_path.or(nfs).or_else(|| claim.map(|(claim, span)| (KubernetesSource::Claim(claim), span)))
}

/// What can not be, with the setting that it is about.
pub(super) fn problems(kubernetes: &Kubernetes) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    if kubernetes.lost_after == Span::ZERO {
        let message = "lost_after is zero, so every node would be given up at once; write e.g. \"60s\"";
        problems.push(("kubernetes.lost_after".to_owned(), message.to_owned()));
    }
    for (index, mount) in kubernetes.mounts.iter().enumerate() {
        let KubernetesSource::HostPath(path) = &mount.source else { continue };
        if path.as_str().trim_end_matches("/{user}").contains("{user}") {
            let name = mount.name.as_str();
            // Below it the user could put a link to anywhere in the directory's place, and the node would follow it.
            let message = format!(
                "mount `{name}`: {{user}} must be the last part of host_path; what lies deeper is for sub_path, which Kubernetes \
                 opens without following links"
            );
            problems.push((format!("kubernetes.mount.{index}.source"), message));
            continue;
        }
        let allowed = &kubernetes.host_paths;
        // Both are in their shortest form, so that below means below.
        if allowed.iter().any(|allowed| Path::new(path.as_str()).starts_with(allowed.as_str())) {
            continue;
        }
        let (name, path) = (mount.name.as_str(), path.as_str());
        let list = allowed.iter().map(AbsolutePath::as_str).collect::<Vec<_>>().join(", ");
        let rest = match allowed.is_empty() {
            true => "host_paths in [kubernetes] allows no directory; list it, or one above it, there".to_owned(),
            false => format!("it is not one of host_paths in [kubernetes] nor below one; they are {list}"),
        };
        let message = format!("mount `{name}`: host_path {path} is not allowed: {rest}");
        problems.push((format!("kubernetes.mount.{index}.source"), message));
    }
    problems
}

/// A group's keys, without its head.
pub(super) fn show_group(group: &KubernetesGroup) -> String {
    let mut lines = vec![format!("name = {}", group.name.show())];
    if !group.nodes.is_empty() {
        lines.push(format!("nodes = {}", group.nodes.show()));
    }
    lines.push(format!("gpus = {}", group.gpus.show()));
    if let Some(class) = &group.runtime_class {
        lines.push(format!("runtime_class = {}", class.show()));
    }
    lines.join("\n")
}

/// A mount's keys, without its head.
pub(super) fn show_mount(mount: &KubernetesMount) -> String {
    let mut lines = vec![format!("name = {}", mount.name.show()), format!("path = {}", mount.path.show())];
    lines.push(match &mount.source {
        KubernetesSource::HostPath(path) => format!("host_path = {}", path.show()),
        KubernetesSource::Nfs(export) => format!("nfs = {}", export.show()),
        KubernetesSource::Claim(claim) => format!("claim = {}", claim.show()),
    });
    if let Some(path) = &mount.sub_path {
        lines.push(format!("sub_path = {}", path.show()));
    }
    lines.push(format!("read_only = {}", mount.read_only.show()));
    if !mount.users.is_empty() {
        lines.push(format!("users = {}", mount.users.iter().cloned().collect::<Vec<_>>().show()));
    }
    lines.join("\n")
}
