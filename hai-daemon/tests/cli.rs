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
        "nodes",
        "rights",
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
