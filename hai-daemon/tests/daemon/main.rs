//! The whole daemon as people use it: real processes, real HTTP, a real database, real crashes.

mod crash;
mod dialect;
mod hearing;
mod history;
mod leading;
mod moving;
mod page;
#[path = "../support/postgres.rs"]
mod postgres;
mod server;
mod settings;
mod sharing;
mod support;
