//! What much history costs: a daemon's start, and pages of tasks over HTTP, over a Postgres of its own with `fsync` on.
//!
//! `HAI_HISTORY_FINISHED` tasks (20,000) are laid down as they would have been in the last 24 months, with two records and an
//! event each; then `HAI_HISTORY_LIVE` tasks (2,000) are submitted through a driver, of which 1,024 run. It is told what a
//! start takes, part by part, and what pages take with different filters and at different depths.

#[path = "../hai-daemon/tests/support/postgres.rs"]
mod postgres;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{Datelike as _, Months, NaiveTime, Utc};
use hai_core::backend::{Command, Digest, Driver, MemoryCluster, Snapshot, Store as _, Submitted};
use hai_core::engine::{Engine, EngineConfig};
use hai_core::model::{
    Allowance, DeviceId, DeviceSpec, Fact, GroupName, ModelName, NodeName, NodeSpec, Outcome, Priority, Program,
    RightKey, RightRow, RunId, RunPhase, RunView, Span, TaskId, TaskSpec, TaskState, TaskView, Time, UserName,
    WorkerExit, WorkerPlacement, WorkerRequest, WorkerState, WorkerView,
};
use hai_daemon::api::{self, ApiState, Defaults, LogPart, LogSource, WorkerLog};
use hai_daemon::scheduler::{self, wall_clock};
use hai_daemon::store::PostgresStore;
use postgres::Postgres;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const NODES: usize = 128;
const DEVICES: usize = 8;
const MONTHS: u32 = 24;
/// Submissions that come together.
const AT_ONCE: u64 = 1000;
/// Pages that are asked for of each kind.
const PAGES: u64 = 300;

fn of_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn group() -> GroupName {
    GroupName::new("lab").expect("letters")
}

fn node(number: usize) -> NodeSpec {
    let device = |index| {
        let id = DeviceId::new(format!("GPU-{number}-{index}")).expect("printable");
        DeviceSpec::new(id, ModelName::new("A100").expect("printable"), 40 << 10)
    };
    let name = NodeName::new(format!("node-{number}")).expect("letters");
    NodeSpec { devices: (0..DEVICES).map(device).collect(), ..NodeSpec::new(name, group(), 128_000, 512 << 10) }
}

fn spec(user: &str, name: &str) -> TaskSpec {
    let user = UserName::new(user).expect("a name");
    TaskSpec::new(name, user, group(), Priority::Normal, WorkerRequest::devices(1))
}

/// A task that ended, and its run, as text in which numbers, names and times are put by the server.
fn templates(outcome: Outcome) -> (String, String) {
    let (submitted_at, ended_at) = (Time::from_ms(1_111_111_111_111), Time::from_ms(2_222_222_222_222));
    let task = TaskView {
        id: TaskId(999_999_999_999),
        spec: Arc::new(spec("uuuuuuuu", "nnnnnnnn")),
        state: TaskState::Finished,
        outcome: Some(outcome),
        submitted_at,
        started_at: Some(submitted_at),
        ended_at: Some(ended_at),
        runs: 1,
        run: None,
        whole_life_state: 0,
        ran: Span::from_secs(600),
        level: None,
        yielded: None,
    };
    let place = WorkerPlacement {
        node: NodeName::new("node-17").expect("letters"),
        whole_node: false,
        devices: [DeviceId::new("GPU-17-3").expect("printable")].into_iter().collect(),
        part: None,
        cpu_milli: 1000,
        memory_mib: 1024,
    };
    let exit = WorkerExit::exited(0);
    let worker = WorkerView { place, state: WorkerState::Ended { at: ended_at, exit } };
    let run = RunView {
        id: RunId(999_999_999_999),
        task: task.id,
        attempt: 1,
        phase: RunPhase::Ended,
        decided_at: submitted_at,
        started_at: Some(submitted_at),
        ended_at: Some(ended_at),
        checkpointed_at: None,
        end: None,
        workers: Vec::new(),
    };
    let json = |value: serde_json::Result<String>| value.expect("plain data").replace('\'', "''");
    let runs = format!(
        "[{{\"run\":{},\"workers\":[{}]}}]",
        json(serde_json::to_string(&run)),
        json(serde_json::to_string(&worker))
    );
    (json(serde_json::to_string(&task)), runs)
}

/// Puts the numbers of task `number` into a template, in the server's words.
fn filled(template: &str) -> String {
    format!(
        "replace(replace(replace(replace(replace('{template}', '999999999999', number::text), 'uuuuuuuu', user_name), \
         'nnnnnnnn', name), '1111111111111', submitted_at::text), '2222222222222', ended_at::text)"
    )
}

