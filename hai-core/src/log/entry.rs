//! One entry of an audit: who did what to whom, when and why, as data and as a sentence.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{
    NodeName, Outcome, Priority, Rank, RightKey, RightRow, RunEnd, RunId, TaskId, Team, TeamName, Time, UserName,
    YieldReason,
};

/// Something that was done or decided, by whom, to whom, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The record that says so.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// Who caused it; `None` for the scheduler and the cluster.
    pub by: Option<UserName>,
    /// Whose task it is, or whose right.
    pub user: Option<UserName>,
    /// The task, if it is about one.
    pub task: Option<TaskId>,
    /// What it was.
    #[serde(flatten)]
    pub what: Happening,
}

/// On what a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claimed {
    /// Its owner's right.
    Right,
    /// What others leave unused.
    Borrowed,
    /// What nobody else wants; it needs no right.
    Background,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Happening {
    /// It was submitted.
    Submitted {
        /// What people call it.
        name: String,
    },
    /// Somebody stopped it.
    Cancelled,
    /// Somebody said how it has ended.
    Concluded {
        /// Whether well.
        succeeded: bool,
    },
    /// Somebody suspended it until it is released.
    Held,
    /// Somebody released it.
    Released,
    /// Somebody changed how urgent it is.
    Reprioritised {
        /// To what.
        priority: Priority,
        /// Its place in the queue, if one was chosen.
        custom_rank: Option<Rank>,
    },
    /// Somebody renewed its lease.
    Renewed,
    /// It was started.
    Started {
        /// The run.
        run: RunId,
        /// 1 for its first.
        attempt: u32,
        /// On what.
        claimed: Claimed,
        /// The level that it is charged to.
        level: Priority,
        /// Where.
        nodes: Vec<NodeName>,
        /// Thousandths of devices, all workers together.
        device_milli: u64,
        /// The tasks that were suspended for it, by number, as far as that was after the audit began.
        in_place_of: Vec<TaskId>,
    },
    /// It was told to save itself and leave.
    Suspended {
        /// The run.
        run: RunId,
        /// Why.
        reason: YieldReason,
    },
    /// It was told to end for good.
    Stopped {
        /// The run.
        run: RunId,
    },
    /// A start was refused.
    Refused {
        /// The run.
        run: RunId,
        /// By which node.
        node: NodeName,
        /// Why.
        reason: String,
    },
    /// A run is over.
    Ended {
        /// The run.
        run: RunId,
        /// How.
        #[serde(flatten)]
        end: RunEnd,
        /// What was lost, in device-milliseconds.
        lost_device_ms: u64,
    },
    /// It is over.
    Finished {
        /// How.
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// It stands on something else from now on.
    Recharged {
        /// The run.
        run: RunId,
        /// On what.
        claimed: Claimed,
        /// The level that it is charged to.
        level: Priority,
    },
    /// Its right was cut, and it has to leave unless something changes.
    Noticed {
        /// The run.
        run: RunId,
        /// By when; `None` if it may stay.
        until: Option<Time>,
    },
    /// A right was given or changed.
    RightSet {
        /// The row.
        right: RightRow,
    },
    /// A right was taken away.
    RightRemoved {
        /// Its key.
        key: RightKey,
    },
    /// A team was made or changed.
    TeamSet {
        /// All of it.
        team: Team,
    },
    /// A team is no more.
    TeamRemoved {
        /// Its name.
        team: TeamName,
    },
    /// A scheduler took over.
    Opened {
        /// Its version.
        hai: String,
    },
}

impl fmt::Display for AuditEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.at)?;
        if let Some(task) = self.task {
            write!(f, "task {task}")?;
            if let Some(user) = &self.user {
                write!(f, " of {user}")?;
            }
            f.write_str(": ")?;
        }
        write!(f, "{}", self.what)?;
        match &self.by {
            Some(by) => write!(f, " (by {by})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Claimed::Right => "within its right",
            Claimed::Borrowed => "on borrowed devices",
            Claimed::Background => "in the background",
        })
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whom = |key: &RightKey| {
            let user = key.user.as_ref().map_or("every user", UserName::as_str).to_owned();
            let team = key.team.as_ref().map(|team| format!("each of team {team}"));
            let group = key.group.as_ref().map_or_else(String::new, |group| format!(" in {group}"));
            let level = key.priority.map_or_else(String::new, |level| format!(" at {level}"));
            format!("{}{group}{level}", team.unwrap_or(user))
        };
        match self {
            Happening::Submitted { name } => write!(f, "submitted as {name:?}"),
            Happening::Cancelled => f.write_str("asked to stop for good"),
            Happening::Concluded { succeeded: true } => f.write_str("asked to stop, as succeeded"),
            Happening::Concluded { succeeded: false } => f.write_str("asked to stop, as failed"),
            Happening::Held => f.write_str("asked to hold"),
            Happening::Released => f.write_str("released"),
            Happening::Reprioritised { priority, custom_rank: None } => write!(f, "set to {priority}"),
            Happening::Reprioritised { priority, custom_rank: Some(rank) } => {
                write!(f, "set to {priority}, place {}", rank.value())
            }
            Happening::Renewed => f.write_str("lease renewed"),
            Happening::Started { attempt, claimed, level, nodes, in_place_of, .. } => {
                let again = if *attempt > 1 { format!(" again (attempt {attempt})") } else { String::new() };
                let nodes: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
                write!(f, "started{again} on {}, {claimed} at {level}", nodes.join(", "))?;
                if in_place_of.is_empty() {
                    return Ok(());
                }
                let tasks: Vec<String> = in_place_of.iter().map(TaskId::to_string).collect();
                write!(f, ", in the place of task {}", tasks.join(", "))
            }
            Happening::Suspended { reason, .. } => write!(f, "suspended: {reason}"),
            Happening::Stopped { .. } => f.write_str("told to end"),
            Happening::Refused { node, reason, .. } => write!(f, "start refused by {node}: {reason}"),
            Happening::Ended { run, end, lost_device_ms } => {
                let how = match end {
                    RunEnd::Completed => "is complete".to_owned(),
                    RunEnd::Failed { reason } => format!("failed: {reason}"),
                    RunEnd::Suspended => "has left".to_owned(),
                    RunEnd::Stopped => "was stopped".to_owned(),
                    RunEnd::Lost { reason } => format!("was lost: {reason}"),
                };
                write!(f, "run {run} {how}")?;
                match lost_device_ms {
                    0 => Ok(()),
                    lost => write!(f, ", {} device-seconds of work lost", lost / 1000),
                }
            }
            Happening::Finished { outcome: Outcome::Failed { reason } } => write!(f, "failed: {reason}"),
            Happening::Finished { outcome } => f.write_str(outcome.word()),
            Happening::Recharged { claimed, level, .. } => write!(f, "now {claimed} at {level}"),
            Happening::Noticed { until: Some(until), .. } => write!(f, "its right was cut; it has to leave by {until}"),
            Happening::Noticed { until: None, .. } => f.write_str("it may stay"),
            Happening::RightSet { right } => {
                let (nodes, devices) = (right.allowance.nodes, right.allowance.devices);
                write!(f, "the right of {} is {nodes} nodes and {devices} devices", whom(&right.key))
            }
            Happening::RightRemoved { key } => write!(f, "the right of {} is taken away", whom(key)),
            Happening::TeamSet { team } => write!(f, "team {} is made or changed", team.name),
            Happening::TeamRemoved { team } => write!(f, "team {team} is no more"),
            Happening::Opened { hai } => write!(f, "the scheduler started (hai {hai})"),
        }
    }
}
