//! Writes the effective configuration as TOML, with where each value came from.

use std::fmt::Write;

use hai_core::model::NodeSpec;

use super::scheduler::{AGING, CHURN, Group};
use super::settings::{LEVEL_SETTINGS, SECTIONS, SETTINGS};
use super::size::{Cores, Mib};
use super::value::{Labels, Setting, Texts, quoted_key};
use super::{ClusterKind, Config, Origin, kubernetes, team};

/// Comments begin here, so that they stand under each other.
const COMMENT_COLUMN: usize = 40;

impl Config {
    /// All of it as TOML that reads back as the same configuration. A value that is not a default is followed by a
    /// comment that tells where it was set.
    #[must_use]
    pub fn show(&self) -> String {
        let mut out = "# The effective configuration: ".to_owned();
        match self.file() {
            Some(file) => {
                line(&mut out, &format!("{:?} was read, then variables and flags.", file.display().to_string()))
            }
            None => line(&mut out, "no file was read, only variables and flags."),
        }
        line(&mut out, "# A value that says nothing else is the default.");
        for section in SECTIONS {
            line(&mut out, &format!("\n[{section}]"));
            for entry in SETTINGS.iter().filter(|entry| entry.section == section) {
                if let Some(value) = (entry.show)(self) {
                    self.value(&mut out, entry.key, &value, &entry.name(), entry.doc);
                }
            }
            if section == "scheduler" {
                self.show_group(&mut out, &AGING);
                self.show_group(&mut out, &CHURN);
                self.show_weights(&mut out);
                self.show_levels(&mut out);
            }
            if section == "kubernetes" {
                self.show_kubernetes(&mut out);
            }
        }
        self.show_teams(&mut out);
        self.show_rights(&mut out);
        self.show_nodes(&mut out);
        out
    }

    fn value(&self, out: &mut String, key: &str, value: &str, name: &str, doc: &str) {
        let text = format!("{key} = {value}");
        let from = match self.origin(name) {
            Origin::Default => doc.to_owned(),
            origin => format!("{doc} (from {})", one_line(origin)),
        };
        line(out, &format!("{text:<COMMENT_COLUMN$} # {from}"));
    }

    fn show_group<T: Copy>(&self, out: &mut String, group: &Group<T>) {
        let Some(value) = (group.get)(&self.scheduler) else { return };
        line(out, &format!("\n[scheduler.{}]", group.name));
        for entry in group.entries {
            if let Some(text) = (entry.show)(&value) {
                self.value(out, entry.key, &text, &entry.name(), entry.doc);
            }
        }
    }

    fn show_weights(&self, out: &mut String) {
        if !self.scheduler.weights.is_empty() {
            line(out, "\n[scheduler.weights]");
        }
        for (model, weight) in &self.scheduler.weights {
            let name = format!("scheduler.weights.{model}");
            self.value(out, &quoted_key(model.as_str()), &weight.show(), &name, "what a device of it counts in rights");
        }
    }

    fn show_levels(&self, out: &mut String) {
        for (level, timing) in &self.levels {
            line(out, &format!("\n[scheduler.levels.{level}]"));
            for entry in LEVEL_SETTINGS {
                if let Some(value) = (entry.show)(timing) {
                    let name = format!("scheduler.levels.{level}.{}", entry.key);
                    self.value(out, entry.key, &value, &name, entry.doc);
                }
            }
        }
    }

    fn show_kubernetes(&self, out: &mut String) {
        let settings = &self.kubernetes;
        if !settings.users.is_empty() {
            line(out, "\n[kubernetes.users]");
        }
        for (user, numbers) in &settings.users {
            let name = format!("kubernetes.users.{user}");
            self.value(out, &quoted_key(user.as_str()), &numbers.show(), &name, "uid, or uid:gid, of their workers");
        }
        for (index, group) in settings.groups.iter().enumerate() {
            self.head(out, "kubernetes.group", &format!("kubernetes.group.{index}"));
            line(out, &kubernetes::show_group(group));
        }
        for (index, mount) in settings.mounts.iter().enumerate() {
            self.head(out, "kubernetes.mount", &format!("kubernetes.mount.{index}"));
            line(out, &kubernetes::show_mount(mount));
        }
    }

