//! Submitting, listing, showing and changing tasks.

use hai_core::backend::MemoryCluster;
use hai_core::model::{RunId, WorkerExit};
use serde_json::{Value, json};

use crate::client::Client;
use crate::lab::{Lab, node, submit, wait};

async fn names(client: &Client, query: &str) -> Vec<String> {
    let page = client.get(&format!("/v1/tasks?{query}")).await.ok(200);
    let tasks = page["tasks"].as_array().expect("a list");
    tasks.iter().map(|task| task["name"].as_str().expect("a name").to_owned()).collect()
}

fn end(cluster: &MemoryCluster, task: &Value, code: i32) {
    let run = RunId(task["run"].as_u64().expect("a run"));
    assert!(cluster.end(run, 0, WorkerExit::exited(code)));
}

#[tokio::test]
async fn a_task_is_submitted_shown_and_succeeds() {
    let (lab, cluster) = Lab::in_memory([node("one", 2)]).await;
    let request = json!({
        "command": ["/usr/bin/python3", "train.py"], "env": {"A": "b"}, "workdir": "/tmp", "devices": 2,
        "priority": "high", "models": ["RTX 3070"], "device_memory_mib": 8000, "cpu": 0.5, "memory_mib": 100,
        "grace": {"answer": "1s", "finish": "2m"},
    });
    let reply = lab.alice.post("/v1/tasks", request).await;
    let task = reply.ok(201);
    assert_eq!(reply.header("location"), Some(format!("/v1/tasks/{}", task["id"]).as_str()));
    assert_eq!(task["name"], "python3");
    assert_eq!((&task["user"], &task["group"]), (&json!("alice"), &json!("lab")));
    assert_eq!((&task["priority"], &task["cpu"]), (&json!("HIGH"), &json!(0.5)));
    assert_eq!(task["grace"], json!({"answer": "1s", "finish": "2m"}));
    assert!(task["submitted_at"].as_str().expect("a time").ends_with('Z'));

    let shown = wait(&lab.alice, &task["id"], "running").await;
    assert_eq!(shown["command"], json!(["/usr/bin/python3", "train.py"]));
    assert_eq!((&shown["env"], &shown["workdir"]), (&json!({"A": "b"}), &json!("/tmp")));
    assert_eq!(shown["why"], Value::Null);
    let worker = &shown["history"][0]["workers"][0];
    assert_eq!((&worker["node"], &worker["state"]), (&json!("one"), &json!("executing")));
    assert_eq!(worker["devices"], json!(["GPU-one-0", "GPU-one-1"]));

    end(&cluster, &shown, 0);
    let done = wait(&lab.alice, &task["id"], "finished").await;
    assert_eq!((&done["outcome"], &done["reason"]), (&json!("succeeded"), &Value::Null));
    assert_eq!(done["history"][0]["workers"][0]["exit"]["code"], 0);
    let why = lab.alice.get(&format!("/v1/tasks/{}/why", task["id"])).await.ok(200);
    assert_eq!((&why["waits"], &why["sentence"]), (&json!(false), &json!("it has succeeded")));
    lab.close().await;
}

