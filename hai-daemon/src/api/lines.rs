//! Answers of one JSON object a line, written by a thread that may block while they are sent.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::oneshot;
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
    runtime: Handle,
    /// How long the reader may take nothing.
    stall: Duration,
    chunk: Vec<u8>,
}

impl Lines {
    /// Adds a line; waits if the reader is slow, but not for ever: a place among those who read is held meanwhile.
    pub(super) fn line(&mut self, text: &str) -> Result<(), WalkError> {
        self.chunk.extend_from_slice(text.as_bytes());
        self.chunk.push(b'\n');
        if self.chunk.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), WalkError> {
        let chunk = std::mem::take(&mut self.chunk);
        self.send(Ok(chunk.into()))
    }

    fn send(&self, chunk: Result<Bytes, WalkError>) -> Result<(), WalkError> {
        let sent = self.runtime.block_on(self.sender.send_timeout(chunk, self.stall));
        sent.map_err(|error| match error {
            SendTimeoutError::Timeout(_) => WalkError::Stalled(self.stall),
            SendTimeoutError::Closed(_) => WalkError::Gone,
        })
    }
}

/// The answer that `write` writes. What goes wrong before the first piece is sent becomes a problem document; what goes
/// wrong later breaks the answer off, so that nobody takes a part for the whole.
pub(super) async fn respond(
    stall: Duration,
    write: impl FnOnce(&mut Lines) -> Result<(), WalkError> + Send + 'static,
) -> Result<Response, ApiError> {
    let (sender, mut receiver) = channel(CHUNKS_MAX);
    let (whole, is_whole) = oneshot::channel();
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut lines = Lines { sender, runtime, stall, chunk: Vec::new() };
        match write(&mut lines).and_then(|()| lines.flush()) {
            Ok(()) => drop(whole.send(())),
            Err(WalkError::Gone) => {}
            Err(error @ WalkError::Stalled(_)) => tracing::info!(%error, "an answer is broken off"),
            // Whoever reads may have gone meanwhile.
            Err(error) => drop(lines.send(Err(error))),
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
    // A writer that gave up, or failed, had no way to say so if the reader was slow.
    let end = once(is_whole).then(|is_whole| is_whole).filter_map(|end| {
        let broken_off = |_| io::Error::other("the answer is broken off");
        end.map_err(broken_off).err().map(Err)
    });
    let body = Body::from_stream(once(Ok::<_, io::Error>(first)).chain(rest).chain(end));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}
