//! From the environment of HAI Platform's `hai-up.sh` to our configuration.
//!
//! See [`convert`] for the primary entry point. What is taken stands in the result; what is left out is named there with
//! the reason. Tokens and passwords never leave this file: hai makes its own tokens, and keeps only their hashes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use hai_core::model::{GroupName, UserName};

use super::env_file::{Assigned, Problem, read};
use crate::config::quoted;

/// The nodes of the vendor's own cluster, which stand in the sample and which hai-up falls back to.
const SAMPLE_NODES: [&str; 2] = ["cn-hangzhou.172.23.183.227", "cn-hangzhou.172.23.183.226"];

/// What has no place here, and why.
const LEFT_OUT: [(&str, &str); 20] = [
    ("PLATFORM_NAMESPACE", "the daemon lives in the namespace of the tasks"),
    ("KUBECONFIG", "in the cluster its own account counts, elsewhere KUBECONFIG as kubectl reads it"),
    ("HAI_SERVER_ADDR", "the Service has an address of its own; `hai-daemon up` tells it"),
    ("NODE_GPUS", "GPUs are counted on the nodes, not typed in"),
    ("MANAGER_NODES", "tasks have no manager; where the daemon runs, Kubernetes decides"),
    ("BASE_IMAGE", "that is the image of the other platform's server"),
    ("INGRESS_HOST", "an option of `hai-daemon manifests`"),
    ("INGRESS_CLASS", "an option of `hai-daemon manifests`"),
    ("POSTGRES_USER", "the database is embedded"),
    ("POSTGRES_PASSWORD", "the database is embedded"),
    ("REDIS_PASSWORD", "there is no Redis"),
    ("DB_PATH", "the database lies in `data.dir`"),
    ("BFF_ADMIN_UID", "the operator is made by the daemon; their token lies in its data directory"),
    ("BFF_ADMIN_TOKEN", "the operator is made by the daemon; their token lies in its data directory"),
    ("EXTRA_ENVIRONMENTS", "they were for the other platform's server; a task's are given with the task"),
    ("DRY_RUN", "`hai-daemon up --dry-run`"),
    ("PROVIDER", "tasks ran on Kubernetes with either provider"),
    ("HAI_PLATFORM_PATH", "hai keeps its data in `data.dir`"),
    ("USER_NAMES", "made from USER_INFO"),
    ("USER_IDS", "made from USER_INFO"),
];

/// What is taken, and so must be readable.
const TAKEN: [&str; 13] = [
    "TASK_NAMESPACE",
    "MARS_PREFIX",
    "TRAINING_GROUP",
    "JUPYTER_GROUP",
    "TRAINING_NODES",
    "JUPYTER_NODES",
    "TRAIN_IMAGE",
    "SHARED_FS_ROOT",
    "EXTRA_MOUNTS",
    "USER_INFO",
    "ROOT_USER",
    "HAS_RDMA_HCA_RESOURCE",
    "BASE_IMAGE",
];

/// The configuration that says what the environment file says.
///
/// # Errors
/// Every line that can not be read, and every value that can not be, by its line.
pub(super) fn convert(text: &str) -> Result<String, Vec<Problem>> {
    let (known, problems) = read(text);
    let mut input = Input { known, problems };
    let config = input.config();
    if input.problems.is_empty() {
        return Ok(config);
    }
    input.problems.sort();
    Err(input.problems)
}

/// Where the shared file system is if nothing else is said.
const SHARED_FS_ROOT: &str = "/nfs-shared";

struct Input {
    known: BTreeMap<String, Assigned>,
    problems: Vec<Problem>,
}

struct Group {
    variable: &'static str,
    name: String,
    nodes: Vec<String>,
}

impl Input {
    fn line(&self, name: &str) -> usize {
        self.known.get(name).map_or(1, |assigned| assigned.line)
    }

    fn problem(&mut self, name: &str, message: impl Into<String>) {
        self.problems.push(Problem { line: self.line(name), message: message.into() });
    }

    /// The value, unless it is not set or empty, which hai-up takes for the same.
    fn get(&mut self, name: &'static str) -> Option<String> {
        match self.known.get(name)?.value.clone() {
            Ok(value) => Some(value.trim().to_owned()).filter(|value| !value.is_empty()),
            Err(message) => {
                self.problem(name, message);
                None
            }
        }
    }

