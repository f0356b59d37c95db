//! What the engine tells besides its decisions: what a change would do, before it is made.
//!
//! See [`what_if`] for the primary entry point. All of it works on copies of the engine; the live one is only looked at.

mod course;
mod what_if;

pub use course::{Course, Hold, Leave, Notice, Start, Stop};
pub use what_if::{Change, Held, Outlook, OutlookKind, Preview, Share, Stamp, WhatIfError, what_if};
