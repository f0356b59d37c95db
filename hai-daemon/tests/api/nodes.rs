//! The nodes, and what users are told of each other there.

use serde_json::{Value, json};

use crate::lab::{Lab, node, submit, wait};

#[tokio::test]
async fn nodes_tell_what_is_held_and_only_to_its_owner_by_whom() {
    let (lab, _cluster) = Lab::in_memory([node("one", 4), node("two", 0)]).await;
    let task = submit(&lab.alice, json!({"command": ["x"], "devices": 3, "cpu": 2.5, "memory_mib": 1000})).await;
    wait(&lab.alice, &task["id"], "running").await;
    for (client, told) in [(&lab.alice, true), (&lab.root, true), (&lab.bob, false)] {
        let nodes = client.get("/v1/nodes").await.ok(200);
        let one = &nodes["nodes"][0];
        assert_eq!((&one["name"], &nodes["nodes"][1]["name"]), (&json!("one"), &json!("two")));
        assert_eq!((&one["free_devices"], &one["cpu"], &one["free_cpu"]), (&json!(1), &json!(8.0), &json!(5.5)));
        assert_eq!(one["free_memory_mib"], 15384);
        assert_eq!(one["devices"][0]["model"], "RTX 3070");
        let held = &one["workers"][0];
        assert_eq!((&held["phase"], held["devices"].as_array().expect("a list").len()), (&json!("running"), 3));
        let expected = if told { (task["id"].clone(), json!("alice")) } else { (Value::Null, Value::Null) };
        assert_eq!((held["task"].clone(), held["user"].clone()), expected);
    }
    lab.close().await;
}
