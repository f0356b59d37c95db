//! Chaos: a daemon and its database are killed, frozen, cut off from each other, left without room and without the right time.
//!
//! `faults` says what is done, `alone` does each by itself, `together` all of them in an order that a seed draws, `embedded`
//! what applies to the file; `away` keeps the database away for long. `lab` has a daemon, and tasks whose own notes tell what
//! became of them; `judged` holds what was stored against the judge of hai-core.

mod alone;
mod away;
mod embedded;
mod faults;
#[path = "../../../hai-core/tests/judge/mod.rs"]
#[expect(dead_code, reason = "most of it serves another test")]
mod judge;
mod judged;
mod lab;
#[path = "../support/postgres.rs"]
mod postgres;
mod proxy;
#[path = "../daemon/support.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod support;
mod together;
mod trouble;
