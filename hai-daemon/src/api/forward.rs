//! Passing on to the daemon that leads what reaches one that stands by, so that people may ask either.
//!
//! The one that stands by says itself how it is (`/healthz`, `/readyz`, `/metrics`) and what never changes. All else goes to the
//! leader as it came, the token included, and comes back as the leader answers it, also what has no end. While the leader can
//! not be reached, what is stored is shown as far as that goes without a scheduler, and changes are refused.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, Uri, header};
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use futures::StreamExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::dialect;
use super::layers::changes;
use super::problem::ApiError;
use crate::web::session;

/// Marks what was passed on once, so that two who each think that the other leads do not pass it to and fro.
const PASSED_ON: HeaderName = HeaderName::from_static("hai-passed-on");
/// About one connection alone, so not passed on (RFC 9110, section 7.6.1).
const OF_THE_CONNECTION: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// How long the leader may take to accept a connection: it is near, or gone.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// How long the leader may take before what is stored is looked at here.
const LEADER_MAX: Duration = Duration::from_secs(2);
/// How long that may take without a scheduler.
const OWN_MAX: Duration = Duration::from_secs(1);
/// How long answers that go on may go on once this daemon stops, or leads.
const GOODBYE: Duration = Duration::from_secs(2);

/// The way to the daemon that leads; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Leading {
    told: watch::Receiver<String>,
    client: Client<HttpConnector, Body>,
}

/// Why the leader did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It was not even asked.
    NotReached,
    /// It may have done what it was asked for.
    BrokenOff,
}

impl Leading {
    /// Where the leader is stands in `told`; empty as long as that is not known.
    pub(super) fn new(told: watch::Receiver<String>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_MAX));
        connector.set_nodelay(true);
        Leading { told, client: Client::builder(TokioExecutor::new()).build(connector) }
    }

    /// Where the leader is, as far as it is known.
    pub(super) fn address(&self) -> String {
        self.told.borrow().clone()
    }

    /// Answers a request, by the leader if it can be.
    pub(super) async fn answer(&self, request: Request, next: Next, closing: CancellationToken) -> Response<Body> {
        let path = request.uri().path();
        // What happens from now on is heard here too, from the database; who is signed in to the page the leader alone knows.
        let heard_here = path == "/v1/events" && !session::alone(request.headers());
        if !(path.starts_with("/v1/") || dialect::is_ours(path) || session::is_about(path)) || heard_here {
            return within(OWN_MAX, next.run(request)).await.unwrap_or_else(|| self.stands_by());
        }
        let leader = self.address();
        let reachable = !leader.is_empty() && !request.headers().contains_key(PASSED_ON);
        if changes(&request) {
            if !reachable {
                return self.stands_by();
            }
            return match self.pass_on(&leader, request, closing).await {
                Ok(response) => response,
                Err(Fault::NotReached) => self.stands_by(),
                Err(Fault::BrokenOff) => ApiError::leader_broke_off(&leader).into_response(),
            };
        }
        let (parts, _) = request.into_parts();
        let again = || Request::from_parts(parts.clone(), Body::empty());
        if !reachable {
            return within(OWN_MAX, next.run(again())).await.unwrap_or_else(|| self.stands_by());
        }
        let mut passing = std::pin::pin!(self.pass_on(&leader, again(), closing));
        let silent = match within(LEADER_MAX, passing.as_mut()).await {
            Some(Ok(response)) => return response,
            Some(Err(_)) => false,
            None => true,
        };
        let own = within(OWN_MAX, next.run(again())).await;
        let good = own.as_ref().is_some_and(|own| own.status().is_success());
        if silent
            && !good
            // It may be an answer that takes its time.
            && let Ok(response) = passing.await
        {
            return response;
        }
        own.unwrap_or_else(|| self.stands_by())
    }

    fn stands_by(&self) -> Response<Body> {
        ApiError::stands_by(&self.address()).into_response()
    }

    async fn pass_on(
        &self,
        leader: &str,
        request: Request,
        closing: CancellationToken,
    ) -> Result<Response<Body>, Fault> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        parts.uri = format!("{leader}{path}").parse::<Uri>().map_err(|_| Fault::NotReached)?;
        drop_hops(&mut parts.headers);
        parts.headers.remove(header::HOST);
        parts.headers.insert(PASSED_ON, HeaderValue::from_static("1"));
        // Extensions are of this server's connection and route.
        parts.extensions.clear();
        let answered = self.client.request(Request::from_parts(parts, body)).await;
        let response = answered.map_err(|error| {
            tracing::debug!(leader, error = &error as &dyn std::error::Error, "the leader does not answer");
            if error.is_connect() { Fault::NotReached } else { Fault::BrokenOff }
        })?;
        let (mut parts, body) = response.into_parts();
        drop_hops(&mut parts.headers);
        Ok(Response::from_parts(parts, until(Body::new(body), closing)))
    }
}

async fn within<T>(bound: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(bound, work).await.ok()
}

/// Takes out what is about the connection: what is usual, and what the header `Connection` names besides.
fn drop_hops(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in OF_THE_CONNECTION.iter().chain(&named) {
        headers.remove(name);
    }
}

/// The same body, broken off soon after `closing`: broken off, so that nobody takes a part for the whole.
fn until(body: Body, closing: CancellationToken) -> Body {
    let over = async move {
        closing.cancelled().await;
        tokio::time::sleep(GOODBYE).await;
    };
    let over = futures::stream::once(over).map(|()| Err(io::Error::other("this daemon stops")));
    let pieces = body.into_data_stream().map(|piece| piece.map_err(io::Error::other).map(Some));
    // The end has to be seen, since the other stream is not over then.
    let whole = pieces.chain(futures::stream::once(std::future::ready(Ok::<_, io::Error>(None))));
    let both = futures::stream::select(whole, over);
    let shown = both.scan((), |(), piece| std::future::ready(piece.transpose()));
    Body::from_stream(shown)
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;

    use super::*;

    #[test]
    fn what_is_about_the_connection_is_not_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("connection", "close, x-mine"), ("x-mine", "1"), ("transfer-encoding", "chunked"), ("accept", "*/*")]
        {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        drop_hops(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }

    #[tokio::test]
    async fn an_answer_that_goes_on_is_broken_off_and_one_that_ends_is_whole() {
        let closing = CancellationToken::new();
        let whole = until(Body::from("all of it"), closing.clone());
        assert_eq!(axum::body::to_bytes(whole, 100).await.expect("whole"), "all of it");
        let first = futures::stream::once(std::future::ready(Ok::<_, io::Error>(Bytes::from_static(b"a part"))));
        let endless = until(Body::from_stream(first.chain(futures::stream::pending())), closing.clone());
        let reading = tokio::spawn(axum::body::to_bytes(endless, 100));
        closing.cancel();
        assert!(reading.await.expect("no panic").is_err());
    }
}
