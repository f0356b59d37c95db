//! The local cluster with real processes: the shim is the real daemon binary, workers are shell scripts.

#[path = "local_cluster/lab.rs"]
mod lab;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hai_core::backend::{Cluster, StartOrder, WorkerReport};
use hai_core::model::{Fact, Grace, RunId, WorkerExit, WorkerFate};
use hai_daemon::cluster::local::{LocalCluster, LocalConfig, LocalError};
use hai_daemon::cluster::logs::LogReader;
use rustix::process::{Signal, kill_process};

use lab::{IDLE, Lab, RUN, SmallDisk, TASK, command, ended, gone, grace, next, node, order, place, started, until};

async fn execute(lab: &Lab, order: &StartOrder) -> WorkerExit {
    let mut cluster = lab.open().await;
    cluster.start(order).await.expect("accepted");
    match next(&mut cluster).await {
        Fact::WorkerEnded { exit, .. } => exit,
        Fact::WorkerStarted { .. } => ended(&mut cluster).await,
        other => panic!("not an end: {other:?}"),
    }
}

#[tokio::test]
async fn an_end_is_told_as_it_was() {
    for (script, fate) in [
        ("exit 0", WorkerFate::Exited { code: 0 }),
        ("exit 3", WorkerFate::Exited { code: 3 }),
        ("kill -9 $$", WorkerFate::Killed { signal: 9 }),
        ("kill -15 $$", WorkerFate::Killed { signal: 15 }),
    ] {
        let lab = Lab::new();
        let mut cluster = lab.open().await;
        cluster.start(&order(script)).await.expect("accepted");
        started(&mut cluster).await;
        assert_eq!(ended(&mut cluster).await, WorkerExit::of(fate), "{script}");
    }
}

#[tokio::test]
async fn a_command_that_can_not_be_executed_fails_and_says_why() {
    let lab = Lab::new();
    let plain = lab.path("plain");
    fs::write(&plain, "no program\n").expect("written");
    let bare = lab.path("bare");
    fs::write(&bare, "no program\n").expect("written");
    fs::set_permissions(&bare, fs::Permissions::from_mode(0o755)).expect("executable");
    let mut elsewhere = command(&["true"]);
    elsewhere.program.workdir = Some("/nonexistent/place".into());
    for (order, expected) in [
        (command(&["no-such-thing"]), "`no-such-thing`: no such command in PATH"),
        (command(&["/no/such/thing"]), "no such file"),
        (command(&[plain.to_str().expect("text")]), "not executable"),
        (command(&[bare.to_str().expect("text")]), "neither a program"),
        (elsewhere, "/nonexistent/place does not exist"),
        (command(&[]), "empty"),
    ] {
        let exit = execute(&Lab::new(), &order).await;
        let WorkerFate::NotExecuted { reason } = &exit.fate else { panic!("{exit:?}") };
        assert!(reason.contains(expected), "{reason}");
    }
}

