//! hai shares GPU machines between people by time; this crate decides who gets which machine, and when.
//!
//! Every task gets what it needs while it has the best right to it, is suspended with a checkpoint when somebody with a
//! better right comes, and goes on by itself. Facts go in through [`Engine::observe`], decisions come out of
//! [`Engine::schedule`]; what is between them is this crate's business, what is around them the embedder's.
//!
//! # A quick tour
//!
//! Describe a machine, say who may hold how much, and submit two tasks. The engine never reads a clock, so every call says
//! what time it is:
//!
//! ```
//! use hai_core::engine::{Engine, EngineConfig};
//! use hai_core::model::*;
//!
//! let mut engine = Engine::new(EngineConfig::default());
//! let now = Time::ZERO;
//! let group = GroupName::new("default")?;
//!
//! let mut node = NodeSpec::new(NodeName::new("lab-1")?, group.clone(), 16_000, 64 << 10); // 16 cores, 64 GiB
//! node.devices.push(DeviceSpec::new(DeviceId::new("gpu-0")?, ModelName::new("RTX 3070")?, 8 << 10));
//! engine.observe(now, &Fact::NodeSet { node })?;
//! let everybody = RightRow::new(RightKey::default(), Allowance::UNLIMITED);
//! engine.observe(now, &Fact::RightSet { right: everybody })?;
//!
//! for user in ["alice", "bob"] {
//!     let request = WorkerRequest::devices(1);
//!     let spec = TaskSpec::new("train", UserName::new(user)?, group.clone(), Priority::Normal, request);
//!     engine.observe(now, &Fact::Submitted { task: engine.next_task_id(), spec: spec.into() })?;
//! }
//!
//! // A round. Actions are for the embedder to carry out; the capacity is taken from now on.
//! let round = engine.schedule(now);
//! let [Decision::Start { task: TaskId(1), run, placement, .. }] = &round.decisions[..] else { panic!("{round:?}") };
//! assert_eq!(placement.workers[0].devices[0].as_str(), "gpu-0");
//!
//! // Every task that waits is told why, as data and in one sentence.
//! let verdict = engine.verdict(TaskId(2)).expect("it waits");
//! assert!(matches!(&verdict, Verdict::NoRoom { lack } if lack.free_devices == 0));
//! assert!(verdict.to_string().starts_with("no room now"));
//!
//! // What became of an action is a fact too; what it frees is given out in the next round.
//! engine.observe(now, &Fact::WorkerStarted { run: *run, rank: 0 })?;
//! let later = now + Span::from_mins(10);
//! engine.observe(later, &Fact::WorkerEnded { run: *run, rank: 0, exit: WorkerExit::exited(0) })?;
//! let round = engine.schedule(later);
//! assert!(matches!(round.decisions[..], [Decision::Start { task: TaskId(2), .. }]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Between rounds nothing needs to be done until a fact comes or [`Engine::next_deadline`] has passed.
//!
//! # Where to go next
//!
//! - What a task can ask for: [`TaskSpec`] and [`WorkerRequest`]; rights: [`RightRow`] and [`Team`]; how it is decided:
//!   [`EngineConfig`].
//! - A real cluster and a store that survives crashes: implement [`Cluster`] and [`Store`], and let a [`Driver`] observe,
//!   decide, store and act in the right order.
//! - An order or a placement of one's own: implement [`Order`] or [`Scorer`], and give it to [`Engine::with_policies`].
//! - The repository's `examples/` show all of these at work, and `ARCHITECTURE.md` says why things are as they are.
//!
//! | module | holds |
//! |---|---|
//! | [`model`] | plain data: tasks, nodes, rights, facts, decisions, verdicts |
//! | [`engine`] | the state machine: facts in, decisions out |
//! | [`backend`] | the driver over a cluster and a store, and both in memory |
//! | [`explain`] | why a task waits, what would help, when it starts, and what a change would do |
//! | [`plan`] | one decision about a cluster that somebody else keeps |
//! | [`log`] | the event log as a file: decided anew, compared, made anonymous, added up |
//! | [`sim`] | the engine on a clock of its own, with a simulated cluster; [studies](sim::study) of traces, measured |
//! | [`trace`] | readers of cluster traces |
//! | [`published`] | others' experiments, played by their own rules |
//! | [`inventory`] | what exists, who holds what, and how it lies in the network |
//! | [`rights`] | what is allowed, what is used, what teams lend each other |
//! | [`queue`] | who waits, and [in which order](queue::order) |
//! | [`placement`] | where the workers of a task fit, and [which place is best](placement::policy) |
//! | [`preemption`] | who leaves so that a task fits |
//!
//! `model`, `engine`, `explain`, `plan`, `log`, `backend`, `sim`, `queue::order` and `placement::policy` are what embedders
//! use; the others are parts of the engine that can also be used on their own.
//!
//! # What holds
//!
//! - **Pure.** No I/O, no clock, no threads, no randomness, no unsafe code. It builds for `wasm32-unknown-unknown`. The
//!   driver is a future that any runtime, or none, can poll.
//! - **Deterministic.** The same facts in the same order, with the same configuration, give the same decisions on every
//!   machine. Maps have an order, and ties end in numbers that are unique. What draws lots
//!   ([`PlacementPolicy::Random`], [forecasts](explain::forecast)) draws them from a seed.
//! - **One feature flag.** `schema` adds JSON schemas of what [`plan`] reads and answers; all else is always there.
//! - **Data is data.** What is said to the engine, by it, and about it, reads and writes with serde: all of [`model`]
//!   but its errors, [`EngineConfig`] and the settings of policies, and what a [`Cluster`] and a [`Store`] are given. [`EngineState`] says
//!   which schema it was written with: older states are read by later versions, newer ones are refused.
//!
//! [`Engine::observe`]: engine::Engine::observe
//! [`Engine::schedule`]: engine::Engine::schedule
//! [`Engine::next_deadline`]: engine::Engine::next_deadline
//! [`Engine::with_policies`]: engine::Engine::with_policies
//! [`EngineConfig`]: engine::EngineConfig
//! [`EngineState`]: engine::EngineState
//! [`TaskSpec`]: model::TaskSpec
//! [`WorkerRequest`]: model::WorkerRequest
//! [`RightRow`]: model::RightRow
//! [`Team`]: model::Team
//! [`Cluster`]: backend::Cluster
//! [`Store`]: backend::Store
//! [`Driver`]: backend::Driver
//! [`Order`]: queue::order::Order
//! [`Scorer`]: placement::Scorer
//! [`PlacementPolicy::Random`]: placement::PlacementPolicy::Random
#![forbid(unsafe_code)]

pub mod backend;
pub mod engine;
pub mod explain;
pub mod inventory;
pub mod log;
pub mod model;
pub mod placement;
pub mod plan;
pub mod preemption;
pub mod published;
pub mod queue;
pub mod rights;
pub mod sim;
mod table;
pub mod trace;

/// The README's example is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
