//! How machines were used before now, and when people were seen.

use chrono::{DateTime, Utc};
use hai_core::model::DeviceHealth;
use serde_json::{Value, json};

use crate::lab::{Lab, node, submit, wait};

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap_or_else(|| panic!("{value} is no time")).parse().expect("a time")
}

#[tokio::test]
async fn what_was_reported_of_devices_is_remembered() {
    let (lab, _cluster) = Lab::in_memory([node("one", 2)]).await;
    let path = "/v1/nodes/one/devices/history";
    let before = lab.alice.get(path).await.ok(200);
    assert_eq!((&before["known_from"], &before["step_s"]), (&Value::Null, &json!(30)));
    let empty = json!([{"id": "GPU-one-0", "index": 0, "series": []}, {"id": "GPU-one-1", "index": 1, "series": []}]);
    assert_eq!(before["devices"], empty);

    let device = |id: &str, util: u32| {
        let usage = json!({"utilisation_percent": util, "memory_used_mib": 5000, "power_mw": 180_500});
        json!({"spec": {"id": id, "model": "RTX 3070", "memory_mib": 8192}, "usage": usage})
    };
    for util in [97, 50] {
        let report = json!({"devices": [device("GPU-one-1", util), device("GPU-gone", 1)]});
        lab.root.put("/v1/nodes/one/devices", report).await.ok(200);
    }
    let after = lab.alice.get(path).await.ok(200);
    let series = after["devices"][1]["series"].as_array().expect("a list");
    assert_eq!(series.len(), 1, "the second came too soon: {after}");
    let moment = &series[0];
    assert_eq!((&moment["util"], &moment["memory_mib"], &moment["power_w"]), (&json!(97), &json!(5000), &json!(180.5)));
    assert_eq!((&moment["temperature_c"], &moment["at"]), (&Value::Null, &after["known_from"]));
    assert_eq!((&after["devices"][2]["id"], &after["devices"][2]["index"]), (&json!("GPU-gone"), &Value::Null));

    // A window before it has nothing.
    let at = time(&moment["at"]);
    let early = format!("{path}?to={}", (at - chrono::TimeDelta::seconds(1)).to_rfc3339().replace('+', "%2B"));
    assert_eq!(lab.alice.get(&early).await.ok(200)["devices"], empty);

    assert_eq!(lab.alice.get("/v1/nodes/two/devices/history").await.problem(404, "not-found")["field"], "name");
    let wrong = format!("{path}?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z");
    assert_eq!(lab.alice.get(&wrong).await.problem(400, "invalid-parameter")["field"], "from");
    lab.anybody.get(path).await.problem(401, "unauthorized");
    lab.close().await;
}

#[tokio::test]
async fn what_is_used_now_is_the_last_point() {
    let (lab, cluster) = Lab::in_memory([node("one", 3)]).await;
    let runs = submit(&lab.alice, json!({"command": ["x"], "devices": 1})).await;
    wait(&lab.alice, &runs["id"], "running").await;
    let mut sick = node("one", 3);
    sick.devices[2].health = DeviceHealth::Sick { reason: "XID 79".to_owned() };
    cluster.set_node(sick);
    while lab.root.get("/v1/nodes").await.ok(200)["nodes"][0]["devices"][2]["health"] != "sick" {}
    submit(&lab.bob, json!({"command": ["x"], "devices": 2})).await;

    // Steps so fine that no older sample falls into the last.
    let beside = |seconds| (Utc::now() + chrono::TimeDelta::seconds(seconds)).to_rfc3339().replace('+', "%2B");
    let path = format!("/v1/occupancy?from={}&to={}&step=1", beside(-60), beside(60));
    let all = lab.bob.get(&path).await.ok(200);
    assert_eq!(all["step_s"], 1);
    assert!(time(&all["known_from"]) <= Utc::now());
    let last = all["points"].as_array().and_then(|points| points.last()).expect("a point");
    assert_eq!((&last["devices_total"], &last["devices_bad"]), (&json!(3.0), &json!(1.0)), "{all}");
    assert_eq!((&last["devices_busy"], &last["waiting_tasks"]), (&json!(1.0), &json!(1.0)), "{all}");
    let day = lab.bob.get("/v1/occupancy").await.ok(200);
    assert_eq!(day["step_s"], 288);
    assert_eq!(lab.bob.get("/v1/occupancy?step=1").await.problem(400, "invalid-parameter")["field"], "step");
    lab.close().await;
}

#[tokio::test]
async fn operators_see_when_tokens_were_last_used() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1)]).await;
    let seen = async |name: &str| {
        let users = lab.root.get("/v1/users").await.ok(200);
        let users = users["users"].as_array().expect("a list").clone();
        users.into_iter().find(|user| user["name"] == name).expect("the user")["last_seen"].clone()
    };
    assert_eq!(seen("alice").await, Value::Null);
    let before = Utc::now();
    let me = lab.alice.get("/v1/me").await.ok(200);
    let first = time(&seen("alice").await);
    assert_eq!(time(&me["last_seen"]), first);
    assert!(first >= before - chrono::TimeDelta::seconds(1) && first <= Utc::now() + chrono::TimeDelta::seconds(1));
    assert_eq!(seen("bob").await, Value::Null, "nobody else came");
    lab.alice.get("/v1/queue").await.ok(200);
    assert!(time(&seen("alice").await) >= first);
    lab.close().await;
}
