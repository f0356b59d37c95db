//! Training code that was written for hai-platform runs, is suspended by a better task, and goes on, without an edit.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Daemon, wait_for};

/// Training code in the style of its documentation.
const TRAIN: &str = include_str!("../support/upstream_training.py");

fn post(daemon: &Daemon, path: &str, query: &str, body: &str) -> Value {
    // Nobody may ask as often as a test waits.
    std::thread::sleep(std::time::Duration::from_millis(25));
    let address = format!("{}{path}?token={}&{query}", daemon.url, daemon.token);
    let mut answer = ureq::post(&address).header("content-type", "application/json").send(body).expect("an answer");
    let answer: Value = answer.body_mut().read_json().expect("JSON");
    assert_eq!(answer["success"], 1, "{answer}");
    answer
}

fn schema(name: &str, workspace: &Path, file: &str, parameters: &str, priority: i32) -> String {
    json!({
        "version": 2, "name": name, "priority": priority,
        "spec": {"workspace": workspace, "entrypoint": file, "parameters": parameters, "environments": {}},
        "resource": {"image": "default", "group": "default", "node_count": 1}, "options": {},
    })
    .to_string()
}

fn task(daemon: &Daemon, name: &str) -> Value {
    post(daemon, "/query/task", &format!("nb_name={name}"), "")["result"]["task"].take()
}

fn output(daemon: &Daemon, name: &str) -> String {
    let chain = task(daemon, name)["chain_id"].as_str().expect("a chain").to_owned();
    let log = post(daemon, "/query/task/log", &format!("chain_id={chain}&rank=0&last_seen=null"), "");
    log["data"].as_str().expect("text").to_owned()
}

#[test]
fn a_training_script_is_suspended_by_a_better_task_and_goes_on() {
    let daemon = Daemon::start(2, "");
    daemon.says(&["rights", "set", "--nodes", "unlimited", "--devices", "unlimited"]);
    let work = daemon.scratch();
    fs::write(work.join("train.py"), TRAIN).expect("written");
    let hold = work.join("hold");
    fs::write(work.join("better.sh"), "while [ -e \"$1\" ]; do sleep 0.02; done\n").expect("written");
    let (slow, weights) = (work.join("weights.slow"), work.join("weights"));
    for file in [&slow, &hold] {
        fs::write(file, "").expect("written");
    }
    let parameters = format!("{} 500", weights.display());
    post(&daemon, "/operating/task/create", "", &schema("train", work, "train.py", &parameters, 30));
    wait_for("the first steps", || output(&daemon, "train").contains("begins at step 0 as train").then_some(()));

    post(&daemon, "/operating/task/create", "", &schema("better", work, "better.sh", &hold.display().to_string(), 50));
    wait_for("the better task", || (task(&daemon, "better")["chain_status"] == "running").then_some(()));
    let suspended = task(&daemon, "train");
    assert_eq!((&suspended["chain_status"], &suspended["restart_count"]), (&json!("suspended"), &json!(1)));
    let step = suspended["whole_life_state"].as_i64().expect("a number");
    assert!(step > 0, "{suspended}");

    fs::remove_file(&slow).expect("it is there");
    fs::remove_file(&hold).expect("it is there");
    wait_for("the end", || (task(&daemon, "train")["chain_status"] == "finished").then_some(()));
    assert_eq!(task(&daemon, "train")["worker_status"], "succeeded");
    let said = output(&daemon, "train");
    let sum: u64 = (0..500_u64).map(|step| step * step).sum();
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "begins at step 0 as train",
            &format!("gives way at step {step}"),
            &format!("begins at step {step} as train"),
            &format!("sum {sum}"),
        ]
    );
}

#[test]
fn a_task_that_gives_way_by_itself_comes_back_and_may_say_how_urgent_it_is() {
    let daemon = Daemon::start(1, "");
    daemon.says(&["rights", "set", "--nodes", "unlimited", "--devices", "unlimited"]);
    let work = daemon.scratch();
    let script = "import hfai.client as c\nif c.get_whole_life_state() == 0:\n    c.set_whole_life_state(7)\n    c.set_priority(50)\n    \
                  c.set_watchdog_time(60)\n    c.go_suspend()\nprint('again from', c.get_whole_life_state())\n";
    fs::write(work.join("yields.py"), script).expect("written");
    post(&daemon, "/operating/task/create", "", &schema("yields", work, "yields.py", "", 30));
    wait_for("the end", || (task(&daemon, "yields")["chain_status"] == "finished").then_some(()));
    let task = task(&daemon, "yields");
    assert_eq!((&task["stop_code_list"], &task["priority"]), (&json!([16, 1]), &json!(50)));
    assert_eq!(output(&daemon, "yields"), "again from 7\n");
}

