//! Why something does not come up, as far as pods and events tell.

use k8s_openapi::api::core::v1::{ContainerState, Event, Node, PersistentVolumeClaim, Pod};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use super::objects::{CLAIM, selector};

/// The newest warning about an object of this kind whose name begins like this.
async fn warning(client: &Client, namespace: &str, kind: &str, prefix: &str) -> Option<String> {
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    let found = events.list(&ListParams::default().fields(&format!("involvedObject.kind={kind}"))).await.ok()?;
    found
        .into_iter()
        .filter(|event| event.type_.as_deref() == Some("Warning"))
        .filter(|event| event.involved_object.name.as_deref().is_some_and(|name| name.starts_with(prefix)))
        .max_by_key(|event| event.last_timestamp.as_ref().map(|at| at.0))
        .and_then(|event| Some(format!("{}: {}", event.reason?, event.message?)))
}

/// Nodes on which nothing may start, in words.
async fn cordoned(client: &Client) -> Option<String> {
    let nodes: Api<Node> = Api::all(client.clone());
    let found = nodes.list(&ListParams::default()).await.ok()?;
    let names: Vec<String> = found
        .iter()
        .filter(|node| node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)))
        .map(kube::ResourceExt::name_any)
        .collect();
    let first = names.first()?.clone();
    Some(format!(
        "{} SchedulingDisabled: `kubectl uncordon {first}`",
        match names.as_slice() {
            [one] => format!("{one} is"),
            all => format!("{} are", all.join(", ")),
        }
    ))
}

fn state_says(image: &str, state: &ContainerState, last: Option<&ContainerState>) -> Option<String> {
    let ended = |state: &ContainerState| {
        let end = state.terminated.as_ref()?;
        let said = end.message.as_deref().and_then(|text| text.trim().lines().last()).unwrap_or_default();
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        let reason = end.reason.as_deref().filter(|reason| *reason != "Error");
        let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        Some(format!("it ended with code {}{reason}{said}", end.exit_code))
    };
    if let Some(waiting) = &state.waiting {
        let message = waiting.message.as_deref().unwrap_or_default();
        return match waiting.reason.as_deref().unwrap_or_default() {
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
                Some(format!("image {image} can not be fetched: {message}"))
            }
            "CrashLoopBackOff" => Some(last.and_then(ended).unwrap_or_else(|| message.to_owned())),
            "ContainerCreating" | "PodInitializing" | "" => None,
            reason => Some(format!("{reason}: {message}")),
        };
    }
    ended(state)
}

/// Why this pod is not ready; `None` if it is, or it is not known.
pub(super) async fn pod_is_not_ready(client: &Client, pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let is = |kind: &str, word: &str| conditions.iter().find(|one| one.type_ == kind && one.status == word);
    if is("Ready", "True").is_some() {
        return None;
    }
    if let Some(condition) = is("PodScheduled", "False") {
        let message = condition.message.clone().unwrap_or_default();
        let hint = cordoned(client).await.map(|hint| format!(" ({hint})")).unwrap_or_default();
        return Some(format!("no node takes it: {message}{hint}"));
    }
    let images = pod.spec.iter().flat_map(|spec| &spec.containers);
    for container in status.container_statuses.iter().flatten() {
        let image = images.clone().find(|one| one.name == container.name).and_then(|one| one.image.as_deref());
        let image = image.unwrap_or(&container.image);
        if let Some(state) = &container.state
            && let Some(said) = state_says(image, state, container.last_state.as_ref())
        {
            return Some(said);
        }
    }
    if status.reason.is_some() || status.message.is_some() {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        return Some(format!("{}: {}", text(&status.reason), text(&status.message)));
    }
    warning(client, &pod.namespace().unwrap_or_default(), "Pod", &pod.name_any()).await
}

/// Why the pods of a component (`daemon` or `agent`) are not ready; `None` if nothing is known.
pub(super) async fn component_is_not_ready(client: &Client, namespace: &str, component: &str) -> Option<String> {
    let labels: Vec<String> = selector(component).iter().map(|(key, value)| format!("{key}={value}")).collect();
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let found = pods.list(&ListParams::default().labels(&labels.join(","))).await.ok()?;
    for pod in &found.items {
        if let Some(said) = pod_is_not_ready(client, pod).await {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            let place = node.map(|node| format!(" on {node}")).unwrap_or_default();
            return Some(format!("pod {}{place}: {said}", pod.name_any()));
        }
    }
    if component == "daemon"
        && let Some(said) = claim_is_not_bound(client, namespace).await
    {
        return Some(said);
    }
    if !found.items.is_empty() {
        return None;
    }
    for kind in ["ReplicaSet", "Deployment", "DaemonSet"] {
        let prefix = if component == "agent" { "hai-agent" } else { "hai-" };
        if kind == "DaemonSet" && component != "agent" {
            continue;
        }
        if let Some(said) = warning(client, namespace, kind, prefix).await {
            return Some(format!("no pod can be made: {said}"));
        }
    }
    Some("no pod was made yet; does the cluster's controller manager run?".to_owned())
}

/// Why the claim for the data is not bound.
pub(super) async fn claim_is_not_bound(client: &Client, namespace: &str) -> Option<String> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let claim = claims.get_opt(CLAIM).await.ok()??;
    if claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound") {
        return None;
    }
    let classes: Api<k8s_openapi::api::storage::v1::StorageClass> = Api::all(client.clone());
    let classes = classes.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
    let wanted = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    if wanted.is_none() && classes.is_empty() {
        return Some(format!(
            "claim {CLAIM} waits for ever, since the cluster has no storage class: use --data-path DIR --data-node NODE"
        ));
    }
    if let Some(wanted) = wanted
        && !classes.iter().any(|class| class.name_any() == wanted)
    {
        return Some(format!("claim {CLAIM} waits for ever, since there is no storage class {wanted}"));
    }
    warning(client, namespace, "PersistentVolumeClaim", CLAIM).await.map(|said| format!("claim {CLAIM}: {said}"))
}
