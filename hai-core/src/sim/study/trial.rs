//! One simulation: a cluster, work, a configuration and a seed, measured.

use std::iter::Peekable;
use std::ops::ControlFlow;
use std::slice::Iter;

use crate::engine::{Engine, EngineConfig};
use crate::model::{Fact, Span, TaskId, Time};
use crate::placement::PlacementPolicy;
use crate::sim::{Halt, Input, Limits, Record, Sim};

use super::cluster::{Cluster, ClusterError};
use super::figures::Outcome;
use super::gantt::GanttLimits;
use super::happen::Happenings;
use super::load::{Load, Task};
use super::measure::{Counted, measure};
use super::meter::Meter;
use super::submits::{Submits, Submitter};

/// What is measured, and how much is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Tasks submitted in this time after the first one are played, but not counted.
    pub warm_up: Span,
    /// Nothing happens after this time, counted from the first submission.
    pub until: Option<Span>,
    /// Keep a row for every task.
    pub tasks: bool,
    /// How many users are shown by name over time; all others are shown as one.
    pub users_shown: usize,
    /// What is shown of who was where.
    pub gantt: GanttLimits,
    /// How work is submitted.
    pub submits: Submits,
    /// For about so many of the submissions that have to wait, ask when they will start. Each costs some dozens of copies of
    /// the engine, played until the task starts.
    pub forecasts: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            warm_up: Span::ZERO,
            until: None,
            tasks: false,
            users_shown: 8,
            gantt: GanttLimits::default(),
            submits: Submits::default(),
            forecasts: None,
        }
    }
}

/// How far a simulation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Tasks that are over.
    pub over: usize,
    /// Of so many.
    pub of: usize,
    /// The simulated time.
    pub at: Time,
}

/// Plays the load on the cluster. `progress` is called now and then; if it breaks, what came out until then is told, as
/// partial. The same arguments give the same outcome, bit for bit.
///
/// # Errors
/// The cluster's nodes, rights or teams contradict each other.
pub fn play(
    cluster: &Cluster,
    load: &Load,
    mut config: EngineConfig,
    seed: u64,
    options: &Options,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Outcome, ClusterError> {
    if let PlacementPolicy::Random { seed: drawn } = &mut config.placement {
        *drawn = seed;
    }
    let start = load.first().unwrap_or(Time::ZERO);
    let engine = engine(cluster, config, start)?;
    let submitter = Submitter::new(options.submits);
    let happenings = Happenings::new(cluster, start, seed);
    let inputs = Inputs { tasks: load.tasks().iter().peekable(), happenings, submitter: &submitter, submitted: 0 };
    let mut sim = Sim::new(engine, cluster.conduct, inputs);
    let mut meter = Meter::new(cluster, load, options, &submitter, true, progress);
    if load.tasks().is_empty() {
        return Ok(measure(meter, &Counted { places_known: true, ..Counted::default() }, options));
    }
    let until = options.until.map_or(Time::MAX, |until| start + until);
    let halt = sim.run(Limits { until, ..Limits::NONE }, &mut meter);
    let end = if halt == Halt::Time { until } else { sim.now() };
    meter.advance(end);
    let left: Vec<Record> = sim.unfinished().cloned().collect();
    let counts = sim.counts();
    let counted = Counted {
        cut: halt == Halt::Time || meter.broken_off,
        left,
        starts: counts.starts,
        events: counts.events,
        rounds: counts.rounds,
        places_known: true,
    };
    Ok(measure(meter, &counted, options))
}

fn engine(cluster: &Cluster, config: EngineConfig, start: Time) -> Result<Engine, ClusterError> {
    let mut engine = Engine::new(config);
    let teams = cluster.teams.iter().map(|team| (format!("team {}", team.name), Fact::TeamSet { team: team.clone() }));
    let rights = cluster.rights.iter().map(|right| ("a right".to_owned(), Fact::RightSet { right: right.clone() }));
    let nodes = cluster.nodes.iter().map(|node| (format!("node {}", node.name), Fact::NodeSet { node: node.clone() }));
    for (place, fact) in teams.chain(rights).chain(nodes) {
        let told = engine.observe(start, &fact);
        told.map_err(|error| ClusterError { place, problem: error.to_string() })?;
    }
    Ok(engine)
}

/// Submissions and what happens to the cluster, by time; at one time the cluster first.
struct Inputs<'a> {
    tasks: Peekable<Iter<'a, Task>>,
    happenings: Happenings,
    submitter: &'a Submitter,
    submitted: u64,
}

impl Iterator for Inputs<'_> {
    type Item = Input;
    fn next(&mut self) -> Option<Input> {
        let task = self.tasks.peek().map(|task| task.submit);
        match self.happenings.peek() {
            Some(at) if task.is_none_or(|task| at <= task) => self.happenings.next(),
            _ => self.tasks.next().map(|task| {
                // Its place in the list, also behind one that is refused.
                self.submitted += 1;
                let number = Some(TaskId(self.submitted));
                Input::Submit { at: task.submit, task: number, spec: self.submitter.spec(task), work: task.work }
            }),
        }
    }
}
