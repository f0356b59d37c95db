//! The way to the API server, and what to do when there is none.

use std::time::SystemTime;

use kube::client::Body;
use kube::{Client, Error};

use super::Plan;
use crate::cluster::kubernetes::{self, Silence, chain};

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its version, e.g. `v1.33.0`.
    pub version: String,
    /// Major and minor version, if they can be told.
    pub number: Option<(u32, u32)>,
    /// How far its clock is ahead of this machine's, in seconds; `None` if it does not tell the time.
    pub ahead: Option<i64>,
}

/// Trouble, and what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong.
    pub said: String,
    /// What to do about it.
    pub fix: String,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.said, self.fix)
    }
}

impl Trouble {
    /// What is wrong and what to do.
    pub fn new(said: impl Into<String>, fix: impl Into<String>) -> Self {
        Trouble { said: said.into(), fix: fix.into() }
    }
}

/// A client by the plan's kubeconfig, or as `kubectl` would find one, or as a pod of the cluster is told.
///
/// # Errors
/// In one line, with what to do.
pub async fn client(plan: &Plan) -> Result<Client, Trouble> {
    let made = kubernetes::client(plan.kubeconfig.as_deref(), plan.context.as_deref(), Silence::OfAnswers).await;
    made.map_err(|error| Trouble::new(error.to_string(), error.fix()))
}

/// What went wrong while `what` was done, in one line, with what to do.
#[must_use]
pub fn explain(what: &str, error: &Error) -> Trouble {
    if let Error::Api(status) = error {
        let fix = match status.code {
            401 => "the API server does not know who asks: renew the credentials in the kubeconfig",
            403 => "ask as somebody who may, or let an administrator run `hai-daemon up`",
            404 => "make it first: `hai-daemon up`",
            _ => "see what the API server logs",
        };
        return Trouble::new(format!("{what} is refused: {}", status.message), fix);
    }
    let text = chain(error);
    let fix = if text.contains("refused") {
        "start it, or correct the address in the kubeconfig"
    } else if text.contains("certificate") || text.contains("UnknownIssuer") {
        "the kubeconfig's certificate-authority is not the server's"
    } else if text.contains("dns") || text.contains("lookup") {
        "its name can not be found: correct the address in the kubeconfig"
    } else {
        "see that the address in the kubeconfig can be reached from here"
    };
    Trouble::new(format!("the API server does not answer ({what}): {text}"), fix)
}

/// Asks the server who it is and what time it is.
///
/// # Errors
/// In one line, with what to do.
pub async fn server(client: &Client) -> Result<Server, Trouble> {
    let request = axum::http::Request::get("/version").body(Body::empty()).expect("a request");
    let response = client.send(request).await.map_err(|error| explain("asking for its version", &error))?;
    let now = SystemTime::now();
    let date = response.headers().get("date").and_then(|date| date.to_str().ok()).map(str::to_owned);
    let ahead = date.as_deref().and_then(|date| chrono::DateTime::parse_from_rfc2822(date).ok()).map(|date| {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        date.timestamp() - i64::try_from(now).unwrap_or(i64::MAX)
    });
    let version = client.apiserver_version().await.map_err(|error| explain("asking for its version", &error))?;
    Ok(Server { number: number(&version.git_version), version: version.git_version, ahead })
}

/// Major and minor of `v1.33.0-gke.1`.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split('.');
    let number = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    // What was not built from a release says that it is version 0.
    (number != (0, 0)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_they_are_written() {
        assert_eq!(number("v1.33.0"), Some((1, 33)));
        assert_eq!(number("v1.29.4-gke.1043002"), Some((1, 29)));
        assert_eq!(number("v1.30.2+k3s1"), Some((1, 30)));
        assert_eq!(number("v0.0.0-master+faecb19"), None);
        assert_eq!(number(""), None);
    }
}
