//! What the store takes: acknowledged submissions over HTTP from many clients, and a round that starts a thousand tasks; beside
//! what `pgbench` gets from the same server, on the same machine, in the same run.
//!
//! `cargo bench -p hai-daemon --bench store [-- SECONDS [CLIENTS]]`. With `HAI_BENCH_HOLD=1` it fails where an aim is missed.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use hai_core::backend::{Batch, Command as Told, Committed, Driver, MemoryCluster, Saved, Store, Submitted};
use hai_core::engine::EngineConfig;
use hai_core::model::{
    Allowance, DeviceId, DeviceSpec, Fact, GroupName, ModelName, NodeName, NodeSpec, Priority, Program, RightKey,
    RightRow, TaskId, TaskSpec, Time, UserName, WorkerExit, WorkerFate, WorkerRequest,
};
use hai_daemon::store::{PostgresStore, StoreError};
use sqlx::{Connection as _, PgConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[path = "../hai-daemon/tests/support/postgres.rs"]
mod postgres;

use postgres::Postgres;

/// Tasks that one round starts.
const STARTS: usize = 1000;
/// Rounds that are measured.
const ROUNDS: usize = 9;
/// What is aimed at: as many times what pgbench gets, a second, and for a round.
const AIM_RATIO: f64 = 5.0;
const AIM_RATE: f64 = 2000.0;
const AIM_ROUND: Duration = Duration::from_millis(50);

struct Daemon {
    child: Child,
    address: String,
    token: String,
    _dir: tempfile::TempDir,
}

impl Daemon {
    fn start(database: Option<String>) -> Self {
        // On the disk that the build is on: a temporary directory may be in memory, where syncing costs nothing.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let config = dir.path().join("hai.toml");
        // What is submitted needs more devices than there are: nothing but submissions is measured.
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[data]\ndir = {:?}\n[[node]]\nname = \"n0\"\ncpu = 8\n\
             memory = \"8GiB\"\n[[node.device]]\nmodel = \"RTX 3070\"\nmemory = \"8GiB\"\n",
            dir.path().join("data")
        );
        fs::write(&config, text).expect("the configuration is written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_hai-daemon"))
            .arg("--config")
            .arg(&config)
            .envs(database.map(|url| ("HAI_DATA_DATABASE", url)))
            .stderr(Stdio::piped())
            .spawn()
            .expect("the daemon is executed");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("http://")?.1.split([';', ' ', '/']).next()?.to_owned()))
            .expect("the daemon tells its address");
        std::thread::spawn(move || lines.for_each(drop));
        let token = fs::read_to_string(dir.path().join("data/token")).expect("the token").trim().to_owned();
        Daemon { child, address, token, _dir: dir }
    }

    /// Processor time that it has used so far, in all its threads.
    fn worked(&self) -> Duration {
        worked(self.child.id())
    }
}

/// Processor time of a process, in clock ticks of a hundredth of a second as Linux counts for everybody.
fn worked(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may be gone; nothing is left to do then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One client: asks, waits for the whole answer, and asks again over the same connection.
struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Client {
    async fn connect(address: &str, token: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the daemon listens");
        stream.set_nodelay(true).expect("TCP");
        let body = r#"{"name":"bench","command":["/bin/true","--epochs","90","--data","/data/imagenet"],"devices":2}"#;
        let request = format!(
            "POST /v1/tasks HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Client { stream, request: request.into_bytes(), answer: Vec::with_capacity(4096) }
    }

    /// Submits one task; what the server answers must be that it is stored.
    async fn submit(&mut self) {
        self.stream.write_all(&self.request).await.expect("the daemon listens");
        self.answer.clear();
        let whole = loop {
            let read = self.stream.read_buf(&mut self.answer).await.expect("an answer");
            assert!(read > 0, "the daemon hung up");
            if let Some(whole) = length(&self.answer)
                && self.answer.len() >= whole
            {
                break whole;
            }
        };
        assert!(self.answer.len() == whole, "one answer for one question");
        assert!(self.answer.starts_with(b"HTTP/1.1 201 "), "{}", String::from_utf8_lossy(&self.answer));
    }
}

/// How long an answer is with its head, once that is there.
fn length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).expect("a head is text").to_ascii_lowercase();
    let (_, rest) = text.split_once("content-length:").expect("answers say how long they are");
    let body: usize = rest.lines().next().expect("a line").trim().parse().expect("a number");
    Some(head + body)
}

/// What many clients got.
struct Got {
    rate: f64,
    median: Duration,
    p99: Duration,
    /// Processor time for each submission: of the daemon, and of the clients.
    daemon: Duration,
    clients: Duration,
}

