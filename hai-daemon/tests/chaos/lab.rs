//! A daemon behind a proxy before its database, and tasks whose own notes tell what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::judge::stored::Stored;
use crate::judged;
use crate::postgres::Postgres;
use crate::proxy::Proxy;
use crate::support::{Daemon, wait_for};
use crate::trouble::Trouble;

/// Devices of the one node.
const DEVICES: u32 = 4;
/// A database that says nothing is called away before anybody gives up waiting for it.
const SAYS_SO_MAX: Duration = Duration::from_secs(20);
/// What a large submission carries; an environment's variable may have 128 KiB.
const LARGE_BYTES: usize = 100_000;
/// What is counted is what a task did itself. It notes when it begins, leaves and ends, and complains if another run of the task is alive.
const WORK: &str = r#"
exec 9>>"$0.lock"
flock -n 9 || { echo twice >> "$0"; exit 1; }
trap 'echo left >> "$0"; exit 0' TERM
echo begin >> "$0"
if [ "$2" = fails ] && [ ! -e "$0.failed" ]; then
    : > "$0.failed"
    echo failed >> "$0"
    exit 1
fi
sleep "$1" 9>&- & wait $!
trap '' TERM
echo end >> "$0"
: > "$HAI_DONE_FILE"
"#;

/// Pseudo-random numbers that are the same every time.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn of(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 20_261_127)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What somebody heard who submitted a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// It was taken, under this number.
    Taken(u64),
    /// It was not taken.
    Refused,
    /// Nothing that tells.
    Nothing,
}

/// A database on a server, and what lies before it.
pub(crate) struct Server {
    pub(crate) postgres: Postgres,
    pub(crate) proxy: Proxy,
    /// Its disk can be filled.
    pub(crate) small_disk: bool,
}

pub(crate) struct Lab {
    pub(crate) daemon: Daemon,
    /// `None`: the database is a file.
    pub(crate) server: Option<Server>,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) random: Random,
    _place: tempfile::TempDir,
    notes: PathBuf,
    heard: Mutex<BTreeMap<String, Heard>>,
    next: AtomicU64,
}

impl Lab {
    /// With a database on a server of its own; `None`, aloud, where there is none that may be killed.
    pub(crate) fn on_a_server(seed: u64, small_disk: bool) -> Option<Self> {
        let postgres = if small_disk { Postgres::on_small_disk() } else { Postgres::durable() };
        let Some(postgres) = postgres.filter(Postgres::is_ours) else {
            eprintln!("SKIPPED: chaos needs a Postgres of its own, which may be killed");
            return None;
        };
        tokio::runtime::Runtime::new().expect("a runtime").block_on(postgres.prepare());
        let proxy = Proxy::to(postgres.socket());
        Some(Self::with(seed, Some(Server { postgres, proxy, small_disk })))
    }

    /// With a database in a file.
    pub(crate) fn on_a_file(seed: u64) -> Self {
        Self::with(seed, None)
    }

    fn with(seed: u64, server: Option<Server>) -> Self {
        let place = tempfile::tempdir().expect("a temporary directory");
        // Of a file the database's own directory is full; a server's disk is its own.
        let trouble = Trouble::none(place.path());
        let environment = trouble.as_ref().map(Trouble::environment).unwrap_or_default();
        let database = server.as_ref().map(|server| server.postgres.url_through(server.proxy.port));
        let daemon = Daemon::amid(environment, database, DEVICES, "");
        if let Some(trouble) = &trouble {
            trouble.disk_of(&daemon.data());
        }
        let notes = place.path().join("notes");
        fs::create_dir(&notes).expect("a directory");
        let (heard, next) = (Mutex::default(), AtomicU64::new(0));
        Lab { daemon, server, trouble, random: Random::of(seed), _place: place, notes, heard, next }
    }

    pub(crate) fn server(&mut self) -> &mut Server {
        self.server.as_mut().expect("a database on a server")
    }

