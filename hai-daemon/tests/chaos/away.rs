//! The database is away for long: what runs goes on, what is heard of it waits in bounded memory, and nothing of it is lost.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::json;

use crate::lab::signal;
use crate::postgres::Postgres;
use crate::support::{Daemon, wait_for};

const WORKERS: u64 = 12;
/// So many checkpoints of each worker are heard of while the database is away.
const CHECKPOINTS: i64 = 60;
/// A start, a checkpoint and an end of each.
const WAITING_MAX: u64 = 3 * WORKERS;

/// Reports one checkpoint after the other until it may end, and notes the last.
const WORK: &str = r#"
n=0
until [ -e "$1" ]; do
    n=$((n + 1))
    echo $n > "$HAI_STATE_FILE.new" && mv "$HAI_STATE_FILE.new" "$HAI_STATE_FILE"
    echo $n > "$0.new" && mv "$0.new" "$0"
    sleep 0.05
done
echo end >> "$0"
"#;

fn server() -> Option<Postgres> {
    let Some(postgres) = Postgres::durable().filter(Postgres::is_ours) else {
        eprintln!("SKIPPED: chaos needs a Postgres of its own, which may be killed");
        return None;
    };
    tokio::runtime::Runtime::new().expect("a runtime").block_on(postgres.prepare());
    Some(postgres)
}

fn waiting(daemon: &Daemon) -> u64 {
    let (_, _, text) = daemon.answer("/metrics", None);
    let number = text.lines().find_map(|line| line.strip_prefix("hai_cluster_facts_waiting "));
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no such number: {text}"))
}

/// The number of a worker's last checkpoint.
fn reached(notes: &Path) -> i64 {
    fs::read_to_string(notes).ok().and_then(|text| text.lines().next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn what_is_heard_meanwhile_waits_in_bounded_memory_and_the_last_word_is_not_lost() {
    let Some(mut postgres) = server() else { return };
    let daemon = Daemon::on(postgres.url(), u32::try_from(WORKERS).expect("few"));
    let stop = daemon.scratch().join("stop");
    let tasks: Vec<_> = (0..WORKERS)
        .map(|number| {
            let notes = daemon.scratch().join(format!("work-{number}"));
            let id = daemon.submit(&json!({"command": ["/bin/sh", "-c", WORK, notes, stop], "devices": 1}));
            (id, notes)
        })
        .collect();
    for (id, _) in &tasks {
        wait_for("all to run", || (daemon.state(*id) == "running").then_some(()));
    }
    postgres.kill();
    let before: Vec<i64> = tasks.iter().map(|(_, notes)| reached(notes)).collect();
    for ((_, notes), before) in tasks.iter().zip(&before) {
        wait_for("what runs to go on", || (reached(notes) > before + CHECKPOINTS).then_some(()));
        let waiting = waiting(&daemon);
        assert!(waiting <= WAITING_MAX, "{waiting} facts wait");
    }
    wait_for("the numbers to tell", || daemon.answer("/metrics", None).2.contains("hai_store_up 0").then_some(()));
    assert_eq!(daemon.answer("/readyz", None).0, 503);
    let (status, retry, text) = daemon.answer("/v1/tasks", Some(&json!({"command": ["true"], "devices": 1})));
    assert_eq!((status, retry.as_deref()), (503, Some("5")), "{text}");

    fs::write(&stop, "").expect("a file");
    for (_, notes) in &tasks {
        wait_for("its end", || fs::read_to_string(notes).is_ok_and(|text| text.ends_with("end\n")).then_some(()));
    }
    // One end may be on its way into the store.
    wait_for("the ends to be heard of", || (waiting(&daemon) >= WORKERS - 1).then_some(()));
    assert!(waiting(&daemon) <= WAITING_MAX);
    eprintln!("{} facts wait after {CHECKPOINTS} checkpoints and the end of {WORKERS} workers", waiting(&daemon));

    postgres.restart();
    for (id, notes) in &tasks {
        let task = wait_for("the end to be stored", || {
            daemon.try_get(&format!("/v1/tasks/{id}")).filter(|task| task["state"] == "finished")
        });
        assert_eq!(task["outcome"], "succeeded", "{task:#}");
        assert_eq!(task["history"].as_array().map(Vec::len), Some(1), "{task:#}");
        assert_eq!(task["whole_life_state"], reached(notes), "its last checkpoint: {task:#}");
    }
    assert_eq!(waiting(&daemon), 0);
}

#[test]
fn a_daemon_that_is_told_to_stop_meanwhile_stops_and_the_next_goes_on() {
    let Some(mut postgres) = server() else { return };
    let mut daemon = Daemon::on(postgres.url(), 2);
    let (stop, notes) = (daemon.scratch().join("stop"), daemon.scratch().join("notes"));
    let id = daemon.submit(&json!({"command": ["/bin/sh", "-c", WORK, notes, stop], "devices": 1}));
    wait_for("it to run", || (reached(&notes) > 0).then_some(()));
    postgres.kill();
    wait_for("the daemon to notice", || (daemon.answer("/readyz", None).0 == 503).then_some(()));
    signal(daemon.pid(), Signal::TERM);
    wait_for("the daemon to stop", || daemon.has_ended().then_some(()));
    fs::write(&stop, "").expect("a file");
    postgres.restart();
    daemon.restart();
    let task =
        wait_for("the end", || daemon.try_get(&format!("/v1/tasks/{id}")).filter(|task| task["state"] == "finished"));
    assert_eq!(task["outcome"], "succeeded", "{task:#}");
    assert_eq!(task["history"].as_array().map(Vec::len), Some(1), "{task:#}");
}
