//! What must hold between several settings, whichever file, variable or flag they came from.

use std::collections::{BTreeMap, BTreeSet};

use hai_core::model::{DEVICES_PER_NODE_MAX, Priority, Span};

use super::error::{Origin, Problem, did_you_mean};
use super::{Bytes, ClusterKind, Config, kubernetes, team};

/// The smallest bound that still lets a submission through, or a useful piece of a log.
const BYTES_MIN: u64 = 4096;

/// All contradictions and impossible values.
pub(crate) fn check(config: &Config) -> Vec<Problem> {
    let mut found = Found { config, problems: Vec::new() };
    sizes(&mut found);
    timing(&mut found);
    defaults(&mut found);
    scheduler(&mut found);
    teams(&mut found);
    rights(&mut found);
    devices(&mut found);
    simulated(&mut found);
    pods(&mut found);
    found.problems
}

struct Found<'a> {
    config: &'a Config,
    problems: Vec<Problem>,
}

impl Found<'_> {
    /// A problem at the first of `names` that somebody set.
    fn add(&mut self, names: &[&str], message: String) {
        let set = names.iter().map(|name| self.config.origin(name)).find(|origin| **origin != Origin::Default);
        self.problems.push(Problem { origin: set.cloned().unwrap_or_default(), message, line_text: None });
    }
}

fn sizes(found: &mut Found<'_>) {
    let config = found.config;
    for (name, Bytes(bytes)) in
        [("server.body_bytes_max", config.server.body_bytes_max), ("tasks.log_bytes_max", config.tasks.log_bytes_max)]
    {
        if bytes < BYTES_MIN {
            found.add(&[name], format!("{name}: {bytes} bytes is too little; at least {BYTES_MIN} are needed"));
        }
    }
}

fn simulated(found: &mut Found<'_>) {
    let simulated = found.config.devices.simulated;
    if simulated as usize > DEVICES_PER_NODE_MAX {
        found.add(
            &["devices.simulated"],
            format!("devices.simulated is {simulated}; one machine has at most {DEVICES_PER_NODE_MAX}"),
        );
    }
}

fn timing(found: &mut Found<'_>) {
    let config = found.config;
    let base = config.scheduler.timing;
    if base.slice < base.protected {
        found.add(
            &["scheduler.protected", "scheduler.slice"],
            format!(
                "protected ({}) is longer than slice ({}), so equals would interrupt what better ones may not; \
                 make slice at least as long",
                base.protected, base.slice
            ),
        );
    }
    for (level, timing) in &config.levels {
        let all = timing.over(base);
        // What is inherited as a whole was reported above.
        if all.slice < all.protected && (timing.slice.is_some() || timing.protected.is_some()) {
            let [protected, slice] = ["protected", "slice"].map(|key| format!("scheduler.levels.{level}.{key}"));
            found.add(
                &[&protected, &slice],
                format!(
                    "{level}: protected ({}) is longer than slice ({}); make slice at least as long",
                    all.protected, all.slice
                ),
            );
        }
    }
    let scheduler = &config.scheduler;
    if scheduler.back_off == Span::ZERO {
        let message = "back_off is zero, so a refused start would be tried without pause; write e.g. \"1s\"";
        found.add(&["scheduler.back_off"], message.to_owned());
    }
    if scheduler.back_off_max < scheduler.back_off {
        found.add(
            &["scheduler.back_off_max", "scheduler.back_off"],
            format!("back_off_max ({}) is shorter than back_off ({})", scheduler.back_off_max, scheduler.back_off),
        );
    }
}

fn scheduler(found: &mut Found<'_>) {
    let scheduler = &found.config.scheduler;
    if scheduler.cool_down_max < scheduler.cool_down {
        let (most, first) = (scheduler.cool_down_max, scheduler.cool_down);
        found.add(
            &["scheduler.cool_down_max", "scheduler.cool_down"],
            format!("cool_down_max ({most}) is shorter than cool_down ({first})"),
        );
    }
    if scheduler.order.half_life() == Some(Span::ZERO) {
        let message = "order: half_life is zero, so nobody's use would count; write e.g. \"7d\"";
        found.add(&["scheduler.order"], message.to_owned());
    }
}

