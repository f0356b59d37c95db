//! Everything wrong that can be sent: each gets its problem document, changes nothing and stops nobody.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::lab::{Lab, node, submit};

#[tokio::test]
async fn bad_bodies_are_told_what_is_wrong() {
    let (lab, _cluster) = Lab::in_memory([]).await;
    let deep = format!("{{\"command\": {}", "[".repeat(100_000));
    for (body, status, kind, field, detail) in [
        ("{\"command\": [\"x\"", 400, "malformed-json", None, "line 1 column 16"),
        ("{\n  \"command\": x\n}", 400, "malformed-json", None, "line 2 column 14"),
        ("", 400, "malformed-json", None, "EOF"),
        ("\u{0}", 400, "malformed-json", None, "line 1"),
        ("{\"command\": [\"x\"], \"workers\": 1e999}", 400, "malformed-json", None, "out of range"),
        (deep.as_str(), 422, "invalid-value", Some("command[0]"), "expected a string"),
        ("null", 422, "invalid-value", None, "SubmitRequest"),
        ("{}", 422, "invalid-value", Some("command"), "missing field"),
        ("{\"command\": [], \"x\": 1}", 422, "unknown-field", Some("x"), "`device_memory_mib`"),
        ("{\"command\": [\"x\"], \"command\": [\"y\"]}", 422, "invalid-value", Some("command"), "duplicate"),
        ("{\"command\": \"x\"}", 422, "invalid-value", Some("command"), "expected a sequence"),
        ("{\"command\": []}", 422, "invalid-value", Some("command"), "python3"),
        ("{\"command\": [\"a\\u0000b\"]}", 422, "invalid-value", Some("command"), "zero byte"),
        (
            "{\"command\": [\"x\"], \"name\": \"a\\u001b[31mb\"}",
            422,
            "invalid-value",
            Some("name"),
            "control character",
        ),
        ("{\"command\": [\"x\"], \"name\": \"\"}", 422, "invalid-value", Some("name"), "empty"),
        ("{\"command\": [\"x\"], \"workers\": -1}", 422, "invalid-value", Some("workers"), "u32"),
        ("{\"command\": [\"x\"], \"workers\": 0}", 422, "invalid-value", Some("workers"), "from 1 to"),
        ("{\"command\": [\"x\"], \"workers\": 100001}", 422, "invalid-value", Some("workers"), "from 1 to"),
        ("{\"command\": [\"x\"], \"workers\": 1.5}", 422, "invalid-value", Some("workers"), "u32"),
        ("{\"command\": [\"x\"], \"devices\": 99999999999999999999}", 422, "invalid-value", Some("devices"), "u32"),
        ("{\"command\": [\"x\"], \"devices\": 65}", 422, "invalid-value", Some("devices"), "64"),
        ("{\"command\": [\"x\"], \"cpu\": -0.5}", 422, "invalid-value", Some("cpu"), "from 0"),
        ("{\"command\": [\"x\"], \"cpu\": 1e300}", 422, "invalid-value", Some("cpu"), "from 0"),
        (
            "{\"command\": [\"x\"], \"memory_mib\": 18446744073709551615}",
            422,
            "invalid-value",
            Some("memory_mib"),
            "MiB",
        ),
        (
            "{\"command\": [\"x\"], \"grace\": {\"answer\": \"-5s\"}}",
            422,
            "invalid-value",
            Some("grace.answer"),
            "`5s`",
        ),
        (
            "{\"command\": [\"x\"], \"grace\": {\"finish\": \"999999999d\"}}",
            422,
            "invalid-value",
            Some("grace"),
            "a day",
        ),
        ("{\"command\": [\"x\"], \"group\": \"a/b\"}", 422, "invalid-value", Some("group"), "a group name"),
        ("{\"command\": [\"x\"], \"env\": {\"\": \"b\"}}", 422, "invalid-value", Some("env"), "a name that is empty"),
        ("{\"command\": [\"x\"], \"workdir\": \"../x\"}", 422, "invalid-value", Some("workdir"), "absolute"),
    ] {
        let problem = lab.root.json("POST", "/v1/tasks", body).await.problem(status, kind);
        let shown = &body[..body.len().min(100)];
        assert_eq!(problem["field"].as_str(), field, "{shown}: {problem}");
        assert!(problem["detail"].as_str().expect("text").contains(detail), "{shown}: {problem}");
    }
    let long = json!({"command": ["x"], "name": "n".repeat(256)});
    assert_eq!(lab.root.post("/v1/tasks", long).await.problem(422, "invalid-value")["field"], "name");
    lab.root.json("POST", "/v1/tasks", b"{\"command\": [\"\xff\"]}").await.problem(400, "malformed-json");
    // Nothing of it became a task.
    assert_eq!(lab.root.get("/v1/tasks").await.ok(200)["tasks"], json!([]));
    lab.close().await;
}

