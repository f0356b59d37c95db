//! The HTTP API, version 1: the door for the `hai` command, for scripts and for the dashboard.
//!
//! See [`wire`] for the table of paths and the types of every request and response.

pub mod wire;
