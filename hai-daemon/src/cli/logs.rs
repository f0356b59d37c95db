//! `hai logs`: prints a worker's output, and with `-f` goes on through suspends until the task ends.

use std::io::{self, Read, Write};

use hai_core::model::{RunId, TaskId};

use super::args::LogsArgs;
use super::client::{Client, LogStream};
use super::error::CliError;
use super::output::{Printer, clean};
use super::wait::{Patience, sentence};
use crate::api::wire::{LogQuery, Run, RunEnd, RunPhase, TaskDetail, TaskState};

/// As much as is printed at once.
const PIECE_BYTES: usize = 64 << 10;

/// What to follow.
#[derive(Clone, Copy, Debug)]
pub struct Follow {
    /// The task.
    pub task: TaskId,
    /// The worker.
    pub rank: u32,
    /// This run alone, and not those to come.
    pub only: Option<RunId>,
    /// From the task's first run; otherwise from its last.
    pub from_first: bool,
    /// So many bytes from the end of the first run that is printed; all of it without.
    pub tail: Option<u64>,
}

/// `hai logs`
///
/// # Errors
/// [`CliError`].
pub fn run(args: &LogsArgs, client: &Client, printer: &Printer) -> Result<(), CliError> {
    let task = TaskId(args.task);
    if args.follow {
        let follow = Follow { task, rank: args.rank, only: args.run, from_first: args.all_runs, tail: args.tail };
        let detail = self::follow(client, printer, &follow)?;
        if detail.task.state == TaskState::Finished {
            printer.remark(sentence(&detail.task));
        }
        return Ok(());
    }
    let mut sink = Sink::new(task, args.rank, printer);
    let query =
        |run: Option<RunId>| LogQuery { run: run.map(|run| run.0), rank: Some(args.rank), ..LogQuery::default() };
    if !args.all_runs {
        return print_run(client, task, LogQuery { tail: args.tail, ..query(args.run) }, &mut sink);
    }
    let (_, detail) = Patience::default().task(client, task)?;
    for run in &detail.history {
        match print_run(client, task, query(Some(run.id)), &mut sink) {
            // A run that never began has no output.
            Err(CliError::Refused(problem)) if problem.status == 404 => {}
            result => result?,
        }
    }
    Ok(())
}

/// Prints what a run has written until now; a long log comes in several answers.
fn print_run(client: &Client, task: TaskId, mut query: LogQuery, sink: &mut Sink) -> Result<(), CliError> {
    loop {
        let mut stream = client.logs(task, &query)?;
        let (run, start) = (stream.run, stream.offset);
        let (copied, broken) = sink.copy(&mut stream)?;
        if let Some(error) = broken {
            return Err(client.lost(&error));
        }
        if copied == 0 {
            return sink.end();
        }
        // The rest of the same run, even if another one begins meanwhile.
        query.run = run.map(|run| run.0).or(query.run);
        query.tail = None;
        query.offset = i64::try_from(start + copied).ok();
    }
}

/// Prints the output of run after run until the task ends; returns the task as it then is.
///
/// # Errors
/// [`CliError`], once the daemon was away for too long.
pub fn follow(client: &Client, printer: &Printer, follow: &Follow) -> Result<TaskDetail, CliError> {
    let mut sink = Sink::new(follow.task, follow.rank, printer);
    let mut patience = Patience::default();
    let mut tail = follow.tail;
    let mut printed: Option<RunId> = None;
    loop {
        let (_, detail) = patience.task(client, follow.task)?;
        let runs = &detail.history;
        let next = match (follow.only, printed) {
            (Some(_), Some(_)) => return Ok(detail),
            (Some(only), None) => Some(only),
            (None, Some(printed)) => runs.iter().map(|run| run.id).find(|run| *run > printed),
            (None, None) if follow.from_first => runs.first().map(|run| run.id),
            (None, None) => runs.last().map(|run| run.id),
        };
        match next {
            Some(run) => {
                let ended = follow_run(client, follow, run, tail.take(), &mut sink, &mut patience)?;
                printed = Some(run);
                sink.end()?;
                if let Some(text) =
                    ended.history.iter().find(|known| known.id == run).and_then(|run| between(run, &ended))
                {
                    printer.remark(text);
                }
                patience.refresh();
            }
            None if detail.task.state == TaskState::Finished => return Ok(detail),
            None => patience.pause(),
        }
    }
}

