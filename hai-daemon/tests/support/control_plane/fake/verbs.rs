//! Create, read and change, as an API server does them.

use serde_json::{Value, json};

use super::request::Ask;
use super::resources::Resource;
use super::status::{Answer, Refused};
use super::store::Store;
use super::{defaults, merge, now, owners, validate};

/// What a request carries besides its path.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) body: Value,
    pub(crate) content: String,
    pub(crate) agent: String,
}

impl Carried {
    fn manager<'a>(&'a self, ask: &'a Ask) -> &'a str {
        ask.text("fieldManager").unwrap_or(&self.agent)
    }
}

fn complete(resource: &Resource, object: &mut Value) -> Answer<()> {
    if !object.is_object() {
        return Err(Refused::bad("the object provided is unrecognized (must be of type object)"));
    }
    for (field, is) in [("apiVersion", resource.api_version()), ("kind", resource.kind.to_owned())] {
        match object[field].as_str() {
            Some(said) if said != is => {
                return Err(Refused::bad(format!(
                    "the {field} in the data ({said}) does not match the expected {field} ({is})"
                )));
            }
            _ => object[field] = json!(is),
        }
    }
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    Ok(())
}

fn namespace_is_open(store: &Store, ask: &Ask) -> Answer<()> {
    if !ask.resource.namespaced {
        return Ok(());
    }
    let namespaces = Resource::find("", "v1", "namespaces").expect("there are namespaces");
    let found = store.get(namespaces, &(String::new(), ask.namespace.clone()));
    let found = found.ok_or_else(|| Refused::not_found(namespaces, &ask.namespace))?;
    if found["metadata"]["deletionTimestamp"].is_string() {
        let message = format!(
            "{} is forbidden: unable to create new content in namespace {} because it is being terminated",
            ask.resource.qualified(),
            ask.namespace
        );
        return Err(Refused::new(403, "Forbidden", message, Value::Null));
    }
    Ok(())
}

/// Gives a new object what every object has.
fn born(store: &mut Store, ask: &Ask, object: &mut Value) {
    let number = store.fresh();
    let meta = &mut object["metadata"];
    if meta["name"].as_str().unwrap_or("").is_empty()
        && let Some(prefix) = meta["generateName"].as_str()
    {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        let mut rest = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut name = prefix.to_owned();
        for _ in 0..5 {
            name.push(char::from(LETTERS[usize::try_from(rest >> 32).expect("64 bits") % LETTERS.len()]));
            rest = rest.rotate_left(13).wrapping_mul(0x2545_F491_4F6C_DD1D);
        }
        meta["name"] = json!(name);
    }
    meta["uid"] = json!(format!("00000000-0000-4000-8000-{number:012x}"));
    meta["creationTimestamp"] = json!(now());
    if ask.resource.namespaced {
        meta["namespace"] = json!(ask.namespace);
    }
    if let Some(map) = meta.as_object_mut() {
        for field in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
            map.remove(field);
        }
    }
    if object.get("spec").is_some()
        && !matches!(ask.resource.plural, "pods" | "services" | "nodes" | "namespaces" | "persistentvolumeclaims")
    {
        object["metadata"]["generation"] = json!(1);
    }
}

