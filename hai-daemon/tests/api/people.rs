//! Who may ask, and that users see and touch their own tasks only.

use serde_json::{Value, json};

use crate::client::Client;
use crate::lab::{Lab, node, submit, wait};

#[tokio::test]
async fn a_token_is_needed() {
    let (lab, _cluster) = Lab::in_memory([]).await;
    for path in ["/v1/me", "/v1/tasks", "/v1/tasks/1", "/v1/tasks/1/logs", "/v1/nodes", "/v1/rights", "/v1/events"] {
        let reply = lab.anybody.get(path).await;
        reply.problem(401, "unauthorized");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"hai\""), "{path}");
    }
    for header in ["Bearer wrong", "Bearer hai_00", "Basic cm9vdDo=", "Bearer", ""] {
        let reply = lab.anybody.send("GET", "/v1/me", &[("authorization", header)], Vec::new()).await;
        reply.problem(401, "unauthorized");
        assert!(reply.header("www-authenticate").expect("a challenge").contains("invalid_token"), "{header}");
    }
    assert_eq!(lab.alice.get("/v1/me").await.ok(200)["name"], "alice");
    assert_eq!(lab.root.get("/v1/me").await.ok(200)["role"], "operator");
    lab.close().await;
}

#[tokio::test]
async fn another_users_task_looks_like_none() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1)]).await;
    let task = submit(&lab.alice, json!({"command": ["x"], "env": {"SECRET": "s"}})).await;
    wait(&lab.alice, &task["id"], "running").await;
    for id in [task["id"].clone(), json!(999)] {
        for what in ["", "/why", "/when", "/logs"] {
            let problem = lab.bob.get(&format!("/v1/tasks/{id}{what}")).await.problem(404, "not-found");
            assert_eq!(problem["detail"], format!("there is no task {id}"));
        }
        for what in ["stop", "suspend", "resume", "renew"] {
            lab.bob.act(&format!("/v1/tasks/{id}/{what}")).await.problem(404, "not-found");
        }
        let path = format!("/v1/tasks/{id}/priority");
        lab.bob.post(&path, json!({"priority": "LOW"})).await.problem(404, "not-found");
    }
    assert_eq!(lab.bob.get("/v1/tasks").await.ok(200)["tasks"], json!([]));
    // Nothing of it was done.
    assert_eq!(lab.alice.get(&format!("/v1/tasks/{}", task["id"])).await.ok(200)["state"], "running");
    assert_eq!(lab.root.get(&format!("/v1/tasks/{}", task["id"])).await.ok(200)["env"]["SECRET"], "s");
    lab.root.act(&format!("/v1/tasks/{}/stop", task["id"])).await.ok(200);
    wait(&lab.alice, &task["id"], "finished").await;
    lab.close().await;
}

#[tokio::test]
async fn operators_keep_the_users() {
    let (lab, _cluster) = Lab::in_memory([]).await;
    let reply = lab.root.post("/v1/users", json!({"name": "carol"})).await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let carol = reply.ok(201);
    assert_eq!(carol["role"], "user");
    let with = |answer: &Value| Client {
        token: Some(answer["token"].as_str().expect("a token").to_owned()),
        ..lab.anybody.clone()
    };
    let old = with(&carol);
    assert_eq!(old.get("/v1/me").await.ok(200)["name"], "carol");
    lab.root.post("/v1/users", json!({"name": "carol"})).await.problem(409, "conflict");

    let new = with(&lab.root.act("/v1/users/carol/token").await.ok(200));
    old.get("/v1/me").await.problem(401, "unauthorized");
    new.get("/v1/me").await.ok(200);

    let names = |list: &Value| -> Vec<(String, bool)> {
        let users = list["users"].as_array().expect("a list").iter();
        let pair = |user: &Value| (user["name"].as_str().expect("a name").to_owned(), user["removed"] == true);
        users.map(pair).collect()
    };
    let expected = [("alice", false), ("bob", false), ("carol", false), ("root", false)];
    let expected = expected.map(|(name, removed)| (name.to_owned(), removed));
    assert_eq!(names(&lab.root.get("/v1/users").await.ok(200)), expected);

    assert_eq!(lab.root.delete("/v1/users/carol").await.status, 204);
    new.get("/v1/me").await.problem(401, "unauthorized");
    lab.root.delete("/v1/users/carol").await.problem(404, "not-found");
    lab.root.act("/v1/users/nobody/token").await.problem(404, "not-found");
    lab.root.act("/v1/users/no%20body/token").await.problem(400, "invalid-parameter");
    lab.root.delete("/v1/users/root").await.problem(409, "conflict");
    assert!(names(&lab.root.get("/v1/users").await.ok(200)).contains(&("carol".to_owned(), true)));

    let operator = with(&lab.root.post("/v1/users", json!({"name": "dan", "role": "operator"})).await.ok(201));
    operator.get("/v1/users").await.ok(200);
    lab.close().await;
}

#[tokio::test]
async fn what_is_for_operators_is_refused_to_users() {
    let (lab, _cluster) = Lab::in_memory([]).await;
    lab.alice.get("/v1/users").await.problem(403, "forbidden");
    lab.alice.post("/v1/users", json!({"name": "eve", "role": "operator"})).await.problem(403, "forbidden");
    lab.alice.delete("/v1/users/bob").await.problem(403, "forbidden");
    lab.alice.act("/v1/users/root/token").await.problem(403, "forbidden");
    lab.alice.put("/v1/rights", json!({"user": "alice", "nodes": "unlimited"})).await.problem(403, "forbidden");
    lab.alice.delete("/v1/rights").await.problem(403, "forbidden");
    assert_eq!(lab.root.get("/v1/users").await.ok(200)["users"].as_array().expect("a list").len(), 3);
    lab.close().await;
}
