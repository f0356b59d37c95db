//! The engine tells: why a task is where it is, and what would help it.
//!
//! Everything here looks at an engine, or tries things in a copy of one; no engine is changed.

pub mod help;
pub mod why;

pub use help::{Change, Help, Helps, Limits, Then, what_would_help};
pub use why::{Section, Why, why};
