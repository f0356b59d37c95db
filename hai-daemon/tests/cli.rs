//! The `hai` command as people use it: the real program, most of the time against the real daemon.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Nothing here takes nearly as long; what does has hung.
const DEADLINE: Duration = Duration::from_secs(60);

/// A program in surroundings of its own: nothing of the person who runs the tests reaches it.
fn program(path: &str, home: &Path) -> Command {
    let mut command = Command::new(path);
    command
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HAI_DATA_DIR", home.join("data"));
    command.current_dir(home).stdin(Stdio::null());
    command
}

fn hai(home: &Path, args: &[&str]) -> Output {
    program(env!("CARGO_BIN_EXE_hai"), home).args(args).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Standard output of a command that must succeed.
fn good(output: Output) -> String {
    assert!(output.status.success(), "{:?}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Exit status and standard error of a command that must not succeed.
fn bad(output: Output) -> (i32, String) {
    assert!(!output.status.success(), "it succeeded: {}", text(&output.stdout));
    (output.status.code().expect("it exits"), text(&output.stderr))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Asks until there is an answer.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < DEADLINE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

// === Without a daemon ===

#[test]
fn without_a_server_it_says_how_to_get_one() {
    let home = tempfile::tempdir().expect("a directory");
    assert_eq!(
        bad(hai(home.path(), &["ls"])),
        (
            1,
            "error: no server is known; start one on this machine with `hai-daemon`, or name one with --server, \
             HAI_SERVER or `hai init`\n"
                .to_owned()
        )
    );
    let (code, error) = bad(hai(home.path(), &["ls", "--server", "http://127.0.0.1:1"]));
    assert_eq!(code, 1);
    assert!(error.starts_with("error: no token for http://127.0.0.1:1 is known"), "{error}");
    let (code, error) = bad(hai(home.path(), &["ls", "--server", "127.0.0.1:1", "--token", "x"]));
    assert_eq!(code, 1);
    assert!(error.starts_with("error: no hai daemon answers at http://127.0.0.1:1 (from --server): "), "{error}");
    assert!(error.ends_with("; start it with `hai-daemon`, or name another with --server\n"), "{error}");
    let (code, error) = bad(hai(home.path(), &["ls", "--server", "ftp://lab", "--token", "x"]));
    assert_eq!(
        (code, error.as_str()),
        (2, "error: `ftp://lab` is not a server's address; write e.g. http://lab-1:8420\n")
    );
    let (code, error) = bad(hai(home.path(), &["--data", "/no/such/dir", "ls"]));
    assert_eq!(code, 2);
    assert!(error.contains("there is no daemon's address in /no/such/dir"), "{error}");
}

/// A server that gives every connection the same answer.
fn stranger(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            let mut head = BufReader::new(connection.try_clone().expect("it can be cloned")).lines();
            while head.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            // The other side may have gone.
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}")
}

#[test]
fn a_stranger_is_not_taken_for_a_daemon() {
    let home = tempfile::tempdir().expect("a directory");
    for (answer, part) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "expected value at line 1 column 1"),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "it answers with status 404 to /v1/tasks"),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://elsewhere/\r\ncontent-length: 0\r\n\r\n",
            "it answers with status 302",
        ),
        ("SSH-2.0-server\r\n\r\n", ""),
    ] {
        let server = stranger(answer);
        let (code, error) = bad(hai(home.path(), &["ls", "--server", &server, "--token", "x"]));
        let begin = format!("error: what answers at {server} (from --server) is not a hai daemon of this version: ");
        assert!(code == 1 && error.starts_with(&begin) && error.contains(part), "{answer}: {code} {error}");
    }
}

