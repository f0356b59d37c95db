//! Backups, and moves from one database to another, of real daemons with real work.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::postgres::Postgres;
use crate::server::server;
use crate::support::{Daemon, wait_for};

/// Ends once the file is there.
const HOLD: &str = "echo begin; until [ -e \"$0\" ]; do sleep 0.02; done; echo end";

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// `hai-daemon db …`, with this database if one is named, else with this data directory.
fn db(data: &Path, database: Option<&str>, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hai-daemon"))
        .arg("db")
        .args(args)
        .arg("--data")
        .arg(data)
        .env_remove("HAI_CONFIG")
        .envs(database.map(|url| ("HAI_DATA_DATABASE", url)))
        .output()
        .expect("it runs")
}

fn good(output: Output) -> String {
    assert!(output.status.success(), "{:?}: {}", output.status, text(&output));
    text(&output)
}

fn refused(output: &Output, part: &str) {
    let told = text(output);
    assert!(output.status.code() == Some(1) && told.contains(part), "{part:?} is not in {told}");
}

/// What one daemon has gone through: a task that ended, one that runs, others that wait, and a user of their own.
struct Past {
    /// Work ends once this is there.
    stop: PathBuf,
    ended: u64,
    running: u64,
    waiting: Vec<u64>,
    token: String,
}

impl Past {
    fn of(daemon: &Daemon) -> Self {
        let stop = daemon.scratch().join("stop");
        let hold = json!({"command": ["/bin/sh", "-c", HOLD, stop], "devices": 2, "name": "held"});
        let ended = daemon.submit(&json!({"command": ["/bin/sh", "-c", "echo done"], "devices": 1}));
        wait_for("the end", || (daemon.state(ended) == "finished").then_some(()));
        let running = daemon.submit(&hold);
        wait_for("the task to run", || (daemon.state(running) == "running").then_some(()));
        let waiting = (0..5).map(|_| daemon.submit(&hold)).collect();
        let said = daemon.says(&["users", "add", "ada"]);
        let token = said.split_whitespace().find(|word| word.starts_with("hai_")).expect("a token").to_owned();
        Past { stop, ended, running, waiting, token }
    }

    /// All of it is there, and ends well.
    fn goes_on(&self, daemon: &Daemon) {
        assert_eq!(daemon.task(self.ended)["outcome"], "succeeded");
        let own =
            ureq::get(format!("{}/v1/tasks", daemon.url)).header("Authorization", format!("Bearer {}", self.token));
        let own: Value = own.call().expect("ada's token opens").body_mut().read_json().expect("JSON");
        assert_eq!(own["tasks"], json!([]), "ada has none of her own");
        wait_for("the task to run on", || (daemon.state(self.running) == "running").then_some(()));
        fs::write(&self.stop, "").expect("a file");
        for id in self.waiting.iter().chain([&self.running]) {
            wait_for("the end", || (daemon.task(*id)["outcome"] == "succeeded").then_some(()));
        }
        let log = daemon.scratch().join("whole.log");
        fs::write(&log, daemon.says(&["log", "export"])).expect("written");
        let replayed = daemon.hai().arg("replay").arg(&log).output().expect("hai is executed");
        assert!(text(&replayed).starts_with("no difference"), "{}", text(&replayed));
    }
}

/// The log of a daemon, without what it wrote since.
fn log(daemon: &Daemon, lines: usize) -> Vec<String> {
    daemon.says(&["log", "export"]).lines().skip(1).take(lines).map(str::to_owned).collect()
}

/// A backup beside a running daemon, restored on a machine with nothing on it; from each kind of database into the other.
#[test]
fn what_was_backed_up_goes_on_on_an_empty_machine() {
    let servers: Vec<Postgres> = (0..2).filter_map(|_| server()).collect();
    let urls: Vec<String> = servers.iter().map(Postgres::url).collect();
    let mut pairs = vec![(None, None)];
    if let [from, to] = &urls[..] {
        pairs.extend([(None, Some(to)), (Some(from), None)]);
    }
    for (from, to) in pairs {
        let mut old = match from {
            Some(url) => Daemon::on(url.clone(), 3),
            None => Daemon::start(3, ""),
        };
        let past = Past::of(&old);
        let file = old.scratch().join("hai.gz");
        let name = file.to_str().expect("text");
        let database = from.map(String::as_str);
        let lines = log(&old, usize::MAX);
        let said = good(db(&old.data(), database, &["backup", name]));
        assert!(said.contains("7 tasks, 2 runs") && said.contains("2 users"), "{said}");
        refused(&db(&old.data(), database, &["backup", name]), "already");
        // While it leads nothing is restored into its database.
        let there = if database.is_some() { "a daemon leads in" } else { "another hai-daemon (process" };
        refused(&db(&old.data(), database, &["restore", "--replace", name]), there);
        old.kill();

        let mut new = Daemon::without(to.cloned(), 3);
        let database = to.map(String::as_str);
        let said = good(db(&new.data(), database, &["restore", name]));
        assert!(said.contains("7 tasks, 2 runs") && said.contains("all that is stored is as the log says"), "{said}");
        if database.is_some() {
            fs::create_dir_all(new.data()).expect("a directory");
            fs::copy(old.data().join("token"), new.data().join("token")).expect("the operator's token");
        }
        refused(&db(&new.data(), database, &["restore", name]), "something is kept in");
        new.restart();
        assert_eq!(log(&new, lines.len()), lines, "the log goes on where it was");
        past.goes_on(&new);
        // What ran there does not run here: it was begun again.
        assert_eq!(new.task(past.running)["history"].as_array().map(Vec::len), Some(2));
    }
}

