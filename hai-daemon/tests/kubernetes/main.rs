//! hai on Kubernetes: the same tests over a real control plane, if `KUBEBUILDER_ASSETS` names one, and a played one.

#[path = "../support/control_plane/mod.rs"]
mod control_plane;

mod churn;
mod ends;
mod lab;
mod processes;
mod scenario;
mod trouble;
