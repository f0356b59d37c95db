//! What a task remembers of the last time it had to give way, and of the last start that came to nothing.

use serde::{Deserialize, Serialize};

use super::{Claim, NodeName, Span, TaskId, Time, UserName};

/// The last start of a task that was refused, or its last run that was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// When.
    pub at: Time,
    /// What was said.
    pub reason: String,
    /// The node that refused it through no fault of the task, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
}

/// The last time that a task's run was told to leave, and what that cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Displacement {
    /// For whom, if it was for another task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winner: Option<Winner>,
    /// Work that was not known to be saved when its run had ended, in device-milliseconds; zero until then.
    pub lost_ms: u64,
    /// What starting it again costs, in device-milliseconds.
    pub restart_ms: u64,
    /// How long it had run then without a break.
    pub ran: Span,
}

/// The task that another had to make room for, as it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Winner {
    /// The task.
    pub task: TaskId,
    /// Whose it was.
    pub user: UserName,
    /// Its claim.
    pub claim: Claim,
    /// The claim of the run that had to leave.
    pub over: Claim,
    /// The rule.
    pub rule: YieldRule,
}

/// Why one run had to leave for another task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum YieldRule {
    /// The other was within its right, the run was not.
    WithinRight,
    /// The other was of a better level.
    BetterLevel,
    /// Both were of one level, and the run's slice was over.
    SliceOver,
    /// It filled nodes that were kept for the other.
    KeptNodes,
    /// Strict order (`hai-fifo`): the other came before it.
    EarlierInOrder,
}

impl std::fmt::Display for YieldRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            YieldRule::WithinRight => "that one was within its right, and this one ran on borrowed capacity",
            YieldRule::BetterLevel => "that one has a better priority",
            YieldRule::SliceOver => "both have the same priority, and this one had had its slice of time",
            YieldRule::KeptNodes => "it only filled nodes that were kept for that one",
            YieldRule::EarlierInOrder => "that one comes before it in the queue",
        })
    }
}
