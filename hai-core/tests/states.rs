//! States that older versions wrote are read, and those of newer ones are refused.

use hai_core::engine::{Engine, EngineConfig, EngineState};
use hai_core::model::*;

/// What the first version wrote: two nodes, a gang that leaves for a better task, one that runs beside it, one held.
const FIRST: &str = include_str!("data/state-1.json");

fn read(text: &str) -> EngineState {
    serde_json::from_str(text).expect("a state")
}

#[test]
fn a_state_of_the_first_schema_is_read_and_goes_on() {
    let state = read(FIRST);
    assert_eq!(state.schema(), 1);
    let mut engine = Engine::restore(EngineConfig::default(), state);
    let states = |engine: &Engine| engine.tasks().map(|task| task.state).collect::<Vec<_>>();
    use TaskState::*;
    assert_eq!(states(&engine), [Suspending, Promised, Promised, Held]);
    assert_eq!(engine.task(TaskId(1)).expect("it is unfinished").whole_life_state, 41);
    let now = engine.now();
    for rank in 0..2 {
        let exit = WorkerExit::exited(0).after_signal();
        engine.observe(now, &Fact::WorkerEnded { run: RunId(1), rank, exit }).expect("the run is known");
    }
    let round = engine.schedule(now);
    let started: Vec<TaskId> = round
        .decisions
        .iter()
        .filter_map(|decision| if let Decision::Start { task, .. } = decision { Some(*task) } else { None })
        .collect();
    assert_eq!(started, [TaskId(2), TaskId(3)]);
}

#[test]
fn what_is_written_names_the_present_schema_and_reads_back() {
    let engine = Engine::restore(EngineConfig::default(), read(FIRST));
    let state = engine.snapshot();
    assert_eq!(state.schema(), EngineState::SCHEMA);
    let text = serde_json::to_string(&state).expect("a state is plain data");
    assert_eq!(read(&text), state);
}

#[test]
fn a_state_of_an_unknown_schema_is_refused() {
    let state = Engine::new(EngineConfig::default()).snapshot();
    for schema in [0, EngineState::SCHEMA + 1] {
        let mut value = serde_json::to_value(&state).expect("a state is plain data");
        value["schema"] = schema.into();
        let error = serde_json::from_value::<EngineState>(value).expect_err("nobody knows it").to_string();
        assert!(error.contains(&format!("the state has schema {schema}")), "{error}");
    }
}
