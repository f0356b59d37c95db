//! What a change would do, before it is made: on a copy of the engine, with and without it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::course::{Course, Hold, Leave, Notice, Start, Stop};
use crate::engine::{Engine, EngineConfig, FactError};
use crate::model::{Amount, Fact, TaskId, TaskSpec, Time, UserName, Verdict};

/// Something that could be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// A task is submitted; it gets the next number.
    Submit(Box<TaskSpec>),
    /// A fact: a task is stopped, a right is changed, a node joins, is drained, or is lost, …
    Tell(Box<Fact>),
    /// It is decided by another configuration.
    Configure(Box<EngineConfig>),
}

/// What a change would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// When that is.
    pub at: Time,
    /// What would happen without it, until the cluster comes to rest.
    pub before: Course,
    /// What would happen with it.
    pub after: Course,
    /// Who starts because of it, or elsewhere, or on another right.
    pub starts: Vec<Start>,
    /// Who would start without it, and does not, or not there.
    pub starts_no_more: Vec<Start>,
    /// Who is suspended because of it.
    pub leaves: Vec<Leave>,
    /// Who would be suspended without it, and stays.
    pub leaves_no_more: Vec<Leave>,
    /// Who ends for good because of it.
    pub stops: Vec<Stop>,
    /// Who is given a time by which to leave because of it.
    pub notices: Vec<Notice>,
    /// What becomes of the tasks that it submits and of those that it names, in their order.
    pub outlooks: Vec<Outlook>,
    /// What users hold then, without it and with it, by name; who holds nothing in either is left out.
    pub shares: Vec<Share>,
    /// Names the change and what it does. What is shown again later with the same stamp is the same.
    pub stamp: Stamp,
}

/// What becomes of a task that a change submits or names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outlook {
    /// Its number, or the one that it would get.
    pub task: TaskId,
    /// What becomes of it.
    #[serde(flatten)]
    pub kind: OutlookKind,
}

/// What becomes of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outlook", rename_all = "snake_case")]
#[non_exhaustive]
pub enum OutlookKind {
    /// It starts, once those have left who have to leave for it, if there are any.
    Starts {
        /// How.
        start: Box<Start>,
    },
    /// It waits.
    Waits {
        /// For what.
        verdict: Verdict,
    },
    /// As things are, it could never run.
    Never {
        /// Why.
        verdict: Verdict,
    },
    /// It keeps the place that it has.
    Stays,
    /// It is over at once: it is stopped, or its predecessor failed already.
    Over,
}

/// What a user holds, in devices, without a change and with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The user.
    pub user: UserName,
    /// Without it.
    pub before: Held,
    /// With it.
    pub after: Held,
}

/// Devices that a user's tasks hold; a part of one counts as that part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Within right.
    pub right: Amount,
    /// Borrowed.
    pub borrowed: Amount,
    /// By background work.
    pub background: Amount,
}

/// A digest of a change and of what it does: 64 hexadecimal digits. Who leaves, who starts and where are part of it; times and
/// the numbers of runs, which differ from one moment to the next, are not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamp(String);

/// A change can not be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("change {}: {error}", .index + 1)]
pub struct WhatIfError {
    /// Its place among the changes, from 0.
    pub index: usize,
    /// Why.
    #[source]
    pub error: FactError,
}

impl Stamp {
    /// A stamp that was written down.
    #[must_use]
    pub fn new(digits: impl Into<String>) -> Self {
        Stamp(digits.into())
    }

    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Held {
    pub(crate) fn add(&mut self, hold: Hold, amount: Amount) {
        let part = match hold {
            Hold::Right => &mut self.right,
            Hold::Borrowed => &mut self.borrowed,
            Hold::Background => &mut self.background,
        };
        *part = [*part, amount].into_iter().sum();
    }
}

/// Works out what the changes, made together and in this order, would do. The engine is only looked at.
///
/// Costs two copies of the engine, and the rounds that the changes bring about; a changed configuration costs besides what
/// restoring a snapshot does.
///
/// # Errors
/// [`WhatIfError`] names the first change that can not be made.
pub fn what_if(engine: &Engine, now: Time, changes: &[Change]) -> Result<Preview, WhatIfError> {
    let mut with = engine.clone();
    let named = make(&mut with, now, changes)?;
    let now = with.now();
    let mut without = engine.clone();
    let before = Course::play(&mut without, now);
    let after = Course::play(&mut with, now);
    let outlooks = named.into_iter().map(|task| outlook(&with, task, &after)).collect();
    let mut preview = Preview {
        at: now,
        starts: only_in(&after.starts, &before.starts, same_start),
        starts_no_more: only_in(&before.starts, &after.starts, same_start),
        leaves: only_in(&after.leaves, &before.leaves, same_leave),
        leaves_no_more: only_in(&before.leaves, &after.leaves, same_leave),
        stops: only_in(&after.stops, &before.stops, |a, b| a.task == b.task),
        notices: only_in(&after.notices, &before.notices, |a, b| a == b),
        before,
        after,
        outlooks,
        shares: shares(&without, &with),
        stamp: Stamp(String::new()),
    };
    preview.stamp = stamp(changes, &preview);
    Ok(preview)
}

/// Makes the changes; returns the numbers of the tasks that they submit or name, each once.
fn make(engine: &mut Engine, now: Time, changes: &[Change]) -> Result<Vec<TaskId>, WhatIfError> {
    let mut named: Vec<TaskId> = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        let (task, made) = match change {
            Change::Submit(spec) => {
                let task = engine.next_task_id();
                (Some(task), engine.observe(now, &Fact::Submitted { task, spec: Arc::new((**spec).clone()) }))
            }
            Change::Tell(fact) => (fact.task(), engine.observe(now, fact)),
            Change::Configure(config) => (None, Ok(engine.reconfigure(now, (**config).clone()))),
        };
        made.map_err(|error| WhatIfError { index, error })?;
        named.extend(task.filter(|task| !named.contains(task)));
    }
    Ok(named)
}

