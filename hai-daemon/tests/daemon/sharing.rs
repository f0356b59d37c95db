//! Two users share devices by time; a thousand short tasks leave nothing behind; a daemon at rest does nothing.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Daemon, wait_for};

/// Counts to 200 in a shell, saves every step, and obeys the suspend protocol.
const COUNT: &str = r#"
i=$HAI_WHOLE_LIFE_STATE
leave=
trap 'leave=1; : > "$HAI_ANSWER_FILE"' TERM
echo "from $i"
while [ "$i" -lt 200 ]; do
  i=$((i + 1))
  echo "$i" > "$HAI_STATE_FILE.new" && mv "$HAI_STATE_FILE.new" "$HAI_STATE_FILE"
  [ -e "$1" ] && sleep 0.01
  if [ -n "$leave" ] || [ -e "$HAI_SUSPEND_FILE" ]; then echo "saved at $i"; exit 0; fi
done
echo "counted to $i"
"#;

fn token_of(daemon: &Daemon, user: &str) -> String {
    let answer = daemon.says(&["--json", "users", "add", user]);
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    answer["token"].as_str().expect("a token").to_owned()
}

#[test]
fn a_better_task_takes_the_devices_and_the_first_goes_on_where_it_was() {
    let daemon = Daemon::start(4, "");
    let (alice, bob) = (token_of(&daemon, "alice"), token_of(&daemon, "bob"));
    let slow = daemon.scratch().join("slow");
    fs::write(&slow, "").expect("a file");

    let submit = |token: &str, args: &[&str]| -> u64 {
        let output = daemon.hai().args(["--token", token, "submit"]).args(args).output().expect("hai is executed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
    };
    let path = slow.to_str().expect("text");
    let count = submit(&alice, &["-d", "4", "--priority", "NORMAL", "--", "/bin/sh", "-c", COUNT, "count", path]);
    wait_for("the first steps", || daemon.task(count)["whole_life_state"].as_i64().filter(|state| *state >= 3));

    let hold = daemon.scratch().join("hold");
    fs::write(&hold, "").expect("a file");
    let script = "while [ -e \"$0\" ]; do sleep 0.02; done; echo \"on $CUDA_VISIBLE_DEVICES\"";
    let hold_path = hold.to_str().expect("text");
    let better = submit(&bob, &["-d", "4", "--priority", "HIGH", "--", "/bin/sh", "-c", script, hold_path]);
    let told = Instant::now();
    wait_for("the better task", || (daemon.state(better) == "running").then_some(()));
    assert!(told.elapsed() < Duration::from_secs(10), "the grace is 5 s + 5 s, and the task answers at once");

    assert_eq!(daemon.state(count), "suspended");
    let why = daemon.says(&["why", &count.to_string()]);
    assert!(why.contains("suspended") && why.contains(&format!("task {better}")), "{why}");
    let seen_by_bob = daemon.hai().args(["--token", &bob, "show", &count.to_string()]).output().expect("hai");
    assert!(!seen_by_bob.status.success(), "alice's task is no business of bob's");

    fs::remove_file(&hold).expect("it is there");
    fs::remove_file(&slow).expect("it is there");
    for task in [better, count] {
        wait_for("the end", || (daemon.task(task)["outcome"] == "succeeded").then_some(()));
    }
    let task = daemon.task(count);
    assert_eq!((task["history"].as_array().map(Vec::len), task["whole_life_state"].as_i64()), (Some(2), Some(200)));
    let output = daemon.output(count);
    assert!(output.contains("counted to 200") && !output.contains("from 0"), "it resumed: {output}");
    let devices = daemon.output(better);
    assert_eq!(devices.split(',').count(), 4, "{devices}");
}

#[test]
fn a_thousand_tasks_of_true_finish_and_then_the_daemon_rests() {
    let daemon = Daemon::start(8, "");
    for _ in 0..1000 {
        daemon.submit(&json!({"command": ["true"], "devices": 1}));
    }
    wait_for("a thousand ends", || {
        let page = daemon.get("/v1/tasks?state=unfinished&limit=1");
        page["tasks"].as_array().expect("tasks").is_empty().then_some(())
    });
    let mut succeeded = 0;
    let mut before = String::new();
    loop {
        let page = daemon.get(&format!("/v1/tasks?outcome=succeeded&limit=500{before}"));
        succeeded += page["tasks"].as_array().expect("tasks").len();
        match page["next"].as_u64() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(succeeded, 1000, "every task is done, and none is forgotten");

    // Processor time of the daemon over a span in which nothing happens.
    let used = || -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit_once(')').expect("a name in parentheses").1.split_whitespace().collect();
        fields[11].parse::<u64>().expect("user time") + fields[12].parse::<u64>().expect("system time")
    };
    let (before, since) = (used(), Instant::now());
    std::thread::sleep(Duration::from_secs(2));
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    let share = (used() - before) as f64 / ticks_per_second as f64 / since.elapsed().as_secs_f64();
    assert!(share < 0.05, "an idle daemon uses {:.1} % of a core", share * 100.0);
}
