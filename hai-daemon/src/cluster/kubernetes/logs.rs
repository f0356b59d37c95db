//! Keeping the output of workers: copied from Kubernetes while they execute, since it goes with their pods.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures::AsyncReadExt as _;
use hai_core::model::{RunId, TaskId};
use kube::api::LogParams;
use tokio::sync::watch;

use super::names::{CONTAINER, pod_name};
use super::retry::BackOff;
use super::state::Shared;
use crate::cluster::logs::{LogBound, LogWriter, clear, close, log_dir_of};

/// Bytes that are taken at a time.
const PIECE: usize = 64 << 10;
/// How long the output of a worker that has ended may take to arrive.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Copies a worker's output until all of it is there. What is returned says when it is.
pub(crate) fn follow(shared: Arc<Shared>, task: TaskId, run: RunId, rank: u32) -> watch::Receiver<bool> {
    let (done, waiting) = watch::channel(false);
    let beside = shared.clone();
    beside.spawn(async move {
        let dir = log_dir_of(&shared.config.log_dir, task, run, rank);
        let bound = LogBound { bytes_max: shared.config.log_bytes_max, segments_max: shared.config.log_segments };
        copy(&shared, task, run, rank, dir.clone(), bound).await;
        let _ = tokio::task::spawn_blocking(move || close(&dir)).await;
        // Nobody may wait.
        let _ = done.send(true);
    });
    waiting
}

async fn copy(shared: &Arc<Shared>, task: TaskId, run: RunId, rank: u32, dir: PathBuf, bound: LogBound) {
    let name = pod_name(&shared.config.instance, task, run, rank);
    let new = dir.clone();
    // A daemon that takes over begins anew: Kubernetes still has all of it.
    let writer = tokio::task::spawn_blocking(move || {
        let _ = clear(&new);
        LogWriter::new(&new, bound, Arc::new(AtomicU64::new(0)))
    });
    let Ok(mut writer) = writer.await else { return };
    let mut written: u64 = 0;
    let mut back_off = BackOff::new();
    let mut patience = None;
    loop {
        let parameters = LogParams { container: Some(CONTAINER.to_owned()), follow: true, ..LogParams::default() };
        let pods = shared.pods();
        let (mut whole, mut fresh_came) = (false, false);
        match pods.log_stream(&name, &parameters).await {
            Ok(stream) => {
                let mut stream = std::pin::pin!(stream);
                // What was copied before a connection broke comes again.
                let mut skip = written;
                let mut piece = vec![0; PIECE];
                loop {
                    match stream.read(&mut piece).await {
                        Ok(0) => {
                            whole = true;
                            break;
                        }
                        Ok(count) => {
                            let known = usize::try_from(skip).unwrap_or(usize::MAX).min(count);
                            skip -= known as u64;
                            let fresh = piece[known..count].to_vec();
                            written += fresh.len() as u64;
                            let grew = !fresh.is_empty();
                            let moved = tokio::task::spawn_blocking(move || {
                                writer.write(&fresh);
                                writer
                            });
                            match moved.await {
                                Ok(back) => writer = back,
                                Err(_) => return,
                            }
                            fresh_came |= grew;
                        }
                        Err(error) => {
                            tracing::debug!(pod = name, %error, "a worker's output broke off; it is read on");
                            break;
                        }
                    }
                }
            }
            Err(error) => tracing::debug!(pod = name, %error, "a worker's output can not be read yet"),
        }
        let ended = shared.runs().get(&run).and_then(|known| Some(known.workers.get(rank as usize)?.exit.is_some()));
        match ended {
            None => break,
            Some(true) if whole => break,
            Some(true) => {
                let until = *patience.get_or_insert_with(|| tokio::time::Instant::now() + LAST_WORDS);
                if tokio::time::Instant::now() >= until {
                    break;
                }
            }
            Some(false) => {}
        }
        if fresh_came {
            back_off = BackOff::new();
        }
        back_off.pause().await;
    }
    let _ = tokio::task::spawn_blocking(move || writer.finish()).await;
}
