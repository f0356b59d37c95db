//! The event log as a file: written, read, decided anew, compared, made anonymous, and added up.
//!
//! A log is one JSON object a line: a [`Header`], then the [`Record`](crate::backend::Record)s as the driver stored them,
//! each round sealed with a digest of everything before it. `file.rs` says what stands where.
//!
//! - [`LogReader`] reads a file line by line and checks its chain; [`header_line`] and [`record_line`] write one.
//! - [`Replay`] decides a log anew and names the first difference.
//! - [`Workload`] takes the work out of a log, and simulates what a change would make of it; [`Workload::load`] and
//!   [`Workload::cluster`] give it to a [study](crate::sim::study).
//! - [`Pseudonyms`] take the names out, so that the decisions stay the same.
//! - [`Auditor`] tells who got what, when and why, and adds it up by user.
//!
//! Nothing here reads or writes files: lines go in, lines and data come out.

mod audit;
mod diff;
mod entry;
mod fair;
mod file;
mod jobs;
mod pseudonym;
mod replay;
mod words;
mod workload;

pub use audit::{Audit, Auditor, Sums, UserAudit, Window};
pub use diff::{Change, Diff, Fate, RoundDiff, TaskDiff, Totals};
pub use entry::{AuditEntry, Claimed, Happening};
pub use file::{After, FileError, Header, LogReader, Numbered, header_line, record_line};
pub use pseudonym::{Names, Pseudonyms};
pub use replay::{Difference, Replay, ReplayError, Replayed, What, replay};
pub use words::describe;
pub use workload::{Workload, WorkloadError};
