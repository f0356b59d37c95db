//! hai shares GPU machines between people by time; this crate decides who gets which machine, and when.
//!
//! It is pure: no I/O, no clock, no threads, no randomness. Facts go in through [`engine::Engine::observe`], decisions
//! come out of [`engine::Engine::schedule`], and the same facts in the same order give the same decisions on every
//! machine. [`backend`] drives an engine over a real cluster and a real store.
#![forbid(unsafe_code)]

pub mod backend;
pub mod engine;
pub mod inventory;
pub mod model;
pub mod placement;
pub mod preemption;
pub mod queue;
pub mod rights;
mod table;

/// The README's example is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
