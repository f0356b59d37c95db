//! The types of every request and response of the HTTP API, version 1, with their place in the OpenAPI document.
//!
//! The server and the `hai` command share them. Times are RFC 3339 text, spans of time are text with a unit (`5s`,
//! `90s`, `4h`), memory is a number of MiB, processors are cores and may be a fraction, as may devices
//! (`0.25`). A request with a field that
//! is not known is refused, but for reports of devices: who reports may be newer than who listens. A response may gain fields; clients must ignore those that they do not know.
//!
//! Every path under `/v1` wants `Authorization: Bearer <token>`. Every error is a [`Problem`]
//! (`application/problem+json`, RFC 9457).
//!
//! | method and path | request | response |
//! | --- | --- | --- |
//! | `POST /v1/tasks` | [`SubmitRequest`] | 201, `Location`, [`Task`] |
//! | `GET /v1/tasks` | query [`TaskQuery`] | [`TaskPage`], newest first |
//! | `GET /v1/tasks/{id}` | | [`TaskDetail`] |
//! | `POST /v1/tasks/{id}/stop` | | [`Task`] |
//! | `POST /v1/tasks/{id}/suspend` | | [`Task`]; it is held until it is resumed |
//! | `POST /v1/tasks/{id}/resume` | | [`Task`] |
//! | `POST /v1/tasks/{id}/renew` | | [`Task`]; its lease begins anew |
//! | `POST /v1/tasks/{id}/priority` | [`PriorityRequest`] | [`Task`] |
//! | `GET /v1/tasks/{id}/why` | query [`WhyQuery`] | [`Why`] |
//! | `GET /v1/tasks/{id}/when` | | [`Forecast`] |
//! | `GET /v1/tasks/{id}/logs` | query [`LogQuery`], `Range` | bytes; see [`header`] |
//! | `POST /v1/tasks/try` | [`SubmitRequest`] | [`Preview`]; nothing is submitted |
//! | `POST /v1/preview` | [`PreviewRequest`] | [`Preview`]; nothing is changed |
//! | `POST /v1/preview/apply` | [`ApplyRequest`] | the numbers of submitted tasks, `null` for other changes; 409 if stale |
//! | `GET /v1/engine/config` | | the settings that the engine decides by |
//! | `GET /v1/nodes` | | [`NodeList`] |
//! | `PUT /v1/nodes/{name}/devices` | [`NodeReport`] | [`ReportAnswer`]; agents and operators |
//! | `GET /v1/rights` | query [`RightKey`] filters | [`RightList`] |
//! | `PUT /v1/rights` | [`Right`] | [`Right`]; operators |
//! | `DELETE /v1/rights` | query [`RightKey`] | 204; operators; what is left out means "every" |
//! | `GET /v1/teams` | | [`TeamList`]; operators |
//! | `PUT /v1/teams` | [`Team`] | [`Team`]; operators; replaces all of it |
//! | `DELETE /v1/teams/{name}` | | 204; operators |
//! | `GET /v1/log` | query [`ExportQuery`] | the event log, one JSON object a line; operators |
//! | `GET /v1/audit` | query [`AuditQuery`] | [`Audit`] |
//! | `GET /v1/audit/entries` | query [`AuditQuery`] | [`AuditEntry`], one a line |
//! | `GET /v1/users` | | [`UserList`]; operators |
//! | `POST /v1/users` | [`NewUser`] | 201, [`NewToken`]; operators |
//! | `DELETE /v1/users/{name}` | | 204; operators |
//! | `POST /v1/users/{name}/token` | | [`NewToken`]; operators; the old token is void |
//! | `GET /v1/me` | | [`User`] |
//! | `GET /v1/worker/leave` | query [`LeaveQuery`] | [`Leaving`]; workers |
//! | `POST /v1/worker/heard` | | 204; workers |
//! | `PUT /v1/worker/state` | [`SavedState`] | 204; workers |
//! | `POST /v1/worker/done` | | 204; workers |
//! | `GET /v1/events` | `Last-Event-ID` or `?after=` ([`EventQuery`]) | server-sent events, `event: task`, data [`Event`] |
//! | `GET /healthz`, `GET /readyz` | | text; no token |
//! | `GET /metrics` | | Prometheus text; no token |
//! | `GET /openapi.json` | | the OpenAPI document; no token |
//! | `GET /problems/{kind}` | | text: what a kind of [`Problem`] means; no token |
//! | `GET /` | | text: where everything is; no token |

mod event;
mod forecast;
mod history;
mod life;
mod limit;
mod log;
mod node;
mod preview;
mod problem;
mod right;
mod run;
mod state;
mod submit;
mod task;
mod team;
mod text;
mod user;
mod verdict;
mod worker;

pub use event::{Event, EventQuery};
pub use forecast::{DurationSources, Forecast};
pub use history::{Audit, AuditEntry, AuditQuery, AuditSums, ExportQuery, UserAudit};
pub use life::{KindWord, Retries};
pub use limit::Limit;
pub use log::{LogQuery, header};
pub use node::{Device, DeviceHealth, Node, NodeList, NodeUse, ReportAnswer};
pub use preview::{
    ApplyRequest, Outlook, PlannedChange, PlannedHeld, PlannedKey, PlannedNodes, PlannedNotice, PlannedPriority,
    PlannedShare, PlannedStart, PlannedSuspend, PlannedTask, Preview, PreviewRequest,
};
pub use problem::Problem;
pub use right::{Right, RightKey, RightList};
pub use run::{Run, RunEnd, RunPhase, Worker, WorkerExit, WorkerState};
pub use state::{OutcomeWord, TaskState, Yielded};
pub use submit::{Grace, PriorityRequest, SubmitRequest};
pub use task::{StopQuery, Task, TaskDetail, TaskPage, TaskQuery};
pub use team::{Pool, PoolBound, Team, TeamList};
pub use text::PriorityWord;
pub use user::{NewToken, NewUser, Role, User, UserList};
pub use verdict::{Charge, HelpfulChange, Lack, Verdict, Why, WhyHelp, WhyQuery, WhySection};
pub use worker::{LeaveQuery, Leaving, OwnPriority, SavedState};

use chrono::{DateTime, Utc};
use hai_core::model::Time;

pub use crate::gpu::reading::{Process, Usage};
pub use crate::gpu::report::{DeviceReport, NodeReport};

/// The time as RFC 3339 writes it; times outside of chrono's range become its nearest end.
pub(super) fn utc(time: Time) -> DateTime<Utc> {
    time.to_utc().unwrap_or(if time < Time::ZERO { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC })
}
