//! Waits for a task's end, also while the daemon restarts, and says how it ended.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use hai_core::model::TaskId;

use super::client::{Answer, Client};
use super::error::CliError;
use super::output::clean;
use crate::api::wire::{OutcomeWord, Task, TaskDetail, TaskState};

/// The exit status that says that hai, not the task, went wrong.
const LOST: u8 = 125;
/// A task that somebody stopped ends like a program that SIGTERM ended.
const STOPPED: u8 = 128 + 15;
/// A restarting daemon is waited for this long.
const ABSENCE_MAX: Duration = Duration::from_secs(60);
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Asks again and again: soon at first, then less often, and through short absences of the daemon.
#[derive(Debug)]
pub struct Patience {
    pause: Duration,
    absent_since: Option<Instant>,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { pause: PAUSE_MIN, absent_since: None }
    }
}

impl Patience {
    /// Something happened: the next pauses are short again.
    pub fn refresh(&mut self) {
        *self = Patience::default();
    }

    /// Waits before the next question.
    pub fn pause(&mut self) {
        std::thread::sleep(self.pause);
        self.pause = (self.pause * 3 / 2).min(PAUSE_MAX);
    }

    /// Passes an answer on, or swallows an error that may pass, and pauses.
    ///
    /// # Errors
    /// The error, if it does not pass or has lasted too long.
    pub fn bear<T>(&mut self, result: Result<T, CliError>) -> Result<Option<T>, CliError> {
        match result {
            Ok(value) => {
                self.absent_since = None;
                Ok(Some(value))
            }
            Err(error) if error.is_passing() => {
                if self.absent_since.get_or_insert_with(Instant::now).elapsed() > ABSENCE_MAX {
                    return Err(error);
                }
                self.pause();
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The task as it is now.
    ///
    /// # Errors
    /// [`CliError`], once it has lasted too long.
    pub fn task(&mut self, client: &Client, task: TaskId) -> Result<(Answer, TaskDetail), CliError> {
        loop {
            let asked = client.get(&format!("/v1/tasks/{task}"), &()).and_then(|answer| {
                let detail = answer.parse()?;
                Ok((answer, detail))
            });
            if let Some(found) = self.bear(asked)? {
                return Ok(found);
            }
        }
    }
}

/// Waits until the task is finished.
///
/// # Errors
/// [`CliError`], once the daemon was away for too long.
pub fn until_finished(client: &Client, task: TaskId) -> Result<(Answer, TaskDetail), CliError> {
    let mut patience = Patience::default();
    loop {
        let (answer, detail) = patience.task(client, task)?;
        if detail.task.state == TaskState::Finished {
            return Ok((answer, detail));
        }
        patience.pause();
    }
}

/// The exit status of a command that can not tell how its task ended.
#[must_use]
pub fn lost() -> ExitCode {
    ExitCode::from(LOST)
}

/// The exit status that tells how the task ended.
#[must_use]
pub fn exit_code(end: &TaskDetail) -> ExitCode {
    ExitCode::from(status(end))
}

fn status(end: &TaskDetail) -> u8 {
    match end.task.outcome {
        Some(OutcomeWord::Succeeded) => 0,
        Some(OutcomeWord::Stopped) => STOPPED,
        Some(OutcomeWord::Failed) => {
            let exits =
                end.history.last().into_iter().flat_map(|run| &run.workers).filter_map(|worker| worker.exit.as_ref());
            // Of a gang, the others may have been killed because the first one failed.
            let own = exits.clone().filter_map(|exit| exit.code).find(|code| *code != 0);
            let killed = exits.filter_map(|exit| exit.signal).next().map(|signal| signal.saturating_add(128));
            own.or(killed).and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(1)
        }
        None => LOST,
    }
}

/// How the task ended, in a sentence.
#[must_use]
pub fn sentence(task: &Task) -> String {
    let name = clean(&task.name);
    match (task.outcome, &task.reason) {
        (Some(outcome), Some(reason)) => format!("task {} ({name}) {}: {}", task.id, outcome.word(), clean(reason)),
        (Some(outcome), None) => format!("task {} ({name}) {}", task.id, outcome.word()),
        (None, _) => format!("task {} ({name}) is {}", task.id, task.state.word()),
    }
}
