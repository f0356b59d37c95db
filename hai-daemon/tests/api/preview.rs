//! What a change would do: shown, then done as shown, or refused.

use serde_json::{Value, json};

use crate::lab::{Lab, node, number, submit, wait};

fn tasks(list: &Value) -> Vec<Value> {
    list.as_array().expect("a list").iter().map(|entry| entry["task"].clone()).collect()
}

#[tokio::test]
async fn a_submission_is_tried_and_nothing_is_submitted() {
    let (lab, _cluster) = Lab::in_memory([node("one", 2)]).await;
    let low = submit(&lab.alice, json!({"command": ["x"], "devices": 2})).await;
    wait(&lab.alice, &low["id"], "running").await;

    let tried = lab.bob.post("/v1/tasks/try", json!({"command": ["x"], "priority": "HIGH"})).await.ok(200);
    let outlook = &tried["outlooks"][0];
    assert_eq!((&outlook["outlook"], &outlook["task"]), (&json!("starts"), &json!(2)));
    assert_eq!(outlook["sentence"], "it starts now on one, once 1 run has left");
    // Bob learns that somebody has to leave, and what that loses, but not who.
    let suspended = &tried["suspends"][0];
    assert_eq!((&suspended["task"], &suspended["user"]), (&Value::Null, &Value::Null));
    assert!(suspended["lost_device_seconds"].as_f64().expect("a number") >= 120.0, "{suspended}");
    let seen: Vec<_> = tried["shares"].as_array().expect("a list").iter().map(|share| &share["user"]).collect();
    assert_eq!(seen, [&json!("bob")]);

    let waits = lab.bob.post("/v1/tasks/try", json!({"command": ["x"]})).await.ok(200);
    assert_eq!(
        (&waits["outlooks"][0]["outlook"], &waits["outlooks"][0]["verdict"]["verdict"]),
        (&json!("waits"), &json!("no_room"))
    );
    assert_eq!(waits["outlooks"][0]["place"], 1);
    let never = lab.bob.post("/v1/tasks/try", json!({"command": ["x"], "devices": 3})).await.ok(200);
    assert_eq!(never["outlooks"][0]["outlook"], "never");
    let wrong = lab.bob.post("/v1/tasks/try", json!({"command": ["x"], "workers": 0})).await;
    assert_eq!(wrong.problem(422, "invalid-value")["field"], "workers");

    let all = lab.root.get("/v1/tasks").await.ok(200);
    assert_eq!(all["tasks"].as_array().expect("a list").len(), 1, "{all}");
    lab.close().await;
}

#[tokio::test]
async fn what_was_shown_is_done_and_what_is_stale_is_refused() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1), node("two", 1)]).await;
    let first = submit(&lab.alice, json!({"command": ["x"]})).await;
    let second = submit(&lab.bob, json!({"command": ["x"]})).await;
    let third = submit(&lab.bob, json!({"command": ["x"]})).await;
    for task in [&first, &second] {
        wait(&lab.root, &task["id"], "running").await;
    }
    let change = json!({"changes": [{"stop": first["id"]}]});
    let shown = lab.root.post("/v1/preview", change.clone()).await.ok(200);
    assert_eq!(
        (tasks(&shown["stops"]), tasks(&shown["starts"])),
        (vec![first["id"].clone()], vec![third["id"].clone()])
    );
    assert_eq!(shown["can_be_applied"], true);
    assert_eq!(lab.root.get(&format!("/v1/tasks/{}", first["id"])).await.ok(200)["state"], "running");

    // The one that would have started is gone by the time that somebody says yes.
    lab.bob.act(&format!("/v1/tasks/{}/stop", third["id"])).await.ok(200);
    let apply = |stamp: &Value| json!({"changes": change["changes"], "stamp": stamp});
    let steps = number(&lab, "hai_scheduler_steps_total").await;
    let stale = lab.root.post("/v1/preview/apply", apply(&shown["stamp"])).await;
    // Found beside the scheduler, which was not bothered.
    assert_eq!(number(&lab, "hai_scheduler_steps_total").await, steps);
    assert_eq!(stale.problem(409, "conflict")["field"], "stamp");
    assert_eq!(lab.root.get(&format!("/v1/tasks/{}", first["id"])).await.ok(200)["state"], "running");

    let again = lab.root.post("/v1/preview", change.clone()).await.ok(200);
    assert_eq!(lab.root.post("/v1/preview/apply", apply(&again["stamp"])).await.ok(200), json!([null]));
    // Nor did it have to work out again what had just been worked out.
    assert_eq!(number(&lab, "hai_scheduler_checks_total").await, 0);
    wait(&lab.root, &first["id"], "finished").await;
    lab.close().await;
}

#[tokio::test]
async fn many_who_look_share_what_they_look_at() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1)]).await;
    let first = submit(&lab.alice, json!({"command": ["x"]})).await;
    let second = submit(&lab.alice, json!({"command": ["x"]})).await;
    wait(&lab.alice, &first["id"], "running").await;
    let (steps, copies) = ("hai_scheduler_steps_total", "hai_scheduler_copies_total");
    let before = (number(&lab, steps).await, number(&lab, copies).await);
    let mut asked = tokio::task::JoinSet::new();
    for at in 0..60 {
        let (client, id) = (lab.alice.clone(), second["id"].clone());
        asked.spawn(async move {
            match at % 4 {
                0 => client.get(&format!("/v1/tasks/{id}/why?help=true")).await.ok(200),
                1 => client.get(&format!("/v1/tasks/{id}/when")).await.ok(200),
                2 => client.post("/v1/preview", json!({"changes": [{"stop": id}]})).await.ok(200),
                _ => client.get(&format!("/v1/tasks/{id}/why")).await.ok(200),
            }
        });
    }
    asked.join_all().await;
    let steps = number(&lab, steps).await - before.0;
    assert!(number(&lab, copies).await - before.1 <= steps + 1, "there were {steps} steps");
    assert!(steps < 30, "this shows nothing");
    lab.close().await;
}

