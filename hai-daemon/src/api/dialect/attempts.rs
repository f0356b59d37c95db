//! A task as a chain of attempts: what each is doing, and with which code it stopped.

use hai_core::model::{
    Outcome, RunEnd, RunPhase, RunView, Span, TaskState, TaskView, Time, WorkerExit, WorkerFate, WorkerState,
};

use super::ids;

/// Codes with which an attempt stopped. There they are bits; here each attempt has one reason.
pub(super) mod stop_code {
    /// It goes on.
    pub(in crate::api::dialect) const NONE: u32 = 0;
    /// It is over, and well, or was called off before it ran.
    pub(in crate::api::dialect) const STOP: u32 = 1;
    /// It was suspended.
    pub(in crate::api::dialect) const INTERRUPT: u32 = 16;
    /// It failed.
    pub(in crate::api::dialect) const FAILED: u32 = 128;
    /// It ran longer than it may.
    pub(in crate::api::dialect) const TIMEOUT: u32 = 512;
    /// Somebody stopped it.
    pub(in crate::api::dialect) const MANUAL_STOP: u32 = 1024;
    /// Its node was lost, and it goes on elsewhere.
    pub(in crate::api::dialect) const HOOK_RESTART: u32 = 2048;
    /// Somebody stopped it, as done.
    pub(in crate::api::dialect) const MANUAL_SUCCEEDED: u32 = 4096;
    /// Somebody stopped it, as failed.
    pub(in crate::api::dialect) const MANUAL_FAILED: u32 = 8192;

    /// With what the client is let go that follows the output of a finished chain: it does not end for all of them.
    pub(in crate::api::dialect) const fn of_the_end(code: u32) -> u32 {
        match code {
            MANUAL_SUCCEEDED => STOP,
            MANUAL_FAILED => FAILED,
            other => other,
        }
    }
}

/// How far the word that it must leave has come.
mod suspend_code {
    pub(super) const NONE: u32 = 0;
    pub(super) const SENT: u32 = 1;
    pub(super) const CAN_SUSPEND: u32 = 3;
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) id: u64,
    pub(super) queue_status: &'static str,
    pub(super) worker_status: &'static str,
    pub(super) created_at: Time,
    pub(super) begin_at: Option<Time>,
    pub(super) end_at: Option<Time>,
    pub(super) stop_code: u32,
    pub(super) suspend_code: u32,
    /// The number that the next attempt reads, as far as this one and those before it said one.
    pub(super) whole_life_state: i64,
}

/// Whether a task waits in line.
pub(super) fn is_queued(state: TaskState) -> bool {
    matches!(state, TaskState::Waiting | TaskState::Suspended | TaskState::Promised | TaskState::Held)
}

/// All attempts of a task, oldest first, never none: one that waits is there before it runs. `first_state` is the number that
/// the first of them reads.
pub(super) fn attempts(view: &TaskView, runs: &[RunView], first_state: i64) -> Vec<Attempt> {
    let mut all: Vec<Attempt> = Vec::with_capacity(runs.len() + 1);
    let (mut state, mut ran) = (first_state, Span::ZERO);
    for run in runs {
        let created_at = all.last().map_or(view.submitted_at, |before| before.end_at.unwrap_or(before.created_at));
        state = run.whole_life_state.unwrap_or(state);
        let mut attempt = of_run(run, created_at, state);
        ran = ran + run.started_at.zip(run.ended_at).map_or(Span::ZERO, |(from, until)| until.since(from));
        if timed_out(view, run, ran) {
            attempt.stop_code = stop_code::TIMEOUT;
        }
        all.push(attempt);
    }
    let last = runs.last().and_then(|run| run.end.as_ref());
    let ended_by_run = matches!(last, Some(RunEnd::Completed | RunEnd::Failed { .. } | RunEnd::Stopped));
    if is_queued(view.state) || (view.state == TaskState::Finished && !ended_by_run) || all.is_empty() {
        let created_at = all.last().map_or(view.submitted_at, |before| before.end_at.unwrap_or(before.created_at));
        let number = runs.last().map_or(1, |run| run.attempt.saturating_add(1));
        all.push(waiting(view, number, created_at, state));
    } else if let (Some(attempt), Some(code)) = (all.last_mut(), concluded(view, last)) {
        attempt.stop_code = code;
        attempt.worker_status = concluded_status(code);
    }
    if let Some(last) = all.last_mut() {
        // As long as no run said a number it is the first.
        last.whole_life_state = if view.whole_life_state == 0 { first_state } else { view.whole_life_state };
    }
    all
}

/// The code of an end that somebody said was one, whatever was seen.
fn concluded(view: &TaskView, end: Option<&RunEnd>) -> Option<u32> {
    match (view.outcome.as_ref()?, end?) {
        (Outcome::Succeeded, end) if *end != RunEnd::Completed => Some(stop_code::MANUAL_SUCCEEDED),
        (Outcome::Failed { .. }, RunEnd::Completed | RunEnd::Stopped) => Some(stop_code::MANUAL_FAILED),
        _ => None,
    }
}

const fn concluded_status(code: u32) -> &'static str {
    if code == stop_code::MANUAL_SUCCEEDED { "succeeded" } else { "failed" }
}

impl Attempt {
    /// How its workers that were stopped have ended, if somebody said that.
    pub(super) fn concluded(&self) -> Option<&'static str> {
        let codes = [stop_code::MANUAL_SUCCEEDED, stop_code::MANUAL_FAILED];
        codes.contains(&self.stop_code).then(|| concluded_status(self.stop_code))
    }
}

