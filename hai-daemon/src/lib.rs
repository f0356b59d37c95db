//! hai-daemon wires `hai-core` to machines, a database and GPUs, and opens doors to people.
//!
//! Everything here is an adapter or a door; [`scheduler`] holds the loop that ties them to the engine.

pub mod agent;
pub mod api;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod compose;
pub mod config;
pub mod daemon;
mod data_dir;
pub mod db;
pub mod gpu;
mod herald;
pub mod import;
pub mod leading;
mod marsv2;
mod python;
pub mod report;
mod retention;
pub mod scheduler;
pub mod setup;
mod standby;
pub mod store;
