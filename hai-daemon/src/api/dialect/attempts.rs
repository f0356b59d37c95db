//! A task as a chain of attempts: what each is doing, and with which code it stopped.

use hai_core::model::{
    Outcome, RunEnd, RunPhase, RunView, TaskState, TaskView, Time, WorkerExit, WorkerFate, WorkerState,
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
    /// Somebody stopped it.
    pub(in crate::api::dialect) const MANUAL_STOP: u32 = 1024;
    /// Its node was lost, and it goes on elsewhere.
    pub(in crate::api::dialect) const HOOK_RESTART: u32 = 2048;
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
}

/// Whether a task waits in line.
pub(super) fn is_queued(state: TaskState) -> bool {
    matches!(state, TaskState::Waiting | TaskState::Suspended | TaskState::Promised | TaskState::Held)
}

/// All attempts of a task, oldest first, never none: one that waits is there before it runs.
pub(super) fn attempts(view: &TaskView, runs: &[RunView]) -> Vec<Attempt> {
    let mut all: Vec<Attempt> = Vec::with_capacity(runs.len() + 1);
    for run in runs {
        let created_at = all.last().map_or(view.submitted_at, |before| before.end_at.unwrap_or(before.created_at));
        all.push(of_run(run, created_at));
    }
    let ended_by_run = matches!(
        runs.last().and_then(|run| run.end.as_ref()),
        Some(RunEnd::Completed | RunEnd::Failed { .. } | RunEnd::Stopped)
    );
    if is_queued(view.state) || (view.state == TaskState::Finished && !ended_by_run) || all.is_empty() {
        let created_at = all.last().map_or(view.submitted_at, |before| before.end_at.unwrap_or(before.created_at));
        let number = runs.last().map_or(1, |run| run.attempt.saturating_add(1));
        all.push(waiting(view, number, created_at));
    }
    all
}

fn of_run(run: &RunView, created_at: Time) -> Attempt {
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
fn waiting(view: &TaskView, number: u32, created_at: Time) -> Attempt {
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
