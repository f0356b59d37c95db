//! Published experiments of others, played by their own rules, so that their figures can be met.
//!
//! Each simulator here is event-driven and stands apart from the engine where the published rules do (ticks, overheads,
//! selection by count); what they share with it (placement policies, inventory, orders) is the engine's own. What differs
//! between them is a named switch.

pub mod backfill;
mod compare;
mod experiment;
mod figure;
pub mod helios;
pub mod muri;
pub mod openb;

pub use experiment::{Choice, Curve, Experiment, ExperimentError, Files, Knob, Measure, Outcome, Run};
pub use figure::Figure;
