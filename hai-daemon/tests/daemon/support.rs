//! A real daemon on declared devices, which can be killed and started again, and leaves no process behind.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test gives up; generous, since machines may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Daemon {
    dir: TempDir,
    /// The URL of its database, if that is on a server.
    database: Option<String>,
    config: PathBuf,
    /// What its environment has besides.
    environment: Vec<(&'static str, PathBuf)>,
    child: Option<Child>,
    /// What it said since it listened.
    said: Arc<Mutex<String>>,
    pub(crate) url: String,
    pub(crate) token: String,
}

/// Waits until `ready` gives something.
pub(crate) fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Daemon {
    /// A daemon with one node of `devices` devices, and whatever `more` adds to its configuration.
    pub(crate) fn start(devices: u32, more: &str) -> Self {
        Self::amid(Vec::new(), None, devices, more)
    }

    /// The same, with its database on a server.
    pub(crate) fn on(database: String, devices: u32) -> Self {
        Self::amid(Vec::new(), Some(database), devices, "")
    }

    /// One that does not run yet, with nothing of its own but its configuration.
    pub(crate) fn without(database: Option<String>, devices: u32) -> Self {
        Self::prepared(Vec::new(), database, devices, "")
    }

    /// With variables in its environment.
    pub(crate) fn amid(
        environment: Vec<(&'static str, PathBuf)>,
        database: Option<String>,
        devices: u32,
        more: &str,
    ) -> Self {
        let mut daemon = Self::prepared(environment, database, devices, more);
        daemon.restart();
        daemon
    }

    fn prepared(environment: Vec<(&'static str, PathBuf)>, database: Option<String>, devices: u32, more: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = dir.path().join("hai.toml");
        let text = format!(
            "{more}\n[server]\nlisten = \"127.0.0.1:0\"\n[data]\ndir = {:?}\n[[node]]\nname = \"n0\"\ncpu = 64\n\
             memory = \"64GiB\"\n[[node.device]]\nmodel = \"RTX 3070\"\nmemory = \"8GiB\"\ncount = {devices}\n",
            dir.path().join("data")
        );
        fs::write(&config, text).expect("the configuration is written");
        let (url, token, said) = (String::new(), String::new(), Arc::default());
        Daemon { dir, database, config, environment, child: None, said, url, token }
    }

    /// From its next start on its database is there; `None` for the file.
    pub(crate) fn moved_to(&mut self, database: Option<String>) {
        self.database = database;
    }

    /// Another daemon of the same configuration: the same directory, the same database.
    pub(crate) fn beside(&self) -> Beside {
        let (child, url) = self.spawn();
        Beside { child: Some(child), url }
    }

    /// Goes on with another daemon, as its users would; the first is killed.
    pub(crate) fn go_on_with(&mut self, mut other: Beside) {
        self.kill();
        self.child = other.child.take();
        self.url = std::mem::take(&mut other.url);
    }

    /// Starts the daemon again, on any free port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let (child, url) = self.spawn();
        self.child = Some(child);
        self.url = url;
        self.token = fs::read_to_string(self.data().join("token")).expect("the token").trim().to_owned();
    }

    /// A process, once it says where it listens.
    fn spawn(&self) -> (Child, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hai-daemon"))
            .arg("--config")
            .arg(&self.config)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(self.database.as_ref().map(|url| ("HAI_DATA_DATABASE", url)))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the daemon is executed");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let mut said = String::new();
        let url = loop {
            let Some(Ok(line)) = lines.next() else { panic!("the daemon did not start: {said}") };
            if let Some(at) = line.find("http://") {
                break line[at..].split([';', ' ']).next().expect("a first part").to_owned();
            }
            said.push_str(&line);
        };
        // What it says later must not fill the pipe.
        let heard = Arc::clone(&self.said);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                eprintln!("{line}");
                let mut heard = heard.lock().expect("nobody panics meanwhile");
                heard.push_str(&line);
                heard.push('\n');
            }
        });
        (child, url)
    }

    /// What it wrote on standard error since it listened.
    pub(crate) fn said(&self) -> String {
        self.said.lock().expect("nobody panics meanwhile").clone()
    }

    /// Ends the daemon as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.as_mut().expect("it was started").try_wait().expect("it is ours").is_some()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A directory that outlives every run.
    pub(crate) fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// The `hai` command, as the operator of this daemon.
    pub(crate) fn hai(&self) -> Command {
        let mut hai = Command::new(env!("CARGO_BIN_EXE_hai"));
        hai.env_remove("HAI_TOKEN").env_remove("HAI_SERVER").arg("--data").arg(self.data());
        hai
    }

    /// What `hai` prints on standard output; it must succeed.
    pub(crate) fn says(&self, args: &[&str]) -> String {
        let output = self.hai().args(args).output().expect("hai is executed");
        assert!(output.status.success(), "hai {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    pub(crate) fn try_get(&self, path: &str) -> Option<Value> {
        let request =
            ureq::get(format!("{}{path}", self.url)).header("Authorization", format!("Bearer {}", self.token));
        request.call().ok()?.body_mut().read_json().ok()
    }

    /// The status of an answer, the header `Retry-After` and the text, also of one that is an error.
    pub(crate) fn answer(&self, path: &str, body: Option<&Value>) -> (u16, Option<String>, String) {
        self.answer_of(&self.url, path, body).expect("an answer")
    }

    /// The same of a daemon that listens there; `None` if it does not.
    pub(crate) fn answer_of(
        &self,
        url: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Option<(u16, Option<String>, String)> {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let url = format!("{url}{path}");
        let bearer = format!("Bearer {}", self.token);
        let answer = match body {
            Some(body) => agent.post(url).header("Authorization", bearer).send_json(body),
            None => agent.get(url).header("Authorization", bearer).call(),
        };
        let mut answer = answer.ok()?;
        let header = answer.headers().get("Retry-After").map(|value| value.to_str().expect("text").to_owned());
        Some((answer.status().as_u16(), header, answer.body_mut().read_to_string().ok()?))
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        self.try_get(path).unwrap_or_else(|| panic!("GET {path} fails"))
    }

    /// Submits; the task's number, or `None` if no answer came.
    pub(crate) fn try_submit(&self, request: &Value) -> Option<u64> {
        let call =
            ureq::post(format!("{}/v1/tasks", self.url)).header("Authorization", format!("Bearer {}", self.token));
        let answer: Value = call.send_json(request).ok()?.body_mut().read_json().ok()?;
        answer["id"].as_u64()
    }

    pub(crate) fn submit(&self, request: &Value) -> u64 {
        self.try_submit(request).unwrap_or_else(|| panic!("{request} is not taken"))
    }

    pub(crate) fn task(&self, id: u64) -> Value {
        self.get(&format!("/v1/tasks/{id}"))
    }

    pub(crate) fn state(&self, id: u64) -> String {
        self.task(id)["state"].as_str().expect("a state").to_owned()
    }

    /// All output of the last run's first worker.
    pub(crate) fn output(&self, id: u64) -> String {
        self.says(&["logs", &id.to_string()])
    }
}

/// One more daemon; ends with its test.
pub(crate) struct Beside {
    child: Option<Child>,
    pub(crate) url: String,
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        let Ok(runs) = fs::read_dir(self.data().join("runs")) else { return };
        for rank in runs.flatten().filter_map(|run| fs::read_dir(run.path()).ok()).flatten().flatten() {
            let pid = || -> Option<i32> {
                let started: Value = serde_json::from_slice(&fs::read(rank.path().join("started.json")).ok()?).ok()?;
                i32::try_from(started["worker"]["pid"].as_i64()?).ok()
            };
            if let Some(pid) = pid().and_then(rustix::process::Pid::from_raw) {
                // Gone already is fine; its shim ends with it.
                let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            }
        }
    }
}
