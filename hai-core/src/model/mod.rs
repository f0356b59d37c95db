//! The plain data that every other part speaks: ids, time, nodes, requests, tasks, rights, facts, decisions, verdicts.
//!
//! Nothing here decides anything and nothing here knows another module. Start at [`TaskSpec`] for what a person
//! asks, at [`Fact`] for what the engine is told and at [`Decision`] for what it answers.

mod decision;
mod fact;
mod name;
mod node;
mod placement;
mod priority;
mod request;
mod right;
mod task;
mod time;
mod verdict;
mod view;

pub use decision::{Decision, Round, YieldReason};
pub use fact::{Fact, WorkerExit, WorkerFate};
pub use name::{DeviceId, GroupName, ModelName, NameError, NodeName, UserName};
pub use node::{DEVICES_PER_NODE_MAX, DeviceHealth, DeviceSpec, NodeError, NodeSpec};
pub use placement::{Placement, WorkerPlacement};
pub use priority::{ParsePriorityError, Priority};
pub use request::{Devices, WorkerRequest};
pub use right::{Allowance, Charge, Limit, RightKey, RightRow};
pub use task::{Grace, Program, Rank, RunId, SpecError, TaskId, TaskSpec, WORKERS_MAX};
pub use time::{ParseSpanError, Span, Time};
pub use verdict::{Lack, Verdict};
pub use view::{
    NodeView, NodeWorker, Outcome, RunEnd, RunPhase, RunView, TaskState, TaskView, WorkerState, WorkerView, Yielded,
};
