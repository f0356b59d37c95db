//! Rights: given, seen, enforced, taken away.

use serde_json::{Value, json};

use crate::lab::{Lab, node, submit, wait};

fn users(list: &Value) -> Vec<Option<&str>> {
    list["rights"].as_array().expect("a list").iter().map(|row| row["user"].as_str()).collect()
}

#[tokio::test]
async fn rights_are_given_seen_and_taken_away() {
    let (lab, _cluster) = Lab::in_memory([node("one", 2)]).await;
    let row = json!({"user": "alice", "group": "lab", "priority": "HIGH", "nodes": 0, "devices": 1});
    assert_eq!(lab.root.put("/v1/rights", row.clone()).await.ok(200), row);
    lab.root.put("/v1/rights", json!({"user": "bob", "devices": 0})).await.ok(200);

    assert_eq!(users(&lab.root.get("/v1/rights").await.ok(200)).len(), 3);
    let alices = lab.alice.get("/v1/rights").await.ok(200);
    assert!(alices["rights"].as_array().expect("a list").contains(&row), "{alices}");
    assert!(!users(&alices).contains(&Some("bob")), "{alices}");
    assert_eq!(users(&lab.root.get("/v1/rights?user=bob").await.ok(200)), [Some("bob")]);

    let wide = submit(&lab.alice, json!({"command": ["x"], "priority": "HIGH", "devices": 2})).await;
    let why = lab.alice.get(&format!("/v1/tasks/{}/why", wide["id"])).await.ok(200);
    assert_eq!((&why["verdict"]["verdict"], &why["verdict"]["allowed_devices"]), (&json!("no_right"), &json!(1)));

    let key = "user=alice&group=lab&priority=HIGH";
    assert_eq!(lab.root.delete(&format!("/v1/rights?{key}")).await.status, 204);
    lab.root.delete(&format!("/v1/rights?{key}")).await.problem(404, "not-found");
    // The row for everybody applies again.
    wait(&lab.alice, &wide["id"], "running").await;

    let auto = lab.root.put("/v1/rights", json!({"priority": "AUTO", "devices": 1})).await;
    assert_eq!(auto.problem(422, "invalid-value")["field"], "priority");
    let many = lab.root.put("/v1/rights", json!({"devices": "many"})).await;
    assert_eq!(many.problem(422, "invalid-value")["field"], "devices");
    lab.root.delete("/v1/rights?users=alice").await.problem(400, "invalid-parameter");
    lab.close().await;
}