#[tokio::test]
async fn a_failed_task_says_why() {
    let (lab, cluster) = Lab::in_memory([node("one", 1)]).await;
    let task = submit(&lab.alice, json!({"command": ["false"]})).await;
    end(&cluster, &wait(&lab.alice, &task["id"], "running").await, 3);
    let failed = wait(&lab.alice, &task["id"], "finished").await;
    assert_eq!(failed["outcome"], "failed");
    assert!(failed["reason"].as_str().expect("a reason").contains("exit status 3"), "{failed}");
    lab.close().await;
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let (lab, cluster) = Lab::in_memory([node("one", 1)]).await;
    let first = submit(&lab.alice, json!({"command": ["x"], "name": "a-0", "priority": "VERY_HIGH"})).await;
    let running = wait(&lab.alice, &first["id"], "running").await;
    for number in 1..6 {
        let priority = if number < 4 { "NORMAL" } else { "LOW" };
        submit(&lab.alice, json!({"command": ["x"], "name": format!("a-{number}"), "priority": priority})).await;
    }
    submit(&lab.bob, json!({"command": ["x"], "name": "b-0", "group": "other"})).await;

    assert_eq!(names(&lab.alice, "").await, ["a-5", "a-4", "a-3", "a-2", "a-1", "a-0"]);
    assert_eq!(names(&lab.root, "limit=1").await, ["b-0"]);
    assert_eq!(names(&lab.root, "user=alice&state=running").await, ["a-0"]);
    assert_eq!(names(&lab.root, "group=other").await, ["b-0"]);
    assert_eq!(names(&lab.root, "priority=low").await, ["a-5", "a-4"]);
    assert_eq!(names(&lab.root, "name=-0&state=waiting,running").await, ["b-0", "a-0"]);
    // Nobody learns of others by asking for them.
    assert_eq!(names(&lab.alice, "user=bob").await, Vec::<String>::new());

    let mut all = Vec::new();
    let mut before = String::new();
    loop {
        let page = lab.root.get(&format!("/v1/tasks?limit=3{before}")).await.ok(200);
        all.extend(page["tasks"].as_array().expect("a list").iter().map(|task| task["id"].as_u64().expect("an id")));
        match page["next"].as_u64() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(all.len(), 7);
    assert!(all.is_sorted_by(|one, other| one > other), "{all:?}");

    end(&cluster, &running, 0);
    wait(&lab.alice, &first["id"], "finished").await;
    assert_eq!(names(&lab.root, "outcome=succeeded").await, ["a-0"]);
    assert_eq!(names(&lab.root, "state=unfinished&user=alice").await.len(), 5);
    lab.close().await;
}

#[tokio::test]
async fn a_task_is_suspended_resumed_reprioritised_and_stopped() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1)]).await;
    let task = submit(&lab.alice, json!({"command": ["x"]})).await;
    let path = |what: &str| format!("/v1/tasks/{}/{what}", task["id"]);
    wait(&lab.alice, &task["id"], "running").await;

    let answer = lab.alice.act(&path("suspend")).await.ok(200);
    assert!(["suspending", "held"].contains(&answer["state"].as_str().expect("a word")), "{answer}");
    let held = wait(&lab.alice, &task["id"], "held").await;
    assert_eq!((&held["yielded"]["why"], &held["why"]["verdict"]["verdict"]), (&json!("held"), &json!("held")));
    lab.alice.act(&path("suspend")).await.ok(200);

    let answer = lab.alice.post(&path("priority"), json!({"priority": "LOW"})).await.ok(200);
    assert_eq!((&answer["priority"], &answer["state"]), (&json!("LOW"), &json!("held")));

    lab.alice.act(&path("resume")).await.ok(200);
    let again = wait(&lab.alice, &task["id"], "running").await;
    assert_eq!((&again["runs"], again["history"].as_array().expect("a list").len()), (&json!(2), 2));
    let problem = lab.alice.act(&path("resume")).await.problem(409, "conflict");
    assert!(problem["detail"].as_str().expect("text").contains("not held"), "{problem}");

    lab.alice.act(&path("stop")).await.ok(200);
    let stopped = wait(&lab.alice, &task["id"], "finished").await;
    assert_eq!(stopped["outcome"], "stopped");
    for what in ["stop", "suspend", "resume"] {
        lab.alice.act(&path(what)).await.problem(409, "conflict");
    }
    lab.alice.post(&path("priority"), json!({"priority": "LOW"})).await.problem(409, "conflict");
    lab.close().await;
}

#[tokio::test]
async fn a_waiting_task_says_what_it_waits_for() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1)]).await;
    let first = submit(&lab.alice, json!({"command": ["x"]})).await;
    wait(&lab.alice, &first["id"], "running").await;
    let why = lab.alice.get(&format!("/v1/tasks/{}/why", first["id"])).await.ok(200);
    assert_eq!((&why["waits"], &why["state"], &why["verdict"]), (&json!(false), &json!("running"), &Value::Null));

    let second = submit(&lab.bob, json!({"command": ["x"]})).await;
    let why = lab.bob.get(&format!("/v1/tasks/{}/why", second["id"])).await.ok(200);
    assert_eq!((&why["waits"], &why["verdict"]["verdict"]), (&json!(true), &json!("no_room")));
    assert_eq!(why["verdict"]["lack"]["free_devices"], 0);
    let sentence = why["sentence"].as_str().expect("a sentence");
    assert!(sentence.contains("0 of 1 fitting devices are free"), "{sentence}");

    let third = submit(&lab.bob, json!({"command": ["x"]})).await;
    let why = lab.bob.get(&format!("/v1/tasks/{}/why", third["id"])).await.ok(200);
    assert_eq!((&why["verdict"]["verdict"], &why["verdict"]["head"]), (&json!("behind"), &second["id"]));
    // The reason of the one ahead is the reason.
    assert!(why["sentence"].as_str().expect("a sentence").contains("fitting devices are free"), "{why}");

    let lost = submit(&lab.bob, json!({"command": ["x"], "group": "nowhere"})).await;
    let shown = lab.bob.get(&format!("/v1/tasks/{}", lost["id"])).await.ok(200);
    assert_eq!(shown["why"]["verdict"], json!({"verdict": "no_such_group", "group": "nowhere"}));

    // A better one drives the first out, and `why` tells.
    let better = submit(&lab.bob, json!({"command": ["x"], "priority": "HIGH"})).await;
    wait(&lab.bob, &better["id"], "running").await;
    let why = lab.alice.get(&format!("/v1/tasks/{}/why", first["id"])).await.ok(200);
    assert_eq!((&why["state"], &why["yielded"]["task"]), (&json!("suspended"), &better["id"]));
    let sentence = why["sentence"].as_str().expect("a sentence");
    assert!(sentence.contains(&format!("task {} has a better right", better["id"])), "{sentence}");
    lab.close().await;
}

