//! `Status`: how an API server says no.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use serde_json::{Value, json};

use super::resources::Resource;

/// A refusal.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: u16,
    pub(crate) body: Value,
}

/// What a verb gives.
pub(crate) type Answer<T> = Result<T, Refused>;

impl Refused {
    pub(crate) fn new(code: u16, reason: &str, message: impl Into<String>, details: Value) -> Self {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message.into(), "reason": reason, "code": code,
        });
        if !details.is_null() {
            body["details"] = details;
        }
        Self { code, body }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message, Value::Null)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized", Value::Null)
    }

    pub(crate) fn unknown_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource", json!({}))
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::new(404, "NotFound", message, details(resource.group, resource.plural, name))
    }

    pub(crate) fn exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message, details(resource.group, resource.plural, name))
    }

    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified());
        Self::new(409, "Conflict", message, details(resource.group, resource.plural, name))
    }

    pub(crate) fn modified(resource: &Resource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// `faults`: path of the field, what is wrong with it.
    pub(crate) fn invalid(resource: &Resource, name: &str, faults: &[(String, String)]) -> Self {
        let kind = if resource.group.is_empty() {
            resource.kind.to_owned()
        } else {
            format!("{}.{}", resource.kind, resource.group)
        };
        let said: Vec<String> = faults.iter().map(|(field, what)| format!("{field}: {what}")).collect();
        let said = if said.len() == 1 { said.concat() } else { format!("[{}]", said.join(", ")) };
        let causes: Vec<Value> = faults
            .iter()
            .map(|(field, what)| {
                let reason = match what.split(':').next() {
                    Some("Required value") => "FieldValueRequired",
                    Some("Duplicate value") => "FieldValueDuplicate",
                    Some("Not found") => "FieldValueNotFound",
                    Some("Forbidden") => "FieldValueForbidden",
                    Some("Unsupported value") => "FieldValueNotSupported",
                    _ => "FieldValueInvalid",
                };
                json!({"reason": reason, "message": what, "field": field})
            })
            .collect();
        let mut about = details(resource.group, resource.kind, name);
        about["causes"] = Value::Array(causes);
        Self::new(422, "Invalid", format!("{kind} \"{name}\" is invalid: {said}"), about)
    }

    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message, Value::Null)
    }

    pub(crate) fn response(&self) -> Response<Body> {
        respond(self.code, &self.body)
    }
}

pub(crate) fn details(group: &str, kind: &str, name: &str) -> Value {
    let mut details = json!({"name": name, "kind": kind});
    if !group.is_empty() {
        details["group"] = json!(group);
    }
    details
}

/// What a verb without an object to show answers.
pub(crate) fn success(resource: &Resource, object: &Value) -> Value {
    let mut about = details(resource.group, resource.plural, object["metadata"]["name"].as_str().unwrap_or(""));
    about["uid"] = object["metadata"]["uid"].clone();
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": about})
}

pub(crate) fn respond(code: u16, body: &Value) -> Response<Body> {
    Response::builder()
        .status(StatusCode::from_u16(code).expect("a status"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .expect("a response")
}
