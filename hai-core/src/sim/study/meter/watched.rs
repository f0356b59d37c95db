//! What the engine's own simulation tells a meter.

use std::ops::ControlFlow;

use crate::engine::{Engine, FactError};
use crate::model::{Decision, Fact, Outcome as Ended, Placement, Priority, Round, RunId, TaskId, TaskView, Time};
use crate::sim::{Input, Record, Watch};

use super::{Meter, level};

/// After how many rounds people are told how far it is.
const TELL_EVERY: u64 = 512;

impl Meter<'_> {
    fn start(&mut self, task: TaskId, run: RunId, placement: &Placement, by: Priority, entitled: bool) {
        let Some(index) = self.index(task) else { return };
        let Some(tasked) = &self.tasks[index] else { return };
        let mut bars = Vec::new();
        if self.drawer.wants(self.now) {
            let first = if tasked.ran_before { "it went on" } else { "it began" };
            let how = if entitled { "within its right" } else { "on what others left idle" };
            let room = if tasked.promised { ", in the place that others had left for it" } else { "" };
            bars = self.drawer.began(self.now, placement, task.0, &format!("{first} {how} at {by}{room}"));
        }
        self.begins(index, run, placement.device_milli(), by, bars);
    }

    fn promised(&mut self, task: TaskId, promised: bool) {
        if let Some(task) = self.index(task).and_then(|index| self.tasks[index].as_mut()) {
            task.promised = promised;
        }
    }
}

impl Watch for Meter<'_> {
    fn told(&mut self, at: Time, input: &Input, task: Option<TaskId>) -> ControlFlow<()> {
        self.advance(at);
        match (input, task) {
            (Input::Submit { .. }, Some(task)) => {
                if let Some(index) = self.index(task) {
                    self.comes(index);
                }
            }
            (Input::Fact { fact: Fact::NodeSet { node }, .. }, _) => {
                self.shares.sample(at);
                self.set_node(node);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn refused(&mut self, input: &Input, _: &FactError) -> ControlFlow<()> {
        self.refused += u64::from(matches!(input, Input::Submit { .. }));
        ControlFlow::Continue(())
    }

    fn started(&mut self, at: Time, task: TaskId, run: RunId) -> ControlFlow<()> {
        self.advance(at);
        if let Some(foreteller) = &mut self.foreteller {
            foreteller.started(at, task);
        }
        self.executes(run);
        ControlFlow::Continue(())
    }

    fn round(&mut self, engine: &Engine, round: &Round) -> ControlFlow<()> {
        self.advance(round.at);
        if let Some(milli) = self.fragments.look(engine, round.at) {
            self.meters.take(level::FRAGMENTS, self.meters.level(level::FRAGMENTS));
            self.meters.add(level::FRAGMENTS, milli);
        }
        for decision in &round.decisions {
            match decision {
                Decision::Start { task, run, placement, level, entitled, .. } => {
                    self.start(*task, *run, placement, *level, *entitled);
                }
                Decision::Promise { task, .. } => self.promised(*task, true),
                Decision::Withdraw { task } => self.promised(*task, false),
                Decision::Suspend { run, reason, .. } => self.told_to_leave(*run, true, format!("suspended: {reason}")),
                Decision::Stop { run, .. } => self.told_to_leave(*run, false, "stopped".into()),
                _ => {}
            }
        }
        if let Some(foreteller) = &mut self.foreteller {
            foreteller.round(engine, round);
        }
        self.rounds += 1;
        if self.is_done() || self.is_stuck() {
            return ControlFlow::Break(());
        }
        if self.rounds.is_multiple_of(TELL_EVERY) { self.tell() } else { ControlFlow::Continue(()) }
    }

    fn run_ended(&mut self, at: Time, run: RunId, record: &Record) -> ControlFlow<()> {
        self.leaves(at, run, record.lost, record.loading);
        ControlFlow::Continue(())
    }

    fn ended(&mut self, view: &TaskView, record: Record) -> ControlFlow<()> {
        if let Some(foreteller) = &mut self.foreteller {
            foreteller.ended(view);
        }
        let Some(index) = self.index(view.id) else { return ControlFlow::Continue(()) };
        let at = record.ended_at.unwrap_or(self.now);
        let outcome = record.outcome.as_ref().map_or("unfinished", Ended::word);
        self.over(index, at, &record, outcome);
        self.submitter.ended(&self.load.tasks()[index], record.ran);
        // Nothing more is to come but faults.
        if self.is_done() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