/// Lays `finished` tasks down, and a snapshot from which a driver goes on after them.
async fn lay_down(postgres: &Postgres, finished: u64) {
    let store = PostgresStore::open(&postgres.url()).await.expect("the store opens");
    let now = Utc::now();
    let month = now.date_naive().with_day(1).expect("a day").and_time(NaiveTime::MIN).and_utc();
    for back in (0..MONTHS).rev() {
        let then = month - Months::new(back);
        store.history().make_ahead(Time::from(then)).await.expect("parts");
    }
    let (begin, end) = ((month - Months::new(MONTHS - 1)).timestamp_millis(), now.timestamp_millis());
    let each = (end - begin) as f64 / finished.max(1) as f64;
    let (good, runs) = templates(Outcome::Succeeded);
    let (bad, _) = templates(Outcome::Failed { reason: "exit 1".into() });
    let tasks = format!(
        "SELECT number, 'user-' || number % 97 AS user_name, \
         CASE WHEN number = {finished} / 3 THEN 'the-needle' ELSE 'train-' || number % 5003 || '-seed' || number % 7 END \
         AS name, CASE WHEN number % 10 = 0 THEN 'failed' ELSE 'succeeded' END AS outcome, \
         ({begin} + (number - 1) * {each})::bigint AS submitted_at, ({begin} + number * {each})::bigint AS ended_at \
         FROM generate_series(FROM_HERE, TO_HERE) AS number"
    );
    for from in (1..=finished).step_by(50_000) {
        let to = (from + 49_999).min(finished);
        let tasks = tasks.replace("FROM_HERE", &from.to_string()).replace("TO_HERE", &to.to_string());
        postgres
            .execute(&format!(
                "INSERT INTO ended (id, name, user_name, group_name, priority, outcome, submitted_at, ended_at, view, \
                 program, run_count, runs) SELECT number, name::bytea, user_name, 'lab', 20, outcome, submitted_at, \
                 ended_at, CASE outcome WHEN 'failed' THEN {} ELSE {} END, '{{\"command\":[\"python\",\"train.py\"]}}', \
                 1, {} FROM ({tasks}) AS task; \
                 INSERT INTO log (seq, at, kind, body) SELECT 2 * number - which, submitted_at, 'fact', \
                 repeat('x', 300) FROM ({tasks}) AS task, generate_series(0, 1) AS which; \
                 INSERT INTO events (id, at, task, user_name, body) SELECT number, ended_at, number, user_name, {} \
                 FROM ({tasks}) AS task",
                filled(&bad),
                filled(&good),
                filled(&runs),
                filled(&good),
            ))
            .await;
    }
    postgres.execute("INSERT INTO totals SELECT outcome, count(*) FROM ended GROUP BY 1").await;
    let snapshot = Snapshot { seq: 2 * finished, digest: Digest::default(), state: engine_after(finished).snapshot() };
    let state = serde_json::to_string(&snapshot.state).expect("plain data").replace('\'', "''");
    postgres
        .execute(&format!(
            "INSERT INTO snapshots (seq, digest, state, at) VALUES ({}, decode('{}', 'hex'), '{state}', {end}); \
             ANALYZE; CHECKPOINT",
            snapshot.seq, snapshot.digest
        ))
        .await;
}

/// An engine that has given out that many numbers of tasks.
fn engine_after(tasks: u64) -> Engine {
    let mut engine = Engine::new(EngineConfig::default());
    let now = wall_clock();
    let mut facts = vec![Fact::RightSet { right: RightRow::new(RightKey::default(), Allowance::UNLIMITED) }];
    if tasks > 0 {
        facts.push(Fact::Submitted { task: TaskId(tasks), spec: Arc::new(spec("user-1", "last")) });
        facts.push(Fact::Cancelled { task: TaskId(tasks) });
    }
    for fact in facts {
        engine.observe(now, &fact).expect("a good fact");
    }
    drop(engine.schedule(now));
    drop(engine.drain_changes());
    engine
}

/// Submits the live tasks as people would, and leaves as a crash would.
async fn submit(postgres: &Postgres, cluster: &MemoryCluster, live: u64) {
    let store = PostgresStore::open(&postgres.url()).await.expect("the store opens");
    let driver = Driver::open(EngineConfig::default(), store, cluster.clone(), wall_clock()).await;
    let mut driver = driver.expect("a driver");
    for from in (0..live).step_by(AT_ONCE as usize) {
        let one = |number| {
            let spec = spec(&format!("user-{}", number % 97), &format!("live-{number}"));
            let program = Program { command: vec!["python".into(), "train.py".into()], ..Program::default() };
            Command::Submit(Box::new(Submitted { spec, program }))
        };
        let commands = (from..(from + AT_ONCE).min(live)).map(one).collect();
        let replies = driver.step(wall_clock(), commands).await.expect("a step");
        assert!(replies.iter().all(Result::is_ok));
    }
    // What was started says so.
    while let Ok(command) = tokio::time::timeout(Duration::from_millis(50), driver.next()).await {
        let _ = driver.step(wall_clock(), vec![command]).await.expect("a step");
    }
}

#[derive(Debug)]
struct NoLogs;

