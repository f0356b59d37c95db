//! Watches: what was, what changes, bookmarks, and the word that it was asked too late.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Response, header};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use super::Server;
use super::list;
use super::request::Ask;
use super::select::Selector;
use super::status::{Answer, Refused};

/// How long a watch may be silent before it says how far it is.
const BOOKMARK_AFTER: Duration = Duration::from_secs(1);

struct Watch {
    server: Arc<Server>,
    ask: Ask,
    select: Selector,
    out: mpsc::Sender<Result<Bytes, std::convert::Infallible>>,
}

impl Watch {
    async fn say(&self, kind: &str, object: &Value) -> Option<()> {
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        self.out.send(Ok(Bytes::from(line))).await.ok()
    }

    async fn bookmark(&self, rv: u64, initial: bool) -> Option<()> {
        let mut object = json!({
            "kind": self.ask.resource.kind, "apiVersion": self.ask.resource.api_version(),
            "metadata": {"resourceVersion": rv.to_string(), "creationTimestamp": null},
        });
        if initial {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        self.say("BOOKMARK", &object).await
    }

    fn takes(&self, namespace: &str, object: Option<&Value>) -> bool {
        let here = self.ask.namespace.is_empty() || self.ask.namespace == namespace;
        here && object.is_some_and(|object| self.select.takes(object))
    }

    /// Sends until the time is over, the reader left, or the server dropped all watches.
    async fn run(self, asked: Option<u64>, initial: bool, ends: Instant, bookmarks: bool) -> Option<()> {
        let generation = self.server.watches();
        let mut news = self.server.news.subscribe();
        let mut at = match asked {
            Some(rv) if rv > 0 && !initial => rv,
            _ => {
                let (rv, all) = {
                    let store = self.server.store();
                    (store.rv(), store.at(self.ask.resource, store.rv()).unwrap_or_default())
                };
                for ((namespace, _), object) in &all {
                    if self.takes(namespace, Some(object)) {
                        self.say("ADDED", object).await?;
                    }
                }
                if initial && bookmarks {
                    self.bookmark(rv, true).await?;
                }
                rv
            }
        };
        let mut marked = at;
        loop {
            news.borrow_and_update();
            if self.server.watches() != generation {
                return None;
            }
            let (changes, rv, oldest) = {
                let store = self.server.store();
                (store.since(self.ask.resource, at), store.rv(), store.compacted())
            };
            let Some(changes) = changes else {
                let gone = Refused::expired(format!("too old resource version: {at} ({oldest})"));
                return self.say("ERROR", &gone.body).await;
            };
            for change in changes {
                let namespace = &change.key.0;
                let had = self.takes(namespace, change.before.as_ref());
                let has = self.takes(namespace, change.after.as_ref());
                let kind = match (had, has) {
                    (false, true) => "ADDED",
                    (true, true) => "MODIFIED",
                    (true, false) => "DELETED",
                    (false, false) => continue,
                };
                let told = change.after.as_ref().filter(|_| has).or(change.before.as_ref());
                let mut object = told.cloned().unwrap_or_default();
                object["metadata"]["resourceVersion"] = json!(change.rv.to_string());
                self.say(kind, &object).await?;
                marked = change.rv;
            }
            at = at.max(rv);
            tokio::select! {
                changed = news.changed() => changed.ok()?,
                () = self.out.closed() => return None,
                () = tokio::time::sleep_until(ends) => return None,
                () = tokio::time::sleep(BOOKMARK_AFTER), if bookmarks && marked < at => {
                    self.bookmark(at, false).await?;
                    marked = at;
                }
            }
        }
    }
}

pub(crate) fn start(server: &Arc<Server>, ask: Ask) -> Answer<Response<Body>> {
    let select = list::selector(&ask)?;
    let asked = ask.number("resourceVersion")?;
    let seconds = ask.number("timeoutSeconds")?.unwrap_or(1_800);
    let initial = ask.yes("sendInitialEvents");
    if initial && ask.text("resourceVersionMatch") != Some("NotOlderThan") {
        let message = "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires \
                       setting resourceVersionMatch to NotOlderThan";
        return Err(Refused::new(422, "Invalid", message, Value::Null));
    }
    let bookmarks = ask.yes("allowWatchBookmarks");
    let (out, lines) = mpsc::channel(64);
    let watch = Watch { server: server.clone(), ask, select, out };
    let ends = Instant::now() + Duration::from_secs(seconds);
    tokio::spawn(watch.run(asked, initial, ends, bookmarks));
    Ok(Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from_stream(ReceiverStream::new(lines)))
        .expect("a response"))
}
