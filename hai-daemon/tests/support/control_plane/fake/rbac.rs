//! Who asks, and whether they may: bearer tokens, impersonation, and rules out of the stored roles.

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::request::Ask;
use super::resources::Resource;
use super::status::{Answer, Refused, details};
use super::store::Store;

/// Somebody who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: String,
    pub(crate) groups: Vec<String>,
}

/// What somebody wants to do.
#[derive(Debug, Default)]
pub(crate) struct Wish<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) plural: &'a str,
    pub(crate) sub: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

/// Who sent this: `tokens` says whose token is whose.
pub(crate) fn identify(headers: &HeaderMap, tokens: &[(String, Identity)]) -> Answer<(Identity, Option<Identity>)> {
    let said = headers.get("authorization").and_then(|value| value.to_str().ok());
    let mut who = match said.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(token) => {
            let known = tokens.iter().find(|(known, _)| known == token).ok_or_else(Refused::unauthorized)?;
            let mut who = known.1.clone();
            who.groups.push("system:authenticated".to_owned());
            who
        }
        None if said.is_some() => return Err(Refused::unauthorized()),
        None => Identity { user: "system:anonymous".to_owned(), groups: vec!["system:unauthenticated".to_owned()] },
    };
    let Some(user) = headers.get("impersonate-user").and_then(|value| value.to_str().ok()) else {
        return Ok((who, None));
    };
    let mut groups: Vec<String> = headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .map(str::to_owned)
        .collect();
    if let Some(("system:serviceaccount", rest)) =
        user.match_indices(':').nth(1).map(|(at, _)| (&user[..at], &user[at + 1..]))
        && groups.is_empty()
        && let Some((namespace, _)) = rest.split_once(':')
    {
        groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    }
    groups.push("system:authenticated".to_owned());
    let really = std::mem::replace(&mut who, Identity { user: user.to_owned(), groups });
    Ok((who, Some(really)))
}

fn has(list: &Value, wanted: &[&str]) -> bool {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).any(|item| wanted.contains(&item))
}

fn allows(rules: &Value, wish: &Wish<'_>) -> bool {
    let full = if wish.sub.is_empty() { wish.plural.to_owned() } else { format!("{}/{}", wish.plural, wish.sub) };
    let any_sub = format!("*/{}", wish.sub);
    rules.as_array().into_iter().flatten().any(|rule| {
        let named = rule["resourceNames"].as_array().is_none_or(Vec::is_empty)
            || (!wish.name.is_empty() && has(&rule["resourceNames"], &[wish.name]));
        let resource =
            has(&rule["resources"], &["*", &full]) || (!wish.sub.is_empty() && has(&rule["resources"], &[&any_sub]));
        named && resource && has(&rule["verbs"], &["*", wish.verb]) && has(&rule["apiGroups"], &["*", wish.group])
    })
}

fn bound(binding: &Value, who: &Identity, here: &str) -> bool {
    binding["subjects"].as_array().into_iter().flatten().any(|subject| {
        let name = subject["name"].as_str().unwrap_or("");
        match subject["kind"].as_str() {
            Some("User") => name == who.user,
            Some("Group") => who.groups.iter().any(|group| group == name),
            Some("ServiceAccount") => {
                let namespace = subject["namespace"].as_str().unwrap_or(here);
                who.user == format!("system:serviceaccount:{namespace}:{name}")
            }
            _ => false,
        }
    })
}

fn rules<'a>(store: &'a Store, binding: &Value, namespace: &str) -> Option<&'a Value> {
    let (kind, within) = match binding["roleRef"]["kind"].as_str()? {
        "ClusterRole" => ("clusterroles", ""),
        _ => ("roles", namespace),
    };
    let resource = Resource::find("rbac.authorization.k8s.io", "v1", kind)?;
    let key = (within.to_owned(), binding["roleRef"]["name"].as_str()?.to_owned());
    Some(&store.get(resource, &key)?["rules"])
}

/// Whether `who` may do `wish`, by the roles and bindings that are stored.
pub(crate) fn may(store: &Store, who: &Identity, wish: &Wish<'_>) -> bool {
    if who.groups.iter().any(|group| group == "system:masters") {
        return true;
    }
    let find = |plural| Resource::find("rbac.authorization.k8s.io", "v1", plural).expect("a kind there is");
    let everywhere = store
        .all(find("clusterrolebindings"))
        .filter(|(_, binding)| bound(binding, who, ""))
        .any(|(_, binding)| rules(store, binding, "").is_some_and(|rules| allows(rules, wish)));
    everywhere
        || (!wish.namespace.is_empty()
            && store
                .all(find("rolebindings"))
                .filter(|((namespace, _), binding)| namespace == wish.namespace && bound(binding, who, namespace))
                .any(|((namespace, _), binding)| {
                    rules(store, binding, namespace).is_some_and(|rules| allows(rules, wish))
                }))
}

