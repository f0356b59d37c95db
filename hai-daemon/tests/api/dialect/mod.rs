//! The hai-platform dialect, asked as its client asks: every request as it was recorded, every field that the client reads.

mod contract;
mod hostile;
mod lives;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, PATIENCE, Reply};

/// Asks as the client does: everything in the query, an empty body that is said to be bytes.
pub(crate) async fn ask(client: &Client, path: &str, query: &str) -> Reply {
    let token = client.token.as_deref().unwrap_or_default();
    let joint = if query.is_empty() { "" } else { "&" };
    let address = format!("{path}?token={token}{joint}{query}");
    let bare = Client { base: client.base.clone(), token: None };
    bare.send("POST", &address, &[("content-type", "application/octet-stream"), ("accept", "*/*")], Vec::new()).await
}

/// The same, and it must be a good answer.
#[track_caller]
pub(crate) fn good(client: &Client, path: &str, query: &str) -> impl Future<Output = Value> {
    let (client, path, query) = (client.clone(), path.to_owned(), query.to_owned());
    async move { accepted(&ask(&client, &path, &query).await) }
}

#[track_caller]
pub(crate) fn accepted(reply: &Reply) -> Value {
    let body: Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(body["success"], 1, "{body}");
    assert!(body["msg"].is_string(), "{body}");
    body
}

/// The message of an answer that must be a refusal.
#[track_caller]
pub(crate) fn refused(reply: &Reply) -> String {
    assert_eq!(reply.header("content-type"), Some("application/json"), "{}", reply.text());
    let body: Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(body["success"], 0, "{body}");
    let msg = body["msg"].as_str().expect("a message").to_owned();
    assert!(!msg.is_empty() && !msg.contains('\n'), "{msg}");
    msg
}

/// What `hai-cli bash <file>` sends for one node.
pub(crate) fn schema(name: &str, workspace: &std::path::Path, file: &str) -> Value {
    json!({
        "version": 2, "name": name, "priority": 30,
        "spec": {"workspace": workspace, "entrypoint": file, "parameters": "", "environments": {}},
        "resource": {"image": "default", "group": "default", "node_count": 1},
        "options": {},
    })
}

pub(crate) async fn create(client: &Client, schema: &Value) -> Reply {
    let token = client.token.as_deref().unwrap_or_default();
    let bare = Client { base: client.base.clone(), token: None };
    bare.json("POST", &format!("/operating/task/create?token={token}"), schema.to_string()).await
}

/// Waits until the chain is in this state; returns it.
pub(crate) async fn until(client: &Client, query: &str, status: &str) -> Value {
    let begun = Instant::now();
    loop {
        let task = good(client, "/query/task", query).await["result"]["task"].take();
        if task["chain_status"] == status {
            return task;
        }
        assert!(begun.elapsed() < PATIENCE, "the chain is never {status}: {task}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Follows the output as the client does, but sooner; until it ends its waiting. What it printed, and with what it exits.
pub(crate) async fn follow(client: &Client, chain: &str, rank: u32) -> (String, i64) {
    let (mut cursor, mut text, begun) = ("null".to_owned(), String::new(), Instant::now());
    loop {
        let reply = good(client, "/query/task/log", &format!("chain_id={chain}&rank={rank}&last_seen={cursor}")).await;
        text.push_str(reply["data"].as_str().expect("text"));
        cursor = reply["last_seen"].as_str().expect("a cursor").to_owned();
        let code = reply["stop_code"].as_i64().expect("a code");
        let exit = &reply["exit_code"];
        match code {
            1 => return (text, 0),
            128..2048 => return (text, exit.as_i64().filter(|code| *code != 0).unwrap_or(1)),
            _ => {}
        }
        assert!(begun.elapsed() < PATIENCE, "it never ends: {reply}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
