//! `hai simulate`: what it plays, writes and refuses.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{good, hai, text};

const CLUSTER: &str = "[[node]]\nname = \"n\"\ncount = 2\ndevices = 4\n";
const TRACE: &str = "id,submit,duration,user,devices\na,0,600,u,4\nb,10,600,v,4\nc,20,60,v,4\nd,30,60,w,1\n";

fn put(home: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        fs::write(home.join(name), text).expect("written");
    }
}

/// What it says when it refuses.
fn refused(home: &Path, args: &[&str], status: i32) -> String {
    let mut all = vec!["simulate"];
    all.extend(args);
    let output = hai(home, &all, "");
    assert_eq!(output.status.code(), Some(status), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stderr)
}

#[test]
fn the_shipped_example_is_the_same_on_any_number_of_threads() {
    let home = tempfile::tempdir().expect("a directory");
    let said = good(hai(home.path(), &["simulate", "--example", "demo"], ""));
    assert!(said.contains("--cluster demo/cluster.toml --trace"), "{said}");
    let play = |threads: &str| {
        let args = [
            "simulate",
            "--cluster",
            "demo/cluster.toml",
            "--trace",
            "demo/trace.csv",
            "--policy",
            "hai,hai+las,hai-fifo",
        ];
        let mut args = args.to_vec();
        args.extend(["--seeds", "2", "--json", "--csv", threads, "--threads", threads]);
        good(hai(home.path(), &args, ""))
    };
    let (one, four) = (play("1"), play("4"));
    assert_eq!(one, four);
    for file in ["tasks.csv", "users.csv", "series.csv", "summary.csv"] {
        let read = |threads: &str| fs::read(home.path().join(threads).join(file)).expect("a file");
        assert_eq!(read("1"), read("4"), "{file}");
    }
    let study: Value = serde_json::from_str(&one).expect("JSON");
    assert_eq!(study["runs"].as_array().expect("runs").len(), 6);
    assert!(study["runs"][0]["figures"]["suspensions"].as_u64().expect("a count") > 0);
    // Both seeds break other machines.
    assert_ne!(study["runs"][0]["figures"], study["runs"][1]["figures"]);
    let table =
        good(hai(home.path(), &["simulate", "--cluster", "demo/cluster.toml", "--trace", "demo/trace.csv"], ""));
    assert!(table.starts_with("POLICY\tTASKS\t") && table.contains("\nhai\t469\t"), "{table}");
}

#[test]
fn what_can_not_be_played_is_told_with_its_place() {
    let home = tempfile::tempdir().expect("a directory");
    let bad = TRACE.replace("b,10,600", "b,10,sixty");
    put(
        home.path(),
        &[
            ("c.toml", CLUSTER),
            ("t.csv", TRACE),
            ("bad.csv", &bad),
            ("empty.csv", ""),
            ("none.csv", "submit,duration,devices\n"),
            ("strange.csv", "a,b\n1,2\n"),
            ("typo.toml", "[[node]]\nname = \"n\"\ncuont = 2\n"),
            ("typo.json", "{\"node\": [{\"name\": \"n\", \"count\": \"two\"}]}"),
            ("empty.toml", ""),
        ],
    );
    let with = |cluster: &str, trace: &str| refused(home.path(), &["--cluster", cluster, "--trace", trace], 1);
    let said = with("c.toml", "bad.csv");
    assert!(said.contains("bad.csv: line 3, column duration: \"sixty\" is no number of seconds"), "{said}");
    assert!(said.contains("--skip-bad-lines"), "{said}");
    assert!(with("c.toml", "empty.csv").contains("empty.csv: it is empty"));
    assert!(with("c.toml", "none.csv").contains("none.csv: there is no task in it"));
    assert!(with("c.toml", "strange.csv").contains("say it with --format (csv, jsonl, philly"));
    assert!(with("c.toml", "gone.csv").contains("gone.csv: No such file"));
    assert!(with("typo.toml", "t.csv").contains("line 3"));
    assert!(with("typo.json", "t.csv").contains("node[0].count: invalid type"));
    assert!(with("empty.toml", "t.csv").contains("there is no node in it"));
    let policy = refused(home.path(), &["--cluster", "c.toml", "--trace", "t.csv", "--policy", "hai+lsa"], 2);
    assert!(policy.contains("`hai+lsa`: there is no \"lsa\", only fifo, fair, las"), "{policy}");
    assert!(refused(home.path(), &["--trace", "t.csv"], 2).contains("--cluster FILE"));
    assert!(refused(home.path(), &[], 2).contains("--example"));
    let output = hai(home.path(), &["simulate", "--cluster", "c.toml", "--trace", "bad.csv", "--skip-bad-lines"], "");
    assert!(text(&output.stderr).contains("left out: bad.csv: line 3"), "{}", text(&output.stderr));
    assert!(good(output).contains("1 bad lines of the trace were left out"));
}

