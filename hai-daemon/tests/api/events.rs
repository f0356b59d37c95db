//! The event stream: live, resumed, and each user's own.

use hai_core::model::{RunId, WorkerExit};
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

use crate::client::PATIENCE;
use crate::lab::{Lab, node, submit, wait};

/// The next event with its id, keep-alives passed over; `None` if the stream ends.
async fn next(lines: &mut Receiver<String>) -> Option<(u64, Value)> {
    let (mut id, mut name) = (None, None);
    loop {
        let line = tokio::time::timeout(PATIENCE, lines.recv()).await.expect("an event in time")?;
        if let Some(text) = line.strip_prefix("id: ") {
            id = Some(text.parse().expect("a number"));
        } else if let Some(text) = line.strip_prefix("event: ") {
            name = Some(text.to_owned());
        } else if let Some(text) = line.strip_prefix("data: ") {
            let event: Value = serde_json::from_str(text).expect("JSON");
            assert_eq!((name.as_deref(), event["id"].as_u64()), (Some("task"), id));
            return Some((id.expect("an id"), event));
        }
    }
}

/// Reads on until the task is in this state; returns all states on the way and the last event's id.
async fn until(lines: &mut Receiver<String>, task: &Value, state: &str) -> (Vec<String>, u64) {
    let mut states = Vec::new();
    loop {
        let (id, event) = next(lines).await.expect("an event");
        assert_eq!(&event["task"]["id"], task, "{event}");
        states.push(event["task"]["state"].as_str().expect("a word").to_owned());
        if states.last().is_some_and(|last| last == state) {
            return (states, id);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_live_and_can_be_resumed() {
    let (lab, cluster) = Lab::in_memory([node("one", 1)]).await;
    let mut alices = lab.alice.lines("/v1/events?after=0", &[]);
    let mut bobs = lab.bob.lines("/v1/events?after=0", &[]);
    let task = submit(&lab.alice, json!({"command": ["x"]})).await;
    let (_, running) = until(&mut alices, &task["id"], "running").await;
    let shown = wait(&lab.alice, &task["id"], "running").await;
    cluster.end(RunId(shown["run"].as_u64().expect("a run")), 0, WorkerExit::exited(0));
    let (states, last) = until(&mut alices, &task["id"], "finished").await;
    assert_eq!(states, ["finished"]);
    assert!(last > running);

    // Bob hears of his own task first: of Alice's he heard nothing.
    let other = submit(&lab.bob, json!({"command": ["x"]})).await;
    until(&mut bobs, &other["id"], "running").await;

    // Whoever comes back hears what they missed, and no more.
    let resume = [("last-event-id", running.to_string())];
    let resume = resume.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut again = lab.alice.lines("/v1/events", &resume);
    assert_eq!(until(&mut again, &task["id"], "finished").await, (vec!["finished".to_owned()], last));
    let mut all = lab.root.lines("/v1/events?after=0", &[]);
    let (states, _) = until(&mut all, &task["id"], "finished").await;
    assert_eq!(states, ["starting", "running", "finished"]);
    let (_, event) = next(&mut all).await.expect("an event");
    assert_eq!((&event["user"], &event["task"]["id"]), (&json!("bob"), &other["id"]));

    // A number from the future does not silence the stream.
    let mut late = lab.bob.lines("/v1/events", &[("last-event-id", "18446744073709551615")]);
    let begun = std::time::Instant::now();
    let mut third = submit(&lab.bob, json!({"command": ["x"]})).await;
    loop {
        tokio::select! {
            event = next(&mut late) => {
                assert_eq!(event.expect("an event").1["user"], "bob");
                break;
            }
            // The stream may have begun after the submission.
            () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {
                assert!(begun.elapsed() < PATIENCE, "no event");
                third = submit(&lab.bob, json!({"command": ["x"]})).await;
            }
        }
    }
    assert!(third["id"].is_u64());
    lab.alice.send("GET", "/v1/events", &[("last-event-id", "x")], Vec::new()).await.problem(400, "invalid-parameter");

    // The server's end ends the streams.
    lab.close().await;
    while next(&mut all).await.is_some() {}
}