fn outlook(engine: &Engine, task: TaskId, after: &Course) -> Outlook {
    let start = after.starts.iter().rfind(|start| start.task == task);
    let kind = match (start, engine.verdict(task)) {
        (_, Some(verdict @ (Verdict::NoRight { .. } | Verdict::NeverFits { .. } | Verdict::NoSuchGroup { .. }))) => {
            OutlookKind::Never { verdict }
        }
        (_, Some(verdict)) => OutlookKind::Waits { verdict },
        (Some(start), None) => OutlookKind::Starts { start: Box::new(start.clone()) },
        (None, None) if engine.task(task).is_some_and(|view| view.outcome.is_none()) => OutlookKind::Stays,
        (None, None) => OutlookKind::Over,
    };
    Outlook { task, kind }
}

fn only_in<T: Clone>(these: &[T], others: &[T], same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    these.iter().filter(|this| !others.iter().any(|other| same(this, other))).cloned().collect()
}

fn same_start(a: &Start, b: &Start) -> bool {
    (a.task, a.level, a.hold, &a.placement) == (b.task, b.level, b.hold, &b.placement)
}

fn same_leave(a: &Leave, b: &Leave) -> bool {
    (a.task, &a.reason) == (b.task, &b.reason)
}

fn shares(without: &Engine, with: &Engine) -> Vec<Share> {
    let mut shares: BTreeMap<UserName, (Held, Held)> = BTreeMap::new();
    for (owner, entitled, amount) in without.holdings() {
        shares.entry(owner.user.clone()).or_default().0.add(Hold::of(entitled, owner.background), amount);
    }
    for (owner, entitled, amount) in with.holdings() {
        shares.entry(owner.user.clone()).or_default().1.add(Hold::of(entitled, owner.background), amount);
    }
    shares.into_iter().map(|(user, (before, after))| Share { user, before, after }).collect()
}

fn stamp(changes: &[Change], preview: &Preview) -> Stamp {
    let starts = |starts: &[Start]| -> Vec<_> {
        let start = |start: &Start| (start.task, start.level, start.hold, start.placement.clone(), start.after.clone());
        starts.iter().map(start).collect()
    };
    let leaves =
        |leaves: &[Leave]| -> Vec<_> { leaves.iter().map(|leave| (leave.task, leave.reason.clone())).collect() };
    let stops: Vec<TaskId> = preview.stops.iter().map(|stop| stop.task).collect();
    let notices: Vec<_> = preview.notices.iter().map(|notice| (notice.task, notice.until.is_some())).collect();
    let kind = |outlook: &Outlook| match outlook.kind {
        OutlookKind::Starts { .. } => 0_u8,
        OutlookKind::Waits { .. } => 1,
        OutlookKind::Never { .. } => 2,
        OutlookKind::Over => 3,
        OutlookKind::Stays => 4,
    };
    let told = (
        changes,
        (starts(&preview.starts), starts(&preview.starts_no_more)),
        (leaves(&preview.leaves), leaves(&preview.leaves_no_more)),
        (stops, notices),
        // Whether it waits or never starts, not the numbers of why: those change all the time.
        preview.outlooks.iter().map(kind).collect::<Vec<_>>(),
    );
    let bytes = serde_json::to_vec(&told).expect("it has no keys but strings, and no failing serializer");
    Stamp(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}
