//! `kill -9` at random moments: nothing is lost, nothing runs twice.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Daemon, wait_for};

const TASKS: u64 = 200;
const KILLS: u32 = 50;

/// Notes every run in a file of the task, and complains if another run of the task is alive.
const WORK: &str = r#"
exec 9>>"$0.$1.lock"
flock -n 9 || { echo OVERLAP >> "$0.$1.runs"; exit 1; }
echo "begin $HAI_RUN_ID" >> "$0.$1.runs"
for line in 1 2 3 4 5 6 7 8 9 10; do echo "task $1 line $line"; sleep "$2"; done
echo "end $HAI_RUN_ID" >> "$0.$1.runs"
echo "task $1 done"
"#;

/// Pseudo-random numbers that are the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn request(daemon: &Daemon, number: u64, random: &mut Random) -> Value {
    let base = daemon.scratch().join("work");
    let sleep = format!("0.0{}", random.below(4));
    let priority = ["LOW", "NORMAL", "HIGH"][usize::try_from(random.below(3)).expect("below 3")];
    json!({
        "name": format!("work-{number}"),
        "command": ["/bin/sh", "-c", WORK, base, number.to_string(), sleep],
        "devices": 1 + random.below(3),
        "priority": priority,
        "grace": {"answer": "200ms", "finish": "200ms"},
    })
}

/// The number of the task with this name, if it was stored.
fn stored(daemon: &Daemon, name: &str) -> Option<u64> {
    let page = daemon.get(&format!("/v1/tasks?name={name}&limit=1000"));
    let tasks = page["tasks"].as_array().expect("tasks").clone();
    tasks.iter().find(|task| task["name"] == name).and_then(|task| task["id"].as_u64())
}

#[test]
fn fifty_crashes_lose_nothing_and_run_nothing_twice() {
    let mut daemon = Daemon::start(8, "");
    let mut random = Random(20_261_124);
    let mut ids = Vec::new();
    let mut kills = 0;
    while ids.len() < TASKS as usize || kills < KILLS {
        for _ in 0..8 {
            let number = ids.len() as u64;
            if number < TASKS {
                let request = request(&daemon, number, &mut random);
                ids.push(daemon.submit(&request));
            }
        }
        if kills < KILLS {
            // One more is on its way while the daemon dies; whether it arrived is found out afterwards.
            let last = (ids.len() < TASKS as usize).then(|| request(&daemon, ids.len() as u64, &mut random));
            let pause = Duration::from_millis(random.below(120));
            let answer = std::thread::scope(|scope| {
                let submitting = last.as_ref().map(|request| scope.spawn(|| daemon.try_submit(request)));
                std::thread::sleep(pause);
                let pid = rustix::process::Pid::from_raw(i32::try_from(daemon.pid()).expect("a pid")).expect("a pid");
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs");
                submitting.and_then(|submitting| submitting.join().expect("no panic"))
            });
            daemon.restart();
            kills += 1;
            if let Some(request) = last {
                let name = request["name"].as_str().expect("a name");
                let found = stored(&daemon, name);
                assert!(answer.is_none() || found == answer, "an answered submission is stored");
                ids.push(found.unwrap_or_else(|| daemon.submit(&request)));
            }
        }
    }
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), TASKS as usize);
    let mut runs_in_all = 0;
    for (number, id) in ids.iter().enumerate() {
        let task = wait_for("the end of every task", || {
            let task = daemon.task(*id);
            (task["state"] == "finished").then_some(task)
        });
        assert_eq!(task["outcome"], "succeeded", "{task:#}");
        let runs = task["history"].as_array().expect("runs");
        runs_in_all += runs.len();
        let completed = runs.iter().filter(|run| run["end"] == "completed").count();
        assert_eq!(completed, 1, "exactly one success: {task:#}");
        let notes = fs::read_to_string(format!("{}.{number}.runs", daemon.scratch().join("work").display()))
            .expect("the task's notes");
        assert!(!notes.contains("OVERLAP"), "task {id} ran twice at once: {notes}");
        let ended: Vec<&str> = notes.lines().filter(|line| line.starts_with("end ")).collect();
        assert_eq!(ended.len(), 1, "one run went to its end: {notes}");
        let expected: String = (1..=10).map(|line| format!("task {number} line {line}\n")).collect();
        assert_eq!(daemon.output(*id), format!("{expected}task {number} done\n"), "the log is whole");
    }
    eprintln!("{TASKS} tasks took {runs_in_all} runs under {KILLS} crashes");
}
