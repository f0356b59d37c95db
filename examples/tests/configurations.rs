//! The configurations beside the examples are good.

use std::fs;
use std::path::Path;

use hai_daemon::config::Config;

#[test]
fn every_configuration_is_good() {
    let mut nodes = Vec::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the examples' directory") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "toml") || path.ends_with("Cargo.toml") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a text");
        let config = Config::parse(&text, &path.display().to_string()).unwrap_or_else(|errors| panic!("{errors}"));
        nodes.extend(config.nodes.iter().map(|node| (node.name.to_string(), node.devices.len())));
    }
    nodes.sort();
    let expected = [("master", 1), ("rehearsal", 4), ("worker", 1)];
    assert_eq!(nodes, expected.map(|(name, devices)| (name.to_owned(), devices)));
}
