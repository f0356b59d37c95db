//! The daemon as a process, workers as processes, and the HTTP between them: what a user of the lab sees.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hai_core::model::{DeviceId, DeviceSpec, ModelName};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::control_plane::kubelet::{Kubelet, Life};
use crate::control_plane::{ControlPlane, eventually};
use crate::lab::{NAMESPACE, machines};

pub(crate) struct Daemon {
    pub(crate) dir: tempfile::TempDir,
    config: PathBuf,
    child: Option<Child>,
    pub(crate) url: String,
}

impl Daemon {
    pub(crate) fn new(kubeconfig: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.local_addr().expect("an address").port()
        };
        let url = format!("http://127.0.0.1:{port}");
        let config = dir.path().join("hai.toml");
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\n[data]\ndir = {:?}\n[cluster]\nkind = \"kubernetes\"\n\
             [tasks]\ndefault_group = \"lab\"\n[kubernetes]\nnamespace = \"{NAMESPACE}\"\nkubeconfig = {kubeconfig:?}\n\
             server = \"{url}\"\nimage = \"example.test/train:1\"\nlost_after = \"3s\"\n",
            dir.path().join("data")
        );
        std::fs::write(&config, text).expect("written");
        Daemon { dir, config, child: None, url }
    }

    fn program(&self) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_hai-daemon"));
        program.arg("--config").arg(&self.config).env("HAI_AGENT_TOKEN", agent_token());
        program
    }

    pub(crate) fn start(&mut self) {
        let mut child = self.program().stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("executed");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut said = String::new();
        loop {
            let Some(Ok(line)) = lines.next() else { panic!("the daemon did not start: {said}") };
            if line.contains("http://") {
                break;
            }
            said.push_str(&line);
        }
        std::thread::spawn(move || lines.for_each(drop));
        self.child = Some(child);
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
        }
    }

    pub(crate) fn call(&self, token: &str, method: &str, path: &str, body: Value) -> Value {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("Authorization", format!("Bearer {token}"))
            .header("Content-Type", "application/json")
            .body(body.to_string())
            .expect("a request");
        let mut answer = ureq::run(request).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        answer.body_mut().read_json().unwrap_or_default()
    }

    pub(crate) fn token(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("data/token")).expect("a token").trim().to_owned()
    }

    fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.url);
        let request = ureq::get(url).header("Authorization", format!("Bearer {}", self.token()));
        request.call().unwrap_or_else(|error| panic!("{path}: {error}")).body_mut().read_json().expect("JSON")
    }

    fn submit(&self, task: &Value) -> u64 {
        self.call(&self.token(), "POST", "/v1/tasks", task.clone())["id"].as_u64().expect("a number")
    }

    fn task(&self, id: u64) -> Value {
        self.get(&format!("/v1/tasks/{id}"))
    }

    async fn until(&self, id: u64, state: &str) -> Value {
        let what = format!("task {id} to be {state}");
        eventually(&what, async || Some(self.task(id)).filter(|task| task["state"] == state)).await
    }

    /// What an agent on a node says.
    pub(crate) fn report(&self, node: &str, model: &str, gib: u64) {
        let id = DeviceId::new(format!("GPU-of-{node}")).expect("an id");
        let spec = DeviceSpec::new(id, ModelName::new(model).expect("a name"), gib << 10);
        let report = json!({"driver": "580.1", "devices": [{"spec": spec}]});
        self.call(&agent_token(), "PUT", &format!("/v1/nodes/{node}/devices"), report);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

fn agent_token() -> String {
    format!("hai_{}", "5a".repeat(32))
}

pub(crate) async fn plane() -> (ControlPlane, [Kubelet; 2]) {
    let plane = ControlPlane::start().await;
    let client = plane.client().await;
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}})).expect("a namespace");
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await.expect("made");
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": "default"}})).expect("an account");
    let _ = Api::namespaced(client, NAMESPACE).create(&PostParams::default(), &account).await;
    let [master, worker] = machines();
    let kubelets = [Kubelet::start(&plane, master).await, Kubelet::start(&plane, worker).await];
    kubelets.iter().for_each(|kubelet| kubelet.live(|_| Life::Process));
    (plane, kubelets)
}

fn example(name: &str) -> String {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/training");
    examples.canonicalize().expect("the examples").join(name).display().to_string()
}

