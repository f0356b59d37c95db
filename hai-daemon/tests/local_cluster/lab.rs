//! A local cluster in directories of its own, and what its tests need to look at it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use hai_core::backend::{Cluster, StartOrder};
use hai_core::model::{
    DeviceId, Fact, Grace, GroupName, NodeName, NodeSpec, Placement, Program, RunId, Span, TaskId, UserName,
    WorkerExit, WorkerPlacement,
};
use hai_daemon::cluster::local::{LocalCluster, LocalConfig};
use hai_daemon::cluster::logs::LogReader;
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};

/// Far more than anything here takes; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const RUN: RunId = RunId(7);
pub(crate) const TASK: TaskId = TaskId(3);
/// Does nothing until it is told to leave, and then leaves at once.
pub(crate) const IDLE: &str = "while :; do sleep 0.01; done";

/// Directories of a cluster; ends what still runs there when it is dropped.
pub(crate) struct Lab {
    pub(crate) temp: tempfile::TempDir,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Lab { temp: tempfile::tempdir().expect("a temporary directory") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub(crate) fn config(&self) -> LocalConfig {
        LocalConfig {
            run_dir: self.path("runs"),
            log_dir: self.path("logs"),
            shim: env!("CARGO_BIN_EXE_hai-daemon").into(),
            nodes: vec![node("one"), node("two")],
            devices: Vec::new(),
            log_bytes_max: 1 << 20,
            log_segments: 4,
        }
    }

    pub(crate) async fn open(&self) -> LocalCluster {
        LocalCluster::open(self.config()).await.expect("a cluster")
    }

    pub(crate) fn rank_dir(&self, rank: u32) -> PathBuf {
        self.path("runs").join(RUN.to_string()).join(rank.to_string())
    }

    pub(crate) fn log(&self, rank: u32) -> String {
        let chunk = LogReader::open(&self.path("logs"), TASK, RUN, rank).read(0, 1 << 20).expect("a log");
        assert!(chunk.complete, "the log of a worker that ended is complete");
        String::from_utf8(chunk.bytes).expect("text")
    }

    /// A file that the worker makes, holding one process id per line.
    pub(crate) async fn pids(&self, name: &str, count: usize) -> Vec<Pid> {
        let read = || fs::read_to_string(self.path(name)).unwrap_or_default();
        until(|| read().lines().count() >= count && read().ends_with('\n')).await;
        read().lines().map(|line| Pid::from_raw(line.trim().parse().expect("a pid")).expect("a pid")).collect()
    }

    pub(crate) fn shim_pid(&self, rank: u32) -> Option<Pid> {
        self.pid(rank, 0, "shim")
    }

    pub(crate) fn pid(&self, rank: u32, line: usize, process: &str) -> Option<Pid> {
        let text = fs::read_to_string(self.rank_dir(rank).join("lock")).ok()?;
        let json: serde_json::Value = serde_json::from_str(text.lines().nth(line)?).ok()?;
        Pid::from_raw(i32::try_from(json[process]["pid"].as_i64()?).ok()?)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for rank in 0..4 {
            let dir = self.rank_dir(rank);
            let Some(shim) = self.shim_pid(rank).filter(|_| !dir.join("exit.json").exists()) else { continue };
            let _ = fs::write(dir.join("leave.json"), r#"{"grace":{"answer":0,"finish":0}}"#);
            let _ = kill_process(shim, Signal::TERM);
            let begun = Instant::now();
            while !dir.join("exit.json").exists() && !gone(shim) && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(5));
            }
            // Only a failed test gets here with a worker that executes.
            if let Some(worker) = self.pid(rank, 1, "worker").filter(|_| !dir.join("exit.json").exists()) {
                let _ = kill_process_group(worker, Signal::KILL);
            }
        }
    }
}

pub(crate) fn node(name: &str) -> NodeSpec {
    NodeSpec::new(NodeName::new(name).expect("a name"), GroupName::new("lab").expect("a name"), 4000, 1024)
}

pub(crate) fn order(script: &str) -> StartOrder {
    command(&["sh", "-c", script])
}

pub(crate) fn command(words: &[&str]) -> StartOrder {
    StartOrder {
        run: RUN,
        task: TASK,
        attempt: 1,
        name: "a task".into(),
        user: UserName::new("ada").expect("a name"),
        group: GroupName::new("lab").expect("a name"),
        program: Program { command: words.iter().map(|word| (*word).to_owned()).collect(), ..Program::default() },
        placement: Placement { workers: [place("one", &[])].into_iter().collect() },
        grace: Grace::default(),
        whole_life_state: 0,
    }
}

pub(crate) fn place(node: &str, devices: &[&str]) -> WorkerPlacement {
    WorkerPlacement {
        node: NodeName::new(node).expect("a name"),
        whole_node: false,
        devices: devices.iter().map(|id| DeviceId::new(id).expect("an id")).collect(),
        part: None,
        cpu_milli: 1000,
        memory_mib: 1,
    }
}

pub(crate) fn grace(answer_ms: u64, finish_ms: u64) -> Grace {
    Grace { answer: Span::from_ms(answer_ms), finish: Span::from_ms(finish_ms) }
}

/// Waits for something that can only be looked at.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn next(cluster: &mut LocalCluster) -> Fact {
    tokio::time::timeout(PATIENCE, cluster.next()).await.expect("a fact")
}

pub(crate) async fn started(cluster: &mut LocalCluster) {
    assert_eq!(next(cluster).await, Fact::WorkerStarted { run: RUN, rank: 0 });
}

pub(crate) async fn ended(cluster: &mut LocalCluster) -> WorkerExit {
    match next(cluster).await {
        Fact::WorkerEnded { run: RUN, rank: 0, exit } => exit,
        other => panic!("not an end: {other:?}"),
    }
}

pub(crate) fn gone(pid: Pid) -> bool {
    // A zombie that nobody has reaped yet holds nothing any more.
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    test_kill_process(pid).is_err() || stat.contains(") Z ")
}

/// A file system of its own that can be filled up.
pub(crate) struct SmallDisk(pub(crate) PathBuf);

impl SmallDisk {
    pub(crate) fn mount(path: PathBuf, kib: u32) -> Option<Self> {
        fs::create_dir_all(&path).expect("a directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"]).arg(&path);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("SKIPPED: a full disk can only be tried where a file system can be mounted (as root)");
        }
        mounted.then_some(SmallDisk(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
