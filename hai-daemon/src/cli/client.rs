//! Speaks HTTP with the daemon: one request, one answer or one error that says what to do.

use std::io::Read;
use std::time::Duration;

use hai_core::model::{RunId, TaskId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{Method, Request, Response};
use ureq::{Agent, Body};

use super::access::Access;
use super::error::CliError;
use crate::api::wire::{LogQuery, Problem, header};

/// A server that takes longer to be reached is down.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// A server that takes longer to answer hangs.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// A daemon, and who asks it.
#[derive(Debug)]
pub struct Client {
    access: Access,
    agent: Agent,
    /// For answers that go on as long as a task runs.
    patient: Agent,
}

/// What the daemon answered, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The body.
    pub body: String,
    server: String,
    server_origin: String,
}

/// A part of a worker's output, as it comes.
pub struct LogStream {
    /// The run that it is of.
    pub run: Option<RunId>,
    /// The offset of the first byte.
    pub offset: u64,
    /// The bytes.
    pub bytes: Box<dyn Read>,
}

impl std::fmt::Debug for LogStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogStream").field("run", &self.run).field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl Client {
    /// A client; nothing is sent yet.
    #[must_use]
    pub fn new(access: Access) -> Self {
        let agent = |answer_time: Option<Duration>| {
            let config = Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .timeout_connect(Some(CONNECT_TIME_MAX))
                .timeout_recv_response(answer_time)
                .user_agent(concat!("hai/", env!("CARGO_PKG_VERSION")));
            // A proxy can not reach this machine by its own name for itself.
            let config = if access.is_loopback() { config.proxy(None) } else { config };
            Agent::new_with_config(config.build())
        };
        Client { agent: agent(Some(ANSWER_TIME_MAX)), patient: agent(None), access }
    }

    /// Whom it speaks to, and as whom.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Asks for something; the fields of `query` become parameters.
    ///
    /// # Errors
    /// [`CliError`].
    pub fn get(&self, path: &str, query: &impl Serialize) -> Result<Answer, CliError> {
        self.call(&Method::GET, path, query, None::<&()>)
    }

    /// Sends something.
    ///
    /// # Errors
    /// [`CliError`].
    pub fn send(&self, method: &Method, path: &str, body: Option<&impl Serialize>) -> Result<Answer, CliError> {
        self.call(method, path, &(), body)
    }

    /// Takes something away.
    ///
    /// # Errors
    /// [`CliError`].
    pub fn delete(&self, path: &str, query: &impl Serialize) -> Result<(), CliError> {
        self.call(&Method::DELETE, path, query, None::<&()>).map(drop)
    }

    /// Asks for a worker's output.
    ///
    /// # Errors
    /// [`CliError`].
    pub fn logs(&self, task: TaskId, query: &LogQuery) -> Result<LogStream, CliError> {
        let agent = if query.follow { &self.patient } else { &self.agent };
        let response = self.request(agent, &Method::GET, &format!("/v1/tasks/{task}/logs"), query, None::<&()>)?;
        let number = |name: &str| response.headers().get(name)?.to_str().ok()?.parse::<u64>().ok();
        let (run, offset) = (number(header::RUN), number(header::OFFSET));
        let offset = offset.ok_or_else(|| self.not_hai(format!("its answer lacks the header {}", header::OFFSET)))?;
        let reader = response.into_body().into_with_config().limit(u64::MAX).reader();
        Ok(LogStream { run: run.map(RunId), offset, bytes: Box::new(reader) })
    }

    /// Asks for something that may be long, to be read as it comes.
    ///
    /// # Errors
    /// [`CliError`].
    pub fn stream(&self, path: &str, query: &impl Serialize) -> Result<Box<dyn Read>, CliError> {
        let response = self.request(&self.patient, &Method::GET, path, query, None::<&()>)?;
        Ok(Box::new(response.into_body().into_with_config().limit(u64::MAX).reader()))
    }

    fn call(
        &self,
        method: &Method,
        path: &str,
        query: &impl Serialize,
        body: Option<&impl Serialize>,
    ) -> Result<Answer, CliError> {
        let response = self.request(&self.agent, method, path, query, body)?;
        let body = self.read(response)?;
        let (server, server_origin) = (self.access.server.clone(), self.access.server_origin.clone());
        Ok(Answer { body, server, server_origin })
    }

    fn request(
        &self,
        agent: &Agent,
        method: &Method,
        path: &str,
        query: &impl Serialize,
        body: Option<&impl Serialize>,
    ) -> Result<Response<Body>, CliError> {
        let access = &self.access;
        let token = access.token.as_ref().ok_or_else(|| CliError::NoToken { server: access.server.clone() })?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}{}", access.server, parameters(query)))
            .header("authorization", format!("Bearer {token}"));
        let built = |error: ureq::http::Error| {
            CliError::Usage(format!(
                "address or token ({}) has characters that can not be sent: {error}",
                access.token_origin
            ))
        };
        let response = match body {
            None => agent.run(request.body(()).map_err(built)?),
            Some(body) => {
                let json = serde_json::to_string(body).map_err(|error| CliError::Usage(error.to_string()))?;
                agent.run(request.header("content-type", "application/json").body(json).map_err(built)?)
            }
        };
        let response = response.map_err(|error| self.unreachable(&error))?;
        match response.status().as_u16() {
            200..=299 => Ok(response),
            401 => Err(CliError::Unauthorized { server: access.server.clone(), origin: access.token_origin.clone() }),
            status => {
                let body = self.read(response)?;
                Err(match serde_json::from_str::<Problem>(&body) {
                    Ok(problem) => CliError::Refused(Box::new(problem)),
                    Err(_) => self.not_hai(format!("it answers with status {status} to {path}")),
                })
            }
        }
    }

    fn read(&self, response: Response<Body>) -> Result<String, CliError> {
        let body = response.into_body().into_with_config().limit(ANSWER_BYTES_MAX).lossy_utf8(true);
        body.read_to_string().map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &ureq::Error) -> CliError {
        match error {
            ureq::Error::Protocol(error) => self.not_hai(error.to_string()),
            error => self.lost(error),
        }
    }

    /// The connection broke, or there was none.
    pub(crate) fn lost(&self, error: &impl ToString) -> CliError {
        CliError::Unreachable {
            server: self.access.server.clone(),
            origin: self.access.server_origin.clone(),
            reason: error.to_string().trim_start_matches("io: ").to_owned(),
        }
    }

    fn not_hai(&self, reason: String) -> CliError {
        let Access { server, server_origin, .. } = &self.access;
        CliError::NotHai { server: server.clone(), origin: server_origin.clone(), reason }
    }
}

