//! What an API server fills in where a client said nothing.

use serde_json::{Map, Value, json};

use super::resources::Resource;
use super::store::Store;

/// Sets `field` if nothing is there.
fn default(at: &mut Value, field: &str, value: Value) {
    if let Some(map) = at.as_object_mut() {
        let entry = map.entry(field.to_owned()).or_insert(Value::Null);
        if entry.is_null() {
            *entry = value;
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (at, byte)| word | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            if at <= chunk.len() {
                out.push(char::from(LETTERS[(word >> (18 - 6 * at) & 63) as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

fn pod_spec(spec: &mut Value) {
    default(spec, "restartPolicy", json!("Always"));
    default(spec, "terminationGracePeriodSeconds", json!(30));
    default(spec, "dnsPolicy", json!("ClusterFirst"));
    default(spec, "schedulerName", json!("default-scheduler"));
    default(spec, "securityContext", json!({}));
    if let Some(account) = spec.get("serviceAccountName").or_else(|| spec.get("serviceAccount")).cloned() {
        default(spec, "serviceAccountName", account.clone());
        default(spec, "serviceAccount", account);
    }
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let image = container["image"].as_str().unwrap_or("");
            let tag = image.rsplit('/').next().unwrap_or("").split_once(':').map(|(_, tag)| tag);
            let policy =
                if matches!(tag, None | Some("latest")) && !image.contains('@') { "Always" } else { "IfNotPresent" };
            default(container, "imagePullPolicy", json!(policy));
            default(container, "terminationMessagePath", json!("/dev/termination-log"));
            default(container, "terminationMessagePolicy", json!("File"));
            default(container, "resources", json!({}));
            let limits = container["resources"]["limits"].as_object().cloned().unwrap_or_default();
            if !limits.is_empty() {
                default(&mut container["resources"], "requests", json!({}));
                for (name, amount) in limits {
                    default(&mut container["resources"]["requests"], &name, amount);
                }
            }
            for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                default(port, "protocol", json!("TCP"));
            }
        }
    }
}

/// Whatever the fields of a new object, or of one that changes, are when nobody says.
pub(crate) fn fill(store: &mut Store, resource: &Resource, object: &mut Value) {
    match resource.plural {
        "pods" => {
            pod_spec(&mut object["spec"]);
            default(&mut object["spec"], "enableServiceLinks", json!(true));
        }
        "deployments" | "daemonsets" | "statefulsets" | "replicasets" | "jobs" => {
            if object["spec"]["template"]["spec"].is_object() {
                pod_spec(&mut object["spec"]["template"]["spec"]);
            }
            if matches!(resource.plural, "deployments" | "statefulsets" | "replicasets") {
                default(&mut object["spec"], "replicas", json!(1));
            }
            default(&mut object["spec"], "revisionHistoryLimit", json!(10));
            if resource.plural == "deployments" {
                default(&mut object["spec"], "progressDeadlineSeconds", json!(600));
                default(
                    &mut object["spec"],
                    "strategy",
                    json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}),
                );
            }
        }
        "services" => {
            let spec = &mut object["spec"];
            default(spec, "type", json!("ClusterIP"));
            default(spec, "sessionAffinity", json!("None"));
            if spec["clusterIP"].as_str().is_none_or(str::is_empty) && spec["type"] != "ExternalName" {
                let number = store.fresh();
                spec["clusterIP"] = json!(format!("10.0.{}.{}", number / 250, number % 250 + 2));
            }
            let addresses = json!([spec["clusterIP"]]);
            default(spec, "clusterIPs", addresses);
            let open = matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer"));
            for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                default(port, "protocol", json!("TCP"));
                let same = port["port"].clone();
                default(port, "targetPort", same);
                if open && port["nodePort"].as_u64().unwrap_or(0) == 0 {
                    port["nodePort"] = json!(30_000 + store.fresh() % 2_768);
                }
            }
            default(object, "status", json!({"loadBalancer": {}}));
        }
        "secrets" => {
            let texts = object.get("stringData").and_then(Value::as_object).cloned().unwrap_or_default();
            if let Some(map) = object.as_object_mut() {
                map.remove("stringData");
            }
            if !texts.is_empty() {
                default(object, "data", json!({}));
            }
            for (name, text) in texts {
                object["data"][name] = json!(base64(text.as_str().unwrap_or("").as_bytes()));
            }
            default(object, "type", json!("Opaque"));
        }
        "namespaces" => {
            default(object, "spec", json!({"finalizers": ["kubernetes"]}));
            default(object, "status", json!({"phase": "Active"}));
        }
        "persistentvolumeclaims" => {
            default(&mut object["spec"], "volumeMode", json!("Filesystem"));
            default(object, "status", json!({"phase": "Pending"}));
        }
        _ => {}
    }
}

/// What only a new object gets.
pub(crate) fn admit(resource: &Resource, object: &mut Value) {
    match resource.plural {
        "pods" => {
            object["status"] = json!({"phase": "Pending", "qosClass": quality(&object["spec"])});
            let spec = &mut object["spec"];
            default(spec, "priority", json!(0));
            default(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
            default(spec, "tolerations", json!([]));
            for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
                let list = spec["tolerations"].as_array_mut().expect("set above");
                let there = list.iter().any(|toleration| {
                    (toleration["key"] == key || toleration.get("key").is_none())
                        && matches!(toleration["effect"].as_str(), None | Some("NoExecute" | ""))
                });
                if !there {
                    list.push(
                        json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}),
                    );
                }
            }
        }
        "nodes" => {
            default(object, "spec", json!({}));
            default(&mut object["spec"], "taints", json!([]));
            let taints = object["spec"]["taints"].as_array_mut().expect("set above");
            // As a real one does: nothing may run on a node before somebody said that it is ready.
            if !taints.iter().any(|taint| taint["key"] == "node.kubernetes.io/not-ready") {
                taints.push(json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}));
            }
        }
        // These have a status, but not one that its maker says.
        _ if resource.status && !matches!(resource.plural, "services" | "namespaces" | "persistentvolumeclaims") => {
            object["status"] = json!({});
        }
        _ => {}
    }
}

fn quality(spec: &Value) -> &'static str {
    let none = Map::new();
    let amounts = |container: &Value, what: &str| container["resources"][what].as_object().unwrap_or(&none).clone();
    let containers = spec["containers"].as_array().cloned().unwrap_or_default();
    let counted = |map: &Map<String, Value>| map.contains_key("cpu") || map.contains_key("memory");
    if containers.iter().all(|one| !counted(&amounts(one, "requests")) && !counted(&amounts(one, "limits"))) {
        return "BestEffort";
    }
    let whole = containers.iter().all(|one| {
        let (requests, limits) = (amounts(one, "requests"), amounts(one, "limits"));
        ["cpu", "memory"].iter().all(|name| limits.get(*name).is_some_and(|limit| requests.get(*name) == Some(limit)))
    });
    if whole { "Guaranteed" } else { "Burstable" }
}
