//! What the control plane that tests use must do, real or played: the checks are the same.

#[path = "support/control_plane/mod.rs"]
mod control_plane;

use std::collections::BTreeMap;
use std::time::Duration;

use control_plane::kubelet::{Kubelet, Life, Machine};
use control_plane::{ControlPlane, eventually};
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Secret, Service};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Api, DeleteParams, EvictParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_stream::StreamExt as _;

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object")
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "test"}},
        "spec": {
            "schedulerName": "hai", "restartPolicy": "Never",
            "containers": [{"name": "main", "image": "example.test/image:1", "command": ["true"]}],
        },
    })
}

fn map(name: &str, data: &str) -> ConfigMap {
    read(json!({"metadata": {"name": name, "labels": {"kind": data}}, "data": {"is": data}}))
}

fn pods(client: &Client) -> Api<Pod> {
    Api::namespaced(client.clone(), "default")
}

fn maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "default")
}

fn refusal<T: std::fmt::Debug>(result: kube::Result<T>) -> (u16, String, String) {
    match result.expect_err("it is refused") {
        kube::Error::Api(status) => (status.code, status.reason.clone(), status.message.clone()),
        other => panic!("no word of the server: {other}"),
    }
}

async fn bind(client: &Client, name: &str, node: &str) -> kube::Result<String> {
    let body = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
                      "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
    let request = axum::http::Request::post(format!("/api/v1/namespaces/default/pods/{name}/binding"))
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .expect("a request");
    let answer: kube::Result<Value> = client.request(request).await;
    answer.map(|answer| answer["status"].as_str().unwrap_or("").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_consistent_pages_of_what_is_selected() {
    let plane = ControlPlane::start().await;
    let client = plane.client().await;
    let maps = maps(&client);
    for number in 0..7 {
        let kind = if number % 2 == 0 { "even" } else { "odd" };
        maps.create(&PostParams::default(), &map(&format!("m{number}"), kind)).await.expect("created");
    }
    let evens = maps.list(&ListParams::default().labels("kind=even")).await.expect("a list");
    assert_eq!(evens.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["m0", "m2", "m4", "m6"]);
    let several = maps.list(&ListParams::default().labels("kind in (odd, none),!other")).await.expect("a list");
    assert_eq!(several.items.len(), 3);
    let one = maps.list(&ListParams::default().fields("metadata.name=m3")).await.expect("a list");
    assert_eq!(one.items.len(), 1);
    let (code, reason, _) = refusal(maps.list(&ListParams::default().fields("data.is=odd")).await);
    assert_eq!((code, reason.as_str()), (400, "BadRequest"));

    // What is made between two pages is on none of them.
    let mut seen = Vec::new();
    let mut params = ListParams::default().labels("kind").limit(3);
    loop {
        let page = maps.list(&params).await.expect("a page");
        seen.extend(page.items.iter().map(ResourceExt::name_any));
        maps.create(&PostParams::default(), &map(&format!("m{}a", seen.len()), "late")).await.expect("created");
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    assert_eq!(seen, ["m0", "m1", "m2", "m3", "m4", "m5", "m6"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_what_changed_since_a_version() {
    let mut plane = ControlPlane::start().await;
    let client = plane.client().await;
    let maps = maps(&client);
    let first = maps.create(&PostParams::default(), &map("a", "one")).await.expect("created");
    let since = first.resource_version().expect("a version");
    maps.patch("a", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"labels": {"kind": "two"}}})))
        .await
        .expect("patched");
    maps.create(&PostParams::default(), &map("b", "one")).await.expect("created");
    maps.delete("b", &DeleteParams::default()).await.expect("deleted");
    let said = |since: String, params: WatchParams, wanted: usize| {
        let maps = maps.clone();
        async move {
            let stream = maps.watch(&params.timeout(30), &since).await.expect("a watch");
            let events: Vec<_> = stream
                .filter_map(|event| match event.expect("an event") {
                    WatchEvent::Added(it) => Some(format!("added {}", it.name_any())),
                    WatchEvent::Modified(it) => Some(format!("modified {}", it.name_any())),
                    WatchEvent::Deleted(it) => Some(format!("deleted {}", it.name_any())),
                    WatchEvent::Bookmark(_) => None,
                    WatchEvent::Error(status) => Some(format!("error {} {}", status.code, status.reason)),
                })
                .take(wanted)
                .collect()
                .await;
            events
        }
    };
    assert_eq!(said(since.clone(), WatchParams::default(), 3).await, ["modified a", "added b", "deleted b"]);
    // To who sees only a part, what leaves the part is deleted.
    let part = WatchParams::default().labels("kind=one");
    assert_eq!(said(since.clone(), part, 3).await, ["deleted a", "added b", "deleted b"]);
    assert_eq!(said("0".to_owned(), WatchParams::default().labels("kind=two"), 1).await, ["added a"]);

    plane.expire().await;
    assert_eq!(said(since, WatchParams::default(), 1).await, ["error 410 Expired"]);
    let still = maps.get("a").await.expect("what is stored stays");
    assert_eq!(still.labels()["kind"], "two");
}

type Seen = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<Event<ConfigMap>, watcher::Error>> + Send>>;

async fn until_seen(events: &mut Seen, name: &str) {
    let there = tokio::time::timeout(Duration::from_secs(100), async {
        loop {
            if let Ok(Event::Apply(it) | Event::InitApply(it)) = events.next().await.expect("it never ends")
                && it.name_any() == name
            {
                return;
            }
        }
    });
    assert!(there.await.is_ok(), "{name} is not seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_outlives_a_server_that_goes_away() {
    let mut plane = ControlPlane::start().await;
    let client = plane.client().await;
    let maps = maps(&client);
    let mut events: Seen = Box::pin(watcher::watcher(maps.clone(), watcher::Config::default().labels("kind")));
    maps.create(&PostParams::default(), &map("a", "one")).await.expect("created");
    until_seen(&mut events, "a").await;
    plane.stop();
    assert!(maps.get("a").await.is_err(), "nobody is there");
    plane.resume().await;
    maps.create(&PostParams::default(), &map("b", "one")).await.expect("created");
    until_seen(&mut events, "b").await;
    plane.expire().await;
    maps.create(&PostParams::default(), &map("c", "one")).await.expect("created");
    until_seen(&mut events, "c").await;
    plane.drop_watches().await;
    maps.create(&PostParams::default(), &map("d", "one")).await.expect("created");
    until_seen(&mut events, "d").await;
    assert!(plane.requests("create", "configmaps").await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_twice_or_of_an_old_version_is_refused() {
    let plane = ControlPlane::start().await;
    let client = plane.client().await;
    let maps = maps(&client);
    let old = maps.create(&PostParams::default(), &map("a", "one")).await.expect("created");
    let (code, reason, message) = refusal(maps.create(&PostParams::default(), &map("a", "one")).await);
    assert_eq!((code, reason.as_str()), (409, "AlreadyExists"));
    assert_eq!(message, "configmaps \"a\" already exists");
    let mut new = old.clone();
    new.data = Some(BTreeMap::from([("is".to_owned(), "new".to_owned())]));
    maps.replace("a", &PostParams::default(), &new).await.expect("replaced");
    let (code, reason, message) = refusal(maps.replace("a", &PostParams::default(), &new).await);
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert!(message.contains("the object has been modified"), "{message}");
    let preconditions = Some(kube::api::Preconditions { uid: Some("another".to_owned()), resource_version: None });
    let stale = DeleteParams { preconditions, ..DeleteParams::default() };
    assert_eq!(refusal(maps.delete("a", &stale).await.map(|_| ())).0, 409);
    let (code, reason, message) = refusal(maps.get("b").await);
    assert_eq!((code, reason.as_str(), message.as_str()), (404, "NotFound", "configmaps \"b\" not found"));
    let elsewhere: Api<ConfigMap> = Api::namespaced(client.clone(), "nowhere");
    let (code, _, message) = refusal(elsewhere.create(&PostParams::default(), &map("a", "one")).await);
    assert_eq!((code, message.as_str()), (404, "namespaces \"nowhere\" not found"));
    let mut named = map("ignored", "one");
    named.metadata.name = None;
    named.metadata.generate_name = Some("made-".to_owned());
    let (one, two) =
        (maps.create(&PostParams::default(), &named).await, maps.create(&PostParams::default(), &named).await);
    let (one, two) = (one.expect("created").name_any(), two.expect("created").name_any());
    assert!(one.starts_with("made-") && one.len() == 10 && one != two, "{one} {two}");
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_of_each_kind_do_what_they_say() {
    let plane = ControlPlane::start().await;
    let client = plane.client().await;
    let pods = pods(&client);
    pods.create(&PostParams::default(), &read(pod("p"))).await.expect("created");
    let plain = PatchParams::default();
    let merge = json!({"metadata": {"labels": {"app": null, "new": "yes"}, "annotations": {"why": "test"}}});
    let done = pods.patch("p", &plain, &Patch::Merge(merge)).await.expect("patched");
    assert_eq!(done.labels().keys().collect::<Vec<_>>(), ["new"]);
    let strategic = json!({"spec": {"containers": [{"name": "main", "image": "example.test/image:2"}]}});
    let done = pods.patch("p", &plain, &Patch::Strategic(strategic)).await.expect("patched");
    let container = &done.spec.as_ref().expect("a spec").containers[0];
    assert_eq!(
        (container.image.as_deref(), container.command.as_deref()),
        (Some("example.test/image:2"), Some(&["true".to_owned()][..]))
    );
    let steps = json!([
        {"op": "test", "path": "/metadata/labels/new", "value": "yes"},
        {"op": "replace", "path": "/metadata/labels/new", "value": "no"},
        {"op": "add", "path": "/metadata/labels/a~1b", "value": "c"},
    ]);
    let done = pods.patch("p", &plain, &Patch::Json::<()>(read(steps.clone()))).await.expect("patched");
    assert_eq!((done.labels()["new"].as_str(), done.labels()["a/b"].as_str()), ("no", "c"));
    assert_eq!(refusal(pods.patch("p", &plain, &Patch::Json::<()>(read(steps))).await).0, 422, "its test fails now");
    let forbidden = json!({"spec": {"schedulerName": "another"}});
    let (code, reason, message) = refusal(pods.patch("p", &plain, &Patch::Merge(forbidden)).await);
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    assert!(
        message.starts_with("Pod \"p\" is invalid: spec: Forbidden: pod updates may not change fields"),
        "{message}"
    );

    // The status changes at its own door only.
    let status = json!({"metadata": {"labels": {"new": "maybe"}}, "status": {"phase": "Running"}, "spec": {"schedulerName": "x"}});
    let done = pods.patch("p", &plain, &Patch::Merge(&status["status"].clone())).await.expect("nothing in it is known");
    assert_eq!(done.status.and_then(|status| status.phase).as_deref(), Some("Pending"));
    let done =
        pods.patch_status("p", &plain, &Patch::Merge(json!({"status": {"phase": "Running"}}))).await.expect("patched");
    assert_eq!(done.status.and_then(|status| status.phase).as_deref(), Some("Running"));
    assert_eq!(done.spec.and_then(|spec| spec.scheduler_name).as_deref(), Some("hai"));
    let running = pods.list(&ListParams::default().fields("status.phase=Running")).await.expect("a list");
    assert_eq!(running.items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_owns_what_it_says_and_takes_nothing_from_others() {
    let plane = ControlPlane::start().await;
    let client = plane.client().await;
    let maps = maps(&client);
    let wanted =
        |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
    let apply = async |who: &str, force: bool, data: Value| {
        let params = if force { PatchParams::apply(who).force() } else { PatchParams::apply(who) };
        maps.patch("a", &params, &Patch::Apply(wanted(data))).await
    };
    let first = apply("one", false, json!({"x": "1", "y": "1"})).await.expect("made");
    let again = apply("one", false, json!({"x": "1", "y": "1"})).await.expect("the same");
    assert_eq!(first.resource_version(), again.resource_version(), "nothing changed");
    apply("two", false, json!({"z": "2", "x": "1"})).await.expect("what both say is both's");
    let (code, reason, message) = refusal(apply("two", false, json!({"z": "2", "x": "2"})).await);
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert!(message.contains("conflict with \"one\"") && message.contains(".data.x"), "{message}");
    let done = apply("two", true, json!({"z": "2", "x": "2"})).await.expect("taken by force");
    assert_eq!(done.data.expect("data")["x"], "2");
    let done = apply("one", false, json!({"y": "3"})).await.expect("x is not one's any more");
    let data = done.data.expect("data");
    assert_eq!(
        data.into_iter().collect::<Vec<_>>(),
        [("x", "2"), ("y", "3"), ("z", "2")].map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
    let done = apply("two", false, json!({"z": "2"})).await.expect("x goes");
    assert_eq!(done.data.expect("data").into_keys().collect::<Vec<_>>(), ["y", "z"]);
    // What somebody changed without an apply is theirs.
    let params = PatchParams { field_manager: Some("hand".to_owned()), ..PatchParams::default() };
    maps.patch("a", &params, &Patch::Merge(json!({"data": {"y": "by hand"}}))).await.expect("patched");
    let (code, _, message) = refusal(apply("one", false, json!({"y": "3"})).await);
    assert_eq!(code, 409, "{message}");
    assert!(message.contains("hand"), "{message}");

    // Items of lists are told apart by their keys.
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    let service = |ports: Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
               "spec": {"type": "NodePort", "selector": {"app": "x"}, "ports": ports}})
    };
    let params = PatchParams::apply("one").force();
    let http = json!({"name": "http", "port": 80, "protocol": "TCP"});
    let more = json!({"name": "more", "port": 81, "protocol": "TCP"});
    let made = services.patch("s", &params, &Patch::Apply(service(json!([http])))).await.expect("made");
    let port = |service: &Service, at: usize| {
        service.spec.as_ref().expect("a spec").ports.as_ref().expect("ports")[at].clone()
    };
    let given = port(&made, 0).node_port.expect("a port of the nodes");
    assert!((30_000..32_768).contains(&given));
    let both = services.patch("s", &params, &Patch::Apply(service(json!([http, more])))).await.expect("applied");
    assert_eq!(port(&both, 0).node_port, Some(given), "what was given stays");
    let one = services.patch("s", &params, &Patch::Apply(service(json!([more])))).await.expect("applied");
    assert_eq!(one.spec.as_ref().expect("a spec").ports.as_ref().map(Vec::len), Some(1));
    assert_eq!(port(&one, 0).name.as_deref(), Some("more"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_is_invalid() {
    let plane = ControlPlane::start().await;
    let client = plane.client().await;
    let pods = pods(&client);
    let refused = async |change: &dyn Fn(&mut Value)| {
        let mut value = pod("p");
        change(&mut value);
        let (code, reason, message) = refusal(pods.create(&PostParams::default(), &read(value)).await);
        assert_eq!((code, reason.as_str()), (422, "Invalid"), "{message}");
        message
    };
    let said = refused(&|pod| pod["metadata"]["name"] = json!("Big_Name")).await;
    assert!(said.contains("metadata.name: Invalid value: \"Big_Name\""), "{said}");
    let said = refused(&|pod| pod["metadata"]["labels"]["app"] = json!("-no-")).await;
    assert!(said.contains("metadata.labels"), "{said}");
    let said = refused(&|pod| pod["spec"]["containers"] = json!([])).await;
    assert!(said.contains("spec.containers: Required value"), "{said}");
    let said = refused(&|pod| pod["spec"]["containers"][0]["image"] = json!("")).await;
    assert!(said.contains("spec.containers[0].image: Required value"), "{said}");
    let said =
        refused(&|pod| pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "no", "mountPath": "/x"}])).await;
    assert!(said.contains("spec.containers[0].volumeMounts[0].name: Not found: \"no\""), "{said}");
    let said = refused(&|pod| {
        pod["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1"}, "requests": {"cpu": "2"}})
    })
    .await;
    assert!(said.contains("must be less than or equal to cpu limit"), "{said}");
    let said =
        refused(&|pod| pod["spec"]["containers"][0]["resources"] = json!({"limits": {"nvidia.com/gpu": "500m"}})).await;
    assert!(said.contains("nvidia.com/gpu") && said.contains("must be an integer"), "{said}");
    let said = refused(&|pod| pod["spec"]["hostname"] = json!("Not_A_Host")).await;
    assert!(said.contains("spec.hostname"), "{said}");
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    let service = json!({"metadata": {"name": "1st"}, "spec": {"ports": [{"port": 0}]}});
    let (code, _, said) = refusal(services.create(&PostParams::default(), &read(service)).await);
    assert_eq!(code, 422, "{said}");
    assert!(said.contains("metadata.name") && said.contains("spec.ports[0].port"), "{said}");

    let made = pods.create(&PostParams::default(), &read(pod("p"))).await.expect("created");
    let spec = made.spec.expect("a spec");
    assert_eq!(spec.termination_grace_period_seconds, Some(30));
    assert_eq!(spec.containers[0].image_pull_policy.as_deref(), Some("IfNotPresent"));
    assert_eq!(spec.tolerations.as_ref().map(Vec::len), Some(2), "as admission adds them");
    let secrets: Api<Secret> = Api::namespaced(client, "default");
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"token": "abcd"}});
    let made = secrets.create(&PostParams::default(), &read(secret)).await.expect("created");
    assert_eq!(made.data.expect("data")["token"].0, b"abcd");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_bound_once() {
    let plane = ControlPlane::start().await;
    let client = plane.client().await;
    let pods = pods(&client);
    pods.create(&PostParams::default(), &read(pod("p"))).await.expect("created");
    assert_eq!(bind(&client, "p", "n1").await.expect("bound"), "Success");
    let (code, reason, message) = refusal(bind(&client, "p", "n2").await);
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert!(message.contains("already assigned to node \"n1\""), "{message}");
    assert_eq!(refusal(bind(&client, "q", "n1").await).0, 404);
    let bound = pods.get("p").await.expect("it is there");
    assert_eq!(bound.spec.and_then(|spec| spec.node_name).as_deref(), Some("n1"));
    let conditions = bound.status.and_then(|status| status.conditions).expect("conditions");
    assert!(conditions.iter().any(|condition| condition.type_ == "PodScheduled" && condition.status == "True"));
    let there = pods.list(&ListParams::default().fields("spec.nodeName=n1")).await.expect("a list");
    assert_eq!(there.items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_runs_leaves_when_its_kubelet_says_so() {
    let plane = ControlPlane::start().await;
    let client = plane.client().await;
    let pods = pods(&client);
    // Never bound: nobody to ask.
    pods.create(&PostParams::default(), &read(pod("p"))).await.expect("created");
    pods.delete("p", &DeleteParams::default()).await.expect("deleted");
    assert_eq!(refusal(pods.get("p").await).0, 404);

    let made = pods.create(&PostParams::default(), &read(pod("p"))).await.expect("created");
    bind(&client, "p", "n1").await.expect("bound");
    pods.delete("p", &DeleteParams::default().grace_period(60)).await.expect("deleted");
    let leaving = pods.get("p").await.expect("it is still there");
    assert!(leaving.metadata.deletion_timestamp.is_some());
    assert_eq!(leaving.metadata.deletion_grace_period_seconds, Some(60));
    assert_eq!(leaving.uid(), made.uid());
    pods.delete("p", &DeleteParams::default().grace_period(20)).await.expect("sooner");
    assert_eq!(pods.get("p").await.expect("there").metadata.deletion_grace_period_seconds, Some(20));
    pods.delete("p", &DeleteParams::default().grace_period(90)).await.expect("not later");
    assert_eq!(pods.get("p").await.expect("there").metadata.deletion_grace_period_seconds, Some(20));
    pods.delete("p", &DeleteParams::default().grace_period(0)).await.expect("confirmed");
    assert_eq!(refusal(pods.get("p").await).0, 404);

    // A finalizer keeps what is deleted until it is taken away.
    let maps = maps(&client);
    let mut held = map("held", "one");
    held.metadata.finalizers = Some(vec!["example.test/hold".to_owned()]);
    maps.create(&PostParams::default(), &held).await.expect("created");
    maps.delete("held", &DeleteParams::default()).await.expect("deleted");
    assert!(maps.get("held").await.expect("there").metadata.deletion_timestamp.is_some());
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("held", &PatchParams::default(), &free).await.expect("patched");
    assert_eq!(refusal(maps.get("held").await).0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_owns_nothing_any_more_is_collected() {
    let plane = ControlPlane::start().await;
    let client = plane.client().await;
    let maps = maps(&client);
    let owner = maps.create(&PostParams::default(), &map("owner", "one")).await.expect("created");
    let mut owned = pod("owned");
    owned["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid()}]);
    pods(&client).create(&PostParams::default(), &read(owned)).await.expect("created");
    plane.collect_garbage().await;
    assert!(pods(&client).get("owned").await.is_ok(), "its owner lives");
    maps.delete("owner", &DeleteParams::default()).await.expect("deleted");
    plane.collect_garbage().await;
    assert_eq!(refusal(pods(&client).get("owned").await).0, 404);

    let spaces: Api<Namespace> = Api::all(client.clone());
    spaces.create(&PostParams::default(), &read(json!({"metadata": {"name": "short"}}))).await.expect("created");
    let inside: Api<ConfigMap> = Api::namespaced(client.clone(), "short");
    inside.create(&PostParams::default(), &map("a", "one")).await.expect("created");
    spaces.delete("short", &DeleteParams::default()).await.expect("deleted");
    let (code, reason, _) = refusal(inside.create(&PostParams::default(), &map("b", "one")).await);
    assert_eq!((code, reason.as_str()), (403, "Forbidden"));
    plane.collect_garbage().await;
    assert_eq!(refusal(spaces.get("short").await).0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_say_who_may_do_what() {
    let plane = ControlPlane::start().await;
    let admin = plane.client().await;
    let account = "system:serviceaccount:default:worker";
    let client = plane.client_as(account, &["system:serviceaccounts", "system:serviceaccounts:default"]).await;
    let (code, reason, message) = refusal(pods(&client).list(&ListParams::default()).await);
    assert_eq!((code, reason.as_str()), (403, "Forbidden"));
    assert_eq!(
        message,
        format!(
            "pods is forbidden: User \"{account}\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
        )
    );
    let may = async |client: &Client, verb: &str, resource: &str, sub: &str, namespace: &str| {
        let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
        let review = json!({"spec": {"resourceAttributes": {
            "verb": verb, "resource": resource, "subresource": sub, "group": "", "namespace": namespace}}});
        let review = reviews.create(&PostParams::default(), &read(review)).await.expect("an answer");
        review.status.expect("a status").allowed
    };
    assert!(!may(&client, "list", "pods", "", "default").await);
    let roles: Api<Role> = Api::namespaced(admin.clone(), "default");
    let role = json!({"metadata": {"name": "r"}, "rules": [
        {"apiGroups": [""], "resources": ["pods", "pods/binding"], "verbs": ["list", "create"]},
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"], "verbs": ["get"]},
    ]});
    roles.create(&PostParams::default(), &read(role)).await.expect("created");
    let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), "default");
    let binding = json!({"metadata": {"name": "r"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
                         "subjects": [{"kind": "ServiceAccount", "name": "worker", "namespace": "default"}]});
    bindings.create(&PostParams::default(), &read(binding)).await.expect("created");
    // A real server hears of it a moment later.
    eventually("the right to list", async || may(&client, "list", "pods", "", "default").await.then_some(())).await;
    pods(&client).list(&ListParams::default()).await.expect("now it may");
    assert!(may(&client, "create", "pods", "binding", "default").await);
    assert!(!may(&client, "create", "pods", "eviction", "default").await);
    assert!(!may(&client, "list", "pods", "", "kube-system").await);
    let other: Api<Pod> = Api::all(client.clone());
    let (code, _, message) = refusal(other.list(&ListParams::default()).await);
    assert_eq!(code, 403);
    assert!(message.ends_with("at the cluster scope"), "{message}");
    assert_eq!(refusal(maps(&client).get("mine").await).0, 404, "it may, but there is none");
    assert_eq!(refusal(maps(&client).get("yours").await).0, 403);

    let roles: Api<ClusterRole> = Api::all(admin.clone());
    let role = json!({"metadata": {"name": "nodes:see"}, "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["*"]}]});
    roles.create(&PostParams::default(), &read(role)).await.expect("created");
    let bindings: Api<ClusterRoleBinding> = Api::all(admin.clone());
    let binding = json!({"metadata": {"name": "nodes:see"},
                         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "nodes:see"},
                         "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts"}]});
    bindings.create(&PostParams::default(), &read(binding)).await.expect("created");
    eventually("the right to see nodes", async || may(&client, "watch", "nodes", "", "").await.then_some(())).await;

    let stranger = plane.client_with_token("nobody's").await;
    let (code, reason, _) = refusal(pods(&stranger).list(&ListParams::default()).await);
    assert_eq!((code, reason.as_str()), (401, "Unauthorized"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_holds_a_lease() {
    let plane = ControlPlane::start().await;
    let leases: Api<Lease> = Api::namespaced(plane.client().await, "default");
    let lease = |who: &str| -> Lease {
        read(json!({"metadata": {"name": "leader"}, "spec": {
            "holderIdentity": who, "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z", "leaseTransitions": 0}}))
    };
    let mine = leases.create(&PostParams::default(), &lease("one")).await.expect("created");
    assert_eq!(refusal(leases.create(&PostParams::default(), &lease("two")).await).0, 409);
    let take = |who: &str| {
        let mut lease = lease(who);
        lease.metadata.resource_version = mine.resource_version();
        lease
    };
    let two = take("two");
    leases.replace("leader", &PostParams::default(), &two).await.expect("the first one to come");
    let (code, reason, _) = refusal(leases.replace("leader", &PostParams::default(), &take("one")).await);
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    let holds = leases.get("leader").await.expect("it is there");
    assert_eq!(holds.spec.and_then(|spec| spec.holder_identity).as_deref(), Some("two"));
}

async fn phase(pods: &Api<Pod>, name: &str, wanted: &str) -> Pod {
    eventually(&format!("{name} to be {wanted}"), async || {
        let pod = pods.get(name).await.ok()?;
        (pod.status.as_ref()?.phase.as_deref() == Some(wanted)).then_some(pod)
    })
    .await
}

fn state(pod: &Pod) -> Value {
    serde_json::to_value(&pod.status.as_ref().expect("a status").container_statuses).expect("JSON")[0]["state"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn kubelets_live_the_lives_of_pods() {
    let mut plane = ControlPlane::start().await;
    let client = plane.client().await;
    let pods = pods(&client);
    let kubelet = Kubelet::start(&plane, Machine::new("n1").gpus(1).label("group", "a")).await;
    let nodes: Api<Node> = Api::all(client.clone());
    let node = nodes.get("n1").await.expect("it registered");
    assert_eq!(node.status.as_ref().expect("a status").allocatable.as_ref().expect("amounts")["nvidia.com/gpu"].0, "1");
    assert_eq!(node.spec.and_then(|spec| spec.taints).unwrap_or_default(), [], "it is ready");
    kubelet.live(|pod| match pod.name_any().as_str() {
        "code" => Life::Exit { after: Duration::ZERO, code: 3 },
        "memory" => Life::OutOfMemory { after: Duration::ZERO },
        "evicted" => Life::Evicted { after: Duration::ZERO },
        "pull" => Life::PullFails,
        "process" => Life::Process,
        _ => Life::Stay,
    });
    for name in ["code", "memory", "evicted", "pull", "stay", "process"] {
        let mut pod = pod(name);
        let script = "trap 'echo $NAME bye; exit 7' TERM; echo hello; while :; do sleep 0.05; done";
        pod["spec"]["containers"][0]["command"] = json!(["sh", "-c", script]);
        pod["spec"]["containers"][0]["env"] = json!([{"name": "NAME", "value": "me"}]);
        pods.create(&PostParams::default(), &read(pod)).await.expect("created");
        bind(&client, name, "n1").await.expect("bound");
    }
    let failed = phase(&pods, "code", "Failed").await;
    assert_eq!(state(&failed)["terminated"]["exitCode"], 3);
    let failed = phase(&pods, "memory", "Failed").await;
    assert_eq!(state(&failed)["terminated"]["reason"], "OOMKilled");
    let failed = phase(&pods, "evicted", "Failed").await;
    assert_eq!(failed.status.and_then(|status| status.reason).as_deref(), Some("Evicted"));
    eventually("the image to fail", async || {
        let pod = pods.get("pull").await.ok()?;
        (state(&pod)["waiting"]["reason"] == "ImagePullBackOff").then_some(())
    })
    .await;
    phase(&pods, "stay", "Running").await;
    phase(&pods, "process", "Running").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    plane.stop();
    plane.resume().await;
    kubelet.end("default", "stay", 0);
    phase(&pods, "stay", "Succeeded").await;
    pods.delete("process", &DeleteParams::default()).await.expect("deleted");
    eventually("the process to leave", async || pods.get_opt("process").await.ok()?.is_none().then_some(())).await;
    assert_eq!(kubelet.log("default", "process").as_deref(), Some("hello\nme bye\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_get_lost_and_drained() {
    let plane = ControlPlane::start().await;
    let client = plane.client().await;
    let pods = pods(&client);
    let kubelet = Kubelet::start(&plane, Machine::new("n1").cordoned()).await;
    let nodes: Api<Node> = Api::all(client.clone());
    let ready = async || {
        let node = nodes.get("n1").await.expect("it is there");
        let conditions = node.status.and_then(|status| status.conditions).expect("conditions");
        let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready").expect("a word").status;
        let spec = node.spec.unwrap_or_default();
        (ready, spec.unschedulable.unwrap_or(false), spec.taints.unwrap_or_default().len())
    };
    assert_eq!(ready().await, ("True".to_owned(), true, 1));
    kubelet.cordon(false).await;
    assert_eq!(ready().await, ("True".to_owned(), false, 0));
    kubelet.ready(false).await;
    assert_eq!(ready().await, ("False".to_owned(), false, 2));
    kubelet.lose().await;
    assert_eq!(ready().await, ("Unknown".to_owned(), false, 2));
    pods.create(&PostParams::default(), &read(pod("p"))).await.expect("created");
    bind(&client, "p", "n1").await.expect("bound");
    kubelet.find().await;
    assert_eq!(ready().await, ("True".to_owned(), false, 0));
    phase(&pods, "p", "Running").await;
    pods.evict("p", &EvictParams::default()).await.expect("evicted");
    eventually("the pod to leave", async || pods.get_opt("p").await.ok()?.is_none().then_some(())).await;
    pods.create(&PostParams::default(), &read(pod("q"))).await.expect("created");
    bind(&client, "q", "n1").await.expect("bound");
    phase(&pods, "q", "Running").await;
    kubelet.drain().await;
    eventually("the drained to leave", async || pods.get_opt("q").await.ok()?.is_none().then_some(())).await;
    assert!(ready().await.1, "it is cordoned");
    kubelet.remove().await;
    assert!(nodes.get_opt("n1").await.expect("an answer").is_none());
}
