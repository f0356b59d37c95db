//!
//! Everything here looks at an engine, or tries things in a copy of one; no engine is changed.

pub mod why;

pub use why::{Why, why};
