//! What the experiments on job lists share: opening files, choosing policies, and putting figures beside what was published.

use std::io::{self, Read};

use super::{ExperimentError, Figure, Files, Measure, Outcome};
use crate::trace::TraceError;

/// A figure that was published.
pub(super) struct Fact {
    /// Of which run.
    pub(super) run: &'static str,
    /// Which figure of it.
    pub(super) figure: &'static str,
    /// Its value.
    pub(super) value: f64,
    /// With how many digits behind the point.
    pub(super) digits: u8,
    /// How far ours may be away.
    pub(super) tolerance: f64,
}

/// A figure that is met where all its printed digits are.
pub(super) const fn fact(run: &'static str, figure: &'static str, value: f64, digits: u8) -> Fact {
    Fact { run, figure, value, digits, tolerance: 0.0 }
}

/// One of our figures: its name, its unit, its value, how many digits of it are worth telling.
pub(super) type Ours = (&'static str, &'static str, f64, u8);

/// Tells the figures of a run: beside what was published where that is known, alone where not.
pub(super) fn tell(outcome: &mut Outcome, facts: &[Fact], run: &str, ours: &[Ours]) {
    for &(figure, unit, value, digits) in ours {
        let mut known = false;
        for fact in facts.iter().filter(|fact| fact.run == run && fact.figure == figure) {
            // What is met only roughly is quoted by somebody else than its authors.
            let quoted = if fact.tolerance > 0.0 { ", as quoted elsewhere" } else { "" };
            let told = Figure::exact(format!("{run}: {figure}{quoted}"), unit, value, fact.value, fact.digits);
            outcome.figures.push(told.within(fact.tolerance));
            known = true;
        }
        if !known {
            outcome.measures.push(Measure { name: format!("{run}: {figure}"), unit: unit.into(), value, digits });
        }
    }
}

/// Opens a file.
pub(super) fn open(files: &mut dyn Files, path: &str) -> Result<Box<dyn Read>, ExperimentError> {
    files.open(path).map_err(|source| ExperimentError::File { file: path.into(), source })
}

/// Opens a file that need not be there.
pub(super) fn open_if_any(files: &mut dyn Files, path: &str) -> Result<Option<Box<dyn Read>>, ExperimentError> {
    match files.open(path) {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ExperimentError::File { file: path.into(), source }),
    }
}

/// Says in which file a mistake is.
pub(super) fn within(file: &str) -> impl Fn(TraceError) -> ExperimentError {
    move |error| ExperimentError::Trace { file: file.into(), error }
}

/// The policies of these names, or the first so many where none is named.
pub(super) fn policies<T: Copy>(
    names: &[String],
    known: &[(&'static str, T)],
    default: usize,
) -> Result<Vec<(&'static str, T)>, ExperimentError> {
    if names.is_empty() {
        return Ok(known[..default].to_vec());
    }
    let find = |name: &String| {
        known.iter().find(|(policy, _)| policy == name).copied().ok_or_else(|| ExperimentError::Unknown {
            what: format!("the policy {name}"),
            known: known.iter().map(|(policy, _)| (*policy).into()).collect(),
        })
    };
    names.iter().map(find).collect()
}

/// Refuses what is no plain name of a file.
pub(super) fn plain_name(variant: &str) -> Result<(), ExperimentError> {
    let plain = !variant.is_empty()
        && !variant.starts_with('.')
        && variant.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if plain { Ok(()) } else { Err(ExperimentError::Choice(format!("{variant:?} is no name of a workload"))) }
}
