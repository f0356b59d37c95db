//! Hangs up on clients that take nothing of what is sent to them.
//!
//! Without this a reader that stops reading keeps its connection, and all that is held for its answer, for ever: the
//! server's side of it waits in a write that never ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A listener whose connections end when a client takes nothing for so long.
#[derive(Debug)]
pub(super) struct Stalling<L> {
    listener: L,
    stall: Duration,
}

/// A connection that ends when the other side takes nothing for so long.
#[derive(Debug)]
pub(super) struct Stalled<I> {
    io: I,
    stall: Duration,
    /// Runs while a write waits.
    patience: Option<Pin<Box<Sleep>>>,
}

impl<L> Stalling<L> {
    pub(super) fn new(listener: L, stall: Duration) -> Self {
        Stalling { listener, stall }
    }
}

impl<L: Listener> Listener for Stalling<L> {
    type Io = Stalled<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (io, address) = self.listener.accept().await;
        (Stalled { io, stall: self.stall, patience: None }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl<I> Stalled<I> {
    /// What a write that came to `written` is answered with.
    fn bounded<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.patience = None;
            return written;
        }
        let stall = self.stall;
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(stall)));
        match patience.as_mut().poll(context) {
            Poll::Ready(()) => {
                let problem = format!("the client took nothing for {stall:?}");
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, problem)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Stalled<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Stalled<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.bounded(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, parts);
        self.bounded(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.bounded(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_client_that_takes_something_is_waited_for_and_one_that_takes_nothing_is_not() {
        let stall = Duration::from_millis(50);
        let (io, mut client) = tokio::io::duplex(64);
        let mut server = Stalled { io, stall, patience: None };
        let written = tokio::spawn(async move {
            let error = server.write_all(&[0; 1024]).await.expect_err("nobody reads all of it");
            (error.kind(), server)
        });
        client.read_exact(&mut [0; 256]).await.expect("it goes on");
        let since = std::time::Instant::now();
        let (kind, mut server) = written.await.expect("no panic");
        assert_eq!(kind, io::ErrorKind::TimedOut);
        assert!(since.elapsed() >= stall / 2, "it was given time");
        // What is taken later begins a new wait.
        client.read_exact(&mut [0; 64]).await.expect("what was sent before");
        server.write_all(&[0; 64]).await.expect("there is room");
        assert!(server.patience.is_none());
    }
}