#[test]
fn help_teaches_and_wrong_usage_exits_with_2() {
    let home = tempfile::tempdir().expect("a directory");
    let help = good(hai(home.path(), &["--help"]));
    for part in ["hai submit -- python3 train.py", "Exit status", "HAI_TOKEN", "hai why 7"] {
        assert!(help.contains(part), "{part} is not in {help}");
    }
    for command in [
        "submit",
        "ls",
        "show",
        "logs",
        "stop",
        "suspend",
        "resume",
        "priority",
        "why",
        "preview",
        "plan",
        "when",
        "nodes",
        "rights",
        "teams",
        "users",
        "init",
        "completions",
        "man",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not in {help}");
        good(hai(home.path(), &[command, "--help"]));
    }
    for args in
        [&["sumbit"][..], &[], &["submit"], &["show", "x"], &["priority", "1", "URGENT"], &["ls", "--limit", "0"]]
    {
        assert_eq!(bad(hai(home.path(), args)).0, 2, "{args:?}");
    }
    let (_, error) = bad(hai(home.path(), &["sumbit"]));
    assert!(error.contains("submit"), "{error}");
}

#[test]
fn completions_and_man_pages_come_from_the_command_line() {
    let home = tempfile::tempdir().expect("a directory");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = good(hai(home.path(), &["completions", shell]));
        assert!(script.contains("suspend") && script.contains("device-memory"), "{shell}: {script}");
    }
    let pages = home.path().join("new/man1");
    good(hai(home.path(), &["man", pages.to_str().expect("it is text")]));
    let page = |name: &str| fs::read_to_string(pages.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(page("hai.1").contains("hai\\-submit(1)"));
    assert!(page("hai-submit.1").contains("distinct"));
    page("hai-rights-set.1");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = tempfile::tempdir().expect("a directory");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = program(env!("CARGO_BIN_EXE_hai"), home.path());
    let output = command.args(["completions", "bash"]).stdout(writer).output().expect("it starts");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
}

// === With a daemon ===

/// A laboratory of two nodes with two devices each, and its daemon.
struct Lab {
    home: tempfile::TempDir,
    daemon: Option<Child>,
    port: u16,
}

impl Lab {
    fn open() -> Lab {
        let home = tempfile::tempdir().expect("a directory");
        let node = |name: &str| {
            format!(
                "[[node]]\nname = \"{name}\"\ncpu = 4\nmemory = \"8GiB\"\n\
                 [[node.device]]\nmodel = \"RTX 3070\"\nmemory = \"8GiB\"\ncount = 2\n"
            )
        };
        fs::write(home.path().join("hai.toml"), node("lab-1") + &node("lab-2")).expect("it is written");
        let mut lab = Lab { home, daemon: None, port: 0 };
        lab.start();
        let address = fs::read_to_string(lab.path("data/address")).expect("there is one");
        lab.port = address.trim().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("it has a port");
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Starts the daemon (again, at the same address) and waits until it is ready.
    fn start(&mut self) {
        let err = fs::File::create(self.path("daemon.log")).expect("it is created");
        let mut command = program(env!("CARGO_BIN_EXE_hai-daemon"), self.home.path());
        let listen = format!("127.0.0.1:{}", self.port);
        let child = command.args(["--config", "hai.toml", "--listen", &listen]).stderr(err).spawn().expect("it starts");
        self.daemon = Some(child);
        until("the daemon is ready", || {
            let log = fs::read_to_string(self.path("daemon.log")).unwrap_or_default();
            let ended = self.daemon.as_mut().and_then(|child| child.try_wait().ok()).flatten();
            assert!(ended.is_none(), "the daemon ended: {log}");
            hai(self.home.path(), &["nodes"]).status.success().then_some(())
        });
    }

    /// Ends the daemon as a loss of power would.
    fn kill(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
        }
    }

    fn hai(&self, args: &[&str]) -> Output {
        hai(self.home.path(), args)
    }

    fn begin(&self, args: &[&str]) -> Child {
        let mut command = program(env!("CARGO_BIN_EXE_hai"), self.home.path());
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
    }

    /// Writes a script into the home directory, where tasks start.
    fn script(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("it is written");
    }

    fn task(&self, task: &str) -> Value {
        json(&good(self.hai(&["show", task, "--json"])))
    }

