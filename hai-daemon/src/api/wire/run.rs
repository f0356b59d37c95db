//! Runs and their workers as people see them.

use chrono::{DateTime, Utc};
use hai_core::model::{self, Amount, DeviceId, NodeName, RunId, TaskId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::utc;

/// One attempt to execute a task, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// Its number.
    #[schema(value_type = u64)]
    pub id: RunId,
    /// The task.
    #[schema(value_type = u64)]
    pub task: TaskId,
    /// 1 for the task's first run.
    pub attempt: u32,
    /// What it is doing.
    pub phase: RunPhase,
    /// How it ended, once it has.
    pub end: Option<RunEnd>,
    /// Why it failed or was lost, if it was.
    pub reason: Option<String>,
    /// When it was decided.
    pub decided_at: DateTime<Utc>,
    /// When the last of its workers began to execute.
    pub started_at: Option<DateTime<Utc>>,
    /// When the last of its workers had ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// When it last saved its work.
    pub checkpointed_at: Option<DateTime<Utc>>,
    /// The number that it reported last, which the next run reads; null if it reported none.
    #[serde(default)]
    pub whole_life_state: Option<i64>,
    /// Its workers, by rank.
    pub workers: Vec<Worker>,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunPhase {
    /// Its capacity is reserved, not all workers are reported yet.
    Starting,
    /// All workers execute.
    Running,
    /// It is leaving.
    Vacating,
    /// It is over.
    Ended,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    /// The task's work is complete.
    Completed,
    /// A worker failed.
    Failed,
    /// It gave way and goes on in another run.
    Suspended,
    /// The task was stopped.
    Stopped,
    /// A node or what watched over a worker was lost, or refused the start; the task goes on in another run.
    Lost,
}

/// One worker of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Worker {
    /// Which worker.
    pub rank: u32,
    /// The node it is on.
    #[schema(value_type = String)]
    pub node: NodeName,
    /// The node is its alone.
    pub whole_node: bool,
    /// Its devices; its alone, unless it has a share of one.
    #[schema(value_type = Vec<String>)]
    pub devices: Vec<DeviceId>,
    /// How much of its one device it has; left out for all of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, examples(0.25))]
    pub share: Option<Amount>,
    /// How much of that device's memory it has, in MiB; left out for all of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_memory_mib: Option<u64>,
    /// Its processor cores.
    pub cpu: f64,
    /// Its memory in MiB.
    pub memory_mib: u64,
    /// What it is doing.
    pub state: WorkerState,
    /// Since when.
    pub since: Option<DateTime<Utc>>,
    /// How it ended, once it has.
    pub exit: Option<WorkerExit>,
}

/// What one worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// The start was decided; nothing was heard yet.
    Reserved,
    /// It executes.
    Executing,
    /// It is no more.
    Ended,
}

/// How a worker ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerExit {
    /// What became of it, for people, e.g. `exit status 1`.
    pub sentence: String,
    /// Its exit status, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// The suspend or stop signal had been delivered to it before it ended.
    pub signalled: bool,
    /// It said that the task's work is complete.
    pub declared_done: bool,
    /// Bytes of its output that could not be written down.
    pub log_lost_bytes: u64,
}

impl From<&model::RunView> for Run {
    fn from(view: &model::RunView) -> Self {
        Run {
            id: view.id,
            task: view.task,
            attempt: view.attempt,
            phase: view.phase.into(),
            end: view.end.as_ref().map(RunEnd::from),
            reason: match &view.end {
                Some(model::RunEnd::Failed { reason } | model::RunEnd::Lost { reason }) => Some(reason.clone()),
                _ => None,
            },
            decided_at: utc(view.decided_at),
            started_at: view.started_at.map(utc),
            ended_at: view.ended_at.map(utc),
            checkpointed_at: view.checkpointed_at.map(utc),
            whole_life_state: view.whole_life_state,
            workers: (0..).zip(&view.workers).map(|(rank, worker)| Worker::new(rank, worker)).collect(),
        }
    }
}

impl Worker {
    fn new(rank: u32, view: &model::WorkerView) -> Self {
        let (state, since, exit) = match &view.state {
            model::WorkerState::Reserved => (WorkerState::Reserved, None, None),
            model::WorkerState::Executing { since } => (WorkerState::Executing, Some(utc(*since)), None),
            model::WorkerState::Ended { at, exit } => {
                (WorkerState::Ended, Some(utc(*at)), Some(WorkerExit::from(exit)))
            }
        };
        Worker {
            rank,
            node: view.place.node.clone(),
            whole_node: view.place.whole_node,
            devices: view.place.devices.to_vec(),
            share: view.place.part.map(|part| Amount::from_milli(part.milli.into())),
            share_memory_mib: view.place.part.map(|part| part.memory_mib),
            cpu: f64::from(view.place.cpu_milli) / 1000.0,
            memory_mib: view.place.memory_mib,
            state,
            since,
            exit,
        }
    }
}

impl From<&model::WorkerExit> for WorkerExit {
    fn from(exit: &model::WorkerExit) -> Self {
        let (code, signal) = match exit.fate {
            model::WorkerFate::Exited { code } => (Some(code), None),
            model::WorkerFate::Killed { signal } => (None, Some(signal)),
            _ => (None, None),
        };
        WorkerExit {
            sentence: exit.fate.to_string(),
            code,
            signal,
            signalled: exit.signalled,
            declared_done: exit.declared_done,
            log_lost_bytes: exit.log_lost_bytes,
        }
    }
}

impl From<model::RunPhase> for RunPhase {
    fn from(phase: model::RunPhase) -> Self {
        match phase {
            model::RunPhase::Starting => RunPhase::Starting,
            model::RunPhase::Running => RunPhase::Running,
            model::RunPhase::Vacating => RunPhase::Vacating,
            model::RunPhase::Ended => RunPhase::Ended,
        }
    }
}

impl From<&model::RunEnd> for RunEnd {
    fn from(end: &model::RunEnd) -> Self {
        match end {
            model::RunEnd::Completed => RunEnd::Completed,
            model::RunEnd::Failed { .. } => RunEnd::Failed,
            model::RunEnd::Suspended => RunEnd::Suspended,
            model::RunEnd::Stopped => RunEnd::Stopped,
            model::RunEnd::Lost { .. } => RunEnd::Lost,
        }
    }
}
