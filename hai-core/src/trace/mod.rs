//! Readers of cluster traces: public formats, and hai's own.
//!
//! See [`Table`] for how a format of rows and columns is read. All readers stream: they take any [`std::io::Read`], hand out
//! one row at a time, and hold nothing of the rows before. A mistake in a row is a [`TraceError`] with its line and column,
//! and reading goes on behind it: whoever reads decides whether one bad row ends it.

mod batsim;
mod error;
mod helios;
mod muri;
mod openb;
mod swf;
mod table;

pub use batsim::{BatsimExecution, BatsimJob, BatsimWorkload, batsim_executions};
pub use error::TraceError;
pub use helios::{HeliosRow, HeliosTrace, VirtualCluster, predictions, virtual_clusters};
pub use muri::{MuriRow, MuriTrace};
pub use openb::{OpenbNodes, OpenbPod, OpenbPods};
pub use swf::{SwfJob, SwfTrace};
pub use table::{Row, Table};
