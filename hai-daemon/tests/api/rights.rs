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
    let both = lab.root.put("/v1/rights", json!({"user": "alice", "team": "vision", "devices": 1})).await;
    assert_eq!(both.problem(422, "invalid-value")["field"], "team");
    lab.root.delete("/v1/rights?users=alice").await.problem(400, "invalid-parameter");
    lab.close().await;
}

#[tokio::test]
async fn rights_of_teams_and_bounds_keep_all_that_they_say() {
    let (lab, _cluster) = Lab::in_memory([node("one", 2)]).await;
    let lent = json!({"user": null, "group": "lab", "priority": "LOW", "team": "vision", "nodes": 0, "devices": 2.5,
        "expires": "2100-01-01T00:00:00Z"});
    let bound = json!({"user": null, "group": null, "priority": null, "model": "RTX 3070", "cap": true,
        "nodes": "unlimited", "devices": 0.25});
    for row in [&lent, &bound] {
        assert_eq!(lab.root.put("/v1/rights", row.clone()).await.ok(200), *row);
    }
    let rows = |list: Value| list["rights"].as_array().expect("a list").clone();
    let all = rows(lab.alice.get("/v1/rights").await.ok(200));
    assert!(all.contains(&lent) && all.contains(&bound), "{all:?}");
    assert_eq!(rows(lab.root.get("/v1/rights?team=vision").await.ok(200)), [lent]);
    assert_eq!(rows(lab.root.get("/v1/rights?cap=true").await.ok(200)), std::slice::from_ref(&bound));
    lab.root.delete("/v1/rights?model=RTX%203070").await.problem(404, "not-found");
    assert_eq!(lab.root.delete("/v1/rights?model=RTX%203070&cap=true").await.status, 204);
    assert!(!rows(lab.root.get("/v1/rights").await.ok(200)).contains(&bound));
    lab.close().await;
}