#[test]
fn what_can_never_start_is_said() {
    let home = tempfile::tempdir().expect("a directory");
    put(home.path(), &[("c.toml", "[[node]]\nname = \"n\"\n"), ("t.csv", TRACE)]);
    let output = hai(home.path(), &["simulate", "--cluster", "c.toml", "--trace", "t.csv"], "");
    assert!(text(&output.stderr).contains("c.toml: there is no device in it"), "{}", text(&output.stderr));
    let said = good(output);
    assert!(said.contains("4 tasks never started") && !said.contains("up to"), "{said}");
    let json = "{\"submit\":0,\"duration\":5,\"devices\":1,\"group\":\"lab\"}\n";
    put(home.path(), &[("c.toml", CLUSTER), ("t.jsonl", json)]);
    let output = hai(home.path(), &["simulate", "--cluster", "c.toml", "--trace", "t.jsonl"], "");
    assert!(text(&output.stderr).contains("groups that the cluster does not have (lab;"), "{}", text(&output.stderr));
    let args = ["simulate", "--cluster", "c.toml", "--trace", "t.jsonl", "--one-group"];
    assert!(!good(hai(home.path(), &args, "")).contains("never started"));
}

#[test]
fn hostile_names_stay_text_on_the_page_and_in_charts() {
    let home = tempfile::tempdir().expect("a directory");
    let evil = "\"</title></svg><script>alert(1)</script>\"";
    let trace = TRACE.replace("\na,", &format!("\n{evil},")).replace("\nb,", "\n\"' onload=alert(1) x='\",");
    put(home.path(), &[("c.toml", CLUSTER), ("<script>.csv", &trace)]);
    let args = ["simulate", "--cluster", "c.toml", "--trace", "<script>.csv", "--policy", "hai,hai-fifo"];
    let mut args = args.to_vec();
    args.extend(["--report", "r.html", "--svg", "charts"]);
    good(hai(home.path(), &args, ""));
    let page = fs::read_to_string(home.path().join("r.html")).expect("a page");
    // The page's own script is the only one, and the name is there as text.
    assert_eq!(page.matches("<script").count(), 1);
    assert!(page.contains("alert(1)"), "the name is on the page");
    assert!(!page.contains("' onload"));
    for word in ["http://", "https://", "src=", "@import", "url("] {
        let asked = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!asked.contains(word), "{word}");
    }
    let mut charts = 0;
    for entry in fs::read_dir(home.path().join("charts")).expect("a directory") {
        let chart = fs::read_to_string(entry.expect("a file").path()).expect("text");
        assert!(chart.starts_with("<svg") && chart.ends_with("</svg>") && !chart.contains("<script"));
        charts += 1;
    }
    assert!(charts >= 6, "{charts}");
}

#[test]
fn two_results_are_laid_side_by_side() {
    let home = tempfile::tempdir().expect("a directory");
    put(home.path(), &[("c.toml", CLUSTER), ("t.csv", TRACE)]);
    for (policy, file) in [("hai", "a.json"), ("hai-fifo", "b.json")] {
        let args = ["simulate", "--cluster", "c.toml", "--trace", "t.csv", "--policy", policy, "--json"];
        let said = good(hai(home.path(), &args, ""));
        fs::write(home.path().join(file), said).expect("written");
    }
    let said = good(hai(home.path(), &["simulate", "--compare", "a.json", "b.json", "--report", "r.html"], ""));
    assert!(said.starts_with("hai and hai-fifo: A is a.json, B is b.json\nFIGURE\tUNIT\tA\tB\tB - A\t%"), "{said}");
    let page = fs::read_to_string(home.path().join("r.html")).expect("a page");
    assert!(page.contains("A: hai") && page.contains("B: hai-fifo"));
    put(home.path(), &[("c.json", "{\"hai_study\": 2}")]);
    let said = refused(home.path(), &["--compare", "a.json", "c.json"], 1);
    assert!(said.contains("c.json: it is not what `hai simulate --json` prints"), "{said}");
}

