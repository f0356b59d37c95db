//! Label and field selectors.

use serde_json::Value;

use super::resources::Resource;
use super::status::{Answer, Refused};

#[derive(Clone, Debug)]
enum Label {
    Is(String, Vec<String>),
    IsNot(String, Vec<String>),
    Has(String),
    HasNot(String),
}

/// What an object must be like to be shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<Label>,
    fields: Vec<(String, bool, String)>,
}

/// Splits at commas that are not within parentheses.
fn terms(text: &str) -> Vec<String> {
    let mut depth = 0;
    let mut all = vec![String::new()];
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if letter == ',' && depth == 0 {
            all.push(String::new());
        } else {
            all.last_mut().expect("never empty").push(letter);
        }
    }
    all.into_iter().map(|term| term.trim().to_owned()).filter(|term| !term.is_empty()).collect()
}

fn label(term: &str) -> Answer<Label> {
    let one = |text: &str| vec![text.trim().to_owned()];
    if let Some((key, value)) = term.split_once("!=") {
        return Ok(Label::IsNot(key.trim().to_owned(), one(value)));
    }
    if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return Ok(Label::Is(key.trim().to_owned(), one(value)));
    }
    if let Some(key) = term.strip_prefix('!') {
        return Ok(Label::HasNot(key.trim().to_owned()));
    }
    for (word, not) in [(" notin ", true), (" in ", false)] {
        if let Some((key, set)) = term.split_once(word) {
            let set = set.trim().trim_start_matches('(').trim_end_matches(')');
            let set = set.split(',').map(|value| value.trim().to_owned()).collect();
            let key = key.trim().to_owned();
            return Ok(if not { Label::IsNot(key, set) } else { Label::Is(key, set) });
        }
    }
    if term.contains(char::is_whitespace) {
        return Err(Refused::bad(format!("unable to parse requirement: {term}")));
    }
    Ok(Label::Has(term.to_owned()))
}

impl Selector {
    pub(crate) fn read(resource: &Resource, labels: Option<&str>, fields: Option<&str>) -> Answer<Self> {
        let labels = terms(labels.unwrap_or("")).iter().map(|term| label(term)).collect::<Answer<Vec<_>>>()?;
        let mut read = Vec::new();
        for term in terms(fields.unwrap_or("")) {
            let (key, is, value) = term
                .split_once("!=")
                .map(|(key, value)| (key, false, value))
                .or_else(|| term.split_once("==").map(|(key, value)| (key, true, value)))
                .or_else(|| term.split_once('=').map(|(key, value)| (key, true, value)))
                .ok_or_else(|| Refused::bad(format!("invalid selector: '{term}'; can't understand '{term}'")))?;
            let known = matches!(key, "metadata.name" | "metadata.namespace")
                || (resource.plural == "pods"
                    && matches!(
                        key,
                        "spec.nodeName"
                            | "status.phase"
                            | "spec.schedulerName"
                            | "spec.restartPolicy"
                            | "spec.serviceAccountName"
                            | "status.podIP"
                    ))
                || (resource.plural == "nodes" && key == "spec.unschedulable")
                || (resource.plural == "namespaces" && key == "status.phase")
                || (resource.plural == "secrets" && key == "type")
                || (resource.plural == "events"
                    && (key.starts_with("involvedObject.") || matches!(key, "reason" | "type" | "source")));
            if !known {
                return Err(Refused::bad(format!("field label not supported: {key}")));
            }
            read.push((key.to_owned(), is, value.to_owned()));
        }
        Ok(Self { labels, fields: read })
    }

    pub(crate) fn takes(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels.iter().all(|label| match label {
            Label::Is(key, values) => labels[key].as_str().is_some_and(|is| values.iter().any(|value| value == is)),
            Label::IsNot(key, values) => labels[key].as_str().is_none_or(|is| values.iter().all(|value| value != is)),
            Label::Has(key) => labels[key].is_string(),
            Label::HasNot(key) => !labels[key].is_string(),
        }) && self.fields.iter().all(|(key, is, value)| {
            let at = key.split('.').fold(object, |at, part| &at[part]);
            let found = match at {
                Value::String(text) => text.clone(),
                Value::Null if key == "spec.unschedulable" => "false".to_owned(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            (found == *value) == *is
        })
    }
}
