//! Reports of devices: who may make them, which are refused, and who sees what of them.

use hai_core::model::UserName;
use serde_json::{Value, json};

use crate::client::Client;
use crate::lab::{Lab, node};

fn device(id: &str) -> Value {
    json!({
        "spec": {"id": id, "model": "RTX 3070", "memory_mib": 8192},
        "usage": {
            "temperature_c": 61, "utilisation_percent": 97, "memory_used_mib": 5000, "power_mw": 180_500,
            "processes": [{"pid": 42, "name": "python", "memory_mib": 4900, "computes": true, "ours": true}],
        },
    })
}

async fn agent(lab: &Lab) -> Client {
    let made = lab.root.post("/v1/users", json!({"name": "eyes", "role": "agent"})).await.ok(201);
    assert_eq!(made["role"], "agent");
    Client { token: Some(made["token"].as_str().expect("a token").to_owned()), ..lab.anybody.clone() }
}

#[tokio::test]
async fn an_agent_reports_and_does_nothing_else() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1)]).await;
    let agent = agent(&lab).await;
    let report = json!({"devices": []});
    assert_eq!(agent.put("/v1/nodes/one/devices", report.clone()).await.ok(200), json!({}));
    lab.root.put("/v1/nodes/one/devices", report.clone()).await.ok(200);
    lab.alice.put("/v1/nodes/one/devices", report.clone()).await.problem(403, "forbidden");
    lab.anybody.put("/v1/nodes/one/devices", report.clone()).await.problem(401, "unauthorized");
    for path in ["/v1/me", "/v1/tasks", "/v1/nodes", "/v1/rights", "/v1/users", "/v1/events", "/v1/log", "/v1/teams"] {
        let problem = agent.get(path).await.problem(403, "forbidden");
        assert!(problem["detail"].as_str().expect("a text").contains("agent"), "{path} {problem}");
    }
    agent.post("/v1/tasks", json!({"command": ["x"]})).await.problem(403, "forbidden");
    lab.root.delete("/v1/users/eyes").await;
    agent.put("/v1/nodes/one/devices", report).await.problem(401, "unauthorized");
    lab.close().await;
}

#[tokio::test]
async fn what_is_reported_is_seen_and_processes_by_operators_alone() {
    let (lab, _cluster) = Lab::in_memory([node("one", 2)]).await;
    let before = lab.alice.get("/v1/nodes").await.ok(200);
    assert!(before["nodes"][0].get("reported_at").is_none(), "{before}");
    let report = json!({"driver": "570.86", "notes": ["one thing"], "devices": [device("GPU-one-1"), device("GPU-x")]});
    lab.root.put("/v1/nodes/one/devices", report).await.ok(200);
    for (client, processes) in [(&lab.root, 1), (&lab.alice, 0)] {
        let nodes = client.get("/v1/nodes").await.ok(200);
        let one = &nodes["nodes"][0];
        assert!(one["reported_at"].as_str().expect("a time").starts_with("20"), "{one}");
        assert_eq!((&one["driver"], &one["notes"]), (&json!("570.86"), &json!(["one thing"])));
        assert!(one["devices"][0].get("usage").is_none(), "nothing was said of it: {one}");
        let usage = &one["devices"][1]["usage"];
        assert_eq!((&usage["temperature_c"], &usage["power_mw"]), (&json!(61), &json!(180_500)));
        assert_eq!(usage["processes"].as_array().map_or(0, Vec::len), processes, "{usage}");
        // A device that the node does not have is not made up.
        assert_eq!(one["devices"].as_array().expect("a list").len(), 2);
    }
    lab.close().await;
}

#[tokio::test]
async fn a_report_that_can_not_be_names_its_field_and_changes_nothing() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1)]).await;
    let put = async |report: Value| lab.root.put("/v1/nodes/one/devices", report).await;
    let sick = |reason: &str| {
        let mut device = device("a");
        device["spec"]["health"] = json!({"state": "sick", "reason": reason});
        json!({"devices": [device]})
    };
    for (field, report) in [
        ("devices", json!({"devices": (0..65).map(|index| device(&format!("d{index}"))).collect::<Vec<_>>()})),
        ("devices", json!({"devices": [device("a"), device("a")]})),
        ("links", json!({"devices": [device("a")], "links": [{"a": 0, "b": 1, "kind": "numa"}]})),
        ("devices.0.spec.health", sick("a\u{7}bell")),
        ("devices.0.spec.health", sick(&"x".repeat(513))),
        ("driver", json!({"devices": [], "driver": "x".repeat(600)})),
    ] {
        let problem = put(report).await.problem(422, "invalid-value");
        assert_eq!(problem["field"], field, "{problem}");
    }
    put(json!({})).await.problem(422, "invalid-value");
    put(json!({"devices": [{"spec": {"id": "", "model": "x", "memory_mib": 1}}]})).await.problem(422, "invalid-value");
    let problem = lab.root.put("/v1/nodes/two/devices", json!({"devices": []})).await.problem(404, "not-found");
    assert!(problem["detail"].as_str().expect("a text").contains("no node two"), "{problem}");
    assert!(lab.root.get("/v1/nodes").await.ok(200)["nodes"][0].get("reported_at").is_none());
    // Who reports may be newer than who listens.
    put(json!({"devices": [], "something_new": 1})).await.ok(200);
    lab.close().await;
}

#[tokio::test]
async fn who_reports_is_told_which_pods_are_hai_s_once_that_is_known() {
    let (lab, _cluster) = Lab::in_memory([node("one", 0), node("two", 0)]).await;
    let put =
        async |name: &str| lab.root.put(&format!("/v1/nodes/{name}/devices"), json!({"devices": []})).await.ok(200);
    assert_eq!(put("one").await, json!({}));
    let name = |name| hai_core::model::NodeName::new(name).expect("a name");
    lab.reports.set_workers([(name("one"), ["b".to_owned(), "a".to_owned()].into())].into());
    assert_eq!(put("one").await, json!({"pods": ["a", "b"]}));
    assert_eq!(put("two").await, json!({"pods": []}));
    lab.reports.set_own(name("two"));
    lab.root.put("/v1/nodes/two/devices", json!({"devices": []})).await.problem(409, "conflict");
    lab.close().await;
}

#[tokio::test]
async fn the_name_of_a_user_is_not_taken_for_an_agent() {
    use hai_daemon::store::{AccountError, Role, SqliteStore, Token};
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = SqliteStore::open(directory.path().join("hai.sqlite")).await.expect("a store");
    let accounts = store.accounts();
    let token = |digit: &str| Token::given(&format!("hai_{}", digit.repeat(64))).expect("a token");
    let name = |name| UserName::new(name).expect("a name");
    accounts.add(&name("alice"), Role::User).await.expect("added");
    let taken = accounts.ensure_agent(&name("alice"), &token("a")).await.expect_err("it is a person's");
    assert!(matches!(taken, AccountError::Exists { .. }));
    accounts.ensure_agent(&name("agent"), &token("a")).await.expect("made");
    accounts.ensure_agent(&name("agent"), &token("b")).await.expect("changed");
    accounts.ensure_agent(&name("agent"), &token("b")).await.expect("as it is");
    assert!(accounts.authenticate(token("a").as_str()).await.expect("asked").is_none());
    let agent = accounts.authenticate(token("b").as_str()).await.expect("asked").expect("known");
    assert_eq!((agent.name, agent.role), (name("agent"), Role::Agent));
    assert!(Token::given("hai_short").is_none());
}
