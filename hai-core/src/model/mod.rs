//! The plain data that every other part speaks: ids, time, nodes, requests, tasks, rights, facts, decisions, verdicts.
//!
//! Nothing here decides anything and nothing here knows another module. Start at [`TaskSpec`] for what a person
//! asks, at [`Fact`] for what the engine is told and at [`Decision`] for what it answers.

mod amount;
mod claim;
mod decision;
mod fact;
mod name;
pub(crate) mod named;
mod node;
mod placement;
mod priority;
mod remembered;
mod request;
mod right;
#[cfg(feature = "schema")]
mod schema;
mod task;
mod time;
mod verdict;
mod view;

pub use amount::Amount;
pub use claim::Claim;
pub use decision::{Decision, Round, YieldReason};
pub use fact::{Fact, RefusalCause, WorkerExit, WorkerFate};
pub use name::{DeviceId, GroupName, MigProfile, ModelName, NameError, NodeName, PlaceName, TeamName, UserName};
pub use node::{
    DEVICES_PER_NODE_MAX, DeviceHealth, DeviceLink, DeviceSpec, Duty, LinkKind, Location, NodeError, NodeSpec,
};
pub use placement::{DevicePart, Placement, WorkerPlacement};
pub use priority::{ParsePriorityError, Priority};
pub use remembered::{Displacement, Refusal, Winner, YieldRule};
pub use request::{ComputeCapability, Devices, ParseCapabilityError, WorkerRequest};
pub use right::{Allowance, Charge, Limit, Pool, RightKey, RightRow, Team};
pub use task::{
    Arrangement, Constraints, Dependency, DependsOn, Grace, Program, Rank, Retries, RunId, SpecError, TaskId, TaskKind,
    TaskSpec, WORKERS_MAX,
};
pub use time::{ParseSpanError, Span, Time};
pub use verdict::{Lack, Verdict};
pub use view::{
    NodeView, NodeWorker, Outcome, RunEnd, RunPhase, RunView, TaskState, TaskView, WorkerState, WorkerView, Yielded,
};
