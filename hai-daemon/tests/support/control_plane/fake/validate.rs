//! What an API server refuses to store: names, labels, and the fields of pods, services and workloads.

use serde_json::Value;

use super::resources::Resource;
use super::status::{Answer, Refused};

type Faults = Vec<(String, String)>;

const LABEL_NAME: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
                          start and end with an alphanumeric character";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
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

fn dns_label(text: &str) -> bool {
    within(text, 63, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn dns_subdomain(text: &str) -> bool {
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

fn fault(faults: &mut Faults, field: impl Into<String>, what: impl Into<String>) {
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

/// An amount as Kubernetes writes it, in thousandths.
pub(crate) fn quantity(value: &Value) -> Option<f64> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let at =
        text.find(|letter: char| !(letter.is_ascii_digit() || matches!(letter, '.' | '-' | '+'))).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let scale = match unit {
        "" => 1e3,
        "m" => 1.0,
        "k" => 1e6,
        "M" => 1e9,
        "G" => 1e12,
        "T" => 1e15,
        "Ki" => 1e3 * 1024.0,
        "Mi" => 1e3 * 1024.0 * 1024.0,
        "Gi" => 1e3 * 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1e3 * 1024.0 * 1024.0 * 1024.0 * 1024.0,
        other => 1e3 * format!("1{other}").parse::<f64>().ok()?,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

fn resources(path: &str, resources: &Value, faults: &mut Faults) {
    let limits = resources["limits"].as_object().cloned().unwrap_or_default();
    let requests = resources["requests"].as_object().cloned().unwrap_or_default();
    for (what, amounts) in [("limits", &limits), ("requests", &requests)] {
        for (name, amount) in amounts {
            let Some(amount_is) = quantity(amount) else {
                fault(
                    faults,
                    format!("{path}.{what}[{name}]"),
                    format!("Invalid value: {amount}: quantities must match the regular expression"),
                );
                continue;
            };
            if amount_is < 0.0 {
                fault(
                    faults,
                    format!("{path}.{what}[{name}]"),
                    format!("Invalid value: {amount}: must be greater than or equal to 0"),
                );
            }
            if name.contains('/') && amount_is % 1e3 != 0.0 {
                fault(faults, format!("{path}.{what}[{name}]"), format!("Invalid value: {amount}: must be an integer"));
            }
            if !name.contains('/')
                && !matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage")
                && !name.starts_with("hugepages-")
            {
                fault(
                    faults,
                    format!("{path}.{what}[{name}]"),
                    format!("Invalid value: \"{name}\": must be a standard resource for containers"),
                );
            }
        }
    }
    for (name, amount) in &requests {
        let (Some(wants), most) = (quantity(amount), limits.get(name)) else { continue };
        let most = most.and_then(quantity);
        let own = name.contains('/');
        if own && most.is_none() {
            fault(
                faults,
                format!("{path}.limits"),
                "Required value: Limit must be set for non overcommitable resources",
            );
        } else if own && most != Some(wants) {
            fault(
                faults,
                format!("{path}.requests"),
                format!("Invalid value: {amount}: must be equal to {name} limit"),
            );
        } else if most.is_some_and(|most| wants > most) {
            fault(
                faults,
                format!("{path}.requests"),
                format!("Invalid value: {amount}: must be less than or equal to {name} limit"),
            );
        }
    }
}

/// What is wrong with the spec of a pod or of a template for pods.
fn pod_spec(path: &str, spec: &Value, faults: &mut Faults) {
    let mut volumes = Vec::new();
    for (at, volume) in spec["volumes"].as_array().into_iter().flatten().enumerate() {
        let name = volume["name"].as_str().unwrap_or("");
        if !dns_label(name) {
            fault(faults, format!("{path}.volumes[{at}].name"), format!("Invalid value: \"{name}\": {LABEL_NAME}"));
        }
        if volumes.contains(&name) {
            fault(faults, format!("{path}.volumes[{at}].name"), format!("Duplicate value: \"{name}\""));
        }
        if volume.as_object().is_none_or(|map| map.len() < 2) {
            fault(faults, format!("{path}.volumes[{at}]"), "Required value: must specify a volume type");
        }
        volumes.push(name);
    }
    if spec["containers"].as_array().is_none_or(Vec::is_empty) {
        fault(faults, format!("{path}.containers"), "Required value");
    }
    let mut names = Vec::new();
    for list in ["initContainers", "containers"] {
        for (at, container) in spec[list].as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}.{list}[{at}]");
            let name = container["name"].as_str().unwrap_or("");
            if name.is_empty() {
                fault(faults, format!("{path}.name"), "Required value");
            } else if !dns_label(name) {
                fault(faults, format!("{path}.name"), format!("Invalid value: \"{name}\": {LABEL_NAME}"));
            }
            if names.contains(&name) {
                fault(faults, format!("{path}.name"), format!("Duplicate value: \"{name}\""));
            }
            names.push(name);
            if container["image"].as_str().unwrap_or("").is_empty() {
                fault(faults, format!("{path}.image"), "Required value");
            }
            if !matches!(container["imagePullPolicy"].as_str(), None | Some("Always" | "IfNotPresent" | "Never")) {
                fault(
                    faults,
                    format!("{path}.imagePullPolicy"),
                    format!(
                        "Unsupported value: {}: supported values: \"Always\", \"IfNotPresent\", \"Never\"",
                        container["imagePullPolicy"]
                    ),
                );
            }
            for (at, variable) in container["env"].as_array().into_iter().flatten().enumerate() {
                let name = variable["name"].as_str().unwrap_or("");
                let good = !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && !name.contains('=');
                let good = good && name.bytes().all(|byte| byte.is_ascii_graphic());
                if !good {
                    fault(
                        faults,
                        format!("{path}.env[{at}].name"),
                        format!(
                            "Invalid value: \"{name}\": a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.'"
                        ),
                    );
                }
            }
            let mut paths = Vec::new();
            for (at, mount) in container["volumeMounts"].as_array().into_iter().flatten().enumerate() {
                let name = mount["name"].as_str().unwrap_or("");
                let to = mount["mountPath"].as_str().unwrap_or("");
                if !volumes.contains(&name) {
                    fault(faults, format!("{path}.volumeMounts[{at}].name"), format!("Not found: \"{name}\""));
                }
                if to.is_empty() {
                    fault(faults, format!("{path}.volumeMounts[{at}].mountPath"), "Required value");
                } else if paths.contains(&to) {
                    fault(
                        faults,
                        format!("{path}.volumeMounts[{at}].mountPath"),
                        format!("Invalid value: \"{to}\": must be unique"),
                    );
                }
                paths.push(to);
            }
            for (at, port) in container["ports"].as_array().into_iter().flatten().enumerate() {
                if !port["containerPort"].as_u64().is_some_and(|port| (1..=65_535).contains(&port)) {
                    fault(
                        faults,
                        format!("{path}.ports[{at}].containerPort"),
                        format!("Invalid value: {}: must be between 1 and 65535, inclusive", port["containerPort"]),
                    );
                }
            }
            resources(&format!("{path}.resources"), &container["resources"], faults);
        }
    }
    if !matches!(spec["restartPolicy"].as_str(), None | Some("Always" | "OnFailure" | "Never")) {
        fault(
            faults,
            format!("{path}.restartPolicy"),
            format!(
                "Unsupported value: {}: supported values: \"Always\", \"OnFailure\", \"Never\"",
                spec["restartPolicy"]
            ),
        );
    }
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|grace| grace < 0) {
        fault(
            faults,
            format!("{path}.terminationGracePeriodSeconds"),
            format!("Invalid value: {}: must be greater than or equal to 0", spec["terminationGracePeriodSeconds"]),
        );
    }
    for (field, good) in [
        ("nodeName", dns_subdomain as fn(&str) -> bool),
        ("serviceAccountName", dns_subdomain),
        ("hostname", dns_label),
        ("subdomain", dns_label),
        ("runtimeClassName", dns_subdomain),
    ] {
        if let Some(text) = spec[field].as_str()
            && !text.is_empty()
            && !good(text)
        {
            fault(faults, format!("{path}.{field}"), format!("Invalid value: \"{text}\": {SUBDOMAIN}"));
        }
    }
    for (at, toleration) in spec["tolerations"].as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.tolerations[{at}]");
        let operator = toleration["operator"].as_str().unwrap_or("Equal");
        if toleration["key"].as_str().unwrap_or("").is_empty() && operator != "Exists" {
            fault(
                faults,
                format!("{path}.operator"),
                format!("Invalid value: \"{operator}\": operator must be Exists when `key` is empty"),
            );
        }
        if operator == "Exists" && !toleration["value"].as_str().unwrap_or("").is_empty() {
            fault(
                faults,
                format!("{path}.operator"),
                format!("Invalid value: {toleration}: value must be empty when `operator` is 'Exists'"),
            );
        }
        if toleration["tolerationSeconds"].is_i64() && toleration["effect"] != "NoExecute" {
            fault(
                faults,
                format!("{path}.effect"),
                format!(
                    "Invalid value: {}: effect must be 'NoExecute' when `tolerationSeconds` is set",
                    toleration["effect"]
                ),
            );
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
