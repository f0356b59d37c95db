//! Lists: what is selected, as it was at one version, in pages.

use serde_json::{Value, json};

use super::request::Ask;
use super::select::Selector;
use super::status::{Answer, Refused};
use super::store::{Key, Store};

pub(crate) fn selector(ask: &Ask) -> Answer<Selector> {
    Selector::read(ask.resource, ask.text("labelSelector"), ask.text("fieldSelector"))
}

pub(crate) fn list(store: &Store, ask: &Ask) -> Answer<Value> {
    let select = selector(ask)?;
    let limit = ask.number("limit")?.filter(|limit| *limit > 0);
    let asked = ask.number("resourceVersion")?.unwrap_or(0);
    if asked > store.rv() {
        let message = format!("Timeout: Too large resource version: {asked}, current: {}", store.rv());
        return Err(Refused::new(504, "Timeout", message, Value::Null));
    }
    // A page after the first shows what was when the first was asked for.
    let (rv, after) = match ask.text("continue") {
        Some(token) => {
            let bad = || Refused::bad("continue key is not valid: it can not be read");
            let (rv, after) = token.split_once('.').ok_or_else(bad)?;
            let bytes: Option<Vec<u8>> =
                (0..after.len() / 2).map(|at| u8::from_str_radix(&after[2 * at..2 * at + 2], 16).ok()).collect();
            let after = String::from_utf8(bytes.ok_or_else(bad)?).map_err(|_| bad())?;
            let (namespace, name) = after.split_once('/').ok_or_else(bad)?;
            (rv.parse().map_err(|_| bad())?, Some((namespace.to_owned(), name.to_owned())))
        }
        None if ask.text("resourceVersionMatch") == Some("Exact") => (asked, None),
        None => (store.rv(), None),
    };
    let then = store.at(ask.resource, rv).ok_or_else(|| {
        Refused::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list \
             without the continue parameter, or use the continue token in this response to retrieve the remainder of \
             the results.",
        )
    })?;
    let mut items = Vec::new();
    let mut last: Option<&Key> = None;
    let mut left = 0;
    for (key, object) in &then {
        let here = ask.namespace.is_empty() || key.0 == ask.namespace;
        if !here || after.as_ref().is_some_and(|after| key <= after) || !select.takes(object) {
            continue;
        }
        if limit.is_some_and(|limit| items.len() as u64 == limit) {
            left += 1;
            continue;
        }
        let mut object = object.clone();
        if let Some(map) = object.as_object_mut() {
            map.remove("apiVersion");
            map.remove("kind");
        }
        items.push(object);
        last = Some(key);
    }
    let mut meta = json!({"resourceVersion": rv.to_string()});
    if let (true, Some(key)) = (left > 0, last) {
        let hex: String = format!("{}/{}", key.0, key.1).bytes().map(|byte| format!("{byte:02x}")).collect();
        meta["continue"] = json!(format!("{rv}.{hex}"));
        if ask.text("labelSelector").is_none() && ask.text("fieldSelector").is_none() {
            meta["remainingItemCount"] = json!(left);
        }
    }
    Ok(json!({
        "kind": format!("{}List", ask.resource.kind), "apiVersion": ask.resource.api_version(),
        "metadata": meta, "items": items,
    }))
}