#[tokio::test]
async fn operators_submit_for_others_and_choose_places() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1)]).await;
    let task = submit(&lab.root, json!({"command": ["x"], "user": "bob", "custom_rank": -1.5})).await;
    assert_eq!((&task["user"], &task["custom_rank"]), (&json!("bob"), &json!(-1.5)));
    submit(&lab.alice, json!({"command": ["x"], "user": "alice"})).await;
    let for_bob = json!({"command": ["x"], "user": "bob"});
    assert_eq!(lab.alice.post("/v1/tasks", for_bob).await.problem(403, "forbidden")["field"], "user");
    let ranked = json!({"command": ["x"], "custom_rank": 0});
    assert_eq!(lab.alice.post("/v1/tasks", ranked).await.problem(403, "forbidden")["field"], "custom_rank");
    let for_nobody = json!({"command": ["x"], "user": "nobody"});
    assert_eq!(lab.root.post("/v1/tasks", for_nobody).await.problem(422, "invalid-value")["field"], "user");
    let path = format!("/v1/tasks/{}/priority", task["id"]);
    let ranked = json!({"priority": "LOW", "custom_rank": 7});
    lab.bob.post(&path, ranked.clone()).await.problem(403, "forbidden");
    assert_eq!(lab.root.post(&path, ranked).await.ok(200)["custom_rank"], 7.0);
    lab.close().await;
}

#[tokio::test]
async fn all_that_was_asked_is_shown() {
    let (lab, _cluster) = Lab::in_memory([node("one", 2)]).await;
    let first = submit(&lab.alice, json!({"command": ["first"]})).await;
    let second = submit(&lab.alice, json!({"command": ["second"]})).await;
    let asked = json!({
        "kind": "interactive", "lease": "4h", "idle_after": "30m", "workers": 4, "workers_min": 2, "share": 0.25,
        "models": ["RTX 3080", "RTX 3070"], "forbidden_models": ["H100"], "same_model": true, "mig_profile": "1g.5gb",
        "compute_capability": "8.6", "one_leaf": true, "one_zone": true, "spread": true, "zones": ["east"],
        "labels": {"disk": "fast"}, "suspendable": false, "expected": "90m", "limit": "2d",
        "deadline": "2100-01-01T00:00:00Z", "not_before": "2099-01-01T00:00:00Z", "after": [first["id"]],
        "after_any": [second["id"]], "retries": {"limit": 3, "back_off": "1m", "avoid_nodes": false},
        "restart_cost": "2m", "checkpoint_every": "10m",
    });
    let mut request = asked.clone();
    request["command"] = json!(["x"]);
    let task = submit(&lab.alice, request).await;
    for (field, value) in asked.as_object().expect("fields") {
        assert_eq!(task[field], *value, "{field}");
    }
    assert_eq!((&task["devices"], &task["whole_node"]), (&Value::Null, &json!(false)));
    let memory = submit(&lab.alice, json!({"command": ["x"], "share_memory_mib": 6000})).await;
    assert_eq!((&memory["share_memory_mib"], &memory["share"]), (&json!(6000), &Value::Null));
    lab.close().await;
}

