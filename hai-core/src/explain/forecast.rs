//! When a waiting task will start: the very engine is played on from where it is, many times, and its start is noted.
//!
//! See [`forecast`] for the primary entry point. What is not known is drawn anew in each of these rollouts: how long what
//! runs and waits takes (`durations.rs`), and what is submitted meanwhile (`future.rs`). The times by which half and nine
//! tenths of the rollouts had started the task are corrected by how good such forecasts were before (`calibration.rs`). So
//! the answer follows from the rules that will decide, whatever they are, rights, slices and reservations included (as W.
//! Smith, V. Taylor and I. Foster predicted queue times by simulating the scheduler, JSSPP 1999).
//!
//! Groups of nodes share nothing but the order's memory of who used how much, so only the groups of the tasks asked
//! about, and of those that they wait for, are played on; elsewhere time stands still.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::model::{GroupName, RunId, Span, TaskId, TaskKind, TaskSpec, TaskState, TaskView, Time, Verdict};
use crate::sim::{Conduct, Halt, Limits, Sim, SplitMix64, Watch, Work};

use super::durations::{Known, Source};
use super::future::{Future, Past, says_something};
use super::history::History;

/// How much a forecast may cost, and what it is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How often the engine is played on.
    pub rollouts: u32,
    /// How many events and rounds all rollouts together may take. Fewer rollouts are made if these are spent.
    pub events: u64,
    /// How far each goes.
    pub horizon: Span,
    /// How the cluster behaves in them.
    pub conduct: Conduct,
    /// Where the lots begin. `None`: from the engine's state, so that who asks the same of the same state is told the same.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            rollouts: 64,
            events: 4_000_000,
            horizon: Span::from_mins(30 * 24 * 60),
            conduct: Conduct::default(),
            seed: None,
        }
    }
}

/// With fewer rollouts the latest of them all would be less than the time by which nine of ten start.
pub const P90_ROLLOUTS_MIN: u32 = 9;

/// When a task will start, as far as can be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// The task.
    pub task: TaskId,
    /// When it was asked.
    pub at: Time,
    /// Since when it runs, if it does; there is nothing to tell then.
    pub running_since: Option<Time>,
    /// Half of such tasks start by then. `None` if fewer than half of the rollouts started it.
    pub p50: Option<Time>,
    /// Nine of ten such tasks start by then. `None` if fewer of the rollouts started it, or there were too few of them
    /// ([`P90_ROLLOUTS_MIN`]) to say.
    pub p90: Option<Time>,
    /// The same as the rollouts have it, before it was corrected by how good forecasts were.
    pub uncorrected: Option<(Time, Time)>,
    /// Why it does not start at all as things are, if no rollout started it.
    pub never: Option<Verdict>,
    /// How often the engine was played on. With none nothing can be told: even one would have taken more than
    /// [`Options::events`].
    pub rollouts: u32,
    /// In how many of these it started.
    pub started_in: u32,
    /// How far they went.
    pub horizon: Time,
    /// How it is known how long the tasks take that run or wait in the groups that were played on.
    pub durations: Sources,
    /// Why it may be wrong.
    pub doubts: Vec<Doubt>,
}

/// How many tasks' durations come from where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// Their owners said.
    pub given: u32,
    /// Tasks like them have ended before.
    pub learned: u32,
    /// Nothing is known.
    pub guessed: u32,
}

/// Why a forecast may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "doubt", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Doubt {
    /// Too little is known of what was submitted lately, so that nothing was assumed to come.
    ArrivalsUnknown,
    /// The durations of so many tasks are guesses.
    DurationsGuessed {
        /// How many tasks.
        tasks: u32,
    },
    /// So many rollouts, fewer than were wanted, as they cost too much.
    CutShort {
        /// How many were wanted.
        wanted: u32,
    },
    /// In so many rollouts it had not started by the horizon.
    BeyondHorizon {
        /// How many rollouts.
        rollouts: u32,
    },
    /// Too few forecasts have come true or not to tell how good they are here.
    Untried {
        /// How many have.
        scored: u32,
    },
}

