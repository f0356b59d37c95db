//! The HTTP API, version 1: the door for the `hai` command, for scripts and for the page.
//!
//! See [`serve`] for the primary entry point and [`wire`] for the table of paths and the types of every request and
//! response. One file holds one resource; [`problem`] holds every error.
//!
//! What changes something goes through the [`Scheduler`](crate::scheduler::Scheduler) and is answered once it is
//! stored. What is read comes from the store's [`Reader`](crate::store::Reader), except for what only the live engine
//! knows (nodes, and why a task waits). The store's reader and accounts are used as they are: they are written for
//! doors such as this one, and a trait over them would repeat each of their signatures without hiding anything. The
//! cluster stays unknown: the output of workers comes through [`LogSource`], which `main` fills in.
//!
//! `/healthz`, `/readyz`, `/metrics`, `/openapi.json`, `/problems` and `/` need no token, nor does the page itself
//! (`web`), which shows nothing before somebody signs in. They tell how many tasks
//! and devices there are, never whose; who must not know that is kept out by the address that the server listens on,
//! by default this machine's own.

mod audit;
pub(crate) mod auth;
mod device_past;
mod devices;
mod dialect;
mod events;
mod export;
pub(crate) mod extract;
mod forward;
mod health;
mod layers;
mod learned;
mod lines;
mod log_source;
mod logs;
mod looks;
mod metrics;
mod nodes;
mod occupancy;
mod openapi;
mod places;
mod preview;
pub mod problem;
mod queue;
mod range;
mod rights;
mod root;
mod seen;
mod server;
mod simulations;
mod stall;
mod state;
mod tasks;
mod teams;
mod timeline;
mod users;
mod walk;
mod window;
pub mod wire;
mod worker;

pub use auth::Agents;
pub use log_source::{LogPart, LogSource, WorkerLog};
pub use openapi::openapi;
pub use server::{router, serve};
pub use state::{ApiState, Defaults};
pub use worker::Workers;
