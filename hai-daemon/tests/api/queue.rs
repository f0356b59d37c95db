//! The line of waiting tasks.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, PATIENCE};
use crate::lab::{Lab, node, submit, wait};

fn ids(page: &Value) -> Vec<Value> {
    page["items"].as_array().expect("a list").iter().map(|item| item["id"].clone()).collect()
}

/// The line, once it has so many in it; it may be of a moment ago.
async fn line(client: &Client, query: &str, many: usize) -> Value {
    let begun = Instant::now();
    loop {
        let page = client.get(&format!("/v1/queue{query}")).await.ok(200);
        if page["total"] == many {
            return page;
        }
        assert!(begun.elapsed() < PATIENCE, "there are never {many}: {page}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_line_is_in_the_order_in_which_it_is_served() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1)]).await;
    let runs = submit(&lab.alice, json!({"command": ["x"], "priority": "EXTREME_HIGH", "suspendable": false})).await;
    wait(&lab.alice, &runs["id"], "running").await;
    let mut waiting = Vec::new();
    for (client, priority, name) in
        [(&lab.alice, "LOW", "a"), (&lab.bob, "HIGH", "b"), (&lab.alice, "NORMAL", "c"), (&lab.bob, "NORMAL", "d")]
    {
        let request = json!({"command": ["x"], "priority": priority, "name": name, "expected": "1h"});
        waiting.push(submit(client, request).await["id"].clone());
    }
    let later = json!({"command": ["x"], "name": "e", "after": [waiting[0]]});
    waiting.push(submit(&lab.alice, later).await["id"].clone());
    let held = submit(&lab.alice, json!({"command": ["x"]})).await;
    lab.alice.act(&format!("/v1/tasks/{}/suspend", held["id"])).await.ok(200);

    let page = line(&lab.root, "", 5).await;
    let order: Vec<Value> = [1, 2, 3, 0, 4].map(|at: usize| waiting[at].clone()).into();
    assert_eq!(ids(&page), order);
    assert_eq!(page["next"], Value::Null);
    let first = &page["items"][0];
    assert_eq!((&first["name"], &first["user"], &first["priority"]), (&json!("b"), &json!("bob"), &json!("HIGH")));
    assert_eq!((&first["group"], &first["asks"], &first["state"]), (&json!("lab"), &json!("1 gpu"), &json!("waiting")));
    assert!(first["why"].as_str().expect("a sentence").contains("device"), "{first}");
    assert!(page["items"][4]["why"].as_str().expect("a sentence").contains(&waiting[0].to_string()), "{page}");

    // Users see their own, in the same order.
    let bobs = line(&lab.bob, "", 2).await;
    assert_eq!(ids(&bobs), [waiting[1].clone(), waiting[3].clone()]);

    // Page by page it is the same line.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = lab.root.get(&format!("/v1/queue?limit=2{cursor}")).await.ok(200);
        seen.extend(ids(&page));
        assert_eq!(page["total"], 5);
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, order);

    // Nobody waits for the forecast; it comes.
    let begun = Instant::now();
    loop {
        let page = lab.root.get("/v1/queue").await.ok(200);
        if page["forecast"] == "known" {
            let p50 = |at: usize| page["items"][at]["p50"].as_str().expect("a time").to_owned();
            assert!(p50(0) < p50(3), "{page}");
            break;
        }
        assert_eq!((&page["forecast"], &page["items"][0]["p50"]), (&json!("pending"), &Value::Null));
        assert!(begun.elapsed() < PATIENCE, "it is never known");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Who stops waiting leaves the line at once, whatever was worked out before.
    lab.bob.act(&format!("/v1/tasks/{}/stop", waiting[1])).await.ok(200);
    let page = lab.root.get("/v1/queue").await.ok(200);
    assert_eq!(ids(&page)[0], waiting[2]);
    lab.close().await;
}

#[tokio::test]
async fn mistakes_are_named() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1)]).await;
    for (query, field) in [("limit=0", "limit"), ("limit=1001", "limit"), ("cursor=x", "cursor")] {
        let wrong = lab.alice.get(&format!("/v1/queue?{query}")).await;
        assert_eq!(wrong.problem(400, "invalid-parameter")["field"], field, "{query}");
    }
    lab.anybody.get("/v1/queue").await.problem(401, "unauthorized");
    let empty = lab.alice.get("/v1/queue").await.ok(200);
    assert_eq!((&empty["items"], &empty["total"], &empty["next"]), (&json!([]), &json!(0), &Value::Null));
    lab.close().await;
}
