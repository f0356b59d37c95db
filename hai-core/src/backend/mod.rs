//! The driver and what it drives: traits [`Cluster`] and [`Store`], the loop over them, and in-memory versions.
//!
//! See [`Driver`] for the primary entry point. Its order is always the same: observe, schedule, **store**, act.

mod cluster;
mod driver;
mod follow;
mod log;
mod memory;
mod store;

pub use cluster::{Cluster, Listing, StartOrder, WorkerReport};
pub use driver::{Command, Driver, DriverError, Refused, Reply, Submitted};
pub use follow::{FollowError, Follower};
pub use log::Chain;
pub use memory::{Kept, MemoryCluster, MemoryStore};
pub use store::{
    Batch, Committed, Digest, Entry, Event, Fence, Opening, ParseDigestError, Record, Saved, Snapshot, Store,
};
