//! A daemon whose database is on a Postgres server: both are killed, and the server goes away for a while.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::postgres::Postgres;
use crate::support::{Daemon, wait_for};

/// A server that survives being killed, and may be; `None`, aloud, where there is none.
pub(crate) fn server() -> Option<Postgres> {
    let postgres = Postgres::durable().filter(Postgres::is_ours)?;
    tokio::runtime::Runtime::new().expect("a runtime").block_on(postgres.prepare());
    Some(postgres)
}

/// Pseudo-random numbers that are the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// The number of the task with this name, once the daemon can tell whether it was stored.
fn stored(daemon: &Daemon, name: &str) -> Option<u64> {
    let page = wait_for("the list", || daemon.try_get(&format!("/v1/tasks?name={name}&limit=1000")));
    let tasks = page["tasks"].as_array().expect("tasks").clone();
    let mut found = tasks.iter().filter(|task| task["name"] == name).map(|task| task["id"].as_u64().expect("a number"));
    let id = found.next();
    assert!(found.next().is_none(), "{name} is there twice: {page:#}");
    id
}

/// The daemon is killed, the server is killed, both are: as many of each, in any order.
#[test]
fn kills_of_daemon_and_server_lose_nothing_and_run_nothing_twice() {
    const TASKS: u64 = 40;
    const KILLS: u64 = 12;
    let Some(mut postgres) = server() else { return };
    let mut daemon = Daemon::on(postgres.url(), 4);
    let mut random = Random(20_261_127);
    let (mut ids, mut acknowledged) = (Vec::new(), 0);
    for number in 0..TASKS {
        let name = format!("work-{number}-x");
        let notes = daemon.scratch().join(&name);
        let script = "echo begin >> \"$0\"; sleep \"$1\"; echo end >> \"$0\"";
        let sleep = format!("0.{}", 1 + random.below(3));
        let request = json!({"name": name, "command": ["/bin/sh", "-c", script, notes, sleep], "devices": 1});
        let kill = number * KILLS / TASKS != (number + 1) * KILLS / TASKS;
        let (kind, pause) = (random.below(3), Duration::from_millis(random.below(60)));
        let mut answer = std::thread::scope(|scope| {
            let submitting = scope.spawn(|| daemon.try_submit(&request));
            if kill {
                std::thread::sleep(pause);
                if kind != 0 {
                    postgres.kill();
                }
                if kind != 1 {
                    let pid = i32::try_from(daemon.pid()).ok().and_then(rustix::process::Pid::from_raw);
                    rustix::process::kill_process(pid.expect("a pid"), rustix::process::Signal::KILL).expect("it runs");
                }
                if kind != 0 {
                    postgres.restart();
                }
            }
            submitting.join().expect("no panic")
        });
        if kill && kind != 1 {
            daemon.restart();
        }
        if answer.is_some() {
            acknowledged += 1;
            assert_eq!(stored(&daemon, &name), answer, "an answered submission is stored");
        }
        while answer.is_none() {
            answer = stored(&daemon, &name).or_else(|| daemon.try_submit(&request));
        }
        ids.extend(answer);
    }
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), TASKS as usize);
    for (number, id) in ids.iter().enumerate() {
        let task = wait_for("the end of every task", || {
            daemon.try_get(&format!("/v1/tasks/{id}")).filter(|task| task["state"] == "finished")
        });
        assert_eq!(task["outcome"], "succeeded", "{task:#}");
        let runs = task["history"].as_array().expect("runs");
        assert_eq!(runs.iter().filter(|run| run["end"] == "completed").count(), 1, "exactly one success: {task:#}");
        let notes = fs::read_to_string(daemon.scratch().join(format!("work-{number}-x"))).expect("the task's notes");
        assert_eq!(notes, "begin\nend\n", "task {id} ran once");
    }
    // What is stored is decided the same elsewhere.
    let log = daemon.scratch().join("log.jsonl");
    fs::write(&log, daemon.says(&["log", "export"])).expect("a file");
    let mut hai = Command::new(env!("CARGO_BIN_EXE_hai"));
    let replayed = hai.env_clear().env("HOME", daemon.scratch()).arg("replay").arg(&log).output().expect("hai");
    let said = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert!(replayed.status.success() && said.starts_with("no difference"), "{said}");
    daemon.kill();
    let mut db = Command::new(env!("CARGO_BIN_EXE_hai-daemon"));
    let db = db.env("HAI_DATA_DATABASE", postgres.url()).args(["db", "check"]).output().expect("hai-daemon");
    assert!(db.status.success(), "{}", String::from_utf8_lossy(&db.stderr));
    eprintln!("{TASKS} tasks, {acknowledged} acknowledged at once, under {KILLS} kills");
}

