//! The output of pods, which a real server fetches from kubelets; here a test says what they wrote.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::http::{Response, header};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Server;
use super::request::Ask;
use super::status::{Answer, Refused};

/// What pods wrote, by namespace and name.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    written: Mutex<BTreeMap<(String, String), Vec<u8>>>,
}

impl Logs {
    pub(crate) fn write(&self, namespace: &str, pod: &str, bytes: &[u8]) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.entry((namespace.to_owned(), pod.to_owned())).or_default().extend(bytes);
    }

    fn from(&self, key: &(String, String), at: usize) -> Vec<u8> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(key).and_then(|all| all.get(at..)).unwrap_or_default().to_vec()
    }
}

/// Whether a container began, and whether it is over; `None` if the pod is not there.
fn stands(server: &Server, ask: &Ask) -> Option<(bool, bool)> {
    let store = server.store();
    let pod = store.get(ask.resource, &ask.key())?;
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    let over = matches!(phase, "Succeeded" | "Failed");
    Some((over || phase == "Running", over))
}

pub(crate) fn read(server: &Arc<Server>, ask: Ask) -> Answer<Response<Body>> {
    let Some((began, _)) = stands(server, &ask) else {
        return Err(Refused::new(404, "NotFound", format!("pods \"{}\" not found", ask.name), json!({})));
    };
    if !began {
        let message = format!("container \"worker\" in pod \"{}\" is waiting to start: ContainerCreating", ask.name);
        return Err(Refused::new(400, "BadRequest", message, Value::Null));
    }
    let follow = ask.yes("follow");
    let (out, lines) = mpsc::channel::<Result<Vec<u8>, std::io::Error>>(4);
    let server = server.clone();
    tokio::spawn(async move {
        let (key, generation) = (ask.key(), server.watches());
        let mut at = 0;
        loop {
            let over = stands(&server, &ask).is_none_or(|(_, over)| over);
            let fresh = server.logs.from(&key, at);
            at += fresh.len();
            if !fresh.is_empty() && out.send(Ok(fresh)).await.is_err() {
                return;
            }
            if server.watches() != generation {
                let _ = out.send(Err(std::io::Error::other("the connection breaks"))).await;
                return;
            }
            if over || !follow {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
    Ok(Response::builder()
        .header(header::CONTENT_TYPE, "text/plain")
        .body(Body::from_stream(ReceiverStream::new(lines)))
        .expect("a response"))
}
