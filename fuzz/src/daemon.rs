//! What people give the daemon: its configuration, and submissions.

use std::path::Path;

use hai_daemon::api::wire::{PriorityRequest, SubmitRequest};
use hai_daemon::config::Config;

use crate::wire::same_written;

/// A configuration is refused with at least one problem, every one with a message; or it is good, and what
/// `hai-daemon config show` prints of it is the same configuration.
pub fn config_toml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let config = match Config::parse(text, "hai.toml") {
        Ok(config) => config,
        Err(errors) => {
            assert!(!errors.to_string().trim().is_empty(), "refused without a word");
            return;
        }
    };
    let shown = config.show();
    let again = Config::parse(&shown, "shown.toml").unwrap_or_else(|errors| panic!("{errors}\n{shown}"));
    assert_eq!(again.server, config.server);
    assert_eq!(again.data, config.data);
    assert_eq!(again.log, config.log);
    assert_eq!(again.engine(), config.engine());
    assert_eq!(again.levels, config.levels);
    assert_eq!(again.tasks, config.tasks);
    assert_eq!(again.rights, config.rights);
    assert_eq!(again.teams, config.teams);
    assert_eq!((again.cluster, &again.kubernetes), (config.cluster, &config.kubernetes));
    assert_eq!(again.nodes, config.nodes);
    for node in &config.nodes {
        node.check().expect("a good configuration has only good nodes");
    }
    assert_ne!(config.data.dir, Path::new(""));
}

/// What is accepted as a submission is written and read back as the same.
pub fn submit_json(bytes: &[u8]) {
    same_written::<SubmitRequest>(bytes);
    same_written::<PriorityRequest>(bytes);
}
