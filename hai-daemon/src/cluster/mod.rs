//! Clusters that the daemon can drive; each is one implementation of [`hai_core::backend::Cluster`].

pub mod kubernetes;
pub mod local;