fn teams(found: &mut Found<'_>) {
    for (index, message) in team::problems(&found.config.teams) {
        found.add(&[&format!("team.{index}")], message);
    }
}

fn defaults(found: &mut Found<'_>) {
    let config = found.config;
    let group = &config.tasks.default_group;
    if config.cluster.kind == ClusterKind::Kubernetes {
        return listed_groups(found);
    }
    let groups: BTreeSet<&str> = config.nodes.iter().map(|node| node.group.as_str()).collect();
    if !groups.is_empty() && !groups.contains(group.as_str()) {
        let hint = did_you_mean(group.as_str(), groups.iter().copied());
        let list = groups.iter().copied().collect::<Vec<_>>().join(", ");
        found.add(
            &["tasks.default_group", "node.0"],
            format!("default_group: no [[node]] belongs to group `{group}`, only to {list}{hint}"),
        );
    }
}

/// Where some group has the nodes that carry its label, others may be by their labels alone.
fn listed_groups(found: &mut Found<'_>) {
    let config = found.config;
    let groups = &config.kubernetes.groups;
    let default = &config.tasks.default_group;
    if groups.is_empty() || groups.iter().any(|group| group.nodes.is_empty() || group.name == *default) {
        return;
    }
    let names = || groups.iter().map(|group| group.name.as_str());
    let hint = did_you_mean(default.as_str(), names());
    let list = names().collect::<Vec<_>>().join(", ");
    found.add(
        &["tasks.default_group", "kubernetes.group.0"],
        format!("default_group: no [[kubernetes.group]] is named `{default}`, only {list}{hint}"),
    );
}

fn pods(found: &mut Found<'_>) {
    let config = found.config;
    for (name, message) in kubernetes::problems(&config.kubernetes) {
        found.add(&[&name], message);
    }
    if config.cluster.kind == ClusterKind::Kubernetes && !config.nodes.is_empty() {
        let message = "[[node]] declares a machine, but with kind = \"kubernetes\" in [cluster] the nodes come from \
                       Kubernetes; remove it, or list the node in a [[kubernetes.group]]";
        found.add(&["node.0"], message.to_owned());
    }
}

fn rights(found: &mut Found<'_>) {
    let config = found.config;
    let mut seen = BTreeMap::new();
    for (index, right) in config.rights.iter().enumerate() {
        let name = format!("right.{index}");
        if right.key.priority == Some(Priority::Auto) {
            let message = "priority: a right is for a fixed level; AUTO takes the best of those".to_owned();
            found.add(&[&name], message);
        }
        if right.key.user.is_some() && right.key.team.is_some() {
            let message = "a right is for a user or for each member of a team; give one of user and team".to_owned();
            found.add(&[&name], message);
        }
        if let Some(first) = seen.insert(&right.key, index) {
            let at = config.origin(&format!("right.{first}"));
            let key = &right.key;
            let more = key.team.is_some() || key.model.is_some() || key.cap;
            let whom = if more { "user, team, group, priority, model and cap" } else { "user, group and priority" };
            let message = format!("a right for the same {whom} stands at {at} already; keep one");
            found.add(&[&name], message);
        }
    }
}

fn devices(found: &mut Found<'_>) {
    let config = found.config;
    let mut seen = BTreeMap::new();
    for (index, node) in config.nodes.iter().enumerate() {
        for (number, device) in node.devices.iter().enumerate() {
            let name = format!("node.{index}.device.{number}");
            if let Some((first, at)) = seen.insert(&device.id, (&node.name, config.origin(&name))) {
                let id = &device.id;
                found.add(&[&name], format!("uuid: device `{id}` stands on node {first} already, at {at}"));
            }
        }
    }
}
