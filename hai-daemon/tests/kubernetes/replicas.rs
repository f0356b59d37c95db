//! Two daemons on one database, as the printed manifests would run them: either answers, one leads, and the Lease tells which.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt as _};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::control_plane::kubelet::{Kubelet, Machine};
use crate::control_plane::{ControlPlane, eventually};
use crate::postgres::Postgres;

/// From the end of one leader to the other's first order.
const TAKE_OVER_MAX: Duration = Duration::from_secs(10);

/// What `hai-daemon manifests` printed.
struct Printed(Vec<Value>);

impl Printed {
    fn of(config: &std::path::Path) -> Self {
        let output = Command::new(env!("CARGO_BIN_EXE_hai-daemon"))
            .args(["manifests", "--replicas", "2", "--image", "example.test/hai:1", "--config"])
            .arg(config)
            .output()
            .expect("executed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("text");
        Printed(serde_saphyr::from_multiple(&text).expect("YAML"))
    }

    fn find(&self, kind: &str, name: &str) -> &Value {
        let found = self.0.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("{kind} {name} is not printed"))
    }

    async fn apply(&self, client: &Client) {
        for object in &self.0 {
            let (version, kind) =
                (object["apiVersion"].as_str().expect("a version"), object["kind"].as_str().expect("one"));
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            let kind = GroupVersionKind::gvk(group, version, kind);
            let resource = ApiResource::from_gvk(&kind);
            let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
                Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
                None => Api::all_with(client.clone(), &resource),
            };
            let name = object["metadata"]["name"].as_str().expect("a name");
            let taken = api.patch(name, &PatchParams::apply("kubectl"), &Patch::Apply(object)).await;
            taken.unwrap_or_else(|error| panic!("{} {name}: {error}", kind.kind));
        }
    }

    /// What a pod of the deployment called `pod` would find in its environment.
    fn environment(&self, pod: &str) -> Vec<(String, String)> {
        let env = &self.find("Deployment", "hai")["spec"]["template"]["spec"]["containers"][0]["env"];
        let value = |variable: &Value| -> Option<String> {
            let from = &variable["valueFrom"];
            if let Some(secret) = from["secretKeyRef"]["name"].as_str() {
                let found =
                    self.0.iter().find(|object| object["kind"] == "Secret" && object["metadata"]["name"] == secret);
                assert!(found.is_some() || from["secretKeyRef"]["optional"] == true, "{variable}");
                let data = found?["data"][from["secretKeyRef"]["key"].as_str().expect("a key")].clone();
                let bytes = serde_json::from_value::<k8s_openapi::ByteString>(data).expect("base64").0;
                return Some(String::from_utf8(bytes).expect("text"));
            }
            match from["fieldRef"]["fieldPath"].as_str() {
                Some("metadata.name") => Some(pod.to_owned()),
                Some("status.podIP") => Some("127.0.0.1".to_owned()),
                Some(other) => panic!("{other}"),
                None => variable["value"].as_str().map(str::to_owned),
            }
        };
        let all = env.as_array().expect("variables").iter();
        all.filter_map(|one| Some((one["name"].as_str()?.to_owned(), value(one)?))).collect()
    }
}

