//! hai-platform's client on a Kubernetes cluster: what it asks from the first day on, and its training code within pods.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::control_plane::eventually;
use crate::processes::{Daemon, plane};

/// Training code in the style of its documentation.
const TRAIN: &str = include_str!("../support/upstream_training.py");

/// One who uses that client.
struct Client<'a> {
    daemon: &'a Daemon,
    token: String,
}

impl Client<'_> {
    /// Asks as it does: all in the address, and a body only for a submission.
    fn ask(&self, path: &str, query: &str, body: &str) -> Value {
        let address = format!("{}{path}?token={}&{query}", self.daemon.url, self.token);
        let mut answer = ureq::post(&address).send(body).unwrap_or_else(|error| panic!("{path}: {error}"));
        let answer: Value = answer.body_mut().read_json().expect("JSON");
        assert_eq!(answer["success"], 1, "{path}: {answer}");
        answer
    }

    fn get(&self, path: &str, query: &str) -> Value {
        self.ask(path, query, "")
    }

    fn submit(&self, name: &str, file: &str, parameters: &str, priority: i32) -> Value {
        let schema = json!({
            "version": 2, "name": name, "priority": priority,
            "spec": {"workspace": self.daemon.dir.path(), "entrypoint": file, "parameters": parameters, "environments": {}},
            "resource": {"image": "default", "group": "default", "node_count": 1}, "options": {},
        });
        self.ask("/operating/task/create", "", &schema.to_string())["task"].take()
    }

    fn task(&self, name: &str) -> Value {
        self.get("/query/task", &format!("nb_name={name}"))["result"]["task"].take()
    }

    async fn until(&self, name: &str, status: &str) -> Value {
        let what = format!("{name} to be {status}");
        eventually(&what, async || {
            // Nobody may ask as often as a test waits.
            tokio::time::sleep(Duration::from_millis(25)).await;
            Some(self.task(name)).filter(|task| task["chain_status"] == status)
        })
        .await
    }

    /// `logs -f`, from the beginning to where the client ends: what it printed, and with what it exits.
    async fn follow(&self, name: &str) -> (String, i64) {
        let chain = self.task(name)["chain_id"].as_str().expect("a chain").to_owned();
        let (mut seen, mut text, begun) = ("null".to_owned(), String::new(), Instant::now());
        loop {
            let answer = self.get("/query/task/log", &format!("chain_id={chain}&rank=0&last_seen={seen}"));
            text.push_str(answer["data"].as_str().expect("text"));
            seen = answer["last_seen"].as_str().expect("a cursor").to_owned();
            match answer["stop_code"].as_i64().expect("a code") {
                1 => return (text, 0),
                128..2048 => return (text, answer["exit_code"].as_i64().unwrap_or(1)),
                _ => {}
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "it never ends: {answer}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    async fn until_said(&self, name: &str, text: &str) {
        let query = format!("nb_name={name}&rank=0&last_seen=null");
        eventually(text, async || {
            tokio::time::sleep(Duration::from_millis(25)).await;
            let log = self.get("/query/task/log", &query);
            log["data"].as_str().expect("text").contains(text).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_day_with_hai_platforms_client() {
    let (plane, _kubelets) = plane().await;
    let mut daemon = Daemon::new(&plane.kubeconfig());
    daemon.start();
    daemon.report("worker", "RTX 3060", 12);
    let operator = daemon.token();
    let made = daemon.call(&operator, "POST", "/v1/users", json!({"name": "ada"}));
    let token = made["token"].as_str().expect("a token").to_owned();
    daemon.call(&operator, "PUT", "/v1/rights", json!({"nodes": "unlimited", "devices": "unlimited"}));
    let ada = Client { daemon: &daemon, token };

    // init, whoami, nodes.
    assert_eq!(ada.get("/operating/user/access_token/create", "")["result"]["access_token"], ada.token);
    assert_eq!(ada.get("/query/user/info", "")["result"]["user_name"], "ada");
    assert_eq!(ada.get("/query/user/quota/list", "")["result"]["node_quota"]["node-lab-HIGH"], 1_000_000);
    let nodes = eventually("the nodes", async || {
        tokio::time::sleep(Duration::from_millis(25)).await;
        let nodes = ada.get("/query/node/list", "")["cluster_df"].take();
        let words: Vec<_> =
            nodes.as_array()?.iter().map(|node| (node["name"].clone(), node["status"].clone())).collect();
        (words == [(json!("master"), json!("NotReady")), (json!("worker"), json!("Ready"))]).then_some(nodes)
    })
    .await;
    assert_eq!((&nodes[1]["gpu_num"], &nodes[1]["working"]), (&json!(1), &Value::Null));

    // python train.py -- -n 1
    let work = daemon.dir.path();
    let (weights, hold) = (work.join("weights"), work.join("hold"));
    let slow = work.join("weights.slow");
    std::fs::write(work.join("train.py"), TRAIN).expect("written");
    std::fs::write(work.join("hold.sh"), "echo here\nwhile [ -e \"$1\" ]; do sleep 0.02; done\n").expect("written");
    for file in [&slow, &hold] {
        std::fs::write(file, "").expect("written");
    }
    let task = ada.submit("train", "train.py", &format!("{} 500", weights.display()), 30);
    let first = task["id"].clone();
    let running = ada.until("train", "running").await;
    assert_eq!((&running["_pods_"][0]["node"], &running["assigned_nodes"]), (&json!("worker"), &json!(["worker"])));
    assert_eq!(ada.get("/query/node/list", "")["cluster_df"][1]["working"], "training");
    let list =
        ada.get("/query/task/list", "page=1&page_size=12&task_type=training&task_type=virtual&select_pods=False");
    assert_eq!((&list["result"]["total"], &list["result"]["tasks"][0]["id"]), (&json!(1), &first));
    ada.until_said("train", "begins at step 0 as train").await;

    // A better task has its place; `hfai.client` in the pod hears of it, and keeps the step.
    ada.submit("better", "hold.sh", &hold.display().to_string(), 50);
    ada.until("better", "running").await;
    let suspended = ada.until("train", "suspended").await;
    let step = suspended["whole_life_state"].as_i64().expect("a number");
    assert!(step > 0, "{suspended}");
    assert_eq!((&suspended["id_list"][0], &suspended["stop_code_list"]), (&first, &json!([16, 0])));
    std::fs::remove_file(&hold).expect("it is there");
    ada.until("better", "finished").await;
    ada.until_said("train", &format!("begins at step {step} as train")).await;

    // suspend, resume, priority.
    ada.get("/operating/task/suspend", "nb_name=train&restart_delay=0");
    let again = ada.until("train", "suspended").await["whole_life_state"].as_i64().expect("a number");
    assert!(again >= step);
    ada.get("/operating/task/priority/update", "nb_name=train&priority=40");
    std::fs::remove_file(&slow).expect("it is there");
    let resumed = ada.get("/operating/task/resume", "nb_name=train");
    assert_eq!(resumed["task"]["restart_count"], 2);
    let sum: u64 = (0..500_u64).map(|step| step * step).sum();
    let (said, exit) = ada.follow("train").await;
    let lines = [
        "begins at step 0 as train".to_owned(),
        format!("gives way at step {step}"),
        format!("begins at step {step} as train"),
        format!("gives way at step {again}"),
        format!("begins at step {again} as train"),
        format!("sum {sum}"),
    ];
    assert_eq!((said.lines().collect::<Vec<_>>(), exit), (lines.iter().map(String::as_str).collect(), 0));
    let done = ada.until("train", "finished").await;
    assert_eq!((&done["stop_code_list"], &done["priority"]), (&json!([16, 16, 1]), &json!(40)));
    assert_eq!(done["whole_life_state_list"], json!([step, again, again]));

    // stop, as it is and as succeeded.
    for (op, code, exit) in [("stop", 1024, 1), ("succeed", 4096, 0)] {
        std::fs::write(&hold, "").expect("written");
        ada.submit(op, "hold.sh", &hold.display().to_string(), 30);
        ada.until_said(op, "here").await;
        ada.get("/operating/task/stop", &format!("nb_name={op}&op={op}"));
        assert_eq!(ada.follow(op).await, ("here\n".to_owned(), exit));
        assert_eq!(ada.task(op)["stop_code"], code);
    }
}
