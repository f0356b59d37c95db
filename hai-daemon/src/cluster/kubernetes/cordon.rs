//! Telling Kubernetes which nodes take no new pods, as an operator told hai.

use std::sync::Arc;

use hai_core::model::NodeName;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::retry::{ask, code, failure};
use super::state::Shared;

/// Has a node marked so, asked until it is done. What was wanted last counts, in whatever order answers come.
pub(crate) fn cordon(shared: &Arc<Shared>, node: &NodeName, cordoned: bool) {
    if shared.cordons().insert(node.clone(), cordoned).is_some() {
        // Whoever is at it sees to this too.
        return;
    }
    shared.spawn(mark(shared.clone(), node.clone()));
}

async fn mark(shared: Arc<Shared>, node: NodeName) {
    let nodes: Api<Node> = Api::all(shared.client.clone());
    loop {
        let Some(&wanted) = shared.cordons().get(&node) else { return };
        let patch = Patch::Merge(json!({"spec": {"unschedulable": wanted}}));
        let parameters = PatchParams::default();
        let changed = || shared.cordons().get(&node) != Some(&wanted);
        match ask(|| nodes.patch(node.as_str(), &parameters, &patch), changed).await {
            // It is gone, and its mark with it.
            Err(error) if code(&error) == Some(404) => {}
            Err(error) if !changed() => {
                let error = failure(format!("marking node {node}"), &error);
                tracing::warn!(%error, "hai itself does as the operator says; `kubectl cordon` tells Kubernetes too");
            }
            _ => {}
        }
        let mut cordons = shared.cordons();
        if cordons.get(&node) == Some(&wanted) {
            cordons.remove(&node);
            return;
        }
    }
}
