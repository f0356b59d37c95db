//! Who was where when.

use chrono::{DateTime, TimeDelta, Utc};
use hai_core::model::{RunId, WorkerExit};
use serde_json::{Value, json};

use crate::lab::{Lab, node, submit, wait};

fn bars(answer: &Value) -> Vec<Value> {
    answer["bars"].as_array().expect("a list").clone()
}

fn at(bar: &Value, field: &str) -> DateTime<Utc> {
    bar[field].as_str().unwrap_or_else(|| panic!("no {field} in {bar}")).parse().expect("a time")
}

#[tokio::test]
async fn each_worker_of_each_run_is_a_bar_with_its_reasons() {
    let (lab, cluster) = Lab::in_memory([node("one", 2), node("two", 2)]).await;
    let gang = json!({"command": ["x"], "name": "gang", "workers": 2, "devices": 2, "distinct_nodes": true});
    let gang = submit(&lab.alice, gang).await;
    wait(&lab.alice, &gang["id"], "running").await;
    // A better one takes a node; the gang goes on once that is done.
    let better = submit(&lab.bob, json!({"command": ["x"], "name": "better", "priority": "HIGH", "devices": 1})).await;
    wait(&lab.bob, &better["id"], "running").await;
    wait(&lab.alice, &gang["id"], "suspended").await;
    let (order, _) = cluster.executing().into_iter().find(|(order, _)| order.name == "better").expect("it executes");
    cluster.end(order.run, 0, WorkerExit::exited(0));
    wait(&lab.alice, &gang["id"], "running").await;

    let soon = (Utc::now() + TimeDelta::seconds(60)).to_rfc3339().replace('+', "%2B");
    let all = lab.root.get(&format!("/v1/timeline?to={soon}")).await.ok(200);
    assert_eq!(all["next"], Value::Null);
    let told = bars(&all);
    let about = |bar: &Value| (bar["name"].clone(), bar["attempt"].clone(), bar["rank"].clone(), bar["state"].clone());
    assert_eq!(
        told.iter().map(about).collect::<Vec<_>>(),
        [
            (json!("better"), json!(1), json!(0), json!("completed")),
            (json!("gang"), json!(1), json!(0), json!("suspended")),
            (json!("gang"), json!(1), json!(1), json!("suspended")),
            (json!("gang"), json!(2), json!(0), json!("running")),
            (json!("gang"), json!(2), json!(1), json!("running")),
        ]
    );
    assert_eq!((&told[0]["user"], &told[0]["devices"]), (&json!("bob"), &json!([0])), "{}", told[0]);
    assert_eq!((&told[1]["user"], &told[1]["devices"]), (&json!("alice"), &json!([0, 1])));
    assert_ne!(told[1]["node"], told[2]["node"]);
    assert_eq!(told[1]["reason_started"], "its first start");
    let ended = told[1]["reason_ended"].as_str().expect("a reason");
    assert!(ended.starts_with("it was suspended, as ") && ended.contains(&better["id"].to_string()), "{ended}");
    assert_eq!(told[3]["reason_started"], "again, after its last run was suspended");
    assert_eq!((&told[3]["reason_ended"], &told[3]["end"]), (&Value::Null, &Value::Null));
    assert_eq!(told[0]["reason_ended"], "it is complete");
    assert!(at(&told[1], "end") >= at(&told[1], "start") && at(&told[3], "start") >= at(&told[0], "end"));

    // Users see their own; one node is one node.
    assert!(
        bars(&lab.bob.get(&format!("/v1/timeline?to={soon}")).await.ok(200)).iter().all(|bar| bar["user"] == "bob")
    );
    let one = bars(&lab.root.get(&format!("/v1/timeline?to={soon}&node=one")).await.ok(200));
    assert!(one.len() < 5 && one.iter().all(|bar| bar["node"] == "one"), "{one:?}");
    let none = lab.root.get(&format!("/v1/timeline?to={soon}&node=none")).await.ok(200);
    assert_eq!((bars(&none), &none["next"]), (Vec::new(), &Value::Null));

    // Before all of it there was nothing.
    let begin = told.iter().map(|bar| at(bar, "start")).min().expect("some");
    let early = begin.to_rfc3339().replace('+', "%2B");
    assert_eq!(bars(&lab.root.get(&format!("/v1/timeline?to={early}")).await.ok(200)), Vec::<Value>::new());

    // Bar by bar it is the same.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = lab.root.get(&format!("/v1/timeline?to={soon}&limit=1{cursor}")).await.ok(200);
        assert!(bars(&page).len() <= 1);
        seen.extend(bars(&page));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, told);
    lab.close().await;
}

#[tokio::test]
async fn many_are_told_in_parts_whatever_is_asked_for() {
    let (lab, cluster) = Lab::in_memory([node("one", 4), node("two", 4)]).await;
    for _ in 0..450 {
        let task = submit(&lab.alice, json!({"command": ["x"]})).await;
        wait(&lab.alice, &task["id"], "running").await;
        let run: RunId = cluster.executing()[0].0.run;
        cluster.end(run, 0, WorkerExit::exited(0));
    }
    let soon = (Utc::now() + TimeDelta::seconds(60)).to_rfc3339().replace('+', "%2B");
    let all = bars(&lab.root.get(&format!("/v1/timeline?to={soon}")).await.ok(200));
    assert_eq!(all.len(), 450);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = lab.root.get(&format!("/v1/timeline?to={soon}&limit=199{cursor}")).await.ok(200);
        seen.extend(bars(&page));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let numbers = |bars: &[Value]| bars.iter().map(|bar| bar["task"].as_u64().expect("a number")).collect::<Vec<_>>();
    assert_eq!(numbers(&seen), (1..=450).rev().collect::<Vec<_>>());
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=20001", "limit"),
        ("cursor=1.2", "cursor"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-02T00:00:00Z", "from"),
    ] {
        let wrong = lab.root.get(&format!("/v1/timeline?{query}")).await;
        assert_eq!(wrong.problem(400, "invalid-parameter")["field"], field, "{query}");
    }
    lab.close().await;
}
