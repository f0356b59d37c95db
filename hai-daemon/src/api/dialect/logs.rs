//! The output of one rank over all attempts, polled with a cursor; and what can be told of them.

use hai_core::model::{Outcome, RunEnd, RunPhase, RunView, TaskState, TaskView};
use serde_json::{Value, json};

use super::args::invalid;
use super::attempts::{self, stop_code};
use super::envelope::Reply;
use super::{Ask, select, task};
use crate::api::WorkerLog;
use crate::api::logs::read;
use crate::api::problem::ApiError;
use crate::api::tasks::why;

/// The most that one answer brings. The client asks only once if it does not follow, so it is much.
const ANSWER_MAX: usize = 16 << 20;
/// The most characters of one line.
const LINE_MAX: usize = 4096;
/// The most that is searched of one rank.
const SEARCH_MAX: u64 = 64 << 20;
const SEARCH_STEP: usize = 1 << 20;

/// Where the client is: in which attempt, and how far in it. On the wire `<attempt>.<offset>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cursor {
    attempt: u32,
    offset: u64,
}

impl Cursor {
    /// Whatever can not be read is a beginning, as the client's own `null` and `None` are.
    fn read(text: Option<&str>) -> Self {
        let parse = |text: &str| {
            let (attempt, offset) = text.trim_matches('"').split_once('.')?;
            Some(Cursor { attempt: attempt.parse().ok()?, offset: offset.parse().ok()? })
        };
        text.and_then(parse).unwrap_or_default()
    }

    fn text(self) -> String {
        format!("{}.{}", self.attempt, self.offset)
    }
}

/// `/query/task/log`
pub(super) async fn log(ask: &Ask) -> Result<Reply, ApiError> {
    if ask.args.text("service").is_some() {
        return Err(invalid("service", "not offered here: tasks have no services"));
    }
    let view = select::task(ask).await?;
    let rank = rank(ask, &view)?;
    let runs = ask.state.reader.runs(view.id).await?;
    let mut cursor = Cursor::read(ask.args.text("last_seen"));
    let mut data = Vec::new();
    let from = cursor.attempt;
    for run in runs.iter().filter(|run| run.attempt >= from) {
        if run.attempt > cursor.attempt {
            cursor = Cursor { attempt: run.attempt, offset: 0 };
        }
        if !append(ask, run, rank, &mut cursor, &mut data).await? {
            break;
        }
    }
    let (stop_code, exit_code) = codes(&view, &runs);
    Ok(Reply::ok("")
        .with("data", shortened(&String::from_utf8_lossy(&data)))
        .with("last_seen", cursor.text())
        .with("stop_code", stop_code)
        .with("exit_code", exit_code)
        .with("error_msg", trouble(ask, &view).await?)
        .with("restart_log", json!({})))
}

/// Adds what is new of one attempt; whether the next one's turn has come.
async fn append(
    ask: &Ask,
    run: &RunView,
    rank: u32,
    cursor: &mut Cursor,
    data: &mut Vec<u8>,
) -> Result<bool, ApiError> {
    if rank as usize >= run.workers.len() {
        return Ok(run.phase == RunPhase::Ended);
    }
    // Looked at before the bytes: an ended run writes nothing more.
    let ended = run.phase == RunPhase::Ended;
    let worker = WorkerLog { task: run.task, run: run.id, rank };
    let part = read(&ask.state, worker, cursor.offset, ANSWER_MAX.saturating_sub(data.len())).await?;
    let complete = part.complete || (ended && part.next() >= part.end);
    let whole = match part.bytes.iter().rposition(|&byte| byte == b'\n' || byte == b'\r') {
        _ if complete => part.bytes.len(),
        // What has no end yet comes with the next answer, unless it is as long as an answer can be.
        None if part.bytes.len() >= ANSWER_MAX => part.bytes.len(),
        None => 0,
        Some(at) => at + 1,
    };
    data.extend_from_slice(&part.bytes[..whole]);
    if complete && data.last().is_some_and(|&byte| byte != b'\n') {
        data.push(b'\n');
    }
    cursor.offset = part.offset + whole as u64;
    Ok(complete && ended)
}

/// With which codes the client ends its waiting, or does not: once the chain is finished it must.
fn codes(view: &TaskView, runs: &[RunView]) -> (u32, Value) {
    let last = attempts::attempts(view, runs, 0).pop().map_or(stop_code::NONE, |attempt| attempt.stop_code);
    if view.state != TaskState::Finished {
        return (stop_code::NONE, "".into());
    }
    let exit_code = runs.last().and_then(attempts::failure_code).map_or_else(|| "".into(), Value::from);
    (stop_code::of_the_end(last), exit_code)
}

/// Why a chain failed, or waits.
async fn trouble(ask: &Ask, view: &TaskView) -> Result<String, ApiError> {
    if let Some(Outcome::Failed { reason }) = &view.outcome {
        return Ok(reason.clone());
    }
    // One who stands by has no engine to ask.
    if !attempts::is_queued(view.state) || ask.state.leader.is_some() {
        return Ok(String::new());
    }
    Ok(why::explain(&ask.state, view).await?.sentence)
}

/// The same, with lines that are too long cut: what lays them out for a terminal takes minutes for a few of them.
fn shortened(text: &str) -> String {
    let short = |line: &str| match line.char_indices().nth(LINE_MAX) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    };
    text.split('\n').map(short).collect::<Vec<_>>().join("\n")
}

