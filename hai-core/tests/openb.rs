//! The openb experiment against what was published of it, and against a plain second writing of its rules in doubles.
//!
//! The traces may not be handed on, so they are looked for beside the repository (`../shared/traces/openb`, or what
//! `HAI_TRACES` names); without them only made-up clusters are played. `HAI_OPENB_ALL=1` plays all workloads and ten seeds.

#[path = "openb/made_up.rs"]
mod made_up;
#[path = "openb/oracle.rs"]
mod oracle;
#[path = "openb/published.rs"]
mod published;
#[path = "openb/traces.rs"]
mod traces;
