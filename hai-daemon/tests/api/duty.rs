//! Nodes that an operator cordons, drains and gives work again, through the API.

use hai_core::model::{Duty, Fact, NodeName, NodeSpec};
use serde_json::{Value, json};

use crate::lab::{Lab, node, submit, wait};

fn named<'a>(nodes: &'a Value, name: &str) -> &'a Value {
    nodes["nodes"].as_array().expect("a list").iter().find(|node| node["name"] == name).expect("it is there")
}

async fn told(lab: &Lab, name: &str, what: &str) -> Value {
    lab.root.act(&format!("/v1/nodes/{name}/{what}")).await.ok(200)
}

#[tokio::test]
async fn a_cordoned_node_keeps_what_it_has_and_gets_nothing_new() {
    let (lab, cluster) = Lab::in_memory([node("one", 2)]).await;
    let first = submit(&lab.alice, json!({"command": ["x"]})).await;
    wait(&lab.alice, &first["id"], "running").await;
    let after = told(&lab, "one", "cordon").await;
    assert_eq!((&after["cordoned"], &after["draining"]), (&json!(true), &json!(false)));
    assert_eq!(after["workers"][0]["task"], first["id"], "an operator sees whose it is");
    let second = submit(&lab.bob, json!({"command": ["x"]})).await;
    let why = lab.bob.get(&format!("/v1/tasks/{}/why", second["id"])).await.ok(200);
    assert!(why.to_string().contains("cordoned by an operator"), "{why}");
    // What the cluster says of the node later changes nothing about that.
    cluster.set_node(NodeSpec { memory_mib: 32768, ..node("one", 2) });
    let grown = async || named(&lab.root.get("/v1/nodes").await.ok(200), "one").clone();
    loop {
        let now = grown().await;
        if now["memory_mib"] == 32768 {
            assert_eq!(now["cordoned"], true);
            break;
        }
    }
    assert_eq!(lab.alice.get(&format!("/v1/tasks/{}", first["id"])).await.ok(200)["state"], "running");
    assert_eq!(cluster.cordons(), [(NodeName::new("one").expect("a name"), true)].into());

    told(&lab, "one", "uncordon").await;
    wait(&lab.bob, &second["id"], "running").await;
    assert_eq!(cluster.cordons(), [(NodeName::new("one").expect("a name"), false)].into());
    lab.close().await;
}

#[tokio::test]
async fn work_leaves_a_drained_node_and_goes_on_elsewhere() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1), node("two", 1)]).await;
    let task = submit(&lab.alice, json!({"command": ["x"]})).await;
    let running = wait(&lab.alice, &task["id"], "running").await;
    let here = running["history"][0]["workers"][0]["node"].as_str().expect("a name").to_owned();
    let shown = lab.root.post("/v1/preview", json!({"changes": [{"drain": here}]})).await.ok(200);
    assert_eq!((&shown["suspends"][0]["task"], &shown["starts"][0]["task"]), (&task["id"], &task["id"]));
    let after = told(&lab, &here, "drain").await;
    assert_eq!(after["draining"], true);
    loop {
        let now = lab.alice.get(&format!("/v1/tasks/{}", task["id"])).await.ok(200);
        if now["state"] == "running" && now["history"].as_array().expect("a list").len() == 2 {
            assert_ne!(now["history"][1]["workers"][0]["node"], here);
            break;
        }
    }
    // Cordoning it ends the drain, and uncordoning it all.
    let after = told(&lab, &here, "cordon").await;
    assert_eq!((&after["cordoned"], &after["draining"]), (&json!(true), &json!(false)));
    told(&lab, &here, "drain").await;
    let after = told(&lab, &here, "uncordon").await;
    assert_eq!((&after["cordoned"], &after["draining"]), (&json!(false), &json!(false)));

    // The log and the audit say who it was.
    let log = lab.root.get("/v1/log").await.text();
    let facts: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let facts: Vec<&Value> = facts.iter().filter(|record| record.to_string().contains("node_duty")).collect();
    assert_eq!(facts.len(), 4, "{log}");
    assert!(facts.iter().all(|record| record["by"] == "root"), "{facts:?}");
    let entries = lab.root.get("/v1/audit/entries").await.text();
    assert!(entries.contains("node_duty") && entries.contains("drained"), "{entries}");
    lab.close().await;
}

#[tokio::test]
async fn only_operators_say_what_nodes_are_there_for() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1)]).await;
    for what in ["cordon", "uncordon", "drain"] {
        lab.alice.act(&format!("/v1/nodes/one/{what}")).await.problem(403, "forbidden");
        lab.anybody.act(&format!("/v1/nodes/one/{what}")).await.problem(401, "unauthorized");
        let none = lab.root.act(&format!("/v1/nodes/none/{what}")).await;
        assert_eq!(none.problem(404, "not-found")["field"], "name");
        lab.alice.post("/v1/preview", json!({"changes": [{what: "one"}]})).await.problem(403, "forbidden");
    }
    for (what, cordoned, draining) in [("cordon", true, false), ("drain", false, true), ("uncordon", false, false)] {
        let changes = json!([{what: "one"}]);
        let shown = lab.root.post("/v1/preview", json!({"changes": changes})).await.ok(200);
        assert_eq!(shown["can_be_applied"], true);
        lab.root.post("/v1/preview/apply", json!({"changes": changes, "stamp": shown["stamp"]})).await.ok(200);
        let nodes = lab.root.get("/v1/nodes").await.ok(200);
        let one = named(&nodes, "one");
        assert_eq!((&one["cordoned"], &one["draining"]), (&json!(cordoned), &json!(draining)), "{what}");
    }
    lab.close().await;
}

#[test]
fn the_fact_reads_as_it_is_documented() {
    let fact = Fact::NodeDuty { node: NodeName::new("one").expect("a name"), duty: Duty::Drained };
    let text = serde_json::to_value(&fact).expect("JSON");
    assert_eq!(text, json!({"fact": "node_duty", "node": "one", "duty": "drained"}));
}
