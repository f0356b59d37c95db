//! Catches what a worker writes, on a thread of its own, so that a slow disk never delays a signal.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::files::RankDir;
use super::super::order::WorkerOrder;
use crate::cluster::logs::LogWriter;

const STACK_BYTES: usize = 256 << 10;
/// As much as a pipe holds.
const BUFFER_BYTES: usize = 64 << 10;
/// How long output that is still under way after the worker's end may take to be written.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// A worker's output, being caught.
#[derive(Debug)]
pub(super) struct Output {
    into: PipeWriter,
    lost: Arc<AtomicU64>,
    dir: RankDir,
    drained: oneshot::Receiver<()>,
}

impl Output {
    pub(super) fn new(dir: &RankDir, order: &WorkerOrder) -> io::Result<Self> {
        let (from, into) = io::pipe()?;
        let lost = Arc::new(AtomicU64::new(0));
        let (done, drained) = oneshot::channel();
        let (log_dir, bound, counted) = (order.log_dir.clone(), order.log_bound, lost.clone());
        let thread = std::thread::Builder::new().name("output".to_owned()).stack_size(STACK_BYTES);
        let told = dir.clone();
        thread.spawn(move || {
            pump(from, LogWriter::new(&log_dir, bound, counted), &told);
            // Nobody waits any more if it took too long.
            let _ = done.send(());
        })?;
        Ok(Output { into, lost, dir: dir.clone(), drained })
    }

    /// A writing end for the worker.
    pub(super) fn writer(&self) -> io::Result<PipeWriter> {
        self.into.try_clone()
    }

    /// Waits, not for ever, until all that the worker wrote is kept; returns how many bytes could not be.
    pub(super) async fn finish(self) -> u64 {
        drop(self.into);
        if tokio::time::timeout(DRAIN_MAX, self.drained).await.is_err() {
            self.dir.complain(&format!("some of the worker's last output was still not written after {DRAIN_MAX:?}"));
        }
        self.lost.load(Ordering::Relaxed)
    }
}

fn pump(mut from: PipeReader, mut log: LogWriter, dir: &RankDir) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => log.write(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                dir.complain(&format!("the worker's output can not be read any more: {error}"));
                break;
            }
        }
    }
    log.finish();
}
