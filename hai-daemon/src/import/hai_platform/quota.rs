//! What a quota's resource says: a small language of its own, which upstream reads so that one odd row stops all others.

use std::collections::BTreeSet;

use hai_core::model::{GroupName, Priority};

/// What a row of quotas is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// `node-GROUP-PRIORITY`: whole nodes for training.
    Nodes { group: GroupName, priority: Priority },
    /// `node_limit[-X]-GROUP-PRIORITY` and `node_role_limit…`: at most so many, whatever else is given.
    Cap { group: GroupName, priority: Priority },
    /// `jupyter:GROUP`: interactive tasks, with processors and memory in the same number.
    Jupyter { group: GroupName },
    /// Something that hai has no right for: what it is, and why not.
    Other(&'static str),
}

/// The number of a `jupyter:` row: MMMMCCCQQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Jupyter {
    pub(super) memory_gib: u64,
    pub(super) cpus: u64,
    pub(super) tasks: u32,
}

const PORT: &str = "a port of a node, which hai does not hand out";
const PERMISSION: &str = "a permission, and hai has none but to be an operator: what containers may is in [kubernetes]";
const COUNT: &str = "a number of tasks; hai bounds devices and nodes, and background work yields to all other";
const LOOSE: &str = "a number of nodes of no group";
const LEVELS: &str = "EXTREME_HIGH, VERY_HIGH, HIGH, ABOVE_NORMAL, NORMAL, UNDER_NORMAL, BELOW_NORMAL and LOW";

/// Words that stand alone.
const WORDS: [(&str, &str); 9] = [
    ("spot_jupyter", COUNT),
    ("dedicated_jupyter", COUNT),
    ("background_task", COUNT),
    ("node", LOOSE),
    ("port", PORT),
    ("privileged", PERMISSION),
    ("host_ipc", PERMISSION),
    ("host_pid", PERMISSION),
    ("host_network", PERMISSION),
];
/// What begins with a word and a colon.
const PREFIXES: [(&str, &str); 4] =
    [("port:", PORT), ("train_environment:", PERMISSION), ("cap:", PERMISSION), ("custom_service:", PERMISSION)];

impl Resource {
    /// Reads a resource. `known` are the groups that there are: names with dashes in them can be told apart by them alone.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn parse(text: &str, known: &BTreeSet<GroupName>) -> Result<Self, String> {
        if let Some((_, why)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(Resource::Other(why));
        }
        if let Some((_, why)) =
            PREFIXES.iter().find(|(prefix, _)| text.len() > prefix.len() && text.starts_with(prefix))
        {
            return Ok(Resource::Other(why));
        }
        if let Some(group) = text.strip_prefix("jupyter:") {
            return Ok(Resource::Jupyter { group: group_name(group)? });
        }
        // A group of the operating system: what is before the colon is any name.
        if text.split_once(':').is_some_and(|(name, gid)| !name.is_empty() && is_gid(gid)) {
            return Ok(Resource::Other(PERMISSION));
        }
        let Some((kind, rest)) = text.split_once('-') else {
            return Err(format!("{text:?} is no resource that hai-platform describes"));
        };
        let capped = kind.starts_with("node_limit") || kind.starts_with("node_role_limit");
        if kind != "node" && !capped {
            return Err(format!("{text:?} is no resource that hai-platform describes"));
        }
        let Some((middle, level)) = rest.rsplit_once('-') else {
            return Err(format!("{text:?} names no group or no priority; it should be {kind}-GROUP-PRIORITY"));
        };
        let Some(priority) = Priority::LEVELS.into_iter().find(|priority| priority.name() == level) else {
            return Err(format!("{level:?} is no priority; the levels are {LEVELS}"));
        };
        let whole = group_name(middle);
        if !capped {
            return Ok(Resource::Nodes { group: whole?, priority });
        }
        // What stands before a cap's group is a label, unless that is all a group's name.
        let labelled = middle.split_once('-').map(|(_, group)| group_name(group));
        let group = match (whole, labelled) {
            (Ok(whole), _) if known.contains(&whole) => whole,
            (_, Some(Ok(labelled))) if known.contains(&labelled) => labelled,
            (_, Some(_)) => {
                return Err(format!(
                    "it can not be told which part of {middle:?} is the group: there is no node of either"
                ));
            }
            (whole, None) => whole?,
        };
        Ok(Resource::Cap { group, priority })
    }
}

impl Jupyter {
    /// Reads the number.
    ///
    /// # Errors
    /// It is negative.
    pub(super) fn unpack(packed: i64) -> Result<Self, String> {
        let packed = u64::try_from(packed).map_err(|_| format!("{packed} is negative"))?;
        let tasks = u32::try_from(packed % 100).map_err(|error| error.to_string())?;
        Ok(Jupyter { memory_gib: packed / 100_000, cpus: packed / 100 % 1000, tasks })
    }
}

fn group_name(text: &str) -> Result<GroupName, String> {
    GroupName::new(text).map_err(|error| error.to_string())
}