/// Whether a run failed because its task, which has run for `ran` then, may not run longer: no worker did by itself.
fn timed_out(view: &TaskView, run: &RunView, ran: Span) -> bool {
    let by_itself = |exit: &WorkerExit| !exit.signalled && exit.fate != WorkerFate::Exited { code: 0 };
    matches!(run.end, Some(RunEnd::Failed { .. }))
        && view.spec.limit.is_some_and(|limit| ran >= limit)
        && !run.workers.iter().any(|worker| matches!(&worker.state, WorkerState::Ended { exit, .. } if by_itself(exit)))
}

fn of_run(run: &RunView, created_at: Time, whole_life_state: i64) -> Attempt {
    let leaves = if run.phase == RunPhase::Vacating { suspend_code::SENT } else { suspend_code::NONE };
    let (worker_status, stop_code, suspend_code) = match &run.end {
        None => (running(run), stop_code::NONE, leaves),
        Some(RunEnd::Completed) => ("succeeded", stop_code::STOP, suspend_code::NONE),
        Some(RunEnd::Failed { .. }) => ("failed", stop_code::FAILED, suspend_code::NONE),
        Some(RunEnd::Suspended) => ("stopped", stop_code::INTERRUPT, suspend_code::CAN_SUSPEND),
        Some(RunEnd::Stopped) => ("stopped", stop_code::MANUAL_STOP, suspend_code::NONE),
        Some(RunEnd::Lost { .. }) => ("stopped", stop_code::HOOK_RESTART, suspend_code::NONE),
    };
    Attempt {
        id: ids::run_id(run),
        queue_status: if run.end.is_some() { "finished" } else { "scheduled" },
        worker_status,
        created_at,
        begin_at: Some(run.started_at.unwrap_or(run.decided_at)),
        end_at: run.ended_at,
        stop_code,
        suspend_code,
        whole_life_state,
    }
}

fn running(run: &RunView) -> &'static str {
    match run.phase {
        RunPhase::Starting if run.workers.iter().all(|worker| worker.state == WorkerState::Reserved) => "created",
        RunPhase::Starting => "building",
        RunPhase::Running => "running",
        RunPhase::Vacating | RunPhase::Ended => "stopped_terminating",
    }
}

/// One that has not run: it waits, or the task ended before it could.
fn waiting(view: &TaskView, number: u32, created_at: Time, whole_life_state: i64) -> Attempt {
    let over = view.state == TaskState::Finished;
    let stop_code = match &view.outcome {
        None => stop_code::NONE,
        Some(Outcome::Succeeded | Outcome::Stopped) => stop_code::STOP,
        Some(Outcome::Failed { .. }) => stop_code::FAILED,
    };
    Attempt {
        id: ids::attempt_id(view.id, number),
        queue_status: if over { "finished" } else { "queued" },
        worker_status: if over { "canceled" } else { "queued" },
        created_at,
        begin_at: view.ended_at,
        end_at: view.ended_at,
        stop_code,
        suspend_code: suspend_code::NONE,
        whole_life_state,
    }
}

/// What a chain as a whole is doing.
pub(super) fn chain_status(view: &TaskView, attempts: &[Attempt]) -> &'static str {
    match view.state {
        TaskState::Finished => "finished",
        state if !is_queued(state) => "running",
        _ if attempts.len() > 1 => "suspended",
        _ => "waiting_init",
    }
}

/// What one worker is doing, and its exit code as text.
pub(super) fn pod_status(run: &RunView, state: &WorkerState) -> (&'static str, String) {
    let unknown = || "nan".to_owned();
    match state {
        WorkerState::Reserved => {
            (if run.phase == RunPhase::Vacating { "stopped_terminating" } else { "created" }, unknown())
        }
        WorkerState::Executing { .. } if run.phase == RunPhase::Vacating => ("stopped_terminating", unknown()),
        WorkerState::Executing { .. } => ("running", unknown()),
        WorkerState::Ended { exit, .. } => {
            let status = match exit.fate {
                _ if exit.declared_done => "succeeded",
                WorkerFate::Exited { code: 0 } if !exit.signalled => "succeeded",
                _ if exit.signalled => "stopped",
                WorkerFate::Lost { .. } | WorkerFate::Refused { .. } => "stopped",
                _ => "failed",
            };
            (status, exit_code(exit).map_or_else(unknown, |code| code.to_string()))
        }
    }
}

/// What a shell would say of how a worker ended, where it ended by itself or was ended.
fn exit_code(exit: &WorkerExit) -> Option<i32> {
    match exit.fate {
        WorkerFate::Exited { code } => Some(code),
        WorkerFate::Killed { signal } => Some(128 + signal),
        WorkerFate::OutOfMemory { .. } => Some(137),
        WorkerFate::NotExecuted { .. } => Some(127),
        WorkerFate::Refused { .. } | WorkerFate::Lost { .. } => None,
    }
}

/// The code with which a run failed: that of the first rank that did.
pub(super) fn failure_code(run: &RunView) -> Option<i32> {
    if !matches!(run.end, Some(RunEnd::Failed { .. })) {
        return None;
    }
    run.workers.iter().find_map(|worker| match &worker.state {
        WorkerState::Ended { exit, .. } if !exit.signalled => exit_code(exit).filter(|code| *code != 0),
        _ => None,
    })
}