    fn request(&self, number: u64) -> Value {
        let mut random = Random::of(number + 1_000_003);
        let sleep = format!("0.{:02}", 2 + random.below(25));
        let priority = ["LOW", "NORMAL", "HIGH"][usize::try_from(random.below(3)).expect("below 3")];
        let name = format!("work-{number}-x");
        // Some fail at first, and are tried again after a while: timers have to go on whatever happens.
        let fails = if number % 4 == 3 { "fails" } else { "goes well" };
        json!({
            "name": name,
            "command": ["/bin/sh", "-c", WORK, self.notes.join(&name), sleep, fails],
            "limit": "10m",
            "retries": {"limit": 2, "back_off": "300ms"},
            "devices": 1 + random.below(3),
            "priority": priority,
            "grace": {"answer": "3s", "finish": "3s"},
        })
    }

    /// Submits so many tasks, one after the other, and remembers what was heard.
    pub(crate) fn submit(&self, tasks: u64) {
        self.submit_to(&self.daemon.url, tasks);
    }

    /// The same, to the daemon that listens there.
    pub(crate) fn submit_to(&self, url: &str, tasks: u64) {
        for _ in 0..tasks {
            let request = self.request(self.next.fetch_add(1, Ordering::Relaxed));
            self.ask(url, &request);
        }
    }