/// `${gid}`, as it is or filled in.
fn is_gid(text: &str) -> bool {
    text == "${gid}" || (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str) -> GroupName {
        GroupName::new(name).expect("a group name")
    }

    fn known() -> BTreeSet<GroupName> {
        ["train", "big-lab", "lab", "jd_a100"].map(group).into()
    }

    #[test]
    fn every_kind_of_resource_is_known() {
        let nodes = |name: &str, priority| Ok(Resource::Nodes { group: group(name), priority });
        let cap = |name: &str, priority| Ok(Resource::Cap { group: group(name), priority });
        for (text, read) in [
            ("node-train-EXTREME_HIGH", nodes("train", Priority::ExtremeHigh)),
            ("node-jd_a100-LOW", nodes("jd_a100", Priority::Low)),
            // Upstream stops at these for good.
            ("node-big-lab-HIGH", nodes("big-lab", Priority::High)),
            ("node-a-b-c-UNDER_NORMAL", nodes("a-b-c", Priority::UnderNormal)),
            ("node_limit-train-NORMAL", cap("train", Priority::Normal)),
            ("node_limit-big-lab-NORMAL", cap("big-lab", Priority::Normal)),
            ("node_limit-x-train-NORMAL", cap("train", Priority::Normal)),
            ("node_limit-x-big-lab-ABOVE_NORMAL", cap("big-lab", Priority::AboveNormal)),
            ("node_limit-elsewhere-NORMAL", cap("elsewhere", Priority::Normal)),
            ("node_role_limit-train-BELOW_NORMAL", cap("train", Priority::BelowNormal)),
            ("node_role_limit_more-train-VERY_HIGH", cap("train", Priority::VeryHigh)),
            ("jupyter:jupyter_cpu", Ok(Resource::Jupyter { group: group("jupyter_cpu") })),
            ("spot_jupyter", Ok(Resource::Other(COUNT))),
            ("dedicated_jupyter", Ok(Resource::Other(COUNT))),
            ("background_task", Ok(Resource::Other(COUNT))),
            ("node", Ok(Resource::Other(LOOSE))),
            ("port", Ok(Resource::Other(PORT))),
            ("port:ssh:my-nb:0:22", Ok(Resource::Other(PORT))),
            ("train_environment:cu113", Ok(Resource::Other(PERMISSION))),
            ("cap:IPC_LOCK", Ok(Resource::Other(PERMISSION))),
            ("privileged", Ok(Resource::Other(PERMISSION))),
            ("host_ipc", Ok(Resource::Other(PERMISSION))),
            ("host_pid", Ok(Resource::Other(PERMISSION))),
            ("host_network", Ok(Resource::Other(PERMISSION))),
            ("custom_service:http:*", Ok(Resource::Other(PERMISSION))),
            ("custom_service:tcp:8080", Ok(Resource::Other(PERMISSION))),
            ("hfai:${gid}", Ok(Resource::Other(PERMISSION))),
            ("hfai:1001", Ok(Resource::Other(PERMISSION))),
        ] {
            assert_eq!(Resource::parse(text, &known()), read, "{text}");
        }
    }

    #[test]
    fn what_can_not_be_is_said_why() {
        for (text, part) in [
            ("", "no resource"),
            ("gpu", "no resource"),
            ("gpu-train-HIGH", "no resource"),
            ("nodes-train-HIGH", "no resource"),
            ("node-train", "names no group or no priority"),
            ("node--HIGH", "is empty"),
            ("node-HIGH", "names no group or no priority"),
            ("node-train-URGENT", "\"URGENT\" is no priority"),
            ("node-train-high", "\"high\" is no priority"),
            ("node-train-30", "\"30\" is no priority"),
            ("node-train-AUTO", "\"AUTO\" is no priority"),
            ("node-train-", "\"\" is no priority"),
            ("node-tr ain-HIGH", "' '"),
            ("node_limit-HIGH", "names no group or no priority"),
            ("node_limit-a-b-HIGH", "which part of \"a-b\" is the group"),
            ("jupyter:", "is empty"),
            ("jupyter:a/b", "'/'"),
            ("port:", "no resource"),
            (":5", "no resource"),
            ("hfai:x", "no resource"),
            ("node-train-HIGH ", "\"HIGH \" is no priority"),
        ] {
            let problem = Resource::parse(text, &known()).expect_err(text);
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }

    #[test]
    fn numbers_of_interactive_tasks_are_unpacked() {
        for (packed, memory_gib, cpus, tasks) in
            [(100_012_810, 1000, 128, 10), (0, 0, 0, 0), (99, 0, 0, 99), (100, 0, 1, 0), (500_000, 5, 0, 0)]
        {
            assert_eq!(Jupyter::unpack(packed), Ok(Jupyter { memory_gib, cpus, tasks }));
        }
        assert!(Jupyter::unpack(i64::MAX).is_ok());
        assert!(Jupyter::unpack(-1).is_err());
    }
}
