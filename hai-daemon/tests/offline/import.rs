//! `hai-daemon import hai-up`: the file it writes, and what it says of one that it can not read.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

fn import(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hai-daemon")).args(["import", "hai-up"]).args(args).output().expect("it runs")
}

#[test]
fn the_file_is_for_its_owner_alone_and_replaces_none() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(path("env"), "export TRAINING_NODES=\"worker\"\nexport USER_INFO=\"ada:1:s3cr3t\"\n").expect("written");
    let made = import(&[&path("env"), "--output", &path("hai.toml")]);
    assert!(made.status.success() && made.stdout.is_empty(), "{made:?}");
    let mode = fs::metadata(path("hai.toml")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(path("hai.toml")).expect("text");
    assert!(text.contains("nodes = [\"worker\"]") && !text.contains("s3cr3t"), "{text}");
    let printed = import(&[&path("env")]);
    assert_eq!(String::from_utf8_lossy(&printed.stdout), text);
    let again = import(&[&path("env"), "--output", &path("hai.toml")]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists"), "{again:?}");
}

#[test]
fn every_line_that_can_not_be_read_is_told() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("env").display().to_string();
    fs::write(&file, "TRAINING_NODES=worker\nkubectl get nodes\nUSER_INFO=ada:s3cr3t\n").expect("written");
    let refused = import(&[&file]);
    assert_eq!(refused.status.code(), Some(2));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains(&format!("{file}:2: this is not an assignment")), "{told}");
    assert!(told.contains(&format!("{file}:3: user 1 of USER_INFO")), "{told}");
    assert!(refused.stdout.is_empty() && !told.contains("s3cr3t"), "{refused:?}");
    let missing = import(&["/nonexistent/env"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/nonexistent/env can not be read"), "{missing:?}");
}
