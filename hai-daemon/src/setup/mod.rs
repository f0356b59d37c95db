//! Setting hai up on Kubernetes: what is to be there, putting it there, and saying what is wrong.
//!
//! [`Plan`] is what an operator wants; [`objects::all`] are the objects that this takes; [`up::up`] and [`up::down`] put them
//! there and take them away; [`doctor::examine`] says what would keep hai from working, and [`doctor::fatal`] is what a daemon
//! asks before it starts.

pub mod args;
pub mod connect;
pub mod doctor;
pub mod objects;
mod plan;
pub mod probe;
mod progress;
pub mod rights;
pub mod up;
mod why;

pub use args::main;
pub use plan::{Data, Database, Group, Ingress, Mount, Plan, PlanError, ServiceKind};