#[tokio::test]
async fn workers_of_a_run_know_their_place() {
    let lab = Lab::new();
    // A daemon whose own variables are none of the workers' business.
    let shim = lab.path("shim");
    let text = format!("#!/bin/sh\nHAI_TOKEN=secret OTHER=kept exec {} \"$@\"\n", env!("CARGO_BIN_EXE_hai-daemon"));
    fs::write(&shim, text).expect("written");
    fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).expect("executable");
    let mut cluster = LocalCluster::open(LocalConfig { shim, ..lab.config() }).await.expect("a cluster");
    let mut order = order("env; pwd >&2");
    order.program.env = BTreeMap::from([("COLOUR".into(), "red".into()), ("RANK".into(), "overridden".into())]);
    order.placement.workers = [place("one", &["GPU-a", "GPU-b"]), place("two", &[])].into_iter().collect();
    order.whole_life_state = 42;
    cluster.start(&order).await.expect("accepted");
    let mut ends = 0;
    while ends < 2 {
        if let Fact::WorkerEnded { exit, .. } = next(&mut cluster).await {
            assert_eq!(exit, WorkerExit::exited(0));
            ends += 1;
        }
    }
    let variables = |rank| -> BTreeMap<String, String> {
        let log = lab.log(rank);
        log.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
    };
    let (first, second) = (variables(0), variables(1));
    let port: u16 = first["MASTER_PORT"].parse().expect("a port");
    assert!(port >= 1024 && first["MASTER_PORT"] == second["MASTER_PORT"], "{port}");
    let dir = lab.rank_dir(0).display().to_string();
    for (name, value) in [
        ("HAI_TASK_ID", "3"),
        ("HAI_RUN_ID", "7"),
        ("HAI_TASK_NAME", "a task"),
        ("HAI_USER", "ada"),
        ("HAI_NODE", "one"),
        ("HAI_WHOLE_LIFE_STATE", "42"),
        ("RANK", "0"),
        ("WORLD_SIZE", "2"),
        ("MASTER_ADDR", "127.0.0.1"),
        ("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b"),
        ("COLOUR", "red"),
        ("OTHER", "kept"),
        ("HAI_SUSPEND_FILE", &format!("{dir}/suspend")),
        ("HAI_ANSWER_FILE", &format!("{dir}/answer")),
        ("HAI_DONE_FILE", &format!("{dir}/done")),
        ("HAI_LOG_PATH", &lab.path("logs/3/7/0").display().to_string()),
    ] {
        assert_eq!(first.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!((second["RANK"].as_str(), second["HAI_NODE"].as_str()), ("1", "two"));
    assert_eq!(second["CUDA_VISIBLE_DEVICES"], "");
    assert_eq!(first["HAI_STATE_FILE"], second["HAI_STATE_FILE"]);
    assert!(!first.contains_key("HAI_TOKEN"));
    assert!(lab.log(0).contains(&format!("{dir}/work\n")), "it starts in a directory of its own");
}

#[tokio::test]
async fn a_suspended_worker_saves_its_state_and_leaves() {
    let lab = Lab::new();
    let mut cluster = lab.open().await;
    // Takes longer than the answer window, which its answer extends.
    let script = r#"
        save() { touch "$HAI_ANSWER_FILE"; test -e "$HAI_SUSPEND_FILE" || exit 9
                 sleep 0.6; echo 42 > "$HAI_STATE_FILE.new"; mv "$HAI_STATE_FILE.new" "$HAI_STATE_FILE"; exit 0; }
        trap save TERM; echo ready; while :; do sleep 0.01; done"#;
    cluster.start(&order(script)).await.expect("accepted");
    started(&mut cluster).await;
    let log = LogReader::open(&lab.path("logs"), TASK, RUN, 0);
    assert_eq!(log.follow(0, 100).await.expect("a log").bytes, b"ready\n");
    cluster.suspend(RUN, grace(300, 20_000)).await.expect("accepted");
    cluster.suspend(RUN, grace(300, 20_000)).await.expect("accepted again");
    assert_eq!(next(&mut cluster).await, Fact::Checkpointed { run: RUN, whole_life_state: 42 });
    assert_eq!(ended(&mut cluster).await, WorkerExit::exited(0).after_signal());
    let listing = cluster.list().await.expect("a listing");
    let exit = Some(WorkerExit::exited(0).after_signal());
    assert_eq!(listing.workers, [WorkerReport { run: RUN, rank: 0, whole_life_state: Some(42), exit }]);
}

#[tokio::test]
async fn a_worker_that_does_not_leave_is_killed_with_its_group() {
    // The first never answers, the second answers and stays.
    for (script, grace) in [("", grace(100, 600_000)), (r#"touch "$HAI_ANSWER_FILE";"#, grace(0, 200))] {
        let lab = Lab::new();
        let mut cluster = lab.open().await;
        let pids = lab.path("pids");
        let script = format!("trap '' TERM; {script} sleep 600 & echo $! > {}; wait; {IDLE}", pids.display());
        cluster.start(&order(&script)).await.expect("accepted");
        started(&mut cluster).await;
        let child = lab.pids("pids", 1).await[0];
        cluster.stop(RUN, grace).await.expect("accepted");
        assert_eq!(ended(&mut cluster).await, WorkerExit::of(WorkerFate::Killed { signal: 9 }).after_signal());
        assert!(gone(child));
    }
}

#[tokio::test]
async fn a_signalled_worker_can_declare_the_work_done() {
    let lab = Lab::new();
    let mut cluster = lab.open().await;
    let script = format!(r#"trap 'touch "$HAI_DONE_FILE"; exit 0' TERM; echo ready; {IDLE}"#);
    cluster.start(&order(&script)).await.expect("accepted");
    started(&mut cluster).await;
    LogReader::open(&lab.path("logs"), TASK, RUN, 0).follow(0, 100).await.expect("a log");
    cluster.suspend(RUN, Grace::default()).await.expect("accepted");
    let exit = ended(&mut cluster).await;
    assert_eq!(exit, WorkerExit { declared_done: true, ..WorkerExit::exited(0).after_signal() });
}

#[tokio::test]
async fn nothing_outlives_its_worker() {
    let lab = Lab::new();
    let pids = lab.path("pids");
    // One stays in the group, one leaves it and the session, one also forgets its environment.
    let script = format!(
        "sleep 600 & echo $! >> {0}; setsid sh -c 'echo $$ >> {0}; exec sleep 600' & \
         setsid env -i sh -c 'echo $$ >> {0}; exec /bin/sleep 600' & \
         while test $(wc -l < {0}) -lt 3; do sleep 0.01; done",
        pids.display()
    );
    assert_eq!(execute(&lab, &order(&script)).await, WorkerExit::exited(0));
    for pid in lab.pids("pids", 3).await {
        assert!(gone(pid), "{pid:?}");
    }
}

#[tokio::test]
async fn checkpoints_are_told_while_it_runs() {
    let lab = Lab::new();
    let mut cluster = lab.open().await;
    let go = lab.path("go");
    let script = format!(
        r#"for i in 1 2; do while ! test -e {0}$i; do sleep 0.01; done; echo $i > "$HAI_STATE_FILE"; done; {IDLE}"#,
        go.display()
    );
    cluster.start(&order(&script)).await.expect("accepted");
    started(&mut cluster).await;
    for state in [1, 2] {
        fs::write(lab.path(&format!("go{state}")), "").expect("written");
        assert_eq!(next(&mut cluster).await, Fact::Checkpointed { run: RUN, whole_life_state: state });
    }
}

#[tokio::test]
async fn a_run_that_is_started_again_executes_once() {
    let lab = Lab::new();
    let mut cluster = lab.open().await;
    let order = order(&format!("echo x >> {}", lab.path("executed").display()));
    cluster.start(&order).await.expect("accepted");
    cluster.start(&order).await.expect("accepted again");
    started(&mut cluster).await;
    cluster.start(&order).await.expect("accepted again");
    ended(&mut cluster).await;
    cluster.start(&order).await.expect("accepted again");
    drop(cluster);
    let mut cluster = lab.open().await;
    cluster.start(&order).await.expect("accepted again");
    let listing = cluster.list().await.expect("a listing");
    assert_eq!(listing.workers[0].exit, Some(WorkerExit::exited(0)));
    let shim = || Command::new(env!("CARGO_BIN_EXE_hai-daemon")).arg("shim").arg(lab.rank_dir(0)).status();
    assert!(shim().expect("a shim").success(), "a shim that has nothing to do");
    assert_eq!(fs::read_to_string(lab.path("executed")).expect("a file"), "x\n");
}

#[tokio::test]
async fn workers_outlive_their_cluster_and_are_found_again() {
    let lab = Lab::new();
    let mut cluster = lab.open().await;
    let mut order =
        order(&format!("while ! test -e {}$RANK; do sleep 0.01; done; exit $RANK", lab.path("go").display()));
    order.placement.workers.push(place("two", &[]));
    cluster.start(&order).await.expect("accepted");
    next(&mut cluster).await;
    next(&mut cluster).await;
    drop(cluster);
    fs::write(lab.path("go1"), "").expect("written");
    until(|| lab.rank_dir(1).join("exit.json").exists()).await;
    let mut cluster = lab.open().await;
    let report = |rank, exit| WorkerReport { run: RUN, rank, whole_life_state: None, exit };
    let listing = cluster.list().await.expect("a listing");
    assert_eq!(listing.workers, [report(0, None), report(1, Some(WorkerExit::exited(1)))]);
    fs::write(lab.path("go0"), "").expect("written");
    // What is new to this cluster is told (again); what it listed is not.
    started(&mut cluster).await;
    assert_eq!(ended(&mut cluster).await, WorkerExit::exited(0));
}

/// Plays the daemon for the next test.
#[tokio::test]
#[ignore = "started, and killed, by the next test"]
async fn a_daemon_to_be_killed() {
    let Some(dir) = std::env::var_os("LAB") else { return };
    let dir = Path::new(&dir);
    let lab = Lab::new();
    let config = LocalConfig { run_dir: dir.join("runs"), log_dir: dir.join("logs"), ..lab.config() };
    let mut cluster = LocalCluster::open(config).await.expect("a cluster");
    cluster.start(&order(&format!("trap 'echo saved; exit 5' TERM; echo ready; {IDLE}"))).await.expect("accepted");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_shim_carries_out_the_whole_protocol_after_its_daemon_was_killed() {
    let lab = Lab::new();
    let mut daemon = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "a_daemon_to_be_killed", "--ignored"])
        .env("LAB", lab.temp.path())
        .spawn()
        .expect("a daemon");
    let log = LogReader::open(&lab.path("logs"), TASK, RUN, 0);
    assert_eq!(log.follow(0, 100).await.expect("a log").bytes, b"ready\n");
    daemon.kill().expect("killed");
    daemon.wait().expect("an end");
    let shim = lab.shim_pid(0).expect("a shim");
    assert!(!gone(shim));
    kill_process(shim, Signal::TERM).expect("signalled");
    until(|| lab.rank_dir(0).join("exit.json").exists()).await;
    let listing = lab.open().await.list().await.expect("a listing");
    assert_eq!(listing.workers[0].exit, Some(WorkerExit::exited(5).after_signal()));
    // The shell may say that its sleep was terminated.
    assert!(lab.log(0).starts_with("ready\n") && lab.log(0).ends_with("saved\n"), "{}", lab.log(0));
}

#[tokio::test]
async fn a_killed_shim_is_a_lost_worker_of_which_nothing_is_left() {
    for restart in [false, true] {
        let lab = Lab::new();
        let mut cluster = lab.open().await;
        let pids = lab.path("pids");
        let script = format!("sleep 600 & echo $! >> {0}; echo $$ >> {0}; {IDLE}", pids.display());
        cluster.start(&order(&script)).await.expect("accepted");
        started(&mut cluster).await;
        let workers = lab.pids("pids", 2).await;
        let shim = lab.shim_pid(0).expect("a shim");
        let exit = if restart {
            drop(cluster);
            kill_process(shim, Signal::KILL).expect("killed");
            until(|| gone(shim)).await;
            cluster = lab.open().await;
            match cluster.list().await.expect("a listing").workers[0].exit.clone() {
                Some(exit) => exit,
                // A thread of the shim still held the lock.
                None => loop {
                    if let Fact::WorkerEnded { exit, .. } = next(&mut cluster).await {
                        break exit;
                    }
                },
            }
        } else {
            kill_process(shim, Signal::KILL).expect("killed");
            ended(&mut cluster).await
        };
        assert!(matches!(exit.fate, WorkerFate::Lost { .. }), "{exit:?}");
        assert!(workers.into_iter().all(gone));
        let listing = lab.open().await.list().await.expect("a listing");
        assert_eq!(listing.workers[0].exit, Some(exit));
    }
}

#[tokio::test]
async fn a_start_that_fails_leaves_nothing() {
    let lab = Lab::new();
    let config = LocalConfig { shim: "/nonexistent/shim".into(), ..lab.config() };
    let mut cluster = LocalCluster::open(config).await.expect("a cluster");
    let refused = cluster.start(&order("true")).await.expect_err("refused");
    assert!(refused.to_string().contains("/nonexistent/shim"), "{refused}");
    assert!(fs::read_dir(lab.path("runs")).expect("a directory").next().is_none());
    assert!(cluster.list().await.expect("a listing").workers.is_empty());
    let mut elsewhere = order("true");
    elsewhere.placement.workers.push(place("three", &[]));
    assert!(matches!(cluster.start(&elsewhere).await, Err(LocalError::UnknownNode { .. })));
    fs::remove_dir(lab.path("runs")).expect("removed");
    fs::write(lab.path("runs"), "in the way").expect("written");
    assert!(matches!(cluster.start(&order("true")).await, Err(LocalError::Io { .. })));
    fs::remove_file(lab.path("runs")).expect("removed");
}

/// A cluster whose daemon died before its shims began: their directories are there, nothing executes.
async fn not_begun(lab: &Lab) -> LocalCluster {
    let (shim, pids) = (lab.path("shim"), lab.path("pids"));
    fs::write(&shim, format!("#!/bin/sh\necho $$ > {}\nexec sleep 600\n", pids.display())).expect("written");
    fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).expect("executable");
    let mut cluster = LocalCluster::open(LocalConfig { shim, ..lab.config() }).await.expect("a cluster");
    cluster.start(&order("exit 6")).await.expect("accepted");
    let shim = lab.pids("pids", 1).await[0];
    drop(cluster);
    kill_process(shim, Signal::KILL).expect("killed");
    lab.open().await
}

#[tokio::test]
async fn what_was_never_begun_is_begun_when_it_is_ordered_again() {
    let lab = Lab::new();
    let mut cluster = not_begun(&lab).await;
    assert!(cluster.list().await.expect("a listing").workers.is_empty());
    cluster.start(&order("exit 6")).await.expect("accepted");
    started(&mut cluster).await;
    assert_eq!(ended(&mut cluster).await, WorkerExit::exited(6));
}

#[tokio::test]
async fn what_is_told_to_leave_before_it_began_never_begins() {
    let lab = Lab::new();
    let mut cluster = not_begun(&lab).await;
    cluster.suspend(RUN, Grace::default()).await.expect("accepted");
    let exit = ended(&mut cluster).await;
    assert_eq!(exit, WorkerExit::of(WorkerFate::Killed { signal: 15 }).after_signal());
    cluster.start(&order("exit 6")).await.expect("accepted");
    assert_eq!(cluster.list().await.expect("a listing").workers[0].exit, Some(exit));
}

#[tokio::test]
async fn a_suspend_at_any_moment_ends_the_worker_signalled() {
    // Hits the shim before it listens, while it claims, or after; the outcome must be of the same kind.
    for delay_us in [0, 500, 1000, 2000, 4000, 8000] {
        let lab = Lab::new();
        let mut cluster = lab.open().await;
        cluster.start(&order("exec sleep 600")).await.expect("accepted");
        tokio::time::sleep(Duration::from_micros(delay_us)).await;
        cluster.suspend(RUN, Grace::default()).await.expect("accepted");
        let exit = loop {
            match next(&mut cluster).await {
                Fact::WorkerStarted { .. } => {}
                Fact::WorkerEnded { exit, .. } => break exit,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(exit, WorkerExit::of(WorkerFate::Killed { signal: 15 }).after_signal(), "{delay_us} µs");
    }
}

#[tokio::test]
async fn output_is_bounded_and_read_by_offset() {
    let lab = Lab::new();
    let config = LocalConfig { log_bytes_max: 8192, log_segments: 4, ..lab.config() };
    let mut cluster = LocalCluster::open(config).await.expect("a cluster");
    cluster.start(&order("i=0; while test $i -lt 3000; do printf '%09d\\n' $i; i=$((i+1)); done")).await.expect("ok");
    started(&mut cluster).await;
    assert_eq!(ended(&mut cluster).await, WorkerExit::exited(0));
    let size = |entry: fs::DirEntry| entry.metadata().expect("metadata").len();
    let total: u64 =
        fs::read_dir(lab.path("logs/3/7/0")).expect("a log").map(|entry| size(entry.expect("a file"))).sum();
    assert!(total <= 8192, "{total}");
    let reader = LogReader::open(&lab.path("logs"), TASK, RUN, 0);
    let chunk = reader.read(29_990, 100).expect("a log");
    assert_eq!((chunk.bytes.as_slice(), chunk.end, chunk.complete), (&b"000002999\n"[..], 30_000, true));
    let chunk = reader.read(0, 10).expect("a log");
    assert!(chunk.offset == chunk.first_available && chunk.offset >= 30_000 - 8192, "{chunk:?}");
    assert_eq!(chunk.next, chunk.offset + 10);
}

#[tokio::test]
async fn a_full_disk_for_logs_costs_output_and_nothing_else() {
    let lab = Lab::new();
    let Some(disk) = SmallDisk::mount(lab.path("logs"), 512) else { return };
    let mut cluster = lab.open().await;
    let go = lab.path("go");
    let script = format!(
        "head -c 1000000 /dev/zero; touch {0}1; while ! test -e {0}2; do sleep 0.01; done; echo after",
        go.display()
    );
    let ballast = disk.0.join("ballast");
    // More than is under way when the worker has written all: what the pipe and its reader hold.
    fs::write(&ballast, vec![0; 256 << 10]).expect("written");
    cluster.start(&order(&script)).await.expect("accepted");
    started(&mut cluster).await;
    until(|| lab.path("go1").exists()).await;
    fs::remove_file(&ballast).expect("removed");
    fs::write(lab.path("go2"), "").expect("written");
    let exit = ended(&mut cluster).await;
    assert_eq!(exit.fate, WorkerFate::Exited { code: 0 });
    assert!(exit.log_lost_bytes > 100_000, "{exit:?}");
    let log = lab.log(0);
    assert!(log.ends_with("after\n"), "{}", log.trim_start_matches('\0'));
    // More than one loss if room was made while the first was still under way.
    let told = log.split("[hai: ").skip(1).filter_map(|line| line.split_once(" bytes of output were lost here: "));
    let told: u64 = told.map(|(count, _)| count.parse::<u64>().expect("a number")).sum();
    assert_eq!(told, exit.log_lost_bytes);
}

#[tokio::test]
async fn a_full_disk_for_runs_refuses_starts_and_does_not_lose_ends() {
    let lab = Lab::new();
    let Some(disk) = SmallDisk::mount(lab.path("runs"), 64) else { return };
    let mut cluster = lab.open().await;
    let script = format!("while ! test -e {}; do sleep 0.01; done; exit 4", lab.path("go").display());
    cluster.start(&order(&script)).await.expect("accepted");
    started(&mut cluster).await;
    let ballast = disk.0.join("ballast");
    let filled = fs::write(&ballast, [0; 128 << 10]);
    assert!(filled.is_err(), "the disk is full");
    let another = StartOrder { run: RunId(8), ..order("true") };
    assert!(matches!(cluster.start(&another).await, Err(LocalError::Io { .. })));
    assert!(!lab.path("runs/8").exists());
    fs::write(lab.path("go"), "").expect("written");
    assert_eq!(ended(&mut cluster).await, WorkerExit::exited(4));
    drop(cluster);
    let listing = lab.open().await.list().await.expect("a listing");
    assert_eq!(listing.workers[0].exit, Some(WorkerExit::exited(4)));
    drop(disk);
}

#[tokio::test]
async fn garbage_stops_nobody() {
    let lab = Lab::new();
    let mut cluster = lab.open().await;
    cluster
        .start(&order(&format!("while ! test -e {}; do sleep 0.01; done", lab.path("go").display())))
        .await
        .expect("ok");
    started(&mut cluster).await;
    drop(cluster);
    let runs = lab.path("runs");
    for name in ["1/0", "2", "3/zero", "what", ".new-9/0", ".gone-10", "007", "11/0"] {
        fs::create_dir_all(runs.join(name)).expect("created");
    }
    fs::write(runs.join("1/0/order.json"), b"{\xff").expect("written");
    fs::write(runs.join("11/0/exit.json"), b"").expect("written");
    fs::write(runs.join("12"), "a file").expect("written");
    let mut cluster = lab.open().await;
    let listing = cluster.list().await.expect("a listing");
    let known: Vec<(RunId, bool)> = listing.workers.iter().map(|worker| (worker.run, worker.exit.is_some())).collect();
    assert_eq!(known, [(RunId(1), true), (RUN, false), (RunId(11), true)]);
    for worker in &listing.workers {
        assert!(worker.exit.as_ref().is_none_or(|exit| matches!(exit.fate, WorkerFate::Lost { .. })), "{worker:?}");
    }
    assert!(!runs.join(".new-9").exists() && !runs.join(".gone-10").exists());
    fs::write(lab.path("go"), "").expect("written");
    started(&mut cluster).await;
    assert_eq!(ended(&mut cluster).await, WorkerExit::exited(0));
    // A run whose directory is there but empty may have been executed: it is not executed again.
    cluster.start(&StartOrder { run: RunId(2), ..order("true") }).await.expect("accepted");
    let Fact::WorkerEnded { run: RunId(2), exit, .. } = next(&mut cluster).await else { panic!("it ended") };
    assert!(matches!(exit.fate, WorkerFate::Lost { .. }));
}

#[tokio::test]
async fn forgetting_leaves_the_output_alone() {
    let lab = Lab::new();
    let mut cluster = lab.open().await;
    cluster
        .start(&order(&format!("echo kept; while ! test -e {}; do sleep 0.01; done", lab.path("go").display())))
        .await
        .expect("ok");
    started(&mut cluster).await;
    assert!(matches!(cluster.forget(RUN).await, Err(LocalError::StillExecutes { run: RUN })));
    fs::write(lab.path("go"), "").expect("written");
    ended(&mut cluster).await;
    cluster.forget(RUN).await.expect("forgotten");
    cluster.forget(RUN).await.expect("forgotten again");
    assert!(cluster.list().await.expect("a listing").workers.is_empty());
    assert!(!lab.path("runs/7").exists());
    assert_eq!(lab.log(0), "kept\n");
    cluster.suspend(RUN, Grace::default()).await.expect("none of its business");
    cluster.stop(RunId(99), Grace::default()).await.expect("none of its business");
}

#[tokio::test]
async fn directories_may_be_relative() {
    let lab = Lab::new();
    let here = std::env::current_dir().expect("a directory");
    let relative = |path: PathBuf| {
        let root: PathBuf = here.components().skip(1).map(|_| "..").collect();
        root.join(path.strip_prefix("/").expect("an absolute path"))
    };
    let config = lab.config();
    let config = LocalConfig { run_dir: relative(config.run_dir), log_dir: relative(config.log_dir), ..config };
    let mut cluster = LocalCluster::open(config).await.expect("a cluster");
    cluster.start(&order("pwd")).await.expect("accepted");
    started(&mut cluster).await;
    assert_eq!(ended(&mut cluster).await, WorkerExit::exited(0));
    assert!(lab.log(0).ends_with("runs/7/0/work\n"), "{}", lab.log(0));
}

#[tokio::test]
async fn bad_configurations_are_refused() {
    let lab = Lab::new();
    let refused = async |config: LocalConfig| LocalCluster::open(config).await.expect_err("refused").to_string();
    let config = LocalConfig { nodes: vec![node("one"), node("one")], ..lab.config() };
    assert!(refused(config).await.contains("node one is declared twice"));
    assert!(refused(LocalConfig { log_bytes_max: 10, ..lab.config() }).await.contains("log_bytes_max"));
    assert!(refused(LocalConfig { log_segments: 1, ..lab.config() }).await.contains("log_segments"));
    let detected = LocalConfig { nodes: Vec::new(), ..lab.config() };
    let listing = LocalCluster::open(detected).await.expect("a cluster").list().await.expect("a listing");
    assert_eq!(listing.nodes.len(), 1);
}
