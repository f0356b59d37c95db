//! Teams: made, seen, enforced, removed; for operators alone.

use serde_json::{Value, json};

use crate::lab::{Lab, node, submit, wait};

fn names(list: &Value) -> Vec<&str> {
    list["teams"].as_array().expect("a list").iter().filter_map(|team| team["name"].as_str()).collect()
}

#[tokio::test]
async fn what_a_team_holds_together_is_bounded_until_it_is_removed() {
    let (lab, _cluster) = Lab::in_memory([node("one", 4)]).await;
    let free = json!({"nodes": "unlimited", "devices": "unlimited"});
    let pool = json!({"group": "lab", "nodes": 0, "devices": 1, "borrow": free, "lend": free});
    let team = json!({"name": "vision", "parent": "lab", "members": ["alice", "bob"], "pools": [pool]});
    let short = json!({"name": "vision", "parent": "lab", "members": ["bob", "alice"],
        "pools": [{"group": "lab", "devices": 1}]});
    assert_eq!(lab.root.put("/v1/teams", short).await.ok(200), team, "all of it, with what was left out");
    assert_eq!(lab.root.get("/v1/teams").await.ok(200), json!({"teams": [team]}));

    let first = submit(&lab.alice, json!({"command": ["x"]})).await;
    wait(&lab.alice, &first["id"], "running").await;
    let second = submit(&lab.alice, json!({"command": ["x"]})).await;
    let why = lab.alice.get(&format!("/v1/tasks/{}/why", second["id"])).await.ok(200);
    assert_eq!((&why["verdict"]["verdict"], &why["verdict"]["team"]), (&json!("team_used"), &json!("vision")));

    let wider = json!({"name": "vision", "members": ["alice"], "pools": [{"group": "lab", "devices": 2.5, "lend": {"nodes": 1}}]});
    let set = lab.root.put("/v1/teams", wider).await.ok(200);
    assert_eq!((&set["parent"], &set["members"]), (&json!(null), &json!(["alice"])), "all of it is replaced");
    assert_eq!(set["pools"][0]["lend"], json!({"nodes": 1, "devices": 0}));
    wait(&lab.alice, &second["id"], "running").await;

    assert_eq!(lab.root.delete("/v1/teams/vision").await.status, 204);
    lab.root.delete("/v1/teams/vision").await.problem(404, "not-found");
    assert_eq!(names(&lab.root.get("/v1/teams").await.ok(200)), Vec::<&str>::new());
    lab.close().await;
}

#[tokio::test]
async fn teams_that_can_not_be_are_refused_and_users_have_no_say() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1)]).await;
    lab.root.put("/v1/teams", json!({"name": "a", "parent": "b"})).await.ok(200);
    let circle = lab.root.put("/v1/teams", json!({"name": "b", "parent": "a"})).await;
    assert_eq!(circle.problem(422, "invalid-value")["field"], "parent");
    let pools = json!([{"group": "lab", "devices": 1}, {"group": "lab", "devices": 2}]);
    let twice = lab.root.put("/v1/teams", json!({"name": "b", "pools": pools})).await;
    assert_eq!(twice.problem(422, "invalid-value")["field"], "pools");
    let unknown = lab.root.put("/v1/teams", json!({"name": "b", "member": ["alice"]})).await;
    unknown.problem(422, "unknown-field");
    let bad = lab.root.put("/v1/teams", json!({"name": "b", "pools": [{"group": "lab", "devices": "many"}]})).await;
    bad.problem(422, "invalid-value");

    lab.alice.get("/v1/teams").await.problem(403, "forbidden");
    lab.alice.put("/v1/teams", json!({"name": "b"})).await.problem(403, "forbidden");
    lab.alice.delete("/v1/teams/a").await.problem(403, "forbidden");
    assert_eq!(names(&lab.root.get("/v1/teams").await.ok(200)), ["a"]);
    lab.close().await;
}