#[tokio::test]
async fn a_task_waits_for_others_and_a_lease_is_renewed() {
    let (lab, cluster) = Lab::in_memory([node("one", 2)]).await;
    let first = submit(&lab.alice, json!({"command": ["first"]})).await;
    let then = submit(&lab.alice, json!({"command": ["then"], "after": [first["id"]]})).await;
    let why = lab.alice.get(&format!("/v1/tasks/{}/why", then["id"])).await.ok(200);
    assert_eq!((&why["verdict"]["verdict"], &why["verdict"]["tasks"]), (&json!("after"), &json!([first["id"]])));
    end(&cluster, &wait(&lab.alice, &first["id"], "running").await, 0);
    wait(&lab.alice, &then["id"], "running").await;

    // Other people's tasks look just like none.
    for (field, asked) in [("after", json!({"after": [999]})), ("after_any", json!({"after_any": [first["id"]]}))] {
        let mut request = asked;
        request["command"] = json!(["x"]);
        let who = if field == "after" { &lab.alice } else { &lab.bob };
        let problem = who.post("/v1/tasks", request).await.problem(422, "invalid-value");
        assert_eq!(problem["field"], field);
        assert!(problem["detail"].as_str().expect("a text").contains("there is no task"), "{problem}");
    }

    lab.alice.act(&format!("/v1/tasks/{}/renew", then["id"])).await.problem(409, "conflict");
    let notebook = submit(&lab.alice, json!({"command": ["x"], "kind": "interactive", "lease": "1h"})).await;
    wait(&lab.alice, &notebook["id"], "running").await;
    lab.alice.act(&format!("/v1/tasks/{}/renew", notebook["id"])).await.ok(200);
    lab.close().await;
}

#[tokio::test]
async fn a_waiting_task_says_what_would_help_and_not_whose_work_is_in_the_way() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1)]).await;
    let first = submit(&lab.alice, json!({"command": ["x"]})).await;
    wait(&lab.alice, &first["id"], "running").await;
    let second = submit(&lab.bob, json!({"command": ["x"]})).await;
    let path = format!("/v1/tasks/{}/why", second["id"]);

    let plain = lab.bob.get(&path).await.ok(200);
    assert_eq!(plain.get("help"), None);
    assert!(plain["reason"].as_str().expect("a sentence").starts_with("no node has room for it now"), "{plain}");
    assert_eq!(plain["links"]["line"]["place"], 1);
    let titles: Vec<_> = plain["sections"].as_array().expect("sections").iter().map(|of| &of["title"]).collect();
    assert_eq!(titles, ["Asks for", "Right", "Line", "Nodes", "Who is in the way"]);

    // An operator is told who; bob only that somebody is there, and at which level.
    let names = |links: &Value| links["yielding"]["stays"][0]["who"]["first"][0]["task"].clone();
    let shown = lab.root.get(&path).await.ok(200);
    assert_eq!(names(&shown["links"]), first["id"]);
    assert_eq!(names(&plain["links"]), Value::Null);
    assert_eq!(plain["links"]["yielding"]["stays"][0]["who"]["levels"], json!({"NORMAL": 1}));
    assert!(!plain["reason"].as_str().expect("a sentence").contains("alice"), "{plain}");

    let helped = lab.bob.get(&format!("{path}?help=true")).await.ok(200);
    let changes = helped["help"]["changes"].as_array().expect("changes");
    let kinds: Vec<_> = changes.iter().map(|of| &of["change"]["change"]).collect();
    assert_eq!(kinds, ["priority", "task_ends"], "{helped}");
    assert_eq!((&changes[0]["change"]["to"], &changes[0]["at_once"]), (&json!("ABOVE_NORMAL"), &json!(false)));
    assert_eq!((&changes[1]["change"]["task"], &changes[1]["at_once"]), (&json!({"level": "NORMAL"}), &json!(true)));
    let then = (&changes[0]["then"]["then"], &changes[0]["then"]["leaving"], &changes[1]["then"]);
    assert_eq!(then, (&json!("promised"), &json!(1), &json!({"then": "starts"})), "{helped}");
    let titles: Vec<_> = helped["sections"].as_array().expect("sections").iter().map(|of| &of["title"]).collect();
    assert_eq!(titles.last(), Some(&&json!("What would help")));
    // There is room for none so large; with fewer it could start, but not now.
    let large = submit(&lab.bob, json!({"command": ["x"], "devices": 2})).await;
    let helped = lab.bob.get(&format!("/v1/tasks/{}/why?help=true", large["id"])).await.ok(200);
    let changes = helped["help"]["changes"].as_array().expect("changes");
    let fits = changes.iter().find(|change| change["then"] == json!({"then": "fits"}));
    assert_eq!(fits.unwrap_or_else(|| panic!("{helped}"))["at_once"], false);
    lab.bob.get(&format!("{path}?halp=true")).await.problem(400, "invalid-parameter");
    lab.close().await;
}