fn forbidden(who: &Identity, wish: &Wish<'_>) -> Refused {
    let resource = if wish.sub.is_empty() { wish.plural.to_owned() } else { format!("{}/{}", wish.plural, wish.sub) };
    let qualified =
        if wish.group.is_empty() { wish.plural.to_owned() } else { format!("{}.{}", wish.plural, wish.group) };
    let named = if wish.name.is_empty() { String::new() } else { format!(" \"{}\"", wish.name) };
    let place = if wish.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{}\"", wish.namespace)
    };
    let message = format!(
        "{qualified}{named} is forbidden: User \"{}\" cannot {} resource \"{resource}\" in API group \"{}\" {place}",
        who.user, wish.verb, wish.group
    );
    Refused::new(403, "Forbidden", message, details(wish.group, wish.plural, wish.name))
}

/// Refuses what `who` may not do.
pub(crate) fn authorize(store: &Store, who: &Identity, really: Option<&Identity>, ask: &Ask) -> Answer<()> {
    if let Some(really) = really {
        let wish = Wish { verb: "impersonate", plural: "users", name: &who.user, ..Wish::default() };
        if !may(store, really, &wish) {
            return Err(forbidden(really, &wish));
        }
    }
    // A namespace itself is asked for within itself, as a real server has it.
    let namespace = if ask.resource.plural == "namespaces" { &ask.name } else { &ask.namespace };
    let wish = Wish {
        verb: ask.verb,
        group: ask.resource.group,
        plural: ask.resource.plural,
        sub: &ask.sub,
        namespace,
        name: &ask.name,
    };
    if may(store, who, &wish) { Ok(()) } else { Err(forbidden(who, &wish)) }
}

/// The token of a pod's service account. A real one is signed; this one is just as good within this process.
pub(crate) fn account_token(store: &Store, ask: &Ask, mut body: Value) -> Answer<Value> {
    let pods = Resource::find("", "v1", "pods").expect("a kind there is");
    let bound = body["spec"]["boundObjectRef"].clone();
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let (pod, uid) = (text(&bound["name"]), text(&bound["uid"]));
    let there = store.get(pods, &(ask.namespace.clone(), pod.clone()));
    if !pod.is_empty() && there.is_none_or(|there| there["metadata"]["uid"] != bound["uid"]) {
        return Err(Refused::new(409, "Conflict", "the pod is another one", details("", "serviceaccounts", &ask.name)));
    }
    if there.is_some_and(|there| there["spec"]["serviceAccountName"] != ask.name) {
        let message = format!(
            "cannot bind token for serviceaccount \"{}\" to pod running with different serviceaccount name.",
            ask.name
        );
        return Err(Refused::bad(message));
    }
    let audience = text(&body["spec"]["audiences"][0]);
    body["status"] = json!({
        "token": format!("played.{}.{}", [&ask.namespace, &ask.name, &pod, &uid, &audience].map(String::as_str).join("~"), "x"),
        "expirationTimestamp": "2100-01-01T00:00:00Z",
    });
    Ok(body)
}

/// Answers whose token it is: those that [`account_token`] gave, as long as the pod is there.
fn whose(store: &Store, mut body: Value) -> Value {
    let token = body["spec"]["token"].as_str().unwrap_or("").to_owned();
    let parts: Vec<&str> = token.split('.').nth(1).unwrap_or("").split('~').collect();
    let wanted = body["spec"]["audiences"][0].clone();
    let pods = Resource::find("", "v1", "pods").expect("a kind there is");
    body["status"] = match parts.as_slice() {
        [namespace, account, pod, uid, audience]
            if wanted == *audience
                && store
                    .get(pods, &((*namespace).to_owned(), (*pod).to_owned()))
                    .is_some_and(|pod| pod["metadata"]["uid"] == *uid) =>
        {
            json!({
                "authenticated": true, "audiences": [audience],
                "user": {"username": format!("system:serviceaccount:{namespace}:{account}"), "uid": "1", "groups": [], "extra": {
                    "authentication.kubernetes.io/pod-name": [pod], "authentication.kubernetes.io/pod-uid": [uid]}},
            })
        }
        _ => json!({"error": "invalid bearer token", "user": {}}),
    };
    body
}

/// Answers a review of what somebody may do, or of whose a token is.
pub(crate) fn review(store: &Store, who: &Identity, kind: &str, mut body: Value) -> Answer<Value> {
    if kind == "tokenreviews" {
        let wish = Wish { verb: "create", group: "authentication.k8s.io", plural: kind, ..Wish::default() };
        return if may(store, who, &wish) { Ok(whose(store, body)) } else { Err(forbidden(who, &wish)) };
    }
    if kind != "selfsubjectaccessreviews" {
        return Err(Refused::unknown_path());
    }
    if !who.groups.iter().any(|group| group == "system:authenticated") {
        let wish = Wish { verb: "create", group: "authorization.k8s.io", plural: kind, ..Wish::default() };
        return Err(forbidden(who, &wish));
    }
    let about = body["spec"]["resourceAttributes"].clone();
    let text = |key: &str| about[key].as_str().unwrap_or("");
    let wish = Wish {
        verb: text("verb"),
        group: text("group"),
        plural: text("resource"),
        sub: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
    };
    body["status"] = json!({"allowed": may(store, who, &wish)});
    body["kind"] = json!("SelfSubjectAccessReview");
    body["apiVersion"] = json!("authorization.k8s.io/v1");
    Ok(body)
}
