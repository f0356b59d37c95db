//! A Kubernetes control plane for tests: a real one where `KUBEBUILDER_ASSETS` says where `etcd` and `kube-apiserver`
//! lie, else one within this process. Neither has controllers, a scheduler or kubelets: tests play them.
#![allow(dead_code, reason = "no test uses all of it")]

mod fake;
pub(crate) mod kubelet;
mod real;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Config};
use serde_json::{Value, json};
use tempfile::TempDir;

use fake::{Fake, Identity};
use real::Real;

const ADMIN: &str = "the-token-of-the-admin";

#[derive(Debug)]
enum Kind {
    Fake(Fake),
    Real(Box<Real>),
}

/// An API server on loopback with nothing in it; dropping it ends it.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    kind: Kind,
    dir: TempDir,
    files: std::cell::Cell<u32>,
}

/// Waits until `ready` gives something; machines may be busy.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ready: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(found) = ready().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl ControlPlane {
    /// Starts one, and waits until it serves.
    pub(crate) async fn start() -> Self {
        match std::env::var_os("KUBEBUILDER_ASSETS").filter(|assets| !assets.is_empty()) {
            Some(assets) => {
                let tokens = format!("{ADMIN},admin,admin,\"system:masters\"\n");
                let real = tokio::task::block_in_place(|| Real::start(Path::new(&assets), &tokens));
                Self::ready(Kind::Real(Box::new(real))).await
            }
            None => Self::start_within().await,
        }
    }

    /// Starts the one within this process, whatever else there is.
    pub(crate) async fn start_within() -> Self {
        let admin = Identity { user: "admin".to_owned(), groups: vec!["system:masters".to_owned()] };
        Self::ready(Kind::Fake(Fake::start(vec![(ADMIN.to_owned(), admin)]))).await
    }

    async fn ready(kind: Kind) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut plane = Self { kind, dir, files: std::cell::Cell::new(0) };
        plane.wait_ready().await;
        plane
    }

    async fn wait_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            if let Kind::Real(real) = &mut self.kind {
                real.check();
            }
            // The namespaces are made last, after the roles that come with a server.
            if let Some(client) = self.try_client(None).await {
                let request = axum::http::Request::get("/readyz").body(Vec::new()).expect("a request");
                let spaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
                let ready = client.request_text(request).await.is_ok();
                if ready && spaces.get("default").await.is_ok() && spaces.get("kube-node-lease").await.is_ok() {
                    return;
                }
            }
            let why = if let Kind::Real(real) = &self.kind { real.why() } else { String::new() };
            assert!(Instant::now() < deadline, "the control plane does not get ready: {why}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether it is a real one.
    pub(crate) fn is_real(&self) -> bool {
        matches!(self.kind, Kind::Real(_))
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        match &self.kind {
            Kind::Fake(fake) => fake.url(),
            Kind::Real(real) => real.url(),
        }
    }

    fn config(&self, token: &str, who: Option<(&str, &[&str])>) -> Value {
        let mut cluster = json!({"server": self.url()});
        if let Kind::Real(real) = &self.kind {
            cluster["certificate-authority"] = json!(real.authority());
        }
        let mut user = json!({"token": token});
        if let Some((name, groups)) = who {
            user["as"] = json!(name);
            user["as-groups"] = json!(groups);
        }
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "default"}}],
        })
    }

    async fn try_client_of(&self, config: Value) -> Option<Client> {
        let kubeconfig: Kubeconfig = serde_json::from_value(config).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.ok()?;
        Client::try_from(config).ok()
    }

    async fn try_client(&self, who: Option<(&str, &[&str])>) -> Option<Client> {
        self.try_client_of(self.config(ADMIN, who)).await
    }

    /// A client that may do everything.
    pub(crate) async fn client(&self) -> Client {
        self.try_client(None).await.expect("a client")
    }

    /// A client that is `user`, in `groups`; `system:serviceaccount:NAMESPACE:NAME` is the account's.
    pub(crate) async fn client_as(&self, user: &str, groups: &[&str]) -> Client {
        self.try_client(Some((user, groups))).await.expect("a client")
    }

    /// A client with a token, whosever it is.
    pub(crate) async fn client_with_token(&self, token: &str) -> Client {
        self.try_client_of(self.config(token, None)).await.expect("a client")
    }

    fn write(&self, config: &Value) -> PathBuf {
        self.files.set(self.files.get() + 1);
        let path = self.dir.path().join(format!("kubeconfig-{}", self.files.get()));
        std::fs::write(&path, config.to_string()).expect("the kubeconfig is written");
        path
    }

    /// A kubeconfig file of one who may do everything; it lives as long as this does.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.write(&self.config(ADMIN, None))
    }

    /// A kubeconfig file of `user`, in `groups`.
    pub(crate) fn kubeconfig_as(&self, user: &str, groups: &[&str]) -> PathBuf {
        self.write(&self.config(ADMIN, Some((user, groups))))
    }

    /// Ends it as a crash would: connections break, new ones are refused. What is stored stays.
    pub(crate) fn stop(&mut self) {
        match &mut self.kind {
            Kind::Fake(fake) => fake.stop(),
            Kind::Real(real) => real.stop(),
        }
    }

    /// Serves again at the same address, and waits until it does.
    pub(crate) async fn resume(&mut self) {
        match &mut self.kind {
            Kind::Fake(fake) => fake.resume(),
            Kind::Real(real) => real.resume(),
        }
        self.wait_ready().await;
    }

    /// Breaks all watches. A real server can not but restart for that.
    pub(crate) async fn drop_watches(&mut self) {
        match &self.kind {
            Kind::Fake(fake) => fake.drop_watches(),
            Kind::Real(_) => {
                self.stop();
                self.resume().await;
            }
        }
    }

    /// Breaks all watches, and forgets what happened: whoever goes on from where it was gets 410 Gone.
    pub(crate) async fn expire(&mut self) {
        // Something must have happened since, or nothing would be forgotten.
        let client = self.client().await;
        let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(client, "default");
        for round in 0..2 {
            let patch = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "time-passes"},
                               "data": {"round": round.to_string(), "at": format!("{:?}", Instant::now())}});
            let params = PatchParams::apply("test").force();
            maps.patch("time-passes", &params, &Patch::Apply(patch)).await.expect("it is written");
        }
        match &self.kind {
            Kind::Fake(fake) => fake.compact(),
            Kind::Real(_) => {
                self.stop();
                if let Kind::Real(real) = &self.kind {
                    tokio::task::block_in_place(|| real.compact());
                }
                self.resume().await;
            }
        }
    }

    /// A pod wrote that; only the one within this process can be told, a real one asks kubelets.
    pub(crate) fn put_out(&self, namespace: &str, pod: &str, bytes: &[u8]) -> bool {
        match &self.kind {
            Kind::Fake(fake) => {
                fake.write(namespace, pod, bytes);
                true
            }
            Kind::Real(_) => false,
        }
    }

    /// How often `verb` was asked of `resource` (`pods`, `pods/status`) since the server started.
    pub(crate) async fn requests(&self, verb: &str, resource: &str) -> u64 {
        if let Kind::Fake(fake) = &self.kind {
            return fake.requests(verb, resource);
        }
        let request = axum::http::Request::get("/metrics").body(Vec::new()).expect("a request");
        let text = self.client().await.request_text(request).await.expect("figures");
        let (plural, sub) = resource.split_once('/').unwrap_or((resource, ""));
        // A server counts these under words of its own.
        let verb = match verb {
            "create" => "POST".to_owned(),
            "update" => "PUT".to_owned(),
            other => other.to_uppercase(),
        };
        let wanted = [format!("verb=\"{verb}\""), format!("resource=\"{plural}\""), format!("subresource=\"{sub}\"")];
        text.lines()
            .filter(|line| {
                line.starts_with("apiserver_request_total{") && wanted.iter().all(|label| line.contains(label))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .map(|count| count as u64)
            .sum()
    }

    /// What tells the one within this process what pods write.
    pub(crate) fn tell_output(&self) -> kubelet::Tell {
        match &self.kind {
            Kind::Fake(fake) => fake.tell_output(),
            Kind::Real(_) => Box::new(|_, _, _| {}),
        }
    }

    /// A certificate of this machine's, where the server asks kubelets for what pods write; its key lies beside it.
    pub(crate) fn certificate(&self) -> Option<PathBuf> {
        match &self.kind {
            Kind::Fake(_) => None,
            Kind::Real(real) => Some(real.authority()),
        }
    }

    /// From now on the clock it shows is wrong by so many seconds; only the one within this process can do that.
    pub(crate) fn skew(&self, seconds: i64) -> bool {
        match &self.kind {
            Kind::Fake(fake) => {
                fake.skew(seconds);
                true
            }
            Kind::Real(_) => false,
        }
    }

    /// From now on it says that it is this version; only the one within this process can do that.
    pub(crate) fn pretend(&self, version: &str) -> bool {
        match &self.kind {
            Kind::Fake(fake) => {
                fake.version(version);
                true
            }
            Kind::Real(_) => false,
        }
    }

    /// A kubeconfig file with a token, whosever it is.
    pub(crate) fn kubeconfig_with_token(&self, token: &str) -> PathBuf {
        self.write(&self.config(token, None))
    }

    /// Plays the garbage collector and the namespace controller once: removes what has an owner that is gone, and
    /// ends namespaces that are being deleted with all that is in them.
    pub(crate) async fn collect_garbage(&self) {
        let client = self.client().await;
        let kind = |group: &str, kind: &str, plural: &str| {
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural)
        };
        let kinds = [
            kind("", "Pod", "pods"),
            kind("", "Service", "services"),
            kind("", "ConfigMap", "configmaps"),
            kind("", "Secret", "secrets"),
            kind("", "ServiceAccount", "serviceaccounts"),
            kind("apps", "Deployment", "deployments"),
            kind("apps", "DaemonSet", "daemonsets"),
            kind("apps", "ReplicaSet", "replicasets"),
            kind("coordination.k8s.io", "Lease", "leases"),
            kind("rbac.authorization.k8s.io", "Role", "roles"),
            kind("rbac.authorization.k8s.io", "RoleBinding", "rolebindings"),
        ];
        let spaces: Api<DynamicObject> = Api::all_with(client.clone(), &kind("", "Namespace", "namespaces"));
        let ending: Vec<String> = spaces
            .list(&ListParams::default())
            .await
            .expect("namespaces")
            .into_iter()
            .filter(|space| space.metadata.deletion_timestamp.is_some())
            .filter_map(|space| space.metadata.name)
            .collect();
        loop {
            let mut all = Vec::new();
            for resource in &kinds {
                let api: Api<DynamicObject> = Api::all_with(client.clone(), resource);
                let found = api.list(&ListParams::default()).await.expect("a list");
                all.extend(found.into_iter().map(|object| (resource, object)));
            }
            let alive: std::collections::BTreeSet<String> =
                all.iter().filter_map(|(_, object)| object.metadata.uid.clone()).collect();
            let mut removed = false;
            for (resource, object) in &all {
                let resource: &ApiResource = resource;
                let owners = object.metadata.owner_references.as_deref().unwrap_or_default();
                let orphan = !owners.is_empty() && owners.iter().all(|owner| !alive.contains(&owner.uid));
                let space = object.metadata.namespace.as_deref().unwrap_or_default();
                let leaving = object.metadata.deletion_timestamp.is_some();
                if (orphan && !leaving) || ending.iter().any(|ending| ending == space) {
                    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), space, resource);
                    let name = object.metadata.name.as_deref().unwrap_or_default();
                    let params = if orphan { DeleteParams::default() } else { DeleteParams::default().grace_period(0) };
                    removed |= api.delete(name, &params).await.is_ok();
                }
            }
            if !removed {
                break;
            }
        }
        for name in ending {
            let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {"finalizers": []}});
            let request = axum::http::Request::put(format!("/api/v1/namespaces/{name}/finalize"))
                .header("content-type", "application/json")
                .body(body.to_string().into_bytes())
                .expect("a request");
            client.request_text(request).await.expect("the namespace ends");
        }
    }
}
