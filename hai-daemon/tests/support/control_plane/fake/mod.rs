//! A control plane within this process: an API server over a store of its own, for where there is no real one.

mod defaults;
mod delete;
mod list;
mod logs;
mod merge;
mod owners;
mod pods;
mod rbac;
mod request;
mod resources;
mod select;
mod status;
mod store;
mod validate;
mod validate_pod;
mod verbs;
mod watch;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use request::Path;
use resources::{RESOURCES, Resource};
use status::{Answer, Refused, respond};
use store::Store;

pub(crate) use rbac::Identity;

/// Now, as `metav1.Time`.
fn now() -> String {
    at(0)
}

/// So many seconds from now.
fn at(seconds: i64) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    let then = i64::try_from(since.as_secs()).expect("not that late").saturating_add(seconds);
    chrono::DateTime::from_timestamp(then, 0).expect("a time").format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What requests share.
#[derive(Debug)]
pub(crate) struct Server {
    store: Mutex<Store>,
    tokens: Vec<(String, Identity)>,
    /// Wakes those who watch; carries the newest version.
    news: tokio::sync::watch::Sender<u64>,
    watches: AtomicU64,
    counts: Mutex<BTreeMap<(String, String), u64>>,
    /// What pods wrote.
    logs: logs::Logs,
    /// Seconds by which the `Date` it sends is wrong.
    skew: Mutex<i64>,
    /// The version that it says it is.
    version: Mutex<String>,
}

impl Server {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grows when all watches are dropped.
    fn watches(&self) -> u64 {
        self.watches.load(Ordering::SeqCst)
    }

    fn count(&self, verb: &str, resource: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((verb.to_owned(), resource.to_owned())).or_default() += 1;
    }
}

/// The control plane; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Fake {
    server: Arc<Server>,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Fake {
    pub(crate) fn start(tokens: Vec<(String, Identity)>) -> Self {
        let server = Arc::new(Server {
            store: Mutex::new(Store::new()),
            tokens,
            news: tokio::sync::watch::Sender::new(1),
            watches: AtomicU64::new(0),
            counts: Mutex::default(),
            logs: logs::Logs::default(),
            skew: Mutex::new(0),
            version: Mutex::new("v1.33.0".to_owned()),
        });
        let namespaces = Resource::find("", "v1", "namespaces").expect("a kind there is");
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            let mut store = server.store();
            let number = store.fresh();
            let object = json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "uid": format!("00000000-0000-4000-8000-{number:012x}"), "creationTimestamp": now()},
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
            });
            store.put(namespaces, &(String::new(), name.to_owned()), Some(object));
        }
        let mut fake = Self { server, address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), runtime: None };
        fake.resume();
        fake
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends every connection and takes no new one; what is stored stays.
    pub(crate) fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Serves again, where it did before.
    pub(crate) fn resume(&mut self) {
        if self.runtime.is_some() {
            return;
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        let listener = loop {
            // The listener of before may still be closing.
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(error) => assert!(std::time::Instant::now() < deadline, "{} stays taken: {error}", self.address),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        self.address = listener.local_addr().expect("it is bound");
        listener.set_nonblocking(true).expect("a socket");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("control-plane")
            .enable_all()
            .build()
            .expect("threads");
        let app = Router::new().fallback(handle).with_state(self.server.clone());
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            axum::serve(listener, app).await
        });
        self.runtime = Some(runtime);
    }

    /// A pod wrote that.
    pub(crate) fn write(&self, namespace: &str, pod: &str, bytes: &[u8]) {
        self.server.logs.write(namespace, pod, bytes);
    }

    pub(crate) fn tell_output(&self) -> super::kubelet::Tell {
        let server = Arc::clone(&self.server);
        Box::new(move |namespace, pod, bytes| server.logs.write(namespace, pod, bytes))
    }

    pub(crate) fn drop_watches(&self) {
        self.server.watches.fetch_add(1, Ordering::SeqCst);
        self.server.news.send_modify(|_| {});
    }

    /// Forgets what happened, so that whoever asks for it gets 410.
    pub(crate) fn compact(&self) {
        self.server.store().compact();
        self.drop_watches();
    }

    pub(crate) fn requests(&self, verb: &str, resource: &str) -> u64 {
        let counts = self.server.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(&(verb.to_owned(), resource.to_owned())).copied().unwrap_or(0)
    }

    /// From now on it says that it is this version.
    pub(crate) fn version(&self, version: &str) {
        version.clone_into(&mut self.server.version.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// From now on the clock it shows is wrong by so many seconds.
    pub(crate) fn skew(&self, seconds: i64) {
        *self.server.skew.lock().unwrap_or_else(PoisonError::into_inner) = seconds;
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn handle(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    let skew = *server.skew.lock().unwrap_or_else(PoisonError::into_inner);
    let mut response = answer(&server, request).await.unwrap_or_else(|refused| refused.response());
    if skew != 0 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
        let then = i64::try_from(since.as_secs()).expect("not that late") + skew;
        let date = chrono::DateTime::from_timestamp(then, 0).expect("a time");
        let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        response.headers_mut().insert("date", date.parse().expect("a header"));
    }
    response
}

async fn answer(server: &Arc<Server>, request: Request) -> Answer<Response<Body>> {
    let (parts, body) = request.into_parts();
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let (who, really) = rbac::identify(&parts.headers, &server.tokens)?;
    let path = request::read(&parts.method, &parts.uri)?;
    let bytes = axum::body::to_bytes(body, 3 << 20).await.map_err(|error| Refused::bad(error.to_string()))?;
    let body: Value = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).map_err(|error| Refused::bad(format!("error decoding the body: {error}")))?
    };
    let ask = match path {
        Path::Plain(path) => return plain(server, &who, &path),
        Path::Review(kind) => return rbac::review(&server.store(), &who, &kind, body).map(|body| respond(201, &body)),
        Path::Object(ask) => ask,
    };
    server.count(
        ask.verb,
        &if ask.sub.is_empty() {
            ask.resource.plural.to_owned()
        } else {
            format!("{}/{}", ask.resource.plural, ask.sub)
        },
    );
    rbac::authorize(&server.store(), &who, really.as_ref(), &ask)?;
    if ask.verb == "get" && ask.resource.plural == "pods" && ask.sub == "log" {
        return logs::read(server, ask);
    }
    if ask.verb == "watch" {
        return watch::start(server, ask);
    }
    let content = text("content-type").split(';').next().unwrap_or("").trim().to_owned();
    let agent = text("user-agent").split('/').next().unwrap_or("").to_owned();
    let agent = if agent.is_empty() { "unknown".to_owned() } else { agent };
    let carried = verbs::Carried { body, content, agent };
    let (answer, rv) = {
        let mut store = server.store();
        let store = &mut *store;
        let answer = match ask.verb {
            "list" => list::list(store, &ask).map(|body| (200, body)),
            "get" => verbs::get(store, &ask).map(|body| (200, body)),
            "create" => verbs::create(store, &ask, carried),
            "update" => verbs::update(store, &ask, carried),
            "patch" => verbs::patch(store, &ask, carried),
            "delete" => delete::delete(store, &ask, &carried.body).map(|body| (200, body)),
            _ => delete::delete_all(store, &ask, &carried.body).map(|body| (200, body)),
        };
        (answer, store.rv())
    };
    server.news.send_if_modified(|seen| std::mem::replace(seen, rv) != rv);
    answer.map(|(code, body)| respond(code, &body))
}

