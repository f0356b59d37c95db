//! The output of real processes, in parts, from the end, and as it comes.

use serde_json::{Value, json};

use crate::client::{Client, Reply};
use crate::lab::{Lab, node, submit, wait};

/// Writes ten lines of ten bytes each.
const TEN: &str = "for i in 0 1 2 3 4 5 6 7 8 9; do echo \"line    $i\"; done";

fn script(text: &str) -> Value {
    json!({"command": ["sh", "-c", text], "devices": 0})
}

/// Waits while `condition` holds, but not for ever: should a test fail, nothing is left of it for long.
fn patiently(condition: &str) -> String {
    format!("n=0; while {condition} && [ $n -lt 6000 ]; do n=$((n + 1)); sleep 0.01; done")
}

async fn logs(client: &Client, task: &Value, query: &str) -> Reply {
    client.get(&format!("/v1/tasks/{}/logs{query}", task["id"])).await
}

async fn range(client: &Client, task: &Value, range: &str) -> Reply {
    client.send("GET", &format!("/v1/tasks/{}/logs", task["id"]), &[("range", range)], Vec::new()).await
}

fn offsets(reply: &Reply) -> [Option<&str>; 4] {
    ["hai-offset", "hai-next-offset", "hai-first-offset", "hai-complete"].map(|name| reply.header(name))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_is_read_in_parts() {
    let lab = Lab::on_this_machine(vec![node("one", 0)]).await;
    let task = submit(&lab.alice, script(TEN)).await;
    let run = wait(&lab.alice, &task["id"], "finished").await["history"][0]["id"].clone();

    let whole = logs(&lab.alice, &task, "").await;
    assert_eq!((whole.status, whole.body.len()), (200, 100), "{}", whole.text());
    assert!(whole.text().starts_with("line    0\n") && whole.text().ends_with("line    9\n"));
    assert_eq!((whole.header("hai-run"), whole.header("hai-rank")), (Some(run.to_string().as_str()), Some("0")));
    assert_eq!(offsets(&whole), [Some("0"), Some("100"), Some("0"), Some("true")]);

    let part = logs(&lab.alice, &task, &format!("?run={run}&rank=0&offset=10&limit=20")).await;
    assert_eq!(part.text(), "line    1\nline    2\n");
    assert_eq!(offsets(&part), [Some("10"), Some("30"), Some("0"), Some("false")]);
    for query in ["?offset=-10", "?tail=10"] {
        let end = logs(&lab.alice, &task, query).await;
        assert_eq!((end.status, end.text().as_str()), (200, "line    9\n"), "{query}");
        assert_eq!(offsets(&end), [Some("90"), Some("100"), Some("0"), Some("true")]);
    }
    assert_eq!(logs(&lab.alice, &task, "?tail=1000000").await.body.len(), 100);
    assert_eq!(logs(&lab.alice, &task, "?offset=1000000").await.body.len(), 0);

    for (wanted, text, content_range) in [
        ("bytes=0-9", "line    0\n", "bytes 0-9/100"),
        ("bytes=95-", "   9\n", "bytes 95-99/100"),
        ("bytes=-5", "   9\n", "bytes 95-99/100"),
        ("bytes=90-1000", "line    9\n", "bytes 90-99/100"),
    ] {
        let part = range(&lab.alice, &task, wanted).await;
        assert_eq!((part.status, part.text().as_str()), (206, text), "{wanted}");
        assert_eq!(part.header("content-range"), Some(content_range), "{wanted}");
    }
    let beyond = range(&lab.alice, &task, "bytes=100-").await;
    beyond.problem(416, "range-not-satisfiable");
    assert_eq!(beyond.header("content-range"), Some("bytes */100"));
    assert_eq!(range(&lab.alice, &task, "lines=1-2").await.status, 200);
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_is_followed_until_the_run_ends() {
    let lab = Lab::on_this_machine(vec![node("one", 0)]).await;
    let go = tempfile::tempdir().expect("a temporary directory");
    let path = go.path().join("go");
    let text = format!("echo one; {}; echo two", patiently(&format!("[ ! -e {} ]", path.display())));
    let task = submit(&lab.alice, script(&text)).await;
    wait(&lab.alice, &task["id"], "running").await;

    let mut lines = lab.alice.lines(&format!("/v1/tasks/{}/logs?follow=true", task["id"]), &[]);
    assert_eq!(lines.recv().await.as_deref(), Some("one"));
    // The second line can not come before the file is there; the first did.
    std::fs::write(&path, "").expect("written");
    assert_eq!(lines.recv().await.as_deref(), Some("two"));
    assert_eq!(lines.recv().await, None);
    wait(&lab.alice, &task["id"], "finished").await;

    // Of a run that is over the answer ends at once.
    let follow = |query: &str| format!("/v1/tasks/{}/logs?follow=true{query}", task["id"]);
    assert_eq!(lab.alice.all(&follow("&tail=4")).await, b"two\n");
    assert_eq!(lab.alice.all(&follow("&limit=5&offset=1")).await, b"ne\ntw");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_followed_log_ends_with_the_server() {
    let lab = Lab::on_this_machine(vec![node("one", 0)]).await;
    let task = submit(&lab.alice, script(&format!("echo up; {}", patiently("true")))).await;
    wait(&lab.alice, &task["id"], "running").await;
    let mut lines = lab.alice.lines(&format!("/v1/tasks/{}/logs?follow=true", task["id"]), &[]);
    assert_eq!(lines.recv().await.as_deref(), Some("up"));
    lab.close().await;
    assert_eq!(lines.recv().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_told() {
    let lab = Lab::on_this_machine(vec![node("one", 0)]).await;
    let waiting = submit(&lab.alice, json!({"command": ["x"], "group": "nowhere"})).await;
    logs(&lab.alice, &waiting, "").await.problem(404, "no-run");
    logs(&lab.alice, &waiting, "?follow=true").await.problem(404, "no-run");

    let quiet = submit(&lab.alice, script("true")).await;
    let run = wait(&lab.alice, &quiet["id"], "finished").await["history"][0]["id"].clone();
    let empty = logs(&lab.alice, &quiet, "").await;
    assert_eq!((empty.status, empty.body.len()), (200, 0));
    assert_eq!(empty.header("hai-complete"), Some("true"));
    assert_eq!(lab.alice.all(&format!("/v1/tasks/{}/logs?follow=true", quiet["id"])).await, b"");

    // A run of another task is no run of this one.
    assert_eq!(logs(&lab.alice, &waiting, &format!("?run={run}")).await.problem(404, "not-found")["field"], "run");
    assert_eq!(logs(&lab.alice, &quiet, "?rank=1").await.problem(404, "not-found")["field"], "rank");
    for query in ["?offset=1&tail=1", "?offset=x", "?limit=-1", "?limit=99999999999", "?rank=-1", "?lines=3"] {
        logs(&lab.alice, &quiet, query).await.problem(400, "invalid-parameter");
    }

    let missing = submit(&lab.alice, json!({"command": ["/no/such/program"], "devices": 0})).await;
    let failed = wait(&lab.alice, &missing["id"], "finished").await;
    assert_eq!(failed["outcome"], "failed");
    assert!(failed["reason"].as_str().expect("a reason").contains("could not be executed"), "{failed}");
    lab.close().await;
}
