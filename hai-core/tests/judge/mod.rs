//! The independent judge: it keeps books of its own from facts and decisions alone, and holds every round against them.
//!
//! [`world::World`] plays a list of [`ops::Op`] against the engine and a simulated cluster; [`books::Books`] is what the
//! judge knows, `rights` what it reckons of rights, `room` what of places; `decisions`, `yielding` and `verdicts` are its
//! checks. [`noise`] asks whether others' trouble changes anything, and [`stored`] judges a log that somebody kept.

pub(crate) mod asks;
pub(crate) mod books;
pub(crate) mod decisions;
pub(crate) mod kept;
pub(crate) mod life;
pub(crate) mod noise;
pub(crate) mod ops;
pub(crate) mod rights;
pub(crate) mod room;
pub(crate) mod rules;
pub(crate) mod stand;
#[allow(dead_code, reason = "only tests that have a log use it")]
pub(crate) mod stored;
pub(crate) mod verdicts;
pub(crate) mod world;
pub(crate) mod yielding;