#[test]
fn made_up_work_follows_its_seed() {
    let home = tempfile::tempdir().expect("a directory");
    put(home.path(), &[("c.toml", CLUSTER), ("t.csv", TRACE)]);
    let play = |seed: &str| {
        let args = ["simulate", "--cluster", "c.toml", "--synthetic", "60", "--seed", seed, "--json"];
        good(hai(home.path(), &args, ""))
    };
    assert_eq!(play("5"), play("5"));
    assert_ne!(play("5"), play("6"));
    let args =
        ["simulate", "--cluster", "c.toml", "--trace", "t.csv", "--synthetic", "60", "--load", "2.5", "--oracle"];
    assert!(good(hai(home.path(), &args, "")).contains("\nhai\t60\t"));
}

#[test]
fn what_says_nothing_is_said_to_say_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    put(home.path(), &[("c.toml", CLUSTER), ("t.csv", TRACE), ("none.csv", "submit,duration,devices\n0,5,9\n")]);
    let play = |trace: &str, policy: &str| {
        hai(home.path(), &["simulate", "--cluster", "c.toml", "--trace", trace, "--policy", policy, "--json"], "")
    };
    let twice = play("t.csv", "hai,hai");
    assert!(text(&twice.stderr).contains("hai is named twice"), "{}", text(&twice.stderr));
    let study: Value = serde_json::from_str(&good(twice)).expect("JSON");
    assert_eq!(study["runs"].as_array().expect("runs").len(), 1);
    assert!(text(&play("t.csv", "hai+sjf").stderr).contains("nobody says how long tasks take"));
    assert!(text(&play("t.csv", "hai+learned").stderr).contains("only sjf and srtf look at"));
    assert!(text(&play("t.csv", "hai+edf").stderr).contains("no task has a deadline"));
    assert_eq!(text(&play("t.csv", "hai+srtf+oracle").stderr), "");
    // Of tasks that never start there is no mean.
    let none = good(hai(home.path(), &["simulate", "--cluster", "c.toml", "--trace", "none.csv"], ""));
    assert!(none.contains("\nhai\t1\t1\t–\t–\t–\t–\t"), "{none}");
    let words = good(hai(home.path(), &["simulate", "--words"], ""));
    assert!(
        words.contains(":\nWORD\tMEANING\nfifo\tfirst come, first served; what is so") && words.contains("\nyoung\t")
    );
    assert!(words.contains("\neasy\t") && words.contains("\nby-place\t"), "{words}");
}

#[test]
fn published_schedulers_stand_beside_hai() {
    let home = tempfile::tempdir().expect("a directory");
    put(home.path(), &[("c.toml", CLUSTER), ("t.csv", TRACE)]);
    let play = |threads: &str, more: &[&str]| {
        let mut args = vec!["simulate", "--cluster", "c.toml", "--trace", "t.csv", "--threads", threads];
        args.extend(["--policy", "hai,fifo,tiresias,srsf+restart,easy+oracle", "--csv", threads]);
        args.extend(more);
        good(hai(home.path(), &args, ""))
    };
    let (one, three) = (play("1", &["--json"]), play("3", &["--json", "--report", "r.html"]));
    assert_eq!(one, three);
    for file in ["tasks.csv", "users.csv", "series.csv", "summary.csv"] {
        let read = |threads: &str| fs::read(home.path().join(threads).join(file)).expect("a file");
        assert_eq!(read("1"), read("3"), "{file}");
    }
    let study: Value = serde_json::from_str(&one).expect("JSON");
    let policies: Vec<&str> =
        study["runs"].as_array().expect("runs").iter().map(|run| run["policy"].as_str().expect("a name")).collect();
    assert_eq!(policies, ["hai", "fifo", "tiresias", "srsf+restart", "easy+oracle"]);
    // a and b run from 0; c waits for both, and d behind it.
    assert_eq!(study["runs"][1]["figures"]["jct"]["max"], 660.0 - 20.0);
    let table = play("2", &[]);
    assert!(table.contains("\nfifo\t4\t0\t") && table.contains("\neasy+oracle\t4\t0\t"), "{table}");
    let rows = fs::read_to_string(home.path().join("2/tasks.csv")).expect("a table");
    assert!(rows.contains("\nfifo,1,c,4,v,default,NORMAL,1,20.000,600.000,660.000,succeeded,"), "{rows}");
    let page = fs::read_to_string(home.path().join("r.html")).expect("a page");
    assert!(page.contains("srsf+restart") && page.contains("it began when its turn came"));
    fs::write(home.path().join("a.json"), &one).expect("written");
    let same = good(hai(home.path(), &["simulate", "--compare", "a.json", "a.json"], ""));
    assert!(same.contains("tiresias: A is a.json") && same.contains("\ncompletion, mean\ts\t"), "{same}");
}

