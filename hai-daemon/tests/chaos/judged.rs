//! What a daemon stored: decided anew, record by record before the judge, and checked against what can be read of it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Command;

use hai_core::log::LogReader;

use crate::judge::stored::{Stored, judge_log};
use crate::support::Daemon;

/// Exports the log of a daemon that runs, and judges it; the digest that `hai replay` found last is the log's.
pub(crate) fn judge(daemon: &Daemon) -> Stored {
    let path = daemon.scratch().join("log.jsonl");
    fs::write(&path, daemon.says(&["log", "export"])).expect("a file");
    let mut hai = Command::new(env!("CARGO_BIN_EXE_hai"));
    let hai = hai.env_clear().env("HOME", daemon.scratch()).arg("replay").arg(&path);
    let replayed = hai.output().expect("hai is executed");
    let said = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert!(replayed.status.success() && said.starts_with("no difference"), "{said}");
    let lines = || BufReader::new(fs::File::open(&path).expect("it was just written")).lines();
    let judged = judge_log(LogReader::open(lines()).expect("a log"));
    let last =
        lines().map_while(Result::ok).filter_map(|line| Some(line.split_once("\"digest\":\"")?.1[..16].to_owned()));
    let last = last.last().expect("a round");
    assert!(said.contains(&last), "another digest than {last}: {said}");
    judged
}

/// What `hai-daemon db check` says of the store; the daemon must not run.
pub(crate) fn check(daemon: &Daemon, database: Option<&str>) {
    let mut db = Command::new(env!("CARGO_BIN_EXE_hai-daemon"));
    match database {
        Some(url) => db.env("HAI_DATA_DATABASE", url),
        None => db.env("HAI_DATA_DIR", daemon.data()),
    };
    let checked = db.args(["db", "check"]).output().expect("hai-daemon is executed");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