/// One of the two, as a process with what its pod would get. Only the port and the directory are its own, where pods would
/// have their own addresses and volumes.
struct Replica {
    name: &'static str,
    dir: TempDir,
    env: Vec<(String, String)>,
    kubeconfig: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Replica {
    fn new(name: &'static str, printed: &Printed, kubeconfig: PathBuf) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = printed.find("ConfigMap", "hai-config")["data"]["hai.toml"].as_str().expect("text");
        std::fs::write(dir.path().join("hai.toml"), config).expect("written");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mut env = printed.environment(name);
        for (variable, value) in &mut env {
            match variable.as_str() {
                "HAI_CONFIG" => *value = dir.path().join("hai.toml").display().to_string(),
                "HAI_DATA_DIR" => *value = dir.path().join("data").display().to_string(),
                "HAI_SERVER_LISTEN" => *value = format!("0.0.0.0:{port}"),
                _ => {}
            }
        }
        Replica { name, dir, env, kubeconfig, port, child: None }
    }

    fn start(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hai-daemon"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.dir.path());
        command.env("KUBECONFIG", &self.kubeconfig).envs(self.env.clone()).arg("serve");
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("executed");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let name = self.name;
        std::thread::spawn(move || lines.for_each(|line| eprintln!("[{name}] {}", line.unwrap_or_default())));
        self.child = Some(child);
    }

    /// Whether it does not run, or not any more.
    fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().expect("it is ours").is_some())
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("it is ours");
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
        }
    }

    fn token(&self) -> Option<String> {
        Some(std::fs::read_to_string(self.dir.path().join("data/token")).ok()?.trim().to_owned())
    }

    /// The status and text of an answer; `None` if there is none.
    fn ask(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Option<(u16, String)> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(40)))
            .build()
            .into();
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://127.0.0.1:{}{path}", self.port))
            .header("Authorization", format!("Bearer {token}"))
            .header("Content-Type", "application/json");
        let answer = match body {
            Some(body) => agent.run(request.body(body.to_string()).expect("a request")),
            None => agent.run(request.body(()).expect("a request")),
        };
        let mut answer = tokio::task::block_in_place(|| answer).ok()?;
        Some((answer.status().as_u16(), answer.body_mut().read_to_string().ok()?))
    }

    fn json(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Option<Value> {
        let (status, text) = self.ask(token, method, path, body)?;
        (status < 300).then(|| serde_json::from_str(&text).expect("JSON"))
    }

    fn says_ready(&self) -> Option<String> {
        self.ask("", "GET", "/readyz", None).filter(|(status, _)| *status == 200).map(|(_, text)| text)
    }

    fn leads(&self) -> bool {
        self.says_ready().is_some_and(|said| said == "ready\n")
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The cluster with the printed manifests on it, two daemons, and the operator's token.
struct Pair {
    plane: ControlPlane,
    client: Client,
    kubelet: Kubelet,
    replicas: [Replica; 2],
    /// Which of them leads.
    leader: usize,
    token: String,
    _postgres: Postgres,
}

async fn pair() -> Option<Pair> {
    let postgres = Postgres::durable()?;
    postgres.prepare().await;
    let plane = ControlPlane::start().await;
    let client = plane.client().await;
    let machine = Machine::new("worker").cpu(16).memory_gib(64).label("hai_mars_group", "default");
    let kubelet = Kubelet::start(&plane, machine).await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = dir.path().join("hai.toml");
    let text = format!(
        "[data]\ndatabase = {:?}\n[kubernetes]\nkubeconfig = {:?}\nimage = \"example.test/train:1\"\n",
        postgres.url(),
        plane.kubeconfig()
    );
    std::fs::write(&config, text).expect("written");
    let printed = Printed::of(&config);
    let map = printed.find("ConfigMap", "hai-config").to_string();
    assert!(!map.contains("postgres"), "the database is for the secret: {map}");
    printed.apply(&client).await;
    let groups = ["system:serviceaccounts", "system:serviceaccounts:hai"];
    let kubeconfig = || plane.kubeconfig_as("system:serviceaccount:hai:hai-daemon", &groups);
    let mut replicas = [Replica::new("hai-a", &printed, kubeconfig()), Replica::new("hai-b", &printed, kubeconfig())];
    // The roles may take a moment to count; as a pod it would be started again.
    let deadline = Instant::now() + Duration::from_secs(120);
    while !replicas[0].leads() {
        assert!(Instant::now() < deadline, "the first does not lead");
        if replicas[0].has_ended() {
            replicas[0].start();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    replicas[1].start();
    eventually("the second to stand by", async || {
        replicas[1].says_ready().filter(|said| said.starts_with("stands by; http://127.0.0.1:"))
    })
    .await;
    let token = replicas[0].token().expect("whoever leads first makes the operator");
    Some(Pair { plane, client, kubelet, replicas, leader: 0, token, _postgres: postgres })
}

impl Pair {
    fn other(&self) -> usize {
        1 - self.leader
    }

    async fn lease(&self) -> Option<Lease> {
        Api::<Lease>::namespaced(self.client.clone(), "hai").get_opt("hai").await.ok()?
    }

    /// Who holds the Lease and with which fence.
    async fn told(&self) -> Option<(String, u64)> {
        let lease = self.lease().await?;
        let fence = lease.annotations().get("hai/fence")?.parse().ok()?;
        Some((lease.spec?.holder_identity?, fence))
    }

    async fn until_told(&self, replica: usize) -> u64 {
        let name = self.replicas[replica].name;
        let what = format!("the Lease to name {name}");
        eventually(&what, async || self.told().await.filter(|(holder, _)| holder == name)).await.1
    }

    fn submit(&self, at: usize, name: &str) -> u64 {
        let request = json!({"name": name, "command": ["train"], "devices": 0, "cpu": 1.0, "memory_mib": 64});
        let made = self.replicas[at].json(&self.token, "POST", "/v1/tasks", Some(&request));
        made.unwrap_or_else(|| panic!("{name} is not taken"))["id"].as_u64().expect("a number")
    }

    fn task(&self, at: usize, id: u64) -> Option<Value> {
        self.replicas[at].json(&self.token, "GET", &format!("/v1/tasks/{id}"), None)
    }

    async fn until(&self, at: usize, id: u64, state: &str) -> Value {
        let what = format!("task {id} to be {state}");
        eventually(&what, async || self.task(at, id).filter(|task| task["state"] == state)).await
    }

    /// Name and UID of every pod of a worker.
    async fn workers(&self) -> Vec<(String, String)> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), "hai");
        let found = pods.list(&ListParams::default().labels("hai/instance=hai")).await.expect("pods").items;
        found.iter().map(|pod| (pod.name_any(), pod.uid().expect("one"))).collect()
    }

    /// Waits until the other leads, and says how long that took from `since`.
    async fn taken_over(&mut self, since: Instant) -> Duration {
        let other = self.other();
        eventually("the other to lead", async || self.replicas[other].leads().then_some(())).await;
        self.leader = other;
        since.elapsed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn either_answers_and_the_other_goes_on_when_the_leader_is_killed() {
    let Some(mut pair) = pair().await else { return };
    let fence = pair.until_told(pair.leader).await;
    let lease = pair.lease().await.expect("a Lease");
    let port = pair.replicas[pair.leader].port;
    assert_eq!(lease.annotations().get("hai/address"), Some(&format!("http://127.0.0.1:{port}")));
    assert_eq!(lease.spec.as_ref().and_then(|spec| spec.lease_transitions), i32::try_from(fence).ok());

    // What is asked of the one that stands by is done, by the one that leads.
    let (leader, other) = (pair.leader, pair.other());
    let mut tasks = vec![pair.submit(leader, "one"), pair.submit(other, "two")];
    for id in &tasks {
        for at in [leader, other] {
            pair.until(at, *id, "running").await;
        }
    }
    let nodes = pair.replicas[other].json(&pair.token, "GET", "/v1/nodes", None).expect("only a leader knows them");
    assert_eq!(nodes["nodes"][0]["name"], "worker");
    let agent = pair.replicas[other].env.iter().find(|(name, _)| name == "HAI_AGENT_TOKEN").expect("a token").1.clone();
    let report = json!({"driver": "580.1", "devices": []});
    let reported =
        pair.replicas[other].ask(&agent, "PUT", "/v1/nodes/worker/devices", Some(&report)).expect("an answer");
    assert_eq!(reported.0, 200, "an agent may reach either: {}", reported.1);
    // An agent's pod is known by the token that its kubelet gives it, and speaks for its node alone.
    let pods: Api<Pod> = Api::namespaced(pair.client.clone(), "hai");
    let agent = json!({"metadata": {"name": "hai-agent-x"}, "spec": {"nodeName": "worker", "serviceAccountName": "hai-agent",
                       "containers": [{"name": "agent", "image": "example.test/hai:1"}]}});
    let agent =
        pods.create(&PostParams::default(), &serde_json::from_value(agent).expect("a pod")).await.expect("made");
    let token = crate::agents::token(&pair.client, "hai-agent", &agent, "hai").await;
    for (node, code) in [("worker", 200), ("master", 403)] {
        let path = format!("/v1/nodes/{node}/devices");
        let (status, text) = pair.replicas[other].ask(&token, "PUT", &path, Some(&report)).expect("an answer");
        assert_eq!(status, code, "{text}");
    }
    assert_eq!(pair.replicas[leader].ask(&token, "GET", "/v1/tasks", None).expect("an answer").0, 401);
    let refused = pair.replicas[other].ask("hai_wrong", "GET", "/v1/tasks", None).expect("an answer");
    assert_eq!(refused.0, 401, "{}", refused.1);

    let before = pair.workers().await;
    assert_eq!(before.len(), 2);
    for round in 0..2 {
        let killed = Instant::now();
        let (old, new) = (pair.leader, pair.other());
        pair.replicas[old].kill();
        // Meanwhile what is stored is shown.
        let shown = pair.task(new, tasks[0]).expect("an answer while nobody leads");
        assert_eq!(shown["state"], "running");
        let took = pair.taken_over(killed).await;
        eprintln!("round {round}: taken over after {took:?}");
        assert!(took < TAKE_OVER_MAX, "{took:?}");
        let told = pair.until_told(new).await;
        eprintln!("round {round}: told after {:?}", killed.elapsed());
        assert!(told > fence + round, "the fence grows: {told}");
        assert_eq!(pair.workers().await, before, "what runs goes on, and nothing is started twice");
        pair.replicas[old].start();
        eventually("the old one to stand by", async || {
            pair.replicas[old].says_ready().filter(|said| said.starts_with("stands by"))
        })
        .await;
    }
    // Both have led; new work goes through either.
    tasks.push(pair.submit(pair.other(), "three"));
    pair.until(pair.leader, tasks[2], "running").await;
    for (name, _) in pair.workers().await {
        pair.kubelet.end("hai", &name, 0);
    }
    for id in tasks {
        let task = pair.until(pair.other(), id, "finished").await;
        assert_eq!((&task["outcome"], &task["runs"]), (&json!("succeeded"), &json!(1)), "{task}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_frozen_does_not_take_the_lease_back() {
    let Some(mut pair) = pair().await else { return };
    pair.until_told(pair.leader).await;
    let id = pair.submit(pair.leader, "steady");
    pair.until(pair.leader, id, "running").await;
    let before = pair.workers().await;
    let old = pair.leader;
    let frozen = Instant::now();
    pair.replicas[old].signal(Signal::STOP);
    // It accepts connections and says nothing: what is stored is shown all the same.
    let shown = pair.task(pair.other(), id).expect("an answer");
    assert_eq!(shown["state"], "running");
    let took = pair.taken_over(frozen).await;
    eprintln!("taken over after {took:?}");
    assert!(took < TAKE_OVER_MAX, "{took:?}");
    let fence = pair.until_told(pair.leader).await;
    pair.replicas[old].signal(Signal::CONT);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !pair.replicas[old].has_ended() {
        assert!(Instant::now() < deadline, "the old leader goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..20 {
        let told = pair.told().await.expect("a Lease");
        assert_eq!(told, (pair.replicas[pair.leader].name.to_owned(), fence));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(pair.workers().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_away_ends_no_lead_and_a_leader_that_stops_says_so() {
    let Some(mut pair) = pair().await else { return };
    let fence = pair.until_told(pair.leader).await;
    let id = pair.submit(pair.leader, "steady");
    pair.until(pair.leader, id, "running").await;
    pair.plane.stop();
    // Longer than a lead lasts that is not renewed.
    let away = Instant::now();
    while away.elapsed() < Duration::from_secs(9) {
        assert!(pair.replicas[pair.leader].leads(), "it leads by its database");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let waiting = pair.submit(pair.other(), "meanwhile");
    pair.plane.resume().await;
    pair.until(pair.leader, waiting, "running").await;
    let renewed = |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref().map(|at| at.0));
    let last = pair.lease().await.as_ref().and_then(renewed);
    eventually("the Lease to be renewed", async || {
        pair.lease().await.as_ref().and_then(renewed).filter(|now| Some(*now) > last)
    })
    .await;
    assert_eq!(pair.told().await, Some((pair.replicas[pair.leader].name.to_owned(), fence)));

    // One that is asked to stop lets go at once, and the other needs not wait.
    let old = pair.leader;
    let asked = Instant::now();
    pair.replicas[old].signal(Signal::TERM);
    let took = pair.taken_over(asked).await;
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(pair.until_told(pair.leader).await > fence);
    // The last one of all leaves a Lease that names nobody.
    let last = pair.leader;
    pair.replicas[last].signal(Signal::TERM);
    eventually("nobody to be named", async || {
        pair.lease().await?.spec?.holder_identity.is_none_or(|holder| holder.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_over_while_the_api_server_is_away_waits_for_it_and_does_not_end() {
    let Some(mut pair) = pair().await else { return };
    pair.until_told(pair.leader).await;
    let id = pair.submit(pair.leader, "steady");
    pair.until(pair.leader, id, "running").await;
    let before = pair.workers().await;
    pair.plane.stop();
    let (old, new) = (pair.leader, pair.other());
    pair.replicas[old].kill();
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(!pair.replicas[new].has_ended());
    pair.plane.resume().await;
    pair.taken_over(Instant::now()).await;
    pair.until_told(new).await;
    assert_eq!(pair.workers().await, before);
    assert_eq!(pair.task(new, id).expect("an answer")["state"], "running");
}
