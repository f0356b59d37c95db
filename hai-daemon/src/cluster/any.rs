//! One of the clusters that there are, chosen at start.

use std::fmt;

use hai_core::backend::{Cluster, Listing, StartOrder};
use hai_core::model::{Fact, Grace, NodeName, RunId};
use prometheus_client::metrics::gauge::Gauge;

use super::kubernetes::{KubernetesCluster, KubernetesError};
use super::local::{LocalCluster, LocalError};

/// A cluster of whatever kind.
#[derive(Debug)]
pub enum AnyCluster {
    /// This machine.
    Local(LocalCluster),
    /// Kubernetes.
    Kubernetes(KubernetesCluster),
}

/// What went wrong in it.
#[derive(Debug)]
pub enum AnyError {
    /// On this machine.
    Local(LocalError),
    /// In Kubernetes.
    Kubernetes(KubernetesError),
}

impl fmt::Display for AnyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnyError::Local(error) => error.fmt(f),
            AnyError::Kubernetes(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AnyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AnyError::Local(error) => error.source(),
            AnyError::Kubernetes(error) => error.source(),
        }
    }
}

impl AnyCluster {
    /// How many facts wait for the scheduler to take them.
    #[must_use]
    pub fn facts_waiting(&self) -> Gauge {
        match self {
            AnyCluster::Local(cluster) => cluster.facts_waiting(),
            AnyCluster::Kubernetes(cluster) => cluster.facts_waiting(),
        }
    }
}

macro_rules! each {
    ($cluster:expr, $name:ident => $call:expr) => {
        match $cluster {
            AnyCluster::Local($name) => $call.map_err(AnyError::Local),
            AnyCluster::Kubernetes($name) => $call.map_err(AnyError::Kubernetes),
        }
    };
}

impl Cluster for AnyCluster {
    type Error = AnyError;

    async fn list(&mut self) -> Result<Listing, AnyError> {
        each!(self, cluster => cluster.list().await)
    }

    async fn start(&mut self, order: &StartOrder) -> Result<(), AnyError> {
        each!(self, cluster => cluster.start(order).await)
    }

    async fn suspend(&mut self, run: RunId, grace: Grace) -> Result<(), AnyError> {
        each!(self, cluster => cluster.suspend(run, grace).await)
    }

    async fn stop(&mut self, run: RunId, grace: Grace) -> Result<(), AnyError> {
        each!(self, cluster => cluster.stop(run, grace).await)
    }

    async fn cordon(&mut self, node: &NodeName, cordoned: bool) -> Result<(), AnyError> {
        each!(self, cluster => cluster.cordon(node, cordoned).await)
    }

    async fn forget(&mut self, run: RunId) -> Result<(), AnyError> {
        each!(self, cluster => cluster.forget(run).await)
    }

    async fn next(&mut self) -> Fact {
        match self {
            AnyCluster::Local(cluster) => cluster.next().await,
            AnyCluster::Kubernetes(cluster) => cluster.next().await,
        }
    }
}