/// When a waiting task will start. `None` if there is no such unfinished task.
///
/// `now` is the time of asking, not before the engine's last. The cost is that of [`Options::rollouts`] copies of the engine
/// and of what happens in each until the task starts, bounded by [`Options::events`].
#[must_use]
pub fn forecast(engine: &Engine, now: Time, history: &History, task: TaskId, options: &Options) -> Option<Forecast> {
    forecast_many(engine, now, history, &[task], options).pop()
}

/// The same for several tasks, which share their rollouts. Tasks that are not, or are over, are left out.
#[must_use]
pub fn forecast_many(
    engine: &Engine,
    now: Time,
    history: &History,
    tasks: &[TaskId],
    options: &Options,
) -> Vec<Forecast> {
    let now = now.max(engine.now());
    let asked: BTreeMap<TaskId, TaskView> = tasks.iter().filter_map(|&id| Some((id, engine.task(id)?))).collect();
    let waiting: BTreeSet<TaskId> = asked.values().filter(|view| !runs(view)).map(|view| view.id).collect();
    let scene = Scene::of(engine, now, history, &waiting, options);
    let told = if waiting.is_empty() { Told::default() } else { scene.play(&waiting) };
    asked.values().map(|view| scene.describe(view, &told)).collect()
}

/// Whether a task has its place.
fn runs(view: &TaskView) -> bool {
    matches!(view.state, TaskState::Starting | TaskState::Running | TaskState::Stopping)
}

/// All that rollouts have in common.
struct Scene<'a> {
    engine: &'a Engine,
    now: Time,
    until: Time,
    history: &'a History,
    options: &'a Options,
    /// The unfinished tasks in order, with how long they have run; `None` for those of other groups.
    tasks: Vec<Option<(Known<'a>, Span)>>,
    sources: Sources,
    past: Vec<Past<'a>>,
    past_from: Time,
}

/// What the rollouts said.
#[derive(Default)]
struct Told {
    rollouts: u32,
    starts: BTreeMap<TaskId, Vec<Time>>,
}

impl<'a> Scene<'a> {
    fn of(
        engine: &'a Engine,
        now: Time,
        history: &'a History,
        waiting: &BTreeSet<TaskId>,
        options: &'a Options,
    ) -> Self {
        let groups = groups_of(engine, waiting);
        let mut sources = Sources::default();
        let tasks = engine.tasks().map(|view| {
            if !groups.contains(&view.spec.group) {
                return None;
            }
            let known = history.durations.of(&view.spec);
            match known.source() {
                Source::Given => sources.given += 1,
                Source::Learned => sources.learned += 1,
                Source::Guessed => sources.guessed += 1,
            }
            let running = view.run.and_then(|run| engine.run(run)).and_then(|run| run.started_at);
            Some((known, view.ran + running.map_or(Span::ZERO, |since| now.since(since))))
        });
        let tasks = tasks.collect();
        let past_from = history.submissions().next().map_or(now, |first| first.at);
        let past = history.submissions().filter(|past| groups.contains(&past.spec.group) && past.at <= now);
        let past =
            past.map(|past| Past { at: past.at, spec: again(&past.spec), known: history.durations.of(&past.spec) });
        let past = past.collect();
        let until = now + options.horizon;
        Scene { engine, now, until, history, options, tasks, sources, past, past_from }
    }

