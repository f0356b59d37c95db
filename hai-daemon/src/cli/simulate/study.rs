//! Plays every policy with every seed, several at once, and holds what came out.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use hai_core::engine::EngineConfig;
use hai_core::model::Time;
use hai_core::placement::PlacementPolicy;
use hai_core::queue::order::OrderPolicy;
use hai_core::sim::study::{Contender, Figures, Foretold, Interval, Options, Outcome, Submits};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::SimulateArgs;
use super::inputs::Inputs;
use super::stop::Stop;
use crate::cli::error::CliError;
use crate::cli::output::Printer;

/// All that came out; what `--json` prints and `--compare` reads.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Study {
    /// Which layout this is: 1.
    pub hai_study: u32,
    /// The version that played it.
    pub hai: String,
    /// The cluster, in words.
    pub cluster: String,
    /// Its nodes.
    pub nodes: usize,
    /// Its devices.
    pub devices: usize,
    /// The work, in words.
    pub trace: String,
    /// Lines of the trace that could not be read and were left out.
    pub bad_lines: u64,
    /// What else was asked, as on the command line.
    pub asked: Vec<String>,
    /// Whether it was ended by hand before all was played.
    pub broken_off: bool,
    /// When the first task was submitted.
    pub start: Time,
    /// By policy, then seed.
    pub runs: Vec<Run>,
}

/// One simulation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// The policy's name.
    pub policy: String,
    /// The seed.
    pub seed: u64,
    /// What came out.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Study {
    /// The names of the policies, in the order in which they were asked for.
    #[must_use]
    pub fn policies(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for run in &self.runs {
            if !names.contains(&run.policy.as_str()) {
                names.push(&run.policy);
            }
        }
        names
    }

    /// The runs of a policy.
    pub fn of<'a>(&'a self, policy: &'a str) -> impl Iterator<Item = &'a Run> + 'a {
        self.runs.iter().filter(move |run| run.policy == policy)
    }

    /// How much greater a figure of another study's policy is, over all seeds; of the same seeds each is held against its own.
    #[must_use]
    pub fn difference(&self, policy: &str, other: &Study, opposite: &str, of: impl Fn(&Figures) -> f64) -> Interval {
        let values = |study: &Study, policy: &str| -> Vec<f64> {
            study.of(policy).map(|run| of(&run.outcome.figures)).collect()
        };
        let seeds = |study: &Study, policy: &str| -> Vec<u64> { study.of(policy).map(|run| run.seed).collect() };
        let paired = seeds(self, policy) == seeds(other, opposite);
        Interval::of_difference(&values(self, policy), &values(other, opposite), paired)
    }

    /// A figure of a policy over all its seeds.
    #[must_use]
    pub fn interval(&self, policy: &str, of: impl Fn(&Figures) -> f64) -> Interval {
        let values: Vec<f64> = self.of(policy).map(|run| of(&run.outcome.figures)).collect();
        Interval::of(&values)
    }
}

