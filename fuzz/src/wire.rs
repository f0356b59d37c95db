//! JSON of the log, of submissions, nodes and rights, read from any bytes.

use std::fmt::Debug;

use hai_core::backend::{Chain, Entry, Record};
use hai_core::engine::{Engine, EngineConfig, EngineState};
use hai_core::model::{Decision, Fact, NodeSpec, Program, RightRow, TaskSpec, Time};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What is accepted is written and read back as the same; and the engine, the checks and the log's chain take
/// whatever was accepted without a panic.
pub fn wire_json(bytes: &[u8]) {
    if let Some(spec) = same_written::<TaskSpec>(bytes) {
        let _ = spec.check();
    }
    if let Some(node) = same_written::<NodeSpec>(bytes) {
        let _ = node.check();
    }
    if let Some(program) = same_written::<Program>(bytes) {
        let _ = program.check();
    }
    same_written::<RightRow>(bytes);
    same_written::<Decision>(bytes);
    same_written::<EngineConfig>(bytes);
    same_written::<EngineState>(bytes);
    if let Some(fact) = same_written::<Fact>(bytes) {
        take_in([(Time::ZERO, fact)]);
    }
    if let Some(records) = same_written::<Vec<Record>>(bytes) {
        let mut chain = Chain::default();
        let sound = records.iter().all(|record| chain.verify(record));
        assert!(!sound || chain.seq() == records.len() as u64);
        take_in(records.into_iter().filter_map(|record| match record.entry {
            Entry::Fact(fact) => Some((record.at, fact)),
            Entry::Round(_) | Entry::Opened(_) => None,
        }));
    } else if let Some(record) = same_written::<Record>(bytes) {
        let _ = Chain::default().verify(&record);
    }
}

/// Facts in any order never harm the engine, and what it refuses leaves no trace.
fn take_in(facts: impl IntoIterator<Item = (Time, Fact)>) {
    let mut engine = Engine::new(EngineConfig::default());
    for (at, fact) in facts {
        let before = engine.snapshot();
        if engine.observe(at, &fact).is_err() {
            engine.observe(at, &fact).expect_err("what was refused is refused again");
            let mut unchanged = Engine::restore(EngineConfig::default(), before);
            let _ = unchanged.observe(at, &fact);
            assert_eq!(unchanged.snapshot(), engine.snapshot(), "a refused fact left a trace: {fact:?}");
        }
        engine.schedule(at);
        assert!(engine.schedule(at).is_empty(), "a second round said something after {fact:?}");
    }
}

pub(crate) fn same_written<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_vec(&value).expect("what was read can be written");
    let again: T = serde_json::from_slice(&written).expect("what was written reads back");
    assert_eq!(again, value, "it reads back as something else");
    assert_eq!(serde_json::to_vec(&again).expect("what was read can be written"), written);
    Some(value)
}
