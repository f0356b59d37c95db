//! What another policy, configuration, rights or nodes would have made of a log's work.
//!
//! Both sides are simulated, the log's own way of deciding too: so that nothing but the change is between them. What really
//! happened is what [`Replay`](super::Replay) compares.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::engine::{Engine, EngineConfig, FactError};
use crate::model::{Decision, Fact, NodeSpec, Outcome, RightRow, Round, RunId, Span, TaskId, TaskView, Time, UserName};
use crate::sim::{self, Input, Limits, Sim, Watch};

use super::words::describe;
use super::workload::{Outside, Workload};

/// What is otherwise; what is left out stays as the log says.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// How it is decided.
    pub config: Option<EngineConfig>,
    /// All rights, from the beginning to the end. What the log says of rights is left aside; teams stay.
    pub rights: Option<Vec<RightRow>>,
    /// All nodes, from the beginning to the end. What the log says of nodes and devices is left aside.
    pub nodes: Option<Vec<NodeSpec>>,
}

/// What became of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fate {
    /// When it first executed.
    pub started_at: Option<Time>,
    /// When it was over.
    pub ended_at: Option<Time>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// From its submission (or the log's beginning, if that is later) until it first executed, or to the end.
    pub waited: Span,
    /// How often it was told to leave and go on later.
    pub suspensions: u32,
    /// Work that was done and lost, and time spent on starting again.
    pub lost: Span,
    /// Devices times milliseconds that it held.
    pub device_ms: u64,
}

/// A task that came off otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskDiff {
    /// The task.
    pub task: TaskId,
    /// Whose it is.
    pub user: UserName,
    /// As the log decides.
    pub before: Fate,
    /// With the change.
    pub after: Fate,
    /// It was not over at the end of the log, so how much work is in it is not known.
    pub censored: bool,
}

/// A moment at which something else was decided. Runs may have other numbers on both sides; that alone is no difference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundDiff {
    /// When.
    pub at: Time,
    /// What was decided.
    pub before: Vec<Decision>,
    /// What is decided with the change.
    pub after: Vec<Decision>,
}

/// Sums over all tasks, the censored ones left aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Tasks.
    pub tasks: u64,
    /// Of those, how many were over at the end of the simulation.
    pub ended: u64,
    /// What they waited for their first start.
    pub waited: Span,
    /// What they lost.
    pub lost: Span,
    /// How often they were suspended.
    pub suspensions: u64,
    /// Devices times milliseconds.
    pub device_ms: u64,
    /// When the last of them ended.
    pub last_end: Option<Time>,
}

/// What a change makes of a log's work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diff {
    /// When the log begins.
    pub since: Time,
    /// When it ends. What was not over then was simulated for as long again.
    pub until: Time,
    /// As the log decides.
    pub before: Totals,
    /// With the change.
    pub after: Totals,
    /// The tasks that came off otherwise, by number.
    pub tasks: Vec<TaskDiff>,
    /// The first moments at which something else was decided.
    pub rounds: Vec<RoundDiff>,
    /// How many such moments there are.
    pub rounds_differ: u64,
    /// What the engine would not take of the log with the change, e.g. since a node is not there; the first few.
    pub refused: Vec<String>,
}

/// One side.
#[derive(Default)]
struct Played {
    fates: BTreeMap<TaskId, Fate>,
    rounds: BTreeMap<Time, Vec<Decision>>,
    tasks_of: BTreeMap<RunId, TaskId>,
    refused: Vec<String>,
}

/// More refusals say nothing new.
const REFUSED_MAX: usize = 10;

impl Workload {
    /// Simulates the work as the log decides, and with a change. At most `rounds_max` moments are told in full.
    #[must_use]
    pub fn compare(&self, change: &Change, rounds_max: usize) -> Diff {
        let (before, after) = (self.play(&Change::default()), self.play(change));
        let mut diff = Diff {
            since: self.since,
            until: self.until,
            before: self.totals(&before),
            after: self.totals(&after),
            tasks: Vec::new(),
            rounds: Vec::new(),
            rounds_differ: 0,
            refused: after.refused.iter().filter(|why| !before.refused.contains(why)).cloned().collect(),
        };
        for (&task, known) in &self.tasks {
            let (Some(one), Some(other)) = (before.fates.get(&task), after.fates.get(&task)) else { continue };
            if one != other {
                diff.tasks.push(TaskDiff {
                    task,
                    user: known.user.clone(),
                    before: one.clone(),
                    after: other.clone(),
                    censored: known.is_censored(),
                });
            }
        }
        let times: BTreeSet<Time> = before.rounds.keys().chain(after.rounds.keys()).copied().collect();
        for at in times {
            let of = |played: &Played| played.rounds.get(&at).cloned().unwrap_or_default();
            let (one, other) = (of(&before), of(&after));
            if before.without_runs(&one) == after.without_runs(&other) {
                continue;
            }
            diff.rounds_differ += 1;
            if diff.rounds.len() < rounds_max {
                diff.rounds.push(RoundDiff { at, before: one, after: other });
            }
        }
        diff
    }

