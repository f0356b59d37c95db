//! From a submission over HTTP to the first instruction of the worker: the daemon as it is shipped, with its store on
//! disk and every commit synced.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};

struct Daemon {
    child: Child,
    url: String,
    token: String,
    dir: tempfile::TempDir,
}

impl Daemon {
    fn start() -> Self {
        // On the disk that the build is on: a temporary directory may be in memory, where syncing costs nothing.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let config = dir.path().join("hai.toml");
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[data]\ndir = {:?}\n[[node]]\nname = \"n0\"\ncpu = 8\n\
             memory = \"8GiB\"\n[[node.device]]\nmodel = \"RTX 3070\"\nmemory = \"8GiB\"\n",
            dir.path().join("data")
        );
        fs::write(&config, text).expect("the configuration is written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_hai-daemon"))
            .arg("--config")
            .arg(&config)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the daemon is executed");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let url = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.find("http://").map(|at| line[at..].to_owned()))
            .expect("the daemon tells its address");
        std::thread::spawn(move || lines.for_each(drop));
        let token = fs::read_to_string(dir.path().join("data/token")).expect("the token").trim().to_owned();
        Daemon { child, url, token, dir }
    }

    fn call(&self, request: ureq::RequestBuilder<ureq::typestate::WithBody>, body: &Value) -> Value {
        let request = request.header("Authorization", format!("Bearer {}", self.token));
        request.send_json(body).expect("it is taken").body_mut().read_json().expect("JSON")
    }

    fn get(&self, agent: &ureq::Agent, path: &str) -> Value {
        let request = agent.get(format!("{}{path}", self.url));
        let request = request.header("Authorization", format!("Bearer {}", self.token));
        request.call().expect("an answer").body_mut().read_json().expect("JSON")
    }

    /// One task on the idle machine: the time from sending the submission to a byte from the worker.
    fn submit_to_start(&self, agent: &ureq::Agent) -> Duration {
        let fifo = self.dir.path().join("fifo");
        let body = json!({"command": ["/bin/sh", "-c", "echo > \"$0\"", fifo]});
        let since = Instant::now();
        let task = self.call(agent.post(format!("{}/v1/tasks", self.url)), &body);
        // Opening waits until the worker opens the other end.
        let mut byte = [0];
        fs::File::open(&fifo).and_then(|mut fifo| fifo.read_exact(&mut byte)).expect("the worker writes");
        let took = since.elapsed();
        while self.get(agent, &format!("/v1/tasks/{}", task["id"]))["state"] != "finished" {
            std::thread::sleep(Duration::from_millis(2));
        }
        took
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may be gone; nothing is left to do then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn submit_to_start(criterion: &mut Criterion) {
    let daemon = Daemon::start();
    let fifo = daemon.dir.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo is there");
    assert!(made.success(), "a fifo can be made");
    let agent = ureq::Agent::new_with_defaults();
    criterion.bench_function("submit_to_start", |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| daemon.submit_to_start(&agent)).sum());
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50).measurement_time(Duration::from_secs(10));
    targets = submit_to_start
}
criterion_main!(benches);
