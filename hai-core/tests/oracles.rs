//! Small random clusters against a search through everything: where a task goes, who has to leave for it, and whether those
//! for whom nodes are kept start in time.
//!
//! `PROPTEST_CASES` sets how many stories are played, and `PROPTEST_RNG_SEED` which; by default they are always the same.

#[path = "oracles/backfill.rs"]
mod backfill;
#[path = "oracles/placement.rs"]
mod placement;
#[path = "oracles/places.rs"]
mod places;
mod support;
#[path = "oracles/victims.rs"]
mod victims;