    fn play(&self, change: &Change) -> Played {
        let config = change.config.clone().unwrap_or_else(|| self.config.clone());
        let mut engine = match &self.state {
            Some(state) => Engine::restore(config, state.clone()),
            None => Engine::new(config),
        };
        if let Some(rights) = &change.rights {
            let there: Vec<RightRow> = engine.rights().collect();
            let gone = there.into_iter().map(|row| Fact::RightRemoved { key: row.key });
            let set = rights.iter().map(|right| Fact::RightSet { right: right.clone() });
            self.prepare(&mut engine, gone.chain(set));
        }
        if let Some(nodes) = &change.nodes {
            let there: Vec<NodeSpec> = engine.nodes().map(|node| node.spec).collect();
            let stays = |name| nodes.iter().any(|node| node.name == name);
            let gone = there.into_iter().filter(|node| !stays(node.name.clone()));
            let gone = gone.map(|node| Fact::NodeRemoved { node: node.name });
            let set = nodes.iter().map(|node| Fact::NodeSet { node: node.clone() });
            self.prepare(&mut engine, gone.chain(set));
        }
        let inputs = self.inputs.iter().filter(|(_, what)| {
            !(change.rights.is_some() && what.is_about_rights() || change.nodes.is_some() && what.is_about_nodes())
        });
        let inputs = inputs.map(|(at, what)| match what {
            Outside::Submit(task, spec) => {
                let work = self.tasks[task].work();
                Input::Submit { at: *at, task: Some(*task), spec: spec.clone(), work }
            }
            Outside::Fact(fact) => Input::Fact { at: *at, fact: fact.clone() },
        });
        let of_task = |view: &TaskView, _: Option<&_>| self.tasks[&view.id].work();
        let mut sim = Sim::resume(engine, self.since, self.conduct, inputs, of_task);
        let mut played = Played::default();
        let until = self.until + self.until.since(self.since);
        // Whatever it stopped for, this is as far as it goes.
        let _ = sim.run(Limits { until, events: u64::MAX }, &mut Watching { workload: self, played: &mut played });
        let now = sim.now();
        for record in sim.unfinished() {
            played.fates.insert(record.task, self.fate(record, now));
        }
        played
    }

    /// What a change says is so from the beginning. What can not be is left out: the caller was told when it was read.
    fn prepare(&self, engine: &mut Engine, facts: impl Iterator<Item = Fact>) {
        for fact in facts {
            let _ = engine.observe(self.since, &fact);
        }
    }

    fn fate(&self, record: &sim::Record, now: Time) -> Fate {
        let waits_since = record.submitted_at.max(self.since);
        Fate {
            started_at: record.started_at,
            ended_at: record.ended_at,
            outcome: record.outcome.clone(),
            waited: record.started_at.or(record.ended_at).unwrap_or(now).since(waits_since),
            suspensions: record.suspensions,
            lost: record.lost + record.loading,
            device_ms: record.device_ms,
        }
    }

    fn totals(&self, played: &Played) -> Totals {
        let mut totals = Totals::default();
        for (task, fate) in &played.fates {
            if self.tasks.get(task).is_none_or(super::workload::Known::is_censored) {
                continue;
            }
            totals.tasks += 1;
            totals.ended += u64::from(fate.ended_at.is_some());
            totals.waited = totals.waited + fate.waited;
            totals.lost = totals.lost + fate.lost;
            totals.suspensions += u64::from(fate.suspensions);
            totals.device_ms = totals.device_ms.saturating_add(fate.device_ms);
            totals.last_end = totals.last_end.max(fate.ended_at);
        }
        totals
    }
}

struct Watching<'a> {
    workload: &'a Workload,
    played: &'a mut Played,
}

impl Watch for Watching<'_> {
    fn ended(&mut self, _: &TaskView, record: sim::Record) -> ControlFlow<()> {
        let fate = self.workload.fate(&record, Time::MAX);
        self.played.fates.insert(record.task, fate);
        ControlFlow::Continue(())
    }

    fn round(&mut self, _: &Engine, round: &Round) -> ControlFlow<()> {
        for decision in &round.decisions {
            if let Decision::Start { task, run, .. } | Decision::Promise { task, run, .. } = decision {
                self.played.tasks_of.insert(*run, *task);
            }
        }
        if !round.decisions.is_empty() {
            self.played.rounds.entry(round.at).or_default().extend(round.decisions.iter().cloned());
        }
        ControlFlow::Continue(())
    }

    fn refused(&mut self, input: &Input, why: &FactError) -> ControlFlow<()> {
        let refused = &mut self.played.refused;
        if refused.len() < REFUSED_MAX {
            refused.push(format!("{}: {why}", input.at()));
        }
        ControlFlow::Continue(())
    }
}

impl Played {
    /// The decisions with each run named by its task.
    fn without_runs(&self, decisions: &[Decision]) -> Vec<Decision> {
        let mut decisions = decisions.to_vec();
        for decision in &mut decisions {
            match decision {
                Decision::Start { run, .. }
                | Decision::Promise { run, .. }
                | Decision::Suspend { run, .. }
                | Decision::Stop { run, .. }
                | Decision::Notice { run, .. }
                | Decision::Recharge { run, .. } => *run = RunId(self.tasks_of.get(run).map_or(run.0, |task| task.0)),
                Decision::Withdraw { .. } | Decision::Reserve { .. } | Decision::Unreserve { .. } => {}
            }
        }
        decisions
    }
}

impl Diff {
    /// Whether nothing comes off otherwise.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.rounds_differ == 0
    }
}

impl fmt::Display for RoundDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.at)?;
        let mut side = |sign: char, mine: &[Decision], others: &[Decision]| {
            let only = mine.iter().filter(|decision| !others.contains(decision));
            only.map(describe).try_for_each(|words| write!(f, "\n  {sign} {words}"))
        };
        side('-', &self.before, &self.after)?;
        side('+', &self.after, &self.before)
    }
}