/// Version, health, and what kinds there are.
fn plain(server: &Server, who: &Identity, path: &str) -> Answer<Response<Body>> {
    match path {
        "/healthz" | "/readyz" | "/livez" => return Ok(Response::new(Body::from("ok"))),
        "/version" => {
            let version = server.version.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let minor = version.split('.').nth(1).unwrap_or_default();
            let body = json!({
                "major": "1", "minor": minor, "gitVersion": version, "gitCommit": "", "gitTreeState": "clean",
                "buildDate": "1970-01-01T00:00:00Z", "goVersion": "go1.24", "compiler": "gc", "platform": "linux/amd64",
            });
            return Ok(respond(200, &body));
        }
        _ => {}
    }
    if !who.groups.iter().any(|group| group == "system:authenticated") {
        let message = format!("forbidden: User \"{}\" cannot get path \"{path}\"", who.user);
        return Err(Refused::new(403, "Forbidden", message, json!({})));
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let body = match parts.as_slice() {
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ["apis"] => {
            let names: std::collections::BTreeSet<&str> =
                RESOURCES.iter().map(|known| known.group).filter(|group| !group.is_empty()).collect();
            let groups: Vec<Value> = names
                .into_iter()
                .map(|name| {
                    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
                    json!({"name": name, "versions": [version], "preferredVersion": version})
                })
                .collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["api", version] | ["apis", _, version] => {
            let group = if parts[0] == "api" { "" } else { parts[1] };
            let all: Vec<Value> = RESOURCES
                .iter()
                .filter(|known| known.group == group && known.version == *version)
                .map(|known| {
                    json!({
                        "name": known.plural, "singularName": known.kind.to_lowercase(), "namespaced": known.namespaced,
                        "kind": known.kind,
                        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
                    })
                })
                .collect();
            if all.is_empty() {
                return Err(Refused::unknown_path());
            }
            let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/{version}") };
            json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": all})
        }
        _ => return Err(Refused::unknown_path()),
    };
    Ok(respond(200, &body))
}
