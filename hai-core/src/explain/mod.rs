//! What the engine tells besides its decisions: why a task is where it is, what would help it, when it would start, and
//! what a change would do before it is made.
//!
//! See [`why()`], [`what_would_help`], [`forecast()`](forecast::forecast) and [`what_if`] for the primary entry points. All
//! of it looks at an engine, or tries things in a copy of one; the live one is not changed.

pub mod calibration;
mod course;
pub mod durations;
pub mod forecast;
mod future;
pub mod help;
pub mod histogram;
pub mod history;
mod line;
mod what_if;
pub mod why;

pub use course::{Course, Hold, Leave, Notice, Start, Stop};
pub use help::{Help, Helps, Limits, Then, what_would_help};
pub use line::line;
pub use what_if::{Change, Held, Outlook, OutlookKind, Preview, Share, Stamp, WhatIfError, what_if};
pub use why::{Section, Why, why};