    /// Submits one that takes much room where it is stored.
    pub(crate) fn submit_large(&self) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (mut request, mut random) = (self.request(number), Random::of(number));
        // Nothing makes it shorter.
        let text: String = (0..LARGE_BYTES).map(|_| char::from(33 + random.below(90) as u8)).collect();
        request["env"] = json!({"PAYLOAD": text});
        self.ask(&self.daemon.url, &request);
    }

    /// Submits one that runs for longer than others, and waits until it does.
    pub(crate) fn submit_lasting(&self) {
        let mut request = self.request(self.next.fetch_add(1, Ordering::Relaxed));
        request["command"][5] = json!("goes well");
        request["command"][4] = json!("1.5");
        request["priority"] = json!("HIGH");
        request["devices"] = json!(1);
        let Heard::Taken(id) = self.ask(&self.daemon.url, &request) else { panic!("{request} is not taken") };
        wait_for("it to run", || (self.daemon.state(id) == "running").then_some(()));
    }

    fn ask(&self, url: &str, request: &Value) -> Heard {
        let heard = match self.daemon.answer_of(url, "/v1/tasks", Some(request)) {
            Some((201, _, text)) => {
                let answer: Value = serde_json::from_str(&text).expect("JSON");
                Heard::Taken(answer["id"].as_u64().expect("a number"))
            }
            Some((503, retry, text)) => {
                assert!(retry.is_some(), "no Retry-After: {text}");
                if text.contains("nothing was done.") { Heard::Refused } else { Heard::Nothing }
            }
            Some((status, _, text)) => panic!("{status} {text}"),
            None => Heard::Nothing,
        };
        let name = request["name"].as_str().expect("a name").to_owned();
        self.heard.lock().expect("nobody panicked").insert(name, heard);
        heard
    }

    /// Does something while so many are submitted by each of two.
    pub(crate) fn amid_submissions<T>(&self, tasks: u64, work: impl FnOnce() -> T) -> T {
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| self.submit(tasks));
            }
            work()
        })
    }

    /// Waits until the daemon says that it is ready.
    pub(crate) fn wait_until_well(&self) {
        wait_for("the daemon to be well", || {
            self.daemon.answer_of(&self.daemon.url, "/readyz", None).filter(|answer| answer.0 == 200)
        });
    }

    /// Waits until its health and its numbers say that the database is away.
    pub(crate) fn wait_until_it_says_so(&self) {
        let since = Instant::now();
        wait_for("the health to tell", || {
            self.daemon.answer_of(&self.daemon.url, "/readyz", None).filter(|answer| answer.0 == 503)
        });
        wait_for("the numbers to tell", || self.metric("hai_store_up").filter(|up| *up == 0));
        assert!(since.elapsed() < SAYS_SO_MAX, "{:?}", since.elapsed());
    }

    /// Waits until nothing is left to do.
    pub(crate) fn wait_until_all_ended(&self) {
        wait_for("all tasks to end", || {
            let page = self.daemon.try_get("/v1/tasks?limit=1&state=unfinished")?;
            page["tasks"].as_array()?.is_empty().then_some(())
        });
    }

    /// A number that the daemon shows.
    pub(crate) fn metric(&self, name: &str) -> Option<u64> {
        let (_, _, text) = self.daemon.answer_of(&self.daemon.url, "/metrics", None)?;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// All that was promised is there, once, and went well, once; and what was stored holds before the judge.
    pub(crate) fn verify(mut self) -> Stored {
        self.wait_until_well();
        let heard = std::mem::take(&mut *self.heard.lock().expect("nobody panicked"));
        let mut stored: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for task in self.all_tasks() {
            let (name, id) = (task["name"].as_str().expect("a name"), task["id"].as_u64().expect("a number"));
            stored.entry(name.to_owned()).or_default().push(id);
        }
        let mut seen = BTreeSet::new();
        for (name, heard) in &heard {
            let ids = stored.remove(name).unwrap_or_default();
            match heard {
                Heard::Taken(id) => assert_eq!(ids, [*id], "{name} was acknowledged"),
                Heard::Refused => assert!(ids.is_empty(), "{name} was refused, and is there as {ids:?}"),
                Heard::Nothing => assert!(ids.len() <= 1, "{name} is there as {ids:?}"),
            }
            for id in ids {
                assert!(seen.insert(id), "{id} is two tasks");
                self.ended_well_once(id, name);
            }
        }
        assert!(stored.is_empty(), "nobody submitted {stored:?}");
        let judged = judged::judge(&self.daemon);
        let ended: BTreeSet<u64> = judged.finished.keys().map(|task| task.0).collect();
        assert_eq!(ended, seen, "the log tells of other tasks");
        assert!(judged.finished.values().all(|outcome| *outcome == "succeeded"), "{judged:?}");
        self.daemon.kill();
        judged::check(&self.daemon, self.server.as_ref().map(|server| server.postgres.url()).as_deref());
        let taken = heard.values().filter(|heard| matches!(heard, Heard::Taken(_))).count();
        eprintln!(
            "{} submitted, {taken} acknowledged, {} there; {} runs, {} rounds, {} openings",
            heard.len(),
            seen.len(),
            judged.runs.values().sum::<u32>(),
            judged.rounds,
            judged.openings
        );
        judged
    }

    fn ended_well_once(&self, id: u64, name: &str) {
        let task = wait_for("the end of every task", || {
            self.daemon.try_get(&format!("/v1/tasks/{id}")).filter(|task| task["state"] == "finished")
        });
        assert_eq!(task["outcome"], "succeeded", "{task:#}");
        let runs = task["history"].as_array().expect("runs");
        assert_eq!(runs.iter().filter(|run| run["end"] == "completed").count(), 1, "exactly one success: {task:#}");
        let notes = fs::read_to_string(self.notes.join(name)).expect("the task's notes");
        let lines: Vec<&str> = notes.lines().collect();
        let begun = lines.iter().filter(|line| **line == "begin").count();
        let ended = lines.iter().filter(|line| **line == "end").count();
        assert!(ended == 1 && lines.last() == Some(&"end"), "{name} ended once: {lines:?}");
        assert!(!lines.contains(&"twice"), "{name} ran twice at once: {lines:?}");
        assert!(begun <= runs.len(), "{name} began {begun} times: {task:#}");
    }

    fn all_tasks(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut path = "/v1/tasks?limit=500".to_owned();
        loop {
            let page = wait_for("the list", || self.daemon.try_get(&path));
            all.extend(page["tasks"].as_array().expect("tasks").iter().cloned());
            match page["next"].as_u64() {
                Some(before) => path = format!("/v1/tasks?limit=500&before={before}"),
                None => return all,
            }
        }
    }
}

/// Sends a daemon's process a signal.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, signal).expect("it is ours");
}
