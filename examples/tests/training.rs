//! The training example under the suspend protocol, played by hand: nothing of hai is in between.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Far longer than anything here takes; a bound, not a measure.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(2);

/// One run of the example: its files, its process.
struct Run {
    dir: PathBuf,
    child: Child,
}

impl Run {
    /// Counts to `to` in the task's directory, as the task's run `number`.
    fn start(task_dir: &Path, number: u32, whole_life_state: i64, to: u32) -> Run {
        let dir = task_dir.join(format!("run-{number}"));
        fs::create_dir(&dir).expect("a new directory");
        let file = |name: &str| dir.join(name);
        let mut command = count(task_dir, to);
        command
            .env("HAI_TASK_ID", "7")
            .env("HAI_RUN_ID", number.to_string())
            .env("HAI_WHOLE_LIFE_STATE", whole_life_state.to_string())
            .env("HAI_SUSPEND_FILE", file("suspend"))
            .env("HAI_ANSWER_FILE", file("answer"))
            .env("HAI_STATE_FILE", file("state"))
            .env("HAI_DONE_FILE", file("done"));
        Run { child: command.spawn().expect("python3 starts; install the package python3"), dir }
    }

    fn has(&self, name: &str) -> bool {
        self.dir.join(name).exists()
    }

    fn state(&self) -> Option<i64> {
        let text = fs::read_to_string(self.dir.join("state")).ok()?;
        Some(text.parse().expect("the state is always whole"))
    }

    fn wait_for_state(&mut self, least: i64) {
        let give_up = Instant::now() + PATIENCE;
        while self.state().is_none_or(|state| state < least) {
            assert!(self.child.try_wait().expect("a child").is_none(), "it ended before it reported {least}");
            assert!(Instant::now() < give_up, "it never reported {least}");
            std::thread::sleep(POLL);
        }
    }

    fn send(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a child has a number");
        kill_process(pid, signal).expect("it has not been waited for");
    }

    /// Its exit status and what it printed.
    fn end(&mut self) -> (Option<i32>, String) {
        let mut printed = String::new();
        let mut output = self.child.stdout.take().expect("its output is a pipe");
        output.read_to_string(&mut printed).expect("it prints text");
        (self.child.wait().expect("a child").code(), printed)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Over already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn count(task_dir: &Path, to: u32) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("training/count.py");
    let mut command = Command::new("python3");
    // No byte code is left in the source tree.
    command.arg("-B").arg(script).arg("--checkpoints").arg(task_dir.join("checkpoints"));
    command.args(["--to", &to.to_string(), "--every", "5", "--pause", "0.001"]);
    let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HAI_"));
    ours.for_each(|(name, _)| {
        command.env_remove(name);
    });
    command.env_remove("RANK").env_remove("WORLD_SIZE").stdout(Stdio::piped()).stdin(Stdio::null());
    command
}

fn sum(to: u32) -> String {
    format!("counted to {to}, the sum is {}\n", to * (to + 1) / 2)
}

#[test]
fn a_signal_suspends_it_and_the_next_run_goes_on() {
    let task = tempfile::tempdir().expect("a temporary directory");
    // Longer than it can run until the signal arrives.
    let mut first = Run::start(task.path(), 1, 0, 1_000_000);
    first.wait_for_state(20);
    fs::write(first.dir.join("suspend"), "").expect("written");
    first.send(Signal::TERM);
    let (status, printed) = first.end();
    assert_eq!(status, Some(0), "{printed}");
    assert!(first.has("answer") && !first.has("done"));
    let state = first.state().expect("it reported");
    assert!(printed.ends_with(&format!("suspended at {state}\n")), "{printed}");

    let to = u32::try_from(state).expect("a small count") + 30;
    let mut second = Run::start(task.path(), 2, state, to);
    let (status, printed) = second.end();
    assert_eq!(status, Some(0), "{printed}");
    assert!(printed.starts_with(&format!("resumed at {state} (told: {state})\n")), "{printed}");
    assert!(printed.ends_with(&sum(to)), "{printed}");
    assert!(second.has("done") && !second.has("answer"));
    assert_eq!(second.state(), Some(i64::from(to)));
}

#[test]
fn the_file_alone_suspends_it_too() {
    let task = tempfile::tempdir().expect("a temporary directory");
    let mut run = Run::start(task.path(), 1, 0, 1_000_000);
    run.wait_for_state(5);
    fs::write(run.dir.join("suspend"), "").expect("written");
    let (status, printed) = run.end();
    assert_eq!(status, Some(0), "{printed}");
    assert!(run.has("answer") && !run.has("done"));
    assert!(printed.contains("suspended at"), "{printed}");
}

#[test]
fn a_killed_run_loses_at_most_what_came_after_its_checkpoint() {
    let task = tempfile::tempdir().expect("a temporary directory");
    let mut first = Run::start(task.path(), 1, 0, 1_000_000);
    first.wait_for_state(25);
    first.send(Signal::KILL);
    let (status, _) = first.end();
    assert_eq!(status, None);
    let state = first.state().expect("it reported");

    let to = u32::try_from(state).expect("a small count") + 30;
    let mut second = Run::start(task.path(), 2, state, to);
    let (status, printed) = second.end();
    assert_eq!(status, Some(0), "{printed}");
    // The checkpoint may be one ahead of the report, never behind.
    let resumed = printed.strip_prefix("resumed at ").and_then(|rest| rest.split(' ').next()?.parse::<i64>().ok());
    assert!(resumed.is_some_and(|resumed| resumed >= state), "{state}: {printed}");
    assert!(printed.ends_with(&sum(to)), "{printed}");
}

#[test]
fn a_first_run_does_not_take_up_what_another_task_left() {
    let task = tempfile::tempdir().expect("a temporary directory");
    let mut other = Run::start(task.path(), 1, 0, 30);
    assert_eq!(other.end().0, Some(0));
    let mut first = Run::start(task.path(), 2, 0, 12);
    let (status, printed) = first.end();
    assert_eq!(status, Some(0), "{printed}");
    assert!(printed.starts_with("count 1\n") && printed.ends_with(&sum(12)), "{printed}");
}

#[test]
fn without_hai_it_just_counts() {
    let task = tempfile::tempdir().expect("a temporary directory");
    let output = count(task.path(), 12).output().expect("python3 starts; install the package python3");
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).expect("it prints text");
    assert!(printed.starts_with("count 1\n") && printed.ends_with(&sum(12)), "{printed}");
}