    fn until_state(&self, task: &str, state: &str) {
        until(&format!("task {task} is {state}"), || (self.task(task)["state"] == state).then_some(()));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Workers outlive the daemon, so they are ended first, also when a test has failed.
        let listed = self.hai(&["ls", "--json"]);
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
        let tasks: Vec<String> =
            listed["tasks"].as_array().into_iter().flatten().map(|task| task["id"].to_string()).collect();
        for task in &tasks {
            let _ = self.hai(&["stop", task]);
        }
        let begin = Instant::now();
        while !tasks.is_empty() && begin.elapsed() < DEADLINE {
            let left = serde_json::from_slice::<Value>(&self.hai(&["ls", "--json"]).stdout).unwrap_or_default();
            if left["tasks"].as_array().is_none_or(Vec::is_empty) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
    }
}

/// Counts to $1, saves the count whenever it is told to leave, and goes on from there.
const COUNT: &str = "trap '' TERM\nn=$HAI_WHOLE_LIFE_STATE\n\
    while [ $n -lt $1 ]; do\n\
      if [ -e \"$HAI_SUSPEND_FILE\" ]; then echo \"saved $n\"; exit 0; fi\n\
      n=$((n+1)); echo $n > \"$HAI_STATE_FILE.new\"; mv \"$HAI_STATE_FILE.new\" \"$HAI_STATE_FILE\"\n\
      echo $n; sleep 0.02\n\
    done\n";

/// Waits until a file that a script writes is there; until then the script waits for `go`.
const GATE: &str = "echo ready\nwhile [ ! -e go ]; do sleep 0.01; done\necho gone\n";

#[test]
fn a_first_task_works_with_no_set_up_and_its_result_is_the_commands() {
    let lab = Lab::open();
    let welcome = fs::read_to_string(lab.path("daemon.log")).expect("it was written");
    let command = welcome.lines().find_map(|line| line.strip_prefix("  hai ")).expect("it tells the command");
    let words: Vec<&str> = command.split_whitespace().filter(|word| *word != "--").collect();
    assert_eq!(good(lab.hai(&words)), "hello\n", "{welcome}");

    assert_eq!(good(lab.hai(&["submit", "--", "true"])), "2\n");
    let (code, error) = bad(lab.hai(&["submit", "--follow", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]));
    assert_eq!((code, error.as_str()), (7, ""));
    assert_eq!(bad(lab.hai(&["submit", "--wait", "--", "sh", "-c", "kill -9 $$"])).0, 128 + 9);
    let (code, _) = bad(lab.hai(&["submit", "--wait", "--", "hai-no-such-command"]));
    assert_eq!(code, 1);
    assert!(good(lab.hai(&["show", "5"])).contains("hai-no-such-command"));
    let end = json(&good(lab.hai(&["submit", "--wait", "--json", "-d", "0", "-n", "named", "--", "pwd"])));
    assert_eq!((&end["name"], &end["outcome"]), (&Value::from("named"), &Value::from("succeeded")));
    assert_eq!(
        good(lab.hai(&["logs", "6"])).trim(),
        fs::canonicalize(lab.home.path()).expect("it is there").display().to_string()
    );

    let table = good(lab.hai(&["ls", "--all"]));
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows.len(), 7, "{table}");
    assert_eq!(rows[0][..3], ["TASK", "NAME", "USER"]);
    assert_eq!((rows[1][1], rows[1][5]), ("named", "succeeded"));
    let failed = json(&good(lab.hai(&["ls", "--outcome", "failed", "--json", "--limit", "2"])));
    let ids: Vec<u64> =
        failed["tasks"].as_array().expect("a list").iter().filter_map(|task| task["id"].as_u64()).collect();
    assert_eq!((ids, failed["next"].is_null()), (vec![5, 4], false));
    assert_eq!(good(lab.hai(&["ls", "--outcome", "failed", "--before", "4"])).lines().count(), 2);
    assert_eq!(good(lab.hai(&["ls"])).lines().count(), 1, "nothing is unfinished");
}