/// Prints one run's output to its end; returns the task as it then is.
fn follow_run(
    client: &Client,
    follow: &Follow,
    run: RunId,
    tail: Option<u64>,
    sink: &mut Sink,
    patience: &mut Patience,
) -> Result<TaskDetail, CliError> {
    let mut query = LogQuery { run: Some(run.0), rank: Some(follow.rank), tail, follow: true, ..LogQuery::default() };
    loop {
        // Whether it had ended must be known before: what it wrote until then is in the answer.
        let (_, detail) = patience.task(client, follow.task)?;
        let over = detail.history.iter().find(|known| known.id == run).is_none_or(|run| run.phase == RunPhase::Ended);
        let opened = match client.logs(follow.task, &query) {
            // It has not begun to write, or never will.
            Err(CliError::Refused(problem)) if problem.status == 404 && (!over || follow.only.is_none()) => {
                if over {
                    return Ok(detail);
                }
                patience.pause();
                continue;
            }
            opened => patience.bear(opened)?,
        };
        let Some(mut stream) = opened else { continue };
        if let Some(asked) = query.offset.and_then(|asked| u64::try_from(asked).ok())
            && stream.offset > asked
        {
            sink.printer.remark(format!("-- {} bytes were dropped to bound the log --", stream.offset - asked));
        }
        let start = stream.offset;
        let (copied, broken) = sink.copy(&mut stream)?;
        query.tail = None;
        query.offset = i64::try_from(start + copied).ok();
        match broken {
            None if over => return Ok(detail),
            None if copied > 0 => patience.refresh(),
            None => patience.pause(),
            Some(error) => {
                patience.bear::<()>(Err(client.lost(&error)))?;
            }
        }
    }
}

/// What to say between a run's output and the next.
fn between(run: &Run, detail: &TaskDetail) -> Option<String> {
    if detail.task.state == TaskState::Finished {
        return None;
    }
    let yielded = || detail.task.yielded.as_ref().map(|yielded| clean(&yielded.sentence));
    match run.end? {
        RunEnd::Suspended => {
            let why = yielded().map(|why| format!(": {why}")).unwrap_or_default();
            Some(format!("-- run {} was suspended{why}; the next one follows --", run.id))
        }
        RunEnd::Lost => {
            let why = run.reason.as_ref().map(|why| format!(": {}", clean(why))).unwrap_or_default();
            Some(format!("-- run {} was lost{why}; the next one follows --", run.id))
        }
        RunEnd::Completed | RunEnd::Failed | RunEnd::Stopped => None,
    }
}

/// Where the output goes: as it is, or a JSON object for each line.
struct Sink {
    task: TaskId,
    rank: u32,
    printer: Printer,
    run: Option<RunId>,
    /// The line that has not ended yet (JSON alone).
    line: Vec<u8>,
}

impl Sink {
    fn new(task: TaskId, rank: u32, printer: &Printer) -> Self {
        Sink { task, rank, printer: *printer, run: None, line: Vec::new() }
    }

    /// Prints all that comes; returns how many bytes came and why no more will, if that is not the end.
    fn copy(&mut self, stream: &mut LogStream) -> Result<(u64, Option<io::Error>), CliError> {
        let mut piece = vec![0; PIECE_BYTES];
        let mut copied = 0;
        self.run = stream.run.or(self.run);
        loop {
            match stream.bytes.read(&mut piece) {
                Ok(0) => return Ok((copied, None)),
                Ok(length) => {
                    self.write(&piece[..length])?;
                    copied += length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok((copied, Some(error))),
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        if !self.printer.json {
            out.write_all(bytes)?;
            // What a task says is seen when it says it.
            return Ok(out.flush()?);
        }
        drop(out);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.line.pop();
                self.json_line()?;
            }
        }
        Ok(())
    }

    fn json_line(&mut self) -> Result<(), CliError> {
        let text = String::from_utf8_lossy(&self.line);
        let run = self.run.map(|run| run.0);
        let line = serde_json::json!({ "task": self.task.0, "run": run, "rank": self.rank, "line": text });
        self.printer.line(line)?;
        self.line.clear();
        Ok(())
    }

    /// A run's output is over: a line without an end is one all the same.
    fn end(&mut self) -> Result<(), CliError> {
        if self.line.is_empty() { Ok(()) } else { self.json_line() }
    }
}
