//! Readers of cluster traces: public formats, and hai's own.
//!
//! See [`Table`] for how a format of rows and columns is read. All readers stream: they take any [`std::io::Read`], hand out
//! one row at a time, and hold nothing of the rows before. A mistake in a row is a [`TraceError`] with its line and column,
//! and reading goes on behind it: whoever reads decides whether one bad row ends it.
//!
//! [`open`] reads any [`Format`] as [`Job`]s, which is what a simulation of the engine plays. hai's own task file is described
//! in [`native`]. What a public format knows beyond that, its own reader tells.

mod batsim;
mod error;
mod format;
mod helios;
mod job;
mod muri;
pub mod native;
mod openb;
mod peers;
mod philly;
mod swf;
mod table;

pub use batsim::{BatsimExecution, BatsimJob, BatsimWorkload, batsim_executions};
pub use error::TraceError;
pub use format::{Format, gang, open};
pub use helios::{HeliosRow, HeliosTrace, VirtualCluster, predictions, virtual_clusters};
pub use job::{Job, seconds};
pub use muri::{MuriRow, MuriTrace};
pub use native::{NativeCsv, NativeLines};
pub use openb::{OpenbNodes, OpenbPod, OpenbPods};
pub use philly::Philly;
pub use swf::{SwfJob, SwfTrace};
pub use table::{Row, Table};