#[test]
fn output_is_followed_through_suspends_to_the_end() {
    let lab = Lab::open();
    lab.script("count.sh", COUNT);
    let task = good(lab.hai(&["submit", "-d", "2", "--", "sh", "count.sh", "60"])).trim().to_owned();
    lab.until_state(&task, "running");
    let follower = lab.begin(&["logs", "-f", &task]);
    let lines = lab.begin(&["logs", "-f", &task, "--json", "--all-runs"]);

    // By hand, and then for a better task.
    assert!(good(lab.hai(&["suspend", &task])).starts_with(&format!("task {task} is told to suspend; it is ")));
    lab.until_state(&task, "held");
    assert_eq!(
        good(lab.hai(&["why", &task]))
            .lines()
            .next()
            .map(|line| line.starts_with(&format!("task {task} is held until somebody resumes it"))),
        Some(true)
    );
    assert!(good(lab.hai(&["resume", &task])).starts_with(&format!("task {task} may run again; it is ")));
    lab.until_state(&task, "running");
    lab.script("gate.sh", GATE);
    let better = good(lab.hai(&["submit", "--priority", "high", "--whole-node", "-w", "2", "--", "sh", "gate.sh"]))
        .trim()
        .to_owned();
    lab.until_state(&task, "suspended");
    lab.until_state(&better, "running");
    let when = good(lab.hai(&["when", &better]));
    assert!(when.starts_with(&format!("task {better} is running: it has its place since ")), "{when}");
    let when = good(lab.hai(&["when", &task]));
    assert!(
        when.starts_with(&format!("task {task} is suspended: ")) && when.contains("rollouts; durations: "),
        "{when}"
    );
    let why = good(lab.hai(&["why", &task]));
    assert!(why.starts_with(&format!("task {task} is suspended: ")), "{why}");
    assert!(why.contains(&format!("task {better} has a better right to its place")) && why.contains(" ago"), "{why}");
    fs::write(lab.path("go"), "").expect("it is written");

    let output = follower.wait_with_output().expect("it ends");
    let all = good(output);
    let counted: Vec<u32> = all.lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(counted, (1..=60).collect::<Vec<_>>(), "every number once, in order: {all}");
    assert_eq!(all.lines().filter(|line| line.starts_with("saved ")).count(), 2, "{all}");
    let lines = good(lines.wait_with_output().expect("it ends"));
    let parsed: Vec<Value> = lines.lines().map(json).collect();
    assert_eq!(parsed.len(), all.lines().count());
    let number: u64 = task.parse().expect("a number");
    assert!(parsed.iter().all(|line| line["task"] == number && line["rank"] == 0));
    assert_eq!(good(lab.hai(&["logs", "--all-runs", &task])), all);
    let last = all.split("saved").last().expect("a last run");
    assert!(last.ends_with(&good(lab.hai(&["logs", &task]))), "without flags it is the last run");
    assert_eq!(good(lab.hai(&["logs", "--tail", "3", &task])), "60\n");
    let shown = good(lab.hai(&["show", &task]));
    assert!(shown.contains("saved state 60") && shown.matches("suspended").count() == 2, "{shown}");
}

