//! Two daemons on one database: one leads, the other takes over when it is gone, and nothing is done twice.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::server::server;
use crate::support::{Beside, Daemon, wait_for};

/// From the end of one leader to the first answer of the next.
const TAKE_OVER_MAX: Duration = Duration::from_secs(10);

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, signal).expect("it is ours");
}

/// Work that notes each beginning and end, and lasts until `stop` is there.
fn work(daemon: &Daemon, name: &str) -> Value {
    let (notes, stop) = (daemon.scratch().join(name), daemon.scratch().join("stop"));
    let script = "echo begin >> \"$0\"; until [ -e \"$1\" ]; do sleep 0.02; done; echo end >> \"$0\"";
    json!({"name": name, "command": ["/bin/sh", "-c", script, notes, stop], "devices": 1})
}

fn status(daemon: &Daemon, other: &Beside, path: &str, body: Option<&Value>) -> (u16, String) {
    let (status, _, text) = daemon.answer_of(&other.url, path, body).expect("an answer");
    (status, text)
}

/// All tasks end well, each after exactly one run that began and ended once.
fn all_end_well(daemon: &Daemon, tasks: &[(u64, String)]) {
    fs::write(daemon.scratch().join("stop"), "").expect("a file");
    for (id, name) in tasks {
        let task = wait_for("the end", || {
            daemon.try_get(&format!("/v1/tasks/{id}")).filter(|task| task["state"] == "finished")
        });
        assert_eq!(task["outcome"], "succeeded", "{task:#}");
        assert_eq!(task["history"].as_array().map(Vec::len), Some(1), "what ran went on: {task:#}");
        let notes = fs::read_to_string(daemon.scratch().join(name)).expect("notes");
        assert_eq!(notes, "begin\nend\n", "{name}");
    }
}

#[test]
fn the_second_shows_and_waits_and_takes_over_when_the_leader_is_killed() {
    let Some(postgres) = server() else { return };
    let mut daemon = Daemon::on(postgres.url(), 8);
    let mut tasks = Vec::new();
    for round in 0..3 {
        let name = format!("work-{round}");
        let id = daemon.submit(&work(&daemon, &name));
        wait_for("the task to run", || (daemon.state(id) == "running").then_some(()));
        tasks.push((id, name));

        let second = daemon.beside();
        let (leader, own) = (daemon.answer("/healthz", None), status(&daemon, &second, "/healthz", None));
        assert_eq!((leader.0, own.0), (200, 200));
        let (shown, text) = status(&daemon, &second, &format!("/v1/tasks/{id}"), None);
        assert!(shown == 200 && text.contains("running"), "{shown} {text}");
        let (shown, text) = status(&daemon, &second, "/v1/tasks?limit=10", None);
        assert!(shown == 200 && text.contains("running"), "{shown} {text}");
        assert_eq!(status(&daemon, &second, "/metrics", None).0, 200);
        let (ready, text) = status(&daemon, &second, "/readyz", None);
        assert!(ready == 200 && text == format!("stands by; {} leads\n", daemon.url), "{ready} {text}");
        // What only the leader can do, it does.
        let name = format!("passed-on-{round}");
        let (taken, text) = status(&daemon, &second, "/v1/tasks", Some(&work(&daemon, &name)));
        assert_eq!(taken, 201, "{text}");
        let passed = serde_json::from_str::<Value>(&text).expect("JSON")["id"].as_u64().expect("a number");
        wait_for("the task to run", || (daemon.state(passed) == "running").then_some(()));
        tasks.push((passed, name));
        let (wrong, text) = status(&daemon, &second, "/v1/tasks", Some(&json!({"command": []})));
        assert!((400..500).contains(&wrong), "the leader's answer comes as it is: {wrong} {text}");
        assert_eq!(status(&daemon, &second, "/v1/nodes", None).0, 200);
        let why = status(&daemon, &second, &format!("/v1/tasks/{passed}/why"), None);
        assert!(why.0 == 200 && why.1.contains("it runs"), "{why:?}");
        let killed = Instant::now();
        daemon.go_on_with(second);
        // A connection that was just accepted may be closed while one server follows the other.
        let leads = || daemon.answer_of(&daemon.url, "/readyz", None).is_some_and(|answer| answer.2 == "ready\n");
        wait_for("the second to lead", || leads().then_some(()));
        assert!(killed.elapsed() < TAKE_OVER_MAX, "{:?}", killed.elapsed());
        eprintln!("taken over {:?} after the kill", killed.elapsed());
        assert_eq!(daemon.state(id), "running");
    }
    all_end_well(&daemon, &tasks);
}

#[test]
fn a_leader_that_was_frozen_and_thaws_after_the_take_over_does_no_harm() {
    let Some(postgres) = server() else { return };
    let mut daemon = Daemon::on(postgres.url(), 8);
    let mut tasks = Vec::new();
    for (round, pause) in [0, 3, 9, 40].into_iter().enumerate() {
        let second = daemon.beside();
        let frozen = daemon.pid();
        let steady = format!("steady-{round}");
        let id = daemon.submit(&work(&daemon, &steady));
        tasks.push((id, steady));
        // One more is on its way when the leader freezes: in a commit, between it and the start, or after both.
        let caught = format!("caught-{round}");
        let request = work(&daemon, &caught);
        let (url, token) = (daemon.url.clone(), daemon.token.clone());
        let submitting = std::thread::spawn(move || {
            let call = ureq::post(format!("{url}/v1/tasks")).header("Authorization", format!("Bearer {token}"));
            let answer: Option<Value> = call.send_json(&request).ok().and_then(|mut it| it.body_mut().read_json().ok());
            answer.and_then(|answer| answer["id"].as_u64())
        });
        std::thread::sleep(Duration::from_millis(pause));
        signal(frozen, Signal::STOP);
        let since = Instant::now();
        let well = || daemon.answer_of(&second.url, "/readyz", None).is_some_and(|answer| answer.2 == "ready\n");
        wait_for("the second to lead", || well().then_some(()));
        eprintln!("taken over {:?} after the freeze", since.elapsed());
        assert!(since.elapsed() < TAKE_OVER_MAX, "{:?}", since.elapsed());
        // The new leader has work of its own before the old one wakes up.
        let new = format!("new-{round}");
        let (taken, _, text) =
            daemon.answer_of(&second.url, "/v1/tasks", Some(&work(&daemon, &new))).expect("an answer");
        assert_eq!(taken, 201, "{text}");
        let id = serde_json::from_str::<Value>(&text).expect("JSON")["id"].as_u64().expect("a number");
        tasks.push((id, new));

        signal(frozen, Signal::CONT);
        let answered = submitting.join().expect("no panic");
        wait_for("the old leader to stop", || daemon.has_ended().then_some(()));
        daemon.go_on_with(second);
        let page = daemon.get("/v1/tasks?name=caught&limit=100");
        let page = page["tasks"].as_array().expect("tasks").clone();
        let found: Vec<u64> =
            page.iter().filter(|task| task["name"] == *caught).filter_map(|task| task["id"].as_u64()).collect();
        assert!(
            found.len() <= 1 && (answered.is_none() || found == Vec::from_iter(answered)),
            "{answered:?} {found:?}"
        );
        tasks.extend(found.into_iter().map(|id| (id, caught.clone())));
        // Room for the next round's.
        all_end_well(&daemon, &tasks);
        fs::remove_file(daemon.scratch().join("stop")).expect("it is there");
        tasks.clear();
    }
}