    /// Plays the engine on, as often as is wanted and allowed.
    fn play(&self, waiting: &BTreeSet<TaskId>) -> Told {
        let seed = SplitMix64::new(self.options.seed.unwrap_or_else(|| self.engine.stamp()));
        let mut told = Told::default();
        let mut events = self.options.events;
        for rollout in 0..self.options.rollouts {
            let mut lots = seed.split(2 * u64::from(rollout));
            let alike = lots.split(0);
            let future =
                Future::new(&self.past, self.past_from, self.now, self.until, seed.split(2 * u64::from(rollout) + 1));
            let mut tasks = self.tasks.iter();
            let work = |view: &TaskView, _: Option<&_>| {
                let Some((known, ran)) = tasks.next().copied().flatten() else { return Work::of(Span::MAX) };
                // Nobody knows when people get up; the lease ends it then.
                if matches!(view.spec.kind, TaskKind::Interactive { .. }) && known.source() == Source::Guessed {
                    return Work::of(Span::MAX);
                }
                // In half of the rollouts what one person submits is long or short together. Drawn one by one it would even
                // out, and a burst of long tasks would be held to be all but impossible.
                let mut kin = alike.split(known.kin());
                let lots = if kin.next() & 1 == 0 { &mut kin } else { &mut lots };
                Work::of(known.draw(ran, lots) - ran)
            };
            let mut sim = Sim::resume(self.engine.clone(), self.now, self.options.conduct, future, work);
            let mut starts = Starts { wanted: waiting.clone(), seen: Vec::new() };
            let halt = sim.run(Limits { until: self.until, events }, &mut starts);
            let counts = sim.counts();
            events = events.saturating_sub(counts.events + counts.rounds);
            if halt == Halt::Events {
                // It says nothing about those that had not started.
                break;
            }
            told.rollouts += 1;
            for (task, at) in starts.seen {
                told.starts.entry(task).or_default().push(at);
            }
            if events == 0 {
                break;
            }
        }
        told
    }

    fn describe(&self, view: &TaskView, told: &Told) -> Forecast {
        let mut forecast = Forecast {
            task: view.id,
            at: self.now,
            running_since: None,
            p50: None,
            p90: None,
            uncorrected: None,
            never: None,
            rollouts: told.rollouts,
            started_in: 0,
            horizon: self.until,
            durations: self.sources,
            doubts: Vec::new(),
        };
        if runs(view) {
            let run = view.run.and_then(|run| self.engine.run(run));
            let since = run.map_or(self.now, |run| run.started_at.unwrap_or(run.decided_at));
            forecast.running_since = Some(since);
            (forecast.p50, forecast.p90) = (Some(since), Some(since));
            return forecast;
        }
        let mut starts = told.starts.get(&view.id).cloned().unwrap_or_default();
        starts.sort_unstable();
        forecast.started_in = u32::try_from(starts.len()).unwrap_or(u32::MAX);
        // The least of which the rollouts say that so many of as many and one more start by then.
        let rank = |tenths: usize| ((told.rollouts as usize + 1) * tenths).div_ceil(10);
        let by = |tenths: usize| starts.get(rank(tenths) - 1).copied();
        (forecast.p50, forecast.p90) = (by(5), by(9));
        if let (Some(p50), Some(p90)) = (forecast.p50, forecast.p90) {
            forecast.uncorrected = Some((p50, p90));
            let waits = (p50.since(self.now), p90.since(self.now));
            // Who has run before is not what the corrections were learned from.
            if view.started_at.is_none() {
                let (p50, p90) = self.history.calibration.correct(self.now, waits.0, waits.1);
                (forecast.p50, forecast.p90) = (Some(self.now + p50), Some(self.now + p90));
            }
        }
        if starts.is_empty() {
            forecast.never = self.engine.verdict(view.id).filter(|verdict| {
                matches!(
                    verdict,
                    Verdict::Held | Verdict::NoRight { .. } | Verdict::NoSuchGroup { .. } | Verdict::NeverFits { .. }
                )
            });
        }
        forecast.doubts = self.doubts(&forecast);
        forecast
    }

    fn doubts(&self, forecast: &Forecast) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        if self.past.is_empty() || !says_something(self.past_from, self.now) {
            doubts.push(Doubt::ArrivalsUnknown);
        }
        if self.sources.guessed > 0 {
            doubts.push(Doubt::DurationsGuessed { tasks: self.sources.guessed });
        }
        if forecast.rollouts < self.options.rollouts {
            doubts.push(Doubt::CutShort { wanted: self.options.rollouts });
        }
        if forecast.started_in < forecast.rollouts {
            doubts.push(Doubt::BeyondHorizon { rollouts: forecast.rollouts - forecast.started_in });
        }
        let scored = self.history.calibration.scored();
        if !self.history.calibration.is_tried() {
            doubts.push(Doubt::Untried { scored: u32::try_from(scored).unwrap_or(u32::MAX) });
        }
        doubts
    }
}

