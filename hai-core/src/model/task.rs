//! What a person submits.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use super::{DEVICES_PER_NODE_MAX, Devices, GroupName, PlaceName, Priority, Span, Time, UserName, WorkerRequest};

/// The most workers one task may have.
pub const WORKERS_MAX: u32 = 100_000;
const TASK_NAME_BYTES_MAX: usize = 255;
/// The most tasks that one task may wait for.
const DEPENDENCIES_MAX: usize = 10_000;

/// A task; a smaller number was submitted earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct TaskId(pub u64);

/// One attempt to execute a task; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// What kind of work it is.
    #[serde(default, skip_serializing_if = "TaskKind::is_training")]
    pub kind: TaskKind,
    /// How many workers start together; of an elastic gang, the most.
    pub workers: u32,
    /// The least number of workers that are worth a start; left out if all are. How many there are is decided anew
    /// whenever it starts or resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers_min: Option<u32>,
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
    /// Where its workers may be, and how they should lie to each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraints: Option<Box<Constraints>>,
    /// Whether it can be suspended. What can not only fills a hole if it is over before a better task needs the place.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub suspendable: bool,
    /// How long its owner thinks that it runs, all runs together. Never enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Span>,
    /// How long it may run, all runs together; then it is stopped, and has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Span>,
    /// When its owner needs it done. Only the order by deadline looks at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// What starting it again costs; left out for what the operator set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_cost: Option<Span>,
    /// How often it saves its work without being told. Until its first report it counts as never saving.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_every: Option<Span>,
    /// What happens when it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// Tasks that must be over before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Dependency>,
    /// It does not start before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_yes(value: &bool) -> bool {
    *value
}

/// What kind of work a task is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TaskKind {
    /// It runs until it is done.
    #[default]
    Training,
    /// Somebody sits before it. It has its place for a lease, which can be renewed, and is then stopped.
    Interactive {
        /// How long it may keep its place without a renewal.
        lease: Span,
        /// Once its devices were idle for so long it is suspended, and waits until somebody releases it. `None`: never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idle_after: Option<Span>,
    },
    /// It takes what nobody else wants: it needs no right, comes after all other work, and yields to all that is within its
    /// right.
    Background,
}

/// Where workers may be. All that is given must hold for every one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Constraints {
    /// Zones that will do; empty for any.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub zones: BTreeSet<PlaceName>,
    /// Labels that a node must carry.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// All workers under one leaf switch.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub one_leaf: bool,
    /// All workers in one zone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub one_zone: bool,
    /// How the workers should lie to each other.
    pub arrangement: Arrangement,
}

/// How the workers of a task should lie to each other, as far as there is a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Arrangement {
    /// Close together.
    #[default]
    Pack,
    /// On as many nodes as can be.
    Spread,
}

/// How often a failed task is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// At most so many times.
    pub limit: u32,
    /// How long it waits after the first failure; doubles with each.
    #[serde(default = "Retries::default_back_off")]
    pub back_off: Span,
    /// The nodes where it failed are left aside as long as there are others that will do.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub avoid_nodes: bool,
}

/// Another task that must be over first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    /// That task.
    pub task: TaskId,
    /// How it must have ended.
    #[serde(default)]
    pub ended: DependsOn,
}

/// How a task that another one waits for must have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DependsOn {
    /// Well. If it ends otherwise, who waits for it fails.
    #[default]
    Success,
    /// In any way.
    Any,
}

/// How long a run has between the suspend signal and the forced stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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

impl TaskKind {
    /// The kind in one word, as in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            TaskKind::Training => "training",
            TaskKind::Interactive { .. } => "interactive",
            TaskKind::Background => "background",
        }
    }

    /// Whether it is [`TaskKind::Training`].
    #[must_use]
    pub fn is_training(&self) -> bool {
        *self == TaskKind::Training
    }

    /// Whether it is [`TaskKind::Background`].
    #[must_use]
    pub fn is_background(&self) -> bool {
        *self == TaskKind::Background
    }
}

impl Retries {
    const fn default_back_off() -> Span {
        Span::from_secs(10)
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// The container image, where workers are containers; by default the one that the operator set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What whoever submitted it wants kept with it. Workers do not see it, and nothing is decided by it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, String>,
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
            kind: TaskKind::Training,
            workers: 1,
            workers_min: None,
            request,
            distinct_nodes: false,
            tolerates: BTreeSet::new(),
            grace: Grace::default(),
            constraints: None,
            suspendable: true,
            expected: None,
            limit: None,
            deadline: None,
            restart_cost: None,
            checkpoint_every: None,
            retries: None,
            after: Vec::new(),
            not_before: None,
        }
    }

    /// The least number of workers that are worth a start.
    #[must_use]
    pub fn workers_min(&self) -> u32 {
        self.workers_min.unwrap_or(self.workers)
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
    /// characters; `workers` outside `1..=`[`WORKERS_MAX`], `workers_min` outside `1..=workers`; `request.devices` above
    /// [`DEVICES_PER_NODE_MAX`], a share outside `1..=1000` or no memory; a model named twice; a lease, idle time or
    /// `limit` of no time; more than 10,000 tasks in `after`; `grace` above a day.
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
        if let Some(least) = self.workers_min
            && (least == 0 || least > self.workers)
        {
            return wrong("workers_min", format!("is {least}, must be from 1 to `workers`, which is {}", self.workers));
        }
        match self.request.devices {
            Devices::Count(count) if count as usize > DEVICES_PER_NODE_MAX => {
                return wrong(
                    "request.devices",
                    format!("is {count} per worker, no node has more than {DEVICES_PER_NODE_MAX}"),
                );
            }
            Devices::Share(milli) if !(1..=1000).contains(&milli) => {
                return wrong("request.devices", format!("is a share of {milli} thousandths, must be from 1 to 1000"));
            }
            Devices::Memory(0) => return wrong("request.devices", "is no device memory at all"),
            _ => {}
        }
        if let Some(twice) = (1..self.request.models.len())
            .map(|at| &self.request.models[at])
            .enumerate()
            .find_map(|(before, model)| self.request.models[..=before].contains(model).then_some(model))
        {
            return wrong("request.models", format!("names {twice} twice"));
        }
        if let TaskKind::Interactive { lease, idle_after } = self.kind
            && (lease == Span::ZERO || idle_after == Some(Span::ZERO))
        {
            return wrong("kind", "an interactive task's lease and idle time must be longer than nothing");
        }
        if self.limit == Some(Span::ZERO) {
            return wrong("limit", "is no time at all");
        }
        if self.after.len() > DEPENDENCIES_MAX {
            return wrong("after", format!("names {} tasks, at most {DEPENDENCIES_MAX} are allowed", self.after.len()));
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
        if self
            .image
            .as_ref()
            .is_some_and(|image| image.is_empty() || image.contains(|c: char| c.is_control() || c == ' '))
        {
            return wrong(
                "image",
                "is empty or has a space or control character in it; write e.g. registry.lab/torch:2.4",
            );
        }
        Ok(())
    }
}
