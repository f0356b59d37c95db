//! What an API server refuses to store: names, labels, and the fields of pods, services and workloads.

use serde_json::Value;

use super::resources::Resource;
use super::status::{Answer, Refused};
use super::validate_pod::pod_spec;

pub(super) type Faults = Vec<(String, String)>;

pub(super) const LABEL_NAME: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
                          start and end with an alphanumeric character";
pub(super) const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                         and must start and end with an alphanumeric character";

fn within(text: &str, longest: usize, allowed: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: &u8| byte.is_ascii_alphanumeric();
    !bytes.is_empty()
        && bytes.len() <= longest
        && bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(|byte| allowed(*byte))
}

pub(super) fn dns_label(text: &str) -> bool {
    within(text, 63, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

pub(super) fn dns_subdomain(text: &str) -> bool {
    text.len() <= 253
        && text
            .split('.')
            .all(|part| within(part, 253, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'))
}

fn label_text(text: &str) -> bool {
    within(text, 63, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn qualified_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => dns_subdomain(prefix) && label_text(name),
        None => label_text(text),
    }
}

pub(super) fn fault(faults: &mut Faults, field: impl Into<String>, what: impl Into<String>) {
    faults.push((field.into(), what.into()));
}

fn metadata(resource: &Resource, object: &Value, faults: &mut Faults) {
    let meta = &object["metadata"];
    let name = meta["name"].as_str().unwrap_or("");
    match resource.plural {
        _ if name.is_empty() => fault(faults, "metadata.name", "Required value: name or generateName is required"),
        // Names of roles may hold anything that a path can.
        "roles" | "rolebindings" | "clusterroles" | "clusterrolebindings" if !name.contains(['/', '%']) => {}
        "roles" | "rolebindings" | "clusterroles" | "clusterrolebindings" => {
            fault(faults, "metadata.name", format!("Invalid value: \"{name}\": may not contain '/'"));
        }
        "namespaces" if !dns_label(name) => {
            fault(faults, "metadata.name", format!("Invalid value: \"{name}\": {LABEL_NAME}"));
        }
        "services" if !dns_label(name) || name.as_bytes()[0].is_ascii_digit() => fault(
            faults,
            "metadata.name",
            format!("Invalid value: \"{name}\": a DNS-1035 label must consist of lower case alphanumeric characters"),
        ),
        _ if !dns_subdomain(name) => {
            fault(faults, "metadata.name", format!("Invalid value: \"{name}\": {SUBDOMAIN}"));
        }
        _ => {}
    }
    for (key, value) in meta["labels"].as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or("");
        if !qualified_name(key) {
            fault(
                faults,
                "metadata.labels",
                format!("Invalid value: \"{key}\": name part must consist of alphanumeric characters"),
            );
        }
        if !text.is_empty() && !label_text(text) {
            fault(
                faults,
                "metadata.labels",
                format!(
                    "Invalid value: \"{text}\": a valid label must be an empty string or consist of alphanumeric characters"
                ),
            );
        }
    }
    for (key, _) in meta["annotations"].as_object().into_iter().flatten() {
        if !qualified_name(&key.to_lowercase()) {
            fault(
                faults,
                "metadata.annotations",
                format!("Invalid value: \"{key}\": name part must consist of alphanumeric characters"),
            );
        }
    }
    for (at, owner) in meta["ownerReferences"].as_array().into_iter().flatten().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or("").is_empty() {
                fault(faults, format!("metadata.ownerReferences[{at}].{field}"), "Required value: must not be empty");
            }
        }
    }
}

fn workload(object: &Value, faults: &mut Faults) {
    let selector = &object["spec"]["selector"]["matchLabels"];
    let labels = &object["spec"]["template"]["metadata"]["labels"];
    if selector.as_object().is_none_or(serde_json::Map::is_empty) {
        fault(faults, "spec.selector", "Required value");
    }
    if selector.as_object().into_iter().flatten().any(|(key, value)| &labels[key] != value) {
        fault(
            faults,
            "spec.template.metadata.labels",
            format!("Invalid value: {labels}: `selector` does not match template `labels`"),
        );
    }
    pod_spec("spec.template.spec", &object["spec"]["template"]["spec"], faults);
}

fn service(object: &Value, faults: &mut Faults) {
    let spec = &object["spec"];
    if !matches!(spec["type"].as_str(), Some("ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalName")) {
        fault(faults, "spec.type", format!("Unsupported value: {}", spec["type"]));
    }
    let ports = spec["ports"].as_array().cloned().unwrap_or_default();
    if ports.is_empty() && spec["clusterIP"] != "None" {
        fault(faults, "spec.ports", "Required value");
    }
    for (at, port) in ports.iter().enumerate() {
        if !port["port"].as_u64().is_some_and(|port| (1..=65_535).contains(&port)) {
            fault(
                faults,
                format!("spec.ports[{at}].port"),
                format!("Invalid value: {}: must be between 1 and 65535, inclusive", port["port"]),
            );
        }
        let node_port = port["nodePort"].as_u64().unwrap_or(0);
        if node_port != 0 && !(30_000..=32_767).contains(&node_port) {
            fault(
                faults,
                format!("spec.ports[{at}].nodePort"),
                format!(
                    "Invalid value: {node_port}: provided port is not in the valid range. The range of valid ports is 30000-32767"
                ),
            );
        }
        if ports.len() > 1 && port["name"].as_str().unwrap_or("").is_empty() {
            fault(faults, format!("spec.ports[{at}].name"), "Required value");
        }
    }
}

fn refuse(resource: &Resource, object: &Value, faults: &Faults) -> Answer<()> {
    if faults.is_empty() {
        return Ok(());
    }
    Err(Refused::invalid(resource, object["metadata"]["name"].as_str().unwrap_or(""), faults))
}

/// Refuses an object that can not be.
pub(crate) fn object(resource: &Resource, object: &Value) -> Answer<()> {
    let mut faults = Faults::new();
    metadata(resource, object, &mut faults);
    match resource.plural {
        "pods" => pod_spec("spec", &object["spec"], &mut faults),
        "deployments" | "daemonsets" | "statefulsets" | "replicasets" => workload(object, &mut faults),
        "services" => service(object, &mut faults),
        _ => {}
    }
    refuse(resource, object, &faults)
}

/// Refuses a change of what can not change.
pub(crate) fn change(resource: &Resource, old: &Value, new: &Value) -> Answer<()> {
    let mut faults = Faults::new();
    match resource.plural {
        "pods" => {
            let (mut was, mut is) = (old["spec"].clone(), new["spec"].clone());
            for spec in [&mut was, &mut is] {
                if let Some(map) = spec.as_object_mut() {
                    map.remove("activeDeadlineSeconds");
                    map.remove("tolerations");
                }
                for list in ["containers", "initContainers"] {
                    for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                        container["image"] = Value::Null;
                    }
                }
            }
            if was != is {
                fault(
                    &mut faults,
                    "spec",
                    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`, `spec.initContainers[*].image`, `spec.activeDeadlineSeconds` or `spec.tolerations` (only additions to existing tolerations)",
                );
            }
            let kept = old["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
            let now = new["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
            if kept.iter().any(|toleration| !now.contains(toleration)) {
                fault(
                    &mut faults,
                    "spec.tolerations",
                    "Forbidden: existing toleration can not be modified except its tolerationSeconds",
                );
            }
        }
        "deployments" | "daemonsets" | "replicasets" if old["spec"]["selector"] != new["spec"]["selector"] => {
            fault(
                &mut faults,
                "spec.selector",
                format!("Invalid value: {}: field is immutable", new["spec"]["selector"]),
            );
        }
        "services"
            if old["spec"]["clusterIP"] != new["spec"]["clusterIP"] && old["spec"]["type"] == new["spec"]["type"] =>
        {
            fault(
                &mut faults,
                "spec.clusterIPs[0]",
                format!("Invalid value: {}: may not change once set", new["spec"]["clusterIPs"]),
            );
        }
        "secrets" if old["type"] != new["type"] => {
            fault(&mut faults, "type", format!("Invalid value: {}: field is immutable", new["type"]));
        }
        "roles" | "clusterroles" => {}
        "rolebindings" | "clusterrolebindings" if old["roleRef"] != new["roleRef"] => {
            fault(&mut faults, "roleRef", format!("Invalid value: {}: cannot change roleRef", new["roleRef"]));
        }
        "persistentvolumeclaims" => {
            let (mut was, mut is) = (old["spec"].clone(), new["spec"].clone());
            for spec in [&mut was, &mut is] {
                spec["resources"] = Value::Null;
                spec["volumeName"] = Value::Null;
            }
            if was != is {
                fault(
                    &mut faults,
                    "spec",
                    "Forbidden: spec is immutable after creation except resources.requests for bound claims",
                );
            }
        }
        _ => {}
    }
    refuse(resource, new, &faults)
}