#[tokio::test]
async fn bodies_must_be_short_and_json() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1)]).await;
    let huge = vec![b' '; 10 << 20];
    lab.alice.json("POST", "/v1/tasks", huge.clone()).await.problem(413, "too-large");
    lab.alice
        .json("POST", "/v1/tasks", json!({"command": ["x".repeat(1 << 20)]}).to_string())
        .await
        .problem(413, "too-large");
    // The bound is on the body of whoever may send one; others are refused before.
    assert_eq!(
        lab.anybody.json("POST", "/v1/tasks", "{}").await.problem(401, "unauthorized")["field"],
        "authorization"
    );
    for kind in ["text/plain", "", "application/x-www-form-urlencoded", "multipart/json"] {
        let headers = [("content-type", kind)];
        let reply = lab.alice.send("POST", "/v1/tasks", &headers, b"{\"command\": [\"x\"]}".to_vec()).await;
        reply.problem(415, "unsupported-media-type");
    }
    let headers = [("content-type", "Application/JSON; charset=utf-8")];
    let reply = lab.alice.send("POST", "/v1/tasks", &headers, b"{\"command\": [\"x\"]}".to_vec()).await;
    assert_eq!(reply.status, 201);
    lab.close().await;
}

#[tokio::test]
async fn bad_paths_queries_and_methods_are_told() {
    let (lab, _cluster) = Lab::in_memory([]).await;
    for path in ["/v2/tasks", "/v1", "/v1/tasks/", "/v1/tasks/1/nothing", "//", "/problems/none"] {
        lab.alice.get(path).await.problem(404, "not-found");
    }
    for id in ["x", "-1", "1.5", "99999999999999999999", "%00", "%ff", "%F0%9F%98%80"] {
        lab.alice.get(&format!("/v1/tasks/{id}")).await.problem(400, "invalid-parameter");
    }
    lab.alice.get("/v1/tasks/18446744073709551615").await.problem(404, "not-found");
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=many", "limit"),
        ("before=x", "before"),
        ("state=asleep", "state"),
        ("outcome=lost", "outcome"),
        ("priority=URGENT", "priority"),
        ("user=a%2Fb", "user"),
        ("user=", "user"),
        ("colour=red", "colour"),
        ("limit=1&limit=2", "limit"),
    ] {
        let problem = lab.alice.get(&format!("/v1/tasks?{query}")).await.problem(400, "invalid-parameter");
        assert_eq!(problem["field"], field, "{query}: {problem}");
    }
    assert_eq!(lab.alice.get("/v1/tasks?before=18446744073709551615&name=%25_'%22").await.ok(200)["tasks"], json!([]));
    for (method, path, allow) in [
        ("PUT", "/v1/tasks", "GET,HEAD,POST"),
        ("GET", "/v1/tasks/1/stop", "POST"),
        ("BREW", "/v1/me", "GET,HEAD"),
        ("POST", "/healthz", "GET,HEAD"),
    ] {
        let reply = lab.alice.send(method, path, &[], Vec::new()).await;
        reply.problem(405, "method-not-allowed");
        let mut allowed: Vec<_> = reply.header("allow").expect("a header").split(',').collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(","), allow, "{method} {path}");
    }
    lab.close().await;
}

#[tokio::test]
async fn what_is_no_http_stops_nobody() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1)]).await;
    let address = lab.root.base.strip_prefix("http://").expect("a scheme").to_owned();
    let sent = tokio::task::spawn_blocking(move || {
        for bytes in [
            &b"\x16\x03\x01\x00\xff\x00\x00"[..],
            b"GET\r\n\r\n",
            b"POST /v1/tasks HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
        ] {
            let mut stream = TcpStream::connect(&address).expect("a connection");
            stream.write_all(bytes).expect("sent");
            stream.shutdown(std::net::Shutdown::Write).expect("shut");
            let mut answer = Vec::new();
            // Whether it answers or hangs up: it must not hang.
            stream.set_read_timeout(Some(crate::client::PATIENCE)).expect("set");
            stream.read_to_end(&mut answer).expect("an end");
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
        }
        // Sends half a request and goes.
        let mut stream = TcpStream::connect(&address).expect("a connection");
        stream.write_all(b"POST /v1/tasks HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n{\"com").expect("sent");
    });
    sent.await.expect("no panic");
    let task: Value = submit(&lab.alice, json!({"command": ["x"]})).await;
    assert!(task["id"].is_u64());
    lab.close().await;
}
