//! Why a task waits, as data and as a sentence.

use chrono::{DateTime, Utc};
use hai_core::explain;
use hai_core::model::{self, Amount, GroupName, NodeName, Priority, TaskId, TeamName, UserName};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Limit, PriorityWord, TaskState, Yielded, utc};

/// Why a task waits, or that it does not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// The task.
    #[schema(value_type = u64)]
    pub task: TaskId,
    /// What it is doing.
    pub state: TaskState,
    /// Whether it waits for something.
    pub waits: bool,
    /// All of it, for people.
    pub sentence: String,
    /// What it waits for; `null` if it does not wait.
    pub verdict: Option<Verdict>,
    /// Why its last run had to leave, if it had.
    pub yielded: Option<Yielded>,
    /// What keeps its workers from executing although they were started, as the cluster tells it: a volume that does not mount, an
    /// image that does not come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// The dominant reason in one plain sentence; left out for a task that is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is behind the reason, as short sections for people: right, place in line, nodes, who could yield.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<WhySection>,
    /// The same as data, link by link, as `hai_core::explain::Why` writes it: `right`, `line`, `nodes`, `yielding`, `kept`,
    /// `refused`, `running`, `left`; times and spans in it are milliseconds. Others' tasks are only counted by level, but
    /// for operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub links: Option<serde_json::Value>,
    /// What would help, if that was asked for with `help=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<WhyHelp>,
}

/// What is to be said besides why a task waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WhyQuery {
    /// Also say which single changes would let it start now. Takes longer.
    #[serde(default)]
    pub help: bool,
}

/// A part of the reason for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhySection {
    /// What it is about.
    pub title: String,
    /// A sentence each.
    pub lines: Vec<String>,
}

/// The smallest changes after which a task would start now; each was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhyHelp {
    /// Nothing has to change: it is on its way, or waits for nothing.
    pub needs_nothing: bool,
    /// Single changes, those first that the owner can make.
    pub changes: Vec<HelpfulChange>,
    /// If no single change helps, two that do together, if such were found.
    pub pair: Vec<HelpfulChange>,
    /// Whether all that was thought of was tried.
    pub complete: bool,
}

/// A change that helps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HelpfulChange {
    /// The change, and what comes of it, for people.
    pub sentence: String,
    /// The same as data, as `hai_core::explain::help::Change` writes it.
    #[schema(value_type = Object)]
    pub change: serde_json::Value,
    /// Whether it starts at once. If not, `then` says what comes of it.
    pub at_once: bool,
    /// What comes of it; of a pair, what comes of both stands with the second, and the first has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<HelpThen>,
}

/// What becomes of a task after a change that helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "then", rename_all = "snake_case")]
#[non_exhaustive]
pub enum HelpThen {
    /// It starts at once.
    Starts,
    /// It is promised a place, which others are leaving.
    Promised {
        /// How many tasks leave for it, or do already.
        leaving: u32,
        /// When the last of them is gone at the latest.
        until: DateTime<Utc>,
    },
    /// It could start at all, once there is room: as it is, its group could never hold it.
    Fits,
}

impl From<&explain::Then> for HelpThen {
    fn from(then: &explain::Then) -> Self {
        match *then {
            explain::Then::Starts => HelpThen::Starts,
            explain::Then::Promised { leaving, until } => HelpThen::Promised { leaving, until: utc(until) },
            explain::Then::Fits => HelpThen::Fits,
        }
    }
}

impl From<&explain::Section> for WhySection {
    fn from(section: &explain::Section) -> Self {
        WhySection { title: section.title.clone(), lines: section.lines.clone() }
    }
}

impl From<&explain::Helps> for WhyHelp {
    fn from(helps: &explain::Helps) -> Self {
        let data = |change: &explain::help::Change| serde_json::to_value(change).unwrap_or_default();
        let change = |help: &explain::Help| HelpfulChange {
            sentence: help.to_string(),
            change: data(&help.change),
            at_once: help.then == explain::Then::Starts,
            then: Some((&help.then).into()),
        };
        let pair = helps.pair.iter().flat_map(|(first, second)| {
            let first = HelpfulChange { sentence: first.to_string(), change: data(first), at_once: false, then: None };
            [first, change(second)]
        });
        WhyHelp {
            needs_nothing: helps.needs_nothing,
            changes: helps.singles.iter().map(change).collect(),
            pair: pair.collect(),
            complete: helps.complete,
        }
    }
}

