//! What an API server refuses in the spec of a pod.

use serde_json::Value;

use super::validate::{Faults, LABEL_NAME, SUBDOMAIN, dns_label, dns_subdomain, fault};

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
pub(super) fn pod_spec(path: &str, spec: &Value, faults: &mut Faults) {
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