/// A lab outgrows its file: the same directory, another database, and what runs goes on.
#[test]
fn a_move_to_a_server_and_back_keeps_what_runs() {
    let Some(postgres) = server() else { return };
    let mut daemon = Daemon::start(3, "");
    let past = Past::of(&daemon);
    let (data, url) = (daemon.data().display().to_string(), postgres.url());
    let copy = |from: &str, to: &str, more: &[&str]| {
        db(Path::new("/nonexistent"), None, &[&["copy", "--from", from, "--to", to], more].concat())
    };
    refused(&copy(&data, &url, &[]), "another hai-daemon (process");
    daemon.kill();
    let said = good(copy(&data, &url, &["--dry-run"]));
    assert!(said.contains("would copy") && said.contains("nothing was changed"), "{said}");
    let said = good(copy(&data, &url, &[]));
    assert!(said.contains("7 tasks, 2 runs") && said.contains("all that is stored is as the log says"), "{said}");
    refused(&copy(&data, &url, &[]), "something is kept in");
    refused(&copy(&data, &url, &["--dry-run"]), "something is kept in");
    refused(&copy(&data, &data, &[]), "already");

    daemon.moved_to(Some(url.clone()));
    daemon.restart();
    assert_eq!(daemon.state(past.running), "running");
    let later = daemon.submit(&json!({"command": ["/bin/sh", "-c", "echo later"], "devices": 1}));
    wait_for("the end", || (daemon.task(later)["outcome"] == "succeeded").then_some(()));
    refused(&copy(&url, &data, &["--replace"]), "a daemon leads in");
    daemon.kill();

    // Back again, over what is there.
    let said = wait_for("the lead to run out", || {
        let tried = copy(&url, &data, &["--replace"]);
        if text(&tried).contains("a daemon leads in") { None } else { Some(good(tried)) }
    });
    assert!(said.contains("8 tasks, 3 runs"), "{said}");
    daemon.moved_to(None);
    daemon.restart();
    assert_eq!(daemon.task(later)["outcome"], "succeeded");
    past.goes_on(&daemon);
    assert_eq!(daemon.task(past.running)["history"].as_array().map(Vec::len), Some(1), "it went on all the while");
}

/// A restore that is killed anywhere leaves nothing, and the next one works.
#[test]
fn a_restore_that_is_killed_leaves_nothing() {
    let postgres = server();
    let mut old = Daemon::start(3, "");
    Past::of(&old);
    let file = old.scratch().join("hai.gz").display().to_string();
    good(db(&old.data(), None, &["backup", &file]));
    old.kill();
    for database in [None, postgres.as_ref().map(Postgres::url)].into_iter().take(1 + usize::from(postgres.is_some())) {
        let home = tempfile::tempdir().expect("a directory");
        let data = home.path().join("data");
        for pause in [0, 5, 20, 40, 60, 80, 120] {
            let mut child = Command::new(env!("CARGO_BIN_EXE_hai-daemon"))
                .args(["db", "restore", &file, "--data"])
                .arg(&data)
                .envs(database.as_ref().map(|url| ("HAI_DATA_DATABASE", url)))
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .expect("it runs");
            std::thread::sleep(std::time::Duration::from_millis(pause));
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
            let backup = home.path().join(format!("{pause}.gz")).display().to_string();
            let there = db(&data, database.as_deref(), &["backup", &backup]);
            // All of it or nothing: no file, an empty one, or a whole one.
            let told = text(&there);
            let whole = told.contains("7 tasks, 2 runs") && told.contains("2 users");
            assert!(told.contains("there is no") || told.contains("0 tasks, 0 runs") || whole, "{pause} ms: {told}");
            if whole {
                good(db(&data, database.as_deref(), &["check"]));
                break;
            }
        }
        good(db(&data, database.as_deref(), &["restore", "--replace", &file]));
    }
}
