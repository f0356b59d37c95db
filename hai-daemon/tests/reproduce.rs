//! `hai reproduce` over made-up traces, and over the real ones where they lie beside the repository.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

const NODES: &str = "sn,cpu_milli,memory_mib,gpu,model\nn-1,64000,65536,4,A\nn-2,32000,65536,2,B\nn-3,8000,65536,0,\n";
const PODS: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\n\
    p-1,4000,1024,1,500\np-2,4000,1024,1,250\np-3,4000,1024,1,1000\np-4,4000,1024,2,1000\np-5,1000,1024,0,0\n";

fn hai(home: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hai"));
    command.args(args).env_clear().env("HOME", home).current_dir(home).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A folder of traces with a cluster of 6 devices and a workload called `tiny`.
fn traces(home: &Path) -> PathBuf {
    let folder = home.join("traces/openb");
    fs::create_dir_all(&folder).expect("created");
    fs::write(folder.join("openb_node_list_gpu_node.csv"), NODES).expect("written");
    fs::write(folder.join("openb_pod_list_tiny.csv"), PODS).expect("written");
    home.join("traces")
}

const TINY: [&str; 9] = ["reproduce", "openb-fgd", "--traces", "traces", "--variant", "tiny", "--seed", "7", "--json"];

#[test]
fn there_is_a_list_of_what_can_be_played() {
    let home = tempfile::tempdir().expect("a directory");
    let list = hai(home.path(), &["reproduce", "list"]);
    assert!(list.status.success());
    assert!(text(&list.stdout).contains("openb-fgd") && text(&list.stdout).contains("USENIX ATC 2023"), "{list:?}");
    let listed = json(&hai(home.path(), &["reproduce", "list", "--json"]));
    let openb = listed.as_array().expect("a list").iter().find(|entry| entry["name"] == "openb-fgd");
    assert_eq!(openb.expect("it is there")["flags"], serde_json::json!(["--variant", "--seed", "--policy", "--tune"]));
}

#[test]
fn a_workload_of_ones_own_is_told_alone_and_the_same_each_time_also_compressed() {
    let home = tempfile::tempdir().expect("a directory");
    let folder = traces(home.path()).join("openb");
    let first = hai(home.path(), &TINY);
    assert!(first.status.success(), "{first:?}");
    let told = &json(&first)[0];
    assert_eq!(
        (&told["name"], &told["met"], &told["figures"]),
        (&"openb-fgd".into(), &true.into(), &Value::Array(vec![]))
    );
    // Five policies, three metrics, 0 to 130 %.
    let curves = told["curves"].as_array().expect("a list");
    assert_eq!(curves.len(), 15);
    assert!(curves.iter().all(|curve| curve["values"].as_array().is_some_and(|values| values.len() == 131)));
    assert_eq!(hai(home.path(), &TINY).stdout, first.stdout);

    let plain = folder.join("openb_pod_list_tiny.csv");
    let mut gzip =
        GzEncoder::new(File::create(folder.join("openb_pod_list_tiny.csv.gz")).expect("created"), Compression::fast());
    gzip.write_all(PODS.as_bytes()).expect("written");
    gzip.finish().expect("finished");
    fs::remove_file(&plain).expect("removed");
    assert_eq!(hai(home.path(), &TINY).stdout, first.stdout);
    // By what is in the file, not by its name.
    fs::rename(folder.join("openb_pod_list_tiny.csv.gz"), &plain).expect("renamed");
    assert_eq!(hai(home.path(), &TINY).stdout, first.stdout);

    let table = hai(home.path(), &[&TINY[..8], &["--policy", "FGD,random"]].concat());
    let table = text(&table.stdout);
    assert!(table.contains("FGD, seed 7: allocation at 130 %"), "{table}");
    assert!(table.contains("Random, seed 7: pods that got no node") && !table.contains("BestFit"), "{table}");
}

#[test]
fn what_can_not_be_played_is_said_with_its_place() {
    let home = tempfile::tempdir().expect("a directory");
    let folder = traces(home.path()).join("openb");
    fs::write(folder.join("openb_pod_list_bad.csv"), PODS.replace("p-4,4000,1024,2,1000", "p-4,4000,1024,2,500"))
        .expect("written");
    fs::write(folder.join("openb_pod_list_empty.csv"), "").expect("written");
    fs::write(folder.join("openb_pod_list_idle.csv"), "name,cpu_milli,memory_mib,num_gpu,gpu_milli\n")
        .expect("written");
    for (args, status, part) in [
        (
            &["openb-fgd"][..],
            1,
            "traces/openb/openb_pod_list_default.csv can not be opened (name the folder of traces with --traces)",
        ),
        (
            &["openb-fgd", "--variant", "bad"],
            1,
            "traces/openb/openb_pod_list_bad.csv: line 5, column gpu_milli: 500 thousandths",
        ),
        (&["openb-fgd", "--variant", "empty"], 1, "openb_pod_list_empty.csv: line 1: the column name is missing"),
        (&["openb-fgd", "--variant", "idle"], 2, "no pod of the trace asks for devices"),
        (&["openb-fgd", "--variant", "../tiny"], 2, "no name of a workload"),
        (
            &["openb-fgd", "--variant", "tiny", "--policy", "best"],
            2,
            "the policy best is not known here; there are BestFit, DotProd",
        ),
        (&["openb-fgd", "--variant", "tiny", "--tune", "0"], 2, "a load of 0 times"),
        (&["nothing"], 2, "there is no experiment nothing; there are "),
        (&["all", "--seed", "3"], 2, "all experiments are played as they were published"),
    ] {
        let output = hai(home.path(), &[&["reproduce", "--traces", "traces"], args].concat());
        assert_eq!(output.status.code(), Some(status), "{args:?}: {output:?}");
        assert!(text(&output.stderr).contains(part), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn the_published_curves_are_met() {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/traces");
    let traces = std::env::var("HAI_TRACES").unwrap_or_else(|_| beside.to_owned());
    if !Path::new(&traces).join("openb/openb_pod_list_default.csv").is_file() {
        eprintln!("SKIPPED: no openb trace in {traces}; name a folder of traces with HAI_TRACES");
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let args = ["reproduce", "openb-fgd", "--traces", &traces, "--policy", "fgd", "--seed", "43"];
    let output = hai(home.path(), &args);
    let table = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let row = table.lines().find(|line| line.starts_with("FGD, seed 43: allocation at 100 %")).expect("a row");
    let cells: Vec<&str> = row.split('\t').collect();
    assert_eq!(cells[1..], ["95.06 %", "95.06 %", "0.00", "met"]);
    assert!(!table.contains("not met"), "{table}");
}