/// `/query/task/container_log`: the newest attempt's output as it is.
pub(super) async fn container_log(ask: &Ask) -> Result<Reply, ApiError> {
    let view = select::task(ask).await?;
    let rank = rank(ask, &view)?;
    let runs = ask.state.reader.runs(view.id).await?;
    let mut data = Vec::new();
    if let Some(run) = runs.last() {
        let mut cursor = Cursor { attempt: run.attempt, offset: 0 };
        append(ask, run, rank, &mut cursor, &mut data).await?;
    }
    Ok(Reply::result(json!({"data": shortened(&String::from_utf8_lossy(&data))})))
}

/// `/query/task/sys_log`: what happened to the chain, one line for each thing.
pub(super) async fn sys_log(ask: &Ask) -> Result<Reply, ApiError> {
    let view = select::task(ask).await?;
    let runs = ask.state.reader.runs(view.id).await?;
    let mut lines = vec![format!("[{}] submitted", task::local(view.submitted_at))];
    for run in &runs {
        let nodes: Vec<&str> = run.workers.iter().map(|worker| worker.place.node.as_str()).collect();
        lines.push(format!("[{}] attempt {} starts on {}", task::local(run.decided_at), run.attempt, nodes.join(", ")));
        let how = match &run.end {
            None => continue,
            Some(RunEnd::Completed) => "is complete".to_owned(),
            Some(RunEnd::Suspended) => "was suspended".to_owned(),
            Some(RunEnd::Stopped) => "was stopped".to_owned(),
            Some(RunEnd::Failed { reason }) => format!("failed: {reason}"),
            Some(RunEnd::Lost { reason }) => format!("was lost, and goes on elsewhere: {reason}"),
        };
        lines.push(format!("[{}] attempt {} {how}", task::local(run.ended_at.unwrap_or(run.decided_at)), run.attempt));
    }
    let now = trouble(ask, &view).await?;
    if attempts::is_queued(view.state) && !now.is_empty() {
        lines.push(format!("it waits: {now}"));
    }
    if let (Some(outcome), Some(at)) = (&view.outcome, view.ended_at) {
        lines.push(format!("[{}] finished: {}", task::local(at), outcome.word()));
    }
    Ok(Reply::ok("").with("data", lines.join("\n")))
}

/// `/query/task/log/search`: in how many lines of each rank a text stands, over all attempts.
pub(super) async fn search(ask: &Ask) -> Result<Reply, ApiError> {
    let view = select::task(ask).await?;
    let content = ask.args.needed("content")?.as_bytes().to_vec();
    let runs = ask.state.reader.runs(view.id).await?;
    let mut hits = vec![0; runs.iter().map(|run| run.workers.len()).max().unwrap_or(0)];
    for run in &runs {
        for (rank, hits) in (0_u32..).zip(&mut hits).take(run.workers.len()) {
            *hits += count(ask, WorkerLog { task: view.id, run: run.id, rank }, &content).await?;
        }
    }
    Ok(Reply::ok("").with("data", hits))
}

/// In how many lines `content` stands.
async fn count(ask: &Ask, worker: WorkerLog, content: &[u8]) -> Result<u64, ApiError> {
    let (mut offset, mut hits, mut rest, mut read_bytes) = (0, 0, Vec::new(), 0);
    while read_bytes < SEARCH_MAX {
        let part = read(&ask.state, worker, offset, SEARCH_STEP).await?;
        if part.bytes.is_empty() {
            break;
        }
        offset = part.next();
        read_bytes += part.bytes.len() as u64;
        rest.extend_from_slice(&part.bytes);
        let whole = rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        hits += lines_with(&rest[..whole], content);
        rest.drain(..whole);
        if rest.len() > SEARCH_STEP {
            // A line without an end is searched in parts.
            hits += lines_with(&rest, content);
            rest.clear();
        }
    }
    Ok(hits + lines_with(&rest, content))
}

fn lines_with(bytes: &[u8], content: &[u8]) -> u64 {
    let has = |line: &&[u8]| line.windows(content.len()).any(|part| part == content);
    bytes.split(|&byte| byte == b'\n').filter(has).count() as u64
}

fn rank(ask: &Ask, view: &TaskView) -> Result<u32, ApiError> {
    let rank = ask.args.number::<u32>("rank")?.unwrap_or(0);
    if rank < view.spec.workers {
        return Ok(rank);
    }
    Err(invalid("rank", format!("is {rank}; there are ranks 0 to {}", view.spec.workers - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_as_they_went_and_all_else_is_a_beginning() {
        let cursor = Cursor { attempt: 3, offset: 17 };
        assert_eq!(Cursor::read(Some(&cursor.text())), cursor);
        assert_eq!(Cursor::read(Some("\"3.17\"")), cursor);
        for other in
            [None, Some("null"), Some("None"), Some(""), Some("3"), Some("-1.2"), Some("1.99999999999999999999999")]
        {
            assert_eq!(Cursor::read(other), Cursor::default(), "{other:?}");
        }
    }

    #[test]
    fn only_long_lines_are_cut() {
        let long = "é".repeat(LINE_MAX + 1);
        assert_eq!(shortened(&format!("a\n{long}\nb\n")), format!("a\n{}…\nb\n", "é".repeat(LINE_MAX)));
        assert_eq!(shortened(&"é".repeat(LINE_MAX)), "é".repeat(LINE_MAX));
    }

    #[test]
    fn lines_are_counted_once() {
        assert_eq!(lines_with(b"loss 1 loss 2\nnothing\nloss", b"loss"), 2);
        assert_eq!(lines_with(b"", b"loss"), 0);
    }
}
