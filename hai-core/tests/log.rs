//! Logs of random stories, with crashes and failures: written, read, decided anew, made anonymous, and added up.

#[path = "log/audit.rs"]
mod audit;
#[path = "log/diffing.rs"]
mod diffing;
#[expect(dead_code, reason = "most of it serves another test")]
mod judge;
#[path = "log/judging.rs"]
mod judging;
#[path = "log/replaying.rs"]
mod replaying;
#[allow(dead_code, reason = "the driver's own tests use the rest")]
#[path = "driver/sim.rs"]
mod sim;
#[path = "log/stories.rs"]
mod stories;
mod support;
#[allow(dead_code, reason = "the driver's own tests use the rest")]
#[path = "driver/world.rs"]
mod world;
#[allow(dead_code, reason = "the driver's own tests use the rest")]
#[path = "driver/wrap.rs"]
mod wrap;
