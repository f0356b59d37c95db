//! hai on Kubernetes: the same tests over a real control plane, if `KUBEBUILDER_ASSETS` names one, and a played one.

#[path = "../support/control_plane/mod.rs"]
mod control_plane;
#[path = "../support/postgres.rs"]
mod postgres;

mod agents;
mod churn;
mod dialect;
mod ends;
mod lab;
mod lease;
mod pitfalls;
mod processes;
mod replicas;
mod scenario;
mod trouble;
mod warnings;
