//! The whole daemon as people use it: real processes, real HTTP, a real database, real crashes.

mod crash;
mod history;
mod settings;
mod sharing;
mod support;
