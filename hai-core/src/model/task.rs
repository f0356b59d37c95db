//! What a person submits.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use super::{DEVICES_PER_NODE_MAX, Devices, GroupName, Priority, Span, UserName, WorkerRequest};

/// The most workers one task may have.
pub const WORKERS_MAX: u32 = 100_000;
const TASK_NAME_BYTES_MAX: usize = 255;

/// A task; a smaller number was submitted earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub u64);

/// One attempt to execute a task; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub u64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// All that the engine knows of what a person asked. The program to execute is no business of the engine's: see
/// [`Program`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// What people call it.
    pub name: String,
    /// Whose it is.
    pub user: UserName,
    /// The nodes it may have.
    pub group: GroupName,
    /// How urgent it is.
    pub priority: Priority,
    /// Overrides the place in the queue that the submission gave (the task's number): a smaller one goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_rank: Option<Rank>,
    /// How many workers start together.
    pub workers: u32,
    /// What each of them needs.
    pub request: WorkerRequest,
    /// No two workers on one node (whole-node workers are always apart).
    #[serde(default)]
    pub distinct_nodes: bool,
    /// Taints of nodes that it does not mind.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tolerates: BTreeSet<String>,
    /// How long it has to save itself when it is suspended or stopped.
    #[serde(default)]
    pub grace: Grace,
}

/// How long a run has between the suspend signal and the forced stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grace {
    /// To answer that it heard; a run that has not by then is killed.
    pub answer: Span,
    /// From then on, to save and leave.
    pub finish: Span,
}

impl Default for Grace {
    fn default() -> Self {
        Grace { answer: Span::from_secs(5), finish: Span::from_secs(5) }
    }
}

impl Grace {
    /// From the signal to the latest forced stop.
    #[must_use]
    pub fn total(self) -> Span {
        self.answer + self.finish
    }
}

/// A place in the queue of one priority; a smaller one goes first. Always finite.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(transparent)]
pub struct Rank(f64);

impl Rank {
    /// The place `value`, if that is a finite number.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        // Adding zero turns -0.0 into 0.0, so that equal ranks are equal bit for bit.
        value.is_finite().then_some(Rank(value + 0.0))
    }

    /// The place that a submission gives.
    #[must_use]
    pub fn of_submission(task: TaskId) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "2^53 submissions are out of reach")]
        Rank(task.0 as f64)
    }

    /// The number.
    #[must_use]
    pub fn value(self) -> f64 {
        self.0
    }
}

impl PartialEq for Rank {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Rank {}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl<'de> Deserialize<'de> for Rank {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Rank::new(f64::deserialize(deserializer)?)
            .ok_or_else(|| serde::de::Error::custom("a rank must be a finite number"))
    }
}

/// What a worker executes. Kept by the store and handed to the cluster; the engine never sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// The program and its arguments; the first is looked up in the worker's `PATH`.
    pub command: Vec<String>,
    /// Variables that are added to the worker's environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The directory it starts in; by default the run's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
}

/// What is wrong with a submission; every variant names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct SpecError {
    /// The field, as in the JSON of the submission.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub problem: String,
}

fn wrong<T>(field: &'static str, problem: impl Into<String>) -> Result<T, SpecError> {
    Err(SpecError { field, problem: problem.into() })
}

impl TaskSpec {
    /// One worker with `devices` devices, submitted by `user` at `priority` to `group`; the rest is default.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        user: UserName,
        group: GroupName,
        priority: Priority,
        request: WorkerRequest,
    ) -> Self {
        TaskSpec {
            name: name.into(),
            user,
            group,
            priority,
            custom_rank: None,
            workers: 1,
            request,
            distinct_nodes: false,
            tolerates: BTreeSet::new(),
            grace: Grace::default(),
        }
    }

    /// The task's place in its queue, given the number it was submitted under.
    #[must_use]
    pub fn rank(&self, task: TaskId) -> Rank {
        self.custom_rank.unwrap_or_else(|| Rank::of_submission(task))
    }

    /// Checks what types can not say.
    ///
    /// # Errors
    /// [`SpecError`] naming the first field that is wrong: `name` empty, longer than 255 bytes or with control
    /// characters; `workers` outside `1..=`[`WORKERS_MAX`]; `request.devices` above [`DEVICES_PER_NODE_MAX`];
    /// `grace` above a day.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.name.is_empty() {
            return wrong("name", "is empty");
        }
        if self.name.len() > TASK_NAME_BYTES_MAX {
            return wrong("name", format!("has {} bytes, at most {TASK_NAME_BYTES_MAX} are allowed", self.name.len()));
        }
        if let Some(bad) = self.name.chars().find(|c| c.is_control()) {
            return wrong("name", format!("has the control character {bad:?} in it"));
        }
        if self.workers == 0 || self.workers > WORKERS_MAX {
            return wrong("workers", format!("is {}, must be from 1 to {WORKERS_MAX}", self.workers));
        }
        if let Devices::Count(count) = self.request.devices
            && count as usize > DEVICES_PER_NODE_MAX
        {
            return wrong(
                "request.devices",
                format!("is {count} per worker, no node has more than {DEVICES_PER_NODE_MAX}"),
            );
        }
        let day = Span::from_secs(86_400);
        if self.grace.answer > day || self.grace.finish > day {
            return wrong("grace", "is longer than a day");
        }
        Ok(())
    }
}

impl Program {
    /// Checks what types can not say.
    ///
    /// # Errors
    /// [`SpecError`] naming the field: an empty `command`, or a zero byte in `command`, `env` or `workdir`; a name
    /// in `env` that is empty or has `=` in it.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.command.first().is_none_or(String::is_empty) {
            return wrong("command", "is empty; name the program to run, e.g. [\"python3\", \"train.py\"]");
        }
        if self.command.iter().any(|word| word.contains('\0')) {
            return wrong("command", "has a zero byte in it");
        }
        if self.env.iter().any(|(name, value)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')) {
            return wrong("env", "has a name that is empty or contains `=`, or a zero byte");
        }
        if self.workdir.as_ref().is_some_and(|dir| dir.contains('\0') || !dir.starts_with('/')) {
            return wrong("workdir", "must be an absolute path");
        }
        Ok(())
    }
}
