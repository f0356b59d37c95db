//! Every committed input once: what a fuzzer found stays found, on every toolchain.

use std::path::Path;

use hai_fuzz::Target;

fn replay(name: &str, target: Target) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let count = hai_fuzz::replay(target, &corpus).expect("the corpus can be read");
    assert!(count > 0, "{} is empty", corpus.display());
}

#[test]
fn engine_ops() {
    replay("engine_ops", hai_fuzz::engine_ops);
}

#[test]
fn wire_json() {
    replay("wire_json", hai_fuzz::wire_json);
}

#[test]
fn traces() {
    replay("traces", hai_fuzz::traces);
}

#[test]
fn log_lines() {
    replay("log_lines", hai_fuzz::log_lines);
}

#[test]
fn names_and_spans() {
    replay("names_and_spans", hai_fuzz::names_and_spans);
}

#[cfg(feature = "daemon")]
#[test]
fn config_toml() {
    replay("config_toml", hai_fuzz::config_toml);
}

#[cfg(feature = "daemon")]
#[test]
fn submit_json() {
    replay("submit_json", hai_fuzz::submit_json);
}

#[cfg(feature = "daemon")]
#[test]
fn upstream_rows() {
    replay("upstream_rows", hai_fuzz::upstream_rows);
}
