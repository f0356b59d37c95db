//! Placement against a brute-force oracle, and worked examples.

mod build;
mod examples;
mod oracle;
mod policies;
