//! Changes of tasks, as the event stream tells them.

use chrono::{DateTime, Utc};
use hai_core::backend;
use hai_core::model::UserName;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Task, utc};

/// A task changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// The event's number, which grows; send the last one seen as `Last-Event-ID` to go on after it.
    pub id: u64,
    /// When it was.
    pub at: DateTime<Utc>,
    /// Whose task.
    #[schema(value_type = String)]
    pub user: UserName,
    /// The task as it was then.
    pub task: Task,
}

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Those with a greater number, from the store; `Last-Event-ID` wins over it. By default those from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

impl From<&backend::Event> for Event {
    fn from(event: &backend::Event) -> Self {
        Event { id: event.id, at: utc(event.at), user: event.user.clone(), task: Task::from(&event.task) }
    }
}
