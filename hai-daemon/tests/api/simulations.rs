//! Simulations that the server plays.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, PATIENCE, Reply};
use crate::lab::{Lab, node, submit, wait};

/// So many tasks of an hour each, one a minute.
fn trace(tasks: usize) -> String {
    let rows = (0..tasks).map(|task| format!("{},3600,1,ann,lab\n", task * 60));
    format!("submit,duration,devices,user,group\n{}", rows.collect::<String>())
}

async fn send(client: &Client, query: &str, kind: &str, body: impl Into<Vec<u8>>) -> Reply {
    client.send("POST", &format!("/v1/simulations{query}"), &[("content-type", kind)], body.into()).await
}

/// Waits for its end.
async fn end(client: &Client, id: &Value) -> Value {
    let begun = Instant::now();
    let mut last = 0.0;
    loop {
        let now = client.get(&format!("/v1/simulations/{id}")).await.ok(200);
        let progress = now["progress"].as_f64().expect("a number");
        assert!(progress >= last && progress <= 1.0, "{now}");
        if now["state"] != "running" {
            return now;
        }
        last = progress;
        assert!(begun.elapsed() < PATIENCE, "it never ends: {now}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_trace_is_played_on_this_cluster_and_told_as_a_page() {
    let (lab, _cluster) = Lab::in_memory([node("one", 4)]).await;
    let begun = send(&lab.alice, "?policies=hai,hai-fifo", "text/csv", trace(40)).await;
    let id = begun.ok(202)["id"].clone();
    assert_eq!(begun.header("location"), Some(format!("/v1/simulations/{id}").as_str()));
    let done = end(&lab.alice, &id).await;
    assert_eq!((&done["state"], &done["progress"], &done["error"]), (&json!("done"), &json!(1.0), &Value::Null));
    assert_eq!((&done["user"], &done["policies"]), (&json!("alice"), &json!(["hai", "hai-fifo"])));
    let page = lab.alice.get(&format!("/v1/simulations/{id}/report")).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").expect("one").starts_with("sandbox"));
    let text = page.text();
    assert!(text.contains("hai-fifo") && text.contains("ann") && text.contains("<svg"), "that is no report");
    // Packed, and in a form, it is the same work.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, trace(40).as_bytes()).expect("packed");
    let packed = packed.finish().expect("packed");
    let mut form = b"--b\r\nContent-Disposition: form-data; name=\"trace\"; filename=\"t.gz\"\r\n\r\n".to_vec();
    form.extend(packed);
    form.extend(b"\r\n--b--\r\n");
    let again = send(&lab.alice, "?policies=hai,hai-fifo", "multipart/form-data; boundary=b", form).await.ok(202);
    assert_eq!(end(&lab.alice, &again["id"]).await["state"], "done");
    let again = lab.alice.get(&format!("/v1/simulations/{}/report", again["id"])).await.text();
    assert_eq!(again, text);

    // Others do not know of it, operators do.
    lab.bob.get(&format!("/v1/simulations/{id}")).await.problem(404, "not-found");
    lab.bob.get(&format!("/v1/simulations/{id}/report")).await.problem(404, "not-found");
    lab.bob.delete(&format!("/v1/simulations/{id}")).await.problem(404, "not-found");
    lab.root.get(&format!("/v1/simulations/{id}")).await.ok(200);
    assert_eq!(lab.alice.delete(&format!("/v1/simulations/{id}")).await.status, 204);
    lab.alice.get(&format!("/v1/simulations/{id}")).await.problem(404, "not-found");
    lab.close().await;
}

#[tokio::test]
async fn what_happened_here_is_played_again_for_operators() {
    let (lab, cluster) = Lab::in_memory([node("one", 2)]).await;
    for _ in 0..3 {
        let task = submit(&lab.bob, json!({"command": ["x"]})).await;
        wait(&lab.bob, &task["id"], "running").await;
        let run = cluster.executing()[0].0.run;
        cluster.end(run, 0, hai_core::model::WorkerExit::exited(0));
        wait(&lab.bob, &task["id"], "finished").await;
    }
    let own = json!({"last": "7d"}).to_string();
    let wrong = send(&lab.bob, "", "application/json", own.clone()).await.problem(403, "forbidden");
    assert_eq!(wrong["field"], "last");
    let begun = send(&lab.root, "?policies=log,hai", "application/json", own).await.ok(202);
    let done = end(&lab.root, &begun["id"]).await;
    assert_eq!((&done["state"], &done["error"]), (&json!("done"), &Value::Null));
    assert_eq!(done["what"], "the last 7d here");
    let page = lab.root.get(&format!("/v1/simulations/{}/report", begun["id"])).await.text();
    assert!(page.contains("bob"), "it is the work of here");
    lab.close().await;
}

#[tokio::test]
async fn one_at_a_time_and_what_is_wrong_is_said() {
    let (lab, _cluster) = Lab::in_memory([node("one", 4)]).await;
    // Far more than is played before the next request comes.
    let long = send(&lab.alice, "?policies=hai,hai+las,hai-fifo", "text/csv", trace(20_000)).await.ok(202);
    let busy = send(&lab.alice, "", "text/csv", trace(1)).await.problem(409, "conflict");
    assert!(busy["detail"].as_str().expect("text").contains(&format!("simulation {}", long["id"])), "{busy}");
    lab.alice.get(&format!("/v1/simulations/{}/report", long["id"])).await.problem(409, "conflict");
    // Somebody else's waits for its turn; it comes as soon as the first is gone.
    let other = send(&lab.bob, "", "text/csv", trace(1)).await.ok(202);
    assert_eq!(lab.alice.delete(&format!("/v1/simulations/{}", long["id"])).await.status, 204);
    assert_eq!(end(&lab.bob, &other["id"]).await["state"], "done");

    for (query, kind, body, part) in [
        ("", "text/csv", "submit,duration,devices\n0,x,1\n".to_owned(), "line 2"),
        ("", "text/csv", "nothing that anybody knows\n".to_owned(), "format"),
        ("?policies=log", "text/csv", trace(1), "no event log"),
    ] {
        let begun = send(&lab.alice, query, kind, body).await.ok(202);
        let failed = end(&lab.alice, &begun["id"]).await;
        assert_eq!(failed["state"], "failed");
        assert!(failed["error"].as_str().expect("text").contains(part), "{failed}");
        let none = lab.alice.get(&format!("/v1/simulations/{}/report", begun["id"])).await.problem(409, "conflict");
        assert!(none["detail"].as_str().expect("text").contains(part), "{none}");
    }
    let strange = send(&lab.alice, "", "text/csv", trace(2).replace("lab", "nowhere")).await.ok(202);
    let strange = end(&lab.alice, &strange["id"]).await;
    assert!(strange["remarks"][0].as_str().expect("text").contains("2 tasks"), "{strange}");
    for (query, field) in
        [("?policies=nonsense", "policies"), ("?policies=/etc/passwd.toml", "policies"), ("?policies=,", "policies")]
    {
        let wrong = send(&lab.alice, query, "text/csv", trace(1)).await;
        assert_eq!(wrong.problem(400, "invalid-parameter")["field"], field, "{query}");
    }
    send(&lab.alice, "", "text/csv", "").await.problem(422, "invalid-value");
    send(&lab.root, "", "application/json", "{\"last\": \"0s\"}").await.problem(422, "invalid-value");
    send(&lab.root, "", "application/json", "{\"first\": \"7d\"}").await.problem(422, "unknown-field");
    send(&lab.anybody, "", "text/csv", trace(1)).await.problem(401, "unauthorized");
    lab.close().await;
}
