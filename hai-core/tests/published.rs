//! Published experiments, played by their own rules and held against what was published.
//!
//! Most need whole traces, which are too large to ship: they are looked for in a folder `shared` beside the repository, and
//! a test that does not find them says so and is over.

#[path = "published/backfill.rs"]
mod backfill;
#[path = "published/cuts.rs"]
mod cuts;
#[path = "published/files.rs"]
mod files;
#[path = "published/muri.rs"]
mod muri;
#[path = "published/naive.rs"]
mod naive;
#[path = "published/registry.rs"]
mod registry;
#[path = "published/venus.rs"]
mod venus;