    fn config(&mut self) -> String {
        let mut out =
            "# Made by `hai-daemon import hai-up`. `hai-daemon config check --config FILE` says whether it is good.\n"
                .to_owned();
        out += "\n[cluster]\nkind = \"kubernetes\"\n\n[kubernetes]\n";
        let namespace = self.get("TASK_NAMESPACE");
        line(&mut out, "namespace", namespace.as_deref().unwrap_or("hai-platform"), from(&namespace, "TASK_NAMESPACE"));
        match self.get("TRAIN_IMAGE") {
            Some(image) => line(&mut out, "image", &image, "from TRAIN_IMAGE; what a task gets that names none"),
            None => {
                out += "# TRAIN_IMAGE is not set: name the image of tasks that name none themselves.\n#image = \"\"\n"
            }
        }
        let prefix = self.get("MARS_PREFIX");
        let label = format!("{}_mars_group", prefix.as_deref().unwrap_or("hai"));
        line(&mut out, "group_label", &label, from(&prefix, "MARS_PREFIX"));
        // Before the tables: what is mounted below must be allowed.
        let shared = self.get("SHARED_FS_ROOT").unwrap_or_else(|| SHARED_FS_ROOT.to_owned());
        let _ = writeln!(
            out,
            "# Directories of nodes that may be mounted, or what lies below them.\nhost_paths = [{}]",
            quoted(&shared)
        );
        let groups = self.groups();
        for group in &groups {
            group_to(&mut out, group);
        }
        self.mounts(&mut out);
        self.tasks(&mut out, &groups);
        self.users(&mut out);
        self.left_out(&mut out);
        out
    }

    fn groups(&mut self) -> Vec<Group> {
        let mut groups = Vec::new();
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for (variable, of, default) in
            [("TRAINING_GROUP", "TRAINING_NODES", "training"), ("JUPYTER_GROUP", "JUPYTER_NODES", "jupyter_cpu")]
        {
            let name = self.get(variable).unwrap_or_else(|| default.to_owned());
            if let Err(error) = GroupName::new(&name) {
                self.problem(variable, format!("{variable}: {error}"));
            }
            let nodes = self.get(of).unwrap_or_default();
            let mut kept = Vec::new();
            for node in nodes.split([' ', '\t', '\n', ',']).filter(|node| !node.is_empty()) {
                if SAMPLE_NODES.contains(&node) || kept.iter().any(|kept| kept == node) {
                    continue;
                }
                if let Some(other) = seen.insert(node.to_owned(), of) {
                    self.problem(of, format!("{of} names {node}, which {other} names too; a node is in one group"));
                }
                kept.push(node.to_owned());
            }
            groups.push(Group { variable: of, name, nodes: kept });
        }
        if groups[0].name == groups[1].name && !groups[1].nodes.is_empty() {
            self.problem("JUPYTER_GROUP", "JUPYTER_GROUP is TRAINING_GROUP; give one of them another name");
        }
        if groups.iter().all(|group| group.nodes.is_empty()) {
            let message = "TRAINING_NODES names no node of yours; write the names that `kubectl get nodes` shows";
            self.problem("TRAINING_NODES", message);
        }
        groups
    }

    fn mounts(&mut self, out: &mut String) {
        let shared = self.get("SHARED_FS_ROOT");
        let path = shared.clone().unwrap_or_else(|| SHARED_FS_ROOT.to_owned());
        if !path.starts_with('/') {
            self.problem("SHARED_FS_ROOT", "SHARED_FS_ROOT is not a path that begins with /");
        }
        let _ = writeln!(out, "\n# {}; every node must have it at this place.", from(&shared, "SHARED_FS_ROOT"));
        let (name, path) = (quoted("shared"), quoted(&path));
        let _ = writeln!(out, "[[kubernetes.mount]]\nname = {name}\npath = {path}\nhost_path = {path}");
        let Some(extra) = self.get("EXTRA_MOUNTS") else { return };
        *out += "\n# EXTRA_MOUNTS were for the other platform's server, not for tasks. Take the # away where tasks need them.\n";
        for (index, item) in extra.split(',').map(str::trim).filter(|item| !item.is_empty()).enumerate() {
            let parts: Vec<&str> = item.split(':').map(str::trim).collect();
            let ([source, target] | [source, target, _] | [source, target, _, _]) = parts[..] else {
                self.problem(
                    "EXTRA_MOUNTS",
                    format!("mount {} of EXTRA_MOUNTS is not SRC:DST:file|directory[:ro]", index + 1),
                );
                continue;
            };
            if !source.starts_with('/') || !target.starts_with('/') {
                self.problem(
                    "EXTRA_MOUNTS",
                    format!("mount {} of EXTRA_MOUNTS has a path that does not begin with /", index + 1),
                );
                continue;
            }
            let (name, source, target) = (quoted(&format!("extra-{index}")), quoted(source), quoted(target));
            let _ = writeln!(out, "#[[kubernetes.mount]]\n#name = {name}\n#path = {target}\n#host_path = {source}");
            if parts.get(3) == Some(&"ro") {
                *out += "#read_only = true\n";
            }
        }
    }