pub(crate) fn create(store: &mut Store, ask: &Ask, carried: Carried) -> Answer<(u16, Value)> {
    if ask.resource.plural == "pods" && !ask.sub.is_empty() {
        return super::pods::subresource(store, ask, &carried.body).map(|answer| (201, answer));
    }
    if ask.resource.plural == "serviceaccounts" && ask.sub == "token" {
        return super::rbac::account_token(store, ask, carried.body).map(|answer| (201, answer));
    }
    if !ask.name.is_empty() {
        return Err(Refused::unknown_path());
    }
    namespace_is_open(store, ask)?;
    let manager = carried.manager(ask).to_owned();
    let mut object = carried.body;
    complete(ask.resource, &mut object)?;
    if let Some(said) = object["metadata"]["namespace"].as_str()
        && ask.resource.namespaced
        && said != ask.namespace
    {
        return Err(Refused::bad(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if let Some(version) = object["metadata"]["resourceVersion"].as_str()
        && !version.is_empty()
    {
        return Err(Refused::bad("resourceVersion should not be set on objects to be created"));
    }
    put_new(store, ask, object, |object| owners::updated(ask.resource, &manager, "", None, object))
        .map(|object| (201, object))
}

/// Stores a new object; `owned` says whose its fields are.
fn put_new(store: &mut Store, ask: &Ask, mut object: Value, owned: impl FnOnce(&mut Value)) -> Answer<Value> {
    born(store, ask, &mut object);
    let name = object["metadata"]["name"].as_str().unwrap_or("").to_owned();
    owned(&mut object);
    defaults::fill(store, ask.resource, &mut object);
    validate::object(ask.resource, &object)?;
    defaults::admit(ask.resource, &mut object);
    let key = (ask.namespace.clone(), name);
    if store.get(ask.resource, &key).is_some() {
        return Err(Refused::exists(ask.resource, &key.1));
    }
    if ask.dry_run() {
        return Ok(object);
    }
    Ok(store.put(ask.resource, &key, Some(object)))
}

pub(crate) fn get(store: &Store, ask: &Ask) -> Answer<Value> {
    store.get(ask.resource, &ask.key()).cloned().ok_or_else(|| Refused::not_found(ask.resource, &ask.name))
}

/// Stores what became of an object, whoever changed it and how.
fn put_changed(store: &mut Store, ask: &Ask, old: &Value, mut new: Value, manager: Option<&str>) -> Answer<Value> {
    let version = new["metadata"]["resourceVersion"].as_str().unwrap_or("").to_owned();
    if !version.is_empty() && Some(version.as_str()) != old["metadata"]["resourceVersion"].as_str() {
        return Err(Refused::modified(ask.resource, &ask.name));
    }
    let uid = new["metadata"]["uid"].as_str().unwrap_or("").to_owned();
    if !uid.is_empty() && Some(uid.as_str()) != old["metadata"]["uid"].as_str() {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            old["metadata"]["uid"].as_str().unwrap_or("")
        );
        return Err(Refused::conflict(ask.resource, &ask.name, &why));
    }
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "namespace",
        "name",
    ] {
        match old["metadata"].get(field) {
            Some(was) => new["metadata"][field] = was.clone(),
            None => drop(new["metadata"].as_object_mut().and_then(|map| map.remove(field))),
        }
    }
    new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
    match ask.sub.as_str() {
        "status" => {
            for (field, was) in old.as_object().into_iter().flatten() {
                if field != "status" && field != "metadata" {
                    new[field] = was.clone();
                }
            }
            new["metadata"]["ownerReferences"] = old["metadata"]["ownerReferences"].clone();
            if new["metadata"]["ownerReferences"].is_null() {
                drop(new["metadata"].as_object_mut().and_then(|map| map.remove("ownerReferences")));
            }
        }
        "finalize" => {}
        _ => {
            if ask.resource.status {
                new["status"] = old["status"].clone();
            }
            defaults::fill(store, ask.resource, &mut new);
            validate::object(ask.resource, &new)?;
            validate::change(ask.resource, old, &new)?;
            if old["metadata"]["generation"].is_u64() && old["spec"] != new["spec"] {
                new["metadata"]["generation"] = json!(old["metadata"]["generation"].as_u64().unwrap_or(0) + 1);
            }
        }
    }
    if let Some(manager) = manager {
        // What an update says of managers is what it read; only the server writes it.
        new["metadata"]["managedFields"] = old["metadata"]["managedFields"].clone();
        owners::updated(ask.resource, manager, &ask.sub, Some(old), &mut new);
    }
    let same = |value: &Value| {
        let mut value = value.clone();
        value["metadata"]["managedFields"] = Value::Null;
        value
    };
    if same(old) == same(&new) && manager.is_some() || old == &new || ask.dry_run() {
        return Ok(if ask.dry_run() { new } else { old.clone() });
    }
    let key = ask.key();
    let gone = new["metadata"]["deletionTimestamp"].is_string()
        && new["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or(0) == 0
        && new["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty)
        && (ask.resource.plural != "namespaces" || new["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty));
    let stored = store.put(ask.resource, &key, Some(new));
    if gone {
        store.put(ask.resource, &key, None);
    }
    Ok(stored)
}

fn known_sub(ask: &Ask) -> Answer<()> {
    let known = match ask.sub.as_str() {
        "" => true,
        "status" => ask.resource.status,
        "finalize" => ask.resource.plural == "namespaces",
        _ => false,
    };
    if known { Ok(()) } else { Err(Refused::unknown_path()) }
}

pub(crate) fn update(store: &mut Store, ask: &Ask, carried: Carried) -> Answer<(u16, Value)> {
    known_sub(ask)?;
    let manager = carried.manager(ask).to_owned();
    let mut new = carried.body;
    complete(ask.resource, &mut new)?;
    if new["metadata"]["name"].as_str().is_some_and(|name| name != ask.name) {
        return Err(Refused::bad(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            new["metadata"]["name"].as_str().unwrap_or(""),
            ask.name
        )));
    }
    let Some(old) = store.get(ask.resource, &ask.key()).cloned() else {
        // Some kinds may be made by an update.
        if ask.sub.is_empty()
            && matches!(
                ask.resource.plural,
                "leases"
                    | "endpoints"
                    | "events"
                    | "roles"
                    | "clusterroles"
                    | "rolebindings"
                    | "clusterrolebindings"
                    | "services"
            )
            && new["metadata"]["uid"].is_null()
        {
            namespace_is_open(store, ask)?;
            return put_new(store, ask, new, |object| owners::updated(ask.resource, &manager, "", None, object))
                .map(|object| (201, object));
        }
        return Err(Refused::not_found(ask.resource, &ask.name));
    };
    let needs = matches!(
        ask.resource.plural,
        "services"
            | "ingresses"
            | "poddisruptionbudgets"
            | "priorityclasses"
            | "runtimeclasses"
            | "persistentvolumeclaims"
    );
    if needs
        && new["metadata"]["resourceVersion"].as_str().unwrap_or("").is_empty()
        && ask.resource.plural != "services"
    {
        let fault =
            ("metadata.resourceVersion".to_owned(), "Invalid value: 0x0: must be specified for an update".to_owned());
        return Err(Refused::invalid(ask.resource, &ask.name, &[fault]));
    }
    if ask.resource.plural == "services" && ask.sub.is_empty() {
        // Addresses and ports that were given stay where an update does not speak of them.
        for field in ["clusterIP", "clusterIPs"] {
            if new["spec"][field].is_null() {
                new["spec"][field] = old["spec"][field].clone();
            }
        }
    }
    put_changed(store, ask, &old, new, Some(&manager)).map(|object| (200, object))
}

pub(crate) fn patch(store: &mut Store, ask: &Ask, carried: Carried) -> Answer<(u16, Value)> {
    known_sub(ask)?;
    let old = store.get(ask.resource, &ask.key()).cloned();
    if carried.content == "application/apply-patch+yaml" {
        return apply(store, ask, old, &carried.body);
    }
    let old = old.ok_or_else(|| Refused::not_found(ask.resource, &ask.name))?;
    let mut new = old.clone();
    match carried.content.as_str() {
        "application/merge-patch+json" => merge::json_merge(&mut new, &carried.body),
        "application/strategic-merge-patch+json" => merge::merge("", &mut new, &carried.body, true),
        "application/json-patch+json" => merge::json_patch(&mut new, &carried.body)?,
        other => {
            let message = format!(
                "the body of the request was in an unknown format ({other}) - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, \
                 application/apply-patch+yaml"
            );
            return Err(Refused::new(415, "UnsupportedMediaType", message, Value::Null));
        }
    }
    let manager = carried.manager(ask).to_owned();
    put_changed(store, ask, &old, new, Some(&manager)).map(|object| (200, object))
}

fn apply(store: &mut Store, ask: &Ask, old: Option<Value>, body: &Value) -> Answer<(u16, Value)> {
    let Some(manager) = ask.text("fieldManager") else {
        let message =
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
        return Err(Refused::new(422, "Invalid", message, Value::Null));
    };
    let mut wanted = body.clone();
    complete(ask.resource, &mut wanted)?;
    if body["apiVersion"].is_null() || body["kind"].is_null() {
        return Err(Refused::bad("invalid object type: /, Kind="));
    }
    if body["metadata"]["managedFields"].as_array().is_some_and(|list| !list.is_empty()) {
        return Err(Refused::bad("metadata.managedFields must be nil"));
    }
    if let Some(map) = wanted.as_object_mut()
        && ask.resource.status
        && ask.sub.is_empty()
    {
        map.remove("status");
    }
    wanted["metadata"]["name"] = json!(ask.name);
    let Some(old) = old else {
        if !ask.sub.is_empty() {
            return Err(Refused::not_found(ask.resource, &ask.name));
        }
        namespace_is_open(store, ask)?;
        let blank = json!({"metadata": {"name": ask.name}});
        let object = owners::applied(ask.resource, manager, "", false, &blank, &wanted)?;
        return put_new(store, ask, object, |_| {}).map(|object| (201, object));
    };
    let new = owners::applied(ask.resource, manager, &ask.sub, ask.yes("force"), &old, &wanted)?;
    put_changed(store, ask, &old, new, None).map(|object| (200, object))
}
