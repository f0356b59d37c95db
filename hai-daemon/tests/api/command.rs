//! The command that submits a task again, read back by the command's own parser.

use clap::Parser as _;
use hai_daemon::cli::args::{Command, HaiArgs};
use serde_json::{Value, json};

use crate::client::Client;
use crate::lab::{Lab, node, submit};

/// What the command of a task asks for, whether word by word or through a shell.
async fn asked(client: &Client, id: &Value) -> (Value, Value) {
    let told = client.get(&format!("/v1/tasks/{id}/command")).await.ok(200);
    let argv: Vec<String> = serde_json::from_value(told["argv"].clone()).expect("words");
    let script = format!("printf '%s\\0' {}", told["shell"].as_str().expect("text"));
    let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("a shell");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text.split_terminator('\0').collect::<Vec<_>>(), argv, "the shell reads the same words");
    let parsed = HaiArgs::try_parse_from(&argv).unwrap_or_else(|error| panic!("{argv:?}: {error}"));
    let Command::Submit(args) = parsed.command else { panic!("{argv:?} submits nothing") };
    (serde_json::to_value(args.request().expect("it is right")).expect("JSON"), told["remarks"].clone())
}

/// All that a task says of itself that its submission decided.
fn decided(task: &Value) -> Value {
    let mut task = task.clone();
    let fields = task.as_object_mut().expect("an object");
    for own in [
        "id",
        "user",
        "state",
        "outcome",
        "reason",
        "submitted_at",
        "started_at",
        "ended_at",
        "runs",
        "run",
        "ran",
        "level",
        "yielded",
        "whole_life_state",
        "history",
        "why",
    ] {
        fields.remove(own);
    }
    task
}

#[tokio::test]
async fn a_task_that_is_submitted_by_its_command_is_the_same_task() {
    let (lab, _cluster) = Lab::in_memory([node("one", 4)]).await;
    let first = submit(&lab.alice, json!({"command": ["sleep", "1"], "workdir": "/tmp"})).await;
    let (id, quotes) = (first["id"].clone(), "it's $HOME \"and\" `more`\n\\");
    for request in [
        json!({"command": ["sleep", "1"], "workdir": "/tmp"}),
        json!({"command": ["sh", "-c", quotes, "", "--follow", "-d", "9"], "name": "it's \"odd\" \\", "workdir": "/tmp/a b",
            "env": {"A": "b=c", "EMPTY": "", "QUOTES": quotes}}),
        json!({"command": ["-x"], "name": "-n", "workdir": "/tmp", "image": "registry/image:1", "group": "other",
            "priority": "AUTO", "workers": 8, "workers_min": 2, "share": 0.25, "models": ["RTX 3070", "A100"],
            "forbidden_models": ["V100"], "same_model": true, "device_memory_mib": 8000, "mig_profile": "1g.5gb",
            "compute_capability": "8.6", "cpu": 2.125, "memory_mib": 1000}),
        json!({"command": ["x"], "workdir": "/tmp", "whole_node": true, "workers": 2, "distinct_nodes": true, "spread": true,
            "one_leaf": true, "one_zone": true, "zones": ["y", "z"], "labels": {"disk": "fast", "eq": "a=b", "none": ""},
            "tolerates": ["slow", "-dash"], "suspendable": false, "expected": "90m", "limit": "2d", "restart_cost": "2m",
            "checkpoint_every": "1500ms", "grace": {"answer": "7s", "finish": "30s"},
            "deadline": "2031-12-01T09:00:00.5Z", "not_before": "2030-12-01T09:00:00Z"}),
        json!({"command": ["x"], "workdir": "/tmp", "kind": "interactive", "lease": "4h", "idle_after": "30m",
            "devices": 0, "cpu": 1, "after": [id], "retries": {"limit": 3}}),
        json!({"command": ["x"], "workdir": "/tmp", "kind": "background", "share_memory_mib": 1536, "after_any": [id],
            "retries": {"limit": 2, "back_off": "1m", "avoid_nodes": false}}),
    ] {
        let task = submit(&lab.alice, request.clone()).await;
        let (again, remarks) = asked(&lab.alice, &task["id"]).await;
        assert_eq!(remarks, json!([]), "{request}");
        let copy = submit(&lab.alice, again).await;
        let shown = async |task: &Value| lab.alice.get(&format!("/v1/tasks/{}", task["id"])).await.ok(200);
        assert_eq!(decided(&shown(&copy).await), decided(&shown(&task).await), "{request}");
    }
    lab.close().await;
}

#[tokio::test]
async fn what_no_command_can_say_is_said() {
    let (lab, _cluster) = Lab::in_memory([node("one", 4)]).await;
    let task =
        submit(&lab.root, json!({"command": ["x"], "user": "alice", "custom_rank": -1.5, "notes": {"a": "b"}})).await;
    let (again, remarks) = asked(&lab.root, &task["id"]).await;
    assert_eq!((&again["user"], &again["custom_rank"]), (&json!("alice"), &json!(-1.5)));
    assert_eq!(remarks.as_array().expect("a list").len(), 2, "the directory, and notes: {remarks}");
    let (again, remarks) = asked(&lab.alice, &task["id"]).await;
    assert_eq!((&again["user"], &again["custom_rank"]), (&Value::Null, &Value::Null));
    assert!(remarks.to_string().contains("only an operator"), "{remarks}");
    // Another user's task looks just like none.
    lab.bob.get(&format!("/v1/tasks/{}/command", task["id"])).await.problem(404, "not-found");
    lab.close().await;
}
