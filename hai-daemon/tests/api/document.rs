//! What the server says of itself: the OpenAPI document, health, numbers, kinds of problems.

use std::path::Path;

use serde_json::{Value, json};

use crate::lab::{Lab, node, submit, wait};

/// Set to write the document anew.
const REWRITE: &str = "HAI_REWRITE_OPENAPI";

#[test]
fn the_committed_document_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let document = hai_daemon::api::openapi().to_pretty_json().expect("JSON") + "\n";
    if std::env::var_os(REWRITE).is_some() {
        std::fs::write(&path, &document).expect("written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == document, "openapi.json is out of date; run this test with {REWRITE}=1 and commit it");
}

#[test]
fn every_operation_is_documented() {
    let document: Value = serde_json::to_value(hai_daemon::api::openapi()).expect("JSON");
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            assert!(operation["summary"].is_string(), "{method} {path}");
            assert!(ids.insert(operation["operationId"].to_string()), "{method} {path}");
            let problem = &operation["responses"]["default"]["content"]["application/problem+json"];
            assert_eq!(problem["schema"]["$ref"], "#/components/schemas/Problem", "{method} {path}");
            assert_eq!(operation["security"].is_array(), path.starts_with("/v1/"), "{method} {path}");
        }
    }
    assert!(ids.len() >= 20, "{ids:?}");
    // Every reference leads somewhere.
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().expect("a name");
        assert!(schemas.contains_key(name), "{name} is not described");
    }
}

#[tokio::test]
async fn the_server_says_what_it_is() {
    let (lab, _cluster) = Lab::in_memory([]).await;
    let served = lab.anybody.get("/openapi.json").await.ok(200);
    assert_eq!(served, serde_json::to_value(hai_daemon::api::openapi()).expect("JSON"));
    assert!(lab.anybody.get("/").await.text().contains("/openapi.json"));
    assert_eq!(lab.anybody.get("/healthz").await.text(), "ok\n");
    assert_eq!(lab.anybody.get("/readyz").await.text(), "ready\n");
    assert!(lab.anybody.get("/problems").await.text().contains("/problems/unknown-field (422"));
    assert!(lab.anybody.get("/problems/conflict").await.text().contains("409"));
    lab.close().await;
}

#[tokio::test]
async fn the_server_counts() {
    let (lab, _cluster) = Lab::in_memory([node("one", 4)]).await;
    let task = submit(&lab.alice, json!({"command": ["x"], "devices": 3})).await;
    wait(&lab.alice, &task["id"], "running").await;
    lab.alice.post("/v1/tasks", json!({"command": []})).await.problem(422, "invalid-value");
    lab.alice.get("/nowhere").await.problem(404, "not-found");
    let reply = lab.anybody.get("/metrics").await;
    assert!(reply.header("content-type").expect("a type").starts_with("application/openmetrics-text"));
    let text = reply.text();
    for line in [
        "hai_tasks{state=\"running\"} 1",
        "hai_tasks{state=\"waiting\"} 0",
        "hai_tasks_finished{outcome=\"failed\"} 0",
        "hai_devices{group=\"lab\",state=\"held\"} 3",
        "hai_devices{group=\"lab\",state=\"free\"} 1",
        "hai_devices{group=\"lab\",state=\"promised\"} 0",
        "hai_nodes{group=\"lab\",state=\"ready\"} 1",
        "hai_submissions_total{result=\"accepted\"} 1",
        "hai_submissions_total{result=\"refused\"} 1",
        "hai_http_requests_total{method=\"POST\",route=\"/v1/tasks\",status=\"201\"} 1",
        "hai_http_requests_total{method=\"GET\",route=\"other\",status=\"404\"} 1",
        "hai_scheduler_rejected_total 0",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let number = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
        line.rsplit(' ').next().expect("a number").parse().expect("a number")
    };
    assert!(number("hai_scheduler_steps_total ") >= 1.0);
    assert!(number("hai_scheduler_commands_total ") >= 2.0);
    assert_eq!(number("hai_scheduler_step_seconds_count "), number("hai_scheduler_steps_total "));
    assert!(number("hai_scheduler_events_total ") >= 2.0);

    // Read again: what was counted once is not counted twice.
    let again = lab.anybody.get("/metrics").await.text();
    assert!(again.contains("hai_devices{group=\"lab\",state=\"held\"} 3"), "{again}");
    lab.close().await;
}