fn counting(checkpoints: &Path, to: u32) -> Value {
    json!({
        "command": ["python3", example("count.py"), "--to", to.to_string(), "--pause", "0.02", "--every", "5",
                    "--checkpoints", checkpoints.display().to_string()],
        "devices": 1, "user": "ada",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn training_is_suspended_over_http_and_goes_on_where_it_was() {
    let (plane, kubelets) = plane().await;
    let mut daemon = Daemon::new(&plane.kubeconfig());
    daemon.start();
    daemon.report("worker", "RTX 3060", 12);
    for user in ["ada", "bob"] {
        daemon.call(&daemon.token(), "POST", "/v1/users", json!({"name": user}));
    }
    let checkpoints = daemon.dir.path().join("checkpoints");
    let low = daemon.submit(&counting(&checkpoints, 400));
    daemon.until(low, "running").await;
    eventually("a checkpoint to be reported", async || {
        (daemon.task(low)["whole_life_state"].as_i64()? >= 10).then_some(())
    })
    .await;
    let high = daemon.submit(&json!({"command": ["sleep", "0.2"], "devices": 1, "user": "bob", "priority": "HIGH"}));
    daemon.until(high, "finished").await;
    assert_eq!(daemon.task(high)["outcome"], "succeeded");
    // The daemon dies; what runs goes on.
    daemon.until(low, "running").await;
    daemon.kill();
    tokio::time::sleep(Duration::from_millis(300)).await;
    daemon.start();
    let task = daemon.until(low, "finished").await;
    assert_eq!((&task["outcome"], &task["runs"]), (&json!("succeeded"), &json!(2)), "{task}");
    let pod = format!("hai-t{low}-r3-0");
    let said = kubelets[1].log(NAMESPACE, &pod).expect("its output");
    assert!(said.contains("resumed at") && said.contains("counted to 400, the sum is 80200"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_task_does_not_come_to_execute_is_told_to_who_asks() {
    let (plane, kubelets) = plane().await;
    kubelets[1].live(|_| Life::Silence);
    let mut daemon = Daemon::new(&plane.kubeconfig());
    daemon.start();
    daemon.report("worker", "RTX 3060", 12);
    let id = daemon.submit(&json!({"command": ["train"], "devices": 1}));
    let task = daemon.until(id, "starting").await;
    assert_eq!(task["why"], Value::Null, "nothing is wrong yet");
    let pod = format!("hai-t{id}-r{}-0", task["run"]);
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(plane.client().await, NAMESPACE);
    let node = async || pods.get_opt(&pod).await.ok()??.spec?.node_name;
    eventually("the pod to be bound", node).await;
    let message = "Unable to attach or mount volumes: timed out waiting for the condition";
    crate::warnings::event(&plane.client().await, &pod, "Warning", "FailedMount", message).await;
    let why = eventually("it to be told", async || {
        Some(daemon.get(&format!("/v1/tasks/{id}/why"))).filter(|why| why["trouble"].is_string())
    })
    .await;
    let sentence = format!("its workers are being started (run {}); on worker: FailedMount: {message}", task["run"]);
    assert_eq!((&why["sentence"], &why["waits"]), (&json!(sentence), &json!(false)));
    let hai = |words: &[&str]| {
        let mut hai = Command::new(env!("CARGO_BIN_EXE_hai"));
        hai.env_remove("HAI_TOKEN")
            .env_remove("HAI_SERVER")
            .arg("--data")
            .arg(daemon.dir.path().join("data"))
            .args(words);
        let output = hai.output().expect("executed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    for words in [["why", &id.to_string()], ["show", &id.to_string()]] {
        let said = hai(&words).replace('\n', " ");
        assert!(said.contains("FailedMount"), "{words:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_cluster_is_one_line_at_start() {
    let (plane, _kubelets) = plane().await;
    let daemon = Daemon::new(&plane.kubeconfig());
    let says = |change: &str, to: &str| {
        let text = std::fs::read_to_string(&daemon.config).expect("the configuration");
        let other = daemon.dir.path().join("other.toml");
        std::fs::write(&other, text.replace(change, to)).expect("written");
        let output =
            Command::new(env!("CARGO_BIN_EXE_hai-daemon")).arg("--config").arg(&other).output().expect("executed");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = says("namespace = \"hai\"", "namespace = \"nowhere\"");
    assert!(said.contains("there is no namespace `nowhere`") && said.contains("kubectl create namespace"), "{said}");
    let said = says("lost_after = \"3s\"\n", "[[kubernetes.group]]\nname = \"lab\"\nnodes = [\"10.0.0.9\"]\n");
    assert!(said.contains("`10.0.0.9`") && said.contains("worker (10.0.0.2)"), "{said}");
    let said = says("kubeconfig = ", "context = \"none\"\nkubeconfig = ");
    assert!(said.contains("none"), "{said}");
}