#[test]
fn waiting_and_following_outlive_the_daemon() {
    let mut lab = Lab::open();
    lab.script("gate.sh", &(GATE.to_owned() + "exit 5\n"));
    let waiting = lab.begin(&["submit", "--wait", "--", "sh", "gate.sh"]);
    let mut following = lab.begin(&["submit", "--follow", "--", "sh", "gate.sh"]);
    let mut output = BufReader::new(following.stdout.take().expect("it is piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("it says something");
    assert_eq!(line, "ready\n");
    lab.until_state("1", "running");
    lab.kill();
    let absent = bad(lab.hai(&["ls"]));
    assert!(absent.0 == 1 && absent.1.contains("no hai daemon answers"), "{absent:?}");
    lab.start();
    fs::write(lab.path("go"), "").expect("it is written");
    let (code, error) = bad(waiting.wait_with_output().expect("it ends"));
    assert_eq!((code, error.as_str()), (5, ""));
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("it is text");
    assert_eq!((rest.as_str(), following.wait().expect("it ends").code()), ("gone\n", Some(5)));
}

#[test]
fn people_are_added_kept_apart_and_given_rights() {
    let lab = Lab::open();
    let token = good(lab.hai(&["users", "add", "ada"])).trim().to_owned();
    let home = tempfile::tempdir().expect("a directory");
    let ada = |args: &[&str]| {
        // Another person's surroundings: no data directory of theirs is a daemon's.
        program(env!("CARGO_BIN_EXE_hai"), home.path()).args(args).output().expect("it starts")
    };
    let server = format!("http://127.0.0.1:{}", lab.port);
    let (code, error) = bad(ada(&["init", "--server", &server, "--token", "wrong"]));
    assert_eq!(code, 1);
    assert_eq!(
        error,
        format!(
            "error: {server} does not accept the token (as you said); ask an operator for a new one (`hai users \
             token NAME`) and keep it with `hai init`\n"
        )
    );
    assert!(!home.path().join(".config/hai/cli.toml").exists(), "what was not accepted is not kept");
    let said = good(ada(&["init", "--server", &server, "--token", &token]));
    assert!(said.starts_with(&format!("you are ada (user) at {server}; kept in ")), "{said}");
    let mode = fs::metadata(home.path().join(".config/hai/cli.toml")).expect("it is there").permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);

    // Ada's tasks are hers, the operator sees them too, and she does not see the operator's.
    let own = good(ada(&["submit", "--", "true"])).trim().to_owned();
    let other = good(lab.hai(&["submit", "--", "true"])).trim().to_owned();
    let rows = |output: Output| {
        good(output)
            .lines()
            .skip(1)
            .map(|line| line.split('\t').next().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(rows(ada(&["ls", "--all"])), [&*own]);
    assert_eq!(rows(lab.hai(&["ls", "--all"])), [&*other, &*own]);
    let (code, error) = bad(ada(&["stop", &other]));
    assert!(code == 1 && error.contains(&other), "{error}");
    assert_eq!(bad(ada(&["users"])).0, 1);
    assert_eq!(bad(ada(&["rights", "set", "--user", "ada", "--priority", "extreme-high", "--devices", "1"])).0, 1);

    // A level without a right is waited for until an operator gives one.
    let urgent = good(ada(&["submit", "--priority", "EXTREME_HIGH", "--", "true"])).trim().to_owned();
    assert!(
        good(ada(&["why", &urgent]))
            .contains("ada in group default has no right at EXTREME_HIGH: none was given; an operator can give one")
    );
    let right = ["--user", "ada", "--priority", "EXTREME_HIGH"];
    let set = good(lab.hai(&[&["rights", "set", "--devices", "1"][..], &right].concat()));
    assert_eq!(set, "user ada, group every, priority EXTREME_HIGH: 0 nodes, 1 devices\n");
    until("it has run", || (json(&good(ada(&["show", &urgent, "--json"])))["outcome"] == "succeeded").then_some(()));
    assert!(good(lab.hai(&["rights"])).lines().any(|line| line == "ada\tevery\tEXTREME_HIGH\t0\t1\t\t"));
    assert_eq!(good(lab.hai(&[&["rights", "rm"][..], &right].concat())), "the right is taken away\n");
    let (code, _) = bad(lab.hai(&[&["rights", "rm"][..], &right].concat()));
    assert_eq!(code, 1);

    // Ada and Grace share two devices.
    let team = ["teams", "set", "vision", "--parent", "lab", "--member", "grace,ada", "--pool", "default,devices=2"];
    let said = good(lab.hai(&team));
    assert_eq!(said, "team vision, a part of lab: ada,grace; default,nodes=0,devices=2\n");
    assert!(good(lab.hai(&["teams"])).lines().any(|line| line == "vision\tlab\tada,grace\tdefault,nodes=0,devices=2"));
    assert_eq!(bad(ada(&["teams"])).0, 1, "teams are for operators");
    assert_eq!(bad(lab.hai(&["teams", "set", "vision", "--pool", "default"])).0, 2);
    assert_eq!(good(lab.hai(&["teams", "rm", "vision"])), "team vision is removed\n");
    assert_eq!(bad(lab.hai(&["teams", "rm", "vision"])).0, 1);

    // A new token makes the old one void.
    let new = good(lab.hai(&["users", "token", "ada"])).trim().to_owned();
    assert_ne!(new, token);
    let (_, error) = bad(ada(&["ls"]));
    assert!(error.contains("does not accept the token (from ") && error.contains("cli.toml"), "{error}");
    good(ada(&["ls", "--token", &new]));
    assert_eq!(good(lab.hai(&["users"])), "USER\tROLE\nada\tuser\noperator\toperator\n");
    assert_eq!(good(lab.hai(&["users", "rm", "ada"])), "user ada is removed\n");
    assert_eq!(bad(ada(&["ls", "--token", &new])).0, 1);
}

#[test]
fn what_waits_can_be_changed_and_ended() {
    let mut lab = Lab::open();
    lab.script("gate.sh", GATE);
    let first = good(lab.hai(&["submit", "--whole-node", "-w", "2", "--", "sh", "gate.sh"])).trim().to_owned();
    lab.until_state(&first, "running");
    let second = good(lab.hai(&["submit", "-d", "1", "--model", "RTX 3070", "--", "true"])).trim().to_owned();
    let impossible = good(lab.hai(&["submit", "-d", "3", "--", "true"])).trim().to_owned();
    assert!(
        good(lab.hai(&["why", &impossible]))
            .contains("as asked it can never run: not even if all nodes of its group were empty and healthy")
    );
    let why = good(lab.hai(&["why", &second]));
    assert!(why.starts_with(&format!("task {second} is waiting: ")), "{why}");
    assert_eq!(
        good(lab.hai(&["priority", &second, "low"])),
        format!("task {second} has priority LOW now; it is waiting\n")
    );
    let nodes = good(lab.hai(&["nodes"]));
    let row: Vec<&str> = nodes.lines().nth(1).expect("a node").split('\t').collect();
    assert_eq!(row[..5], ["lab-1", "default", "ready", "2 × RTX 3070 (8 GiB)", "0"]);
    assert_eq!(row[7], format!("{first} of operator (the node)"));
    let shown = good(lab.hai(&["nodes", "drain", "--dry-run", "lab-1"]));
    assert!(shown.lines().any(|line| line.starts_with(&first) && line.contains("is suspended")), "{shown}");
    assert_eq!(good(lab.hai(&["nodes", "cordon", "lab-2"])), "lab-2 takes no new work; 1 worker is there, and stays\n");
    lab.kill();
    lab.start();
    let nodes = good(lab.hai(&["nodes"]));
    assert_eq!(
        nodes.lines().map(|line| line.split('\t').nth(2)).collect::<Vec<_>>()[1..],
        [Some("ready"), Some("cordoned")]
    );
    assert_eq!(good(lab.hai(&["nodes", "uncordon", "lab-2"])), "lab-2 takes work again\n");
    let (code, error) = bad(lab.hai(&["nodes", "drain", "nowhere"]));
    assert_eq!((code, error.as_str()), (1, "error: there is no node nowhere\n"));

    let output = lab.hai(&["stop", &second, "999", &impossible]);
    assert_eq!(text(&output.stdout).lines().count(), 2, "what can be done is done");
    let (code, error) = bad(output);
    assert_eq!((code, error.as_str()), (1, "error: there is no task 999\nerror: 1 of 3 could not be done\n"));
    let waiter = lab.begin(&["submit", "--wait", "--", "true"]);
    until("the waiting task is there", || good(lab.hai(&["ls", "--state", "waiting"])).lines().nth(1).map(drop));
    good(lab.hai(&["stop", "4"]));
    assert_eq!(waiter.wait_with_output().expect("it ends").status.code(), Some(143));
    let (code, error) = bad(lab.hai(&["submit", "-d", "99", "--", "true"]));
    assert!(code == 1 && error.contains("devices"), "{error}");
    let (code, error) = bad(lab.hai(&["logs", &second]));
    assert!(code == 1 && error.contains("has not run"), "{error}");
    fs::write(lab.path("go"), "").expect("it is written");
    lab.until_state(&first, "finished");
}

#[test]
fn the_daemons_own_command_line_shows_and_checks_its_configuration() {
    let home = tempfile::tempdir().expect("a directory");
    let daemon =
        |args: &[&str]| program(env!("CARGO_BIN_EXE_hai-daemon"), home.path()).args(args).output().expect("it starts");
    let example = good(daemon(&["config", "example"]));
    fs::write(home.path().join("hai.toml"), &example).expect("it is written");
    good(daemon(&["config", "check", "--config", "hai.toml"]));
    let shown = good(daemon(&["--config", "hai.toml", "--listen", "127.0.0.1:1", "config", "show"]));
    assert!(shown.contains("(from --listen)") && shown.contains("# from hai.toml:"), "{shown}");
    fs::write(home.path().join("hai.toml"), "[server]\nlistn = \"x\"\n").expect("it is written");
    for command in [&["config", "check"][..], &["serve"], &[]] {
        let (code, error) = bad(daemon(&[&["--config", "hai.toml"], command].concat()));
        assert_eq!(code, 2);
        assert_eq!(
            error,
            "hai.toml:2:1: unknown key `listn` in [server]; did you mean `listen`?\n    2 | listn = \"x\"\n      | ^^^^^\n"
        );
    }
    let help = good(daemon(&["--help"]));
    assert!(help.contains("hai-daemon config example > hai.toml") && !help.contains("shim"), "{help}");
    assert!(good(daemon(&["completions", "zsh"])).contains("log-level"));
    good(daemon(&["man", "pages"]));
    assert!(home.path().join("pages/hai-daemon.1").exists());
    for (words, part) in [
        (["db", "backup"], "hai-daemon db backup /backup/"),
        (["db", "restore"], "hai-daemon db restore hai.gz --data"),
        (["db", "copy"], "hai-daemon db copy --from /var/lib/hai"),
        (["import", "hai-platform"], "hai-daemon import hai-platform --from postgres://"),
    ] {
        let help = good(daemon(&[&words[..], &["--help"]].concat()));
        assert!(help.contains(part), "{part} is not in {help}");
        assert!(home.path().join(format!("pages/hai-daemon-{}.1", words.join("-"))).exists());
    }
}

#[test]
fn the_daemons_cluster_can_be_simulated_on() {
    let lab = Lab::open();
    good(lab.hai(&["rights", "set", "--user", "ada", "--devices", "1"]));
    fs::write(lab.path("trace.csv"), "submit,duration,devices,user\n0,100,1,ada\n0,100,1,ada\n0,100,2,bob\n")
        .expect("it is written");
    let trace = lab.path("trace.csv").display().to_string();
    let told = json(&good(lab.hai(&["simulate", "--cluster", "daemon", "--trace", &trace, "--json"])));
    assert_eq!((&told["nodes"], &told["devices"]), (&Value::from(2), &Value::from(4)));
    // Everybody may have everything, but ada has a row of her own.
    let figures = &told["runs"][0]["figures"];
    assert_eq!((&figures["succeeded"], &figures["makespan_s"]), (&Value::from(3), &Value::from(200.0)));
    let nobody = hai(lab.home.path(), &["--data", "nowhere", "simulate", "--cluster", "daemon", "--synthetic", "9"]);
    assert!(bad(nobody).1.contains("there is no daemon's address in nowhere"));
}
