//! What can be asked of a store's reader, and the shape of the answers.

use std::collections::BTreeMap;

use hai_core::model::{GroupName, Priority, TaskId, TaskState, TaskView, Time, UserName};

/// Which tasks are wanted: those for which everything that is given holds. The default wants all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskFilter {
    /// Submitted by this user.
    pub user: Option<UserName>,
    /// For nodes of this group.
    pub group: Option<GroupName>,
    /// In one of these states; empty for any.
    pub states: Vec<TaskState>,
    /// Ended in one of these ways, in the words of [`Outcome::word`](hai_core::model::Outcome::word); empty for any,
    /// unfinished tasks included. A word that is no outcome matches nothing.
    pub outcomes: Vec<String>,
    /// With just this name.
    pub name: Option<String>,
    /// With exactly this text somewhere in the name; upper and lower case differ, and no character is special.
    pub name_contains: Option<String>,
    /// With this text in its name, as [`name_contains`](TaskFilter::name_contains), or with this as its number.
    pub search: Option<String>,
    /// Of one of these kinds, in the words of [`TaskKind::word`](hai_core::model::TaskKind::word); empty for any.
    pub kinds: Vec<&'static str>,
    /// Of this priority, as it is now.
    pub priority: Option<Priority>,
}

/// Which runs are wanted: those that overlap a window of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spans {
    /// The first moment.
    pub from: Time,
    /// The first moment after it.
    pub to: Time,
    /// Only of this user's tasks.
    pub user: Option<UserName>,
}

/// Which part of a long answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only tasks submitted before this one; `None` starts with the newest.
    pub before: Option<TaskId>,
    /// How many at most; values outside `1..=`[`Page::LIMIT_MAX`] count as the nearest one inside.
    pub limit: u32,
}

/// In which order tasks are wanted, and from where on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub by: SortBy,
    /// The greatest first.
    pub descending: bool,
    /// Only those beyond the task with this key and number, in this order; see [`Sort::key`].
    pub after: Option<(String, TaskId)>,
}

/// By what tasks are put in order. What is equal is ordered by number, which is also the order of submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortBy {
    /// Their number.
    Id,
    /// Their name, by its bytes.
    Name,
    /// Whose they are, by name.
    User,
    /// What they are doing, by the word for it.
    State,
    /// How urgent they are; the greatest is the most urgent.
    Priority,
}

impl Sort {
    /// What a task is ordered by, as text.
    #[must_use]
    pub fn key(&self, task: &TaskView) -> String {
        match self.by {
            SortBy::Id => String::new(),
            SortBy::Name => task.spec.name.clone(),
            SortBy::User => task.spec.user.as_str().to_owned(),
            SortBy::State => task.state.word().to_owned(),
            SortBy::Priority => task.spec.priority.number().to_string(),
        }
    }
}

/// A part of a long answer, newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<TaskView>,
    /// What to give as [`Page::before`] for the next part; `None` if this was the last.
    pub next_before: Option<TaskId>,
}

/// How many tasks there are. What there is none of is not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By state.
    pub states: BTreeMap<TaskState, u64>,
    /// Of the finished ones, by outcome, in the words of [`Outcome::word`](hai_core::model::Outcome::word).
    pub outcomes: BTreeMap<String, u64>,
}

impl Page {
    /// The most tasks that one page can hold.
    pub const LIMIT_MAX: u32 = 1000;
}

impl Default for Page {
    /// The newest hundred.
    fn default() -> Self {
        Page { before: None, limit: 100 }
    }
}
