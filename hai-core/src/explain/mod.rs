//! The engine tells: what it learned, and when a task would start.

pub mod calibration;
pub mod durations;
pub mod forecast;
mod future;
pub mod histogram;
pub mod history;