#[tokio::test]
async fn nodes_are_drained_and_settings_changed_as_shown() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1), node("two", 1)]).await;
    let task = submit(&lab.alice, json!({"command": ["x"]})).await;
    let running = wait(&lab.alice, &task["id"], "running").await;
    let here = &running["history"][0]["workers"][0]["node"];
    let changes = json!([{"drain": here}]);
    let shown = lab.root.post("/v1/preview", json!({"changes": changes})).await.ok(200);
    assert_eq!(tasks(&shown["suspends"]), [task["id"].clone()]);
    assert_ne!(shown["starts"][0]["nodes"][0], *here);
    lab.root.post("/v1/preview/apply", json!({"changes": changes, "stamp": shown["stamp"]})).await.ok(200);
    let nodes = lab.root.get("/v1/nodes").await.ok(200);
    let drained = nodes["nodes"].as_array().expect("a list").iter().find(|node| node["name"] == *here);
    assert_eq!(drained.expect("it is there")["draining"], true);

    let config = lab.root.get("/v1/engine/config").await.ok(200);
    assert_eq!(config["borrow"], false);
    let changes = json!([{"configure": {"borrow": true}}]);
    let shown = lab.root.post("/v1/preview", json!({"changes": changes})).await.ok(200);
    lab.root.post("/v1/preview/apply", json!({"changes": changes, "stamp": shown["stamp"]})).await.ok(200);
    assert_eq!(lab.root.get("/v1/engine/config").await.ok(200)["borrow"], true);
    lab.close().await;
}

#[tokio::test]
async fn what_can_only_be_looked_at_is_not_done() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1)]).await;
    let first = submit(&lab.alice, json!({"command": ["x"]})).await;
    let second = submit(&lab.alice, json!({"command": ["x"]})).await;
    wait(&lab.alice, &first["id"], "running").await;
    let changes = json!([{"add_nodes": {"like": "one", "count": 1}}]);
    let shown = lab.root.post("/v1/preview", json!({"changes": changes})).await.ok(200);
    assert_eq!((tasks(&shown["starts"]), &shown["can_be_applied"]), (vec![second["id"].clone()], &json!(false)));
    let refused = lab.root.post("/v1/preview/apply", json!({"changes": changes, "stamp": shown["stamp"]})).await;
    refused.problem(422, "invalid-value");
    assert_eq!(shown["at_rest"], true);
    let lost = lab.root.post("/v1/preview", json!({"changes": [{"lose_node": "one"}]})).await.ok(200);
    assert_eq!(tasks(&lost["suspends"]), [first["id"].clone()]);
    lab.close().await;
}

#[tokio::test]
async fn who_may_not_do_it_may_not_ask_either_and_mistakes_are_named() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1)]).await;
    let task = submit(&lab.alice, json!({"command": ["x"]})).await;
    let ask = |client: &crate::client::Client, change: Value| {
        let client = client.clone();
        async move { client.post("/v1/preview", json!({"changes": [change]})).await }
    };
    ask(&lab.bob, json!({"stop": task["id"]})).await.problem(404, "not-found");
    ask(&lab.bob, json!({"drain": "one"})).await.problem(403, "forbidden");
    ask(&lab.bob, json!({"configure": {}})).await.problem(403, "forbidden");
    ask(&lab.bob, json!({"right": {"devices": 1}})).await.problem(403, "forbidden");
    ask(&lab.alice, json!({"stop": task["id"]})).await.ok(200);
    let unknown = ask(&lab.root, json!({"drain": "three"})).await;
    assert!(unknown.problem(404, "not-found")["detail"].as_str().expect("text").contains("there are one"));
    let setting = ask(&lab.root, json!({"configure": {"borow": true}})).await;
    assert!(setting.problem(422, "invalid-value")["detail"].as_str().expect("text").contains("borow"));
    let field = ask(&lab.root, json!({"submit": {"command": ["x"], "workers": 0}})).await;
    assert_eq!(field.problem(422, "invalid-value")["field"], "changes[0].workers");
    lab.root.post("/v1/preview", json!({"changes": []})).await.problem(422, "invalid-value");
    ask(&lab.root, json!({"sotp": 1})).await.problem(422, "invalid-value");
    lab.close().await;
}

#[tokio::test]
async fn more_nodes_are_more_nodes_whatever_there_is() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1), node("one-more-2", 1)]).await;
    let mut tasks = Vec::new();
    for _ in 0..9 {
        tasks.push(submit(&lab.alice, json!({"command": ["x"]})).await["id"].clone());
    }
    wait(&lab.alice, &tasks[1], "running").await;
    let add = |count: u32| json!({"add_nodes": {"like": "one", "count": count}});
    let shown = lab.root.post("/v1/preview", json!({"changes": [add(2), add(3)]})).await.ok(200);
    let nodes: Vec<&str> = shown["starts"]
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|start| start["nodes"].as_array().expect("nodes"))
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(nodes, ["one-more-1", "one-more-3", "one-more-4", "one-more-5", "one-more-6"]);

    let many: Vec<Value> = (0..11).map(|_| add(1000)).collect();
    let refused = lab.root.post("/v1/preview", json!({"changes": many})).await.problem(422, "invalid-value");
    let detail = refused["detail"].as_str().expect("text");
    assert!(detail.contains("changes[10]") && detail.contains("11000") && detail.contains("10000"), "{detail}");
    lab.close().await;
}