/// Their groups, and those of the tasks that they wait for.
fn groups_of(engine: &Engine, tasks: &BTreeSet<TaskId>) -> BTreeSet<GroupName> {
    let mut groups = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut next: Vec<TaskId> = tasks.iter().copied().collect();
    while let Some(id) = next.pop() {
        let Some(view) = engine.task(id).filter(|_| seen.insert(id)) else { continue };
        groups.insert(view.spec.group.clone());
        next.extend(view.spec.after.iter().map(|dependency| dependency.task));
    }
    groups
}

/// A submission as it may come again, without what tied it to its time.
fn again(spec: &Arc<TaskSpec>) -> Arc<TaskSpec> {
    if spec.after.is_empty() && spec.not_before.is_none() && spec.deadline.is_none() && spec.custom_rank.is_none() {
        return Arc::clone(spec);
    }
    let mut spec = TaskSpec::clone(spec);
    spec.after.clear();
    (spec.not_before, spec.deadline, spec.custom_rank) = (None, None, None);
    Arc::new(spec)
}

/// Notes when tasks first start, until all have.
struct Starts {
    wanted: BTreeSet<TaskId>,
    seen: Vec<(TaskId, Time)>,
}

impl Starts {
    fn flow(&self) -> ControlFlow<()> {
        if self.wanted.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Watch for Starts {
    fn started(&mut self, at: Time, task: TaskId, _: RunId) -> ControlFlow<()> {
        if self.wanted.remove(&task) {
            self.seen.push((task, at));
        }
        self.flow()
    }

    fn ended(&mut self, task: &TaskView, _: crate::sim::Record) -> ControlFlow<()> {
        // It failed with one that it waited for, and will never start.
        self.wanted.remove(&task.id);
        self.flow()
    }
}

impl Forecast {
    /// Whether enough forecasts came true or not here to tell how good they are.
    #[must_use]
    pub fn is_tried(&self) -> bool {
        !self.doubts.iter().any(|doubt| matches!(doubt, Doubt::Untried { .. }))
    }

    /// The same, told somewhat later, while the task still waits: it does not start before that.
    #[must_use]
    pub fn told_at(mut self, now: Time) -> Self {
        if self.running_since.is_none() {
            self.p50 = self.p50.map(|start| start.max(now));
            self.p90 = self.p90.map(|start| start.max(now));
        }
        self
    }
}

/// What is said if there was no rollout.
pub const UNTOLD: &str =
    "when it will start can not be told: even one rollout would take too long, so much is before it";

/// One sentence for people, times in UTC.
impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sources { given, learned, guessed } = self.durations;
        match (self.running_since, self.p50, self.p90) {
            (Some(since), ..) => return write!(f, "it has its place since {since}"),
            (None, Some(p50), Some(p90)) if self.is_tried() => write!(f, "likely by {p50}, nearly surely by {p90}")?,
            (None, Some(p50), Some(p90)) => write!(f, "probably by {p50}, in nine of ten rollouts by {p90}")?,
            (None, Some(p50), None) if self.rollouts < P90_ROLLOUTS_MIN => {
                write!(f, "likely by {p50}; more can not be told, as too few rollouts were made")?;
            }
            (None, Some(p50), None) => write!(f, "likely by {p50}, but maybe not by {}", self.horizon)?,
            _ => match &self.never {
                Some(verdict) => return write!(f, "never as things are: {verdict}"),
                None if self.rollouts == 0 => return f.write_str(UNTOLD),
                None => write!(f, "probably not by {}", self.horizon)?,
            },
        }
        let rollouts = self.rollouts;
        write!(f, " (p50/p90 of {rollouts} rollouts; durations: {given} given, {learned} learned, {guessed} guessed)")
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::ArrivalsUnknown => f.write_str("too little is known of what will be submitted; nothing was assumed"),
            Doubt::DurationsGuessed { tasks } => write!(f, "nobody knows how long {tasks} of the tasks before it take"),
            Doubt::CutShort { wanted } => write!(f, "fewer than {wanted} rollouts were made, as each is long"),
            Doubt::BeyondHorizon { rollouts } => write!(f, "in {rollouts} rollouts it had not started by the end"),
            Doubt::Untried { scored } => write!(f, "only {scored} forecasts were put to the test here so far"),
        }
    }
}
