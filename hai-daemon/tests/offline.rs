//! What `hai` does without a daemon: deciding about a cluster described in a file, and simulating.

#[path = "offline/hai_platform.rs"]
mod hai_platform;
#[path = "offline/import.rs"]
mod import;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "offline/simulate.rs"]
mod simulate;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use hai_daemon::cli::plan::{WhichSchema, schema};
use serde_json::{Value, json};

/// `hai` in surroundings of its own, with this on its standard input.
fn hai(home: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hai"))
        .args(args)
        .env_clear()
        .env("HOME", home)
        .current_dir(home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // It may have seen enough.
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic");
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn good(output: Output) -> String {
    assert!(output.status.success(), "{:?}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn the_example_is_answered() {
    let home = tempfile::tempdir().expect("a directory");
    let example = good(hai(home.path(), &["plan", "--example"], ""));
    fs::write(home.path().join("cluster.json"), &example).expect("written");
    let answer: Value =
        serde_json::from_str(&good(hai(home.path(), &["plan", "cluster.json", "--json"], ""))).expect("JSON");
    let actions: Vec<_> =
        answer["tasks"].as_array().expect("a list").iter().map(|task| task["action"].clone()).collect();
    assert_eq!(actions, [json!("suspend"), json!("start_later")]);
    let table = good(hai(home.path(), &["plan", "-"], &example));
    assert!(table.contains("start once others have left"), "{table}");
    let upstream = good(hai(home.path(), &["plan", "-", "--policy", "hai-fifo", "--json"], &example));
    assert!(upstream.contains("\"decisions\""), "{upstream}");
}

#[test]
fn one_bad_line_stops_no_other() {
    let home = tempfile::tempdir().expect("a directory");
    let lines = ["{}", "{\"tasks\": [{\"id\": \"x\"}]}", "", "{\"nodes\"", "{\"now\": 5}"].join("\n");
    let output = hai(home.path(), &["plan", "--lines", "-"], &lines);
    assert_eq!(output.status.code(), Some(1));
    let answers: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(answers.len(), 4);
    assert_eq!((&answers[0]["tasks"], &answers[3]["at"]), (&json!([]), &json!(5)));
    assert_eq!(answers[1]["line"], 2);
    let problem = answers[1]["error"].as_str().expect("text");
    assert!(problem.starts_with("tasks[0].id: invalid type: string"), "{problem}");
    assert!(answers[2]["error"].as_str().expect("text").contains("EOF"), "{}", answers[2]);
    assert!(text(&output.stderr).contains("2 of 4 could not be done"), "{}", text(&output.stderr));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let home = tempfile::tempdir().expect("a directory");
    for (input, part) in [
        ("{\"nodes\": [{\"name\": \"a\"}]}", "nodes[0]: missing field `group`"),
        ("{\"node\": []}", "unknown field `node`"),
        ("{} {}", "after the document"),
        ("{\"rights\": [{\"priority\": \"AUTO\", \"devices\": \"unlimited\"}]}", "rights[0]: "),
    ] {
        let output = hai(home.path(), &["plan", "-"], input);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(part), "{input}: {}", text(&output.stderr));
    }
    let missing = hai(home.path(), &["plan", "nowhere.json"], "");
    assert!(text(&missing.stderr).contains("nowhere.json can not be read"), "{}", text(&missing.stderr));
}

/// `HAI_REWRITE_SCHEMAS=1` writes them anew.
#[test]
fn the_committed_schemas_are_those_of_the_types() {
    let home = tempfile::tempdir().expect("a directory");
    for (which, word) in [(WhichSchema::Document, "document"), (WhichSchema::Answer, "answer")] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../hai-core/schemas/plan-{word}.json"));
        let now = schema(which) + "\n";
        assert_eq!(good(hai(home.path(), &["plan", "--schema", word], "")), now);
        if std::env::var_os("HAI_REWRITE_SCHEMAS").is_some() {
            fs::write(&path, &now).expect("written");
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(committed, now, "write it anew with HAI_REWRITE_SCHEMAS=1");
    }
}
