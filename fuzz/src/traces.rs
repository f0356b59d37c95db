//! Traces and clusters of simulations, read from any bytes.

use std::ops::ControlFlow;

use hai_core::engine::EngineConfig;
use hai_core::model::{GroupName, Span};
use hai_core::sim::study::{ClusterFile, Load, Options, helios, openb, play};
use hai_core::trace::{BatsimWorkload, Format, batsim_executions, open, predictions, virtual_clusters};

/// More rows than this are not played.
const ROWS_MAX: usize = 50;

/// No reader panics or goes on for ever, every mistake has words, and what is accepted can be played on a small cluster: no
/// task is forgotten. The first byte chooses who reads the others.
pub fn traces(bytes: &[u8]) {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let choice = usize::from(choice);
    if let Some(&format) = Format::ALL.get(choice) {
        return trace(format, bytes);
    }
    match choice - Format::ALL.len() {
        0 => drop(openb(bytes).map_err(told)),
        1 => drop(helios(bytes).map_err(told)),
        2 => drop(virtual_clusters(bytes).map_err(told)),
        3 => drop(predictions(bytes).map_err(told)),
        4 => drop(batsim_executions(bytes).map_err(told)),
        5 => drop(BatsimWorkload::read(bytes).map_err(told)),
        6 => {
            if let Ok(file) = serde_json::from_slice::<ClusterFile>(bytes) {
                drop(file.build().map_err(told));
            }
        }
        _ => drop(Format::detect(bytes)),
    }
}

fn told<E: std::fmt::Display>(error: E) {
    assert!(!error.to_string().is_empty(), "refused without a word");
}

fn trace(format: Format, bytes: &[u8]) {
    let jobs = match open(format, bytes) {
        Ok(jobs) => jobs,
        Err(error) => return told(error),
    };
    let mut load = Load::default();
    for (read, job) in jobs.enumerate() {
        assert!(read <= bytes.len(), "more rows than bytes");
        match job {
            Ok(job) if load.tasks().len() < ROWS_MAX => load.push(job),
            Ok(_) => {}
            Err(error) => told(error),
        }
    }
    load.sort();
    let cluster = r#"{"node": [{"name": "n", "count": 2, "devices": 8}], "conduct": {"restart": "60s"}}"#;
    let cluster = serde_json::from_str::<ClusterFile>(cluster).expect("JSON").build().expect("a cluster");
    // Slices of a day: what runs for ages is not handed to and fro for ages.
    let options = Options { until: Some(Span::from_mins(30 * 24 * 60)), ..Options::default() };
    let tasks = load.tasks().len() as u64;
    let load = load.one_group(&GroupName::new("default").expect("plain"));
    let outcome = play(&cluster, &load, EngineConfig::default(), 1, &options, &mut |_| ControlFlow::Continue(()));
    let figures = outcome.expect("a good cluster").figures;
    assert!(figures.tasks + figures.refused <= tasks);
    assert!(figures.jct.mean.is_finite() && figures.occupancy <= 100.000_001, "{figures:?}");
}