impl LogSource for NoLogs {
    fn read(&self, _: WorkerLog, _: u64, _: usize) -> std::io::Result<LogPart> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

fn seconds(since: Instant) -> String {
    format!("{:.3} s", since.elapsed().as_secs_f64())
}

async fn start(postgres: &Postgres, cluster: MemoryCluster) -> Driver<PostgresStore, MemoryCluster> {
    // What opening the store alone takes is a part of what opening the driver takes.
    let mut store = PostgresStore::open(&postgres.url()).await.expect("the store opens");
    let since = Instant::now();
    let saved = store.open().await.expect("the lease");
    println!("start, of it reading the snapshot and {} records: {}", saved.records.len(), seconds(since));
    let snapshot = saved.snapshot.expect("a snapshot");
    let since = Instant::now();
    drop(Engine::restore(EngineConfig::default(), snapshot.state));
    println!("start, of it restoring the engine: {}", seconds(since));
    drop(store);

    let begun = Instant::now();
    let store = PostgresStore::open(&postgres.url()).await.expect("the store opens");
    println!("start: connected after {}", seconds(begun));
    let driver = Driver::open(EngineConfig::default(), store, cluster, wall_clock()).await;
    let mut driver = driver.expect("a driver");
    println!("start: driver opened after {}", seconds(begun));
    drop(driver.step(wall_clock(), Vec::new()).await.expect("a step"));
    println!("start: first round after {}; bound 3 s", seconds(begun));
    driver
}

/// A number between 1 and `most`, always the same ones.
fn random(state: &mut u64, most: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    1 + (*state >> 33) % most.max(1)
}

fn pages(base: &str, token: &str, finished: u64) {
    let agent = ureq::Agent::new_with_defaults();
    println!("{:<46} {:>9} {:>9} {:>9}", "GET /v1/tasks?limit=100&…", "p50 ms", "p99 ms", "max ms");
    let mut seed = 7;
    for filter in [
        "",
        "user=user-5",
        "state=unfinished",
        "state=running",
        "state=suspended",
        "state=finished",
        "outcome=failed",
        "outcome=stopped",
        "user=user-5&outcome=failed",
        "user=nobody",
        "name=train",
        "name=-4711-seed",
        "name=needle",
        "name=nothing-is-called-so",
        "user=user-5&name=-471",
    ] {
        for deep in [false, true] {
            let mut took: Vec<Duration> = (0..PAGES)
                .map(|_| {
                    let before = if deep { format!("&before={}", random(&mut seed, finished)) } else { String::new() };
                    let request = agent.get(format!("{base}/v1/tasks?limit=100&{filter}{before}"));
                    let request = request.header("Authorization", format!("Bearer {token}"));
                    let since = Instant::now();
                    let body = request.call().expect("an answer").body_mut().read_to_string().expect("text");
                    let took = since.elapsed();
                    assert!(body.starts_with("{\"tasks\":["), "{body}");
                    took
                })
                .collect();
            took.sort_unstable();
            let ms = |at: usize| took[at.min(took.len() - 1)].as_secs_f64() * 1000.0;
            let what = format!("{filter}{}", if deep { " at any depth" } else { "" });
            println!(
                "{what:<46} {:>9.2} {:>9.2} {:>9.2}",
                ms(took.len() / 2),
                ms(took.len() * 99 / 100),
                ms(took.len())
            );
        }
    }
    let request = |path: &str| agent.get(format!("{base}{path}")).header("Authorization", format!("Bearer {token}"));
    for path in ["/metrics", "/v1/tasks/1"] {
        let since = Instant::now();
        for _ in 0..PAGES {
            request(path).call().expect("an answer").body_mut().read_to_string().expect("text");
        }
        println!("{path:<46} {:>9.2} on average", since.elapsed().as_secs_f64() * 1000.0 / PAGES as f64);
    }
}

fn main() {
    let (finished, live) = (of_environment("HAI_HISTORY_FINISHED", 20_000), of_environment("HAI_HISTORY_LIVE", 2_000));
    let Some(postgres) = Postgres::durable() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let (base, token) = runtime.block_on(async {
        postgres.prepare().await;
        let since = Instant::now();
        lay_down(&postgres, finished).await;
        println!("{finished} finished tasks were laid down in {}", seconds(since));
        let (since, cluster) = (Instant::now(), MemoryCluster::new((0..NODES).map(node)));
        submit(&postgres, &cluster, live).await;
        println!("{live} live tasks were submitted in {}", seconds(since));
        postgres.execute("ANALYZE; CHECKPOINT").await;

        let driver = start(&postgres, cluster).await;
        let store = PostgresStore::open(&postgres.url()).await.expect("the store opens");
        let accounts = store.accounts();
        let root = UserName::new("root").expect("a name");
        let token = accounts.ensure_operator(&root).await.expect("stored").expect("a new token");
        let (scheduler, inbox) = scheduler::channel();
        tokio::spawn(scheduler::run(driver, inbox, CancellationToken::new()));
        let state = ApiState::new(scheduler, store.reader(), accounts, Arc::new(NoLogs), Defaults::of_group(group()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(api::serve(listener, state, CancellationToken::new()));
        // What forecasts are learned from is read first.
        tokio::time::sleep(Duration::from_secs(3)).await;
        (base, token)
    });
    pages(&base, token.as_str(), finished);
}
