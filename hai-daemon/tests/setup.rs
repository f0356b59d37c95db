//! Setting hai up on Kubernetes as operators do it: real processes before a control plane, with whatever can be wrong.

#[path = "support/control_plane/mod.rs"]
mod control_plane;
#[path = "setup/database.rs"]
mod database;
#[path = "support/postgres.rs"]
mod postgres;

use std::collections::BTreeMap;
use std::path::PathBuf;

use control_plane::kubelet::{Kubelet, Life, Machine};
use control_plane::{ControlPlane, eventually};
use hai_daemon::config::Config;
use hai_daemon::setup::doctor::{self, Check, Known, Verdict};
use hai_daemon::setup::{Plan, PlanError, connect};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod, Secret, Service};
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

/// An operator with a configuration.
struct Operator {
    dir: TempDir,
    file: PathBuf,
}

/// What a command said and how it ended.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Operator {
    /// `more` follows in `[kubernetes]`.
    fn new(kubeconfig: &std::path::Path, more: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("hai.toml");
        let text = format!("[kubernetes]\nkubeconfig = {kubeconfig:?}\n{more}");
        std::fs::write(&file, text).expect("the configuration is written");
        Operator { dir, file }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hai-daemon"));
        command.args(words).arg("--config").arg(&self.file).kill_on_drop(true);
        command.env_remove("KUBECONFIG").env_remove("HAI_CONFIG").env("HOME", self.dir.path());
        command
    }

    async fn says(&self, words: &[&str]) -> Said {
        let output = self.command(words).output().await.expect("it is executed");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The doctor's word on one thing.
    async fn doctor(&self, what: &str) -> Vec<Value> {
        let said = self.says(&["doctor", "--json", "--no-pods"]).await;
        let checks: Vec<Value> = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
        let bad = checks.iter().any(|check| check["verdict"] == "bad");
        assert_eq!(said.code, i32::from(bad), "{said:?}");
        let found: Vec<Value> = checks.iter().filter(|check| check["name"] == what).cloned().collect();
        assert!(!found.is_empty(), "nothing of {what}: {checks:?}");
        found
    }

    /// That the doctor says exactly one thing of `what`, with this verdict, and that it and its fix hold `words`.
    async fn hears(&self, what: &str, verdict: &str, words: &[&str]) {
        let found = self.doctor(what).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["verdict"], verdict, "{found:?}");
        let line = format!("{}; {}", found[0]["said"].as_str().unwrap_or(""), found[0]["fix"].as_str().unwrap_or(""));
        for word in words {
            assert!(line.contains(word), "{word:?} is not in {line:?}");
        }
        assert!(verdict != "bad" || found[0]["fix"].is_string(), "{found:?}");
    }
}

fn plan_of(text: &str) -> Result<Plan, PlanError> {
    Plan::of_config(&Config::parse(text, "hai.toml").expect("a configuration"), text)
}

/// A cluster with a node in a group.
async fn lab() -> (ControlPlane, Kubelet) {
    let plane = ControlPlane::start().await;
    let worker = Machine::new("worker").address("10.1.0.2").label("hai_mars_group", "default");
    let kubelet = Kubelet::start(&plane, worker).await;
    (plane, kubelet)
}

/// What the controllers would do: the workloads are ready.
async fn controllers_make_it_ready(client: &Client) {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "hai");
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), "hai");
    let found = eventually("the deployment", async || deployments.get_opt("hai").await.ok()?).await;
    let status = json!({"status": {"observedGeneration": found.metadata.generation, "replicas": 1, "updatedReplicas": 1,
                                   "readyReplicas": 1, "availableReplicas": 1}});
    deployments.patch_status("hai", &PatchParams::default(), &Patch::Merge(status)).await.expect("patched");
    let found = eventually("the daemon set", async || sets.get_opt("hai-agent").await.ok()?).await;
    let status = json!({"status": {"observedGeneration": found.metadata.generation, "desiredNumberScheduled": 1,
                                   "currentNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": 1}});
    sets.patch_status("hai-agent", &PatchParams::default(), &Patch::Merge(status)).await.expect("patched");
}