#[test]
fn what_a_published_scheduler_can_not_play_is_told_before_anything_is_played() {
    let home = tempfile::tempdir().expect("a directory");
    let drained = format!("{CLUSTER}[[change]]\nat = \"1h\"\ndrain = \"n-1\"\n");
    put(home.path(), &[("c.toml", CLUSTER), ("d.toml", &drained), ("t.csv", TRACE)]);
    let with = |cluster: &str, policy: &str| {
        refused(home.path(), &["--cluster", cluster, "--trace", "t.csv", "--policy", policy], 2)
    };
    let said = with("d.toml", "hai,tiresias");
    assert!(
        said.contains(
            "--policy tiresias can not be played: its cluster never changes, and this one has a drain at 1h (n-1)"
        ),
        "{said}"
    );
    let said = with("c.toml", "easy");
    assert!(
        said.contains("4 of 4 tasks do not say how long they run (the first is \"a\", line 2); easy+oracle"),
        "{said}"
    );
    assert!(with("c.toml", "easy+by-place").contains("`easy+by-place`: by-place says nothing to it"));
    assert!(with("c.toml", "eazy").contains("it begins with hai, hai-fifo, fifo, sjf, qssf"));
}

#[test]
fn differences_over_seeds_have_an_interval() {
    let home = tempfile::tempdir().expect("a directory");
    put(home.path(), &[("c.toml", CLUSTER)]);
    for (policy, file) in [("hai", "a.json"), ("fifo", "b.json")] {
        let args =
            ["simulate", "--cluster", "c.toml", "--synthetic", "60", "--seeds", "3", "--policy", policy, "--json"];
        fs::write(home.path().join(file), good(hai(home.path(), &args, ""))).expect("written");
    }
    let told = good(hai(home.path(), &["simulate", "--compare", "a.json", "b.json", "--json"], ""));
    let pairs: Vec<Value> = serde_json::from_str(&told).expect("JSON");
    let of = |name: &str| pairs.iter().find(|pair| pair["figure"] == name);
    let wait = of("waiting, mean").expect("a figure");
    assert!(wait["half_width"].as_f64().expect("several seeds") > 0.0);
    assert!(
        (wait["b"].as_f64().unwrap() - wait["a"].as_f64().unwrap() - wait["difference"].as_f64().unwrap()).abs() < 1e-6
    );
    // Nobody was asked when he would start.
    assert!(of("starts by the forecast p50").is_none());
}

#[test]
fn forecasts_are_judged_where_that_is_asked_for() {
    let home = tempfile::tempdir().expect("a directory");
    put(home.path(), &[("c.toml", CLUSTER)]);
    let args = ["simulate", "--cluster", "c.toml", "--synthetic", "200", "--load", "3", "--forecasts", "5"];
    let said = good(hai(home.path(), &[&args[..], &["--policy", "hai,fifo"]].concat(), ""));
    let told: Vec<&str> = said.lines().filter(|line| line.contains("it was asked when they would start")).collect();
    assert!(told.len() == 1 && told[0].starts_with("hai: of ") && told[0].contains(" % by the p50"), "{said}");
    let study: Value =
        serde_json::from_str(&good(hai(home.path(), &[&args[..], &["--json"]].concat(), ""))).expect("JSON");
    let forecasts = &study["runs"][0]["figures"]["forecasts"];
    assert!((1..=5).contains(&forecasts["asked"].as_u64().expect("a count")), "{forecasts}");
}
