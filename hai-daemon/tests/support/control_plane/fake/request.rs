//! What a request to the API asks for.

use std::collections::BTreeMap;

use axum::http::{Method, Uri};

use super::resources::Resource;
use super::status::{Answer, Refused};

/// A request for objects of one kind.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) verb: &'static str,
    pub(crate) resource: &'static Resource,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) sub: String,
    pub(crate) query: BTreeMap<String, String>,
}

/// A path of the API.
#[derive(Debug)]
pub(crate) enum Path {
    /// Anything outside the API proper.
    Plain(String),
    /// Reviews are asked for, not kept.
    Review(String),
    Object(Ask),
}

impl Ask {
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.query.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(crate) fn yes(&self, key: &str) -> bool {
        matches!(self.text(key), Some("true" | "1"))
    }

    pub(crate) fn number(&self, key: &str) -> Answer<Option<u64>> {
        self.text(key)
            .map(|text| text.parse().map_err(|_| Refused::bad(format!("strconv: parsing \"{text}\": invalid syntax"))))
            .transpose()
    }

    pub(crate) fn dry_run(&self) -> bool {
        self.text("dryRun") == Some("All")
    }

    pub(crate) fn key(&self) -> (String, String) {
        (self.namespace.clone(), self.name.clone())
    }
}

/// Reads `%XX` and `+`.
fn plain(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'+' => out.push(b' '),
            b'%' if at + 2 < bytes.len() => {
                let hex = std::str::from_utf8(&bytes[at + 1..at + 3]).unwrap_or("");
                match u8::from_str_radix(hex, 16) {
                    Ok(byte) => {
                        out.push(byte);
                        at += 2;
                    }
                    Err(_) => out.push(b'%'),
                }
            }
            other => out.push(other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

pub(crate) fn read(method: &Method, uri: &Uri) -> Answer<Path> {
    let query: BTreeMap<String, String> = uri
        .query()
        .unwrap_or("")
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (plain(key), plain(value)))
        .collect();
    let parts: Vec<String> = uri.path().split('/').filter(|part| !part.is_empty()).map(plain).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return Ok(Path::Plain(uri.path().to_owned())),
    };
    if matches!(group, "authorization.k8s.io" | "authentication.k8s.io") {
        return Ok(Path::Review(rest[0].to_owned()));
    }
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() && !matches!(rest, ["status" | "finalize"]) => {
            (*namespace, rest)
        }
        other => ("", other),
    };
    let (plural, name, sub) = match rest {
        [plural] => (*plural, "", ""),
        [plural, name] => (*plural, *name, ""),
        [plural, name, sub] => (*plural, *name, *sub),
        _ => return Err(Refused::unknown_path()),
    };
    let resource = Resource::find(group, version, plural).ok_or_else(Refused::unknown_path)?;
    let watching = matches!(query.get("watch").map(String::as_str), Some("true" | "1"));
    let verb = match (method.as_str(), name.is_empty()) {
        ("GET", true) if watching => "watch",
        ("GET", true) => "list",
        ("GET", false) => "get",
        ("POST", _) => "create",
        ("PUT", false) => "update",
        ("PATCH", false) => "patch",
        ("DELETE", false) => "delete",
        ("DELETE", true) => "deletecollection",
        _ => {
            let message = "the server does not allow this method on the requested resource";
            return Err(Refused::new(405, "MethodNotAllowed", message, serde_json::json!({})));
        }
    };
    Ok(Path::Object(Ask {
        verb,
        resource,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        sub: sub.to_owned(),
        query,
    }))
}
