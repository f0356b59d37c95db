//! Discrete-event simulation over the very engine that decides in production, on a clock of its own.
//!
//! See [`Sim`] for the primary entry point. It is given an engine (a new one, or a copy of a live one with what runs and
//! waits in it), tasks with the work that is truly in them as they arrive, and how the cluster behaves; it tells when each
//! started and ended, how often it was suspended, and what that cost. Nothing about deciding is repeated here: a simulated
//! cluster carries out what [`Engine::schedule`](crate::engine::Engine::schedule) says, and reports it as facts.
//!
//! All times are whole milliseconds, and nothing is drawn by lot: the same input gives the same events. Who wants to draw
//! (arrivals, durations) takes [`SplitMix64`], whose stream is fixed for good.
//!
//! ```
//! use std::sync::Arc;
//! use hai_core::engine::{Engine, EngineConfig};
//! use hai_core::model::*;
//! use hai_core::sim::{Conduct, Input, Limits, Record, Sim, Work};
//!
//! let mut engine = Engine::new(EngineConfig::default());
//! let group = GroupName::new("default")?;
//! let mut node = NodeSpec::new(NodeName::new("lab-1")?, group.clone(), 16_000, 64 << 10);
//! node.devices.push(DeviceSpec::new(DeviceId::new("gpu-0")?, ModelName::new("RTX 3070")?, 8 << 10));
//! engine.observe(Time::ZERO, &Fact::NodeSet { node })?;
//! let right = RightRow::new(RightKey::default(), Allowance::UNLIMITED);
//! engine.observe(Time::ZERO, &Fact::RightSet { right })?;
//!
//! // Three tasks of an hour each for one device.
//! let spec = TaskSpec::new("train", UserName::new("alice")?, group, Priority::Normal, WorkerRequest::devices(1));
//! let spec = Arc::new(spec);
//! let hour = Span::from_mins(60);
//! let arrivals = (0..3).map(|_| Input::submit(Time::ZERO, Arc::clone(&spec), Work::of(hour)));
//!
//! let mut records: Vec<Record> = Vec::new();
//! Sim::new(engine, Conduct::default(), arrivals).run(Limits::NONE, &mut records);
//! let starts: Vec<_> = records.iter().map(|record| record.started_at.unwrap().as_ms() / 3_600_000).collect();
//! assert_eq!(starts, [0, 1, 2]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod input;
mod job;
mod kernel;
mod random;
pub mod study;
mod watch;

pub use input::{Conduct, Ending, Input, Work};
pub use kernel::{Counts, Halt, Limits, Sim};
pub use random::SplitMix64;
pub use watch::{Record, Watch};
