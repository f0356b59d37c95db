//! Tasks that are spoken of in the reason of another: named, or only counted.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Priority, TaskId, UserName};

/// A task that has to do with the one in question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Other {
    /// The task; `None` if whoever asks may not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// Whose it is; `None` if whoever asks may not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// The level it counts as; `AUTO` for background work.
    pub level: Priority,
}

/// Several such tasks: how many, and the first few by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// How many there are.
    pub count: u32,
    /// How many of each level.
    pub levels: BTreeMap<Priority, u32>,
    /// The first few; of others' only those whom whoever asks may know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<Other>,
}

impl Other {
    pub(crate) fn new(task: TaskId, user: &UserName, level: Priority) -> Self {
        Other { task: Some(task), user: Some(user.clone()), level }
    }

    /// Leaves the level alone unless the task is this user's own.
    pub fn hide_from(&mut self, user: &UserName) {
        if self.user.as_ref() != Some(user) {
            (self.task, self.user) = (None, None);
        }
    }
}

impl Named {
    /// All of these, the first few of them by name.
    pub(crate) fn of(others: impl IntoIterator<Item = Other>, named: usize) -> Self {
        let mut all = Named::default();
        for other in others {
            all.count += 1;
            *all.levels.entry(other.level).or_default() += 1;
            if all.first.len() < named {
                all.first.push(other);
            }
        }
        all
    }

    /// Names only this user's own.
    pub fn hide_from(&mut self, user: &UserName) {
        self.first.retain(|other| other.user.as_ref() == Some(user));
    }
}

/// A level as people say it; background work has none.
pub(super) fn level_word(level: Priority) -> &'static str {
    if level == Priority::Auto { "background" } else { level.name() }
}

/// `1 task`, `2 tasks`.
pub(crate) fn count(number: impl Into<u64>, one: &str) -> String {
    match number.into() {
        1 => format!("1 {one}"),
        many => format!("{many} {one}s"),
    }
}

/// `a, b and c`.
pub(super) fn list(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// `task 7 (alice, HIGH)`, or `another user's task (HIGH)`.
impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = level_word(self.level);
        match (self.task, &self.user) {
            (Some(task), Some(user)) => write!(f, "task {task} ({user}, {level})"),
            (Some(task), None) => write!(f, "task {task} ({level})"),
            _ => write!(f, "another user's task ({level})"),
        }
    }
}

/// `task 7 (alice, HIGH) and 2 more`, or `3 tasks (2 HIGH, 1 LOW)`.
impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = u32::try_from(self.first.len()).unwrap_or(u32::MAX);
        let more = self.count.saturating_sub(shown);
        if shown > 0 {
            let mut parts: Vec<String> = self.first.iter().map(ToString::to_string).collect();
            if more > 0 {
                parts.push(format!("{more} more"));
            }
            return f.write_str(&list(&parts));
        }
        let mut levels: Vec<(&Priority, &u32)> = self.levels.iter().collect();
        levels.reverse();
        match levels[..] {
            [(level, _)] => write!(f, "{} at {}", count(self.count, "task"), level_word(*level)),
            _ => {
                let parts: Vec<String> =
                    levels.iter().map(|(level, number)| format!("{number} at {}", level_word(**level))).collect();
                write!(f, "{} ({})", count(self.count, "task"), parts.join(", "))
            }
        }
    }
}
