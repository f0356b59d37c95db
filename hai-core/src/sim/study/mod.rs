//! Studies: a cluster, the work of a trace, configurations and seeds, and what comes of them.
//!
//! See [`play`] for the primary entry point. What is measured, with units and formulae, stands in [`Figures`]. A study knows
//! no files and no threads: who runs many at once gets the same outcomes, bit for bit, on any number of threads.
//!
//! Memory is bounded by the number of tasks (some two hundred bytes each) and of users; what is told over time is told in a
//! bounded number of spans.

mod cluster;
mod draw;
mod figures;
mod file;
mod foretell;
mod fragments;
mod gantt;
mod happen;
mod load;
mod measure;
mod meter;
mod peers;
mod policies;
mod presets;
mod series;
mod shares;
mod stats;
mod submits;
mod sums;
mod synthetic;
mod trial;

pub use cluster::{Change, Cluster, ClusterError, Faults};
pub use figures::{Calibrated, Chart, Figures, Outcome, SizeFigures, TaskRow, UserFigures};
pub use file::ClusterFile;
pub use gantt::{Bar, Gantt, GanttLimits};
pub use load::{Load, Task};
pub use peers::{PEER_WORDS, PEERS, Peer};
pub use policies::{Contender, WORDS, named};
pub use presets::{helios, openb};
pub use series::Series;
pub use stats::{Interval, Stats, jain, quantile};
pub use submits::{Foretold, Submits};
pub use synthetic::{Kind, Profile, UserClass};
pub use trial::{Options, Progress, play};
