//! A small HTTP client for one user.

use std::io::{BufRead, BufReader, Read};
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::{Receiver, channel};
use ureq::http::{Request, Response};
use ureq::{Agent, Body};

/// Far more than anything here takes; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

static AGENT: LazyLock<Agent> = LazyLock::new(|| {
    Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .timeout_global(Some(PATIENCE))
        .build()
        .into()
});

/// Speaks to one server as one user.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) base: String,
    pub(crate) token: Option<String>,
}

/// An answer that was read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], Vec::new()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, &[], Vec::new()).await
    }

    /// A POST with nothing in it.
    pub(crate) async fn act(&self, path: &str) -> Reply {
        self.send("POST", path, &[], Vec::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.json("POST", path, body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Reply {
        self.json("PUT", path, body.to_string()).await
    }

    /// Sends `body`, which is said to be JSON.
    pub(crate) async fn json(&self, method: &str, path: &str, body: impl Into<Vec<u8>>) -> Reply {
        self.send(method, path, &[("content-type", "application/json")], body.into()).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
        let request = self.request(method, path, headers, body);
        let sent = tokio::task::spawn_blocking(move || {
            let mut response = open(request);
            let status = response.status().as_u16();
            let headers = response.headers().iter();
            let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()));
            let headers = headers.collect();
            let body = response.body_mut().read_to_vec().expect("a whole body");
            Reply { status, headers, body }
        });
        sent.await.expect("no panic")
    }

    /// The lines of an answer that goes on; the sender's end closes with the answer.
    pub(crate) fn lines(&self, path: &str, headers: &[(&str, &str)]) -> Receiver<String> {
        let request = self.request("GET", path, headers, Vec::new());
        let (sender, receiver) = channel(1024);
        // Not waited for: it ends when the server ends the answer, or nobody wants its lines.
        tokio::task::spawn_blocking(move || {
            let response = open(request);
            assert_eq!(response.status().as_u16(), 200);
            for line in BufReader::new(response.into_body().into_reader()).lines() {
                let Ok(line) = line else { return };
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        receiver
    }

    /// All bytes of an answer that goes on.
    pub(crate) async fn all(&self, path: &str) -> Vec<u8> {
        let request = self.request("GET", path, &[], Vec::new());
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            open(request).into_body().into_reader().read_to_end(&mut bytes).expect("a whole body");
            bytes
        });
        read.await.expect("no panic")
    }

    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Request<Vec<u8>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(body).expect("a request")
    }
}

fn open(request: Request<Vec<u8>>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let sent = match body.is_empty() {
        true => AGENT.run(Request::from_parts(parts, ())),
        false => AGENT.run(Request::from_parts(parts, body)),
    };
    sent.expect("an answer")
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    /// The body of an answer that must have this status.
    #[track_caller]
    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The problem document of an answer that must be this one.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, kind: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem: Value = serde_json::from_slice(&self.body).expect("JSON");
        assert_eq!(problem["type"], format!("/problems/{kind}"), "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
        problem
    }
}
