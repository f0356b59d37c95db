//! The engine tells: when a task will start, from what was learned of those before it.
//!
//! Everything here looks at an engine, or tries things in a copy of one; no engine is changed.

pub mod calibration;
pub mod durations;
pub mod forecast;
mod future;
pub mod histogram;
pub mod history;
