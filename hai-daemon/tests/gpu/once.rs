//! `hai-daemon agent --once`: what is printed of a machine.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::library::{LAB, Library};

fn agent(library: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hai-daemon"));
    command.args(["agent", "--once", "--nvml", library]).args(more).output().expect("it runs")
}

fn json_of(library: &Library, more: &[&str]) -> Value {
    let output = agent(&library.path().display().to_string(), &[&["--json"], more].concat());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn text_of(library: &Library) -> String {
    let output = agent(&library.path().display().to_string(), &[]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn everything_about_two_cards_is_told() {
    let report = json_of(&Library::playing(LAB), &[]);
    let expected = json!({
        "driver": "570.86",
        "devices": [
            {
                "spec": {"id": "GPU-3070", "model": "RTX 3070", "memory_mib": 8192, "compute_capability": "8.6",
                         "health": {"state": "healthy"}},
                "pci": "0000:01:00.0",
                "usage": {"memory_used_mib": 300, "utilisation_percent": 7, "power_mw": 21500, "temperature_c": 45,
                          "slowdown_c": 93},
            },
            {
                "spec": {"id": "GPU-3060", "model": "RTX 3060", "memory_mib": 12288, "compute_capability": "8.6",
                         "health": {"state": "healthy"}},
                "pci": "0000:02:00.0",
                "usage": {"memory_used_mib": 0, "utilisation_percent": 0, "power_mw": 12000, "temperature_c": 40,
                          "slowdown_c": 93},
            },
        ],
        "links": [{"a": 0, "b": 1, "kind": "host_bridge"}],
    });
    let mut report = report;
    for device in report["devices"].as_array_mut().expect("devices") {
        // Whether the machine under test has such an address, and where, is its own business.
        device.as_object_mut().expect("an object").remove("numa_node");
    }
    assert_eq!(report, expected);
}

#[test]
fn a_table_is_for_people() {
    let text = text_of(&Library::playing(&format!("{LAB}graphics 4000000 250\n")));
    for part in ["driver 570.86", "GPU-3060", "RTX 3070", "45 of 93 °C", "21.5 W", "0000:02:00.0", "host bridge"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(text.contains("used by a process that can not be seen (process 4000000)"), "{text}");
    assert!(text.contains("1: process 4000000 ? draws, 250 MiB, not hai's"), "{text}");
}

#[test]
fn no_library_is_one_line_and_no_devices() {
    let output = agent("/nonexistent/libnvidia-ml.so.1", &[]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("no NVIDIA library"), "{text}");
}

#[test]
fn a_library_without_a_driver_says_what_to_look_at() {
    let output = agent(&Library::playing("broken 9").path().display().to_string(), &[]);
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).expect("text");
    assert!(text.contains("driver") && text.contains("nvidia-smi"), "{text}");
}

#[test]
fn a_gpu_that_does_not_tell_its_name_hides_no_other() {
    let report = json_of(&Library::playing(&LAB.replace("set bus 1", "set bus 1\nfails unknown")), &[]);
    let devices = report["devices"].as_array().expect("devices");
    assert_eq!(devices.len(), 1, "{report}");
    assert_eq!(devices[0]["spec"]["id"], "GPU-3060");
    assert!(report["notes"][0].as_str().expect("a note").contains("GPU 0"), "{report}");
}

#[test]
fn a_gpu_whose_memory_can_not_be_read_is_sick() {
    let report = json_of(&Library::playing(&LAB.replace("memory 8192 300", "memory 0 0")), &[]);
    assert_eq!(report["devices"][0]["spec"]["health"]["state"], "sick", "{report}");
    assert_eq!(report["devices"][1]["spec"]["health"]["state"], "healthy", "{report}");
}

#[test]
fn slices_stand_in_for_the_gpu_and_share_its_fate() {
    let state = "
driver 570.86
gpu 0 GPU-A NVIDIA A100-SXM4-40GB
memory 40960 0
set ecc 1
slice MIG-1 NVIDIA A100-SXM4-40GB MIG 1g.5gb
memory 4864 10
compute 4000000 900
slice MIG-2 NVIDIA A100-SXM4-40GB MIG 1g.10gb+me
memory 9856 0
gpu 1 GPU-B NVIDIA A100-SXM4-40GB
memory 40960 0
set mig 0
";
    let report = json_of(&Library::playing(state), &[]);
    let devices = report["devices"].as_array().expect("devices");
    let of = |name: &str| devices.iter().map(|device| device["spec"][name].clone()).collect::<Vec<_>>();
    assert_eq!(of("id"), [json!("MIG-1"), json!("MIG-2"), json!("GPU-B")]);
    assert_eq!(of("mig_profile"), [json!("1g.5gb"), json!("1g.10gb.me"), Value::Null]);
    assert_eq!(of("model")[0], "A100-SXM4-40GB");
    assert_eq!(devices[0]["slice_of"], "GPU-A");
    let states: Vec<_> = devices.iter().map(|device| device["spec"]["health"]["state"].clone()).collect();
    assert_eq!(states, ["stranger", "suspect", "healthy"]);
}

#[test]
fn an_old_driver_tells_everything_else() {
    let report = json_of(&Library::old(LAB), &[]);
    assert_eq!(report["devices"].as_array().expect("devices").len(), 2);
    assert!(report["notes"][0].as_str().expect("a note").contains("510"), "{report}");
}

#[test]
fn who_may_use_a_device_is_no_stranger() {
    let own = std::process::id();
    let name = std::fs::read_to_string(format!("/proc/{own}/comm")).expect("a name");
    let library = Library::playing(&LAB.replace("set bus 1", &format!("set bus 1\ncompute {own} 500")));
    let health = |report: &Value| report["devices"][0]["spec"]["health"].clone();
    let stranger = json_of(&library, &[]);
    let process = format!("{} (process {own})", name.trim());
    assert_eq!(health(&stranger), json!({"state": "stranger", "process": process}));
    assert_eq!(health(&json_of(&library, &["--allow", name.trim()])), json!({"state": "healthy"}));
    assert_eq!(health(&json_of(&library, &["--stranger-memory", "501"])), json!({"state": "healthy"}));
}

#[test]
fn links_are_the_closest_of_each_pair() {
    let gpu = |index: u32, links: &str| {
        format!("gpu {index} GPU-{index} NVIDIA H100 80GB HBM3\nmemory 81559 0\nset bus {}\n{links}\n", index + 1)
    };
    let levels = "level 0 1 0\nlevel 0 2 20\nlevel 0 3 40\nlevel 1 2 50\nlevel 1 3 10\nlevel 2 3 50\n";
    let kinds = |report: &Value| {
        let links = report["links"].as_array().expect("links").iter();
        links.map(|link| format!("{}{}{}", link["a"], link["b"], link["kind"].as_str().expect("a word"))).collect()
    };
    let state = [gpu(0, "nvlink 1"), gpu(1, "nvlink 0"), gpu(2, ""), gpu(3, ""), levels.to_owned()].concat();
    let told: Vec<String> = kinds(&json_of(&Library::playing(&state), &[]));
    assert_eq!(told, ["01nv_link", "02pcie_switch", "03numa", "13pcie_switch"]);
    // All on one switch, as in a large machine.
    let switched = [gpu(0, "nvlink 99"), gpu(1, "nvlink 99"), gpu(2, "nvlink 99"), levels.to_owned()].concat();
    let told: Vec<String> = kinds(&json_of(&Library::playing(&switched), &[]));
    assert_eq!(told, ["01nv_link", "02nv_link", "12nv_link"]);
}
