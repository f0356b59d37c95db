//! Fragmentation gradient descent on openb: Q. Weng et al., Beware of Fragmentation: Scheduling GPU-Sharing Workloads with
//! Fragmentation Gradient Descent, USENIX ATC 2023, by the rules of their simulator (kubernetes-scheduler-simulator of
//! hkust-adsl).
//!
//! The pods of a trace arrive in a random order, more of them than the cluster holds; each gets a node by the policy, or
//! fails and is forgotten; nobody leaves. What counts is how much of the devices is given out by then. Nothing here decides
//! about places: that is done by [`Placer`](crate::placement::Placer) over an
//! [`Inventory`](crate::inventory::Inventory), as in the engine.

mod curve;
mod experiment;
mod facts;
mod go_random;
mod play;
mod policy;
mod workload;

pub use curve::{CurveMaker, Curves};
pub(super) use experiment::EXPERIMENT;
pub use play::{Event, play};
pub use policy::OpenbPolicy;
pub use workload::{Course, CourseError, Workload};
