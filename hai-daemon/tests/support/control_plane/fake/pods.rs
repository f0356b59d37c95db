//! What pods have of their own: binding, eviction, and time to leave.

use serde_json::{Value, json};

use super::request::Ask;
use super::resources::Resource;
use super::select::Selector;
use super::status::{Answer, Refused};
use super::store::Store;
use super::verbs;
use super::{delete, now};

/// Seconds that an object gets before it is gone.
pub(crate) fn grace(resource: &Resource, object: &Value, asked: Option<u64>) -> u64 {
    if resource.plural != "pods" {
        return 0;
    }
    let over = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    // Nobody would confirm the end of what never had a node, or has ended.
    if object["spec"]["nodeName"].as_str().unwrap_or("").is_empty() || over {
        return 0;
    }
    asked.or_else(|| object["spec"]["terminationGracePeriodSeconds"].as_u64()).unwrap_or(30)
}

pub(crate) fn subresource(store: &mut Store, ask: &Ask, body: &Value) -> Answer<Value> {
    match ask.sub.as_str() {
        "binding" => bind(store, ask, body),
        "eviction" => evict(store, ask, body),
        _ => Err(Refused::unknown_path()),
    }
}

fn bind(store: &mut Store, ask: &Ask, body: &Value) -> Answer<Value> {
    let target = &body["target"];
    let node = target["name"].as_str().unwrap_or("");
    let mut faults = Vec::new();
    if !matches!(target["kind"].as_str(), None | Some("" | "Node")) {
        faults.push((
            "target.kind".to_owned(),
            format!("Unsupported value: {}: supported values: \"Node\", \"<empty>\"", target["kind"]),
        ));
    }
    if node.is_empty() {
        faults.push(("target.name".to_owned(), "Required value".to_owned()));
    }
    if !faults.is_empty() {
        return Err(Refused::invalid(ask.resource, &ask.name, &faults));
    }
    let mut pod = verbs::get(store, ask)?;
    let refuse = |why: String| {
        let message = format!("Operation cannot be fulfilled on pods/binding \"{}\": {why}", ask.name);
        Refused::new(409, "Conflict", message, json!({"name": ask.name, "kind": "pods/binding"}))
    };
    if pod["metadata"]["deletionTimestamp"].is_string() {
        return Err(refuse(format!("pod {} is being deleted, cannot be assigned to a host", ask.name)));
    }
    if let Some(had) = pod["spec"]["nodeName"].as_str().filter(|had| !had.is_empty()) {
        return Err(refuse(format!("pod {} is already assigned to node \"{had}\"", ask.name)));
    }
    if let Some(uid) = body["metadata"]["uid"].as_str()
        && Some(uid) != pod["metadata"]["uid"].as_str()
    {
        return Err(refuse(format!("Precondition failed: UID in precondition: {uid}")));
    }
    pod["spec"]["nodeName"] = json!(node);
    for (key, value) in body["metadata"]["annotations"].as_object().into_iter().flatten() {
        pod["metadata"]["annotations"][key] = value.clone();
    }
    let conditions = &mut pod["status"]["conditions"];
    if conditions.is_null() {
        *conditions = json!([]);
    }
    let conditions = conditions.as_array_mut().expect("a list");
    conditions.retain(|condition| condition["type"] != "PodScheduled");
    conditions
        .push(json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now()}));
    store.put(ask.resource, &ask.key(), Some(pod));
    Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}))
}

fn evict(store: &mut Store, ask: &Ask, body: &Value) -> Answer<Value> {
    let pod = verbs::get(store, ask)?;
    let budgets = Resource::find("policy", "v1", "poddisruptionbudgets").expect("a kind there is");
    let unstarted = matches!(pod["status"]["phase"].as_str(), Some("Pending" | "Succeeded" | "Failed"));
    for ((namespace, name), budget) in store.all(budgets) {
        let labels: Vec<String> = budget["spec"]["selector"]["matchLabels"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or("")))
            .collect();
        let select = Selector::read(ask.resource, Some(&labels.join(",")), None)?;
        if *namespace != ask.namespace || labels.is_empty() || !select.takes(&pod) || unstarted {
            continue;
        }
        if budget["status"]["disruptionsAllowed"].as_i64().unwrap_or(0) <= 0 {
            let message = "Cannot evict pod as it would violate the pod's disruption budget.";
            let details = json!({"causes": [{
                "reason": "DisruptionBudget",
                "message": format!("The disruption budget {name} needs more healthy pods than there are"),
            }]});
            return Err(Refused::new(429, "TooManyRequests", message, details));
        }
    }
    delete::delete(store, ask, &body["deleteOptions"])?;
    Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}))
}
