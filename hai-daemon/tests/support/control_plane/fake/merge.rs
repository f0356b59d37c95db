//! How a patch becomes part of an object, and which items of lists are the same.

use serde_json::{Map, Value};

use super::status::{Answer, Refused};

/// What the items of a list are told apart by: the fields that make their key.
pub(crate) fn keys(field: &str, item: &Value, strategic: bool) -> Option<&'static [&'static str]> {
    match field {
        "containers" | "initContainers" | "ephemeralContainers" | "volumes" | "imagePullSecrets" | "secrets" => {
            Some(&["name"])
        }
        "env" if item.get("name").is_some() => Some(&["name"]),
        "volumeMounts" => Some(&["mountPath"]),
        "conditions" | "addresses" => Some(&["type"]),
        "ownerReferences" => Some(&["uid"]),
        "hostAliases" | "podIPs" | "hostIPs" => Some(&["ip"]),
        "ports" if item.get("containerPort").is_some() => {
            Some(if strategic { &["containerPort"] } else { &["containerPort", "protocol"] })
        }
        "ports" if item.get("port").is_some() => Some(if strategic { &["port"] } else { &["port", "protocol"] }),
        _ => None,
    }
}

/// The key of an item, as text that is the same for the same item.
pub(crate) fn key_of(item: &Value, keys: &[&str]) -> String {
    let mut key = Map::new();
    for name in keys {
        let default = if *name == "protocol" { Value::from("TCP") } else { Value::Null };
        key.insert((*name).to_owned(), item.get(*name).cloned().unwrap_or(default));
    }
    Value::Object(key).to_string()
}

/// RFC 7386.
pub(crate) fn json_merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let target = target.as_object_mut().expect("made above");
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            json_merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// A merge that knows which items of lists are the same; `strategic` also reads its directives.
pub(crate) fn merge(field: &str, target: &mut Value, patch: &Value, strategic: bool) {
    match patch {
        Value::Object(patch) => {
            if strategic && patch.get("$patch").and_then(Value::as_str) == Some("replace") {
                let mut patch = patch.clone();
                patch.remove("$patch");
                *target = Value::Object(patch);
                return;
            }
            if !target.is_object() {
                *target = Value::Object(Map::new());
            }
            let target = target.as_object_mut().expect("made above");
            for (key, value) in patch {
                if key.starts_with("$setElementOrder/") || key.starts_with("$retainKeys") {
                    continue;
                }
                if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
                    let gone = value.as_array().cloned().unwrap_or_default();
                    if let Some(items) = target.get_mut(list).and_then(Value::as_array_mut) {
                        items.retain(|item| !gone.contains(item));
                    }
                } else if value.is_null() {
                    target.remove(key);
                } else {
                    merge(key, target.entry(key.clone()).or_insert(Value::Null), value, strategic);
                }
            }
        }
        Value::Array(items) if field == "finalizers" => {
            let mut all = target.as_array().cloned().unwrap_or_default();
            all.extend(items.iter().filter(|item| !target.as_array().is_some_and(|had| had.contains(item))).cloned());
            *target = Value::Array(all);
        }
        Value::Array(items) => {
            let keyed = items.first().and_then(|item| keys(field, item, strategic));
            let (Some(keys), true) = (keyed, target.is_array()) else {
                *target = Value::Array(items.iter().filter(|item| item.get("$patch").is_none()).cloned().collect());
                return;
            };
            let all = target.as_array_mut().expect("looked above");
            for item in items {
                let key = key_of(item, keys);
                let at = all.iter().position(|had| key_of(had, keys) == key);
                if strategic && item.get("$patch").and_then(Value::as_str) == Some("delete") {
                    if let Some(at) = at {
                        all.remove(at);
                    }
                } else if let Some(at) = at {
                    merge("", &mut all[at], item, strategic);
                } else {
                    all.push(item.clone());
                }
            }
        }
        other => *target = other.clone(),
    }
}

/// RFC 6902.
pub(crate) fn json_patch(target: &mut Value, patch: &Value) -> Answer<()> {
    let steps = patch
        .as_array()
        .ok_or_else(|| Refused::bad("json: cannot unmarshal object into Go value of type jsonpatch.Patch"))?;
    for step in steps {
        let op = step["op"].as_str().unwrap_or("");
        let path = step["path"].as_str().ok_or_else(|| Refused::bad("a step without a path"))?;
        let bad = |what: &str| {
            let message =
                format!("the server rejected our request due to an error in our request: {op} {path}: {what}");
            Refused::new(422, "Invalid", message, Value::Null)
        };
        match op {
            "test" => {
                if target.pointer(path) != Some(&step["value"]) {
                    return Err(bad("testing value failed"));
                }
            }
            "add" | "replace" | "remove" => {
                if op != "add" && target.pointer(path).is_none() {
                    return Err(bad("missing value"));
                }
                let (parent, last) = path.rsplit_once('/').ok_or_else(|| bad("no such path"))?;
                let last = last.replace("~1", "/").replace("~0", "~");
                match target.pointer_mut(parent) {
                    Some(Value::Object(map)) if op == "remove" => drop(map.remove(&last)),
                    Some(Value::Object(map)) => drop(map.insert(last, step["value"].clone())),
                    Some(Value::Array(list)) => {
                        let at =
                            if last == "-" { list.len() } else { last.parse().map_err(|_| bad("no such index"))? };
                        match op {
                            "add" if at <= list.len() => list.insert(at, step["value"].clone()),
                            "replace" => list[at] = step["value"].clone(),
                            "remove" => drop(list.remove(at)),
                            _ => return Err(bad("no such index")),
                        }
                    }
                    _ => return Err(bad("missing path")),
                }
            }
            _ => return Err(bad("unknown operation")),
        }
    }
    Ok(())
}
