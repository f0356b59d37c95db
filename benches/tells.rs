//! What it costs at full size to be told things: 10,000 nodes with 8 devices, about 48,000 running and 112,000 waiting tasks.
//! Previews of one change each, why a task waits and what would help it; and a thousand one-shot documents.
//!
//! Argument: a divisor of the size (1 by default).

use std::time::Instant;

use hai_benches::big::Cluster;
use hai_core::engine::EngineConfig;
use hai_core::explain::{Change, Limits, what_if, what_would_help, why};
use hai_core::model::{Allowance, Fact, NodeSpec, Priority, RightKey, RightRow, TaskId, WorkerRequest};
use hai_core::plan::{Document, plan};
use serde_json::{Value, json};

fn timed<T>(what: &str, times: u32, mut work: impl FnMut() -> T) {
    let mut spans: Vec<_> = (0..times)
        .map(|_| {
            let since = Instant::now();
            let made = work();
            let span = since.elapsed();
            drop(made);
            span
        })
        .collect();
    spans.sort_unstable();
    println!("{what}: median {:.1?}, most {:.1?} of {times}", spans[spans.len() / 2], spans[spans.len() - 1]);
}

fn previews(cluster: &Cluster, waits: TaskId) {
    let (engine, now) = (&cluster.engine, cluster.now);
    let runs = engine.runs().next().expect("somebody runs");
    let node = engine.nodes().next().expect("there are nodes").spec;
    let right = RightRow::new(RightKey { user: Some(cluster.user(0)), ..RightKey::default() }, Allowance::devices(8));
    let spec = cluster.one(1, Priority::VeryHigh, WorkerRequest::devices(1));
    let changes = [
        ("a submission", Change::Submit(Box::new(spec))),
        ("a stop", Change::Tell(Box::new(Fact::Cancelled { task: runs.task }))),
        (
            "a priority",
            Change::Tell(Box::new(Fact::Reprioritised {
                task: waits,
                priority: Priority::ExtremeHigh,
                custom_rank: None,
            })),
        ),
        ("a right", Change::Tell(Box::new(Fact::RightSet { right }))),
        ("a drain", Change::Tell(Box::new(Fact::NodeSet { node: NodeSpec { draining: true, ..node.clone() } }))),
        ("a lost node", Change::Tell(Box::new(Fact::NodeSet { node: NodeSpec { ready: false, ..node } }))),
        ("a configuration", Change::Configure(Box::new(EngineConfig { borrow: true, ..engine.config().clone() }))),
    ];
    for (what, change) in changes {
        timed(&format!("preview of {what}"), 5, || {
            what_if(engine, now, std::slice::from_ref(&change)).expect("it can be")
        });
    }
}

/// A cluster as somebody else's program would describe it: 8 nodes of 4 devices, 12 running and 12 waiting tasks.
fn document(number: u64) -> Value {
    let nodes: Vec<Value> = (0..8)
        .map(|node| {
            let devices: Vec<Value> = (0..4)
                .map(|at| json!({"id": format!("GPU-{node}-{at}"), "model": "A100", "memory_mib": 81920}))
                .collect();
            json!({"name": format!("node-{node}"), "group": "default", "cpu_milli": 64000, "memory_mib": 524_288,
                "ready": true, "devices": devices})
        })
        .collect();
    let tasks: Vec<Value> = (1..=24_u64)
        .map(|id| {
            let spec = json!({"name": format!("task-{id}"), "user": format!("user-{}", (id + number) % 5), "group": "default",
                "priority": if id % 3 == 0 { "HIGH" } else { "NORMAL" }, "workers": 1,
                "request": {"devices": {"count": 1 + (id + number) % 2}}});
            let at = id - 1;
            let held = 1 + ((id + number) % 2) as usize;
            let devices: Vec<String> =
                [at / 8, at / 8 + 2].iter().take(held).map(|device| format!("GPU-{}-{device}", at % 8)).collect();
            let run = json!({"workers": [{"node": format!("node-{}", at % 8), "devices": devices}], "started_at": 1000});
            if id <= 12 {
                json!({"id": id, "submitted_at": 0, "spec": spec, "run": run})
            } else {
                json!({"id": id, "submitted_at": 0, "spec": spec})
            }
        })
        .collect();
    json!({"now": 10_000_000, "config": {"policy": if number.is_multiple_of(2) { "hai" } else { "hai-fifo" }},
        "nodes": nodes, "rights": [{"nodes": "unlimited", "devices": {"at_most": 12}}], "tasks": tasks})
}

fn one_shot() {
    let lines: Vec<String> = (0..1000).map(|number| document(number).to_string()).collect();
    let all = || {
        let answer = |line: &String| {
            let document: Document = serde_json::from_str(line).expect("a document");
            serde_json::to_string(&plan(&document).expect("it can be")).expect("plain data").len()
        };
        lines.iter().map(answer).sum::<usize>()
    };
    timed("a thousand one-shot documents, read, decided and written", 3, all);
}

fn main() {
    let divisor = std::env::args().nth(1).and_then(|word| word.parse::<u64>().ok()).unwrap_or(1).max(1);
    one_shot();
    let mut cluster = Cluster::filled(EngineConfig::default(), 10_000 / divisor);
    cluster.round();
    let waiting: Vec<TaskId> =
        cluster.engine.tasks().filter(|task| task.run.is_none()).map(|task| task.id).step_by(997).collect();
    println!("{} nodes, {} runs", 10_000 / divisor, cluster.executing.len());
    timed("a copy of the engine", 5, || cluster.engine.clone());
    previews(&cluster, waiting[waiting.len() / 2]);
    let mut asked = waiting.iter().cycle();
    timed("why a task waits", 20, || why(&cluster.engine, *asked.next().expect("some wait")));
    timed("what would help it", 5, || {
        what_would_help(&cluster.engine, *asked.next().expect("some wait"), &Limits::default())
    });
}