/// Calls what an installed client brings, and asks the daemon as whoever has the token in its environment.
const INSIDE: &str = r#"
import os, urllib.request
import hfai.client as client
from hfai.client.api import submit

def ask(path):
    address = "{MARSV2_SERVER}%s?token={MARSV2_USER_TOKEN}&id={MARSV2_TASK_ID}" % path
    request = urllib.request.Request(address.format(**os.environ), method="POST")
    try:
        return urllib.request.urlopen(request).read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()

print(submit(), client.submit is submit, client.get_whole_life_state())
print('"nb_name":"inside"' in ask("/query/task"), "operator" in ask("/query/user/list_all"))
"#;

#[test]
fn inside_a_task_the_client_that_is_installed_goes_on_and_asks_as_the_owner() {
    let daemon = Daemon::start(1, "");
    daemon.says(&["rights", "set", "--nodes", "unlimited", "--devices", "unlimited"]);
    let work = daemon.scratch();
    // As an image would have it: a package of the same name, with modules and names of its own.
    let installed = work.join("site/hfai/client");
    fs::create_dir_all(installed.join("api")).expect("made");
    for (file, text) in [
        ("../__init__.py", ""),
        ("__init__.py", "from .api import submit\n"),
        ("api/__init__.py", "def submit():\n    return 'the installed one'\n"),
    ] {
        fs::write(installed.join(file), text).expect("written");
    }
    fs::write(work.join("inside.py"), INSIDE).expect("written");
    let mut wanted: Value = serde_json::from_str(&schema("inside", work, "inside.py", "", 30)).expect("JSON");
    wanted["spec"]["environments"] = json!({"PYTHONPATH": format!("\"$PYTHONPATH:{}\"", work.join("site").display())});
    post(&daemon, "/operating/task/create", "", &wanted.to_string());
    wait_for("the end", || (task(&daemon, "inside")["chain_status"] == "finished").then_some(()));
    // The daemon's operator submitted it, but a task is no operator.
    assert_eq!(output(&daemon, "inside"), "the installed one True 0\nTrue True\n");
}

#[test]
fn a_token_in_an_address_never_reaches_the_log() {
    let daemon = Daemon::amid(vec![("HAI_LOG_LEVEL", "trace".into())], None, 1, "");
    daemon.says(&["rights", "set", "--nodes", "unlimited", "--devices", "unlimited"]);
    let work = daemon.scratch();
    fs::write(work.join("run.sh"), "echo $MARSV2_USER_TOKEN > token; exit 1\n").expect("written");
    post(&daemon, "/operating/task/create", "", &schema("fails", work, "run.sh", "", 30));
    wait_for("the end", || (task(&daemon, "fails")["chain_status"] == "finished").then_some(()));
    let wrong = format!("hai_{}", "5a".repeat(32));
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    for token in [&daemon.token, &wrong] {
        for address in [
            format!("/query/task?token={token}&id=100000"),
            format!("//query//task?id=%FF&token={token}"),
            format!("/query/task/log?token={token}&last_seen=%zz&chain_id=x"),
            format!("/operating/nothing?token={token}"),
            format!("/v1/tasks?token={token}"),
            format!("/nowhere/{token}?token={token}"),
            format!("/query/task?token={token}&{}", "x".repeat(200_000)),
        ] {
            // Some are no requests at all.
            let _ = agent.post(format!("{}{address}", daemon.url)).send_empty();
            let _ = agent.get(format!("{}{address}", daemon.url)).call();
        }
        let _ = agent
            .post(format!("{}/operating/task/create", daemon.url))
            .send(format!("{{\"token\": \"{token}\", \"name\": 1, "));
    }
    // The last thing that is asked is told of last.
    let last = |said: &str| said.contains("asked in the dialect") && said.contains("/query/user/info");
    post(&daemon, "/query/user/info", "", "");
    wait_for("its log", || last(&daemon.said()).then_some(()));
    let said = daemon.said();
    let of_worker = fs::read_to_string(work.join("token")).expect("it ran");
    assert!(of_worker.trim().len() > 20, "{of_worker}");
    for token in [daemon.token.as_str(), wrong.as_str(), of_worker.trim()] {
        let line = said.lines().find(|line| line.contains(token));
        assert_eq!(line, None);
    }
}