fn submit(daemon: &Daemon, clients: usize, time: Duration) -> Got {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut asking = Vec::new();
        for _ in 0..clients {
            let mut client = Client::connect(&daemon.address, &daemon.token).await;
            // The first brings connections and statements that are kept from then on.
            client.submit().await;
            asking.push(client);
        }
        let before = (daemon.worked(), worked(std::process::id()));
        let since = Instant::now();
        let asking: Vec<_> = asking
            .into_iter()
            .map(|mut client| {
                tokio::spawn(async move {
                    let mut took = Vec::new();
                    while since.elapsed() < time {
                        let asked = Instant::now();
                        client.submit().await;
                        took.push(asked.elapsed());
                    }
                    took
                })
            })
            .collect();
        let mut took = Vec::new();
        for one in asking {
            took.extend(one.await.expect("no panic"));
        }
        let (seconds, count) = (since.elapsed().as_secs_f64(), u32::try_from(took.len()).expect("fewer"));
        took.sort();
        Got {
            rate: f64::from(count) / seconds,
            median: took[took.len() / 2],
            p99: took[took.len() * 99 / 100],
            daemon: (daemon.worked() - before.0) / count,
            clients: (worked(std::process::id()) - before.1) / count,
        }
    })
}

/// Simple updates a second, of one client.
fn pgbench(postgres: &Postgres, seconds: u64) -> f64 {
    let output = postgres.tool("pgbench").args(["-N", "-n", "-c", "1", "-T"]).arg(seconds.to_string()).output();
    let output = output.expect("pgbench is executed");
    assert!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    rate.unwrap_or_else(|| panic!("pgbench says no rate: {text}"))
}

/// Notes how long a batch took that starts a thousand runs, the program and the transaction included.
struct Timed<'a> {
    store: PostgresStore,
    took: &'a mut Vec<(Duration, bool)>,
}

impl Store for Timed<'_> {
    type Error = StoreError;

    async fn open(&mut self) -> Result<Saved, StoreError> {
        Store::open(&mut self.store).await
    }

    async fn commit(&mut self, batch: &Batch) -> Result<Committed, StoreError> {
        let since = Instant::now();
        let committed = self.store.commit(batch).await?;
        let starts = batch.runs.iter().filter(|run| run.ended_at.is_none() && run.started_at.is_none());
        if starts.count() >= STARTS && batch.records.len() < STARTS {
            self.took.push((since.elapsed(), batch.snapshot.is_some()));
        }
        Ok(committed)
    }

    async fn program(&mut self, task: TaskId) -> Result<Option<Program>, StoreError> {
        Store::program(&mut self.store, task).await
    }
}

fn node(number: usize, devices: usize) -> NodeSpec {
    let device = |index| {
        let id = DeviceId::new(format!("GPU-{number}-{index}")).expect("a device id");
        DeviceSpec::new(id, ModelName::new("A100").expect("a model"), 81_920)
    };
    let (name, group) = (NodeName::new(format!("n{number}")), GroupName::new("lab"));
    NodeSpec {
        devices: (0..devices).map(device).collect(),
        ..NodeSpec::new(name.expect("a node name"), group.expect("a group"), 128_000, 1 << 20)
    }
}

fn right(user: &UserName, devices: u32) -> Told {
    let key = RightKey { user: Some(user.clone()), ..RightKey::default() };
    Told::Tell(Fact::RightSet { right: RightRow::new(key, Allowance::devices(devices)) })
}

/// How long it takes to store a round in which a thousand tasks start, since their owner got a right; with or without a snapshot.
async fn rounds(url: &str) -> Vec<(Duration, bool)> {
    let mut took = Vec::new();
    let store = Timed { store: PostgresStore::open(url).await.expect("a store"), took: &mut took };
    let nodes = (0..STARTS / 8).map(|number| node(number, 8));
    let cluster = MemoryCluster::new(nodes);
    let ann = UserName::new("ann").expect("a name");
    let mut seconds = (1..).map(|second| Time::from_ms(second * 1000));
    let mut now = || seconds.next().expect("time goes on");
    let mut driver = Driver::open(EngineConfig::default(), store, cluster.clone(), now()).await.expect("a driver");
    for _ in 0..ROUNDS {
        let submits = (0..STARTS).map(|number| {
            let group = GroupName::new("lab").expect("a group");
            let request = WorkerRequest::devices(1);
            let spec = TaskSpec::new(format!("task {number}"), ann.clone(), group, Priority::Normal, request);
            let program = Program { command: vec!["/bin/true".into(), number.to_string()], ..Program::default() };
            Told::Submit(Box::new(Submitted { spec, program }))
        });
        let commands = std::iter::once(right(&ann, 0)).chain(submits).collect();
        accepted(driver.step(now(), commands).await.expect("stored"));
        accepted(driver.step(now(), vec![right(&ann, u32::MAX)]).await.expect("stored"));
        let runs = cluster.executing();
        assert_eq!(runs.len(), STARTS, "all of them start");
        for (order, _) in runs {
            cluster.end(order.run, 0, WorkerExit::of(WorkerFate::Exited { code: 0 }));
        }
        let mut told = Vec::new();
        for _ in 0..2 * STARTS {
            told.push(driver.next().await);
        }
        accepted(driver.step(now(), told).await.expect("stored"));
    }
    drop(driver);
    took
}

