//! Who set which field: the managers of server-side apply, and what they do not agree on.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::merge::{key_of, keys, merge};
use super::resources::Resource;
use super::status::{Answer, Refused, details};

/// Steps to a field, as `fieldsV1` writes them.
type Fields = BTreeSet<Vec<String>>;

/// A manager, how it wrote (`Apply` or `Update`), and the subresource.
type Manager = (String, String, String);

/// Fields that nobody owns.
fn nobodys(path: &[String]) -> bool {
    match path {
        [first] => matches!(first.as_str(), "f:apiVersion" | "f:kind" | "f:metadata"),
        [first, second, ..] if first == "f:metadata" => {
            !matches!(second.as_str(), "f:labels" | "f:annotations" | "f:finalizers" | "f:ownerReferences")
        }
        _ => false,
    }
}

/// Every leaf of an object with its value.
fn leaves(value: &Value) -> BTreeMap<Vec<String>, Value> {
    fn walk(field: &str, path: &mut Vec<String>, value: &Value, out: &mut BTreeMap<Vec<String>, Value>) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (key, value) in map {
                    path.push(format!("f:{key}"));
                    walk(key, path, value, out);
                    path.pop();
                }
            }
            Value::Array(items) if field == "finalizers" => {
                for item in items {
                    path.push(format!("v:{item}"));
                    out.insert(path.clone(), item.clone());
                    path.pop();
                }
            }
            Value::Array(items) => match items.first().and_then(|item| keys(field, item, false)) {
                Some(keys) => {
                    for item in items {
                        path.push(format!("k:{}", key_of(item, keys)));
                        out.insert(path.clone(), Value::Null);
                        walk("", path, item, out);
                        path.pop();
                    }
                }
                None => drop(out.insert(path.clone(), value.clone())),
            },
            other => drop(out.insert(path.clone(), other.clone())),
        }
    }
    let mut out = BTreeMap::new();
    walk("", &mut Vec::new(), value, &mut out);
    out.retain(|path, _| !nobodys(path));
    out
}

fn read(object: &Value) -> BTreeMap<Manager, Fields> {
    fn walk(value: &Value, path: &mut Vec<String>, out: &mut Fields) {
        let Some(map) = value.as_object() else { return };
        if map.is_empty() && !path.is_empty() {
            out.insert(path.clone());
        }
        for (key, value) in map {
            if key == "." {
                out.insert(path.clone());
            } else {
                path.push(key.clone());
                walk(value, path, out);
                path.pop();
            }
        }
    }
    let mut all = BTreeMap::new();
    for entry in object["metadata"]["managedFields"].as_array().into_iter().flatten() {
        let text = |key: &str| entry[key].as_str().unwrap_or("").to_owned();
        let mut fields = Fields::new();
        walk(&entry["fieldsV1"], &mut Vec::new(), &mut fields);
        all.insert((text("manager"), text("operation"), text("subresource")), fields);
    }
    all
}

fn write(object: &mut Value, resource: &Resource, all: BTreeMap<Manager, Fields>) {
    let mut entries = Vec::new();
    for ((manager, operation, sub), fields) in all {
        if fields.is_empty() {
            continue;
        }
        let mut tree = Value::Object(Map::new());
        for path in &fields {
            let mut at = &mut tree;
            for step in path {
                at = at
                    .as_object_mut()
                    .expect("a tree of maps")
                    .entry(step.clone())
                    .or_insert_with(|| Value::Object(Map::new()));
            }
            if path.last().is_some_and(|step| step.starts_with("k:")) {
                at["."] = json!({});
            }
        }
        let mut entry = json!({
            "manager": manager, "operation": operation, "apiVersion": resource.api_version(),
            "fieldsType": "FieldsV1", "fieldsV1": tree,
        });
        if !sub.is_empty() {
            entry["subresource"] = json!(sub);
        }
        entries.push(entry);
    }
    object["metadata"]["managedFields"] = Value::Array(entries);
}

/// Notes that `manager` made `new` out of `old` by anything but an apply.
pub(crate) fn updated(resource: &Resource, manager: &str, sub: &str, old: Option<&Value>, new: &mut Value) {
    let before = old.map(leaves).unwrap_or_default();
    let after = leaves(new);
    let mut all = old.map(read).unwrap_or_default();
    let changed: Fields =
        after.iter().filter(|(path, value)| before.get(*path) != Some(value)).map(|(path, _)| path.clone()).collect();
    for fields in all.values_mut() {
        fields.retain(|path| after.contains_key(path) && !changed.contains(path));
    }
    all.entry((manager.to_owned(), "Update".to_owned(), sub.to_owned())).or_default().extend(changed);
    write(new, resource, all);
}