fn api_of(client: &Client, object: &Value) -> Api<DynamicObject> {
    let version = object["apiVersion"].as_str().expect("a version");
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let kind = object["kind"].as_str().expect("a kind");
    let plural = match kind {
        "Ingress" => "ingresses".to_owned(),
        other => format!("{}s", other.to_lowercase()),
    };
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &plural);
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_is_taken_and_its_roles_are_enough_and_no_more() {
    let (plane, _kubelet) = lab().await;
    let client = plane.client().await;
    let operator = Operator::new(&plane.kubeconfig(), "# yes\n");
    let said = operator
        .says(&[
            "manifests",
            "--image",
            "example.test/hai:1",
            "--ingress-host",
            "hai.lab",
            "--set",
            "scheduler.borrow=false",
        ])
        .await;
    assert_eq!(said.code, 0, "{said:?}");
    let objects: Vec<Value> = serde_saphyr::from_multiple(&said.out).expect("YAML");
    let kinds: Vec<&str> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
    assert_eq!(
        kinds,
        [
            "Namespace",
            "ServiceAccount",
            "ServiceAccount",
            "ClusterRole",
            "ClusterRoleBinding",
            "Role",
            "RoleBinding",
            "ConfigMap",
            "Secret",
            "PersistentVolumeClaim",
            "Service",
            "Ingress",
            "Deployment",
            "DaemonSet"
        ]
    );
    for object in &objects {
        let name = object["metadata"]["name"].as_str().expect("a name");
        let taken = api_of(&client, object).patch(name, &PatchParams::apply("kubectl"), &Patch::Apply(object)).await;
        taken.unwrap_or_else(|error| panic!("{} {name}: {error}", object["kind"]));
    }
    let config = objects.iter().find(|object| object["kind"] == "ConfigMap").expect("a configuration");
    let text = config["data"]["hai.toml"].as_str().expect("text");
    assert!(
        text.starts_with("[kubernetes]\n# not within the cluster: kubeconfig") && text.ends_with("\n# yes\n"),
        "{text}"
    );
    let daemon =
        &objects.iter().find(|object| object["kind"] == "Deployment").expect("a daemon")["spec"]["template"]["spec"];
    let env = daemon["containers"][0]["env"].as_array().expect("variables");
    assert!(env.contains(&json!({"name": "HAI_SCHEDULER_BORROW", "value": "false"})), "{env:?}");

    let account = "system:serviceaccount:hai:hai-daemon";
    let groups = ["system:serviceaccounts", "system:serviceaccounts:hai"];
    let as_daemon = Operator::new(&plane.kubeconfig_as(account, &groups), "");
    eventually("the roles to count", async || (as_daemon.doctor("rights").await[0]["verdict"] == "good").then_some(()))
        .await;
    let daemon = plane.client_as(account, &groups).await;
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(daemon.clone());
    assert!(nodes.delete("worker", &Default::default()).await.is_err(), "nodes are not hai's");
    let secrets: Api<Secret> = Api::namespaced(daemon.clone(), "hai");
    assert!(secrets.list(&ListParams::default()).await.is_err(), "nor are secrets");
    let others: Api<Pod> = Api::namespaced(daemon, "default");
    assert!(others.list(&ListParams::default()).await.is_ok());
    assert!(
        others.delete("any", &Default::default()).await.is_err_and(|error| error.to_string().contains("forbidden"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn up_again_changes_nothing_and_down_leaves_the_data() {
    let (plane, _kubelet) = lab().await;
    let client = plane.client().await;
    let operator = Operator::new(&plane.kubeconfig(), "");
    let up = ["up", "--service", "node-port", "--timeout", "100s"];
    let said = operator.says(&["up", "--dry-run"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("deployment hai: would be made"), "{said:?}");
    let spaces: Api<Namespace> = Api::all(client.clone());
    assert!(spaces.get_opt("hai").await.expect("an answer").is_none(), "nothing was done");

    let (said, ()) = tokio::join!(operator.says(&up), controllers_make_it_ready(&client));
    assert_eq!(said.code, 0, "{said:?}");
    let services: Api<Service> = Api::namespaced(client.clone(), "hai");
    let service = services.get("hai").await.expect("it is there");
    let port = service.spec.expect("a spec").ports.expect("ports")[0].node_port.expect("a port");
    assert!(said.out.ends_with(&format!("hai works: http://10.1.0.2:{port}\n")), "{said:?}");

    let secrets: Api<Secret> = Api::namespaced(client.clone(), "hai");
    let before = secrets.get("hai-agent-token").await.expect("it is there");
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "hai");
    let generation = deployments.get("hai").await.expect("it is there").metadata.generation;
    let said = operator.says(&up).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!said.out.contains("made") && !said.out.contains("changed"), "{said:?}");
    let after = secrets.get("hai-agent-token").await.expect("it is there");
    assert_eq!(before.data, after.data, "the agents' token stays");
    assert_eq!(deployments.get("hai").await.expect("it is there").metadata.generation, generation);

    // What somebody changed by hand is neither overwritten nor lost without a word.
    let by_hand = PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
    let patch = json!({"spec": {"replicas": 0}});
    deployments.patch("hai", &by_hand, &Patch::Merge(patch)).await.expect("patched");
    let said = operator.says(&up).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("deployment hai holds what somebody else has set"), "{said:?}");
    assert!(
        said.err.contains("kubectl-edit") && said.err.contains(".spec.replicas") && said.err.contains("--force"),
        "{said:?}"
    );
    let forced = [&up[..], &["--force"]].concat();
    let (said, ()) = tokio::join!(operator.says(&forced), async {
        eventually("the change to be taken back", async || {
            (deployments.get("hai").await.ok()?.spec?.replicas == Some(1)).then_some(())
        })
        .await;
        controllers_make_it_ready(&client).await;
    });
    assert_eq!(said.code, 0, "{said:?}");

    // A worker, as the daemon makes them: what keeps its pod would keep the namespace for ever.
    let pods: Api<Pod> = Api::namespaced(client.clone(), "hai");
    let worker = json!({
        "metadata": {"name": "hai-t1-r1-0", "labels": {"hai/instance": "hai"}, "finalizers": ["hai/exit"]},
        "spec": {"containers": [{"name": "worker", "image": "example.test/train:1"}]},
    });
    pods.create(&PostParams::default(), &serde_json::from_value(worker).expect("a pod")).await.expect("created");
    let said = operator.says(&["down"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("persistentvolumeclaim hai-data: stays, with the data"), "{said:?}");
    assert!(said.out.contains("1 pods of workers: stay, and go on"), "{said:?}");
    assert_eq!(pods.get("hai-t1-r1-0").await.expect("it is there").finalizers(), ["hai/exit"]);
    assert!(deployments.get_opt("hai").await.expect("an answer").is_none());
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), "hai");
    assert!(claims.get_opt("hai-data").await.expect("an answer").is_some());
    let said = operator.says(&["down"]).await;
    assert_eq!(said.code, 0, "again is harmless: {said:?}");
    let said = operator.says(&["down", "--delete-data"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    plane.collect_garbage().await;
    assert!(spaces.get_opt("hai").await.expect("an answer").is_none());
}

/// A pod that a controller made for `component`.
async fn pod_of(client: &Client, component: &str, status: Value) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "hai");
    let pod = json!({
        "metadata": {"name": format!("hai-{component}-x"), "labels": {
            "app.kubernetes.io/name": "hai", "app.kubernetes.io/component": component}},
        "spec": {"containers": [{"name": component, "image": "example.test/hai:1"}]},
    });
    let pod = serde_json::from_value(pod).expect("a pod");
    eventually("the pod to be taken", async || match pods.create(&PostParams::default(), &pod).await {
        Ok(_) => Some(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Some(()),
        Err(_) => None,
    })
    .await;
    let patch = Patch::Merge(json!({"status": status}));
    pods.patch_status(&format!("hai-{component}-x"), &PatchParams::default(), &patch).await.expect("patched");
}

#[tokio::test(flavor = "multi_thread")]
async fn up_tells_what_it_waits_for_and_why_that_does_not_come() {
    let (plane, kubelet) = lab().await;
    let client = plane.client().await;
    let operator = Operator::new(&plane.kubeconfig(), "");
    let vain = ["up", "--timeout", "1s"];
    let said = operator.says(&vain).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("claim hai-data waits for ever, since the cluster has no storage class"), "{said:?}");
    let directory = ["up", "--timeout", "1s", "--data-path", "/srv/hai", "--data-node", "worker"];
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), "hai");
    claims.delete("hai-data", &kube::api::DeleteParams::default()).await.expect("deleted");
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let _ = claims.patch("hai-data", &PatchParams::default(), &patch).await;

    let waits = |reason: &str, message: &str| {
        json!({"containerStatuses": [{"name": "daemon", "image": "example.test/hai:1", "imageID": "", "ready": false,
               "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}}]})
    };
    pod_of(&client, "daemon", waits("ImagePullBackOff", "Back-off pulling image")).await;
    let said = operator.says(&directory).await;
    assert!(said.err.contains("image example.test/hai:1 can not be fetched: Back-off pulling image"), "{said:?}");

    let mut crashes = waits("CrashLoopBackOff", "back-off 5m0s restarting failed container");
    crashes["containerStatuses"][0]["lastState"] = json!({"terminated": {"exitCode": 2, "reason": "Error", "message": "hai.toml:3: there is no setting `lisen`\n"}});
    pod_of(&client, "daemon", crashes).await;
    let said = operator.says(&directory).await;
    assert!(said.err.contains("it ended with code 2: hai.toml:3: there is no setting `lisen`"), "{said:?}");

    kubelet.cordon(true).await;
    let unschedulable = json!({"containerStatuses": null, "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 node(s) were unschedulable."}]});
    pod_of(&client, "daemon", unschedulable).await;
    let said = operator.says(&directory).await;
    assert_eq!(said.code, 1, "{said:?}");
    let line = "waited in vain for the daemon: 0 of 1 ready; pod hai-daemon-x: no node takes it: 0/1 nodes are available: \
                1 node(s) were unschedulable. (worker is SchedulingDisabled: `kubectl uncordon worker`)";
    assert!(said.err.contains(line), "{said:?}");
    assert!(said.err.contains("waiting for the daemon"), "it told what it waits for: {said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_to_the_server_that_leads_nowhere_is_told() {
    let (mut plane, _kubelet) = lab().await;
    let here = plane.kubeconfig();
    // A node's address in place of a name would be the next mistake; first the file.
    let missing = Operator::new(std::path::Path::new("/nowhere/kubeconfig"), "");
    missing.hears("API server", "bad", &["/nowhere/kubeconfig can not be used", "kubectl config view"]).await;
    let directory = Operator::new(here.parent().expect("a directory"), "");
    directory.hears("API server", "bad", &["can not be used", "name the file in it, not the directory"]).await;
    let context = Operator::new(&here, "context = \"lab\"\n");
    context.hears("API server", "bad", &["lab"]).await;
    let nobody = Operator::new(&plane.kubeconfig_with_token("nobody's"), "");
    nobody.hears("API server", "bad", &["Unauthorized", "renew the credentials"]).await;

    let broken = Operator::new(&here, "external = 'hai'-external\n");
    broken.hears("configuration", "bad", &["hai.toml:3", "nothing of the file is used"]).await;
    let said = broken.says(&["up"]).await;
    assert_eq!(said.code, 2, "{said:?}");
    let address = Operator::new(&here, "");
    let said = address.says(&["manifests", "--ingress-host", "10.0.0.1"]).await;
    assert_eq!(said.code, 2);
    assert!(said.err.contains("10.0.0.1 is an address, and has to be a DNS name"), "{said:?}");

    plane.stop();
    let gone = Operator::new(&here, "");
    gone.hears("API server", "bad", &["does not answer", "refused", "start it"]).await;
    let said = gone.says(&["up"]).await;
    assert_eq!(said.code, 1);
    assert_eq!(said.err.trim().lines().count(), 1, "one line: {said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_means_no_node_is_named_with_those_that_there_are() {
    let plane = ControlPlane::start().await;
    let master = Machine::new("master").address("10.1.0.1").label("kubernetes.io/hostname", "box");
    let _master = Kubelet::start(&plane, master.gpus(1).cordoned()).await;
    let _worker = Kubelet::start(&plane, Machine::new("worker").address("10.1.0.2").gpus(1)).await;
    let here = plane.kubeconfig();
    let group = |nodes: &str| Operator::new(&here, &format!("[[kubernetes.group]]\nname = \"a\"\nnodes = {nodes}\n"));
    let wrong = group("[\"wroker\"]");
    let words = ["group a lists node `wroker`", "no node has that name", "master (10.1.0.1, box), worker (10.1.0.2)"];
    wrong.hears("groups", "bad", &words).await;
    let said = wrong.says(&["up"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("group a lists node `wroker`"), "before anything is made: {said:?}");
    let spaces: Api<Namespace> = Api::all(plane.client().await);
    assert!(spaces.get_opt("hai").await.expect("an answer").is_none());
    // By address, by hostname label, by name: whichever the operator wrote.
    group("[\"10.1.0.2\", \"box\"]").hears("groups", "good", &["a: master, worker"]).await;
    group("[\"worker\"]").hears("groups", "good", &["a: worker"]).await;
    let empty = group("[\"\"]").says(&["doctor"]).await;
    assert!(empty.out.starts_with("BAD   configuration: ") && empty.out.contains("hai.toml:5"), "{empty:?}");
    group("[]").hears("groups", "bad", &["no node carries the label hai_mars_group=a", "kubectl label node"]).await;
    let none = Operator::new(&here, "");
    none.hears("groups", "bad", &["no node is in any group", "kubectl label node NODE hai_mars_group=default"]).await;

    let both = group("[\"master\", \"worker\"]");
    both.hears(
        "cordon",
        "warning",
        &["master is SchedulingDisabled: nothing will run there", "kubectl uncordon master"],
    )
    .await;
    group("[\"worker\"]").hears("cordon", "good", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_can_not_do_what_is_asked_of_them_are_told() {
    let plane = ControlPlane::start().await;
    let tainted = Machine::new("worker").gpus(2).taint("nvidia.com/gpu", "present", "NoSchedule");
    let worker = Kubelet::start(&plane, tainted).await;
    let _plain = Kubelet::start(&plane, Machine::new("plain")).await;
    let here = plane.kubeconfig();
    let operator = |top: &str, nodes: &str, more: &str| {
        Operator::new(&here, &format!("{top}[[kubernetes.group]]\nname = \"a\"\nnodes = [{nodes}]\n{more}"))
    };
    let words =
        ["worker is tainted nvidia.com/gpu=present:NoSchedule", "add \"nvidia.com/gpu\" to kubernetes.tolerates"];
    operator("", "\"worker\"", "").hears("taints", "bad", &words).await;
    operator("tolerates = [\"nvidia.com/gpu\"]\n", "\"worker\"", "").hears("taints", "good", &[]).await;
    let words = ["plain offers no nvidia.com/gpu", "install NVIDIA's device plugin"];
    operator("", "\"plain\"", "gpus = \"plugin\"\n").hears("GPUs", "bad", &words).await;
    operator("", "\"worker\"", "gpus = \"plugin\"\n").hears("GPUs", "good", &["worker: 2"]).await;
    let words = ["worker has a device plugin", "set gpus = \"plugin\""];
    operator("", "\"worker\"", "").hears("GPUs", "warning", &words).await;
    let words = ["group a wants runtime class nvidia, and there is none", "container toolkit"];
    let classed = operator("", "\"plain\"", "runtime_class = \"nvidia\"\n");
    classed.hears("runtime class", "bad", &words).await;
    let class = json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "nvidia"});
    let resource = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("node.k8s.io", "v1", "RuntimeClass"),
        "runtimeclasses",
    );
    let classes: Api<DynamicObject> = Api::all_with(plane.client().await, &resource);
    classes.create(&PostParams::default(), &serde_json::from_value(class).expect("a class")).await.expect("created");
    classed.hears("runtime class", "good", &[]).await;

    // What agents see against what the plugin offers.
    let text = format!(
        "[kubernetes]\nkubeconfig = {here:?}\n[[kubernetes.group]]\nname = \"a\"\nnodes = [\"worker\"]\ngpus = \"plugin\"\n"
    );
    let plan = plan_of(&text);
    let gpus = async |devices: &[(&str, u32)]| -> Vec<Check> {
        let devices: BTreeMap<String, u32> = devices.iter().map(|(node, count)| ((*node).to_owned(), *count)).collect();
        let checks = doctor::examine(&plan, &Known { devices: Some(devices), mounts: None }).await;
        checks.into_iter().filter(|check| check.name == "GPUs").collect()
    };
    let checks = gpus(&[("worker", 2)]).await;
    assert_eq!((checks.len(), checks[0].verdict), (1, Verdict::Good), "{checks:?}");
    let checks = gpus(&[("worker", 1)]).await;
    assert_eq!(checks[0].verdict, Verdict::Bad);
    assert!(checks[0].said.contains("worker offers 2 nvidia.com/gpu, and its agent sees 1"), "{checks:?}");
    let checks = gpus(&[("plain", 1)]).await;
    assert!(checks.iter().any(|check| check.said.contains("no agent reports from worker")), "{checks:?}");

    worker.ready(false).await;
    let found = operator("", "\"worker\"", "").doctor("cordon").await;
    assert!(found[0]["said"].as_str().expect("text").contains("worker is NotReady"), "{found:?}");
    let plan = plan.expect("a plan");
    let client = connect::client(&plan).await.expect("a client");
    assert_eq!(doctor::fatal(&plan, &client).await, Ok(()), "a daemon starts, and waits for the node");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_enough_is_told_what_is_missing() {
    let (plane, _kubelet) = lab().await;
    let stranger = plane.kubeconfig_as("stranger", &[]);
    let operator = Operator::new(&stranger, "");
    let words = ["it is not allowed to get nodes in everywhere", "to know the nodes", "more", "hai-daemon up"];
    operator.hears("rights", "bad", &words).await;
    let plan = plan_of(&format!("[kubernetes]\nkubeconfig = {stranger:?}\n"));
    let plan = plan.expect("a plan");
    let client = connect::client(&plan).await.expect("a client");
    let trouble = doctor::fatal(&plan, &client).await.expect_err("a daemon does not start");
    assert!(trouble.to_string().contains("listing the nodes is refused"), "{trouble}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_are_tried_on_each_node() {
    let plane = ControlPlane::start().await;
    let shared = tempfile::tempdir().expect("a temporary directory");
    let program = env!("CARGO_BIN_EXE_hai-daemon");
    let mut kubelets = Vec::new();
    for name in ["n1", "n2"] {
        let kubelet = Kubelet::start(&plane, Machine::new(name).label("hai_mars_group", "a")).await;
        kubelet.entrypoint(program);
        kubelet.live(|_| Life::Process);
        kubelets.push(kubelet);
    }
    let client = plane.client().await;
    let spaces: Api<Namespace> = Api::all(client.clone());
    spaces
        .create(&PostParams::default(), &serde_json::from_value(json!({"metadata": {"name": "hai"}})).expect("one"))
        .await
        .expect("made");
    let here = plane.kubeconfig();
    let operator = |path: &str| {
        Operator::new(
            &here,
            &format!(
                "host_paths = [{path:?}]\n[[kubernetes.mount]]\nname = \"shared\"\npath = \"/shared\"\nhost_path = {path:?}\n"
            ),
        )
    };
    let said = operator(shared.path().to_str().expect("text")).says(&["doctor"]).await;
    for name in ["n1", "n2"] {
        assert!(said.out.contains(&format!("good  mounts: {name}: all are there, and can be used")), "{said:?}");
    }
    // Nothing can be written there, not even by root.
    let said = operator("/proc").says(&["doctor"]).await;
    assert_eq!(said.code, 1);
    assert!(said.out.contains("BAD   mounts: n2: /proc can not be written"), "{said:?}");
    kubelets[1].live(|_| Life::Says {
        code: 1,
        word: "/probe/shared can not be written: Permission denied (os error 13)".to_owned(),
    });
    let said = operator(shared.path().to_str().expect("text")).says(&["doctor"]).await;
    let line = format!("BAD   mounts: n2: shared ({}) can not be written: Permission denied", shared.path().display());
    assert!(said.out.contains(&line) && said.out.contains("root_squash"), "{said:?}");
    assert!(said.out.contains("good  mounts: n1"), "{said:?}");

    kubelets[1].live(|_| Life::Silence);
    let slow = operator("/not-mounted");
    let (said, ()) = tokio::join!(slow.says(&["doctor", "--mount-timeout", "3s"]), async {
        let pods: Api<Pod> = Api::namespaced(client.clone(), "hai");
        let on = ListParams::default().fields("spec.nodeName=n2");
        let pod = eventually("the pod that tries", async || pods.list(&on).await.ok()?.items.pop()).await;
        let event = json!({
            "metadata": {"name": "why", "namespace": "hai"}, "type": "Warning", "reason": "FailedMount",
            "message": "MountVolume.SetUp failed for volume \"shared\": hostPath type check failed: /not-mounted is not a directory",
            "involvedObject": {"kind": "Pod", "name": pod.name_any(), "namespace": "hai"},
            "lastTimestamp": "2026-01-01T00:00:00Z",
        });
        let events: Api<k8s_openapi::api::core::v1::Event> = Api::namespaced(client.clone(), "hai");
        events
            .create(&PostParams::default(), &serde_json::from_value(event).expect("an event"))
            .await
            .expect("created");
    });
    assert!(said.out.contains("n2: not mounted within 3 s: FailedMount: "), "{said:?}");
    assert!(said.out.contains("/not-mounted is not a directory"), "{said:?}");
    let pods: Api<Pod> = Api::namespaced(client, "hai");
    assert_eq!(pods.list(&ListParams::default()).await.expect("pods").items.len(), 0, "they are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_a_load_balancer_is_reached_by_a_port_of_its_nodes() {
    let (plane, _kubelet) = lab().await;
    let client = plane.client().await;
    let operator = Operator::new(&plane.kubeconfig(), "");
    operator.hears("load balancer", "skipped", &["there is no service yet"]).await;
    let (said, ()) = tokio::join!(operator.says(&["up", "--timeout", "100s"]), controllers_make_it_ready(&client));
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.out.contains("hai works: http://10.1.0.2:3") && said.out.contains("(no load balancer answered)"),
        "{said:?}"
    );
    operator
        .hears("load balancer", "warning", &["the cluster has none that answers", "use http://10.1.0.2:3", "MetalLB"])
        .await;
    let services: Api<Service> = Api::namespaced(client.clone(), "hai");
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}});
    services.patch_status("hai", &PatchParams::default(), &Patch::Merge(status)).await.expect("patched");
    operator.hears("load balancer", "good", &["http://192.0.2.7:8420"]).await;
    let said = operator.says(&["up"]).await;
    assert!(said.out.ends_with("hai works: http://192.0.2.7:8420\n"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_server_and_a_wrong_clock_are_told() {
    let (plane, _kubelet) = lab().await;
    let operator = Operator::new(&plane.kubeconfig(), "");
    if !plane.pretend("v1.27.4-old") {
        // A real one is whatever it is, and its clock is this machine's.
        operator.hears("clock", "good", &[]).await;
        return;
    }
    operator.hears("API server", "warning", &["v1.27.4-old", "v1.29 and newer", "upgrade"]).await;
    plane.pretend("v1.29.0");
    operator.hears("API server", "good", &["v1.29.0"]).await;
    plane.skew(600);
    operator.hears("clock", "bad", &["s ahead", "NTP"]).await;
    plane.skew(-20);
    operator.hears("clock", "warning", &["s behind", "NTP"]).await;
}

#[tokio::test]
async fn a_probe_says_what_can_not_be_written() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let probe = async |words: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_hai-daemon")).arg("probe").args(words).output().await.expect("executed");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let good = dir.path().to_str().expect("text");
    assert_eq!(probe(&[good]).await, (Some(0), String::new()));
    assert_eq!(probe(&["--read-only", "/proc"]).await, (Some(0), String::new()));
    let (code, said) = probe(&[good, "/proc", "/nowhere"]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("/proc can not be written") && said.contains("/nowhere can not be read"), "{said}");
}

/// What a daemon that listens says of this path; `None` if it does not answer yet.
fn asks(data: &std::path::Path, path: &str, body: Option<Value>) -> Option<Value> {
    tokio::task::block_in_place(|| {
        let address = std::fs::read_to_string(data.join("address")).ok()?;
        let token = std::fs::read_to_string(data.join("token")).ok()?;
        let (url, token) = (format!("http://{}{path}", address.trim()), format!("Bearer {}", token.trim()));
        let answer = match body {
            Some(body) => ureq::post(url).header("Authorization", token).send_json(body),
            None => ureq::get(url).header("Authorization", token).call(),
        };
        answer.ok()?.body_mut().read_json().ok()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_runs_a_task_with_the_printed_roles_and_starts_with_nothing_less() {
    let (plane, kubelet) = lab().await;
    kubelet.live(|_| Life::Exit { after: std::time::Duration::ZERO, code: 0 });
    let client = plane.client().await;
    let groups = ["system:serviceaccounts", "system:serviceaccounts:hai"];
    let file = plane.kubeconfig_as("system:serviceaccount:hai:hai-daemon", &groups);
    let operator = Operator::new(&file, "image = \"example.test/train:1\"\n");
    let data = operator.dir.path().join("data");
    let serve = || {
        let mut command = operator.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.arg("--data").arg(&data).env("HAI_CLUSTER_KIND", "kubernetes");
        command
    };
    // Not in a loop, and before anything is opened.
    let output = serve().output().await.expect("it is executed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("listing the nodes is refused") && said.trim().lines().count() == 1, "{said}");
    assert!(!data.exists());

    let printed = Operator::new(&plane.kubeconfig(), "").says(&["manifests"]).await;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&printed.out).expect("YAML");
    for object in &objects {
        let name = object["metadata"]["name"].as_str().expect("a name");
        let taken = api_of(&client, object).patch(name, &PatchParams::apply("kubectl"), &Patch::Apply(object)).await;
        taken.unwrap_or_else(|error| panic!("{} {name}: {error}", object["kind"]));
    }
    eventually("the roles to count", async || (operator.doctor("rights").await[0]["verdict"] == "good").then_some(()))
        .await;
    let token = objects.iter().find(|object| object["kind"] == "Secret").expect("a secret")["data"]["token"].clone();
    let token = serde_json::from_value::<k8s_openapi::ByteString>(token).expect("base64").0;
    let token = String::from_utf8(token).expect("text");
    let mut daemon =
        serve().env("HAI_AGENT_TOKEN", &token).stderr(std::process::Stdio::inherit()).spawn().expect("it is executed");
    let request = json!({"command": ["true"], "name": "first", "cpu": 1.0, "memory_mib": 64, "devices": 0});
    let made = eventually("the daemon to take a task", async || asks(&data, "/v1/tasks", Some(request.clone()))).await;
    let path = format!("/v1/tasks/{}", made["id"]);
    let task =
        eventually("the task to end", async || asks(&data, &path, None).filter(|task| task["outcome"].is_string()))
            .await;
    assert_eq!(task["outcome"], "succeeded", "{task}");
    // What it made for the run is gone: the roles let it clean up, too.
    let pods: Api<Pod> = Api::namespaced(client.clone(), "hai");
    eventually("the pods to go", async || {
        plane.collect_garbage().await;
        pods.list(&ListParams::default()).await.ok()?.items.is_empty().then_some(())
    })
    .await;
    // The doctor asks a daemon what its agents see.
    let address = std::fs::read_to_string(data.join("address")).expect("an address");
    let server = format!("http://{}/", address.trim());
    let said = operator.command(&["doctor", "--no-pods", "--server", &server]);
    let said =
        { said }.env("HAI_TOKEN", std::fs::read_to_string(data.join("token")).expect("a token").trim()).output().await;
    let said = String::from_utf8(said.expect("it is executed").stdout).expect("text");
    assert!(said.contains("warn  GPUs: no agent reports from worker; those of none do"), "{said}");
    daemon.start_kill().expect("it runs");
    daemon.wait().await.expect("it ends");
}
