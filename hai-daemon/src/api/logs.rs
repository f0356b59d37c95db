//! The output of a task's workers: a part of it, or all of it as it comes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header as http_header};
use axum::response::{IntoResponse, Response};
use hai_core::backend::Event;
use hai_core::model::{RunId, RunPhase, RunView, TaskId};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;

use super::auth::Caller;
use super::extract::{Param, Query};
use super::problem::{ApiError, Kind};
use super::range::{Begin, Wanted};
use super::tasks::{self, Id};
use super::wire::{LogQuery, header};
use super::{ApiState, LogPart, WorkerLog};

/// How much is answered where nobody said how much, in bytes.
const LIMIT_DEFAULT: u64 = 1 << 20;
/// How much is answered at most, in bytes.
const LIMIT_MAX: u64 = 16 << 20;
/// How much a follower is sent at a time, in bytes.
const CHUNK_MAX: usize = 64 << 10;
/// Chunks that wait for a slow follower.
const CHUNKS_BEHIND_MAX: usize = 4;
/// How often a follower looks for more; people do not notice less.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What a worker has written
///
/// Answers with plain bytes. Offsets count from 0 and stay what they are, even after the oldest output was dropped.
#[utoipa::path(get, path = "/v1/tasks/{id}/logs", tag = "tasks", operation_id = "logs",
    params(("id" = u64, Path, description = "The task's number."), LogQuery,
           ("Range" = Option<String>, Header, description = "One range of bytes.")),
    responses(
        (status = 200, description = "The bytes.", body = String, content_type = "text/plain", headers(
            ("hai-run" = u64, description = "The run that it is of."),
            ("hai-rank" = u32, description = "The worker that it is of."),
            ("hai-offset" = u64, description = "The offset of the first byte."),
            ("hai-next-offset" = u64, description = "The offset to go on at; not with `follow`."),
            ("hai-first-offset" = u64, description = "The first offset that is kept."),
            ("hai-complete" = bool, description = "Whether nothing will come after it; not with `follow`."))),
        (status = 206, description = "The bytes of the range, with the same headers.", body = String,
         content_type = "text/plain")))]
pub(super) async fn logs(
    State(state): State<ApiState>,
    caller: Caller,
    Param(Id(id)): Param<Id>,
    Query(query): Query<LogQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    tasks::find(&state, &caller, id).await?;
    let run = choose(&state, id, query.run).await?;
    let rank = query.rank.unwrap_or(0);
    if rank as usize >= run.workers.len() {
        let detail = format!("run {} has no worker {rank}; its workers are 0 to {}", run.id, run.workers.len() - 1);
        return Err(ApiError::new(Kind::NotFound, detail).at("rank"));
    }
    let worker = WorkerLog { task: id, run: run.id, rank };
    let wanted = Wanted::read(&query, &headers)?;
    if let Some(most) = query.limit.filter(|limit| !query.follow && *limit > LIMIT_MAX) {
        let detail = format!("limit: is {most} bytes, at most {LIMIT_MAX} are answered at once");
        return Err(ApiError::new(Kind::InvalidParameter, detail).at("limit"));
    }
    if query.follow {
        return follow(state, worker, wanted).await;
    }
    // Looked at before the bytes: an ended run writes nothing more, so these are then the last.
    let ended = run.phase == RunPhase::Ended;
    let limit = wanted.bytes_max.map_or(LIMIT_DEFAULT, |most| most.min(LIMIT_MAX));
    let start = start(&state, worker, wanted.begin).await?;
    let part = read(&state, worker, start, usize::try_from(limit).unwrap_or(usize::MAX)).await?;
    answer(worker, part, wanted, ended)
}

/// The run that was asked for, or the last.
async fn choose(state: &ApiState, task: TaskId, wanted: Option<u64>) -> Result<RunView, ApiError> {
    if let Some(number) = wanted {
        let run = state.reader.run(task, RunId(number)).await?;
        let detail = || format!("task {task} has no run {number}");
        return run.ok_or_else(|| ApiError::new(Kind::NotFound, detail()).at("run"));
    }
    let last = state.reader.runs(task).await?.pop();
    last.ok_or_else(|| ApiError::new(Kind::NoRun, format!("task {task} has not run yet, so there is no output")))
}

/// The offset at which to begin.
async fn start(state: &ApiState, worker: WorkerLog, begin: Begin) -> Result<u64, ApiError> {
    match begin {
        Begin::At(offset) => Ok(offset),
        Begin::BeforeEnd(bytes) => Ok(read(state, worker, u64::MAX, 0).await?.end.saturating_sub(bytes)),
    }
}

pub(super) async fn read(
    state: &ApiState,
    worker: WorkerLog,
    offset: u64,
    bytes_max: usize,
) -> Result<LogPart, ApiError> {
    let logs = state.logs.clone();
    let reading = tokio::task::spawn_blocking(move || logs.read(worker, offset, bytes_max)).await;
    let result = reading.unwrap_or_else(|error| Err(io::Error::other(error)));
    result.map_err(|error| ApiError::internal("the output could not be read", &error))
}