fn remove(value: &mut Value, path: &[String]) {
    let Some((step, rest)) = path.split_first() else { return };
    if let Some(field) = step.strip_prefix("f:") {
        let Some(map) = value.as_object_mut() else { return };
        if rest.is_empty() {
            map.remove(field);
            return;
        }
        let Some(inner) = map.get_mut(field) else { return };
        remove(inner, rest);
        // A map or list of which nothing is left goes with its last entry.
        if inner.as_object().is_some_and(Map::is_empty) || inner.as_array().is_some_and(Vec::is_empty) {
            map.remove(field);
        }
    } else if let Some(key) = step.strip_prefix("k:") {
        let Some(list) = value.as_array_mut() else { return };
        let Ok(Value::Object(wanted)) = serde_json::from_str::<Value>(key) else { return };
        let names: Vec<&str> = wanted.keys().map(String::as_str).collect();
        let Some(at) = list.iter().position(|item| key_of(item, &names) == key) else { return };
        if rest.is_empty() {
            list.remove(at);
        } else {
            remove(&mut list[at], rest);
        }
    } else if let Some(Ok(item)) = step.strip_prefix("v:").map(serde_json::from_str::<Value>)
        && let Some(list) = value.as_array_mut()
    {
        list.retain(|had| *had != item);
    }
}

/// What is made of `live` when `manager` applies `wanted`; 409 if others set a field to something else and
/// `force` does not take it from them.
pub(crate) fn applied(
    resource: &Resource,
    manager: &str,
    sub: &str,
    force: bool,
    live: &Value,
    wanted: &Value,
) -> Answer<Value> {
    let me = (manager.to_owned(), "Apply".to_owned(), sub.to_owned());
    let mut all = read(live);
    let had = all.remove(&me).unwrap_or_default();
    let now = leaves(live);
    let want = leaves(wanted);
    let mut clashes = Vec::new();
    for (path, value) in &want {
        if now.get(path).is_none_or(|is| is == value) {
            continue;
        }
        for ((other, operation, _), fields) in &mut all {
            if !fields.contains(path) {
                continue;
            }
            if force {
                fields.remove(path);
            } else {
                let field: String = path
                    .iter()
                    .map(|step| match step.strip_prefix("f:") {
                        Some(name) => format!(".{name}"),
                        None => format!("[{}]", &step[2..]),
                    })
                    .collect();
                let how = if operation == "Update" { " using v1" } else { "" };
                clashes.push(json!({
                    "reason": "FieldManagerConflict", "field": field,
                    "message": format!("conflict with \"{other}\"{how}"),
                }));
            }
        }
    }
    let name = live["metadata"]["name"].as_str().unwrap_or("");
    if !clashes.is_empty() {
        let said: Vec<String> = clashes
            .iter()
            .map(|clash| {
                format!("{}: {}", clash["message"].as_str().unwrap_or(""), clash["field"].as_str().unwrap_or(""))
            })
            .collect();
        let plural = if said.len() == 1 { "conflict" } else { "conflicts" };
        let message = format!("Apply failed with {} {plural}: {}", said.len(), said.join("\n"));
        let mut about = details(resource.group, resource.plural, name);
        about["causes"] = Value::Array(clashes);
        return Err(Refused::new(409, "Conflict", message, about));
    }
    let mut merged = live.clone();
    merge("", &mut merged, wanted, false);
    let mine: Fields = want.into_keys().collect();
    // What was applied and is not any more goes, unless somebody else holds it too. An item
    // of a list goes as a whole, before what it is known by.
    let mut dropped: Vec<&Vec<String>> =
        had.iter().filter(|path| !mine.contains(*path) && !all.values().any(|fields| fields.contains(*path))).collect();
    dropped.sort_by_key(|path| path.len());
    for path in dropped {
        let shared = all.values().any(|fields| fields.iter().any(|other| other.starts_with(path)));
        if !shared {
            remove(&mut merged, path);
        }
    }
    all.insert(me, mine);
    write(&mut merged, resource, all);
    Ok(merged)
}
