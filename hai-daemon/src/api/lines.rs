//! Answers of one JSON object a line, written by a thread that may block while they are sent.

use std::io;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{StreamExt as _, once};

use super::problem::ApiError;
use super::walk::WalkError;

/// How much is sent at a time, in bytes.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that wait for a slow reader.
const CHUNKS_MAX: usize = 4;

/// Where lines go.
#[derive(Debug)]
pub(super) struct Lines {
    sender: Sender<Result<Bytes, WalkError>>,
    chunk: Vec<u8>,
}

impl Lines {
    /// Adds a line; waits if the reader is slow.
    pub(super) fn line(&mut self, text: &str) -> Result<(), WalkError> {
        self.chunk.extend_from_slice(text.as_bytes());
        self.chunk.push(b'\n');
        if self.chunk.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), WalkError> {
        let chunk = std::mem::take(&mut self.chunk);
        self.sender.blocking_send(Ok(chunk.into())).map_err(|_| WalkError::Gone)
    }
}

/// The answer that `write` writes. What goes wrong before the first piece is sent becomes a problem document; what goes
/// wrong later breaks the answer off, so that nobody takes a part for the whole.
pub(super) async fn respond(
    write: impl FnOnce(&mut Lines) -> Result<(), WalkError> + Send + 'static,
) -> Result<Response, ApiError> {
    let (sender, mut receiver) = channel(CHUNKS_MAX);
    tokio::task::spawn_blocking(move || {
        let mut lines = Lines { sender, chunk: Vec::new() };
        match write(&mut lines).and_then(|()| lines.flush()) {
            Ok(()) | Err(WalkError::Gone) => {}
            // Whoever reads may have gone meanwhile.
            Err(error) => drop(lines.sender.blocking_send(Err(error))),
        }
    });
    let first = match receiver.recv().await {
        Some(Ok(first)) => first,
        Some(Err(error)) => return Err(error.into()),
        None => return Err(ApiError::internal("the answer could not be written", &WalkError::Gone)),
    };
    let rest = ReceiverStream::new(receiver).map(|chunk| {
        chunk.map_err(|error| {
            tracing::error!(%error, "an answer is broken off");
            io::Error::other(error)
        })
    });
    let body = Body::from_stream(once(Ok::<_, io::Error>(first)).chain(rest));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}
