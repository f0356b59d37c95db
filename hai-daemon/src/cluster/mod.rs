//! Clusters that the daemon can drive; each is one implementation of [`hai_core::backend::Cluster`].

mod any;
pub mod kubernetes;
pub mod local;
pub mod logs;
mod tokens;
mod told;

pub use any::{AnyCluster, AnyError};
pub use tokens::WorkerTokens;
