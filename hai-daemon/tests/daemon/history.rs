//! A day of the daemon: exported by the operator, decided anew by `hai replay` without a daemon, and added up.

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::{Daemon, wait_for};

/// Ends when the file is gone, or when it is told to leave.
const HOLD: &str = "trap 'exit 0' TERM; while [ -e \"$0\" ]; do sleep 0.02; done";

/// `hai` where no daemon is known.
fn alone(daemon: &Daemon, args: &[&str]) -> Output {
    let mut hai = Command::new(env!("CARGO_BIN_EXE_hai"));
    hai.env_clear().env("HOME", daemon.scratch()).args(args).output().expect("hai is executed")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Tasks that are suspended for better ones, held, stopped and failed, and a crash in between.
fn a_day(daemon: &mut Daemon) {
    let hold = daemon.scratch().join("hold");
    fs::write(&hold, "").expect("a file");
    let script = |priority: &str, devices: u32| {
        json!({"command": ["/bin/sh", "-c", HOLD, hold.to_str().expect("text")], "devices": devices,
               "priority": priority, "name": "the-secret-project"})
    };
    let first = daemon.submit(&script("NORMAL", 2));
    let second = daemon.submit(&script("LOW", 2));
    for task in [first, second] {
        wait_for("the first tasks", || (daemon.state(task) == "running").then_some(()));
    }
    let better = daemon.submit(&script("HIGH", 3));
    wait_for("the better task", || (daemon.state(better) == "running").then_some(()));
    assert_eq!((daemon.state(first).as_str(), daemon.state(second).as_str()), ("suspended", "suspended"));
    daemon.restart();
    let failing = daemon.submit(&json!({"command": ["/bin/sh", "-c", "exit 3"], "devices": 1}));
    wait_for("the failure", || (daemon.task(failing)["outcome"] == "failed").then_some(()));
    daemon.says(&["stop", &second.to_string()]);
    fs::remove_file(&hold).expect("it is there");
    for task in [better, first] {
        wait_for("the end", || (daemon.task(task)["outcome"] == "succeeded").then_some(()));
    }
}

#[test]
fn a_days_log_is_decided_the_same_elsewhere_and_an_altered_one_is_found() {
    let mut daemon = Daemon::start(4, "");
    a_day(&mut daemon);
    let log = daemon.says(&["log", "export"]);
    let middle = log.lines().nth(12).and_then(|line| serde_json::from_str::<Value>(line).ok()).expect("a record");
    let middle = middle["at"].as_i64().and_then(chrono::DateTime::from_timestamp_millis).expect("a time").to_rfc3339();
    let window = daemon.says(&["log", "export", "--from", &middle]);
    let nameless = daemon.says(&["log", "export", "--pseudonyms"]);
    let entries = daemon.says(&["audit", "--entries"]);
    let sums: Value = serde_json::from_str(&daemon.says(&["audit", "--json"])).expect("JSON");
    let table = daemon.says(&["audit", "--since", "1d"]);
    // From here on there is no daemon.
    daemon.kill();

    let path = daemon.scratch().join("hai.log");
    let file = path.to_str().expect("text");
    for (what, text_of) in [("all", &log), ("a window", &window), ("without names", &nameless)] {
        fs::write(&path, text_of).expect("written");
        let replayed = alone(&daemon, &["replay", file]);
        let said = text(&replayed.stdout) + &text(&replayed.stderr);
        assert!(replayed.status.success() && said.starts_with("no difference"), "{what}: {said}");
    }
    assert!(log.contains("the-secret-project") && !nameless.contains("secret") && !nameless.contains("operator"));

    // One character of one fact.
    let altered = log.replacen("the-secret-project", "the-secret-projekt", 1);
    let line = 1 + log.lines().position(|line| line.contains("the-secret-project")).expect("it is there");
    fs::write(&path, altered).expect("written");
    let found = alone(&daemon, &["replay", file]);
    let said = text(&found.stderr);
    assert_eq!(found.status.code(), Some(1), "{said}");
    assert!(said.contains("the digest of record") && said.contains(&line.to_string()), "line {line}: {said}");

    // Other rules: what comes off otherwise is told, by task.
    fs::write(&path, &log).expect("written");
    let changed = alone(&daemon, &["--json", "replay", file, "--policy", "hai-fifo"]);
    let diff: Value = serde_json::from_slice(&changed.stdout).expect("JSON");
    assert_eq!(diff["before"]["tasks"], diff["after"]["tasks"]);
    assert_eq!(changed.status.code(), Some(i32::from(diff["rounds_differ"] != 0)));
    let rights = daemon.scratch().join("rights.json");
    fs::write(&rights, "[]").expect("written");
    let nothing = alone(&daemon, &["replay", file, "--rights", rights.to_str().expect("text")]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(text(&nothing.stdout).contains("decided otherwise at"), "{}", text(&nothing.stdout));

    let wanted = ["suspended: task 3 has a better right to its place", "in the place of task 1, 2", "(by operator)"];
    for wanted in wanted {
        assert!(entries.contains(wanted), "{wanted:?} is not in {entries}");
    }
    assert_eq!((&sums["total"]["suspensions"], &sums["users"][0]["user"]), (&json!(2), &json!("operator")));
    assert!(table.starts_with("USER\tRIGHT"), "{table}");
}

#[test]
fn what_is_no_log_is_refused_with_the_line() {
    let daemon = Daemon::start(1, "");
    let path = daemon.scratch().join("no.log");
    fs::write(&path, "hello\n").expect("written");
    let refused = alone(&daemon, &["replay", path.to_str().expect("text")]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("no.log: line 1: this is not a hai log"), "{}", text(&refused.stderr));
}
