//! A server that stands before a daemon and answers in its place where a test wants a larger, or a nastier, world.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures::StreamExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// A world that is made up: so many nodes and tasks, named by these.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) nodes: usize,
    pub(crate) devices: usize,
    pub(crate) tasks: u64,
    pub(crate) name: fn(u64) -> String,
    pub(crate) user: fn(u64) -> String,
    /// Time between two events.
    pub(crate) beat: AtomicU64,
    pub(crate) told: AtomicU64,
    pub(crate) asked_nodes: AtomicU64,
}

pub(crate) struct Playing {
    pub(crate) url: String,
    pub(crate) world: Arc<World>,
    serving: JoinHandle<()>,
}

#[derive(Clone)]
struct Stage {
    world: Arc<World>,
    behind: String,
    client: Client<HttpConnector, Body>,
}

impl World {
    pub(crate) fn new(nodes: usize, devices: usize, tasks: u64) -> Self {
        World {
            nodes,
            devices,
            tasks,
            name: |id| format!("experiment {id}"),
            user: |id| format!("user-{}", id % 60),
            beat: AtomicU64::new(0),
            told: AtomicU64::new(0),
            asked_nodes: AtomicU64::new(0),
        }
    }

    fn task(&self, id: u64, turn: u64) -> Value {
        let state = ["running", "waiting", "suspended", "running", "finished"][((id + turn) % 5) as usize];
        json!({
            "id": id, "name": (self.name)(id), "user": (self.user)(id), "group": "default", "priority": "NORMAL", "state": state,
            "outcome": if state == "finished" { json!("succeeded") } else { Value::Null }, "reason": null, "kind": "training",
            "workers": 1, "devices": 1 + id % 8, "whole_node": false, "models": [], "forbidden_models": [], "same_model": false,
            "device_memory_mib": 0, "cpu": 1.0, "memory_mib": 0, "distinct_nodes": false, "one_leaf": false, "one_zone": false,
            "spread": false, "zones": [], "labels": {}, "tolerates": [], "grace": {}, "suspendable": true, "after": [],
            "after_any": [], "submitted_at": "2026-01-01T00:00:00Z", "started_at": "2026-01-01T00:01:00Z", "runs": 1,
            "whole_life_state": 0, "ran": "1m",
        })
    }

    fn nodes(&self, turn: u64) -> Value {
        let node = |index: usize| {
            let id = |device: usize| format!("GPU-{index:05}-{device}");
            let devices: Vec<Value> = (0..self.devices)
                .map(|device| {
                    let heat = 40 + (index + device + turn as usize) % 40;
                    json!({"id": id(device), "model": "RTX 3070", "memory_mib": 8192, "health": "healthy", "reason": null,
                        "usage": {"memory_used_mib": 4000, "utilisation_percent": heat, "power_mw": 120_000, "temperature_c": heat}})
                })
                .collect();
            let held = |first: usize, count: usize, task: u64| {
                json!({"task": task, "user": (self.user)(task), "run": task, "rank": 0, "phase": "running", "whole_node": false,
                    "devices": (first..first + count).map(id).collect::<Vec<_>>(), "cpu": 4.0, "memory_mib": 1000})
            };
            let task = 1 + (index as u64 * 2 + turn) % self.tasks.max(1);
            let half = self.devices / 2;
            json!({"name": format!("node-{index:04}"), "group": "default", "ready": true, "cordoned": false, "draining": false,
                "taints": [], "labels": {}, "leaf": null, "spine": null, "zone": null, "cpu": 64.0, "free_cpu": 56.0,
                "memory_mib": 262_144, "free_memory_mib": 200_000, "devices": devices, "free_devices": self.devices - half - 1,
                "workers": [held(0, half, task), held(half, 1, task + 1)], "reported_at": "2026-01-01T00:00:00Z"})
        };
        json!({"nodes": (0..self.nodes).map(node).collect::<Vec<_>>()})
    }
}

impl Playing {
    pub(crate) async fn before(daemon: &str, world: World) -> Self {
        let world = Arc::new(world);
        let stage = Stage {
            world: world.clone(),
            behind: daemon.to_owned(),
            client: Client::builder(TokioExecutor::new()).build(HttpConnector::new()),
        };
        let router = Router::new()
            .route("/v1/nodes", get(nodes))
            .route("/v1/tasks", get(tasks))
            .route("/v1/queue", get(queue))
            .route("/v1/events", get(events))
            .fallback(pass_on)
            .with_state(stage);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Playing { url, world, serving }
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn said(value: &Value) -> Response {
    ([("content-type", "application/json"), ("cache-control", "no-store")], value.to_string()).into_response()
}

async fn nodes(State(stage): State<Stage>) -> Response {
    let turn = stage.world.asked_nodes.fetch_add(1, Ordering::Relaxed);
    said(&stage.world.nodes(turn))
}

#[derive(serde::Deserialize)]
struct Wanted {
    before: Option<u64>,
    cursor: Option<String>,
    limit: Option<u64>,
}

async fn tasks(State(stage): State<Stage>, Query(wanted): Query<Wanted>) -> Response {
    let cursor = wanted.cursor.and_then(|cursor| cursor.parse().ok());
    let before = wanted.before.or(cursor).unwrap_or(stage.world.tasks + 1);
    let first = before.saturating_sub(wanted.limit.unwrap_or(100)).max(1);
    let page: Vec<Value> = (first..before).rev().map(|id| stage.world.task(id, 0)).collect();
    said(&json!({"tasks": page, "next": (first > 1).then(|| json!(first))}))
}

async fn queue(State(stage): State<Stage>) -> Response {
    let items: Vec<Value> = (1..=100.min(stage.world.tasks))
        .map(|id| {
            json!({"id": id, "name": (stage.world.name)(id), "user": (stage.world.user)(id), "group": "default", "priority": "NORMAL",
                "state": "waiting", "submitted": "2026-01-01T00:00:00Z", "asks": "8 gpu", "why": "no room now", "p50": null, "p90": null})
        })
        .collect();
    said(&json!({"items": items, "total": stage.world.tasks, "next": null, "forecast": "known"}))
}

async fn events(State(stage): State<Stage>) -> Response {
    let world = stage.world;
    let stream = futures::stream::unfold(world, |world| async move {
        // A beat of nothing is silence.
        while world.beat.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_micros(world.beat.load(Ordering::Relaxed))).await;
        let burst =
            (0..20).map(|_| {
                let id = world.told.fetch_add(1, Ordering::Relaxed) + 1;
                let task = world.task(1 + id.wrapping_mul(7919) % world.tasks, id);
                Ok::<_, Infallible>(Event::default().id(id.to_string()).event("task").data(
                    json!({"id": id, "at": "2026-01-01T00:00:00Z", "user": task["user"], "task": task}).to_string(),
                ))
            });
        let burst: Vec<_> = burst.collect();
        Some((futures::stream::iter(burst), world))
    });
    Sse::new(stream.flatten()).keep_alive(KeepAlive::new()).into_response()
}

async fn pass_on(State(stage): State<Stage>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = format!("{}{path}", stage.behind).parse().expect("a path");
    parts.headers.remove("host");
    match stage.client.request(Request::from_parts(parts, body)).await {
        Ok(answer) => answer.map(Body::new).into_response(),
        Err(error) => (axum::http::StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}