/// Plays all.
///
/// # Errors
/// A policy that is none, or a cluster that contradicts itself.
pub(super) fn play(args: &SimulateArgs, inputs: &Inputs, printer: &Printer) -> Result<Study, CliError> {
    let options = Options {
        warm_up: args.warm_up,
        until: args.end_after,
        tasks: args.csv.is_some(),
        forecasts: args.forecasts,
        ..Options::default()
    };
    let mut policies: Vec<&str> = Vec::new();
    for name in &args.policy {
        if policies.contains(&name.as_str()) {
            printer.warn(format!("{name} is named twice; it is played once"));
        } else {
            policies.push(name);
        }
    }
    // What is wrong with a policy is said before anything is played.
    let mut by_lot = inputs.profile.is_some() || args.jitter.is_some() || inputs.cluster.faults.any();
    for name in &policies {
        if let Contender::Engine(config, submits) = inputs.policy(name, &inputs.load)? {
            tell_if_idle(name, &config, submits, inputs, printer);
            by_lot |= matches!(config.placement, PlacementPolicy::Random { .. });
        }
    }
    let seeds = if by_lot { args.seeds } else { 1 };
    if seeds < args.seeds {
        printer.warn("nothing is drawn by lot, so all seeds would be alike: one is played (--jitter, faults, --synthetic or +random draw)");
    }
    let trials: Vec<(&str, u64)> = policies
        .iter()
        .flat_map(|&policy| (0..seeds).map(move |seed| (policy, args.seed.wrapping_add(seed))))
        .collect();
    let stop = Stop::on_interrupt();
    let tasks = args.synthetic.unwrap_or(inputs.load.tasks().len()) as u64;
    let bar = bar(printer, tasks * trials.len() as u64);
    let done = AtomicU64::new(0);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(args.threads.unwrap_or(0)).build();
    let pool = pool.map_err(|error| CliError::Usage(format!("--threads: {error}")))?;
    let one = |&(policy, seed): &(&str, u64)| -> Result<Option<(Time, Run)>, CliError> {
        if stop.is_wanted() {
            return Ok(None);
        }
        let load = inputs.load(args, seed)?;
        let contender = inputs.policy(policy, &load)?;
        let mut told = 0;
        let outcome = contender.play(&inputs.cluster, &load, seed, &options, &mut |progress| {
            let over = progress.over as u64;
            bar.set_position(done.fetch_add(over - told, Ordering::Relaxed) + over - told);
            told = over;
            if stop.is_wanted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let outcome = outcome
            .map_err(|error| CliError::BadFile { file: inputs.cluster_name.clone(), problem: error.to_string() })?;
        done.fetch_add(tasks.saturating_sub(told), Ordering::Relaxed);
        Ok(Some((load.first().unwrap_or(Time::ZERO), Run { policy: policy.to_owned(), seed, outcome })))
    };
    let played: Vec<Option<(Time, Run)>> =
        pool.install(|| trials.par_iter().map(one).collect::<Result<Vec<_>, CliError>>())?;
    bar.finish_and_clear();
    let mut start = None;
    let mut runs: Vec<Run> = Vec::new();
    let whole = |run: &Run| !run.outcome.figures.partial || args.end_after.is_some();
    let played: Vec<(Time, Run)> = played.into_iter().flatten().collect();
    for (first, run) in &played {
        start.get_or_insert(*first);
        // Half a seed says nothing beside whole ones; alone it is better than nothing.
        if whole(run) || !played.iter().any(|(_, other)| other.policy == run.policy && whole(other)) {
            runs.push(run.clone());
        }
    }
    Ok(Study {
        hai_study: 1,
        hai: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: inputs.cluster_name.clone(),
        nodes: inputs.cluster.nodes.len(),
        devices: inputs.cluster.devices(),
        trace: inputs.trace_name.clone(),
        bad_lines: inputs.bad_lines,
        asked: asked(args),
        broken_off: stop.is_wanted(),
        start: start.unwrap_or(Time::ZERO),
        runs,
    })
}

/// Says so if an order has nothing to go by: it is first come, first served then.
fn tell_if_idle(name: &str, config: &EngineConfig, submits: Submits, inputs: &Inputs, printer: &Printer) {
    let by_length = matches!(config.order, OrderPolicy::ShortestExpected(_) | OrderPolicy::ShortestRemaining(_));
    let tasks = || inputs.load.tasks().iter();
    let foretold = submits.foretold != Foretold::Given;
    if by_length && !foretold && inputs.profile.is_none() && tasks().all(|task| task.spec.expected.is_none()) {
        printer.warn(format!(
            "{name}: nobody says how long tasks take, so that it is first come, first served; +learned or +oracle does"
        ));
    }
    if foretold && !by_length {
        printer.warn(format!("{name}: only sjf and srtf look at how long tasks take"));
    }
    let by_deadline = matches!(config.order, OrderPolicy::EarliestDeadline(_));
    if by_deadline && tasks().all(|task| task.spec.deadline.is_none()) {
        printer.warn(format!("{name}: no task has a deadline, so that it is first come, first served"));
    }
}

/// What was asked beyond cluster, trace and policies, as on the command line.
fn asked(args: &SimulateArgs) -> Vec<String> {
    let mut words = Vec::new();
    let mut span = |name: &str, span: Option<hai_core::model::Span>| {
        if let Some(span) = span.filter(|span| *span > hai_core::model::Span::ZERO) {
            words.push(format!("--{name} {span}"));
        }
    };
    span("warm-up", Some(args.warm_up));
    span("from", Some(args.from));
    span("until", args.until);
    span("end-after", args.end_after);
    span("jitter", args.jitter);
    if args.load != 1000 {
        words.push(format!("--load {}", f64::from(args.load) / 1000.0));
    }
    if args.size != 1 {
        words.push(format!("--size {}", args.size));
    }
    if let Some(count) = args.forecasts {
        words.push(format!("--forecasts {count}"));
    }
    if args.one_group {
        words.push("--one-group".to_owned());
    }
    if args.strangers {
        words.push("--strangers".to_owned());
    }
    if args.oracle {
        words.push("--oracle".to_owned());
    }
    words
}

/// Tells people on a terminal how far it is, and how long it will take.
fn bar(printer: &Printer, length: u64) -> ProgressBar {
    if printer.json {
        return ProgressBar::hidden();
    }
    // It shows nothing where standard error is no terminal.
    let bar = ProgressBar::new(length);
    let style = ProgressStyle::with_template("{wide_bar} {percent} %  {human_pos}/{human_len} tasks  {eta} left");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}
