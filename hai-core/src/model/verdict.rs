//! Why a task waits.

use serde::{Deserialize, Serialize};

use super::{Allowance, Charge, GroupName, Limit, NodeName, Priority, TaskId, TeamName, Time, UserName};

/// Why a task that is not running is not: what it lacks, with the numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "verdict", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// No round has looked at it since it came or changed.
    NotYetSeen,
    /// Its owner has no right that would ever be enough; only a change of rights helps.
    NoRight {
        /// The owner.
        user: UserName,
        /// The group asked for.
        group: GroupName,
        /// The level asked for.
        priority: Priority,
        /// What all its workers need together.
        asked: Charge,
        /// What the owner may have at most.
        allowed: Allowance,
    },
    /// Its owner's right is used up by other tasks of theirs.
    RightUsed {
        /// The owner.
        user: UserName,
        /// The group asked for.
        group: GroupName,
        /// The level asked for.
        priority: Priority,
        /// What all its workers need together.
        asked: Charge,
        /// What the owner's tasks hold or are promised now; in strict order, what was dealt to those before it.
        used: Charge,
        /// What the owner may have at most.
        allowed: Allowance,
    },
    /// What its owner's team may hold together is used up.
    TeamUsed {
        /// The team, or one that it is a part of.
        team: TeamName,
        /// The group asked for.
        group: GroupName,
        /// What all its workers need together, at the least.
        asked: Charge,
        /// What the team holds or is promised now.
        used: Charge,
        /// What it may hold at most.
        allowed: Allowance,
    },
    /// It waits for other tasks to end.
    After {
        /// Those that have not.
        tasks: Vec<TaskId>,
    },
    /// It was asked not to start before.
    NotBefore {
        /// When.
        at: Time,
    },
    /// Nodes are being kept for it, since it waited so long.
    Reserved {
        /// Which.
        nodes: Vec<NodeName>,
        /// When it starts at the latest if no better work comes; `None` if somebody is in its way who never has to leave.
        by: Option<Time>,
    },
    /// There is room, but it can not be suspended, and would delay a task that stands before it.
    WouldDelay {
        /// That task.
        task: TaskId,
    },
    /// No node belongs to the group.
    NoSuchGroup {
        /// The group asked for.
        group: GroupName,
    },
    /// The group's nodes could not hold it even if all were ready and empty.
    NeverFits {
        /// What is missing.
        lack: Lack,
    },
    /// There is no room for it now, and nobody who would have to make room.
    NoRoom {
        /// What is missing.
        lack: Lack,
    },
    /// A place is set aside for it, which others are leaving.
    Promised {
        /// The tasks whose runs are leaving.
        leaving: Vec<TaskId>,
        /// When the last of them is forced out, at the latest.
        until: Time,
    },
    /// It waits behind another of exactly its shape (same user, group, priority and request), for the same reason.
    Behind {
        /// The first of its shape.
        head: TaskId,
    },
    /// Strict order (`hai-fifo`): a task before it in the group's queue can not start yet.
    Blocked {
        /// That task.
        by: TaskId,
    },
    /// Its last start was refused; it is tried again later.
    BackOff {
        /// When.
        until: Time,
        /// What was said.
        reason: String,
    },
    /// It is held until somebody releases it.
    Held,
    /// Its last run is still leaving.
    Leaving {
        /// When it is forced out, at the latest.
        until: Time,
    },
}

/// What of the asked-for resources is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Lack {
    /// Workers that must start together.
    pub workers: u32,
    /// How many of them have room.
    pub placeable: u32,
    /// Nodes of the group that may be used now.
    pub usable_nodes: u32,
    /// Nodes of the group in all.
    pub nodes: u32,
    /// Devices of the right kind on the usable nodes.
    pub devices: u32,
    /// How many of those are free.
    pub free_devices: u32,
    /// Usable nodes with nobody on them.
    pub empty_nodes: u32,
}

