//! What scenario tests are written with: small builders, and a laboratory to put their results into.
#![allow(dead_code, unused_imports, reason = "every test file uses its own part of this")]

mod build;
mod lab;
mod look;
mod sim;
mod stories;

pub(crate) use build::{NodeBuilder, TaskBuilder, group, node, secs, task, user};
pub(crate) use lab::Lab;
pub(crate) use sim::{Displaced, Sim, SimRun};
pub(crate) use stories::stories;
