//! When a task will start, asked over HTTP.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::lab::{Lab, node, submit, wait};

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().expect("a time").parse().expect("RFC 3339")
}

#[tokio::test]
async fn a_waiting_task_is_told_when_it_will_start() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1)]).await;
    let first = submit(&lab.alice, json!({"command": ["x"], "expected": "1h"})).await;
    let first = wait(&lab.alice, &first["id"], "running").await;
    let second = submit(&lab.bob, json!({"command": ["x"], "expected": "30m"})).await;
    let third = submit(&lab.bob, json!({"command": ["x"]})).await;
    let when = |id: &Value| format!("/v1/tasks/{id}/when");

    let running = lab.alice.get(&when(&first["id"])).await.ok(200);
    assert!(running["running_since"].is_string() && running["p50"] == running["running_since"], "{running}");

    // All before it said how long they take, to the second.
    let said = lab.bob.get(&when(&second["id"])).await.ok(200);
    let wait_for = |said: &Value, which: &str| (time(&said[which]) - time(&first["submitted_at"])).num_minutes();
    assert_eq!((wait_for(&said, "p50"), wait_for(&said, "p90")), (60, 60), "{said}");
    assert_eq!((&said["rollouts"], &said["started_in"], &said["state"]), (&json!(64), &json!(64), &json!("waiting")));
    assert_eq!(said["durations"], json!({"given": 2, "learned": 0, "guessed": 1}));
    assert!(said["sentence"].as_str().expect("text").starts_with("probably by "), "{said}");
    let last = lab.bob.get(&when(&third["id"])).await.ok(200);
    assert_eq!((wait_for(&last, "p50"), wait_for(&last, "p90")), (90, 90), "{last}");
    assert!(!last["doubts"].as_array().expect("a list").is_empty());

    let large = submit(&lab.bob, json!({"command": ["x"], "devices": 2})).await;
    let never = lab.bob.get(&when(&large["id"])).await.ok(200);
    assert_eq!((&never["p50"], &never["never"]["verdict"]), (&Value::Null, &json!("never_fits")));

    lab.alice.get(&when(&third["id"])).await.problem(404, "not-found");
    lab.bob.act(&format!("/v1/tasks/{}/stop", third["id"])).await.ok(200);
    lab.bob.get(&when(&third["id"])).await.problem(409, "conflict");
    lab.close().await;
}

#[tokio::test]
async fn how_long_tasks_run_is_learned_as_they_end() {
    let (lab, cluster) = Lab::in_memory([node("one", 1)]).await;
    let begun = submit(&lab.alice, json!({"command": ["x"], "name": "train-1"})).await;
    wait(&lab.alice, &begun["id"], "running").await;
    let next = submit(&lab.alice, json!({"command": ["x"], "name": "train-2"})).await;
    let path = format!("/v1/tasks/{}/when", next["id"]);
    assert_eq!(lab.alice.get(&path).await.ok(200)["durations"], json!({"given": 0, "learned": 0, "guessed": 2}));
    // It ran for some milliseconds, which is something to learn from.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let run = hai_core::model::RunId(begun_run(&lab, &begun["id"]).await);
    cluster.end(run, 0, hai_core::model::WorkerExit::exited(0));
    wait(&lab.alice, &next["id"], "running").await;
    let third = submit(&lab.alice, json!({"command": ["x"], "name": "train-3"})).await;
    let path = format!("/v1/tasks/{}/when", third["id"]);
    let begun = std::time::Instant::now();
    loop {
        let said = lab.alice.get(&path).await.ok(200);
        if said["durations"]["learned"] == 2 {
            break;
        }
        assert!(begun.elapsed() < crate::client::PATIENCE, "nothing is learned: {said}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    lab.close().await;
}

async fn begun_run(lab: &Lab, task: &Value) -> u64 {
    let shown = lab.alice.get(&format!("/v1/tasks/{task}")).await.ok(200);
    shown["history"][0]["id"].as_u64().expect("a run")
}