/// One sentence for people.
impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Verdict::NotYetSeen => f.write_str("it was not looked at yet"),
            Verdict::NoRight { user, group, priority, asked, allowed } => write!(
                f,
                "{user} may hold at most {} in group {group} at {priority}, and it needs {asked}; an operator can raise the right",
                bound(*asked, *allowed)
            ),
            Verdict::RightUsed { user, group, priority, asked, used, allowed } => write!(
                f,
                "{user} may hold at most {} in group {group} at {priority}, tasks of theirs use {used}, and it needs {asked}",
                bound(*asked, *allowed)
            ),
            Verdict::TeamUsed { team, group, asked, used, allowed } => write!(
                f,
                "team {team} may hold at most {} in group {group}, it uses {used}, and the task needs {asked}",
                bound(*asked, *allowed)
            ),
            Verdict::After { tasks } => {
                f.write_str("it waits for the end of ")?;
                for (index, task) in tasks.iter().enumerate() {
                    write!(f, "{}task {task}", if index == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Verdict::NotBefore { at } => write!(f, "it was asked not to start before {at}"),
            Verdict::Reserved { nodes, by } => {
                f.write_str("it waited so long that nodes are kept for it: ")?;
                for (index, node) in nodes.iter().enumerate() {
                    write!(f, "{}{node}", if index == 0 { "" } else { ", " })?;
                }
                match by {
                    Some(by) => write!(f, "; it starts by {by} if no better work comes"),
                    None => f.write_str("; a run that never has to leave is in its way"),
                }
            }
            Verdict::WouldDelay { task } => write!(
                f,
                "there is room, but it can not be suspended and would delay task {task}; a shorter `limit` would help"
            ),
            Verdict::NoSuchGroup { group } => write!(f, "no node belongs to group {group}"),
            Verdict::NeverFits { lack } => write!(f, "the group could not hold it even if it were empty: {lack}"),
            Verdict::NoRoom { lack } => write!(f, "no room now, and nobody has to make room for it: {lack}"),
            Verdict::Promised { leaving, until } if leaving.is_empty() => {
                write!(f, "its place is set aside and about to be free (by {until})")
            }
            Verdict::Promised { leaving, until } => {
                write!(f, "its place is set aside; waiting for ")?;
                for (index, task) in leaving.iter().enumerate() {
                    write!(f, "{}task {task}", if index == 0 { "" } else { ", " })?;
                }
                write!(f, " to leave (by {until})")
            }
            Verdict::Behind { head } => {
                write!(f, "it waits behind task {head}, which asks for the same and came first")
            }
            Verdict::Blocked { by } => write!(f, "task {by} stands before it in the queue and can not start yet"),
            Verdict::BackOff { until, reason } => write!(f, "its last start failed ({reason}); tried again at {until}"),
            Verdict::Held => f.write_str("it is held until somebody resumes it (`hai resume`)"),
            Verdict::Leaving { until } => write!(f, "its last run is leaving (by {until})"),
        }
    }
}

fn bound(asked: Charge, allowed: Allowance) -> String {
    let (limit, unit) = if asked.nodes.is_zero() { (allowed.devices, "device") } else { (allowed.nodes, "node") };
    match limit {
        limit if limit == Limit::at_most(1) => format!("1 {unit}"),
        Limit::AtMost(most) => format!("{most} {unit}s"),
        Limit::Unlimited => format!("any number of {unit}s"),
    }
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let workers = if self.workers == 1 { "worker" } else { "workers" };
        write!(f, "{} of {} {workers} fit; ", self.placeable, self.workers)?;
        // There are none to count where the work is for processors alone, or nothing there will do.
        if self.devices > 0 {
            write!(f, "{} of {} fitting devices are free, ", self.free_devices, self.devices)?;
        }
        let (empty, usable, nodes) = (self.empty_nodes, self.usable_nodes, self.nodes);
        write!(f, "{empty} of {usable} usable nodes are empty ({nodes} nodes in the group)")
    }
}