fn accepted(replies: Vec<hai_core::backend::Reply>) {
    for reply in replies {
        reply.expect("accepted");
    }
}

/// A thousand rows as the store writes them for events: with one statement over arrays, and with COPY; medians.
async fn unnest_or_copy(url: &str) -> (Duration, Duration) {
    let mut connection = PgConnection::connect(url).await.expect("Postgres");
    let body = "x".repeat(700);
    let (mut arrays, mut copies) = (Vec::new(), Vec::new());
    for _ in 0..2 * ROUNDS {
        let mut transaction = connection.begin().await.expect("begun");
        let ids: Vec<i64> = (1_000_000_000..).take(STARTS).collect();
        let since = Instant::now();
        sqlx::query(
            "INSERT INTO events (id, at, task, user_name, body) \
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[])",
        )
        .bind(&ids)
        .bind(&ids)
        .bind(&ids)
        .bind(vec!["ann"; STARTS])
        .bind(vec![body.as_str(); STARTS])
        .execute(&mut *transaction)
        .await
        .expect("inserted");
        arrays.push(since.elapsed());
        transaction.rollback().await.expect("undone");

        let mut transaction = connection.begin().await.expect("begun");
        let since = Instant::now();
        let rows: String = ids.iter().map(|id| format!("{id}\t{id}\t{id}\tann\t{body}\n")).collect();
        let mut copy =
            transaction.copy_in_raw("COPY events (id, at, task, user_name, body) FROM STDIN").await.expect("begun");
        copy.send(rows.as_bytes()).await.expect("sent");
        copy.finish().await.expect("copied");
        copies.push(since.elapsed());
        transaction.rollback().await.expect("undone");
    }
    (median(&mut arrays), median(&mut copies))
}

fn median(took: &mut [Duration]) -> Duration {
    took.sort();
    took[took.len() / 2]
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn main() -> ExitCode {
    // `cargo bench` and `cargo test` add options of their own.
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<u64>().ok());
    let (seconds, clients) = (numbers.next().unwrap_or(5), numbers.next().unwrap_or(64));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let Some(postgres) = Postgres::durable().filter(Postgres::is_ours) else {
        eprintln!("SKIPPED: this bench needs a server of its own");
        return ExitCode::SUCCESS;
    };
    runtime.block_on(postgres.prepare());
    let made = postgres.tool("pgbench").args(["-i", "-q"]).output().expect("pgbench is executed");
    assert!(made.status.success(), "pgbench -i: {}", String::from_utf8_lossy(&made.stderr));
    let time = Duration::from_secs(seconds);

    let before = pgbench(&postgres, seconds);
    println!("pgbench -N, one client: {before:.0} a second");
    let daemon = Daemon::start(Some(postgres.url()));
    let got = submit(&daemon, usize::try_from(clients).expect("a number"), time);
    drop(daemon);
    let after = pgbench(&postgres, seconds);
    println!("the same once more, after the next line: {after:.0} a second");
    let simple = (before + after) / 2.0;
    tell("Postgres", clients, &got, simple);
    let daemon = Daemon::start(None);
    tell("SQLite", clients, &submit(&daemon, usize::try_from(clients).expect("a number"), time), simple);
    drop(daemon);

    runtime.block_on(postgres.empty());
    let took = runtime.block_on(rounds(&postgres.url()));
    let mut times: Vec<Duration> = took.iter().map(|(took, _)| *took).collect();
    let with = took.iter().filter(|(_, snapshot)| *snapshot).count();
    let round = median(&mut times);
    println!(
        "a round that starts {STARTS} tasks is stored: median {}, least {}, most {} of {} ({with} with a snapshot)",
        ms(round),
        ms(times[0]),
        ms(times[times.len() - 1]),
        times.len()
    );
    let (arrays, copies) = runtime.block_on(unnest_or_copy(&postgres.url()));
    println!("{STARTS} events: {} with arrays, {} with COPY", ms(arrays), ms(copies));

    let held = got.rate >= AIM_RATE && got.rate >= AIM_RATIO * simple && round < AIM_ROUND;
    println!(
        "aims ({AIM_RATIO} times pgbench and {AIM_RATE} a second; {} for a round): {}",
        ms(AIM_ROUND),
        if held { "held" } else { "missed" }
    );
    if !held && std::env::var_os("HAI_BENCH_HOLD").is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn tell(store: &str, clients: u64, got: &Got, simple: f64) {
    println!(
        "{store}: {:.0} acknowledged submissions a second of {clients} clients, {:.1} times pgbench; median {}, p99 {}; \
         processor time each: daemon {} µs, clients {} µs",
        got.rate,
        got.rate / simple,
        ms(got.median),
        ms(got.p99),
        got.daemon.as_micros(),
        got.clients.as_micros(),
    );
}
