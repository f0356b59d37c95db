//! The event log, and what it adds up to.

use chrono::{DateTime, Utc};
use hai_core::log;
use hai_core::model::UserName;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::utc;

/// Which part of the event log, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// From the first step at or after this time; by default from the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// To the last step at or before this time; by default to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<DateTime<Utc>>,
    /// With other names and texts in the place of all that are in it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pseudonyms: bool,
}

/// Whose audit, and over which window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only this user; by default oneself, and for operators all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub user: Option<UserName>,
    /// From this time on; by default from the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// Until before this time; by default until now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

/// What a window of the log adds up to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Audit {
    /// The first moment.
    pub since: DateTime<Utc>,
    /// The first moment after.
    pub until: DateTime<Utc>,
    /// By user.
    pub users: Vec<UserAudit>,
    /// Of all users together; only operators are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<AuditSums>,
}

/// What one user used, lost and was due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserAudit {
    /// The user.
    #[schema(value_type = String)]
    pub user: UserName,
    /// The sums.
    #[serde(flatten)]
    pub sums: AuditSums,
}

/// Sums; what is not a number of times is in device-milliseconds: devices times milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditSums {
    /// Held within right, from the decision to start until the worker has ended.
    pub right_device_ms: u64,
    /// Held beyond it, as others left it unused.
    pub borrowed_device_ms: u64,
    /// Held by background work.
    pub background_device_ms: u64,
    /// Held since the last checkpoint by runs that were then suspended, lost or failed.
    pub lost_device_ms: u64,
    /// Held by runs that went on with a task before they executed.
    pub restarting_device_ms: u64,
    /// Runs that were started.
    pub starts: u64,
    /// Runs that were told to leave and go on later.
    pub suspensions: u64,
    /// Workers whose start was refused.
    pub refusals: u64,
    /// What was due: at every moment the devices that were there, divided max-min fairly among those who wanted some.
    pub share_due_device_ms: u64,
    /// What was got: all that was held.
    pub share_got_device_ms: u64,
}

/// Something that was done or decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// The record of the log that says so.
    pub seq: u64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who caused it; left out for what the scheduler and the cluster did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub by: Option<UserName>,
    /// Whose task it is, or whose right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub user: Option<UserName>,
    /// The task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<u64>,
    /// All of it in one sentence.
    pub text: String,
    /// What it was: `what`, and what belongs to it. Times in it are milliseconds since 1970.
    pub detail: serde_json::Value,
}

impl Audit {
    /// The sums of one user, or of all.
    #[must_use]
    pub fn of(audit: &log::Audit, only: Option<&UserName>) -> Self {
        let wanted = audit.users.iter().filter(|row| only.is_none_or(|only| row.user == *only));
        Audit {
            since: utc(audit.window.since),
            until: utc(audit.window.until),
            users: wanted.map(|row| UserAudit { user: row.user.clone(), sums: row.sums.into() }).collect(),
            total: only.is_none().then(|| audit.total.into()),
        }
    }
}

impl From<log::Sums> for AuditSums {
    fn from(sums: log::Sums) -> Self {
        AuditSums {
            right_device_ms: sums.right_device_ms,
            borrowed_device_ms: sums.borrowed_device_ms,
            background_device_ms: sums.background_device_ms,
            lost_device_ms: sums.lost_device_ms,
            restarting_device_ms: sums.restarting_device_ms,
            starts: sums.starts,
            suspensions: sums.suspensions,
            refusals: sums.refusals,
            share_due_device_ms: sums.share_due_device_ms,
            share_got_device_ms: sums.share_got_device_ms,
        }
    }
}

impl From<&log::AuditEntry> for AuditEntry {
    fn from(entry: &log::AuditEntry) -> Self {
        AuditEntry {
            seq: entry.seq,
            at: utc(entry.at),
            by: entry.by.clone(),
            user: entry.user.clone(),
            task: entry.task.map(|task| task.0),
            text: entry.to_string(),
            detail: serde_json::to_value(&entry.what).unwrap_or_default(),
        }
    }
}
