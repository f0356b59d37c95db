//! A real daemon that watches the fake library's devices itself, and real agents that report to one over HTTP.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::library::{LAB, Library};

const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "hai_00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// A process of ours, what it says, and its end.
struct Process {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Process {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hai-daemon"))
            .args(args)
            .env("HAI_AGENT_TOKEN", TOKEN)
            .env_remove("HAI_SERVER")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it is executed");
        let said = Arc::new(Mutex::new(String::new()));
        let (lines, kept) = (BufReader::new(child.stderr.take().expect("piped")).lines(), said.clone());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                *kept.lock().expect("nobody panics") += &(line + "\n");
            }
        });
        Process { child, said }
    }

    fn said(&self) -> String {
        self.said.lock().expect("nobody panics").clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Daemon {
    dir: tempfile::TempDir,
    process: Process,
    url: String,
}

impl Daemon {
    fn start(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let data = dir.path().join("data");
        let text = format!("[server]\nlisten = \"127.0.0.1:0\"\n[data]\ndir = {data:?}\n{config}");
        fs::write(dir.path().join("hai.toml"), text).expect("written");
        let (process, url) = Self::run(&dir, None);
        Daemon { dir, process, url }
    }

    fn run(dir: &tempfile::TempDir, listen: Option<&str>) -> (Process, String) {
        let config = dir.path().join("hai.toml").display().to_string();
        let mut args = vec!["--config", &config];
        args.extend(listen.iter().flat_map(|listen| ["--listen", *listen]));
        let process = Process::start(&args);
        let url = until("the daemon", || {
            let said = process.said();
            let at = said.find("http://")?;
            said[at..].split([';', ' ', '\n']).next().map(str::to_owned)
        });
        (process, url)
    }

    fn kill(&mut self) {
        self.process.child.kill().expect("it is ours");
        self.process.child.wait().expect("it ends");
    }

    /// Starts it again where it was.
    fn start_again(&mut self) {
        let listen = self.url.strip_prefix("http://").expect("an address").to_owned();
        (self.process, self.url) = Self::run(&self.dir, Some(&listen));
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", fs::read_to_string(self.data().join("token")).expect("a token").trim())
    }

    fn get(&self, path: &str) -> Value {
        let call = ureq::get(format!("{}{path}", self.url)).header("Authorization", self.bearer()).call();
        call.expect("an answer").body_mut().read_json().expect("JSON")
    }

    fn submit(&self, request: &Value) -> u64 {
        let call = ureq::post(format!("{}/v1/tasks", self.url)).header("Authorization", self.bearer());
        let answer: Value = call.send_json(request).expect("taken").body_mut().read_json().expect("JSON");
        answer["id"].as_u64().expect("a number")
    }

    /// Where the task's running worker is: node and device.
    fn place(&self, task: u64) -> Option<(String, String)> {
        let nodes = self.get("/v1/nodes");
        nodes["nodes"].as_array().expect("a list").iter().find_map(|node| {
            let mut workers = node["workers"].as_array().expect("a list").iter();
            let worker = workers.find(|worker| worker["task"] == task && worker["phase"] == "running")?;
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            Some((text(&node["name"]), text(&worker["devices"][0])))
        })
    }

    fn health(&self, device: &str) -> String {
        let nodes = self.get("/v1/nodes");
        let all = nodes["nodes"].as_array().expect("a list").iter();
        let mut devices = all.flat_map(|node| node["devices"].as_array().expect("a list"));
        let found = devices.find(|found| found["id"] == device).expect("the device");
        found["health"].as_str().expect("a word").to_owned()
    }

    fn hai(&self, args: &[&str]) -> String {
        let mut hai = Command::new(env!("CARGO_BIN_EXE_hai"));
        hai.env_remove("HAI_TOKEN").env_remove("HAI_SERVER").arg("--data").arg(self.data());
        let output = hai.args(args).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Ends the work, so that nothing outlives the test.
    fn stop(&self, task: u64) {
        let path = format!("{}/v1/tasks/{task}/stop", self.url);
        ureq::post(path).header("Authorization", self.bearer()).send_empty().expect("stopped");
        until("its end", || (self.get(&format!("/v1/tasks/{task}"))["state"] == "finished").then_some(()));
    }
}

fn until<T>(what: &str, mut is: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = is() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn sleeps() -> Value {
    json!({"command": ["sleep", "1000"], "devices": 1, "grace": {"answer": "1s", "finish": "1s"}})
}

#[test]
fn a_daemon_s_own_device_that_goes_sick_is_left_and_not_given_again() {
    let library = Library::playing(LAB);
    let daemon = Daemon::start(&format!("[devices]\nlibrary = {:?}\n", library.path()));
    let task = daemon.submit(&sleeps());
    let (_, first) = until("a start", || daemon.place(task));
    let (index, other) = if first == "GPU-3070" { (0, "GPU-3060") } else { (1, "GPU-3070") };
    library.plays(&format!("{LAB}event 1 {index} 79\n"));
    until("the other device", || daemon.place(task).filter(|(_, device)| device == other));
    assert_eq!(daemon.health(&first), "sick");
    let second = daemon.submit(&sleeps());
    let table = daemon.hai(&["nodes", "--devices"]);
    let line = table.lines().find(|line| line.contains(&first)).expect("its line");
    assert!(line.contains("sick: XID 79: it has fallen off the bus") && line.contains("°C"), "{table}");
    assert!(daemon.place(second).is_none());
    let why = daemon.hai(&["why", &second.to_string()]);
    assert!(why.contains(&format!("if GPU {first} of node")) && why.contains("were well again"), "{why}");
    [task, second].into_iter().for_each(|task| daemon.stop(task));
}

#[test]
fn a_desktop_keeps_its_card_unless_it_may_share() {
    let library = Library::playing(&LAB.replace("set bus 1", "set bus 1\ngraphics 4000000 400"));
    let devices = format!("[devices]\nlibrary = {:?}\n", library.path());
    let daemon = Daemon::start(&devices);
    assert_eq!(daemon.health("GPU-3070"), "stranger");
    let task = daemon.submit(&sleeps());
    assert_eq!(until("a start", || daemon.place(task)).1, "GPU-3060");
    let node = &daemon.get("/v1/nodes")["nodes"][0];
    assert_eq!(node["devices"][0]["usage"]["processes"][0]["pid"], 4_000_000, "{node}");
    daemon.stop(task);
    let generous = Daemon::start(&format!("{devices}stranger_memory = \"1GiB\"\n"));
    assert_eq!(generous.health("GPU-3070"), "healthy");
}

const TWO_NODES: &str = "
[[node]]
name = \"lab-1\"
cpu = 8
memory = \"8GiB\"
[[node.device]]
model = \"RTX 3070\"
memory = \"8GiB\"
uuid = \"GPU-3070\"
[[node]]
name = \"lab-2\"
cpu = 8
memory = \"8GiB\"
[[node.device]]
model = \"RTX 3060\"
memory = \"12GiB\"
uuid = \"GPU-3060\"
";

fn agent(daemon: &Daemon, node: &str, library: &Library, more: &[&str]) -> Process {
    let library = library.path().display().to_string();
    let args = ["agent", "--server", &daemon.url, "--node", node, "--every", "200ms", "--nvml", &library];
    Process::start(&[&args, more].concat())
}

#[test]
fn an_agent_s_word_takes_a_device_out_also_after_the_daemon_was_away() {
    let mut daemon = Daemon::start(TWO_NODES);
    let library = Library::playing(LAB);
    let agent = agent(&daemon, "lab-1", &library, &[]);
    until("a report", || daemon.get("/v1/nodes")["nodes"][0]["reported_at"].as_str().map(str::to_owned));
    let task =
        daemon.submit(&json!({"command": ["sleep", "1000"], "devices": 1, "grace": {"answer": "1s", "finish": "1s"}, "models": ["RTX 3070"]}));
    let other = daemon.submit(&sleeps());
    until("both", || daemon.place(task).and(daemon.place(other)));
    assert_eq!(daemon.place(task).expect("a place").0, "lab-1");
    library.plays(&format!("{LAB}event 1 0 119\n"));
    until("the sickness", || (daemon.health("GPU-3070") == "sick").then_some(()));
    until("its leave", || daemon.place(task).is_none().then_some(()));
    assert_eq!(daemon.place(other).expect("it goes on").0, "lab-2");
    // Nothing that the daemon forgot has to be told by anybody but the agent, which comes back by itself.
    daemon.kill();
    until("word of its absence", || agent.said().contains("no hai daemon answers at").then_some(()));
    daemon.start_again();
    until("the next report", || daemon.get("/v1/nodes")["nodes"][0]["reported_at"].as_str().map(str::to_owned));
    until("the sickness", || (daemon.health("GPU-3070") == "sick").then_some(()));
    until("word of it", || agent.said().contains("takes reports again").then_some(()));
    [task, other].into_iter().for_each(|task| daemon.stop(task));
}

#[test]
fn an_agent_that_is_not_wanted_says_why_in_a_line_and_ends_when_told() {
    let daemon = Daemon::start(TWO_NODES);
    let library = Library::playing(LAB);
    let mut stranger = agent(&daemon, "lab-3", &library, &[]);
    let said = until("its word", || Some(stranger.said()).filter(|said| said.contains("lab-3 here")));
    assert!(said.contains("there is no node lab-3 here; `hai nodes` lists those that there are"), "{said}");
    let pid = rustix::process::Pid::from_raw(stranger.child.id().cast_signed()).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("told");
    assert!(stranger.child.wait().expect("an end").success());

    let file = daemon.dir.path().join("wrong");
    fs::write(&file, TOKEN.replace("00", "ff")).expect("written");
    let wrong = agent(&daemon, "lab-1", &library, &["--token-file", &file.display().to_string()]);
    until("its word", || wrong.said().contains("does not accept the token (from ").then_some(()));
    // A file that is put right is read again.
    fs::write(&file, format!("{TOKEN}\n")).expect("written");
    until("a report", || daemon.get("/v1/nodes")["nodes"][0]["reported_at"].as_str().map(str::to_owned));
    assert!(!wrong.said().contains(&TOKEN[8..]), "a token is nobody's business: {}", wrong.said());
}

#[test]
fn an_agent_without_the_library_says_so_and_so_does_the_node() {
    let daemon = Daemon::start(TWO_NODES);
    let missing = Library::playing(LAB);
    fs::remove_file(missing.path()).expect("removed");
    let agent = agent(&daemon, "lab-2", &missing, &[]);
    let notes = || daemon.get("/v1/nodes")["nodes"][1]["notes"][0].as_str().map(str::to_owned);
    assert!(until("its word", notes).contains("no NVIDIA library"));
    assert!(agent.said().contains("no NVIDIA library"), "{}", agent.said());
    // Nobody said anything about the device that is declared there.
    assert_eq!(daemon.health("GPU-3060"), "healthy");
}

#[test]
fn a_token_that_can_not_be_one_keeps_the_daemon_from_starting() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hai-daemon"));
    command.env("HAI_AGENT_TOKEN", "s3cr3t").args(["--listen", "127.0.0.1:0", "--data"]).arg(dir.path());
    let output = command.output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("HAI_AGENT_TOKEN is no token") && !told.contains("s3cr3t"), "{told}");
}

#[test]
fn an_agent_that_was_told_too_little_says_what_is_missing() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hai-daemon"));
    command.arg("agent").env_remove("HAI_SERVER").env_remove("HAI_AGENT_TOKEN");
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--server"), "{output:?}");
    let output = command.args(["--server", "lab-1:8420"]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("--token-file"), "{output:?}");
}