impl Answer {
    /// What the body says.
    ///
    /// # Errors
    /// [`CliError::NotHai`] if it does not say that.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, CliError> {
        serde_json::from_str(&self.body).map_err(|error| CliError::NotHai {
            server: self.server.clone(),
            origin: self.server_origin.clone(),
            reason: error.to_string(),
        })
    }
}

/// The fields of `query` that are set, as `?name=value&…`.
fn parameters(query: &impl Serialize) -> String {
    // Queries are plain structures, which always have a form as JSON.
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(query) else { return String::new() };
    let mut out = String::new();
    for (name, value) in fields {
        let text = match value {
            serde_json::Value::Null => continue,
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        out.push(if out.is_empty() { '?' } else { '&' });
        out.push_str(&encoded(&name));
        out.push('=');
        out.push_str(&encoded(&text));
    }
    out
}

/// The text as a part of a path or a query.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::TaskQuery;

    #[test]
    fn parameters_are_encoded_and_empty_ones_left_out() {
        let query = TaskQuery {
            name: Some("a b&c=ü".to_owned()),
            limit: Some(3),
            before: Some(TaskId(7)),
            ..Default::default()
        };
        assert_eq!(parameters(&query), "?before=7&limit=3&name=a%20b%26c%3D%C3%BC");
        assert_eq!(parameters(&()), "");
    }
}
