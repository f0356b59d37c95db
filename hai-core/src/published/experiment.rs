//! Published experiments by name: what each needs, and what comes out of it.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use super::Figure;
use crate::trace::TraceError;

/// One experiment of others that can be played again.
#[derive(Clone, Copy, Debug)]
pub struct Experiment {
    /// Its name, by which it is asked for.
    pub name: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    /// Where it was published.
    pub paper: &'static str,
    /// The files it reads unless other inputs are chosen, by their place in the folder of traces.
    pub files: &'static [&'static str],
    /// What of [`Choice`] it heeds.
    pub heeds: &'static [Knob],
    /// Plays it.
    pub run: Run,
}

/// How an experiment is played.
pub type Run = fn(&mut dyn Files, &Choice) -> Result<Outcome, ExperimentError>;

/// What can be chosen of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knob {
    /// [`Choice::variant`].
    Variant,
    /// [`Choice::seeds`].
    Seeds,
    /// [`Choice::policies`].
    Policies,
    /// [`Choice::tune`].
    Tune,
}

/// What is to be played otherwise than it was published. What is left out is as published.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// The workload, by the name of the authors.
    pub variant: Option<String>,
    /// What the draws start from.
    pub seeds: Vec<i64>,
    /// Policies, by their names in the experiment.
    pub policies: Vec<String>,
    /// How much work arrives, relative to the cluster.
    pub tune: Option<f64>,
}

/// Where the files are. Whoever runs an experiment opens them; this crate does not.
pub trait Files {
    /// Opens a file by its place in the folder of traces, and undoes its compression.
    ///
    /// # Errors
    /// As the file system says.
    fn open(&mut self, path: &str) -> io::Result<Box<dyn Read>>;
}

/// What comes out of an experiment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Ours beside theirs.
    pub figures: Vec<Figure>,
    /// Ours, where theirs is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<Measure>,
    /// Ours as it develops.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curves: Vec<Curve>,
}

/// A figure with nothing to compare it to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// What it is.
    pub name: String,
    /// Its unit; empty for a count.
    pub unit: String,
    /// The figure.
    pub value: f64,
    /// With how many digits behind the point it is worth telling.
    pub digits: u8,
}

/// A figure as it develops.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// What it is, such as `alloc`.
    pub metric: String,
    /// By which policy.
    pub policy: String,
    /// What the draws started from.
    pub seed: i64,
    /// One value for each step, `None` where there is none.
    pub values: Vec<Option<f64>>,
}

/// Why an experiment can not be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// A file can not be opened.
    #[error("{file} can not be opened: {source}")]
    File {
        /// Its place in the folder of traces.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// What is in a file can not be used.
    #[error("{file}: {error}")]
    Trace {
        /// Its place in the folder of traces.
        file: String,
        /// What is wrong, and where.
        error: TraceError,
    },
    /// The choice can not be had.
    #[error("{what} is not known here; there {}", list(.known))]
    Unknown {
        /// What was chosen.
        what: String,
        /// What can be chosen.
        known: Vec<String>,
    },
    /// The choice makes no sense.
    #[error("{0}")]
    Choice(String),
}

fn list(known: &[String]) -> String {
    match known {
        [] => "is nothing to choose".into(),
        [only] => format!("is only {only}"),
        _ => format!("are {}", known.join(", ")),
    }
}

impl Experiment {
    /// All there are, in the order of their names.
    #[must_use]
    pub fn all() -> &'static [Experiment] {
        ALL
    }

    /// The one with this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Experiment> {
        ALL.iter().find(|experiment| experiment.name == name)
    }

    /// Plays it.
    ///
    /// # Errors
    /// A file is missing or broken, or something was chosen that there is not.
    pub fn play(&self, files: &mut dyn Files, choice: &Choice) -> Result<Outcome, ExperimentError> {
        let chosen = [
            (Knob::Variant, choice.variant.is_some(), "variant"),
            (Knob::Seeds, !choice.seeds.is_empty(), "seed"),
            (Knob::Policies, !choice.policies.is_empty(), "policy"),
            (Knob::Tune, choice.tune.is_some(), "load"),
        ];
        match chosen.iter().find(|(knob, chosen, _)| *chosen && !self.heeds.contains(knob)) {
            Some((_, _, what)) => Err(ExperimentError::Choice(format!("{} has no {what} to choose", self.name))),
            None => (self.run)(files, choice),
        }
    }
}

/// Every experiment. To add one, add its line, in the order of names.
const ALL: &[Experiment] = &[
    super::backfill::BATSIM,
    super::backfill::KTH,
    super::muri::EXPERIMENT,
    super::openb::EXPERIMENT,
    super::helios::PHILLY,
    super::helios::VENUS,
];

impl Outcome {
    /// Whether all figures are met.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.figures.iter().all(Figure::is_met)
    }
}

impl From<Vec<Figure>> for Outcome {
    fn from(figures: Vec<Figure>) -> Self {
        Outcome { figures, ..Outcome::default() }
    }
}
