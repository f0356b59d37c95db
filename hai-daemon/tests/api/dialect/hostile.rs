//! What nobody should send: it is refused in one line, tells nothing of others, and disturbs nobody.

use serde_json::{Value, json};

use super::{accepted, ask, create, good, refused, schema, until};
use crate::client::{Client, Reply};
use crate::lab::{Lab, node};

/// Every path that is served, from the table in the source: none is forgotten.
fn served() -> Vec<&'static str> {
    let source = include_str!("../../../src/api/dialect/mod.rs");
    let table = source.split_once("match path {").expect("the table").1.split_once("path => ").expect("its end").0;
    let paths: Vec<&str> = table.split('"').skip(1).step_by(2).collect();
    assert!(paths.len() > 25 && paths.iter().all(|path| path.starts_with('/')), "{paths:?}");
    paths
}

/// Those that are about one task.
fn about_one() -> impl Iterator<Item = &'static str> {
    const OTHERS: [&str; 5] = ["create", "list", "list_all_unfinished", "list_all_with_priority", "ssh_ip"];
    let of_tasks =
        served().into_iter().filter(|path| path.starts_with("/query/task") || path.starts_with("/operating/task"));
    of_tasks.filter(|path| !OTHERS.contains(&path.rsplit('/').next().unwrap_or_default()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_opens_nothing() {
    let lab = Lab::in_memory([]).await.0;
    for token in ["", "x", "hai_0000", "ACCESS-616c696365-x", "%00", "a%20b", &"z".repeat(10_000)] {
        let client = Client { base: lab.alice.base.clone(), token: Some(token.to_owned()) };
        for path in served() {
            let reply = ask(&client, path, "id=100000").await;
            assert_eq!(reply.status, 403, "{path}: {}", reply.text());
            let msg = refused(&reply);
            assert!(msg.contains("token"), "{msg}");
        }
    }
    // The token may stand in the body too, and never comes back in an answer or stays with the task.
    let token = lab.alice.token.clone().expect("one");
    let mut wanted = schema("mine", std::path::Path::new("/tmp"), "run.sh");
    wanted["token"] = json!(token);
    let made = accepted(&lab.anybody.json("POST", "/operating/task/create", wanted.to_string()).await);
    assert!(!made.to_string().contains(&token), "{made}");
    let detail = lab.root.get("/v1/tasks/1").await.text();
    assert!(!detail.contains(&token), "{detail}");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_tasks_are_not_there() {
    let lab = Lab::in_memory([node("one", 1)]).await.0;
    let made = accepted(&create(&lab.alice, &schema("secret", std::path::Path::new("/tmp"), "run.sh")).await);
    let task = &made["task"];
    for selector in [
        format!("id={}", task["id"]),
        format!("chain_id={}", task["chain_id"].as_str().expect("text")),
        "nb_name=secret".to_owned(),
    ] {
        for path in about_one() {
            let theirs = refused(&ask(&lab.bob, path, &format!("{selector}&content=x&priority=10&tag=x")).await);
            let nobodys = refused(&ask(&lab.bob, path, "id=99900000&content=x&priority=10&tag=x").await);
            assert_eq!(theirs, nobodys, "{path}");
        }
    }
    let pod = refused(&ask(&lab.bob, "/query/task/ssh_ip", &format!("pod_name=alice-{}-0", task["id"])).await);
    assert_eq!(pod, refused(&ask(&lab.bob, "/query/task/ssh_ip", "pod_name=alice-99900000-0").await));
    // Nor is there anything of them in what is told to everybody.
    for path in ["/query/task/list", "/query/task/list_all_unfinished", "/query/user/list_all", "/query/user/tag/list"]
    {
        let told = ask(&lab.bob, path, "").await.text();
        assert!(!told.contains("secret") && !told.contains("alice"), "{path}: {told}");
    }
    let nodes = good(&lab.bob, "/query/node/list", "").await;
    assert_eq!(
        (&nodes["cluster_df"][0]["working"], &nodes["cluster_df"][0]["working_user"]),
        (&json!("training"), &Value::Null)
    );
    assert!(!nodes.to_string().contains("alice"), "{nodes}");
    assert_eq!(until(&lab.alice, "nb_name=secret", "running").await["user_name"], "alice");
    refused(
        &lab.bob
            .json(
                "POST",
                &format!("/operating/task/create?user_name=alice&token={}", lab.bob.token.as_deref().expect("one")),
                schema("x", std::path::Path::new("/tmp"), "run.sh").to_string(),
            )
            .await,
    );
    lab.close().await;
}

/// Asks until it is not asked too often.
async fn patiently(client: &Client, path: &str, query: &str) -> Reply {
    loop {
        let reply = ask(client, path, query).await;
        if reply.status != 429 {
            return reply;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_sent_is_answered_in_the_envelope() {
    let lab = Lab::in_memory([node("one", 1)]).await.0;
    accepted(&create(&lab.alice, &schema("there", std::path::Path::new("/tmp"), "run.sh")).await);
    let long = format!("nb_name={}", "x".repeat(20_000));
    for query in [
        "",
        "id=",
        "id=-1",
        "id=1e5",
        "id=None",
        "id=99999999999999999999999",
        "id=100000&rank=-1",
        "id=100000&rank=5",
        "id=100000&rank=4294967296",
        "chain_id=../../etc/passwd",
        "chain_id=%2e%2e%2f",
        "chain_id=1;DROP+TABLE+tasks",
        "nb_name=%27+OR+1=1",
        "nb_name=%00",
        "nb_name=%FF%FE",
        &long,
        "pod_name=../../0-0-0",
        "pod_name=x-100000-99",
        "page=%E4%BD%A0",
        "page_size=99999999999",
        "id=100000&tag=_hidden&content=&priority=1e9&custom_rank=NaN&restart_delay=x",
        "id=100000&tag=%00&content=%00&last_seen=%22%22&priority=-9223372036854775808",
        "id=100000&last_seen=999999.99999999999&content=x&from_user_name=root&access_user_name=../..",
        "task_type=%00&group=..%2F&worker_status=%FF&created_start_time=x&nb_name_pattern=%25&tag=%27",
    ] {
        // What one may ask at once is not enough for all of this.
        for (number, path) in served().into_iter().enumerate() {
            let client = [&lab.alice, &lab.bob, &lab.root][number % 3];
            let reply = patiently(client, path, query).await;
            let body: Value =
                serde_json::from_slice(&reply.body).unwrap_or_else(|_| panic!("{path}?{query}: {}", reply.text()));
            assert!(body["success"] == 0 || body["success"] == 1, "{path}?{query}: {body}");
            assert!(body["msg"].is_string(), "{path}?{query}: {body}");
            assert!(reply.status < 500, "{path}?{query}: {body}");
        }
    }
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"x\"",
        "{}",
        "{\"version\": 2}",
        "\u{0}",
        &"[".repeat(100_000),
        &format!("{{\"name\": \"{}\"}}", "x".repeat(2 << 20)),
    ] {
        let address = format!("/operating/task/create?token={}", lab.alice.token.as_deref().expect("one"));
        let bare = Client { token: None, ..lab.alice.clone() };
        refused(&bare.send("POST", &address, &[("content-type", "text/plain")], body.as_bytes().to_vec()).await);
    }
    let other = lab.alice.get("/query/task").await;
    assert_eq!(other.status, 405);
    refused(&other);
    // It is still there, and nothing else is.
    assert_eq!(accepted(&patiently(&lab.alice, "/query/task/list", "").await)["result"]["total"], 1);
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_without_a_pause_is_told_to_make_one() {
    let lab = Lab::in_memory([]).await.0;
    let mut too_many = None;
    // What a user may ask at once, and then some, faster than it comes back.
    for _ in 0..40 {
        let asked: Vec<_> = (0..16)
            .map(|_| {
                let alice = lab.alice.clone();
                tokio::spawn(async move { ask(&alice, "/query/user/tag/list", "").await })
            })
            .collect();
        for reply in asked {
            let reply = reply.await.expect("no panic");
            if reply.status == 429 {
                too_many = Some(reply);
            }
        }
        if too_many.is_some() {
            break;
        }
    }
    let too_many = too_many.expect("nobody may ask that often");
    assert_eq!(too_many.header("retry-after"), Some("1"));
    assert!(refused(&too_many).contains("too often"));
    good(&lab.bob, "/query/user/tag/list", "").await;
    lab.close().await;
}
