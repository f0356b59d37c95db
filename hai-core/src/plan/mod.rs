//! One decision about a cluster that somebody else keeps: a document in, decisions and verdicts out.
//!
//! See [`plan`] for the primary entry point. A [`Document`] says what there is and who is where; the [`Answer`] says who
//! starts, who leaves, and why everybody else waits. Nothing is remembered between two documents, so any program, in any
//! language, can use the engine so. Whoever keeps a cluster for longer keeps an [`Engine`] instead, which costs less.

mod answer;
mod assign;
mod document;

pub use answer::{Action, Answer, TaskAnswer};
pub use assign::AssignResult;
pub use document::{Document, PlanError, RunEntry, TaskEntry, WorkerEntry};

use crate::engine::{Engine, Policy};

/// Makes one round for what the document describes.
///
/// # Errors
/// [`PlanError`] names the entry that can not be, and why.
pub fn plan(document: &Document) -> Result<Answer, PlanError> {
    let mut engine = document.build()?;
    let upstream = (document.config.policy == Policy::HaiFifo).then(|| assign::assign(&mut engine));
    let round = engine.schedule(document.now);
    Ok(answer::answer(&engine, document, round, upstream.as_ref()))
}

/// The engine that the document describes, before it has decided anything.
///
/// # Errors
/// [`PlanError`] names the entry that can not be, and why.
pub fn engine(document: &Document) -> Result<Engine, PlanError> {
    document.build()
}
