//! Asks for a sample of submissions when they will start, and compares what was said with what came.

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::explain::forecast::{self, Forecast, forecast};
use crate::explain::history::History;
use crate::model::{Round, TaskId, TaskState, TaskView, Time};
use crate::sim::Conduct;

use super::figures::Calibrated;

/// What was said, and what came of it.
#[derive(Debug)]
pub(super) struct Foreteller {
    history: History,
    options: forecast::Options,
    /// Nobody is asked for who was submitted before.
    from: Time,
    /// After one was asked for, so many more submissions pass by.
    every: u64,
    next: u64,
    newest: TaskId,
    open: BTreeMap<TaskId, Forecast>,
    asked: u64,
    came: u64,
    by_p50: u64,
    by_p90: u64,
}

impl Foreteller {
    /// Asks for about so many of all tasks.
    pub(super) fn new(sample: u32, tasks: usize, from: Time, conduct: Conduct) -> Self {
        Foreteller {
            history: History::default(),
            options: forecast::Options { conduct, ..forecast::Options::default() },
            from,
            every: (tasks as u64).div_ceil(u64::from(sample.max(1))).max(1),
            next: 0,
            newest: TaskId(0),
            open: BTreeMap::new(),
            asked: 0,
            came: 0,
            by_p50: 0,
            by_p90: 0,
        }
    }

    /// The engine has decided: who came and has to wait may be asked for.
    pub(super) fn round(&mut self, engine: &Engine, round: &Round) {
        let next = engine.next_task_id();
        for number in self.newest.0 + 1..next.0 {
            let Some(view) = engine.task(TaskId(number)) else { continue };
            self.history.observe(&view);
            if number < self.next || view.state != TaskState::Waiting || round.at < self.from {
                continue;
            }
            let Some(said) = forecast(engine, round.at, &self.history, view.id, &self.options) else { continue };
            self.next = number + self.every;
            self.asked += 1;
            if let Some((p50, p90)) = said.uncorrected {
                self.history.calibration.said(view.id, round.at, p50.since(round.at), p90.since(round.at));
            }
            self.open.insert(view.id, said);
        }
        self.newest = TaskId(next.0.saturating_sub(1));
    }

    /// The workers of a task began to execute.
    pub(super) fn started(&mut self, at: Time, task: TaskId) {
        self.history.calibration.started(task, at);
        let Some(said) = self.open.remove(&task) else { return };
        // Without a time it was said to start after all that could be looked at.
        let held = |by: Option<Time>| u64::from(by.is_none_or(|by| at <= by));
        self.came += 1;
        self.by_p50 += held(said.p50);
        self.by_p90 += held(said.p90);
    }

    /// A task is over.
    pub(super) fn ended(&mut self, view: &TaskView) {
        self.history.observe(view);
    }

    /// What it came to.
    pub(super) fn figures(&self) -> Calibrated {
        let percent = |held: u64| if self.came == 0 { 0.0 } else { 100.0 * held as f64 / self.came as f64 };
        Calibrated {
            asked: self.asked,
            started: self.came,
            p50_held: percent(self.by_p50),
            p90_held: percent(self.by_p90),
        }
    }
}