/// What a waiting task lacks, with the numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "verdict", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// No round has looked at it since it came or changed.
    NotYetSeen,
    /// Its owner has no right that would ever be enough; only a change of rights helps.
    NoRight {
        /// The owner.
        #[schema(value_type = String)]
        user: UserName,
        /// The group asked for.
        #[schema(value_type = String)]
        group: GroupName,
        /// The level asked for.
        #[schema(value_type = PriorityWord)]
        priority: Priority,
        /// What all its workers need together.
        asked: Charge,
        /// Nodes that the owner may hold at most, for tasks that take whole nodes.
        allowed_nodes: Limit,
        /// Devices that the owner may hold at most, for tasks that take single devices.
        allowed_devices: Limit,
    },
    /// Its owner's right is used up by other tasks of theirs.
    RightUsed {
        /// The owner.
        #[schema(value_type = String)]
        user: UserName,
        /// The group asked for.
        #[schema(value_type = String)]
        group: GroupName,
        /// The level asked for.
        #[schema(value_type = PriorityWord)]
        priority: Priority,
        /// What all its workers need together.
        asked: Charge,
        /// What the owner's tasks hold or are promised now.
        used: Charge,
        /// Nodes that the owner may hold at most, for tasks that take whole nodes.
        allowed_nodes: Limit,
        /// Devices that the owner may hold at most, for tasks that take single devices.
        allowed_devices: Limit,
    },
    /// What its owner's team may hold together is used up.
    TeamUsed {
        /// The team, or one that it is a part of.
        #[schema(value_type = String)]
        team: TeamName,
        /// The group asked for.
        #[schema(value_type = String)]
        group: GroupName,
        /// What all its workers need together, at the least.
        asked: Charge,
        /// What the team holds or is promised now.
        used: Charge,
        /// Nodes that the team may hold at most, for tasks that take whole nodes.
        allowed_nodes: Limit,
        /// Devices that the team may hold at most, for all other tasks.
        allowed_devices: Limit,
    },
    /// It waits for other tasks to end.
    After {
        /// Those that have not.
        #[schema(value_type = Vec<u64>)]
        tasks: Vec<TaskId>,
    },
    /// It was asked not to start before.
    NotBefore {
        /// When.
        at: DateTime<Utc>,
    },
    /// Nodes are being kept for it, since it waited so long.
    Reserved {
        /// Which.
        #[schema(value_type = Vec<String>)]
        nodes: Vec<NodeName>,
        /// When it starts at the latest if no better work comes; `null` if somebody is in its way who never has to leave.
        by: Option<DateTime<Utc>>,
    },
    /// There is room, but it can not be suspended, and would delay a task that stands before it.
    WouldDelay {
        /// That task.
        #[schema(value_type = u64)]
        task: TaskId,
    },
    /// No node belongs to the group.
    NoSuchGroup {
        /// The group asked for.
        #[schema(value_type = String)]
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
        #[schema(value_type = Vec<u64>)]
        leaving: Vec<TaskId>,
        /// When the last of them is forced out, at the latest.
        until: DateTime<Utc>,
    },
    /// It waits behind another of exactly its shape, for the same reason.
    Behind {
        /// The first of its shape.
        #[schema(value_type = u64)]
        head: TaskId,
    },
    /// Strict order: a task before it in the group's queue can not start yet.
    Blocked {
        /// That task.
        #[schema(value_type = u64)]
        by: TaskId,
    },
    /// Its last start was refused; it is tried again later.
    BackOff {
        /// When.
        until: DateTime<Utc>,
        /// What was said.
        reason: String,
    },
    /// It is held until somebody resumes it.
    Held,
    /// Its last run is still leaving.
    Leaving {
        /// When it is forced out, at the latest.
        until: DateTime<Utc>,
    },
    /// A reason that has no data of its own; the sentence says it.
    Other,
}

/// An amount that counts against a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Charge {
    /// Whole nodes.
    #[schema(value_type = f64, examples(2))]
    pub nodes: Amount,
    /// Devices on shared nodes, or parts of them.
    #[schema(value_type = f64, examples(0.25))]
    pub devices: Amount,
}

/// What of the asked-for resources is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

impl From<model::Charge> for Charge {
    fn from(charge: model::Charge) -> Self {
        Charge { nodes: charge.nodes, devices: charge.devices }
    }
}

impl From<&model::Lack> for Lack {
    fn from(lack: &model::Lack) -> Self {
        Lack {
            workers: lack.workers,
            placeable: lack.placeable,
            usable_nodes: lack.usable_nodes,
            nodes: lack.nodes,
            devices: lack.devices,
            free_devices: lack.free_devices,
            empty_nodes: lack.empty_nodes,
        }
    }
}

impl From<&model::Verdict> for Verdict {
    fn from(verdict: &model::Verdict) -> Self {
        use model::Verdict as From;
        match verdict.clone() {
            From::NotYetSeen => Verdict::NotYetSeen,
            From::NoRight { user, group, priority, asked, allowed } => Verdict::NoRight {
                user,
                group,
                priority,
                asked: asked.into(),
                allowed_nodes: Limit(allowed.nodes),
                allowed_devices: Limit(allowed.devices),
            },
            From::RightUsed { user, group, priority, asked, used, allowed } => Verdict::RightUsed {
                user,
                group,
                priority,
                asked: asked.into(),
                used: used.into(),
                allowed_nodes: Limit(allowed.nodes),
                allowed_devices: Limit(allowed.devices),
            },
            From::TeamUsed { team, group, asked, used, allowed } => Verdict::TeamUsed {
                team,
                group,
                asked: asked.into(),
                used: used.into(),
                allowed_nodes: Limit(allowed.nodes),
                allowed_devices: Limit(allowed.devices),
            },
            From::After { tasks } => Verdict::After { tasks },
            From::NotBefore { at } => Verdict::NotBefore { at: utc(at) },
            From::Reserved { nodes, by } => Verdict::Reserved { nodes, by: by.map(utc) },
            From::WouldDelay { task } => Verdict::WouldDelay { task },
            From::NoSuchGroup { group } => Verdict::NoSuchGroup { group },
            From::NeverFits { lack } => Verdict::NeverFits { lack: (&lack).into() },
            From::NoRoom { lack } => Verdict::NoRoom { lack: (&lack).into() },
            From::Promised { leaving, until } => Verdict::Promised { leaving, until: utc(until) },
            From::Behind { head } => Verdict::Behind { head },
            From::Blocked { by } => Verdict::Blocked { by },
            From::BackOff { until, reason } => Verdict::BackOff { until: utc(until), reason },
            From::Held => Verdict::Held,
            From::Leaving { until } => Verdict::Leaving { until: utc(until) },
            _ => Verdict::Other,
        }
    }
}