    fn tasks(&mut self, out: &mut String, groups: &[Group]) {
        let Some(training) = groups.first() else { return };
        let group = quoted(&training.name);
        let _ = writeln!(
            out,
            "\n[tasks]\n# from TRAINING_GROUP, where tasks went that named no group.\ndefault_group = {group}"
        );
        // As hai-up's first rows say it.
        let _ = writeln!(
            out,
            "\n# hai-up let everybody hold 10 whole nodes of {} at HIGH. Here everybody may use everything up to HIGH, until\n\
             # a [[right]] says otherwise; the same as there would be\n\
             #[[right]]\n#group = {group}\n#priority = \"HIGH\"\n#nodes = 10",
            comment(&training.name)
        );
        if self.get("HAS_RDMA_HCA_RESOURCE").is_some_and(|value| value != "0") {
            *out += "\n# HAS_RDMA_HCA_RESOURCE: tasks asked for `rdma/hca`; hai does not ask for it. A mount of /dev/infiniband and\n\
                     # the host's network are what such nodes need.\n";
        }
    }

    fn users(&mut self, out: &mut String) {
        let root = self.get("ROOT_USER");
        let Some(info) = self.get("USER_INFO") else { return };
        *out += "\n# USER_INFO: hai makes its own tokens and shows each once. Run these, and give people theirs; tokens of the\n\
                 # other platform are not taken over.\n";
        let mut names = BTreeSet::new();
        for (index, user) in info.split(',').map(str::trim).filter(|user| !user.is_empty()).enumerate() {
            // Never the parts themselves: the last is secret, and who forgets a colon shifts it.
            let which = format!("user {} of USER_INFO", index + 1);
            let parts: Vec<&str> = user.split(':').collect();
            let [name, uid, _token] = parts[..] else {
                self.problem("USER_INFO", format!("{which} is not NAME:UID:TOKEN"));
                continue;
            };
            let (Ok(name), Ok(uid)) = (UserName::new(name), uid.parse::<u32>()) else {
                self.problem(
                    "USER_INFO",
                    format!("{which} has a name or number that can not be; it is NAME:UID:TOKEN"),
                );
                continue;
            };
            if !names.insert(name.clone()) {
                self.problem("USER_INFO", format!("{which} has the name of one before"));
            }
            let role = if root.as_deref() == Some(name.as_str()) { " --role operator" } else { "" };
            let _ = writeln!(out, "#   hai users add {name}{role}    (user id {uid})");
        }
        if let Some(root) = root.filter(|root| names.iter().all(|name| name.as_str() != root)) {
            self.problem("ROOT_USER", format!("ROOT_USER {root} is not in USER_INFO"));
        }
    }

    fn left_out(&mut self, out: &mut String) {
        *out += "\n# Left out:\n";
        for name in self.known.keys() {
            if let Some((_, why)) = LEFT_OUT.iter().find(|(known, _)| known == name) {
                let _ = writeln!(out, "#   {name}: {why}");
            } else if !TAKEN.contains(&name.as_str()) {
                let _ = writeln!(out, "#   {name}: hai-up does not know it");
            }
        }
    }
}

fn group_to(out: &mut String, group: &Group) {
    let Group { variable, name, nodes } = group;
    if nodes.is_empty() {
        let _ = writeln!(out, "\n# {variable} names no node of yours, so there is no group {}.", comment(name));
        return;
    }
    let nodes = nodes.iter().map(|node| quoted(node)).collect::<Vec<_>>().join(", ");
    let _ = writeln!(out, "\n# from {variable}: names, hostname labels or addresses.\n[[kubernetes.group]]");
    let _ = writeln!(out, "name = {}\nnodes = [{nodes}]", quoted(name));
    *out += "# As there: containers see the GPUs that they are given. \"plugin\" asks for nvidia.com/gpu instead.\ngpus = \"visible\"\n";
}

fn line(out: &mut String, key: &str, value: &str, remark: &str) {
    let _ = writeln!(out, "# {remark}\n{key} = {}", quoted(value));
}

fn from(value: &Option<String>, name: &'static str) -> &'static str {
    match (value, name) {
        (Some(_), "TASK_NAMESPACE") => "from TASK_NAMESPACE",
        (None, "TASK_NAMESPACE") => "TASK_NAMESPACE is not set; this is what hai-up takes then",
        (Some(_), "MARS_PREFIX") => "from MARS_PREFIX; the label by which nodes say their group",
        (None, "MARS_PREFIX") => "MARS_PREFIX is not set; this is the label that hai-up takes then",
        (Some(_), _) => "From SHARED_FS_ROOT",
        (None, _) => "SHARED_FS_ROOT is not set; this is what hai-up takes then",
    }
}

/// A text that does not end the comment it stands in.
fn comment(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

#[cfg(test)]
#[path = "hai_up/tests.rs"]
mod tests;