fn answer(worker: WorkerLog, part: LogPart, wanted: Wanted, ended: bool) -> Result<Response, ApiError> {
    let complete = part.complete || (ended && part.next() >= part.end);
    if wanted.ranged && part.bytes.is_empty() {
        let range = number(http_header::CONTENT_RANGE, format!("bytes */{}", part.end));
        let detail = format!("the range begins at or after the end, which is {}", part.end);
        return Err(ApiError::new(Kind::RangeNotSatisfiable, detail).at("range").with_header(range.0, range.1));
    }
    let mut headers = common(worker, part.offset, part.first_available);
    headers.extend([
        named(header::NEXT_OFFSET, part.next()),
        named(header::COMPLETE, complete),
        (http_header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
    ]);
    let mut status = StatusCode::OK;
    if wanted.ranged {
        // The length of a log that still grows is not known.
        let length = if ended || part.complete { part.end.to_string() } else { "*".to_owned() };
        let range = format!("bytes {}-{}/{length}", part.offset, part.next() - 1);
        headers.extend([number(http_header::CONTENT_RANGE, range)]);
        status = StatusCode::PARTIAL_CONTENT;
    }
    Ok((status, headers, part.bytes).into_response())
}

fn common(worker: WorkerLog, offset: u64, first_available: u64) -> HeaderMap {
    HeaderMap::from_iter([
        (http_header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        named(header::RUN, worker.run),
        named(header::RANK, worker.rank),
        named(header::OFFSET, offset),
        named(header::FIRST_OFFSET, first_available),
    ])
}

fn named(name: &'static str, value: impl std::fmt::Display) -> (HeaderName, HeaderValue) {
    number(HeaderName::from_static(name), value.to_string())
}

fn number(name: HeaderName, text: String) -> (HeaderName, HeaderValue) {
    (name, HeaderValue::try_from(text).expect("digits and plain words are a header"))
}

/// Answers at once and goes on as the worker writes.
async fn follow(state: ApiState, worker: WorkerLog, wanted: Wanted) -> Result<Response, ApiError> {
    let start = start(&state, worker, wanted.begin).await?;
    let first = read(&state, worker, start, 0).await?;
    let headers = common(worker, first.offset, first.first_available);
    let (sender, receiver) = channel(CHUNKS_BEHIND_MAX);
    tokio::spawn(async move {
        let closing = state.closing.clone();
        let leaving = sender.clone();
        tokio::select! {
            () = closing.cancelled() => {}
            () = leaving.closed() => {}
            () = feed(&state, worker, first.offset, wanted.bytes_max.unwrap_or(u64::MAX), &sender) => {}
        }
    });
    Ok((headers, Body::from_stream(ReceiverStream::new(receiver))).into_response())
}

async fn feed(
    state: &ApiState,
    worker: WorkerLog,
    mut offset: u64,
    mut left: u64,
    sender: &Sender<Result<Bytes, io::Error>>,
) {
    // Listening begins before the store is asked: no end falls between the two.
    let mut changes = Changes { live: state.scheduler.events(), last: None };
    let mut ended = false;
    while left > 0 {
        // Looked at before the bytes: an ended run writes nothing more, so what is read then is the last.
        if changes.of(worker.task) {
            ended = match state.reader.run(worker.task, worker.run).await {
                Ok(run) => run.is_none_or(|run| run.phase == RunPhase::Ended),
                Err(error) => {
                    tracing::error!(%error, "the run of a followed log can not be read");
                    break;
                }
            };
        }
        let bytes_max = CHUNK_MAX.min(usize::try_from(left).unwrap_or(CHUNK_MAX));
        let Ok(part) = read(state, worker, offset, bytes_max).await else {
            // Breaks the answer off, so that the follower does not take it for complete.
            drop(sender.send(Err(io::Error::other("the output could not be read"))).await);
            break;
        };
        offset = part.next();
        left -= part.bytes.len() as u64;
        let (quiet, last) = (part.bytes.is_empty(), part.complete || (ended && offset >= part.end));
        if !quiet && sender.send(Ok(part.bytes.into())).await.is_err() {
            break;
        }
        if last {
            break;
        }
        if quiet {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// What is heard of tasks, so that a follower need not ask the store again and again whether a run has ended.
struct Changes {
    live: Receiver<Arc<Event>>,
    /// The last event that was heard; none before the first question.
    last: Option<u64>,
}

impl Changes {
    /// Whether the task may have changed since the last question.
    fn of(&mut self, task: TaskId) -> bool {
        let mut changed = self.last.is_none();
        let mut last = self.last.unwrap_or(0);
        loop {
            match self.live.try_recv() {
                // Who stands by may pass over some; the first one tells only from where on nothing is missed.
                Ok(event) => {
                    changed |= event.task.id == task || event.id != last + 1;
                    last = event.id;
                }
                Err(TryRecvError::Lagged(_)) => changed = true,
                Err(TryRecvError::Closed) => return true,
                Err(TryRecvError::Empty) => break,
            }
        }
        self.last = Some(last);
        changed
    }
}
