//! The same story gives the same digests: played twice, side by side on two threads, and in debug and release builds.

mod support;

use std::sync::Arc;
use std::thread::scope;

use hai_core::backend::{Chain, Digest};
use hai_core::engine::{Engine, EngineConfig, Policies, Policy};
use hai_core::log::{LogReader, replay};
use hai_core::model::*;
use support::{node, secs, task};

/// The last digest of the story that `play` tells, for each policy. A change in what is decided, or in how it is
/// written down, changes it; then, and only then, the new one belongs here.
const HAI: &str = "b146f2a478dd498fc86575c2b5c6c1cb425ee2ac5fa5e7dbcb80faa0d94f7895";
const HAI_FIFO: &str = "f5595b8f9560e53753860c1836d08a8e49803cf1be352b32fc18cfa70dde7e12";
