//! Delete: at once, or after a time, or when nobody holds it any more.

use serde_json::{Value, json};

use super::list::selector;
use super::request::Ask;
use super::status::{Answer, Refused, success};
use super::store::{Key, Store};
use super::verbs::get;

pub(crate) fn delete(store: &mut Store, ask: &Ask, options: &Value) -> Answer<Value> {
    let old = get(store, ask)?;
    let meta = &old["metadata"];
    for (field, of) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
        if let Some(wanted) = options["preconditions"][field].as_str()
            && Some(wanted) != meta[field].as_str()
        {
            let why = format!(
                "Precondition failed: {of} in precondition: {wanted}, {of} in object meta: {}",
                meta[field].as_str().unwrap_or("")
            );
            return Err(Refused::conflict(ask.resource, &ask.name, &why));
        }
    }
    let asked = match options["gracePeriodSeconds"].as_u64() {
        Some(grace) => Some(grace),
        None => ask.number("gracePeriodSeconds")?,
    };
    let grace = super::pods::grace(ask.resource, &old, asked);
    let mut new = old.clone();
    let policy = options["propagationPolicy"].as_str().or_else(|| ask.text("propagationPolicy"));
    if let Some(finalizer) = match policy {
        Some("Foreground") => Some("foregroundDeletion"),
        Some("Orphan") => Some("orphan"),
        _ => None,
    } {
        let list = &mut new["metadata"]["finalizers"];
        if list.is_null() {
            *list = json!([]);
        }
        let list = list.as_array_mut().expect("a list");
        if !list.iter().any(|had| had == finalizer) {
            list.push(json!(finalizer));
        }
    }
    let held = new["metadata"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
    let held = held
        || (ask.resource.plural == "namespaces"
            && new["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty()));
    if ask.dry_run() {
        return Ok(success(ask.resource, &old));
    }
    if grace == 0 && !held {
        let gone = store.put(ask.resource, &ask.key(), None);
        let shows = matches!(
            ask.resource.plural,
            "pods" | "services" | "serviceaccounts" | "persistentvolumeclaims" | "persistentvolumes"
        );
        return Ok(if shows { gone } else { success(ask.resource, &gone) });
    }
    let leaving = meta["deletionGracePeriodSeconds"].as_u64();
    if meta["deletionTimestamp"].is_string() && leaving.is_some_and(|had| had <= grace) && new == old {
        return Ok(old);
    }
    // A second deletion can only shorten the time.
    let grace = leaving.map_or(grace, |had| had.min(grace));
    new["metadata"]["deletionTimestamp"] = json!(super::at(i64::try_from(grace).unwrap_or(i64::MAX)));
    new["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
    if ask.resource.plural == "namespaces" {
        new["status"]["phase"] = json!("Terminating");
    }
    Ok(store.put(ask.resource, &ask.key(), Some(new)))
}

pub(crate) fn delete_all(store: &mut Store, ask: &Ask, options: &Value) -> Answer<Value> {
    let select = selector(ask)?;
    let keys: Vec<Key> = store
        .all(ask.resource)
        .filter(|(key, object)| (ask.namespace.is_empty() || key.0 == ask.namespace) && select.takes(object))
        .map(|(key, _)| key.clone())
        .collect();
    let mut items = Vec::new();
    for (namespace, name) in keys {
        let one = Ask {
            verb: "delete",
            resource: ask.resource,
            namespace,
            name,
            sub: String::new(),
            query: ask.query.clone(),
        };
        items.push(delete(store, &one, options)?);
    }
    Ok(json!({
        "kind": format!("{}List", ask.resource.kind), "apiVersion": ask.resource.api_version(),
        "metadata": {"resourceVersion": store.rv().to_string()}, "items": items,
    }))
}
