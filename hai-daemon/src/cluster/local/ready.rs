//! Waiting for a kernel handle to become readable, without a thread and without polling.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A handle that can be waited for. Must be made within a Tokio runtime.
#[expect(
    deprecated,
    reason = "the successor is unsafe for the sake of types that are no owned descriptors; this one is"
)]
pub(crate) fn waitable(handle: Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    AsyncFd::with_interest(handle, Interest::READABLE)
}