/// Numbers that a running task writes, one line each.
fn ticks(path: &std::path::Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

#[test]
fn while_the_server_is_away_what_runs_goes_on_and_nothing_is_promised() {
    let Some(mut postgres) = server() else { return };
    let daemon = Daemon::on(postgres.url(), 4);
    let (ticking, stop) = (daemon.scratch().join("ticking"), daemon.scratch().join("stop"));
    let script = "until [ -e \"$1\" ]; do echo tick >> \"$0\"; sleep 0.05; done";
    let task = |name: &str, stop: &std::path::Path| {
        let notes = daemon.scratch().join(name);
        json!({"name": name, "command": ["/bin/sh", "-c", script, notes, stop], "devices": 1})
    };
    let long = daemon.submit(&task("ticking", &daemon.scratch().join("never")));
    let short = daemon.submit(&task("short", &stop));
    wait_for("both to run", || (daemon.state(long) == "running" && daemon.state(short) == "running").then_some(()));
    assert_eq!(daemon.answer("/readyz", None).0, 200);
    assert!(daemon.answer("/metrics", None).2.contains("hai_store_up 1"));

    postgres.kill();
    let refused = json!({"name": "refused", "command": ["true"], "devices": 1});
    let (status, retry, text) = daemon.answer("/v1/tasks", Some(&refused));
    assert_eq!((status, retry.as_deref()), (503, Some("5")), "{text}");
    // One ends meanwhile: the cluster's word waits.
    fs::write(&stop, "").expect("a file");
    let before = ticks(&ticking);
    wait_for("the running task to go on", || (ticks(&ticking) > before + 20).then_some(()));
    // By now the scheduler had something to store, and could not.
    wait_for("the health to tell", || (daemon.answer("/readyz", None).0 == 503).then_some(()));
    wait_for("the numbers to tell", || daemon.answer("/metrics", None).2.contains("hai_store_up 0").then_some(()));
    assert_eq!(daemon.answer("/healthz", None).0, 200);
    let since = std::time::Instant::now();
    let (status, retry, text) = daemon.answer("/v1/tasks", Some(&refused));
    assert_eq!((status, retry.as_deref()), (503, Some("5")), "{text}");
    assert!(text.contains("nothing was done") && since.elapsed() < Duration::from_secs(2), "{text}");
    let (status, retry, text) = daemon.answer("/v1/tasks", None);
    assert_eq!((status, retry.as_deref()), (503, Some("5")), "{text}");

    postgres.restart();
    wait_for("the daemon to be well", || (daemon.answer("/readyz", None).0 == 200).then_some(()));
    assert!(daemon.answer("/metrics", None).2.contains("hai_store_up 1"));
    wait_for("the end that was told meanwhile", || (daemon.task(short)["outcome"] == "succeeded").then_some(()));
    let after = daemon.task(long);
    assert_eq!((after["state"].as_str(), after["history"].as_array().map(Vec::len)), (Some("running"), Some(1)));
    let last = daemon.submit(&json!({"command": ["true"], "devices": 1}));
    wait_for("new work", || (daemon.task(last)["outcome"] == "succeeded").then_some(()));
    let page: Value = daemon.get("/v1/tasks?limit=100");
    let refused = page["tasks"].as_array().expect("tasks").iter().filter(|task| task["name"] == "refused").count();
    // The first may have been on its way to the server; the second was not taken.
    assert!(refused <= 1, "{page:#}");
    daemon.says(&["stop", &long.to_string()]);
}

#[test]
fn a_daemon_waits_for_a_server_that_is_not_there_yet() {
    let Some(mut postgres) = server() else { return };
    postgres.kill();
    let url = postgres.url();
    let daemon = std::thread::scope(|scope| {
        let starting = scope.spawn(|| Daemon::on(url, 1));
        std::thread::sleep(Duration::from_millis(700));
        assert!(!starting.is_finished());
        postgres.restart();
        starting.join().expect("it starts")
    });
    assert_eq!(daemon.answer("/readyz", None).0, 200);
}