    fn show_rights(&self, out: &mut String) {
        for (index, right) in self.rights.iter().enumerate() {
            self.head(out, "right", &format!("right.{index}"));
            let key = &right.key;
            let fields = [
                ("user", key.user.as_ref().map(Setting::show)),
                ("group", key.group.as_ref().map(Setting::show)),
                ("priority", key.priority.as_ref().map(Setting::show)),
                ("team", key.team.as_ref().map(Setting::show)),
                ("model", key.model.as_ref().map(Setting::show)),
                ("cap", key.cap.then(|| true.show())),
                ("nodes", Some(right.allowance.nodes.show())),
                ("devices", Some(right.allowance.devices.show())),
                ("expires", right.expires.as_ref().map(Setting::show)),
            ];
            for (name, value) in fields {
                if let Some(value) = value {
                    line(out, &format!("{name} = {value}"));
                }
            }
        }
    }

    fn show_teams(&self, out: &mut String) {
        for (index, team) in self.teams.iter().enumerate() {
            self.head(out, "team", &format!("team.{index}"));
            line(out, &team::show(team));
        }
    }

    fn show_nodes(&self, out: &mut String) {
        if self.nodes.is_empty() && self.cluster.kind == ClusterKind::Local {
            line(out, "\n# No [[node]]: what this machine has is found out when the daemon starts.");
        }
        for (index, node) in self.nodes.iter().enumerate() {
            self.head(out, "node", &format!("node.{index}"));
            show_node(out, node);
            for device in &node.devices {
                line(out, "\n[[node.device]]");
                line(out, &format!("model = {}", device.model.show()));
                line(out, &format!("memory = {}", Mib(device.memory_mib).show()));
                line(out, &format!("uuid = {}", device.id.show()));
                if let Some(capability) = device.compute_capability {
                    line(out, &format!("compute_capability = {}", capability.show()));
                }
                if let Some(profile) = &device.mig_profile {
                    line(out, &format!("mig_profile = {}", profile.show()));
                }
            }
        }
    }

    fn head(&self, out: &mut String, list: &str, name: &str) {
        let head = format!("[[{list}]]");
        match self.origin(name) {
            Origin::Default => line(out, &format!("\n{head}")),
            origin => line(out, &format!("\n{head:<COMMENT_COLUMN$} # from {}", one_line(origin))),
        }
    }
}

fn show_node(out: &mut String, node: &NodeSpec) {
    line(out, &format!("name = {}", node.name.show()));
    line(out, &format!("group = {}", node.group.show()));
    line(out, &format!("cpu = {}", Cores(node.cpu_milli).show()));
    line(out, &format!("memory = {}", Mib(node.memory_mib).show()));
    if !node.taints.is_empty() {
        line(out, &format!("taints = {}", Texts(node.taints.iter().cloned().collect()).show()));
    }
    if node.cordoned {
        line(out, "cordoned = true");
    }
    let place = &node.location;
    for (name, place) in [("leaf", &place.leaf), ("spine", &place.spine), ("zone", &place.zone)] {
        if let Some(place) = place {
            line(out, &format!("{name} = {}", place.show()));
        }
    }
    if !node.labels.is_empty() {
        line(out, &format!("labels = {}", Labels(node.labels.clone()).show()));
    }
}

/// A file's name may have anything in it, a comment may not.
fn one_line(origin: &Origin) -> String {
    origin.to_string().chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn line(out: &mut String, text: &str) {
    // Writing to a String can not fail.
    let _ = writeln!(out, "{text}");
}
