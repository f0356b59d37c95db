//! The page as people use it: a real Chromium before a real daemon on simulated devices.
//!
//! Pictures of what it looked like are left in `target/studio`.

mod browser;
mod changing;
mod hostile;
mod looks;
mod measure;
mod playing;
mod signing;
#[path = "../daemon/support.rs"]
#[expect(dead_code, reason = "it serves other tests too")]
mod support;
mod watching;
mod wire;
